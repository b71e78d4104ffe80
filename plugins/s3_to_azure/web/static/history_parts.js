// The tables of the history.

import { csvOf, save } from "./csv.js";
import { count, counted, dateOf, dateTime, duration, rate, size, words } from "./format.js";
import { Trend } from "./history_chart.js";
import { STATES } from "./history_choice.js";
import { migrationPath } from "./links.js";
import { h, Link, useState } from "./react.js";
import { Badge, Card, Choice, Notice, Table } from "./widgets.js";

const RUNS_OF_A_PAGE = 25;
const FIRST_COMPARISONS = 20;
const FIRST_MIGRATIONS = 20;

const runLink = (run, text) => {
  const path = migrationPath(run.dag_id, run.run_id);
  return h(Link, { to: path, "data-run": path, className: "s3az-nowrap" }, text);
};

/** A button that shows all of a list, or its beginning; none if the beginning is all. */
function More({ total, first, noun, isWhole, onClick }) {
  if (total <= first) return null;
  return h("button", { type: "button", className: "s3az-more", onClick }, isWhole ? `Show the first ${count(first)}` : `Show all ${counted(total, noun)}`);
}

/** How each migration stands; those that need attention come first. */
export function Migrations({ view, onChoose }) {
  const [isWhole, setWhole] = useState(false);
  const { migrations } = view;
  const byId = new Map(view.runs.map((run) => [`${run.dag_id} ${run.run_id}`, run]));
  const shown = isWhole ? migrations : migrations.slice(0, FIRST_MIGRATIONS);
  return h(
    Card,
    { id: "migrations", title: "Migrations", aside: h("span", { className: "s3az-aside" }, standing(migrations)) },
    h(Table, {
      caption: "Migrations",
      isStacked: true,
      columns: [
        { name: "DAG" },
        { name: "Last run" },
        { name: "Last success" },
        { name: "Last runs" },
        { name: "Bytes", isNumber: true },
        { name: "Runs", isNumber: true },
        { name: "Failed", isNumber: true },
      ],
      rows: shown.map((migration) => migrationRow(view, migration, byId.get(`${migration.dag_id} ${migration.last}`), onChoose)),
    }),
    h(More, { total: migrations.length, first: FIRST_MIGRATIONS, noun: "migration", isWhole, onClick: () => setWhole(!isWhole) }),
  );
}

const failedLast = ({ trend }) => trend.at(-1)?.state === "failed";

function standing(migrations) {
  const failed = migrations.filter(failedLast).length;
  const silent = migrations.filter((migration) => !migration.runs).length;
  return [
    counted(migrations.length, "migration"),
    failed ? `${count(failed)} failed last` : "none failed last",
    ...(silent ? [`${count(silent)} did not run`] : []),
  ].join(", ");
}

function migrationRow(view, migration, last, onChoose) {
  const { days_since_success: since, change_percent: change, trend } = migration;
  const isBad = failedLast(migration) || since === null;
  const ago = since === null ? `none in ${view.days} days` : since === 0 ? "less than a day ago" : `${counted(since, "day")} ago`;
  return {
    key: migration.dag_id,
    cells: [
      h("button", { type: "button", className: "s3az-link", onClick: () => onChoose(migration.dag_id) }, migration.dag_id),
      last ? h("span", null, runLink(last, dateTime(last.started_at)), " ", h(Badge, { state: last.state }), last.dry_run && " dry run") : `none in ${view.days} days`,
      h("span", { className: isBad ? "s3az-tone-bad" : undefined, title: migration.last_success_at ? dateTime(migration.last_success_at) : undefined }, ago),
      trend.length ? h(Trend, { runs: trend }) : "–",
      trend.length ? `${size(trend.at(-1).bytes)}${change === null ? "" : ` (${change > 0 ? "+" : ""}${count(change)}%)`}` : "–",
      count(migration.runs),
      h("span", { className: migration.runs_failed ? "s3az-tone-bad" : undefined }, count(migration.runs_failed)),
    ],
  };
}

const ifAny = (value, text) => (value ? text(value) : "–");
const objects = (name) => ({
  isNumber: true,
  value: (run) => run[name].objects,
  text: (run) => count(run[name].objects),
});

/** The columns of the runs: how each is sorted and saved, and how it is shown if the run has figures. */
const COLUMNS = {
  started: { name: "Started", value: (run) => run.started_at, cell: (run) => runLink(run, dateTime(run.started_at)) },
  dag: { name: "DAG", isText: true, value: (run) => run.dag_id, cell: (run) => run.dag_id },
  state: { name: "State", isText: true, value: (run) => run.state, cell: (run) => h(RunState, { run }) },
  copied: { name: "Copied", ...objects("copied") },
  failed: {
    name: "Failed",
    ...objects("failed"),
    text: (run) => h("span", { className: run.failed.objects ? "s3az-tone-bad" : undefined }, count(run.failed.objects)),
  },
  sent: { name: "Sent", isNumber: true, value: (run) => run.bytes_sent, text: (run) => size(run.bytes_sent) },
  resumed: { name: "Resumed", isNumber: true, value: (run) => run.bytes_resumed, text: (run) => ifAny(run.bytes_resumed, size) },
  rate: { name: "Rate", isNumber: true, value: (run) => run.bytes_per_second, text: (run) => ifAny(run.bytes_per_second, rate) },
  duration: { name: "Duration", isNumber: true, value: (run) => run.seconds, cell: (run) => duration(run.seconds) },
  unchanged: { name: "Unchanged", ...objects("unchanged") },
  skipped: { name: "Skipped", ...objects("skipped") },
  retries: { name: "Retries", isNumber: true, value: (run) => run.retries, text: (run) => count(run.retries) },
};

const figure = (run, value) => (run.has_figures ? value(run) : null);

const SAVED = [
  { name: "started_at", value: (run) => run.started_at },
  { name: "dag_id", value: (run) => run.dag_id },
  { name: "run_id", value: (run) => run.run_id },
  { name: "state", value: (run) => run.state },
  { name: "dry_run", value: (run) => run.dry_run },
  { name: "has_report", value: (run) => run.has_report },
  { name: "seconds", value: (run) => run.seconds },
  ...["copied", "unchanged", "skipped", "failed"].map((name) => ({ name, value: (run) => figure(run, () => run[name].objects) })),
  ...["bytes_sent", "bytes_resumed", "bytes_per_second", "retries"].map((name) => ({ name, value: (run) => figure(run, () => run[name]) })),
];

function RunState({ run }) {
  const isEnded = ["success", "failed"].includes(run.state);
  const notes = [
    run.dry_run && "dry run",
    run.announced && (run.runs > 1 ? `${counted(run.runs, "run")} by events in this hour` : "by events"),
    run.missed > 0 && `${counted(run.missed, "object")} missed by events`,
    !run.has_report && !run.dry_run && isEnded && "no report",
    run.tasks > 0 && `${counted(run.tasks, "copy task")}${run.tasks_failed ? `, ${count(run.tasks_failed)} failed` : ""}`,
  ].filter(Boolean);
  return h("span", null, h(Badge, { state: run.state }), notes.length > 0 && h("small", null, ` ${notes.join(", ")}`));
}

/** Compare by a column; what a run does not have comes last. */
function sorted(runs, sort) {
  const isDown = sort.startsWith("-");
  const column = COLUMNS[isDown ? sort.slice(1) : sort] ?? COLUMNS.started;
  const value = (run) => (column.cell ? column.value(run) : figure(run, column.value));
  return [...runs].sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === b) return 0;
    if (a === null || b === null) return a === null ? 1 : -1;
    return (a < b ? -1 : 1) * (isDown ? -1 : 1);
  });
}

/** The runs of the chosen state and days. */
export function Runs({ runs, all, choice, change, isOneDag }) {
  const [turned, setTurned] = useState(0);
  const { state, sort, from, to } = choice;
  const columns = Object.entries(COLUMNS).filter(([name]) => name !== "dag" || !isOneDag);
  const ordered = sorted(runs, sort);
  const pages = Math.max(1, Math.ceil(ordered.length / RUNS_OF_A_PAGE));
  // Another choice may have fewer pages.
  const page = Math.min(turned, pages - 1);
  const shown = ordered.slice(page * RUNS_OF_A_PAGE, (page + 1) * RUNS_OF_A_PAGE);
  const options = Object.entries(STATES)
    .map(([value, { label, has }]) => ({ value, label, count: all.filter(has).length }))
    .filter((option) => option.count || option.value === "all" || option.value === state);
  return h(
    Card,
    {
      id: "runs",
      title: "Runs",
      aside: h(
        "span",
        { className: "s3az-tools" },
        from && h("button", { type: "button", className: "s3az-more", onClick: () => change({ from: "", to: "" }) }, `${from === to ? from : `${from} to ${to}`} – show all days`),
        h(Choice, { label: "Which runs to show", value: state, options, onChange: (chosen) => change({ state: chosen }) }),
        h("button", { type: "button", className: "s3az-button", disabled: !runs.length, onClick: () => save(`migrations-${dateOf(Date.now())}.csv`, csvOf(SAVED, ordered)) }, "Save as CSV"),
      ),
    },
    runs.length
      ? h(Table, {
          caption: "Runs",
          isStacked: true,
          sort,
          onSort: (chosen) => change({ sort: chosen }),
          columns: columns.map(([name, column]) => ({ ...column, sort: name })),
          rows: shown.map((run) => ({
            key: migrationPath(run.dag_id, run.run_id),
            cells: columns.map(([, column]) => (column.cell ? column.cell(run) : (figure(run, column.text) ?? "–"))),
          })),
        })
      : h(Notice, null, "No run is in this state and period."),
    pages > 1 && h(Pager, { page, pages, onTurn: setTurned }),
  );
}

function Pager({ page, pages, onTurn }) {
  const button = (name, to) =>
    h("button", { type: "button", className: "s3az-button", disabled: to < 0 || to >= pages, onClick: () => onTurn(to) }, name);
  return h(
    "nav",
    { className: "s3az-pager", "aria-label": "Pages of the runs" },
    button("Previous", page - 1),
    h("span", { role: "status" }, `Page ${count(page + 1)} of ${count(pages)}`),
    button("Next", page + 1),
  );
}

const STANDINGS = ["equal", "unproven", "missing", "stale", "changed", "left_out", "extra"];
const MISSED = "missed_by_events";
const NOT_GOOD = ["missing", "stale", "changed", MISSED];

/** What the task compare found: how the objects of both sides stand. */
export function Comparisons({ runs, isOneDag }) {
  if (!runs.length) return null;
  const names = ["listed", ...STANDINGS, ...(runs.some(({ comparison }) => comparison[MISSED]) ? [MISSED] : [])];
  const cell = ({ comparison }, name) =>
    comparison[name]
      ? h("span", { className: NOT_GOOD.includes(name) && comparison[name].objects ? "s3az-tone-bad" : undefined }, count(comparison[name].objects))
      : "–";
  return h(
    Card,
    { id: "comparisons", title: "Comparisons" },
    h(Table, {
      caption: "Comparisons, newest first",
      isStacked: true,
      columns: [
        { name: "Started" },
        ...(isOneDag ? [] : [{ name: "DAG" }]),
        ...names.map((name) => ({ name: words(name), isNumber: true })),
      ],
      rows: runs.slice(0, FIRST_COMPARISONS).map((run) => ({
        key: migrationPath(run.dag_id, run.run_id),
        cells: [
          h(Link, { to: migrationPath(run.dag_id, run.run_id) }, dateTime(run.started_at)),
          ...(isOneDag ? [] : [run.dag_id]),
          ...names.map((name) => cell(run, name)),
        ],
      })),
    }),
  );
}

/** Why objects failed, over all runs. */
export function Reasons({ runs }) {
  const counts = new Map();
  for (const run of runs) {
    for (const { reason, objects: failed } of run.failures) {
      const earlier = counts.get(reason) ?? { objects: 0, runs: 0 };
      counts.set(reason, { objects: earlier.objects + failed, runs: earlier.runs + 1 });
    }
  }
  if (!counts.size) return null;
  return h(
    Card,
    { id: "reasons", title: "Failures by reason" },
    h(Table, {
      caption: "Failures by reason",
      columns: [{ name: "Reason" }, { name: "Objects", isNumber: true }, { name: "Runs", isNumber: true }],
      rows: [...counts]
        .sort(([, one], [, other]) => other.objects - one.objects)
        .map(([reason, sum]) => ({ key: reason, cells: [words(reason), count(sum.objects), count(sum.runs)] })),
    }),
  );
}
