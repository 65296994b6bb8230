"use strict";

// The page is complete without this script, which sorts and filters the table and says what the
// plot's points are. All it shows comes out of the table, as text.

const table = document.getElementById("layers");
const collator = new Intl.Collator("en", { numeric: true });

function makeSortable(rows) {
  const titles = [...table.tHead.rows[0].cells];
  titles.forEach((title, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...title.childNodes);
    button.addEventListener("click", () => sort(rows, titles, column));
    title.append(button);
  });
  titles[0].setAttribute("aria-sort", "ascending");
}

function sort(rows, titles, column) {
  const title = titles[column];
  const isFigure = title.className === "figure";
  // Errors are read from the largest down, numbers and names from the first.
  const orders = isFigure && column > 0 ? ["descending", "ascending"] : ["ascending", "descending"];
  const order = orders[title.getAttribute("aria-sort") === orders[0] ? 1 : 0];
  titles.forEach((each) => each.removeAttribute("aria-sort"));
  title.setAttribute("aria-sort", order);
  const compare = isFigure ? byMagnitude : byText;
  const sign = order === "ascending" ? 1 : -1;
  const sorted = [...rows].sort((a, b) => sign * compare(a.cells[column], b.cells[column]));
  table.tBodies[0].append(...sorted);
}

function byMagnitude(a, b) {
  return magnitude(a) - magnitude(b);
}

function magnitude(cell) {
  const value = cell.dataset.value;
  if (value === undefined) return -1; // not compared
  return { inf: Number.MAX_VALUE, nan: Infinity }[value] ?? Number(value);
}

function byText(a, b) {
  return collator.compare(a.textContent, b.textContent);
}

// The box that filters, and how to clear it.
function makeFilter(rows) {
  const form = document.createElement("p");
  form.id = "filter";
  const label = document.createElement("label");
  const input = document.createElement("input");
  const found = document.createElement("span");
  input.type = "search";
  found.setAttribute("role", "status");
  label.append("Filter by name", input);
  form.append(label, found);
  table.parentElement.before(form);
  const filter = () => {
    const wanted = input.value.toLowerCase();
    for (const row of rows) row.hidden = !nameOf(row).toLowerCase().includes(wanted);
    const shown = rows.filter((row) => !row.hidden).length;
    found.textContent = wanted ? `${shown} of ${rows.length} layers` : "";
    form.className = wanted ? "filtered" : "";
  };
  input.addEventListener("input", filter);
  return () => {
    input.value = "";
    filter();
  };
}

function nameOf(row) {
  return row.cells[1].textContent;
}

// To a hand the plot is a thing to point at, to a keyboard and a screen reader a slider.
function makeReadable(rows, showAllRows) {
  const chart = document.getElementById("chart");
  const readout = document.getElementById("readout");
  const points = chart.querySelectorAll(".float64 circle");
  let position = 0;

  function show(to) {
    position = Math.min(Math.max(to, 0), rows.length - 1);
    mark(points[position]);
    const texts = describe(rows[position], readout);
    chart.setAttribute("aria-valuenow", position + 1);
    chart.setAttribute("aria-valuetext", texts.join(", "));
  }

  function pointAt(event) {
    const box = chart.getBoundingClientRect();
    show(Math.floor((rows.length * (event.clientX - box.left)) / box.width));
  }

  function jump() {
    showAllRows();
    const row = rows[position];
    row.tabIndex = -1;
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "center" });
  }

  const moves = {
    ArrowLeft: () => position - 1,
    ArrowRight: () => position + 1,
    PageDown: () => position - 10,
    PageUp: () => position + 10,
    Home: () => 0,
    End: () => rows.length - 1,
  };
  chart.addEventListener("keydown", (event) => {
    if (event.key === "Enter") jump();
    else if (event.key in moves) show(moves[event.key]());
    else return;
    event.preventDefault();
  });
  chart.addEventListener("pointermove", pointAt);
  chart.addEventListener("pointerdown", pointAt);
  chart.addEventListener("click", (event) => {
    if (event.pointerType !== "touch") jump(); // a finger reads first, and has the link
  });
  chart.addEventListener("focus", () => show(position));
  document.addEventListener("click", (event) => {
    if (event.target.closest("a")) showAllRows(); // every link leads to a row
  });

  chart.tabIndex = 0;
  chart.setAttribute("role", "slider");
  chart.setAttribute("aria-label", "Error by layer");
  chart.setAttribute("aria-valuemin", 1);
  chart.setAttribute("aria-valuemax", rows.length);
  readout.textContent = "Point at the plot, or focus it and use the arrow keys, to read a layer; "
    + "click or press Enter to go to its row.";
}

// The cursor's line and ring go to a point.
function mark(point) {
  const cursor = document.getElementById("cursor");
  const [line, ring] = cursor.children;
  const [x, y] = [point.getAttribute("cx"), point.getAttribute("cy")];
  line.setAttribute("x1", x);
  line.setAttribute("x2", x);
  ring.setAttribute("cx", x);
  ring.setAttribute("cy", y);
  cursor.removeAttribute("display");
}

// A link to a layer's row and its other cells, each behind its column's title; as texts, too.
function describe(row, readout) {
  const link = document.createElement("a");
  link.href = `#${row.id}`;
  link.append(row.cells[1].firstChild.cloneNode(true));
  const items = [...table.tHead.rows[0].cells].map((title, column) => {
    const item = document.createElement("span");
    item.textContent = `${title.textContent} ${row.cells[column].textContent}`;
    return item;
  });
  items[1] = link;
  readout.replaceChildren(...items);
  return items.map((item) => item.textContent);
}

if (table) {
  const rows = [...table.tBodies[0].rows];
  makeSortable(rows);
  makeReadable(rows, makeFilter(rows));
}
