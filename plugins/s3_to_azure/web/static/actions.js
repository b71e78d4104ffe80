// What a user can do with a run. Airflow's own API does it, with the user's own rights, after the user has read what.

import { askAirflow } from "./data.js";
import { AskFirst } from "./dialog.js";
import { count, counted } from "./format.js";
import { clearApi, csvApi, dagApi, isOwnPage, logPath, migrationPath, runApi, triggerApi } from "./links.js";
import { h, Fragment, Link, useState } from "./react.js";
import { Notice } from "./widgets.js";

const MOST_INDEXES = 20;

/** The buttons, and the logs of the tasks around the copies. */
export function Actions({ view, onDone }) {
  const [asked, setAsked] = useState("");
  const [result, setResult] = useState(null);
  const { may, retry, logs } = view.actions;
  const close = () => setAsked("");
  const done = (text) => {
    close();
    setResult(text);
    onDone();
  };
  const dialog = { view, onDone: done, onClose: close };
  const open = (name) => () => {
    setResult(null);
    setAsked(name);
  };
  return h(
    "section",
    { className: "s3az-actions", "aria-label": "Actions" },
    retry.length > 0 && h(ActionButton, { isAllowed: may.clear, onClick: open("retry") }, "Retry failed"),
    h(ActionButton, { isAllowed: may.trigger, onClick: open("again") }, "Run again"),
    view.report && h(Csv, { view }),
    h(Refusal, { retry, may }),
    logs.length > 0 &&
      h(
        "span",
        { className: "s3az-logs" },
        "Logs: ",
        logs.map((task, index) => [
          index ? ", " : "",
          h(Link, { key: `${task.task_id} ${task.map_index}`, to: logPath(view.run, task.task_id, task.map_index, task.try_number) }, task.task_id),
        ]),
      ),
    result && h(Notice, { tone: "good" }, result),
    !retry.length && view.phase === "ended" && view.report?.failed.objects > 0 &&
      h(Notice, null, "No copy task failed, so there is nothing to retry: the plan refused these objects. Run again plans anew."),
    asked === "retry" && h(RetryFailed, dialog),
    asked === "again" && h(RunAgain, dialog),
  );
}

const ActionButton = ({ isAllowed, onClick, children }) =>
  h("button", { type: "button", className: "s3az-button", disabled: !isAllowed, onClick }, children);

function Refusal({ retry, may }) {
  const refused = [
    ...(retry.length && !may.clear ? ["clear this DAG's tasks"] : []),
    ...(may.trigger ? [] : ["start runs of this DAG"]),
  ];
  return refused.length > 0 && h("span", { className: "s3az-aside" }, `You do not have the permission to ${refused.join(" or to ")}.`);
}

/** The report's table: from the API server if it may read the state container, else by a command of the user's own. */
function Csv({ view }) {
  const [isShown, setShown] = useState(false);
  const [isCopied, setCopied] = useState(false);
  // Airflow 3.0 takes no cookie, so a plain download would be refused there.
  if (view.actions.may.download && !isOwnPage) {
    // In a tab of its own, which shows why if it fails.
    return h("a", { className: "s3az-button", href: csvApi(view.run.dag_id, view.run.run_id), target: "_blank", rel: "noreferrer" }, "Download CSV");
  }
  const name = view.report.files.find((file) => file.endsWith(".csv"));
  if (!view.report.location || !name) return null;
  const [container, ...folders] = view.report.location.split("/");
  const command = `az storage blob download --auth-mode login --account-name ACCOUNT --container-name ${quoted(container)} --name ${quoted([...folders, name].join("/"))} --file ${quoted(name)}`;
  return h(
    Fragment,
    null,
    h("button", { type: "button", className: "s3az-button", "aria-expanded": isShown, onClick: () => setShown(!isShown) }, "Download CSV"),
    isShown &&
      h(
        "div",
        { className: "s3az-notice s3az-command" },
        "The API server may not read the state container, so download the report with your own rights; ACCOUNT is the storage account. ",
        h("code", { tabIndex: 0 }, command),
        // Only a page from HTTPS or from this machine may write the clipboard.
        navigator.clipboard &&
          h("button", { type: "button", className: "s3az-button", onClick: () => navigator.clipboard.writeText(command).then(() => setCopied(true)) }, isCopied ? "Copied" : "Copy"),
      ),
  );
}

/** A word of a POSIX shell. */
const quoted = (word) => (/^[\w./:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

const pausedNote = (dag) => dag.is_paused && h(Notice, { tone: "warn" }, "The DAG is paused: Airflow starts nothing of it until it is unpaused.");

/** Clear the failed tasks and all that depend on them: Airflow runs them again, in this run. */
function RetryFailed({ view, ...rest }) {
  const { dag_id: dagId, run_id: runId } = view.run;
  const clear = (isDryRun) =>
    askAirflow(clearApi(dagId), {
      dry_run: isDryRun,
      dag_run_id: runId,
      task_ids: view.actions.retry,
      include_downstream: true,
      only_failed: false,
      reset_dag_runs: true,
    });
  return h(AskFirst, {
    title: "Retry what failed?",
    prepare: async () => {
      const [{ task_instances: tasks }, dag] = await Promise.all([clear(true), askAirflow(dagApi(dagId))]);
      return { tasks, dag };
    },
    describe: ({ tasks, dag }) => {
      const running = tasks.filter((task) => task.state === "running").length;
      return {
        confirm: tasks.length ? `Clear ${counted(tasks.length, "task")}` : null,
        text: h(
          Fragment,
          null,
          h("p", null, `Airflow clears ${counted(tasks.length, "task")} of this run, those that failed and those that depend on them, and runs them again with the run's plan and configuration. What is in Azure already is not sent again. The report is written anew.`),
          h("ul", null, namesOf(tasks, view.actions.retry).map((name) => h("li", { key: name }, name))),
          running > 0 && h(Notice, { tone: "warn" }, `${count(running)} of them ${running === 1 ? "is" : "are"} running: Airflow stops ${running === 1 ? "it" : "them"} first.`),
          pausedNote(dag),
        ),
      };
    },
    act: async () => {
      const { task_instances: tasks } = await clear(false);
      return `Airflow has cleared ${counted(tasks.length, "task")} and runs them again.`;
    },
    ...rest,
  });
}

/** The tasks by their ids, as `copy 3, 5, 9`; those that failed come first. */
function namesOf(tasks, failed) {
  const indexes = new Map(failed.map((task) => [[task].flat()[0], []]));
  for (const { task_id: id, map_index: index } of tasks) indexes.set(id, [...(indexes.get(id) ?? []), index]);
  return [...indexes].filter(([, all]) => all.length).map(([id, all]) => {
    const mapped = all.filter((index) => index >= 0).sort((a, b) => a - b);
    if (!mapped.length) return id;
    const more = mapped.length - MOST_INDEXES;
    return `${id} ${mapped.slice(0, MOST_INDEXES).join(", ")}${more > 0 ? ` and ${count(more)} more` : ""}`;
  });
}

/** Start a new run with this one's configuration. */
function RunAgain({ view, ...rest }) {
  const { dag_id: dagId, run_id: runId } = view.run;
  return h(AskFirst, {
    title: "Run again?",
    prepare: async () => {
      const [run, dag] = await Promise.all([askAirflow(runApi(dagId, runId)), askAirflow(dagApi(dagId))]);
      return { conf: run.conf ?? {}, dag };
    },
    describe: ({ conf, dag }) => ({
      confirm: "Start the run",
      text: h(
        Fragment,
        null,
        h("p", null, `Airflow starts a new run of ${dagId}, which lists and plans anew. Its date is now: an address with a date in it is today's, not this run's. It waits while another run of the DAG is active.`),
        Object.keys(conf).length
          ? [h("p", { key: "name" }, "Its configuration is that of this run:"), h("pre", { key: "conf", tabIndex: 0 }, JSON.stringify(conf, null, 2))]
          : h("p", null, "This run has no configuration, so the new run has the DAG's defaults."),
        conf.dry_run === true && h(Notice, null, "It is a dry run: it copies nothing."),
        pausedNote(dag),
      ),
    }),
    act: async ({ conf }) => {
      const run = await askAirflow(triggerApi(dagId), { logical_date: new Date().toISOString(), conf });
      return ["Airflow has started the run ", h(Link, { key: "run", to: migrationPath(dagId, run.dag_run_id) }, run.dag_run_id), "."];
    },
    ...rest,
  });
}
