// A table as a CSV file that the browser saves.

// A spreadsheet would take such a text for a formula.
const FORMULA = /^[=+\-@\t\r]/;

function cell(value) {
  const text = typeof value === "string" && FORMULA.test(value) ? `'${value}` : String(value ?? "");
  return `"${text.replaceAll('"', '""')}"`;
}

/** The rows as CSV; `columns` are `{name, value(row)}`. */
export const csvOf = (columns, rows) =>
  [columns.map(({ name }) => cell(name)), ...rows.map((row) => columns.map(({ value }) => cell(value(row))))]
    .map((cells) => `${cells.join(",")}\r\n`)
    .join("");

/** Save a text as a file. */
export function save(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
