// SPDX-License-Identifier: Apache-2.0
// Charts that Plotly draws: coefficients, costs, and curves of one model.
"use strict";

// Colours of saved charts, which are on white; on the page the style sheet overrides them.
const INK = "#1c1f24",
  SOFT = "#646a73",
  RULE = "#e5e2db",
  PAPER = "rgba(0,0,0,0)";
// Told apart by every kind of colour vision (after Okabe and Ito), as in the style of every page.
const SERIES = ["#1f5f9a", "#d55e00", "#00936c", "#b8578f", "#b98900", "#1c1f24"];
const QUIET = { displayModeBar: false, responsive: true };
const SANS = 'ui-sans-serif, system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif';

const axis = (more = {}) => ({
  zeroline: false,
  showline: false,
  gridcolor: RULE,
  linecolor: RULE,
  fixedrange: true,
  tickfont: { color: SOFT, size: 11 },
  title: { font: { color: SOFT, size: 12 } },
  ...more,
});
const titled = (text, more = {}) => axis({ title: { text, font: { color: SOFT, size: 12 }, standoff: 8 }, ...more });

/** Draw, or draw again. */
function plot(where, traces, layout) {
  const usual = {
    paper_bgcolor: PAPER,
    plot_bgcolor: PAPER,
    showlegend: false,
    font: { family: SANS, color: INK, size: 12 },
    margin: { l: 8, r: 8, t: 8, b: 40 },
    hoverlabel: { font: { family: SANS, size: 12 }, align: "left" },
  };
  Plotly.react(where, traces, { ...usual, ...layout }, QUIET);
}

/** Words as a chart writes them, which would take some for tags. */
const spelt = (words) => words.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

/** A name with as much room as a chart has. */
const shortened = (name, most) => ([...name].length > most ? `${[...name].slice(0, most - 1).join("")}…` : name);

const wrapped = (words, most) => linesOf(words, most).map(spelt).join("<br>");

/** Words on several lines, none longer than so many letters where they can be broken. */
function linesOf(words, most) {
  const lines = [""];
  for (const part of words.split(" ").map((each) => shortened(each, Math.max(most, 24)))) {
    const last = lines[lines.length - 1];
    if (last && last.length + part.length > most) lines.push(part);
    else lines[lines.length - 1] = last ? `${last} ${part}` : part;
  }
  return lines;
}

// ---- what each input adds ----

const stars = (p) => (!known(p) ? "" : p < 0.001 ? "***" : p < 0.01 ? "**" : p < 0.05 ? "*" : "");

function drawEffects() {
  const box = $("effects"),
    method = $("effects-method").value,
    test = $("effects-test").value;
  for (const key of [...frames.keys()].filter((each) => each.startsWith("effects-"))) frames.delete(key);
  box.replaceChildren();
  const groups = new Map();
  for (const each of data.effects.filter((one) => one.method === method)) {
    const name = [each.domain || "All targets", each.target].filter(Boolean).join(": ");
    const key = `${name}, ${inWords(titleOf(each.metric))}`;
    groups.set(key, [...(groups.get(key) ?? []), each]);
  }
  for (const [name, rows] of groups) {
    const models = Math.max(...rows.map((each) => each.models)),
      targets = Math.max(...rows.map((each) => each.targets));
    const one = frame(
      box,
      `effects-${box.children.length + 1}`,
      name,
      `${models} models of ${targets} target${targets === 1 ? "" : "s"}.`,
    );
    later(one, 34 * rows.length + 96, () => drawEffect(one, rows, test));
    const columns = [
      "unit",
      "metric",
      "models",
      "targets",
      "estimate",
      "low",
      "high",
      "p_value",
      "p_holm",
      "p_fdr",
      "p_equivalent",
    ];
    one.rows = () => [columns, rows.map((each) => columns.map((column) => each[column]))];
  }
  if (!groups.size)
    box.append(make("p", { class: "soft" }, "There are too few models that differ in one input for this."));
}

/** One chart of coefficients: a point with its interval for each unit, stars above it. */
function drawEffect(one, rows, test) {
  const reach =
    1.25 * Math.max(...rows.flatMap((each) => [Math.abs(each.low), Math.abs(each.high)]).filter(known), 1e-3);
  const mark = rows.map((each) => stars(each[test]));
  plot(
    one.plot,
    [
      {
        type: "scatter",
        mode: "markers+text",
        x: rows.map((each) => each.estimate),
        y: [...rows.keys()],
        text: mark,
        textposition: "top center",
        textfont: { size: 13, color: INK },
        error_x: {
          type: "data",
          symmetric: false,
          array: rows.map((each) => each.high - each.estimate),
          arrayminus: rows.map((each) => each.estimate - each.low),
          color: SERIES[0],
          thickness: 1.6,
          width: 4,
        },
        marker: { size: 9, color: SERIES[0] },
        customdata: rows.map(
          (each) =>
            `${each.unit}: ${written(each.estimate)} (${written(each.low)} to ${written(each.high)}), p ${each[test] < 0.001 ? "< 0.001" : written(each[test])}`,
        ),
        hovertemplate: "%{customdata}<extra></extra>",
      },
    ],
    {
      height: 34 * rows.length + 96,
      margin: { l: 8, r: 12, t: 14, b: 68 },
      shapes: [
        { type: "line", x0: 0, x1: 0, yref: "paper", y0: 0, y1: 1, line: { color: SOFT, width: 1, dash: "dash" } },
      ],
      xaxis: titled(`← worse · better →<br>change of ${inWords(titleOf(rows[0].metric))}`, {
        range: [-reach, reach],
        nticks: 5,
      }),
      yaxis: axis({
        tickvals: [...rows.keys()],
        ticktext: rows.map((each) => wrapped(each.unit, 24)),
        range: [rows.length - 0.5, -0.6],
        automargin: true,
        showgrid: false,
      }),
    },
  );
}

// ---- what it cost ----

function drawCosts() {
  const box = $("costs"),
    costs = data.costs[$("costs-by").value] ?? [];
  for (const key of ["minutes", "hours"]) frames.delete(key);
  box.replaceChildren();
  const names = costs.map((each) => each.inputs || data.others);
  const about = `${written(data.about.hours)} hours for ${data.about.trainings} trainings.`;
  const minutes = frame(
    box,
    "minutes",
    "Minutes of a training",
    "A dot a training; a diamond is their mean with its 95 % interval.",
  );
  const hours = frame(box, "hours", "Hours together", about);
  const height = 30 * costs.length + 70,
    lines = names.map((name) => wrapped(name, box.clientWidth < 560 ? 16 : 30));
  const usual = {
    height,
    yaxis: axis({
      tickvals: [...names.keys()],
      ticktext: lines,
      range: [costs.length - 0.5, -0.5],
      automargin: true,
      showgrid: false,
    }),
  };
  later(minutes, height, () => drawMinutes(minutes, costs, names, usual));
  later(hours, height, () =>
    plot(
      hours.plot,
      [
        {
          type: "bar",
          orientation: "h",
          x: costs.map((each) => each.hours),
          y: [...names.keys()],
          marker: { color: SERIES[2] },
          text: costs.map((each) => each.hours.toPrecision(3)),
          textposition: "outside",
          cliponaxis: false,
          hoverinfo: "none",
        },
      ],
      { ...usual, xaxis: titled("hours"), bargap: 0.35, margin: { l: 8, r: 44, t: 8, b: 40 } },
    ),
  );
  const columns = ["inputs", "trainings", "minutes", "low", "high", "median", "shortest", "longest", "hours"];
  const rows = () => [
    columns,
    costs.map((each, place) => columns.map((column) => (column === "inputs" ? names[place] : each[column]))),
  ];
  Object.assign(minutes, { rows });
  Object.assign(hours, { rows });
}

/** A strip of minutes for each set of inputs, with the mean and its interval. */
function drawMinutes(one, costs, names, usual) {
  // The golden section puts dots of a strip beside each other without drawing lots.
  const aside = (number) => 0.5 * (((number * 0.618) % 1) - 0.5);
  const points = costs.flatMap((each, place) => each.points.map((value, number) => [value, place + aside(number)]));
  const took = points.map((each) => each[0]),
    spread = Math.max(...took) / Math.min(...took);
  plot(
    one.plot,
    [
      {
        type: "scatter",
        mode: "markers",
        x: took,
        y: points.map((each) => each[1]),
        hoverinfo: "x",
        marker: { size: 5, color: SERIES[0], opacity: 0.35 },
      },
      {
        type: "scatter",
        mode: "markers",
        x: costs.map((each) => each.minutes),
        y: [...names.keys()],
        marker: { symbol: "diamond", size: 11, color: SERIES[1] },
        error_x: {
          type: "data",
          symmetric: false,
          array: costs.map((each) => each.high - each.minutes),
          arrayminus: costs.map((each) => each.minutes - each.low),
          color: SERIES[1],
          thickness: 2,
          width: 5,
        },
        customdata: costs.map(
          (each, place) => `${wrapped(names[place], 44)}<br>${each.trainings} trainings, mean ${lasted(each.minutes)}`,
        ),
        hovertemplate: "%{customdata}<extra></extra>",
      },
    ],
    { ...usual, xaxis: titled("minutes", { type: "log", dtick: spread > 30 ? 1 : spread > 4 ? "D2" : "D1" }) },
  );
}

// ---- one model ----

/** The curves of the training and of the answers of one row, where there are any. */
function drawCurves(box, row) {
  const found = data.details[row];
  const history = data.models[data.cells.models[row]?.[0]]?.history ?? [];
  if (history.length) {
    const one = frame(box, "training", "Training", "Loss by epoch: training dashed, validation solid.");
    plot(
      one.plot,
      history.flatMap((run, place) =>
        [
          ["train", "dash"],
          ["val", "solid"],
        ]
          .filter(([part]) => run[part])
          .map(([part, dash]) => ({
            type: "scatter",
            mode: "lines",
            name: `${run.name} ${part}`,
            x: run.epoch,
            y: run[part],
            line: { dash, width: 1.6, color: SERIES[place % SERIES.length] },
          })),
      ),
      {
        height: 230,
        xaxis: titled("epoch", { dtick: Math.ceil(Math.max(...history.flatMap((run) => run.epoch)) / 8) }),
        yaxis: titled("loss", { automargin: true }),
        margin: { l: 44, r: 8, t: 8, b: 44 },
      },
    );
    one.rows = () => [
      ["run", "epoch", "train", "validation"],
      history.flatMap((run) =>
        run.epoch.map((epoch, place) => [run.name, epoch, run.train?.[place] ?? null, run.val?.[place] ?? null]),
      ),
    ];
  }
  if (found?.confusion) {
    const { names, counts } = found.confusion;
    box.append(
      make("h3", {}, "Confusion"),
      tableOf(
        ["true, down; told, across", ...names],
        names.map((name, place) => [name, ...counts[place].map(String)]),
      ),
    );
  }
  if (found?.roc) {
    const one = frame(box, "roc", "ROC", `Of ${found.roc.positive}.`);
    plot(
      one.plot,
      [
        {
          type: "scatter",
          mode: "lines",
          x: [0, 1],
          y: [0, 1],
          hoverinfo: "skip",
          line: { dash: "dot", color: SOFT, width: 1 },
        },
        { type: "scatter", mode: "lines", x: found.roc.x, y: found.roc.y, line: { color: SERIES[0], width: 2 } },
      ],
      {
        height: 260,
        xaxis: titled("1 − specificity", { range: [0, 1] }),
        yaxis: titled("sensitivity", { range: [0, 1.01] }),
        margin: { l: 48, r: 8, t: 8, b: 44 },
      },
    );
    one.rows = () => [["1 - specificity", "sensitivity"], found.roc.x.map((x, place) => [x, found.roc.y[place]])];
  }
  if (found?.scatter) {
    const { truth, told, of } = found.scatter,
      all = [...truth, ...told],
      ends = [Math.min(...all), Math.max(...all)];
    const one = frame(
      box,
      "scatter",
      "True and told",
      `${truth.length} of ${of} people; the line is where they are equal.`,
    );
    plot(
      one.plot,
      [
        {
          type: "scatter",
          mode: "lines",
          x: ends,
          y: ends,
          hoverinfo: "skip",
          line: { dash: "dot", color: SOFT, width: 1 },
        },
        { type: "scatter", mode: "markers", x: truth, y: told, marker: { size: 6, color: SERIES[0], opacity: 0.5 } },
      ],
      {
        height: 260,
        xaxis: titled("true"),
        yaxis: titled("told", { automargin: true }),
        margin: { l: 48, r: 8, t: 8, b: 44 },
      },
    );
    one.rows = () => [["true", "told"], truth.map((value, place) => [value, told[place]])];
  }
}
