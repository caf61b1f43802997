// SPDX-License-Identifier: Apache-2.0
// Charts that tell their values to whoever points at a mark or comes to it with the arrow keys.
"use strict";

(() => {
  const NEAR = 32; // pixels within which a mark is the one that is pointed at
  const AT_ONCE = 10; // marks that Page Up and Page Down pass over

  /** What a chart has to tell, in the order of its rows and curves: boxes, and words for each. */
  function marksOf(chart) {
    const up = chart.dataset.of,
      across = chart.dataset.across,
      titles = chart.querySelectorAll("title"),
      marks = [];
    for (const title of titles) {
      const one = title.parentNode,
        words = title.textContent;
      if (one.dataset.values === undefined) {
        const { x, y, width, height } = one.getBBox();
        marks.push({ one, x, y, width, height, said: words });
        continue;
      }
      const values = one.dataset.values.split(" ");
      for (const [n, point] of one.getAttribute("points").split(" ").entries()) {
        if (n && values[n] === values[n - 1]) continue;
        const [x, y] = point.split(",").map(Number),
          [a, b] = values[n].split(",");
        marks.push({ one, x, y, width: 0, height: 0, said: `${words}: ${across} ${a}, ${up} ${b}`, point: true });
      }
    }
    // The browser would show them beside ours; one by one, each would be a layout of the page.
    for (const title of titles) title.remove();
    return marks;
  }

  /** Go where a link of a drawing leads. */
  const follow = (link) => link && (location.href = link.href.baseVal);

  const apart = (at, start, size) => Math.max(start - at, 0, at - start - size);

  function listenTo(chart) {
    const frame = document.createElement("div"),
      tip = document.createElement("output"),
      ring = document.createElementNS(chart.namespaceURI, "circle");
    let marks = null,
      at = -1;
    frame.className = "chart-frame";
    tip.className = "chart-said";
    tip.hidden = true;
    ring.setAttribute("class", "ring");
    ring.setAttribute("r", "5");
    chart.before(frame);
    frame.append(chart, tip);
    chart.dataset.of = chart.getAttribute("aria-label");
    chart.setAttribute("tabindex", "0");
    chart.setAttribute("role", "application");
    chart.setAttribute("aria-roledescription", "chart");
    chart.setAttribute("aria-label", `${chart.dataset.of}; arrow keys tell its values`);

    // Thousands of marks are looked up when somebody wants to know of one, and not before.
    const known = () => (marks ??= marksOf(chart));

    function tell(place) {
      if (at >= 0) known()[at]?.one.classList.remove("pointed");
      at = place;
      tip.hidden = at < 0 || !known().length;
      ring.remove();
      if (tip.hidden) return;
      const { one, x, y, width, height, said, point } = known()[at];
      one.classList.add("pointed");
      if (point) {
        ring.setAttribute("cx", x);
        ring.setAttribute("cy", y);
        chart.append(ring);
      }
      tip.textContent = said;
      const { a, d, e, f } = chart.getScreenCTM(),
        box = frame.getBoundingClientRect(),
        middle = a * (x + width / 2) + e - box.left + frame.scrollLeft,
        top = d * y + f - box.top;
      const room = frame.scrollWidth - tip.offsetWidth,
        above = top - tip.offsetHeight - 8;
      tip.style.left = `${Math.max(0, Math.min(room, middle - tip.offsetWidth / 2))}px`;
      tip.style.top = `${above < 0 ? top + d * height + 10 : above}px`;
    }

    /** The mark that is nearest to where the pointer is, if one is near. */
    function nearest(event) {
      const { a, d, e, f } = chart.getScreenCTM(),
        x = (event.clientX - e) / a,
        y = (event.clientY - f) / d;
      let found = -1,
        least = (NEAR / a) ** 2;
      for (const [place, each] of known().entries()) {
        const far = apart(x, each.x, each.width) ** 2 + apart(y, each.y, each.height) ** 2;
        if (far < least) [found, least] = [place, far];
      }
      return found;
    }

    function press(event) {
      const last = known().length - 1;
      const to = {
        ArrowRight: at + 1,
        ArrowLeft: at - 1,
        PageDown: at + AT_ONCE,
        PageUp: at - AT_ONCE,
        Home: 0,
        End: last,
      }[event.key];
      if (event.ctrlKey || event.altKey || event.metaKey || last < 0) return;
      if (event.key === "Escape") tell(-1);
      else if (event.key === "Enter" && at >= 0) follow(known()[at].one.closest("a"));
      else if (to !== undefined) {
        event.preventDefault();
        tell(Math.max(0, Math.min(last, to)));
      }
    }

    for (const kind of ["pointermove", "pointerdown"]) chart.addEventListener(kind, (event) => tell(nearest(event)));
    chart.addEventListener("pointerleave", () => tell(-1));
    chart.addEventListener("blur", () => tell(-1));
    chart.addEventListener("keydown", press);
  }

  for (const chart of document.querySelectorAll("svg.chart")) if (chart.querySelector("title")) listenTo(chart);
  if (!document.querySelector(".viewer, .sortable, .rate")) document.documentElement.dataset.ready = "1";
})();
