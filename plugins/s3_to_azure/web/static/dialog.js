// A dialog that shows what will happen, and asks before it does.

import { h, useEffect, useId, useRef, useState } from "./react.js";
import { Notice } from "./widgets.js";

/**
 * Ask before an action.
 *
 * `prepare()` finds out what would happen; `describe(found)` returns `{text, confirm}`: what to read, and the name of the
 * button, or null if there is nothing to do. `act(found)` does it; `onDone(result)` and `onClose()` follow.
 */
export function AskFirst({ title, prepare, describe, act, onDone, onClose }) {
  const dialog = useRef(null);
  const heading = useId();
  const [found, setFound] = useState(null);
  const [error, setError] = useState(null);
  const [isBusy, setBusy] = useState(false);

  useEffect(() => {
    let isOpen = true;
    dialog.current.showModal();
    prepare().then(
      (answer) => isOpen && setFound(answer),
      (failed) => isOpen && setError(failed),
    );
    return () => {
      isOpen = false;
    };
  }, []);

  const confirm = async () => {
    setBusy(true);
    try {
      onDone(await act(found));
    } catch (failed) {
      setError(failed);
      setBusy(false);
    }
  };
  const described = found && describe(found);
  return h(
    "dialog",
    {
      className: "s3az-dialog",
      ref: dialog,
      "aria-labelledby": heading,
      // Escape closes it by itself, which React must hear of.
      onCancel: (event) => {
        event.preventDefault();
        onClose();
      },
    },
    h("h2", { id: heading }, title),
    !found && !error && h(Notice, null, "Loading …"),
    described?.text,
    error && h(Notice, { tone: "bad", role: "alert" }, error.message),
    h(
      "div",
      { className: "s3az-buttons" },
      h("button", { type: "button", className: "s3az-button", onClick: onClose }, "Cancel"),
      described?.confirm &&
        h("button", { type: "button", className: "s3az-button s3az-primary", disabled: isBusy || error?.status === 403, onClick: confirm }, described.confirm),
    ),
  );
}
