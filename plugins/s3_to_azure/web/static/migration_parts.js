// The sections of the Migration page.

import { count, counted, duration, percent, rate, size, words } from "./format.js";
import { helpPath, logPath } from "./links.js";
import { h, Fragment, Link, useState } from "./react.js";
import { REASONS } from "./reasons.js";
import { Badge, Bar, Card, Choice, Figure, Figures, Notice, Table } from "./widgets.js";

const FIRST_ROWS = 20;

export const phaseText = (view) => view.verdict.state;

const TONES = { good: "success", bad: "failed", warn: "up_for_retry", busy: "running" };

/** The run's overview: the verdict, source and destination, settings, progress, and what its objects add up to. */
export function Overview({ view }) {
  const { totals, verdict } = view;
  const isEnded = view.phase === "ended";
  const share = percent(totals.bytes_done, totals.bytes_total);
  const progress = `${share}%, ${size(totals.bytes_done)} of ${size(totals.bytes_total)}`;
  return h(
    Card,
    {
      id: "overview",
      title: h("span", { className: "s3az-verdict" }, verdict.text),
      aside: h(
        "span",
        { className: "s3az-pills" },
        view.dry_run && !isEnded && h(Badge, { state: "skipped", label: "Dry run" }),
        h(Badge, { state: TONES[verdict.tone], label: verdict.state }),
      ),
    },
    h(Route, { view }),
    h(Settings, { view }),
    totals.bytes_total > 0 &&
      !view.dry_run &&
      h(
        Fragment,
        null,
        h(Bar, {
          done: totals.bytes_done,
          resumed: totals.bytes_resumed,
          total: totals.bytes_total,
          label: "Bytes in Azure",
          text: progress,
          tone: verdict.tone,
          isLarge: true,
        }),
        h("p", { className: "s3az-share" }, !isEnded && h("strong", { className: "s3az-percent" }, `${share}%`), `${size(totals.bytes_done)} of ${size(totals.bytes_total)} in Azure`),
      ),
    // A run that has ended without a listing has none.
    (view.numbers.listed > 0 || !isEnded) && h(RunFigures, { view }),
    h(Equation, { view }),
  );
}

function RunFigures({ view }) {
  const { numbers, totals, tasks } = view;
  const isEnded = view.phase === "ended";
  const left = Math.max(0, totals.bytes_total - totals.bytes_done);
  const waiting = (tasks.waiting ?? 0) + (tasks.waiting_to_retry ?? 0);
  const failedTasks = tasks.failed ? `, ${count(tasks.failed)} failed` : "";
  return h(
    Figures,
    { label: "Figures of this run" },
    h(Figure, { name: "Copied", value: count(numbers.copied), detail: `of ${counted(totals.objects_total, "object")} to copy` }),
    h(Figure, { name: "Failed", value: count(numbers.failed), tone: numbers.failed ? "bad" : undefined, detail: numbers.failed ? counted(view.failure_groups.filter(({ reason }) => reason !== "unplanned").length, "reason") : undefined }),
    h(Figure, {
      name: isEnded ? "Average rate" : "Current rate",
      value: isEnded ? rate(view.mean_bytes_per_second) : rate(view.bytes_per_second),
      detail: isEnded ? undefined : `average ${rate(view.mean_bytes_per_second)}`,
    }),
    isEnded
      ? h(Figure, { name: "Duration", value: duration(seconds(view.run.started_at, view.run.ended_at)) })
      : h(Figure, {
          name: "Time left",
          value: duration(view.seconds_left),
          detail: left ? `${size(left)} left` : undefined,
        }),
    h(Figure, {
      name: isEnded ? "Tasks" : "Running tasks",
      value: isEnded ? count(view.batches.length) : count(tasks.running ?? 0),
      detail: isEnded
        ? `${count(tasks.done ?? 0)} succeeded${failedTasks}`
        : `${count(waiting)} waiting, ${count(tasks.done ?? 0)} done${failedTasks}`,
    }),
    h(Figure, {
      name: "Resumed",
      value: size(totals.bytes_resumed),
      detail:
        counted(totals.retries, "retried request") +
        (totals.slow_downs ? `, ${count(totals.slow_downs)} of them throttled` : ""),
    }),
  );
}

/** What became of every listed object. */
function Equation({ view }) {
  const { numbers, report } = view;
  if (!numbers.listed) return null;
  const pending = view.phase === "ended" ? "not reached" : view.dry_run ? "to copy" : "still to copy";
  const parts = [
    `${count(numbers.copied)} copied`,
    `${count(numbers.unchanged)} unchanged`,
    `${count(numbers.skipped)} skipped`,
    `${count(numbers.failed)} failed`,
    ...(numbers.unplanned ? [`${count(numbers.unplanned)} not planned`] : []),
    ...(numbers.pending ? [`${count(numbers.pending)} ${pending}`] : []),
  ];
  return h(
    "p",
    { className: "s3az-equation" },
    h("strong", null, `${count(numbers.listed)} listed`),
    ` = ${parts.join(" + ")}`,
    report?.proven && h("span", { className: "s3az-proven" }, h("strong", null, "Proven: "), report.proven),
  );
}

function Settings({ view }) {
  if (!view.settings.length) return null;
  return h(
    "dl",
    { className: "s3az-settings", "aria-label": "Settings of this run" },
    view.settings.map(({ name, value }) => h("div", { key: name }, h("dt", null, words(name)), h("dd", null, value))),
  );
}

/** Why tasks failed, in their own words; the first cause first. */
export function Causes({ view }) {
  return view.causes.map((cause, index) =>
    h(
      "section",
      { key: `${cause.task_id} ${cause.map_index} ${cause.error}`, className: `s3az-cause s3az-${cause.will_retry ? "warn" : "bad"}`, role: index ? undefined : "alert", "aria-label": `Why ${cause.task_id} failed` },
      h(
        "p",
        null,
        h("strong", null, `${index && !cause.will_retry ? "Then " : ""}${cause.tasks > 1 ? counted(cause.tasks, "task") + " of " : ""}${cause.task_id} ${cause.will_retry ? "failed, and will be tried again" : "failed"}`),
        cause.subject && h(Fragment, null, " on ", h("code", null, cause.subject)),
        ": ",
        cause.message || "it could not say why. It was killed, ran out of memory, or stopped before its work began.",
      ),
      h(
        "p",
        { className: "s3az-group-links" },
        h(Link, { to: logPath(view.run, cause.task_id, cause.map_index, cause.log_try) }, "Read its log"),
        helpOf(cause.error) && h("a", { href: helpPath(helpOf(cause.error)), target: "_blank", rel: "noreferrer" }, `More about ${cause.error}`),
      ),
    ),
  );
}

const PLACES = new Set(Object.values(REASONS).map(([, , place]) => place));
const helpOf = (error) => (PLACES.has(error.toLowerCase()) ? error.toLowerCase() : "");

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

const GROUPS = [
  { value: "all", label: "All", has: () => true },
  { value: "running", label: "Running", has: (state) => ["running", "restarting"].includes(state) },
  { value: "failed", label: "Failed", has: (state) => ["failed", "upstream_failed", "up_for_retry"].includes(state) },
  { value: "waiting", label: "Waiting", has: (state) => [null, "none", "scheduled", "queued", "deferred"].includes(state) },
  { value: "done", label: "Done", has: (state) => ["success", "skipped"].includes(state) },
];
const URGENCY = { failed: 0, upstream_failed: 0, up_for_retry: 1, running: 2, restarting: 2, queued: 3, scheduled: 4, success: 6 };
const urgency = (batch) => URGENCY[batch.state] ?? 5;
const BAR_TONES = { failed: "bad", upstream_failed: "bad", up_for_retry: "warn", success: "good" };

/** The copy tasks with their progress; failed ones come first. */
export function Tasks({ view }) {
  const [group, setGroup] = useState("all");
  const [isWhole, setWhole] = useState(false);
  if (!view.batches.length) return null;
  const { has } = GROUPS.find(({ value }) => value === group);
  const chosen = view.batches
    .filter((batch) => has(batch.state))
    .sort((a, b) => urgency(a) - urgency(b) || a.map_index - b.map_index);
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
          { name: "Objects" },
          { name: "State" },
          { name: "Progress" },
          { name: "Rate", isNumber: true },
          { name: "Resumed", isNumber: true },
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
      h("span", { className: "s3az-content", title: batch.label || undefined }, batch.label || objects),
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
      batch.log_try
        ? h(Link, { to: logPath(view.run, batch.task_id, batch.map_index, batch.log_try), "aria-label": `Log of task ${name}` }, "Log")
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
  { name: "Result" },
  { name: "Reason" },
  { name: "Objects", isNumber: true },
  { name: "Bytes", isNumber: true },
];

/** The plan, shown until there is a report. */
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
    h(Ways, { ways: plan.ways, caption: "Planned way of the bytes" }),
  );
}

/** What Azure fetches by itself, and why it does not fetch the rest; nothing where all goes through the workers. */
function Ways({ ways, caption }) {
  if (!ways) return null;
  const blocks = [
    ...(ways.blocks_fetched ? [counted(ways.blocks_fetched, "block")] : []),
    ...(ways.blocks_streamed ? [`${counted(ways.blocks_streamed, "block")} through the workers`] : []),
  ];
  return h(Table, {
    caption,
    columns: [{ name: "Way" }, { name: "Detail" }, ...AMOUNT_COLUMNS.slice(2)],
    rows: [
      amountRow("Fetched by Azure", ways.fetched, blocks.join(", ")),
      ...ways.ended_streamed.map((item) => amountRow("Of these, ended through the workers", item, item.sentence || words(item.reason))),
      ...ways.not_fetched.map((item) =>
        amountRow(ways.others_fail ? "Not fetched" : "Through the workers", item, item.sentence || words(item.reason)),
      ),
    ],
  });
}

const STATUSES = ["copied", "unchanged", "skipped", "failed"];

/** The report: the result of every listed object, the verification levels, the slowest objects, the files. */
export function Report({ view }) {
  const { report } = view;
  if (!report) return null;
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
      h(Table, {
        caption: "Report",
        columns: AMOUNT_COLUMNS,
        rows: rows.map((row, index) => ({ ...row, key: index })),
      }),
      report.location &&
        h(
          "p",
          { className: "s3az-files" },
          "Report with one row for each object: ",
          h("code", null, `az://${report.location}/${report.files.find((name) => name.endsWith(".csv")) ?? ""}`),
        ),
      report.location && report.certificate.file &&
        h(
          "p",
          { className: "s3az-files" },
          "Certificate of all receipts: ",
          h("code", null, `az://${report.location}/${report.certificate.file}`),
          report.certificate.public_key ? ", signed by " : ", unsigned",
          report.certificate.public_key && h("code", null, report.certificate.public_key),
        ),
    ),
    report.ways && h(Card, { id: "ways", title: "Way of the bytes" }, h(Ways, { ways: report.ways, caption: "Way of the bytes" })),
    h(Verification, { report }),
    h(Slowest, { report }),
  );
}

function Verification({ report }) {
  const total = report.levels.reduce((sum, { objects }) => sum + objects, 0);
  if (!total) return null;
  return h(
    Card,
    { id: "verification", title: "Verification" },
    h(
      "ul",
      { className: "s3az-levels" },
      report.levels.map(({ level, objects }) =>
        h(
          "li",
          { key: level },
          h("span", null, level),
          h(Bar, {
            done: objects,
            total,
            tone: level === "transport" ? "warn" : "good",
            label: level,
            text: `${count(objects)} of ${counted(total, "object")}`,
          }),
          h("span", { className: "s3az-number" }, count(objects)),
        ),
      ),
    ),
    report.levels.some(({ level }) => level === "transport") &&
      h(Notice, null, "transport: S3 stores no checksum for these objects, so they are verified from the worker to Azure only."),
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
