// Addresses in Airflow's UI. Every part is encoded, because ids and keys may hold any character.

const part = encodeURIComponent;

export const runPath = (dagId, runId) => `/dags/${part(dagId)}/runs/${part(runId)}`;

const ownPage = new URL("page.html", import.meta.url);

/** Whether this is not a part of Airflow's UI: the UI of 3.0 has no place for it. */
export const isOwnPage = location.pathname === ownPage.pathname;

/** The address of a run's Migration page. */
export const migrationPath = (dagId, runId) =>
  isOwnPage
    ? `${ownPage.pathname}?dag_id=${part(dagId)}&run_id=${part(runId)}`
    : `${runPath(dagId, runId)}/plugin/s3_to_azure_migration`;

export const historyPath = ownPage.pathname;

/** The address of the log of one try of a task. */
export function logPath(run, taskId, mapIndex, tryNumber) {
  const mapped = mapIndex >= 0 && mapIndex !== null ? `/mapped/${part(mapIndex)}` : "";
  return `${runPath(run.dag_id, run.run_id)}/tasks/${part(taskId)}${mapped}?try_number=${part(tryNumber)}`;
}

const api = (path) => new URL(`../api/${path}`, import.meta.url).href;

export const migrationApi = (dagId, runId) => api(`dags/${part(dagId)}/migration?run_id=${part(runId)}`);

/** The address of one page of a run's failed objects. */
export const failuresApi = (dagId, runId, query) => api(`dags/${part(dagId)}/failures?${new URLSearchParams({ run_id: runId, ...query })}`);

/** The address of what to do about a reason. */
export const helpPath = (place) => `${new URL("help.html", import.meta.url).href}#${part(place)}`;

/** The address of the report's table, for a download. */
export const csvApi = (dagId, runId) => api(`dags/${part(dagId)}/report.csv?run_id=${part(runId)}`);

export const historyApi = (days, dag) => api(`history?days=${part(days)}&dag=${part(dag)}`);

/** An address of Airflow's own API. */
const airflowApi = (path) => new URL(`../../api/v2/${path}`, import.meta.url).href;

export const dagApi = (dagId) => airflowApi(`dags/${part(dagId)}`);

export const runApi = (dagId, runId) => airflowApi(`dags/${part(dagId)}/dagRuns/${part(runId)}`);

export const triggerApi = (dagId) => airflowApi(`dags/${part(dagId)}/dagRuns`);

export const clearApi = (dagId) => airflowApi(`dags/${part(dagId)}/clearTaskInstances`);
