"use strict";
// Sorts and filters the tables, and fades the layers of a slide. Without it every table and layer is there as it is.

// The value of a cell: its full figure where it has one, else its text; null where the figure is undefined.
function valueOf(cell) {
  const figure = cell.querySelector("data");
  if (figure) return Number(figure.value);
  const text = cell.textContent.trim();
  return text === "" || text === "\u2013" ? null : text;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function sortBy(table, column, descending) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => ({ row, value: valueOf(row.cells[column]) }));
  rows.sort((a, b) => {
    if (a.value === null || b.value === null) return (a.value === null) - (b.value === null); // undefined last, both ways
    return descending ? compare(b.value, a.value) : compare(a.value, b.value);
  });
  body.append(...rows.map((one) => one.row));
}

function makeSortable(table) {
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortBy(table, column, descending);
    });
  });
}

function makeFilter(form) {
  const table = document.getElementById(form.dataset.table);
  const rows = Array.from(table.tBodies[0].rows);
  const said = form.querySelector("output");
  const apply = () => {
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const flag = form.elements.flag ? form.elements.flag.value : "";
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const flags = (row.dataset.flags || "").split(" ");
      const fits = words.every((word) => text.includes(word)) && (flag === "" || flags.includes(flag));
      row.hidden = !fits;
      shown += fits;
    }
    said.textContent = `${shown} of ${rows.length} slides`;
  };
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", apply);
  form.addEventListener("change", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  form.hidden = false;
  apply();
}

function makeFader(slider) {
  const layer = document.getElementById(slider.dataset.layer);
  const said = slider.parentElement.querySelector("output");
  const apply = () => {
    layer.style.opacity = slider.value / 100;
    said.textContent = `${slider.value} %`;
  };
  slider.addEventListener("input", apply);
  apply();
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll("form.filter").forEach(makeFilter);
document.querySelectorAll("input[data-layer]").forEach(makeFader);
document.querySelectorAll(".needs-script").forEach((one) => { one.hidden = false; });
