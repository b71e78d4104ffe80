// The pages' data, asked for again and again while somebody looks.

import { useEffect, useState } from "./react.js";

const SENTENCES = {
  401: "Your session has ended. Load the page again to sign in.",
  403: "You may not read the task instances and XComs of this DAG.",
  404: "There is no such run.",
};
const FINAL = [401, 403, 404];

class Refused extends Error {
  constructor(status) {
    super(SENTENCES[status] ?? `The API server answered ${status}.`);
    this.isFinal = FINAL.includes(status);
  }
}

async function ask(url, signal) {
  const answer = await fetch(url, { signal, credentials: "same-origin", headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Refused(answer.status);
  return answer.json();
}

/**
 * Return `{data, error, isLoading}` of an address; on an error the last data stay.
 *
 * `pause(data)` says after how many milliseconds to ask again, or null to stop. Nothing is asked while the tab is
 * hidden.
 */
export function usePolled(url, pause) {
  const [state, setState] = useState({ data: null, error: null, isLoading: true });

  useEffect(() => {
    const stop = new AbortController();
    let timer;
    let failures = 0;

    const later = (milliseconds) => {
      if (milliseconds !== null) timer = setTimeout(turn, milliseconds);
    };
    const turn = async () => {
      if (document.hidden) {
        document.addEventListener("visibilitychange", turn, { once: true, signal: stop.signal });
        return;
      }
      try {
        const data = await ask(url, stop.signal);
        failures = 0;
        setState({ data, error: null, isLoading: false });
        later(pause(data));
      } catch (error) {
        if (stop.signal.aborted) return;
        failures += 1;
        setState((before) => ({ ...before, error, isLoading: false }));
        later(error.isFinal ? null : Math.min(60_000, 2_000 * 2 ** failures));
      }
    };

    setState({ data: null, error: null, isLoading: true });
    turn();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [url, pause]);

  return state;
}
