// The pages' data, polled while the page is visible.

import { isOwnPage } from "./links.js";
import { useEffect, useState } from "./react.js";

const MESSAGES = {
  401: isOwnPage ? "Sign in to Airflow, and load this page again." : "Your session has ended. Load the page again to sign in.",
  403: "You do not have permission to read the task instances and XComs of this DAG.",
  404: "This run does not exist.",
};
const FINAL = [401, 403, 404];

class HttpError extends Error {
  constructor(status) {
    super(MESSAGES[status] ?? `The API server answered ${status}.`);
    this.isFinal = FINAL.includes(status);
  }
}

async function getJson(url, signal) {
  // Airflow 3.0's UI keeps its token there, and its API takes no cookie.
  const token = isOwnPage ? localStorage.getItem("token") : null;
  const headers = { Accept: "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
  const response = await fetch(url, { signal, credentials: "same-origin", headers });
  if (!response.ok) throw new HttpError(response.status);
  return response.json();
}

/**
 * Return `{data, error, isLoading}` of an address; after an error, `data` is still the last response.
 *
 * `pause(data)` returns the milliseconds until the next request, or null to stop. No request is sent while the tab is
 * hidden.
 */
export function usePolled(url, pause) {
  const [state, setState] = useState({ data: null, error: null, isLoading: true });

  useEffect(() => {
    const stop = new AbortController();
    let timer;
    let failures = 0;

    const schedule = (milliseconds) => {
      if (milliseconds !== null) timer = setTimeout(poll, milliseconds);
    };
    const poll = async () => {
      if (document.hidden) {
        document.addEventListener("visibilitychange", poll, { once: true, signal: stop.signal });
        return;
      }
      try {
        const data = await getJson(url, stop.signal);
        failures = 0;
        setState({ data, error: null, isLoading: false });
        schedule(pause(data));
      } catch (error) {
        if (stop.signal.aborted) return;
        failures += 1;
        setState((previous) => ({ ...previous, error, isLoading: false }));
        schedule(error.isFinal ? null : Math.min(60_000, 2_000 * 2 ** failures));
      }
    };

    setState({ data: null, error: null, isLoading: true });
    poll();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [url, pause]);

  return state;
}
