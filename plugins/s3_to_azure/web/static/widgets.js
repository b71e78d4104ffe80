// The components of both pages. Texts are always children of React elements, never HTML.

import { count, percent, words } from "./format.js";
import { h } from "./react.js";

const COLOURS = {
  success: "good",
  done: "good",
  copied: "good",
  running: "busy",
  restarting: "busy",
  failed: "bad",
  upstream_failed: "bad",
  up_for_retry: "warn",
  waiting_to_retry: "warn",
  skipped: "quiet",
};

/** A state as a coloured word, which can be read without its colour. */
export function Badge({ state, label }) {
  return h("span", { className: `s3az-badge s3az-${COLOURS[state] ?? "quiet"}` }, label ?? words(state ?? "waiting"));
}

/** One figure with its name. */
export function Figure({ name, value, detail, tone }) {
  return h(
    "div",
    { className: "s3az-figure" },
    h("dt", null, name),
    h("dd", { className: tone ? `s3az-tone-${tone}` : undefined }, value, detail && h("small", null, detail)),
  );
}

export const Figures = ({ children, label }) => h("dl", { className: "s3az-figures", "aria-label": label }, children);

export function Card({ title, aside, children, id }) {
  const heading = `s3az-${id}`;
  return h(
    "section",
    { className: "s3az-card", "aria-labelledby": heading },
    h("header", null, h("h2", { id: heading }, title), aside),
    children,
  );
}

/** A progress bar: resumed, sent, and left. */
export function Bar({ done, resumed = 0, total, text, label, tone = "busy", isLarge = false }) {
  const value = percent(done, total);
  const resumedShare = Math.min(value, percent(Math.min(resumed, done), total));
  return h(
    "div",
    {
      className: `s3az-bar s3az-${tone}${isLarge ? " s3az-large" : ""}`,
      role: "progressbar",
      "aria-label": label,
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": value,
      "aria-valuetext": text,
    },
    h("span", { className: "s3az-resumed", style: { width: `${resumedShare}%` } }),
    h("span", { className: "s3az-sent", style: { width: `${value - resumedShare}%` } }),
  );
}

/** A table that scrolls inside its card; `columns` are `{name, isNumber}`, `rows` are `{key, cells}`. */
export function Table({ caption, columns, rows }) {
  const align = (index) => (columns[index].isNumber ? "s3az-number" : undefined);
  return h(
    "div",
    // Focusable, so that it can be scrolled by keyboard.
    { className: "s3az-scroll", tabIndex: 0, role: "group", "aria-label": `${caption}, table` },
    h(
      "table",
      null,
      h("caption", { className: "s3az-hidden" }, caption),
      h(
        "thead",
        null,
        h("tr", null, ...columns.map((column, index) => h("th", { scope: "col", className: align(index) }, column.name))),
      ),
      h(
        "tbody",
        null,
        rows.map(({ key, cells }) =>
          h("tr", { key }, ...cells.map((cell, index) => h("td", { className: align(index) }, cell))),
        ),
      ),
    ),
  );
}

/** A row of buttons, one of which is pressed. */
export function Choice({ label, value, options, onChange }) {
  return h(
    "div",
    { className: "s3az-choice", role: "group", "aria-label": label },
    options.map((option) =>
      h(
        "button",
        {
          key: option.value,
          type: "button",
          "aria-pressed": option.value === value,
          onClick: () => onChange(option.value),
        },
        option.label,
        option.count !== undefined && h("span", { className: "s3az-count" }, count(option.count)),
      ),
    ),
  );
}

export const Notice = ({ tone = "quiet", children, role = "status" }) =>
  h("p", { className: `s3az-notice s3az-${tone}`, role }, children);
