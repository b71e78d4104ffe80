// The pages' data, polled while the page is visible.

import { isOwnPage } from "./links.js";
import { useCallback, useEffect, useRef, useState } from "./react.js";

const MESSAGES = {
  401: isOwnPage ? "Sign in to Airflow, and load this page again." : "Your session has ended. Load the page again to sign in.",
  403: "You do not have permission to read the task instances and XComs of this DAG.",
  404: "This run does not exist.",
};
const FINAL = [401, 403, 404];

class HttpError extends Error {
  constructor(status, message) {
    super(message ?? MESSAGES[status] ?? `The API server answered ${status}.`);
    this.status = status;
    this.isFinal = FINAL.includes(status);
  }
}

function request(url, options) {
  // Airflow 3.0's UI keeps its token there, and its API takes no cookie.
  const token = isOwnPage ? localStorage.getItem("token") : null;
  const headers = { Accept: "application/json", ...(token && { Authorization: `Bearer ${token}` }), ...options.headers };
  return fetch(url, { credentials: "same-origin", ...options, headers });
}

async function getJson(url, signal) {
  const response = await request(url, { signal });
  if (!response.ok) throw new HttpError(response.status);
  return response.json();
}

/** Return `{data, error}` of an address, asked again when `version` changes; `data` stays until there is a new one. */
export function useFetched(url, version) {
  const [state, setState] = useState({ data: null, error: null });
  useEffect(() => {
    const stop = new AbortController();
    getJson(url, stop.signal).then(
      (data) => setState({ data, error: null }),
      (error) => stop.signal.aborted || setState((previous) => ({ ...previous, error })),
    );
    return () => stop.abort();
  }, [url, version]);
  return state;
}

/**
 * Ask Airflow's own API with the rights of the signed-in user; an error has Airflow's own words.
 *
 * No other site can: the browser sends Airflow's session cookie (SameSite=Lax) with no request of theirs but links, and
 * asks Airflow before it sends JSON from another origin.
 */
export async function askAirflow(url, body) {
  const response = await request(url, body ? { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } } : {});
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (response.status === 401) throw new HttpError(401);
  if (response.status === 403) throw new HttpError(403, "Airflow refused it: you do not have the permission.");
  throw new HttpError(response.status, `Airflow answered ${response.status}${typeof answer.detail === "string" ? `: ${answer.detail}` : ""}.`);
}

/**
 * Return `{data, error, isLoading, refresh}` of an address; after an error, `data` is still the last response.
 *
 * `pause(data)` returns the milliseconds until the next request, or null to stop. No request is sent while the tab is
 * hidden.
 */
export function usePolled(url, pause) {
  const [state, setState] = useState({ data: null, error: null, isLoading: true });
  const again = useRef(() => {});

  useEffect(() => {
    const stop = new AbortController();
    let timer;
    let failures = 0;

    const schedule = (milliseconds) => {
      // One at a time, whatever a refresh has begun.
      clearTimeout(timer);
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
    again.current = () => {
      clearTimeout(timer);
      poll();
    };
    poll();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [url, pause]);

  const refresh = useCallback(() => again.current(), []);
  return { ...state, refresh };
}
