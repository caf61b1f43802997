// SPDX-License-Identifier: Apache-2.0
// Heatmaps: a figure a domain, a row a set of inputs, a column a target, classes beside numbers.
"use strict";

const cursors = new Map(); // where the arrow keys are, by domain
const ROW = 17,
  ABOVE = 124,
  BELOW = 30,
  RIGHT = 44,
  GAP = 0.7; // pixels; columns between kinds of target
const MIDDLE = 0.47; // of Cividis, where white and black can be read equally well

function drawHeatmaps() {
  for (const domain of data.domains) {
    const key = `heatmap-${domain || "all"}`;
    const one = frames.get(key) ?? heatmapFrame(key, domain);
    later(one, ROW * partsOf(domain).sets.length + ABOVE + BELOW, () => drawHeatmap(one, domain));
  }
  $("scales").replaceChildren(...Object.keys(data.main).map(scaleKey));
}

/** What the colours of a kind of target mean. */
function scaleKey(kind) {
  const metric = data.metrics[state.metric[kind]];
  const [low, high] = metric.range ? [`${metric.range[0]} or less`, metric.range[1]] : ["worst of the target", "best"];
  return make("span", {}, `${metric.title}: ${low} `, make("span", { class: "heat" }), ` ${high}`);
}

function heatmapFrame(key, domain) {
  const title = domain || "All targets";
  const one = frame($("heatmaps"), key, title);
  one.plot.tabIndex = 0;
  one.plot.setAttribute("role", "application");
  one.plot.setAttribute("aria-label", `Heatmap of ${title}: arrow keys move over the cells, Enter opens one`);
  one.plot.addEventListener("keydown", (event) => moveOver(event, one, domain));
  one.plot.addEventListener("blur", () => {
    if (cursors.delete(domain)) drawHeatmap(one, domain);
  });
  return one;
}

/** What a heatmap shows: its targets by kind, its sets of inputs and the units that tell these apart. */
function partsOf(domain) {
  const kinds = Object.keys(data.main);
  const targets = [...data.targets.keys()].filter((each) => data.targets[each].domain === domain);
  targets.sort((one, other) => kinds.indexOf(data.targets[one].kind) - kinds.indexOf(data.targets[other].kind));
  const among = new Set(targets.flatMap(rowsOf).map((row) => data.cells.set[row]));
  const pattern = (set) => data.units.map((_, unit) => (data.sets[set].units.includes(unit) ? 0 : 1)).join("");
  const sets = [...among].filter(available);
  sets.sort((one, other) => pattern(one).localeCompare(pattern(other)));
  const units = [...data.units.keys()].filter((unit) => sets.some((set) => data.sets[set].units.includes(unit)));
  return { targets, sets, units };
}

/** Share of a colour scale, 0 to 1; of metrics without a scale from the worst to the best of the target. */
function shade(row, target, metric) {
  const value = valueOf(row, metric),
    { range, lower } = data.metrics[metric];
  if (!known(value)) return null;
  const all = rowsOf(target)
    .map((each) => valueOf(each, metric))
    .filter(known);
  const [start, high] = range ?? [Math.min(...all), Math.max(...all)];
  const low = start === "chance" ? data.targets[target].chance : start;
  const share = high > low ? Math.min(1, Math.max(0, (value - low) / (high - low))) : 0.5;
  return lower && !range ? 1 - share : share;
}

/** Where the columns of targets are: those of the second kind a gap further. */
function columnsOf(targets) {
  const first = data.targets[targets[0]].kind;
  return targets.map((target, place) => place + (data.targets[target].kind === first ? 0 : GAP));
}

function drawHeatmap(one, domain) {
  const { targets, sets, units } = partsOf(domain),
    at = columnsOf(targets);
  const across = at[at.length - 1] + 1,
    room = ($("heatmaps").clientWidth || 1000) - 8 - RIGHT;
  const narrow = room < 560,
    dots = units.length * (narrow ? 13 : 17);
  const column = Math.max(16, Math.min(narrow ? 44 : 78, (room - dots - 14) / across)),
    width = dots + 14 + column * across;
  const small = column < 34,
    marks = marksOf(targets, sets, at, small),
    words = small ? [] : wordTraces(targets, sets, at);
  const cursor = cursors.get(domain);
  if (cursor) marks.shapes.push(...boxed(at[cursor.x], cursor.y, SERIES[1], 3));
  const tops = (names, angle) => ({ side: "top", ticktext: names, tickangle: angle, showgrid: false, ticks: "" });
  plot(one.plot, [...dotTraces(sets, units), ...heatTraces(targets, sets, at), ...words, marks.equal], {
    width: width + 8 + RIGHT,
    height: ROW * sets.length + ABOVE + BELOW,
    autosize: false,
    shapes: marks.shapes,
    margin: { l: 8, r: RIGHT, t: ABOVE, b: BELOW },
    annotations: kindTitles(targets, at),
    xaxis: axis({
      ...tops(
        units.map((unit) => spelt(shortened(data.units[unit].name, 20))),
        -90,
      ),
      tickvals: [...units.keys()],
      domain: [0, dots / width],
      range: [-0.5, units.length - 0.5],
    }),
    xaxis2: axis({
      ...tops(
        targets.map((each) => spelt(shortened(data.targets[each].name, 24))),
        small ? -90 : -60,
      ),
      tickvals: at,
      domain: [(dots + 14) / width, 1],
      range: [-0.54, across - 0.46],
      anchor: "y",
    }),
    yaxis: axis({ range: [sets.length - 0.38, -0.62], showticklabels: false, showgrid: false, ticks: "" }),
  });
  one.rows = () => heatmapRows(targets, sets);
  one.plot.removeAllListeners?.("plotly_click");
  one.plot.on("plotly_click", (event) => {
    const point = event.points.find((each) => each.data.type === "heatmap");
    if (point) openDetails(targets[at.indexOf(point.x)], sets[point.y], one.plot);
  });
}

/** Large dots for the units that a set has, small ones for the others. */
function dotTraces(sets, units) {
  const points = sets.flatMap((set, y) =>
    units.map((unit, x) => ({ x, y, used: data.sets[set].units.includes(unit) })),
  );
  return [false, true].map((used) => {
    const these = points.filter((each) => each.used === used);
    const marker = used ? { size: 8, color: INK } : { size: 4, color: RULE };
    return {
      type: "scatter",
      mode: "markers",
      hoverinfo: "skip",
      x: these.map((each) => each.x),
      y: these.map((each) => each.y),
      marker,
    };
  });
}

/** The cells, a trace a kind of target. */
function heatTraces(targets, sets, at) {
  return Object.keys(data.main)
    .map((kind) => {
      const these = targets.filter((target) => data.targets[target].kind === kind);
      const cells = (draw, empty) =>
        sets.map((set) =>
          these.map((target) => {
            const row = rowAt(target, set);
            return row === undefined ? empty : draw(row, target);
          }),
        );
      return {
        type: "heatmap",
        xaxis: "x2",
        yaxis: "y",
        x: these.map((target) => at[targets.indexOf(target)]),
        y: [...sets.keys()],
        z: cells((row, target) => shade(row, target, metricOf(target)), null),
        customdata: cells(hoverOf, ""),
        hovertemplate: "%{customdata}<extra></extra>",
        hoverongaps: false,
        zmin: 0,
        zmax: 1,
        colorscale: "Cividis",
        showscale: false,
        xgap: 1,
        ygap: 1,
      };
    })
    .filter((trace) => trace.x.length);
}

/** The values in the cells: white on dark ones, black on light ones. */
function wordTraces(targets, sets, at) {
  const cells = targets
    .flatMap((target, place) => sets.map((set, y) => ({ x: at[place], y, target, row: rowAt(target, set) })))
    .filter(({ row }) => row !== undefined);
  return [true, false].map((dark) => {
    const these = cells.filter(({ row, target }) => shade(row, target, metricOf(target)) < MIDDLE === dark);
    return {
      type: "scatter",
      mode: "text",
      hoverinfo: "skip",
      xaxis: "x2",
      yaxis: "y",
      x: these.map(({ x }) => x),
      y: these.map(({ y }) => y),
      text: these.map(({ row, target }) => short(valueOf(row, metricOf(target)))),
      textfont: { size: 10, color: dark ? "#ffffff" : "#000000" },
    };
  });
}

/** A value in the room of a cell. */
function short(value) {
  if (!known(value)) return "";
  return Math.abs(value) < 10 ? (Math.round(100 * value) / 100).toFixed(2).replace("-", "−") : written(value);
}

function hoverOf(row, target) {
  const from = wrapped(`from ${setName(data.cells.set[row])}`, 44);
  return `<b>${wrapped(data.targets[target].name, 44)}</b><br>${from}<br>${titleOf(metricOf(target))} ${estimate(row, metricOf(target))}`;
}

/** A box on the best cell of each target, and dots in those that cannot be told from it. */
function marksOf(targets, sets, at, small) {
  const shapes = [],
    x = [],
    y = [];
  targets.forEach((target, place) => {
    const best = bestOf(target);
    if (best === undefined) return;
    const level = sets.indexOf(data.cells.set[best]);
    shapes.push(...boxed(at[place], level, INK, 4), ...boxed(at[place], level, "#ffffff", 2));
    for (const set of (isMain(target) && data.targets[target].best?.equal) || []) {
      if (!sets.includes(set)) continue;
      x.push(at[place] + (small ? 0 : 0.38));
      y.push(sets.indexOf(set));
    }
  });
  const marker = { size: 6, color: "#ffffff", line: { color: INK, width: 1.2 } };
  return {
    shapes,
    equal: { type: "scatter", mode: "markers", xaxis: "x2", yaxis: "y", hoverinfo: "skip", x, y, marker },
  };
}

function boxed(x, y, color, width) {
  return [
    { type: "rect", xref: "x2", yref: "y", x0: x - 0.5, x1: x + 0.5, y0: y - 0.5, y1: y + 0.5, line: { color, width } },
  ];
}

/** The metric of each kind, below its columns. */
function kindTitles(targets, at) {
  return Object.keys(data.main).flatMap((kind) => {
    const these = at.filter((_, place) => data.targets[targets[place]].kind === kind);
    if (!these.length) return [];
    const text = titleOf(state.metric[kind]),
      middle = (these[0] + these[these.length - 1]) / 2;
    return [
      {
        xref: "x2",
        yref: "paper",
        x: middle,
        y: 0,
        yshift: -4,
        yanchor: "top",
        text,
        showarrow: false,
        font: { size: 11, color: SOFT },
      },
    ];
  });
}

function heatmapRows(targets, sets) {
  const names = Object.keys(data.metrics);
  const rows = targets
    .flatMap((target) => sets.map((set) => [target, rowAt(target, set)]))
    .filter(([, row]) => row !== undefined);
  return [
    ["target", "inputs", ...names, "best", "as good"],
    rows.map(([target, row]) => {
      const set = data.cells.set[row],
        same = data.targets[target].best?.equal.includes(set);
      return [
        data.targets[target].name,
        setName(set),
        ...names.map((name) => valueOf(row, name)),
        row === bestOf(target) ? "best" : "",
        same ? "yes" : "",
      ];
    }),
  ];
}

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Arrow keys move over the cells of a heatmap and say what is there, Enter opens one. */
function moveOver(event, one, domain) {
  const step = STEPS[event.key],
    { targets, sets } = partsOf(domain),
    before = cursors.get(domain);
  if (step && sets.length) {
    const move = (from, by, size) => (before ? Math.min(size - 1, Math.max(0, from + by)) : 0);
    const x = move(before?.x, step[0], targets.length),
      y = move(before?.y, step[1], sets.length);
    cursors.set(domain, { x, y });
    drawHeatmap(one, domain);
    const target = targets[x],
      row = rowAt(target, sets[y]),
      metric = metricOf(target);
    const score = row === undefined ? "no model" : `${titleOf(metric)} ${estimate(row, metric)}`;
    say(
      `${data.targets[target].name} from ${setName(sets[y])}: ${score}${row !== undefined && row === bestOf(target) ? ", the best" : ""}`,
    );
  } else if (event.key === "Enter" && before) {
    openDetails(targets[before.x], sets[before.y], one.plot);
  } else return;
  event.preventDefault();
}
