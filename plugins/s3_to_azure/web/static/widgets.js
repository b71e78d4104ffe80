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

/**
 * A table that scrolls inside its card; `columns` are `{name, isNumber, isText, sort}`, `rows` are `{key, cells}`.
 *
 * `sort` is the name of the column that the rows are sorted by, after a minus if the largest come first. A stacked table
 * becomes a list where there is little room, each cell with its column's name.
 */
export function Table({ caption, columns, rows, isStacked = false, sort, onSort }) {
  const align = (index) => (columns[index].isNumber ? "s3az-number" : undefined);
  return h(
    "div",
    // Focusable, so that it can be scrolled by keyboard.
    { className: `s3az-scroll${isStacked ? " s3az-stacked" : ""}`, tabIndex: 0, role: "group", "aria-label": `${caption}, table` },
    h(
      "table",
      // As a list it would lose its roles.
      { role: "table" },
      h("caption", { className: "s3az-hidden" }, caption),
      h(
        "thead",
        { role: "rowgroup" },
        h(
          "tr",
          { role: "row" },
          ...columns.map((column, index) => h(Heading, { key: column.name, column, className: align(index), sort, onSort })),
        ),
      ),
      h(
        "tbody",
        { role: "rowgroup" },
        rows.map(({ key, cells }) =>
          h(
            "tr",
            { key, role: "row" },
            ...cells.map((cell, index) => h("td", { role: "cell", className: align(index), "data-name": columns[index].name }, cell)),
          ),
        ),
      ),
    ),
  );
}

function Heading({ column, className, sort, onSort }) {
  const header = { role: "columnheader", scope: "col", className };
  if (!onSort || !column.sort) return h("th", header, column.name);
  const direction = sort === column.sort ? "ascending" : sort === `-${column.sort}` ? "descending" : "none";
  // The largest and the newest come first, texts in their order.
  const [first, second] = column.isText ? [column.sort, `-${column.sort}`] : [`-${column.sort}`, column.sort];
  const next = sort === first ? second : first;
  const mark = { ascending: " ▲", descending: " ▼", none: "" }[direction];
  return h(
    "th",
    { ...header, "aria-sort": direction },
    h("button", { type: "button", className: "s3az-sort", onClick: () => onSort(next) }, column.name, h("span", { "aria-hidden": true }, mark)),
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
        // A space, because a screen reader reads both as one name.
        option.count !== undefined && [" ", h("span", { key: "count", className: "s3az-count" }, count(option.count))],
      ),
    ),
  );
}

export const Notice = ({ tone = "quiet", children, role = "status" }) =>
  h("p", { className: `s3az-notice s3az-${tone}`, role }, children);
