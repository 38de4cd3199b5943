"use strict";
// Sorts and filters the table of the cases. Without it all of the table is there, the most urgent case first.
const MOST = 500; // rows shown at once: a browser takes seconds to lay out ten thousand
const table = document.getElementById("cases");
const body = table.tBodies[0];
const rows = [...body.rows];
const headings = [...table.tHead.rows[0].cells];
const [concern, label, text, status, more] = ["concern", "label", "text", "status", "more"].map((id) =>
  document.getElementById(id),
);
const collator = new Intl.Collator("en-GB", { numeric: true });
let ordered = rows;
let words;

function show(most = MOST) {
  const wanted = text.value.trim().toLowerCase();
  if (wanted) words ??= new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const found = ordered.filter(
    (row) =>
      (concern.value === "" || row.dataset.concern === concern.value) &&
      (label.value === "" || row.dataset.label === label.value) &&
      (!wanted || words.get(row).includes(wanted)),
  );
  body.replaceChildren(...found.slice(0, most));
  more.hidden = found.length <= most;
  status.textContent =
    `${found.length} of ${rows.length} pictures` + (more.hidden ? "" : `, the first ${most} are shown`);
}

function sort(heading) {
  const next = { none: "ascending", ascending: "descending", descending: "none" }[heading.getAttribute("aria-sort")];
  for (const other of headings) if (other.dataset.sort) other.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", next);
  ordered = rows;
  if (next !== "none") {
    const column = headings.indexOf(heading);
    const compare = heading.dataset.sort === "number" ? (a, b) => a - b : collator.compare;
    const sign = next === "ascending" ? 1 : -1;
    // What has no value comes last both ways; what is the same stays in the order of urgency.
    const keyed = rows.map((row) => [row.cells[column].dataset.value ?? "", row]);
    keyed.sort(([a], [b]) => (a === "") - (b === "") || sign * compare(a, b));
    ordered = keyed.map(([, row]) => row);
  }
  show();
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
for (const control of [concern, label, text]) control.addEventListener("input", () => show());
more.addEventListener("click", () => show(rows.length));
document.getElementById("controls").hidden = false;
show();
