// The history of all migrations that the user may read.

import { usePolled } from "./data.js";
import { count, dateOf, rate, size } from "./format.js";
import { RunsChart } from "./history_chart.js";
import { PERIOD_OPTIONS, STATES, useChoice } from "./history_choice.js";
import { Comparisons, Migrations, Reasons, Runs } from "./history_parts.js";
import { historyApi, migrationPath } from "./links.js";
import { h, loadStyles, useId, useMemo } from "./react.js";
import { Badge, Card, Choice, Figure, Figures, Notice } from "./widgets.js";

loadStyles();

const pause = () => 60_000;
const hasFigures = (run) => run.has_figures;

function History() {
  const [choice, change] = useChoice();
  const url = useMemo(() => historyApi(choice.days, choice.dag), [choice.days, choice.dag]);
  const { data: view, error, isLoading } = usePolled(url, pause);
  return h(
    "div",
    { className: "s3az" },
    h(
      "header",
      { className: "s3az-head" },
      h("h1", null, "S3 to Azure migrations"),
      h(Dags, { dags: view?.dags ?? [], dag: choice.dag, onChange: (dag) => change({ dag, from: "", to: "" }) }),
      h(Choice, { label: "Period", value: choice.days, options: PERIOD_OPTIONS, onChange: (days) => change({ days, from: "", to: "" }) }),
    ),
    error && h(Notice, { tone: "bad", role: "alert" }, error.message),
    isLoading && h(Notice, null, "Loading …"),
    view && h(Whole, { view, choice, change }),
  );
}

function Dags({ dags, dag, onChange }) {
  const id = useId();
  if (dags.length < 2 && !dag) return null;
  const named = dag && !dags.includes(dag) ? [dag, ...dags] : dags;
  return h(
    "span",
    { className: "s3az-select" },
    h("label", { htmlFor: id }, "DAG"),
    h(
      "select",
      { id, value: dag, onChange: (event) => onChange(event.target.value) },
      h("option", { value: "" }, `All ${count(dags.length)} DAGs`),
      named.map((name) => h("option", { key: name, value: name }, name)),
    ),
  );
}

function Whole({ view, choice, change }) {
  const { runs } = view;
  const isOneDag = Boolean(choice.dag);
  if (!view.migrations.length) return h(Notice, null, "There is no migration that you have access to.");
  const withFigures = runs.filter(hasFigures);
  return [
    h(Migrations, { key: "migrations", view, onChoose: (dag) => change({ dag, from: "", to: "" }) }),
    h(Sums, { key: "sums", view, runs, reported: withFigures, onChoose: (bar) => openOrChoose(bar, change) }),
    h(Reasons, { key: "reasons", runs: withFigures }),
    h(Runs, { key: "runs", runs: chosenRuns(runs, choice), all: runs, choice, change, isOneDag }),
    h(Comparisons, { key: "comparisons", runs: runs.filter((run) => run.comparison), isOneDag }),
  ];
}

/** The runs of the chosen days and state. */
function chosenRuns(runs, { from, to, state }) {
  const inDays = (run) => !from || (dateOf(run.started_at) >= from && dateOf(run.started_at) <= to);
  return runs.filter((run) => STATES[state].has(run) && inDays(run));
}

// A click in the chart follows the link in the table, which keyboards and screen readers use.
function openOrChoose({ from, to, runs }, change) {
  // The run may be on another page of the table.
  const link = runs.length === 1 && document.querySelector(`a[data-run="${CSS.escape(migrationPath(runs[0].dag_id, runs[0].run_id))}"]`);
  if (link) link.click();
  else change({ from, to, state: "all" });
}

function Sums({ view, runs, reported, onChoose }) {
  if (!runs.length) return h(Notice, null, `No migration ran in the last ${view.days} days.`);
  const sum = (value) => reported.reduce((total, run) => total + value(run), 0);
  const failedRuns = runs.filter((run) => run.state === "failed").length;
  const missed = sum((run) => run.missed);
  const sentBytes = sum((run) => run.bytes_sent);
  // Weighted by time: the average over the time in which runs sent something.
  const timed = reported.filter((run) => run.bytes_per_second);
  const busySeconds = timed.reduce((total, run) => total + run.bytes_sent / run.bytes_per_second, 0);
  const timedBytes = timed.reduce((total, run) => total + run.bytes_sent, 0);
  const failedObjects = sum((run) => run.failed.objects);
  const unreported = runs.filter(STATES.unreported.has).length;
  const name = `The last ${view.days} days`;
  return h(
    Card,
    { id: "sum", title: name, aside: view.is_cut && h(Badge, { state: "up_for_retry", label: "only the newest 1,000 runs" }) },
    h(
      Figures,
      { label: name },
      h(Figure, { name: "Runs", value: count(view.totals.runs), detail: failedRuns ? h("span", { className: "s3az-tone-bad" }, `${count(failedRuns)} failed`) : "none failed" }),
      unreported > 0 && h(Figure, { name: "Without report", value: count(unreported) }),
      h(Figure, { name: "Bytes sent", value: size(sentBytes) }),
      h(Figure, { name: "Resumed", value: size(sum((run) => run.bytes_resumed)) }),
      h(Figure, { name: "Objects copied", value: count(sum((run) => run.copied.objects)) }),
      h(Figure, { name: "Objects failed", value: count(failedObjects), tone: failedObjects ? "bad" : undefined }),
      missed > 0 && h(Figure, { name: "Missed by events", value: count(missed), tone: "bad" }),
      h(Figure, { name: "Average rate", value: busySeconds ? rate(timedBytes / busySeconds) : "–" }),
      h(Figure, { name: "Retried requests", value: count(sum((run) => run.retries)) }),
    ),
    h(RunsChart, { runs, now: view.now, days: view.days, onChoose }),
    h(Legend),
  );
}

const Legend = () =>
  h(
    "ul",
    { className: "s3az-legend" },
    h("li", { className: "s3az-key-busy" }, "sent"),
    h("li", { className: "s3az-key-resumed" }, "resumed (not sent again)"),
    h("li", { className: "s3az-key-bad" }, "sent by a failed run, or nothing sent"),
  );

globalThis.AirflowPlugin = History;
