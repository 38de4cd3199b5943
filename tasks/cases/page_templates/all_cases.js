"use strict";
// Sorts and filters the table of the cases. Without it the table is there, the most urgent case first.
const table = document.getElementById("cases");
const body = table.tBodies[0];
const rows = [...body.rows];
const headings = [...table.tHead.rows[0].cells];
const concern = document.getElementById("concern");
const label = document.getElementById("label");
const text = document.getElementById("text");
const collator = new Intl.Collator("en-GB", { numeric: true });

function value(row, column) {
  return row.cells[column].dataset.value ?? "";
}

function sort(heading) {
  const next = { none: "ascending", ascending: "descending", descending: "none" }[heading.getAttribute("aria-sort")];
  for (const other of headings) if (other.dataset.sort) other.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", next);
  let ordered = rows;
  if (next !== "none") {
    const column = headings.indexOf(heading);
    const compare = heading.dataset.sort === "number" ? (a, b) => a - b : collator.compare;
    const sign = next === "ascending" ? 1 : -1;
    // What has no value comes last both ways; what is the same stays in the order of urgency.
    const keyed = rows.map((row) => [value(row, column), row]);
    keyed.sort(([a], [b]) => (a === "") - (b === "") || sign * compare(a, b));
    ordered = keyed.map(([, row]) => row);
  }
  body.append(...ordered);
}

let words;
function filter() {
  words ??= rows.map((row) => row.textContent.toLowerCase());
  const wanted = text.value.trim().toLowerCase();
  let shown = 0;
  rows.forEach((row, place) => {
    row.hidden =
      (concern.value !== "" && row.dataset.concern !== concern.value) ||
      (label.value !== "" && row.dataset.label !== label.value) ||
      !words[place].includes(wanted);
    shown += !row.hidden;
  });
  document.getElementById("status").textContent = `${shown} of ${rows.length} shown`;
}

for (const heading of headings) {
  if (!heading.dataset.sort) continue;
  const button = document.createElement("button");
  button.type = "button";
  button.append(...heading.childNodes);
  heading.append(button);
  heading.setAttribute("aria-sort", "none");
  button.addEventListener("click", () => sort(heading));
}
for (const control of [concern, label, text]) control.addEventListener("input", filter);
document.getElementById("controls").hidden = false;
filter();
