// SPDX-License-Identifier: Apache-2.0
// What every part of the dashboard uses: the data, what the reader chose, elements, frames, exports.
"use strict";

let data = JSON.parse(document.getElementById("data").textContent);
// have: units of inputs that the reader has; metric: the one shown, by kind of target.
const state = { have: new Set(data.units.keys()), metric: { ...data.main }, open: null };
const frames = new Map(); // by key: { plot, rows, svg }, what is exported of each chart

const $ = (id) => document.getElementById(id);

/** An element with attributes, of which false and null are left out, and children. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value !== false && value !== null) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}

const known = (value) => typeof value === "number" && Number.isFinite(value);

/** A number as people read it: three decimals below 10, fewer above, a dash where there is none. */
function written(value) {
  if (!known(value)) return "–";
  const size = Math.abs(value);
  return value.toFixed(size < 10 ? 3 : size < 100 ? 2 : 0).replace("-", "−");
}

/** A duration in minutes. */
const lasted = (minutes) =>
  !known(minutes)
    ? "–"
    : minutes < 1
      ? `${Math.round(minutes * 60)} s`
      : minutes < 120
        ? `${Math.round(minutes)} min`
        : `${(minutes / 60).toFixed(1)} h`;

// Rows of data.cells: a row a target and set of inputs.
const valueOf = (row, metric, end = "") => data.cells[metric + end]?.[row] ?? null;
const rowsOf = (target) => [...data.cells.target.keys()].filter((row) => data.cells.target[row] === target);
const rowAt = (target, set) => rowsOf(target).find((row) => data.cells.set[row] === set);
const metricOf = (target) => state.metric[data.targets[target].kind];
/** A title within a sentence: "balanced accuracy", but "ROC AUC". */
const inWords = (title) => (/^[A-Z][a-z]/.test(title) ? title[0].toLowerCase() + title.slice(1) : title);
const titleOf = (metric) => data.metrics[metric]?.title ?? metric;
const isMain = (target) => metricOf(target) === data.main[data.targets[target].kind];
const setName = (set) => data.sets[set].name || "nothing";
/** Whether the reader has all that a set of inputs needs. */
const available = (set) => data.sets[set].units.every((unit) => state.have.has(unit));

/** Rows of a target that the reader's data allow, the best first. */
function ranked(target, metric = metricOf(target)) {
  const sign = data.metrics[metric]?.lower ? 1 : -1;
  return rowsOf(target)
    .filter((row) => available(data.cells.set[row]) && known(valueOf(row, metric)))
    .sort((one, other) => sign * (valueOf(one, metric) - valueOf(other, metric)));
}

const bestOf = (target) => ranked(target)[0];

/** A value with its interval, if it has one. */
function ranging(value, low, high) {
  return written(value) + (known(low) && known(high) ? ` (${written(low)} to ${written(high)})` : "");
}

const estimate = (row, metric) => ranging(...["", "_low", "_high"].map((end) => valueOf(row, metric, end)));

/** Say something to those who do not see the page. */
function say(words) {
  $("said").textContent = words;
}

/** A table of columns and rows; cells are texts or elements. */
function tableOf(columns, rows) {
  const numeric = columns.map(
    (_, place) => rows.length > 0 && rows.every((row) => known(row[place]) || row[place] === null || row[place] === ""),
  );
  const kind = (place) => (numeric[place] ? "number" : null);
  const cell = (value, place) =>
    make(
      "td",
      { class: kind(place) },
      value instanceof Node ? value : known(value) ? written(value) : String(value ?? "–"),
    );
  const head = make(
    "tr",
    {},
    columns.map((name, place) => make("th", { scope: "col", class: kind(place) }, name)),
  );
  const body = rows.map((row) => make("tr", {}, row.map(cell)));
  return make("div", { class: "scroll" }, make("table", {}, make("thead", {}, head), make("tbody", {}, body)));
}

/** The frame of a chart: title, buttons that save it, the chart, and the same as a table. */
function frame(parent, key, title, note = "") {
  const save = (form) =>
    make("button", { type: "button", click: () => saved(key, form), "aria-label": `Save ${title} as ${form}` }, form);
  const plot = make("div", { class: "plot" });
  const fold = make("details", { class: "alternative" }, make("summary", {}, "As a table"));
  fold.addEventListener("toggle", () => {
    if (fold.open && fold.children.length === 1) fold.append(tableOf(...frames.get(key).rows()));
  });
  const head = make(
    "div",
    { class: "chart-head" },
    make("h3", {}, title),
    make("div", { class: "tools" }, ["SVG", "PNG", "CSV"].map(save)),
  );
  const figure = make(
    "figure",
    { class: "chart-frame", id: `chart-${key}` },
    head,
    plot,
    note ? make("figcaption", {}, note) : null,
    fold,
  );
  parent.append(figure);
  frames.set(key, { plot, rows: () => [[], []], svg: () => plotted(plot) });
  return frames.get(key);
}

// Charts are drawn when they come near the window, so that the page is there at once; all for paper.
const seen = new IntersectionObserver(
  (entries) => {
    for (const each of entries) {
      const one = [...frames.values()].find((chart) => chart.plot === each.target);
      if (one) one.near = each.isIntersecting;
      if (one?.near) refresh(one);
    }
  },
  { rootMargin: "400px" },
);

/** Draw a chart as soon as it is near, `height` pixels high until then. */
function later(one, height, draw) {
  Object.assign(one, { draw, stale: true });
  one.plot.style.minHeight = `${height}px`;
  if (one.near) refresh(one);
  else seen.observe(one.plot);
}

/** Draw what has changed; not before Plotly is there, which is large and comes last. */
function refresh(one) {
  if (one.stale && window.Plotly) one.draw(Object.assign(one, { stale: false }));
}

/** Draw what is near, now that Plotly is there. */
function ready() {
  for (const one of frames.values()) if (one.near) refresh(one);
  document.documentElement.dataset.ready = data.version;
}

window.addEventListener("beforeprint", () => frames.forEach(refresh));

/** The text of a plot of Plotly as SVG. */
async function plotted(plot) {
  const size = { width: plot.clientWidth, height: plot.clientHeight };
  const url = await Plotly.toImage(plot, { format: "svg", ...size });
  return decodeURIComponent(url.slice(url.indexOf(",") + 1));
}

/** Save a chart as SVG, PNG or CSV. */
async function saved(key, form) {
  const one = frames.get(key);
  if (form === "CSV") return download(`${key}.csv`, new Blob([csvOf(...one.rows())], { type: "text/csv" }));
  const svg = await one.svg();
  if (form === "SVG") return download(`${key}.svg`, new Blob([svg], { type: "image/svg+xml" }));
  const image = new Image();
  image.src = `data:image/svg+xml,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = make("canvas", { width: 2 * image.width, height: 2 * image.height });
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#ffffff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob((blob) => done(download(`${key}.png`, blob))));
}

/** Columns and rows as CSV; words that a spreadsheet would take for a formula begin with '. */
function csvOf(columns, rows) {
  const cell = (value) => {
    const plain = value instanceof Node ? value.textContent : (value ?? "");
    const words = known(plain) ? String(plain) : String(plain).replace(/^([=+\-@\t\r])/, "'$1");
    return /[",\r\n]/.test(words) ? `"${words.replaceAll('"', '""')}"` : words;
  };
  return [columns, ...rows].map((row) => `${row.map(cell).join(",")}\n`).join("");
}

function download(name, blob) {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/** A link to what lies beside the page, or null. */
const link = (href, words) => (href ? make("a", { href, target: "_blank", rel: "noopener" }, words) : null);
