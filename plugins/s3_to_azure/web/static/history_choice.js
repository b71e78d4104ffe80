// What the history shows is in its address, so that it can be bookmarked and sent; a reload keeps it.

import { useState } from "./react.js";

const PERIODS = [7, 30, 90, 365];
const DATE = /^\d{4}-\d{2}-\d{2}$/;

/** Which runs the table shows, by the name in the address. */
export const STATES = {
  all: { label: "All", has: () => true },
  success: { label: "Succeeded", has: (run) => run.state === "success" },
  failed: { label: "Failed", has: (run) => run.state === "failed" },
  active: { label: "Active", has: (run) => !["success", "failed"].includes(run.state) },
  unreported: { label: "Without report", has: (run) => !run.has_report && !run.dry_run },
};

/** The default of each value, and whether another text may be it. */
const VALUES = {
  days: { initial: 30, read: (text) => (PERIODS.includes(Number(text)) ? Number(text) : null) },
  dag: { initial: "", read: (text) => text.slice(0, 250) },
  state: { initial: "all", read: (text) => (Object.hasOwn(STATES, text) ? text : null) },
  sort: { initial: "-started", read: (text) => (/^-?[a-z]+$/.test(text) ? text : null) },
  from: { initial: "", read: (text) => (DATE.test(text) ? text : null) },
  to: { initial: "", read: (text) => (DATE.test(text) ? text : null) },
};

function readAddress() {
  const asked = new URLSearchParams(location.search);
  return Object.fromEntries(
    Object.entries(VALUES).map(([name, { initial, read }]) => [name, (asked.has(name) ? read(asked.get(name)) : null) ?? initial]),
  );
}

function writeAddress(choice) {
  const address = new URL(location.href);
  for (const [name, { initial }] of Object.entries(VALUES)) {
    if (choice[name] === initial) address.searchParams.delete(name);
    else address.searchParams.set(name, choice[name]);
  }
  // The state is the router's of Airflow's UI.
  history.replaceState(history.state, "", address);
}

/** Return the choice and a function that changes some of its values. */
export function useChoice() {
  const [choice, setChoice] = useState(readAddress);
  const change = (values) => {
    const changed = { ...choice, ...values };
    setChoice(changed);
    writeAddress(changed);
  };
  return [choice, change];
}

export const PERIOD_OPTIONS = PERIODS.map((period) => ({ value: period, label: `${period} days` }));
