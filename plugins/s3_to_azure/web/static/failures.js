// The failed objects of a run: by reason, and as a list that is searched, sorted and paged by the API server.

import { useFetched } from "./data.js";
import { count, counted, size, words } from "./format.js";
import { failuresApi, helpPath, logPath } from "./links.js";
import { h, Fragment, Link, useEffect, useState } from "./react.js";
import { REASONS } from "./reasons.js";
import { Badge, Card, Notice, Table } from "./widgets.js";

const LIST = "s3az-failed-objects";
const TYPING_MS = 300;

const nameOf = (reason) => (reason ? words(reason) : "reason not recorded yet");

/** The reasons with their counts, one sample each, and what to do; each leads to its objects in the list. */
export function FailureGroups({ view, onChoose }) {
  const groups = view.failure_groups;
  if (!groups.length) return null;
  const total = groups.reduce((sum, { objects }) => sum + objects, 0);
  return h(
    Card,
    { id: "reasons", title: "Failures by reason", aside: h("span", { className: "s3az-aside" }, counted(total, "object")) },
    h(
      "ul",
      { className: "s3az-groups" },
      groups.map((group) => h(Group, { key: group.reason, group, onChoose })),
    ),
  );
}

function Group({ group, onChoose }) {
  const [meaning, remedy, place] = REASONS[group.reason] ?? [];
  return h(
    "li",
    null,
    h("strong", { className: "s3az-group-count" }, count(group.objects)),
    h(
      "div",
      null,
      h("h3", null, nameOf(group.reason), meaning && h("span", { className: "s3az-aside" }, ` ${meaning}`)),
      group.sample && h("p", { className: "s3az-sample" }, "Such as ", h("code", null, group.sample)),
      remedy && h("p", { className: "s3az-remedy" }, h("strong", null, "What to do: "), remedy),
      h(
        "p",
        { className: "s3az-group-links" },
        group.reason !== "" &&
          h(
            "button",
            { type: "button", className: "s3az-more", onClick: () => onChoose(group.reason) },
            group.objects === 1 ? "Show the object" : `Show all ${count(group.objects)}`,
          ),
        place && h("a", { href: helpPath(place), target: "_blank", rel: "noreferrer" }, `More about “${nameOf(group.reason)}”`),
      ),
    ),
  );
}

const ORDERS = [
  { value: "listing", label: "As listed" },
  { value: "key", label: "Object" },
  { value: "reason", label: "Reason" },
  { value: "size", label: "Size" },
];

/** All failed objects, page by page. `chosen` is `{reason, at}`: a reason that was chosen above. */
export function FailureList({ view, chosen }) {
  const [typed, setTyped] = useState("");
  const [query, setQuery] = useState({ reason: "", search: "", order: "listing", descending: false, page: 1 });
  const change = (part) => setQuery((now) => ({ ...now, page: 1, ...part }));
  useEffect(() => {
    const search = typed.trim();
    // Whatever has been chosen meanwhile stays, unless the words are new.
    const timer = setTimeout(() => setQuery((now) => (now.search === search ? now : { ...now, search, page: 1 })), TYPING_MS);
    return () => clearTimeout(timer);
  }, [typed]);
  useEffect(() => {
    if (!chosen.at) return;
    setTyped("");
    change({ reason: chosen.reason, search: "" });
    const card = document.getElementById(LIST);
    card?.scrollIntoView({ block: "start" });
    card?.focus({ preventScroll: true });
  }, [chosen]);
  const groups = view.failure_groups;
  if (!groups.length) return null;
  return h(
    "div",
    { id: LIST, tabIndex: -1, className: "s3az-anchor" },
    h(Rows, { view, query, change, typed, setTyped, groups }),
  );
}

function Rows({ view, query, change, typed, setTyped, groups }) {
  const total = groups.reduce((sum, { objects }) => sum + objects, 0);
  // A running run has new failures, an ended one whose tasks were cleared has fewer.
  const { data, error } = useFetched(failuresApi(view.run.dag_id, view.run.run_id, query), `${total} ${view.phase}`);
  return h(
    Card,
    { id: "failures", title: "Failed objects", aside: h(Badge, { state: "failed", label: count(total) }) },
    h(Search, { query, change, typed, setTyped, groups }),
    error && h(Notice, { tone: "bad", role: "alert" }, error.message),
    data?.note && h(Notice, { tone: "warn" }, data.note),
    data?.is_cut && h(Notice, { tone: "warn" }, `Only the first ${count(data.read)} failed objects are searched here. The report's CSV has all of them.`),
    data && h(FoundRows, { view, data }),
    data && h(Pages, { data, change }),
  );
}

function Search({ query, change, typed, setTyped, groups }) {
  const named = groups.filter(({ reason }) => reason);
  return h(
    "form",
    { className: "s3az-search", role: "search", onSubmit: (event) => event.preventDefault() },
    h("label", null, "Search ", h("input", { type: "search", value: typed, maxLength: 1000, placeholder: "a part of the key or reason", onChange: (event) => setTyped(event.target.value) })),
    h(Select, { label: "Reason", value: query.reason, onChange: (reason) => change({ reason }) }, [
      { value: "", label: "All reasons" },
      ...named.map(({ reason, objects }) => ({ value: reason, label: `${words(reason)} (${count(objects)})` })),
    ]),
    h(Select, { label: "Sort by", value: query.order, onChange: (order) => change({ order, descending: order === "size" }) }, ORDERS),
    query.order !== "listing" &&
      h(
        "button",
        { type: "button", className: "s3az-more", "aria-pressed": query.descending, onClick: () => change({ descending: !query.descending }) },
        query.descending ? "Descending" : "Ascending",
      ),
  );
}

const Select = ({ label, value, onChange, children }) =>
  h(
    "label",
    null,
    `${label} `,
    h(
      "select",
      { value, onChange: (event) => onChange(event.target.value) },
      children.map((option) => h("option", { key: option.value, value: option.value }, option.label)),
    ),
  );

function FoundRows({ view, data }) {
  if (!data.rows.length) return h(Notice, null, "No failed object is like this.");
  const table = h(Table, {
    caption: "Failed objects",
    isStacked: true,
    columns: [{ name: "Object" }, { name: "Reason" }, { name: "Size", isNumber: true }, { name: "Log" }],
    rows: data.rows.map((failed, index) => ({
      key: `${data.first + index}`,
      cells: [
        h("code", { className: "s3az-key" }, failed.key),
        h("span", { className: "s3az-reason" }, failed.reason),
        failed.size_bytes ? size(failed.size_bytes) : "–",
        h(
          Fragment,
          null,
          h(
            Link,
            { to: logPath(view.run, failed.task_id, failed.map_index, failed.try_number) },
            failed.map_index === null ? `Log of ${failed.task_id}` : `${failed.map_index >= 0 ? `Task ${failed.map_index}` : failed.task_id}, try ${failed.try_number}`,
          ),
          failed.will_retry && h("small", null, " may be retried"),
        ),
      ],
    })),
  });
  return h("div", { className: "s3az-shared" }, table);
}

function Pages({ data, change }) {
  const { page, pages, first, rows, matching } = data;
  const to = (number, label, isOff) =>
    h("button", { type: "button", className: "s3az-more", disabled: isOff, onClick: () => change({ page: number }) }, label);
  return h(
    "nav",
    { className: "s3az-pages", "aria-label": "Pages of failed objects" },
    h("span", { role: "status" }, rows.length ? `${count(first)} to ${count(first + rows.length - 1)} of ${count(matching)}` : "0 objects"),
    pages > 1 && to(1, "First", page <= 1),
    pages > 1 && to(page - 1, "Previous", page <= 1),
    pages > 1 && h("span", null, `Page ${count(page)} of ${count(pages)}`),
    pages > 1 && to(page + 1, "Next", page >= pages),
    pages > 1 && to(pages, "Last", page >= pages),
  );
}
