// The history of all migrations that the user may read.

import { RunsChart } from "./chart.js";
import { usePolled } from "./data.js";
import { count, dateTime, duration, rate, size, words } from "./format.js";
import { historyApi, migrationPath } from "./links.js";
import { h, Link, loadStyles, useId, useMemo, useState } from "./react.js";
import { Badge, Card, Choice, Figure, Figures, Notice, Table } from "./widgets.js";

const PERIODS = [7, 30, 90, 365];
const FIRST_ROWS = 100;

loadStyles();

const pause = () => 60_000;
const hasFigures = (run) => run.has_report;

function History() {
  const [days, setDays] = useState(30);
  const [dag, setDag] = useState("");
  const url = useMemo(() => historyApi(days), [days]);
  const { data: view, error, isLoading } = usePolled(url, pause);
  return h(
    "div",
    { className: "s3az" },
    h(
      "header",
      { className: "s3az-head" },
      h("h1", null, "S3 to Azure migrations"),
      h(Dags, { dags: view?.dags ?? [], dag, onChange: setDag }),
      h(Choice, {
        label: "Period",
        value: days,
        options: PERIODS.map((period) => ({ value: period, label: `${period} days` })),
        onChange: setDays,
      }),
    ),
    error && h(Notice, { tone: "bad", role: "alert" }, error.message),
    isLoading && h(Notice, null, "Loading …"),
    view && h(Runs, { view, runs: view.runs.filter((run) => !dag || run.dag_id === dag), isOneDag: Boolean(dag) }),
  );
}

function Dags({ dags, dag, onChange }) {
  const id = useId();
  if (dags.length < 2 && !dag) return null;
  return h(
    "span",
    { className: "s3az-select" },
    h("label", { htmlFor: id }, "DAG"),
    h(
      "select",
      { id, value: dag, onChange: (event) => onChange(event.target.value) },
      h("option", { value: "" }, `All ${count(dags.length)} DAGs`),
      dags.map((name) => h("option", { key: name, value: name }, name)),
    ),
  );
}

function Runs({ view, runs, isOneDag }) {
  const [isWhole, setWhole] = useState(false);
  if (!runs.length) {
    return h(Notice, null, `No migration that you have access to ran in the last ${view.days} days.`);
  }
  const reported = runs.filter(hasFigures);
  const sum = (value) => reported.reduce((total, run) => total + value(run), 0);
  const failedRuns = runs.filter((run) => run.state === "failed").length;
  const sentBytes = sum((run) => run.bytes_sent);
  // Weighted by time: the average over the time in which runs sent something.
  const busySeconds = sum((run) => (run.bytes_per_second ? run.bytes_sent / run.bytes_per_second : 0));
  const shown = isWhole ? runs : runs.slice(0, FIRST_ROWS);
  return [
    h(
      Card,
      { key: "sum", id: "sum", title: `The last ${view.days} days`, aside: view.is_cut && h(Badge, { state: "up_for_retry", label: "only the newest 1,000 runs" }) },
      h(
        Figures,
        { label: `The last ${view.days} days` },
        h(Figure, { name: "Runs", value: count(runs.length), detail: failedRuns ? h("span", { className: "s3az-tone-bad" }, `${count(failedRuns)} failed`) : "none failed" }),
        h(Figure, { name: "Bytes sent", value: size(sentBytes) }),
        h(Figure, { name: "Resumed", value: size(sum((run) => run.bytes_resumed)) }),
        h(Figure, { name: "Objects copied", value: count(sum((run) => run.copied.objects)) }),
        h(Figure, { name: "Objects failed", value: count(sum((run) => run.failed.objects)), tone: sum((run) => run.failed.objects) ? "bad" : undefined }),
        h(Figure, { name: "Average rate", value: busySeconds ? rate(sentBytes / busySeconds) : "–" }),
        h(Figure, { name: "Retried requests", value: count(sum((run) => run.retries)) }),
      ),
      reported.length > 1 && h(RunsChart, { runs: reported, onOpen: open }),
      reported.length > 1 && h(Legend),
    ),
    h(Reasons, { key: "reasons", runs: reported }),
    h(Comparisons, { key: "comparisons", runs: runs.filter((run) => run.comparison), isOneDag }),
    h(
      Card,
      { key: "runs", id: "runs", title: "Runs" },
      h(Table, {
        caption: "Runs, newest first",
        columns: [
          { name: "Started" },
          ...(isOneDag ? [] : [{ name: "DAG" }]),
          { name: "State" },
          { name: "Copied", isNumber: true },
          { name: "Sent", isNumber: true },
          { name: "Resumed", isNumber: true },
          { name: "Rate", isNumber: true },
          { name: "Duration", isNumber: true },
          { name: "Unchanged", isNumber: true },
          { name: "Skipped", isNumber: true },
          { name: "Failed", isNumber: true },
          { name: "Retries", isNumber: true },
        ],
        rows: shown.map((run) => runRow(run, isOneDag)),
      }),
      runs.length > FIRST_ROWS &&
        h("button", { type: "button", className: "s3az-more", onClick: () => setWhole(!isWhole) }, isWhole ? `Show the newest ${FIRST_ROWS}` : `Show all ${count(runs.length)} runs`),
    ),
  ];
}

// A click in the chart follows the link in the table, which keyboards and screen readers use.
function open(run) {
  const path = migrationPath(run.dag_id, run.run_id);
  document.querySelector(`a[data-run="${CSS.escape(path)}"]`)?.click();
}

function runRow(run, isOneDag) {
  const path = migrationPath(run.dag_id, run.run_id);
  const figure = (value) => (hasFigures(run) ? value : "–");
  return {
    key: path,
    cells: [
      h(Link, { to: path, "data-run": path }, dateTime(run.started_at)),
      ...(isOneDag ? [] : [run.dag_id]),
      h("span", null, h(Badge, { state: run.state }), run.dry_run && " dry run"),
      figure(count(run.copied.objects)),
      figure(size(run.bytes_sent)),
      figure(run.bytes_resumed ? size(run.bytes_resumed) : "–"),
      figure(run.bytes_per_second ? rate(run.bytes_per_second) : "–"),
      duration(run.seconds),
      figure(count(run.unchanged.objects)),
      figure(count(run.skipped.objects)),
      figure(h("span", { className: run.failed.objects ? "s3az-tone-bad" : undefined }, count(run.failed.objects))),
      figure(count(run.retries)),
    ],
  };
}

const Legend = () =>
  h(
    "ul",
    { className: "s3az-legend" },
    h("li", { className: "s3az-key-busy" }, "sent"),
    h("li", { className: "s3az-key-resumed" }, "resumed (not sent again)"),
    h("li", { className: "s3az-key-bad" }, "sent by a failed run"),
  );

const STANDINGS = ["equal", "unproven", "missing", "stale", "changed", "left_out", "extra"];
const DRIFT = ["missing", "stale", "changed"];

/** What the task compare found: how the objects of both sides stand. */
function Comparisons({ runs, isOneDag }) {
  if (!runs.length) return null;
  const cell = ({ comparison }, name) =>
    h("span", { className: DRIFT.includes(name) && comparison[name].objects ? "s3az-tone-bad" : undefined }, count(comparison[name].objects));
  return h(
    Card,
    { id: "comparisons", title: "Comparisons" },
    h(Table, {
      caption: "Comparisons, newest first",
      columns: [
        { name: "Started" },
        ...(isOneDag ? [] : [{ name: "DAG" }]),
        ...["listed", ...STANDINGS].map((name) => ({ name: words(name), isNumber: true })),
      ],
      rows: runs.slice(0, FIRST_ROWS).map((run) => ({
        key: migrationPath(run.dag_id, run.run_id),
        cells: [
          h(Link, { to: migrationPath(run.dag_id, run.run_id) }, dateTime(run.started_at)),
          ...(isOneDag ? [] : [run.dag_id]),
          ...["listed", ...STANDINGS].map((name) => cell(run, name)),
        ],
      })),
    }),
  );
}

function Reasons({ runs }) {
  const counts = new Map();
  for (const run of runs) {
    for (const { reason, objects } of run.failures) {
      const earlier = counts.get(reason) ?? { objects: 0, runs: 0 };
      counts.set(reason, { objects: earlier.objects + objects, runs: earlier.runs + 1 });
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

globalThis.AirflowPlugin = History;
