// Shows a page by itself: the Migration page of the run that the address names, else the history.

import * as React from "./preact/compat.js";
import { historyPath, runPath } from "./links.js";

const asked = new URLSearchParams(location.search);
const [dagId, runId] = [asked.get("dag_id"), asked.get("run_id")];
const airflow = new URL("../../", import.meta.url);

globalThis.React = React;
document.head.append(Object.assign(document.createElement("base"), { href: airflow.href }));
document.documentElement.className = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
await import(runId ? "./migration.js" : "./history.js");

const h = React.createElement;
const ways = [
  [airflow.href, "Airflow"],
  [historyPath, "All migrations"],
  ...(runId ? [[new URL(runPath(dagId, runId).slice(1), airflow).href, runId]] : []),
];
React.render(
  [
    h("nav", { key: "ways", className: "s3az-ways" }, ways.map(([href, name]) => h("a", { key: href, href }, name))),
    h("main", { key: "page" }, h(globalThis.AirflowPlugin, { dagId, runId })),
  ],
  document.body,
);
