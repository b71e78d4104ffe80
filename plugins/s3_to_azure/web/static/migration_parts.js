// The Migration page's sections.

import { count, counted, duration, percent, rate, size, words } from "./format.js";
import { logPath } from "./links.js";
import { h, Fragment, Link, useState } from "./react.js";
import { Badge, Bar, Card, Choice, Figure, Figures, Notice, Table } from "./widgets.js";

const FIRST_ROWS = 50;

const PHASES = {
  waiting: "Waiting for objects",
  planning: "Listing and planning",
  copying: "Copying",
  reporting: "Reconciling",
  ended: "Ended",
};

export function phaseText(view) {
  if (view.phase !== "ended") return PHASES[view.phase];
  if (view.dry_run) return "Dry run ended";
  return view.run.state === "success" ? "Completed" : "Failed";
}

const tone = (view) => (view.run.state === "success" ? "good" : view.run.state === "failed" ? "bad" : "busy");

/** The run's head: from where to where, how far, how fast, how long. */
export function Overview({ view }) {
  const { totals, tasks } = view;
  const isEnded = view.phase === "ended";
  const share = percent(totals.bytes_done, totals.bytes_total);
  const said = `${share}%, ${size(totals.bytes_done)} of ${size(totals.bytes_total)}`;
  const left = Math.max(0, totals.bytes_total - totals.bytes_done);
  const waiting = (tasks.waiting ?? 0) + (tasks.waiting_to_retry ?? 0);
  const lost = tasks.failed ? `, ${count(tasks.failed)} failed` : "";
  const failed = view.report ? view.report.failed.objects : totals.objects_failed;
  return h(
    Card,
    {
      id: "overview",
      title: h(
        Fragment,
        null,
        totals.bytes_total > 0 && h("span", { className: "s3az-percent" }, `${share}%`),
        ` ${phaseText(view)}`,
      ),
      aside: h(Badge, { state: view.run.state }),
    },
    h(Route, { view }),
    h(Bar, {
      done: totals.bytes_done,
      resumed: totals.bytes_resumed,
      total: totals.bytes_total,
      label: "Bytes in Azure",
      text: said,
      tone: tone(view),
      isLarge: true,
    }),
    h(
      Figures,
      { label: "Figures of this run" },
      h(Figure, { name: "Bytes", value: size(totals.bytes_done), detail: `of ${size(totals.bytes_total)}` }),
      h(Figure, { name: "Objects", value: count(totals.objects_done), detail: `of ${count(totals.objects_total)}` }),
      h(Figure, {
        name: isEnded ? "Mean rate" : "Rate now",
        value: isEnded ? rate(view.mean_bytes_per_second) : rate(view.bytes_per_second),
        detail: isEnded ? undefined : `mean ${rate(view.mean_bytes_per_second)}`,
      }),
      isEnded
        ? h(Figure, { name: "Duration", value: duration(seconds(view.run.started_at, view.run.ended_at)) })
        : h(Figure, {
            name: "Time left",
            value: duration(view.seconds_left),
            detail: left ? `${size(left)} left` : undefined,
          }),
      h(Figure, {
        name: isEnded ? "Tasks" : "Tasks at work",
        value: isEnded ? count(view.batches.length) : count(tasks.running ?? 0),
        detail: isEnded
          ? `${count(tasks.done ?? 0)} succeeded${lost}`
          : `${count(waiting)} waiting, ${count(tasks.done ?? 0)} done${lost}`,
      }),
      h(Figure, {
        name: "Not sent again",
        value: size(totals.bytes_resumed),
        detail: counted(totals.retries, "retried request"),
      }),
      h(Figure, { name: "Failed objects", value: count(failed), tone: failed ? "bad" : undefined }),
    ),
  );
}

const seconds = (from, to) => (from && to ? (new Date(to) - new Date(from)) / 1000 : null);

function Route({ view }) {
  const { source, destination } = view;
  if (!source.bucket) return null;
  return h(
    "p",
    { className: "s3az-route" },
    h("code", null, `s3://${source.bucket}/${source.prefix}`),
    h("span", { "aria-label": "to" }, " → "),
    h("code", null, destination.container ? `az://${destination.container}/${destination.prefix}` : "Azure"),
  );
}

/** The failed objects: which, why, and whose log tells more. */
export function Failures({ view }) {
  if (!view.failures.length) return null;
  const rows = view.failures.map((failed, index) => ({
    key: index,
    cells: [
      h("code", { className: "s3az-key" }, failed.key),
      h("span", { className: "s3az-reason" }, failed.reason),
      h(
        Link,
        { to: logPath(view.run, failed.task_id, failed.map_index, failed.try_number), className: "s3az-nowrap" },
        failed.map_index === null ? `Log of ${failed.task_id}` : `Task ${failed.map_index}, try ${failed.try_number}`,
      ),
      failed.will_retry ? h(Badge, { state: "up_for_retry", label: "a retry may follow" }) : h(Badge, { state: "failed" }),
    ],
  }));
  return h(
    Card,
    { id: "failures", title: "Failed objects", aside: h(Badge, { state: "failed", label: count(rows.length + view.more_failures) }) },
    h(Table, {
      caption: "Failed objects",
      columns: [{ name: "Object" }, { name: "Reason" }, { name: "Log" }, { name: "State" }],
      rows,
    }),
    view.more_failures > 0 &&
      h(Notice, null, `${counted(view.more_failures, "more object")} failed; ${view.report ? "the report names all of them" : "the tasks' logs name them"}.`),
  );
}

const GROUPS = [
  { value: "all", label: "All", has: () => true },
  { value: "work", label: "At work", has: (state) => ["running", "restarting"].includes(state) },
  { value: "failed", label: "Failed", has: (state) => ["failed", "upstream_failed", "up_for_retry"].includes(state) },
  { value: "waiting", label: "Waiting", has: (state) => [null, "none", "scheduled", "queued", "deferred"].includes(state) },
  { value: "done", label: "Done", has: (state) => ["success", "skipped"].includes(state) },
];
const URGENCY = { failed: 0, upstream_failed: 0, up_for_retry: 1, running: 2, restarting: 2, queued: 3, scheduled: 4, success: 6 };
const urgency = (batch) => URGENCY[batch.state] ?? 5;
const BAR_TONES = { failed: "bad", upstream_failed: "bad", up_for_retry: "warn", success: "good" };

/** The copy tasks, each with its bar; those that need a look come first. */
export function Tasks({ view }) {
  const [group, setGroup] = useState("all");
  const [isWhole, setWhole] = useState(false);
  if (!view.batches.length) return null;
  const { has } = GROUPS.find(({ value }) => value === group);
  const chosen = view.batches
    .filter((batch) => has(batch.state))
    .sort((one, other) => urgency(one) - urgency(other) || one.map_index - other.map_index);
  const shown = isWhole ? chosen : chosen.slice(0, FIRST_ROWS);
  const options = GROUPS.map(({ value, label, has: belongs }) => ({
    value,
    label,
    count: view.batches.filter((batch) => belongs(batch.state)).length,
  })).filter((option) => option.count || option.value === "all" || option.value === group);
  return h(
    Card,
    {
      id: "tasks",
      title: "Tasks",
      aside: h(Choice, { label: "Which tasks to show", value: group, options, onChange: setGroup }),
    },
    chosen.length === 0 && h(Notice, null, "No task is in this state."),
    chosen.length > 0 &&
      h(Table, {
        caption: "Copy tasks",
        columns: [
          { name: "Task" },
          { name: "Copies" },
          { name: "State" },
          { name: "Progress" },
          { name: "Rate", isNumber: true },
          { name: "Not sent again", isNumber: true },
          { name: "Try", isNumber: true },
          { name: "Log" },
        ],
        rows: shown.map((batch) => taskRow(view, batch)),
      }),
    chosen.length > FIRST_ROWS &&
      h(
        "button",
        { type: "button", className: "s3az-more", onClick: () => setWhole(!isWhole) },
        isWhole ? `Show the first ${FIRST_ROWS}` : `Show all ${count(chosen.length)} tasks`,
      ),
  );
}

function taskRow(view, batch) {
  const name = batch.map_index >= 0 ? String(batch.map_index) : batch.task_id;
  const done = `${size(batch.bytes_done)} of ${size(batch.bytes_total)}`;
  const objects = counted(batch.objects_total, "object");
  const failed = batch.objects_failed ? `, ${count(batch.objects_failed)} failed` : "";
  return {
    key: `${batch.task_id} ${batch.map_index}`,
    cells: [
      name,
      h("span", { className: "s3az-what", title: batch.label || undefined }, batch.label || objects),
      h(Badge, { state: batch.state }),
      h(
        "div",
        { className: "s3az-progress" },
        h(Bar, {
          done: batch.bytes_done,
          resumed: batch.bytes_resumed,
          total: batch.bytes_total,
          tone: BAR_TONES[batch.state],
          label: `Task ${name}`,
          text: `${percent(batch.bytes_done, batch.bytes_total)}%, ${done}${failed}`,
        }),
        h("small", null, `${done}${batch.objects_total > 1 ? ` · ${count(batch.objects_done)} of ${objects}` : ""}${failed}`),
      ),
      batch.bytes_per_second ? rate(batch.bytes_per_second) : "–",
      batch.bytes_resumed ? size(batch.bytes_resumed) : "–",
      batch.try_number || "–",
      batch.shown_try
        ? h(Link, { to: logPath(view.run, batch.task_id, batch.map_index, batch.shown_try), "aria-label": `Log of task ${name}` }, "Log")
        : "–",
    ],
  };
}

const amountText = (amount) => `${counted(amount.objects, "object")}, ${size(amount.bytes)}`;

const amountRow = (name, amount, note = "") => ({
  key: `${name} ${note}`,
  cells: [name, note, count(amount.objects), size(amount.bytes)],
});
const AMOUNT_COLUMNS = [
  { name: "What became of it" },
  { name: "Why" },
  { name: "Objects", isNumber: true },
  { name: "Bytes", isNumber: true },
];

/** What the plan found; shown until the report replaces it. */
export function Plan({ view }) {
  const { plan } = view;
  if (!plan || view.report) return null;
  return h(
    Card,
    { id: "plan", title: "Plan", aside: h("span", { className: "s3az-aside" }, `${amountText(plan.listed)} listed`) },
    h(Table, {
      caption: "Plan",
      columns: AMOUNT_COLUMNS,
      rows: [
        amountRow("To copy", plan.copy),
        amountRow("Unchanged", plan.unchanged),
        ...plan.skipped.map((item) => amountRow("Skipped", item, words(item.reason))),
        ...plan.failed.map((item) => amountRow("Cannot be copied", item, words(item.reason))),
      ],
    }),
    plan.warnings.map((warning) => h(Notice, { key: warning, tone: "warn" }, warning)),
  );
}

const STATUSES = ["copied", "unchanged", "skipped", "failed"];

/** The reconciled report: every listed object accounted for, how it was proven, and where the files are. */
export function Report({ view }) {
  const { report } = view;
  if (!report) return null;
  const sum = STATUSES.map((status) => `${count(report[status].objects)} ${status}`).join(" + ");
  const rows = STATUSES.flatMap((status) => {
    const badge = h(Badge, { state: status });
    const reasons = report.reasons.filter((item) => item.status === status);
    if (reasons.length) return reasons.map((item) => amountRow(badge, item, words(item.reason)));
    return report[status].objects ? [amountRow(badge, report[status])] : [];
  });
  return h(
    Fragment,
    null,
    h(
      Card,
      { id: "report", title: "Report", aside: h("span", { className: "s3az-aside" }, `${rate(report.bytes_per_second)} over ${duration(report.seconds)}`) },
      h("p", { className: "s3az-equation" }, h("strong", null, `${count(report.listed.objects)} listed`), ` = ${sum}`),
      h(Table, {
        caption: "Report",
        columns: AMOUNT_COLUMNS,
        rows: rows.map((row, index) => ({ ...row, key: index })),
      }),
      report.location &&
        h(
          "p",
          { className: "s3az-files" },
          "Every object's row: ",
          h("code", null, `az://${report.location}/${report.files.find((name) => name.endsWith(".csv")) ?? ""}`),
        ),
    ),
    h(Proofs, { report }),
    h(Slowest, { report }),
  );
}

function Proofs({ report }) {
  const total = report.proofs.reduce((sum, proof) => sum + proof.objects, 0);
  if (!total) return null;
  return h(
    Card,
    { id: "proofs", title: "How the copies were proven" },
    h(
      "ul",
      { className: "s3az-proofs" },
      report.proofs.map((proof) =>
        h(
          "li",
          { key: proof.rung },
          h("span", null, proof.rung),
          h(Bar, {
            done: proof.objects,
            total,
            tone: proof.rung === "transport" ? "warn" : "good",
            label: proof.rung,
            text: `${count(proof.objects)} of ${counted(total, "object")}`,
          }),
          h("span", { className: "s3az-number" }, count(proof.objects)),
        ),
      ),
    ),
    report.proofs.some((proof) => proof.rung === "transport") &&
      h(Notice, null, "transport: S3 stores no checksum for these objects, so they are proven from the worker to Azure only."),
  );
}

function Slowest({ report }) {
  if (!report.slowest.length) return null;
  return h(
    Card,
    { id: "slowest", title: "Slowest objects" },
    h(Table, {
      caption: "Slowest objects",
      columns: [
        { name: "Object" },
        { name: "Size", isNumber: true },
        { name: "Time", isNumber: true },
        { name: "Rate", isNumber: true },
      ],
      rows: report.slowest.map((item, index) => ({
        key: index,
        cells: [
          h("code", { className: "s3az-key" }, item.key),
          size(item.bytes),
          item.seconds < 10 ? `${item.seconds.toFixed(1)} s` : duration(item.seconds),
          item.seconds ? rate(item.bytes / item.seconds) : "–",
        ],
      })),
    }),
  );
}

/** The run's other tasks that failed: without them nothing is copied. */
export function OtherTasks({ view }) {
  // The report's task fails when an object did: then the page says more than its log.
  const isTold = (task) => task.task_id === "report" && view.report;
  const failed = view.other_tasks.filter((task) => ["failed", "up_for_retry"].includes(task.state) && !isTold(task));
  return failed.map((task) =>
    h(
      Notice,
      { key: `${task.task_id} ${task.map_index}`, tone: task.state === "failed" ? "bad" : "warn" },
      `Task ${task.task_id} ${task.state === "failed" ? "failed" : "failed and will be tried again"}. `,
      h(Link, { to: logPath(view.run, task.task_id, task.map_index, task.try_number) }, "Read its log"),
    ),
  );
}
