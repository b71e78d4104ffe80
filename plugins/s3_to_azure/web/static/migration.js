// The Migration page of a DAG run.

import { Actions } from "./actions.js";
import { ThroughputChart } from "./chart.js";
import { usePolled } from "./data.js";
import { dateTime, duration, percent, rate, timeOfDay } from "./format.js";
import { migrationApi } from "./links.js";
import { FailureGroups, FailureList } from "./failures.js";
import { Causes, Overview, phaseText, Plan, Report, Tasks } from "./migration_parts.js";
import { h, Fragment, loadStyles, useMemo, useState } from "./react.js";
import { Card, Notice } from "./widgets.js";

// Tasks record their progress every 5 seconds.
const POLL_MS = 4_000;
const ANNOUNCED_STEP = 10;

loadStyles();

// Ended runs are polled too, but rarely: a task may be cleared and run again.
const pause = (view) => (view.phase === "ended" ? 60_000 : POLL_MS);

function Migration({ dagId, runId }) {
  const url = useMemo(() => migrationApi(dagId, runId), [dagId, runId]);
  const { data: view, error, isLoading, refresh } = usePolled(url, pause);
  const [chosen, setChosen] = useState({ reason: "", at: 0 });
  if (!view) {
    return h("div", { className: "s3az" }, h(Notice, error ? { tone: "bad", role: "alert" } : {}, error ? error.message : isLoading ? "Loading …" : ""));
  }
  if (!view.is_migration) {
    return h("div", { className: "s3az" }, h(Notice, null, "This run copies nothing from S3 to Azure."));
  }
  return h(
    "div",
    { className: "s3az" },
    h(Announcement, { view }),
    h(Freshness, { view, error }),
    h(Overview, { view }),
    h(Causes, { view }),
    h(Obstacles, { view }),
    h(Actions, { view, onDone: refresh }),
    h(FailureGroups, { view, onChoose: (reason) => setChosen({ reason, at: Date.now() }) }),
    h(Throughput, { view }),
    h(Report, { view }),
    h(Tasks, { view }),
    h(Plan, { view }),
    h(FailureList, { view, chosen }),
  );
}

/** What a screen reader announces while the run continues: each new phase, and each tenth. */
function Announcement({ view }) {
  const share = percent(view.totals.bytes_done, view.totals.bytes_total);
  const step = view.phase === "copying" ? `, ${ANNOUNCED_STEP * Math.floor(share / ANNOUNCED_STEP)} percent` : "";
  return h("p", { className: "s3az-hidden", role: "status", "aria-live": "polite" }, `Migration: ${phaseText(view)}${step}`);
}

function Freshness({ view, error }) {
  if (error) {
    return h(Notice, { tone: "warn", role: "alert" }, `Not updated since ${timeOfDay(view.now)}: ${error.message} ${error.isFinal ? "" : "Retrying."}`);
  }
  return h(
    "p",
    { className: "s3az-fresh" },
    view.phase === "ended" ? `As of ${timeOfDay(view.now)}` : h("span", null, h("span", { className: "s3az-live", "aria-hidden": true }), `Live, updated ${timeOfDay(view.now)}`),
  );
}

/** What the run waits for: objects, until when; or a pool that does not exist, for ever. */
function Obstacles({ view }) {
  return h(
    Fragment,
    null,
    view.waiting && h(Notice, null, `Next look at ${timeOfDay(view.waiting.next_look)}. It gives up at ${dateTime(view.waiting.until)}; then the run fails.`),
    ...view.missing_pools.map((pool) =>
      h(Notice, { key: pool, tone: "bad", role: "alert" }, `The pool ${pool} does not exist, so its tasks never start. Create it: airflow pools set ${pool} 8 "copies to Azure"`),
    ),
  );
}

function Throughput({ view }) {
  const { throughput } = view;
  const values = throughput.bytes_per_second;
  if (values.length < 2) return null;
  const peak = rate(Math.max(...values));
  return h(
    Card,
    {
      id: "throughput",
      title: "Throughput",
      aside: h("span", { className: "s3az-aside" }, `peak ${peak}, average ${rate(view.mean_bytes_per_second)} over ${duration(throughput.step_s * values.length)}`),
    },
    h(ThroughputChart, { throughput }),
  );
}

globalThis.AirflowPlugin = Migration;
