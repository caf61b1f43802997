// SPDX-License-Identifier: Apache-2.0
// Tables that the reader sorts and filters, and ratings of their rows, kept in this browser.
"use strict";

(() => {
  const FILTERED = 8; // rows from which on a table has a filter
  const RATINGS = ["good", "bad"];
  const AT_ONCE = 60; // ratings up to which all are set up at once, and not when they come into sight

  const make = (name, about = {}, ...children) => {
    const one = document.createElement(name);
    for (const [key, value] of Object.entries(about))
      if (typeof value === "function") one.addEventListener(key, value);
      else if (value !== false) one.setAttribute(key, value === true ? "" : value);
    one.append(...children);
    return one;
  };

  // ---- sorting and filtering ----

  const FIRST_NUMBER = /^[^\d∞]{0,2}?([+-]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?)/i;

  /** What a cell is sorted by: its number if it begins with one, or its words. */
  function valueOf(cell) {
    const words = cell.textContent.trim().replaceAll("−", "-");
    const number = FIRST_NUMBER.exec(words);
    return number && cell.className.includes("number") ? Number(number[1].replaceAll(",", "")) : words;
  }

  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number"
      ? a - b
      : String(a).localeCompare(String(b), undefined, { numeric: true });

  function sortBy(table, column) {
    const heads = [...table.tHead.rows[0].cells],
      head = heads[column],
      down = head.getAttribute("aria-sort") === "ascending";
    for (const each of heads) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const keyed = [...table.tBodies[0].rows].map((row) => [valueOf(row.cells[column]), row]);
    // What is missing stays last, whichever way it is sorted.
    const missing = (value) => value === "–" || value === "";
    keyed.sort(([a], [b]) => missing(a) - missing(b) || (down ? -1 : 1) * compare(a, b));
    table.tBodies[0].append(...keyed.map(([, row]) => row));
  }

  function filterOf(table) {
    const rows = [...table.tBodies[0].rows],
      said = make("output"),
      box = make("input", { type: "search", "aria-label": "Filter the rows", placeholder: "Filter" });
    const words = rows.map((row) => row.textContent.toLowerCase());
    const statuses = [...new Set(rows.map((row) => row.querySelector(".badge")?.lastChild.textContent))];
    const status = make(
      "select",
      { "aria-label": "Quality" },
      ...["every quality", ...statuses.filter(Boolean)].map((each, n) =>
        make("option", { value: n ? each : "" }, each),
      ),
    );
    const apply = () => {
      const wanted = box.value.toLowerCase().split(/\s+/);
      let shown = 0;
      for (const [place, row] of rows.entries()) {
        const kind = row.querySelector(".badge")?.lastChild.textContent;
        row.hidden = !wanted.every((word) => words[place].includes(word)) || (status.value && kind !== status.value);
        shown += !row.hidden;
      }
      said.textContent = shown < rows.length ? `${shown} of ${rows.length} rows` : "";
    };
    for (const each of [box, status]) each.addEventListener("input", apply);
    return make("div", { class: "table-tools" }, box, ...(statuses.filter(Boolean).length > 1 ? [status] : []), said);
  }

  for (const frame of document.querySelectorAll(".sortable")) {
    const table = frame.querySelector("table");
    for (const [column, head] of [...table.tHead.rows[0].cells].entries()) {
      if (!head.textContent || head.dataset.fixed !== undefined) continue;
      const button = make("button", { type: "button", click: () => sortBy(table, column) }, ...head.childNodes);
      head.append(button);
    }
    if (table.tBodies[0].rows.length >= FILTERED) frame.prepend(filterOf(table));
  }

  // ---- ratings ----

  /** What this browser remembers; where it may not, the page still works until it is closed. */
  const memory = (() => {
    const held = new Map();
    return {
      get: (key) => {
        try {
          return localStorage.getItem(key) ?? held.get(key) ?? null;
        } catch {
          return held.get(key) ?? null;
        }
      },
      set: (key, value) => {
        held.set(key, value);
        try {
          localStorage.setItem(key, value);
        } catch {
          // What is held is enough.
        }
      },
    };
  })();

  const RATER = "encephalon rater";
  const places = [...document.querySelectorAll(".rate")];
  const keyOf = (place) => {
    const folder = new URL(place.dataset.folder, location.href).pathname;
    return `encephalon rating ${folder} ${place.dataset.rate}`;
  };
  const ratingOf = (place) => JSON.parse(memory.get(keyOf(place)) ?? "{}");

  function setUp(place) {
    const name = place.dataset.rate,
      known = ratingOf(place);
    const change = (news) => {
      const rating = { ...ratingOf(place), ...news, rated: new Date().toISOString().slice(0, 19) + "Z" };
      memory.set(keyOf(place), JSON.stringify(rating));
      show(rating);
      count();
    };
    const buttons = RATINGS.map((word) =>
      make(
        "button",
        {
          type: "button",
          "aria-label": `${name} is ${word}`,
          // Pressing it again takes the rating back.
          click: () => change({ rating: ratingOf(place).rating === word ? "" : word }),
        },
        word,
      ),
    );
    const comment = make("input", {
      type: "text",
      placeholder: "comment",
      "aria-label": `Comment on ${name}`,
      // At every letter: the page may be closed without leaving the field.
      input: () => change({ comment: comment.value }),
    });
    const show = (rating) => {
      for (const [n, word] of RATINGS.entries())
        buttons[n].setAttribute("aria-pressed", String(rating.rating === word));
      comment.value = rating.comment ?? "";
    };
    show(known);
    place.append(...buttons, comment);
  }

  const FORMULA = /^'*[=+\-@]/;
  const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

  /** A cell of one line that no spreadsheet computes, in quotes where it has some; see `encephalon.io.text`. */
  function cell(value) {
    const words = String(value ?? "").replace(/[\t\n\v\f\r\x85\u2028\u2029]+/g, " ");
    const neutral = FORMULA.test(words) && !NUMBER.test(words) ? `'${words}` : words;
    return neutral.includes('"') ? `"${neutral.replaceAll('"', '""')}"` : neutral;
  }

  /** Everything that is rated or commented on, as a table with tabs. */
  function tsv() {
    const rater = memory.get(RATER) ?? "";
    const lines = places
      .map((place) => [place.dataset.rate, ratingOf(place)])
      .filter(([, known]) => known.rating || known.comment)
      .map(([name, known]) => [name, known.rating || "n/a", known.comment || "n/a", rater || "n/a", known.rated]);
    return [["id", "rating", "comment", "rater", "rated"], ...lines]
      .map((line) => line.map(cell).join("\t") + "\n")
      .join("");
  }

  function save() {
    const address = URL.createObjectURL(new Blob([tsv()], { type: "text/tab-separated-values" }));
    make("a", { href: address, download: "ratings.tsv" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  const bars = [...document.querySelectorAll(".rating-bar")].map((bar) => {
    const rater = make("input", { type: "text", input: () => memory.set(RATER, rater.value) });
    rater.value = memory.get(RATER) ?? "";
    const said = make("output");
    bar.append(
      make("label", {}, "Rated by", rater),
      make("button", { type: "button", click: save }, "Save ratings as TSV"),
      said,
    );
    return said;
  });

  function count() {
    const rated = places.filter((place) => ratingOf(place).rating).length;
    for (const said of bars) said.textContent = `${rated} of ${places.length} rated, kept in this browser`;
  }

  if (places.length <= AT_ONCE) places.forEach(setUp);
  else {
    // Thousands of buttons would take most of the time that a page needs to open.
    const seen = (entries, watch) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        watch.unobserve(target);
        setUp(target);
      }
    };
    const watch = new IntersectionObserver(seen, { rootMargin: "600px" });
    for (const place of places) watch.observe(place);
  }
  if (bars.length) count();
  document.documentElement.dataset.tables = "1";
  if (!document.querySelector(".viewer")) document.documentElement.dataset.ready = "1";
})();
