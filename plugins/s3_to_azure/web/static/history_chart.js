// The chart of all runs over the days of the period, and the small one of a migration's last runs.

import { Axis, ceiling, Frame, HEIGHT, LEFT, PLOT_HEIGHT, TOP, y } from "./chart.js";
import { count, counted, dateOf, size } from "./format.js";
import { h } from "./react.js";

const DAY_MS = 86_400_000;
const DAYS_OF_A_BAR = [1, 7, 14, 28];
const LEAST_SLOT = 6;
const TICK_WIDTH = 100;
const BAR_GAP = 2;
const FOOT = TOP + PLOT_HEIGHT;

const bytesOf = (run) => run.bytes_sent + run.bytes_resumed;

/** The dates of the period, the oldest first, as `2026-11-23`. */
function datesOf(now, days) {
  const last = new Date(now).getTime();
  const all = Array.from({ length: days + 1 }, (_, index) => dateOf(last - (days - index) * DAY_MS));
  // A day of 23 or 25 hours shows twice, or not at all.
  return [...new Set(all)];
}

/** Put the runs into bars of as many whole days as make each bar wide enough. */
function barsOf(runs, dates, width) {
  const days = DAYS_OF_A_BAR.find((length) => (width * length) / dates.length >= LEAST_SLOT) ?? DAYS_OF_A_BAR.at(-1);
  const bars = [];
  // The newest bar is whole, the oldest may not be.
  for (let end = dates.length; end > 0; end -= days) {
    bars.unshift({ from: dates[Math.max(0, end - days)], to: dates[end - 1], runs: [] });
  }
  for (const run of runs) {
    const date = dateOf(run.started_at);
    bars.find((bar) => date >= bar.from && date <= bar.to)?.runs.push(run);
  }
  return bars;
}

/** Bytes of each day's runs; a click chooses the days, or opens the only run. */
export function RunsChart({ runs, now, days, onChoose }) {
  const dates = datesOf(now, days);
  const draw = (width) => {
    const bars = barsOf(runs, dates, width);
    const slot = width / bars.length;
    const top = ceiling(Math.max(...bars.map((bar) => bar.runs.reduce((sum, run) => sum + bytesOf(run), 0))));
    const step = Math.ceil(TICK_WIDTH / slot);
    return [
      h(Axis, { key: "axis", top, format: size, width }),
      bars.map((bar, index) => h(Bar, { key: bar.from, bar, top, x: LEFT + slot * index, width: slot, onChoose })),
      bars.map((bar, index) => {
        const isLast = index === bars.length - 1;
        const place = isLast ? { x: LEFT + width, textAnchor: "end" } : { x: LEFT + slot * (index + 0.5), textAnchor: "middle" };
        // The newest one is always named; one beside it would run into it.
        const isNamed = isLast || (index % step === 0 && place.x < LEFT + width - 1.5 * TICK_WIDTH);
        return isNamed && h("text", { key: bar.from, y: HEIGHT - 6, ...place }, bar.to);
      }),
    ];
  };
  return h(Frame, { label: `Bytes of ${counted(runs.length, "run")} by day, from ${dates[0]} to ${dates.at(-1)}; the table of the runs has the figures`, draw });
}

function Bar({ bar, top, x, width, onChoose }) {
  const { runs } = bar;
  const place = { x: x + BAR_GAP / 2, width: Math.max(1, width - BAR_GAP) };
  const failed = runs.filter((run) => run.state === "failed");
  const sum = (chosen, value) => chosen.reduce((total, run) => total + value(run), 0);
  const sentByFailed = sum(failed, (run) => run.bytes_sent);
  const sent = sum(runs, (run) => run.bytes_sent);
  const all = sum(runs, bytesOf);
  const part = (name, from, to) =>
    to > from && h("rect", { ...place, className: `s3az-fill-${name}`, y: y(to, top), height: y(from, top) - y(to, top) });
  const date = bar.from === bar.to ? bar.from : `${bar.from} to ${bar.to}`;
  const title = `${date}: ${counted(runs.length, "run")}, ${count(failed.length)} failed, ${size(sent)} sent, ${size(all - sent)} resumed`;
  return h(
    "g",
    runs.length ? { className: "s3az-run", onClick: () => onChoose(bar) } : null,
    h("title", null, title),
    h("rect", { ...place, y: TOP, height: PLOT_HEIGHT, fill: "transparent" }),
    part("bad", 0, sentByFailed),
    part("busy", sentByFailed, sent),
    part("resumed", sent, all),
    // A failed run that sent nothing must be visible too.
    failed.length > 0 && h("rect", { ...place, className: "s3az-fill-bad", y: FOOT - 4, height: 4 }),
  );
}

const TREND = { slot: 8, height: 24, least: 3 };

/** A migration's last runs, the oldest first: high as their bytes, coloured by their state. */
export function Trend({ runs }) {
  const highest = Math.max(1, ...runs.map((run) => run.bytes));
  const failed = runs.filter((run) => run.state === "failed").length;
  const { slot, height, least } = TREND;
  return h(
    "svg",
    {
      className: "s3az-trend",
      width: slot * runs.length,
      height,
      role: "img",
      "aria-label": `The last ${counted(runs.length, "run")}: ${count(runs.length - failed)} succeeded, ${count(failed)} failed`,
    },
    runs.map((run, index) => {
      const tall = Math.max(least, (height * run.bytes) / highest);
      const isFailed = run.state === "failed";
      return h(
        "g",
        { key: index },
        h("title", null, `${dateOf(run.started_at)}: ${run.state}, ${size(run.bytes)}`),
        h("rect", { x: slot * index + 1, width: slot - 2, y: height - tall, height: tall, className: isFailed ? "s3az-fill-bad" : "s3az-fill-busy" }),
      );
    }),
  );
}
