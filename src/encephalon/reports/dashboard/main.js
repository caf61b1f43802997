// SPDX-License-Identifier: Apache-2.0
// The page as a whole: what the reader chooses, the answers, the details of a target, and news.
"use strict";

function drawAll() {
  drawStatus();
  drawAnswers();
  drawHeatmaps();
  drawGraph();
  drawDetails();
}

// ---- what the reader chooses ----

/** What the reader may choose, of the data that there are. */
function fillControls() {
  $("have").replaceChildren(
    ...data.units.map((unit, place) =>
      make(
        "label",
        {},
        make("input", { type: "checkbox", checked: state.have.has(place), value: place, input: choose }),
        unit.name,
      ),
    ),
  );
  for (const kind of ["classification", "regression"]) {
    const select = $(`metric-${kind}`),
      names = data.metrics_of[kind] ?? [];
    select.closest("label").hidden = !names.length;
    if (!names.includes(state.metric[kind])) state.metric[kind] = data.main[kind];
    options(
      select.id,
      names.map((name) => [name, titleOf(name)]),
      state.metric[kind],
    );
  }
  $("targets").replaceChildren(...data.targets.map((each) => make("option", { value: each.name })));
  options(
    "effects-method",
    [...new Set(data.effects.map((each) => each.method))].map((name) => [name, data.methods[name] ?? name]),
  );
  $("effects-controls").hidden = !data.effects.length;
  options(
    "costs-by",
    Object.keys(data.costs).map((name) => [name, data.cost_titles[name]]),
  );
  $("costs-by").closest("label").hidden = Object.keys(data.costs).length < 2;
}

/** Listen to what the reader does; once, as elements stay when data change. */
function listen() {
  for (const kind of Object.keys(data.main)) {
    $(`metric-${kind}`).addEventListener("input", (event) => {
      state.metric[kind] = event.target.value;
      drawAll();
    });
  }
  for (const [id, all] of [
    ["have-all", true],
    ["have-none", false],
  ]) {
    $(id).addEventListener("click", () => {
      for (const box of $("have").querySelectorAll("input")) box.checked = all;
      choose();
    });
  }
  $("search").addEventListener("input", () => {
    findTarget();
    searched(false);
  });
  $("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter") searched(true);
  });
  for (const id of ["effects-method", "effects-test"]) $(id).addEventListener("input", drawEffects);
  $("costs-by").addEventListener("input", drawCosts);
  for (const id of ["measure", "size", "width", "label", "colour", "top", "pull", "apart"])
    $(`graph-${id}`).addEventListener("input", drawGraph);
  $("graph-full").hidden = !document.fullscreenEnabled;
  $("graph-full").addEventListener("click", () =>
    document.fullscreenElement ? document.exitFullscreen() : $("graph").parentElement.requestFullscreen(),
  );
  document.addEventListener("fullscreenchange", () => {
    const whole = document.fullscreenElement;
    $("graph-full").setAttribute("aria-pressed", String(Boolean(whole)));
    // What a click on a target opens is seen in full screen too.
    (whole ?? document.querySelector("main")).append($("details"));
    drawGraph();
  });
  for (const button of document.querySelectorAll("[data-save]"))
    button.addEventListener("click", () => saved(button.dataset.save, button.textContent));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && state.open) closeDetails();
  });
  let resized = 0;
  window.addEventListener("resize", () => {
    clearTimeout(resized);
    resized = setTimeout(() => {
      drawHeatmaps();
      drawGraph();
      drawCosts();
    }, 200);
  });
}

function choose() {
  state.have = new Set([...$("have").querySelectorAll("input:checked")].map((box) => Number(box.value)));
  say(
    `${data.sets.filter((_, set) => available(set)).length} of ${data.sets.length} sets of inputs can be had from these data`,
  );
  drawAll();
}

/** Open the target that is searched for: where its name is whole, or with Enter the first like it. */
function searched(entered) {
  const words = $("search").value.trim().toLowerCase(),
    names = data.targets.map((each) => each.name.toLowerCase());
  const found = names.includes(words)
    ? names.indexOf(words)
    : entered && words
      ? names.findIndex((name) => name.includes(words))
      : -1;
  if (found >= 0) openDetails(found, null, $("search"));
  else if (entered) say("no target has that name");
}

// ---- what can be told from these data ----

function drawAnswers() {
  const columns = ["target", "domain", "best inputs", "metric", "score", "corrected for choice", "as good"];
  const rows = data.targets.map((each, target) => {
    const press = (event) => openDetails(target, null, event.currentTarget);
    const open = make("button", { type: "button", class: "plain", click: press }, each.name);
    const row = bestOf(target),
      metric = metricOf(target),
      best = isMain(target) ? each.best : null;
    if (row === undefined) return [open, each.domain, "no model of these data", "", "", "", ""];
    const set = data.cells.set[row],
      same = best?.set === set && known(best.corrected);
    const corrected = same ? make("span", { class: "estimate" }, ranging(best.corrected, best.low, best.high)) : "";
    const equal = same ? String(best.equal.length - 1) : "";
    const score = make("span", { class: "estimate" }, estimate(row, metric));
    return [open, each.domain, setName(set), titleOf(metric), score, corrected, equal];
  });
  $("answers").replaceChildren(tableOf(columns, rows));
  frames.set("answers", { rows: () => [columns, rows] });
}

/** A value with its interval, drawn between the worst and the best that is known of its target. */
function interval(row, metric, target) {
  const ends = ["", "_low", "_high"];
  const shown = rowsOf(target)
    .flatMap((each) => ends.map((end) => valueOf(each, metric, end)))
    .filter(known);
  const [low, high] = [Math.min(...shown), Math.max(...shown)];
  const share = (value) => `${high > low ? (100 * (value - low)) / (high - low) : 50}%`;
  const [at, from, to] = ends.map((end) => share(valueOf(row, metric, end) ?? valueOf(row, metric)));
  const drawn = make("span", {
    class: "whisker",
    style: `--low:${from};--high:${to};--at:${at}`,
    "aria-hidden": "true",
  });
  return make("span", { class: "estimate" }, drawn, estimate(row, metric));
}

// ---- one target, and one model of it ----

/** Open the panel of a target, and of one of its sets of inputs; closing gives the focus back. */
function openDetails(target, set = null, from = null) {
  state.open = { target, set, from };
  drawDetails();
  $("details").focus();
}

function closeDetails() {
  const from = state.open?.from;
  state.open = null;
  drawDetails();
  from?.focus?.();
}

function drawDetails() {
  const panel = $("details");
  panel.hidden = !state.open;
  if (!state.open) return;
  const { target, set } = state.open,
    about = data.targets[target],
    metric = metricOf(target);
  const close = make("button", { type: "button", class: "close", "aria-label": "Close", click: closeDetails }, "✕");
  const head = make("div", { class: "chart-head" }, make("h2", {}, about.name), close);
  const chosen = set === null ? bestOf(target) : rowAt(target, set);
  const one = make("div", { id: "model" }),
    all = make("div", {}, ...rankingOf(target, chosen, metric));
  const kind = make("p", { class: "soft" }, [about.domain, about.kind].filter(Boolean).join(" · "));
  // Who asked for a target wants its ranking first; who asked for a cell, that cell.
  panel.replaceChildren(head, kind, ...verdict(target), ...(set === null ? [all, one] : [one, all]));
  panel.scrollTop = 0;
  if (chosen !== undefined) drawModel(one, chosen);
}

/** Every set of inputs of a target, the best first. */
function rankingOf(target, chosen, metric) {
  const rows = ranked(target),
    more = data.metrics_of[data.targets[target].kind].filter((name) => name !== metric);
  const columns = ["", "inputs", titleOf(metric), ...more.map(titleOf), "minutes"];
  const lines = rows.map((row, place) => {
    const press = () => openDetails(target, data.cells.set[row], state.open.from);
    const name = setName(data.cells.set[row]);
    const button = make(
      "button",
      { type: "button", class: "plain", "aria-pressed": String(row === chosen), click: press },
      name,
    );
    return [
      String(place + 1),
      button,
      interval(row, metric, target),
      ...[...more, "minutes"].map((each) => valueOf(row, each)),
    ];
  });
  frames.set("ranking", { rows: () => [columns, lines] });
  const label = `Save the ranking of ${data.targets[target].name} as CSV`;
  const save = make("button", { type: "button", click: () => saved("ranking", "CSV"), "aria-label": label }, "CSV");
  const title = make("h3", {}, `${rows.length} sets of inputs, the best first`);
  return [make("div", { class: "chart-head" }, title, make("div", { class: "tools" }, save)), tableOf(columns, lines)];
}

/** What the statistics say of the best inputs of a target, when all data and the main metric are chosen. */
function verdict(target) {
  const best = data.targets[target].best;
  if (!best || !isMain(target) || state.have.size < data.units.length) return [];
  const words = {
    told: "It can be told",
    "not told": "These models cannot tell it",
    open: "Whether it can be told stays open",
  }[best.verdict];
  const left = known(best.corrected)
    ? ` The best of ${best.sets} sets is best by luck too: ${ranging(best.corrected, best.low, best.high)} may be expected of it.`
    : "";
  const same = best.equal.filter((set) => set !== best.set).map(setName);
  const equal = same.length
    ? make(
        "details",
        {},
        make("summary", {}, `${same.length} other set${same.length > 1 ? "s" : ""} cannot be told from the best`),
        make(
          "ul",
          {},
          same.map((name) => make("li", {}, name)),
        ),
      )
    : null;
  return [make("p", {}, `${words}.${left}`), equal].filter(Boolean);
}

/** Scores of one row, where its models are, and their curves. */
function drawModel(box, row) {
  const entry = (name, value) => make("div", {}, make("dt", {}, name), make("dd", {}, value));
  const scores = Object.keys(data.metrics).filter((name) => known(valueOf(row, name)));
  const people = valueOf(row, "n");
  box.append(
    make("h3", {}, `From ${setName(data.cells.set[row])}`),
    make(
      "dl",
      { class: "facts" },
      scores.map((name) => entry(titleOf(name), estimate(row, name))),
      entry("Time of training", lasted(valueOf(row, "minutes"))),
      known(people) ? entry("People scored", String(people)) : null,
    ),
  );
  const titles = { model: "folder", card: "card", training: "training", evaluation: "evaluation" };
  for (const place of data.cells.models[row]) {
    const one = data.models[place];
    const links = Object.entries(titles)
      .map(([key, title]) => link(one[key], title))
      .filter(Boolean);
    box.append(make("p", { class: "links" }, `${one.name}:`, links));
  }
  drawCurves(box, row);
}

// ---- news of a grid that runs ----

function drawStatus() {
  const now = data.status;
  $("status").hidden = !now || now.done === now.cells;
  if ($("status").hidden) return;
  const time = now.seconds_left ? `, about ${lasted(now.seconds_left / 60)} left` : "";
  const failures = now.failures.length
    ? make(
        "details",
        {},
        make("summary", {}, `${now.failures.length} failed`),
        make(
          "ul",
          {},
          now.failures.map((each) => make("li", {}, `${each.name}: ${each.message}`)),
        ),
      )
    : null;
  const done = now.cells ? `${(100 * now.done) / now.cells}%` : "0%";
  $("status").replaceChildren(
    make(
      "p",
      {},
      `${now.done} of ${now.cells} cells done, ${now.failed} failed, ${now.left} left; ${lasted(now.seconds / 60)} spent${time}.`,
    ),
    make("div", { class: "progress", style: `--done:${done}` }),
    ...[failures].filter(Boolean),
  );
}

/** Ask the server that the page came from what is new, and draw it. */
async function news() {
  try {
    const answer = await fetch("dashboard.json", { headers: { "If-None-Match": data.version } });
    if (answer.status === 200) renew(await answer.json());
  } catch {
    say("the grid is no longer served: this is what was last known");
  }
  setTimeout(news, 1000 * data.live);
}

/** Draw the page of new data; what the reader chose stays, as far as it is still there. */
function renew(latest) {
  const names = (which) => data.units.filter((_, place) => which(place)).map((unit) => unit.name);
  const lacking = new Set(names((place) => !state.have.has(place)));
  const open = state.open && data.targets[state.open.target].name;
  data = latest;
  state.have = new Set([...data.units.keys()].filter((place) => !lacking.has(data.units[place].name)));
  state.open = open && targetNamed(open) >= 0 ? { target: targetNamed(open), set: null, from: null } : null;
  $("heatmaps").replaceChildren();
  frames.clear();
  cursors.clear();
  show();
}

function show() {
  fillControls();
  setUpGraph();
  drawAll();
  drawEffects();
  drawCosts();
  frames.set("all", { rows: everything });
  if (window.Plotly) ready();
}

/** Every row of the results, as the file results.csv has them. */
function everything() {
  const names = Object.keys(data.metrics)
    .flatMap((name) => ["", "_low", "_high"].map((end) => name + end))
    .filter((name) => data.cells[name]);
  const rows = [...data.cells.target.keys()].map((row) => {
    const target = data.targets[data.cells.target[row]];
    return [
      target.name,
      target.domain,
      target.kind,
      setName(data.cells.set[row]),
      ...[...names, "minutes", "n"].map((name) => valueOf(row, name)),
    ];
  });
  return [["target", "domain", "kind", "inputs", ...names, "minutes", "n"], rows];
}

listen();
show();
performance.mark("usable");
if (data.live) setTimeout(news, 1000 * data.live);
