// SPDX-License-Identifier: Apache-2.0
// The graph of targets, which d3 draws as SVG: every node can be focused, dragged and saved.
"use strict";

const graph = { nodes: [], edges: [], svg: null, simulation: null, focused: 0 };

/** Numbers that all nodes or edges are told by: key and title. */
function attributes(kind) {
  const centrality = data.graph.measures.map((each) => [
    `centrality_${each.name}`,
    `Centrality by ${each.title.toLowerCase()}`,
  ]);
  const measures = data.graph.measures.map((each) => [each.name, each.title]);
  const all =
    kind === "nodes"
      ? [
          ["score", "Best score of your data"],
          ...centrality,
          ["n", "People"],
          ...Object.entries(data.metrics).map(([name, about]) => [name, `${about.title}, of the best`]),
        ]
      : [...measures, ["r", "Correlation"], ["sets", "Sets of inputs of both"], ["n", "People of both"]];
  return all.filter(([name]) => name === "score" || data.graph[kind].some((each) => known(each[name])));
}

/** Fill a choice; what was chosen stays, or is `chosen`, or the first. */
function options(id, entries, chosen = $(id).value) {
  $(id).replaceChildren(
    ...entries.map(([value, title]) => make("option", { value, selected: value === chosen }, title)),
  );
}

/** Fill the choices of the graph; where there is no graph, say so. */
function setUpGraph() {
  $("graph-controls").hidden = !data.graph;
  $("graph").hidden = !data.graph;
  if (!data.graph) return $("graph-key").replaceChildren(data.no_graph);
  options(
    "graph-measure",
    data.graph.measures.map((each) => [each.name, each.title]),
  );
  options("graph-size", attributes("nodes"));
  options("graph-width", [["measure", "What makes the edges"], ...attributes("edges")]);
  options("graph-label", [
    ["name", "Name"],
    ["score", "Name and score"],
    ["inputs", "Best inputs"],
    ["none", "None"],
  ]);
  const levels = Math.max(
    ...data.graph.nodes.flatMap((each) => data.graph.measures.map((one) => (each[`block_${one.name}`] ?? []).length)),
  );
  options("graph-colour", [
    ["domain", "Domain"],
    ...[...Array(levels).keys()].map((level) => [`block ${level}`, level ? `Block, level ${level + 1}` : "Block"]),
    ["kind", "Kind"],
  ]);
}

const targetNamed = (name) => data.targets.findIndex((each) => each.name === name);

/** What a node is worth: the best score of the reader's data, or an attribute of the graph. */
function worth(node, name) {
  if (name !== "score") return node[name];
  const best = bestOf(targetNamed(node.id));
  return best === undefined ? null : valueOf(best, metricOf(targetNamed(node.id)));
}

/** The group of a node that its colour tells. */
function groupOf(node) {
  const [what, level] = $("graph-colour").value.split(" ");
  if (what !== "block") return node[what] || "none";
  const blocks = node[`block_${$("graph-measure").value}`] ?? [];
  return `block ${(blocks[level] ?? blocks[blocks.length - 1] ?? 0) + 1}`;
}

/** The best of a node, in a sentence. */
function toldOf(node) {
  const target = targetNamed(node.id),
    best = bestOf(target);
  if (best === undefined) return `${node.id}: no model of the data you have`;
  return `${node.id}: ${titleOf(metricOf(target))} ${estimate(best, metricOf(target))} from ${setName(data.cells.set[best])}`;
}

function labelOf(node) {
  const form = $("graph-label").value,
    target = targetNamed(node.id),
    best = bestOf(target);
  if (form === "none") return "";
  if (form === "name" || best === undefined) return node.id;
  return form === "score" ? `${node.id} ${written(valueOf(best, metricOf(target)))}` : setName(data.cells.set[best]);
}

/** Groups in their order; numbers count as such. */
function groupsOf() {
  return [...new Set(graph.nodes.map(groupOf))].sort((one, other) => one.localeCompare(other, "en", { numeric: true }));
}

function drawGraph() {
  if (!data.graph) return;
  if (!frames.has("graph")) frames.set("graph", { plot: $("graph") });
  later(frames.get("graph"), 520, layGraph);
}

/** Take what is chosen, place the nodes and paint. */
function layGraph() {
  const measure = $("graph-measure").value,
    [top, pull, apart] = ["top", "pull", "apart"].map((name) => Number($(`graph-${name}`).value));
  for (const [name, words] of [
    ["top", `${top} %`],
    ["pull", `${pull} %`],
    ["apart", `${apart} px`],
  ])
    $(`graph-${name}-said`).textContent = words;
  const box = $("graph"),
    width = box.clientWidth || 900,
    height = document.fullscreenElement
      ? Math.max(320, window.innerHeight - box.offsetTop - 24)
      : Math.max(520, Math.min(640, 0.66 * width));
  // Nodes stay where they were dragged to, until something else places them.
  const places = [measure, width, height, pull, apart, pull && top].join();
  const before = new Map(graph.places === places ? graph.nodes.map((each) => [each.id, each]) : []);
  Object.assign(graph, { measure, width, places });
  const [x, y] = [
    ["x", [70, width - 70]],
    ["y", [40, height - 50]],
  ].map(([way, range]) => {
    const places = data.graph.nodes.map((each) => each[`${way}_${measure}`] ?? 0);
    return d3.scaleLinear().domain(d3.extent(places)).range(range);
  });
  const extent = d3.extent(data.graph.nodes, (each) => worth(each, $("graph-size").value));
  const radius = d3
    .scaleSqrt()
    .domain(extent[0] === extent[1] ? [0, extent[1] || 1] : extent)
    .range(width < 560 ? [4, 13] : [6, 21]);
  graph.nodes = data.graph.nodes.map((node) => {
    const value = worth(node, $("graph-size").value),
      old = before.get(node.id);
    const place = { homeX: x(node[`x_${measure}`] ?? 0), homeY: y(node[`y_${measure}`] ?? 0) };
    return {
      ...node,
      ...place,
      x: old?.x ?? place.homeX,
      y: old?.y ?? place.homeY,
      r: known(value) ? radius(value) : 5,
    };
  });
  const named = new Map(graph.nodes.map((each) => [each.id, each]));
  const chosen = $("graph-width").value,
    heavy = chosen === "measure" ? measure : chosen;
  const span = d3.extent(data.graph.edges, (each) => (known(each[heavy]) ? Math.abs(each[heavy]) : undefined));
  const thick = d3
    .scaleLinear()
    .domain(span)
    .range(width < 560 ? [0.3, 2] : [0.5, 4]);
  graph.edges = data.graph.edges
    .filter((each) => each[`top_${measure}`] <= top)
    .map((each) => ({
      ...each,
      source: named.get(each.source),
      target: named.get(each.target),
      wide: known(each[heavy]) ? thick(Math.abs(each[heavy])) : 0.6,
    }));
  if (!before.size) spread(width, height, pull / 100, apart);
  paint(box, width, height);
  colourKey();
}

/**
 * Move nodes apart that would lie on each other, near where they belong; labels are wider than high.
 * Edges pull the ends together by a share of what holds a node where it belongs, the heavier the more.
 */
function spread(width, height, pull, apart) {
  const wide = 1.7;
  for (const node of graph.nodes) node.x /= wide;
  const near = (home, stretch) => (each) => each[home] / stretch;
  d3.forceSimulation(graph.nodes)
    .force("x", d3.forceX(near("homeX", wide)).strength(0.2))
    .force("y", d3.forceY(near("homeY", 1)).strength(0.2))
    .force(
      "edges",
      d3
        .forceLink(graph.edges)
        .distance(2 * apart)
        .strength((each) => 0.05 * pull * each.wide),
    )
    .force("apart", d3.forceCollide((each) => each.r + Math.min(apart, width < 560 ? 10 : apart)).iterations(4))
    .stop()
    .tick(200);
  for (const node of graph.nodes) {
    node.x = Math.max(44, Math.min(width - 44, node.x * wide));
    node.y = Math.max(26, Math.min(height - 40, node.y));
  }
}

function paint(box, width, height) {
  const groups = groupsOf();
  d3.select(box).selectAll("svg").remove();
  const svg = d3
    .select(box)
    .append("svg")
    .attr("viewBox", `0 0 ${width} ${height}`)
    .attr("width", width)
    .attr("height", height)
    .attr("role", "group")
    .attr(
      "aria-label",
      "Graph of targets: arrow keys move over the targets, Enter opens one, Shift and an arrow drags it",
    );
  const world = svg.append("g");
  const lines = world
    .append("g")
    .selectAll("line")
    .data(graph.edges)
    .join("line")
    .attr("class", "edge")
    .attr("stroke-width", (each) => each.wide);
  lines.append("title").text((each) => `${each.source.id} – ${each.target.id}: ${written(each[graph.measure])}`);
  const nodes = world
    .append("g")
    .selectAll("g")
    .data(graph.nodes)
    .join("g")
    .attr("class", (each) => `node series-${groups.indexOf(groupOf(each)) % SERIES.length}`)
    .attr("tabindex", (_, place) => (place === graph.focused ? 0 : -1))
    .attr("role", "button")
    .attr("aria-label", toldOf);
  nodes.append("circle").attr("r", (each) => each.r);
  // There are more blocks than colours that everybody tells apart: their numbers stand in the nodes.
  const number = (each) => (each.r > 7 && groupOf(each).match(/^block (\d+)$/)?.[1]) || "";
  nodes.append("text").attr("class", "within").attr("text-anchor", "middle").attr("y", 4).text(number);
  nodes
    .append("text")
    .attr("text-anchor", "middle")
    .attr("y", (each) => each.r + 13)
    .selectAll("tspan")
    .data((each) => linesOf(labelOf(each), graph.width < 560 ? 9 : 16))
    .join("tspan")
    .attr("x", 0)
    .attr("dy", (_, line) => (line ? "1.1em" : 0))
    .text((words) => words);
  const zoom = d3
    .zoom()
    .scaleExtent([0.5, 6])
    .filter((event) => event.type !== "wheel" || event.ctrlKey)
    .on("zoom", (event) => world.attr("transform", event.transform));
  svg.call(zoom).on("dblclick.zoom", null);
  for (const [id, factor] of [
    ["graph-in", 1.4],
    ["graph-out", 1 / 1.4],
  ])
    $(id).onclick = () => svg.call(zoom.scaleBy, factor);
  $("graph-reset").onclick = () => {
    graph.places = null;
    drawGraph();
  };
  graph.svg = svg;
  const place = () => {
    lines
      .attr("x1", (each) => each.source.x)
      .attr("y1", (each) => each.source.y)
      .attr("x2", (each) => each.target.x)
      .attr("y2", (each) => each.target.y);
    nodes.attr("transform", (each) => `translate(${each.x},${each.y})`);
  };
  place();
  nodes
    .call(
      d3.drag().on("drag", (event, node) => {
        node.x = event.x;
        node.y = event.y;
        place();
      }),
    )
    .on("mouseenter focus", (event, node) => lookAt(node, event.currentTarget))
    .on("mouseleave blur", () => lookAt(null))
    .on("click", (event, node) => openDetails(targetNamed(node.id), null, event.currentTarget))
    .on("keydown", (event, node) => walk(event, node, nodes, place));
  findTarget();
  Object.assign(frames.get("graph"), {
    svg: async () => drawn(svg.node()),
    rows: () => {
      const columns = ["source", "target", ...attributes("edges").map(([name]) => name)];
      return [columns, data.graph.edges.map((each) => columns.map((name) => each[name] ?? ""))];
    },
  });
}

/** Highlight a node and its neighbours and tell its best; none takes that back. */
function lookAt(node, element = null) {
  const near = new Set(
    node
      ? graph.edges.flatMap((each) =>
          each.source === node ? [each.target] : each.target === node ? [each.source] : [],
        )
      : [],
  );
  graph.svg.selectAll(".node").classed("dim", (each) => node && each !== node && !near.has(each));
  graph.svg.selectAll(".edge").classed("dim", (each) => node && each.source !== node && each.target !== node);
  const tip = $("tip");
  tip.hidden = !node;
  if (!node) return findTarget();
  tip.replaceChildren(
    ...toldOf(node)
      .split(": ")
      .map((words, place) => make(place ? "div" : "strong", {}, words)),
  );
  const [at, box] = [element.getBoundingClientRect(), $("graph").getBoundingClientRect()];
  tip.style.left = `${Math.max(4, Math.min(box.width - 240, at.left - box.left + at.width / 2 + 12))}px`;
  tip.style.top = `${Math.max(4, at.top - box.top - tip.offsetHeight - 6)}px`;
}

/** Arrow keys move to the nearest node in that direction, with Shift they drag; Enter opens. */
function walk(event, node, nodes, place) {
  const step = STEPS[event.key];
  if (event.key === "Enter" || event.key === " ") openDetails(targetNamed(node.id), null, event.currentTarget);
  else if (step && event.shiftKey) {
    node.x += 12 * step[0];
    node.y += 12 * step[1];
    place();
  } else if (step) {
    const ahead = (each) => (each.x - node.x) * step[0] + (each.y - node.y) * step[1];
    const aside = (each) => Math.abs((each.x - node.x) * step[1]) + Math.abs((each.y - node.y) * step[0]);
    const there = graph.nodes.filter((each) => ahead(each) > 1);
    if (there.length) {
      graph.focused = graph.nodes.indexOf(d3.least(there, (each) => ahead(each) + 2 * aside(each)));
      nodes.attr("tabindex", (_, number) => (number === graph.focused ? 0 : -1));
      nodes.nodes()[graph.focused].focus();
    }
  } else return;
  event.preventDefault();
}

/** Highlight the targets whose name has the words that are searched for. */
function findTarget() {
  const words = $("search").value.trim().toLowerCase();
  graph.svg
    ?.selectAll(".node")
    .classed("dim", (each) => words && !each.id.toLowerCase().includes(words))
    .classed("found", (each) => words && each.id.toLowerCase().includes(words));
  graph.svg?.selectAll(".edge").classed("dim", Boolean(words));
}

function colourKey() {
  const groups = groupsOf();
  $("graph-key").replaceChildren(
    ...groups.map((name, place) =>
      make("span", {}, make("span", { class: `dot fill-${place % SERIES.length}` }), name),
    ),
  );
}

/** The text of an SVG with the style that it has on the page written into it. */
function drawn(svg) {
  const copy = svg.cloneNode(true),
    kept = ["fill", "stroke", "stroke-width", "stroke-opacity", "opacity", "font-family", "font-size", "paint-order"];
  const [from, to] = [svg, copy].map((each) => each.querySelectorAll("line, circle, text"));
  from.forEach((each, place) => {
    const style = getComputedStyle(each);
    for (const name of kept) to[place].style.setProperty(name, style.getPropertyValue(name));
  });
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.style.background = getComputedStyle(document.body).backgroundColor;
  return new XMLSerializer().serializeToString(copy);
}
