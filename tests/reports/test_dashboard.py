# SPDX-License-Identifier: Apache-2.0
"""A grid is explored on a page that asks nobody for anything: clicked through in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from encephalon.errors import MissingExtraError
from encephalon.experiments.analyses import Analyses, analyse
from encephalon.experiments.dashboard import dashboard_data
from encephalon.experiments.grid_cells import finish_cell
from encephalon.experiments.grid_folder import CellState
from encephalon.experiments.grid_server import grid_server
from encephalon.experiments.results_table import ResultsTable, read_results
from encephalon.reports.dashboard import dashboard_page
from tests.experiments.grid_results import results_with_people
from tests.experiments.test_grid import Steps
from tests.experiments.test_grid_server import laid
from tests.reports.browser import Browser

pytestmark = pytest.mark.skipif(not find_spec("gravis"), reason="needs the extra grid")
LARGEST = 6_000_000
ANSWERS = "[...document.querySelectorAll('#answers tbody tr')].map((row) => row.innerText)"
HEATMAP = "document.querySelector('#chart-heatmap-disease .plot')"


@pytest.fixture(scope="module")
def published(data: Path) -> Analyses:
    path = data / "published" / "legibility" / "metrics_comparison_test.csv"
    return analyse(read_results(path), people=2381)


@pytest.fixture(scope="module")
def page(published: Analyses, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    shown = dashboard_page(dashboard_data(published, folder))
    return shown.write(folder / "dashboard.html")


@pytest.fixture
def opened(browser: Browser, page: Path) -> Iterator[Browser]:
    """The published grid; whatever is done with it, nothing is asked for and nothing goes wrong."""
    browser.requests.clear()
    browser.errors.clear()
    browser.size(1280, 1000)
    browser.open(page.as_uri())
    yield browser
    assert browser.requests == [page.as_uri()]
    assert browser.errors == []


def _visible(browser: Browser, selector: str) -> None:
    """Scroll there, and wait until Plotly has drawn."""
    browser.middle(selector)
    browser.wait(f"document.querySelector({json.dumps(selector)} + ' .main-svg')")


def _graph(browser: Browser) -> None:
    """Scroll to the graph, and wait until it is drawn."""
    browser.run("document.querySelector('#graph').scrollIntoView()")
    browser.wait("document.querySelectorAll('.node').length == 25")


def test_the_page_is_one_small_file_whose_policy_allows_nothing_else(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert page.stat().st_size < LARGEST
    policy = text[: text.index("<style")].split('http-equiv="Content-Security-Policy"')[1]
    assert "default-src &#x27;none&#x27;" in policy
    assert "unsafe-eval" not in policy
    assert "connect-src" not in policy


def test_the_best_model_is_that_of_the_data_one_has(opened: Browser) -> None:
    """Taking scans away leaves what can be told without; what needs them has no model then."""
    assert "t1 + flair + dwi\tBalanced accuracy\t0.997" in opened.run(ANSWERS)[0]
    opened.click("#have label:nth-child(1) input")
    opened.click("#have label:nth-child(2) input")
    rows = opened.run(ANSWERS)
    assert "connectivity\tBalanced accuracy\t0.915" in rows[0]
    assert "constitutional + serology\tBalanced accuracy\t0.667" in rows[8]
    opened.click("#have-none")
    assert all("no model of these data" in row for row in opened.run(ANSWERS))
    opened.click("#have-all")
    assert "0.997" in opened.run(ANSWERS)[0]


def test_another_metric_chooses_another_best_model(opened: Browser) -> None:
    opened.choose("#metric-regression", "mae")
    assert "Mean absolute error\t2.048" in opened.run(ANSWERS)[1]
    opened.choose("#metric-classification", "micro_auc")
    assert "1.000" in opened.run(ANSWERS)[0]


def test_a_target_is_found_by_its_name(opened: Browser) -> None:
    opened.type("#search", "hypert")
    opened.run("document.querySelector('#graph').scrollIntoView()")
    assert opened.wait("document.querySelectorAll('.node.found').length") == 1
    opened.run("document.querySelector('#search').focus()")
    opened.press("Enter")
    assert opened.run("document.querySelector('#details h2').textContent") == "Hypertension"
    opened.press("Escape")
    assert opened.run("document.querySelector('#details').hidden")
    assert opened.run("document.activeElement.id") == "search"


def test_a_cell_of_the_heatmap_opens_by_mouse_and_by_keys(opened: Browser) -> None:
    _visible(opened, "#chart-heatmap-disease")
    boxes = opened.run(f"{HEATMAP}.layout.shapes.length")
    assert boxes == 2 * 5  # a dark and a light line for the best of each target
    marks = opened.run(f"{HEATMAP}.data[{HEATMAP}.data.length - 1].x.length")
    assert marks > 5
    x, y = opened.middle("#chart-heatmap-disease .heatmaplayer image:last-of-type")
    opened.mouse("mouseMoved", x, y)
    opened.wait("document.querySelector('#chart-heatmap-disease .hovertext') !== null")
    opened.click("#chart-heatmap-disease .heatmaplayer image:last-of-type")
    opened.wait("!document.querySelector('#details').hidden")
    assert opened.run("document.querySelector('#model h3').textContent").startswith("From ")
    opened.click("#details .close")
    opened.run(f"{HEATMAP}.focus()")
    opened.press("ArrowDown", 3)
    opened.press("ArrowRight")
    said = opened.run("document.querySelector('#said').textContent")
    assert "from t1 + flair" in said
    opened.press("Enter")
    name = opened.run("document.querySelector('#details h2').textContent")
    assert said.startswith(name)
    opened.press("Escape")


def test_the_graph_tells_the_best_on_hover_and_all_sets_on_click(opened: Browser) -> None:
    _graph(opened)
    assert opened.run("document.querySelectorAll('.edge').length") == 180  # 60 % of 300
    x, y = opened.middle(".node:nth-child(10) circle")
    opened.mouse("mouseMoved", x, y)
    told = opened.wait("!document.querySelector('#tip').hidden && $('tip').innerText")
    assert " from " in told
    assert opened.run("document.querySelectorAll('.dim').length") > 0
    opened.click(".node:nth-child(10) circle")
    rows = "document.querySelectorAll('#details tbody tr').length"
    assert opened.wait(rows) == 32
    values = opened.run(
        "[...document.querySelectorAll('#details .estimate')].map(e => +e.innerText)"
    )
    assert values == sorted(values, reverse=True)
    opened.click("#details tbody tr:nth-child(3) button")
    assert opened.run("document.querySelector('#model + div [aria-pressed=true]') !== null")
    opened.press("Escape")


def test_nodes_are_dragged_and_walked_over_by_keys(opened: Browser) -> None:
    _graph(opened)
    place = "document.querySelector('.node:nth-child(3)').getAttribute('transform')"
    before = opened.run(place)
    x, y = opened.middle(".node:nth-child(3) circle")
    opened.mouse("mousePressed", x, y)
    opened.drag(x + 50, y + 30)
    opened.mouse("mouseReleased", x + 50, y + 30)
    assert opened.run(place) != before
    opened.run("document.querySelector('.node[tabindex=\"0\"]').focus()")
    first = opened.run("document.activeElement.getAttribute('aria-label')")
    for key in ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"):
        opened.press(key)
    opened.press("ArrowLeft")
    assert opened.run("document.activeElement.getAttribute('aria-label')") != first
    where = "document.activeElement.getAttribute('transform')"
    before = opened.run(where)
    opened.press("ArrowUp", 2, shift=True)
    assert opened.run(where) != before
    opened.press("Enter")
    assert not opened.run("document.querySelector('#details').hidden")
    opened.press("Escape")


def test_edges_sizes_labels_and_colours_of_the_graph_are_chosen(opened: Browser) -> None:
    _graph(opened)
    opened.choose("#graph-top", "10")
    assert opened.run("document.querySelectorAll('.edge').length") == 30
    assert opened.run("document.querySelector('#graph-top-said').textContent") == "10 %"
    sizes = "[...document.querySelectorAll('.node circle')].map((one) => one.getAttribute('r'))"
    before = opened.run(sizes)
    opened.choose("#graph-size", "centrality_similarity")
    assert opened.run(sizes) != before
    widths = (
        "[...document.querySelectorAll('.edge')].map((one) => one.getAttribute('stroke-width'))"
    )
    before = opened.run(widths)
    opened.choose("#graph-width", "sets")
    assert opened.run(widths) != before
    opened.choose("#graph-label", "score")
    assert "0.997" in opened.run("document.querySelector('.node text:last-child').textContent")
    opened.choose("#graph-colour", "block 0")
    assert opened.run("document.querySelector('#graph-key').innerText").startswith("block 1")
    assert opened.run("document.querySelector('.node:nth-child(10) .within').textContent").isdigit()
    opened.choose("#graph-measure", "inverse_distance")
    assert opened.run("document.querySelectorAll('.edge').length") == 30
    for button in ("in", "out", "reset"):
        opened.click(f"#graph-{button}")


def test_forces_of_the_graph_are_chosen_and_told(opened: Browser) -> None:
    """Edges pull their ends together; without forces every target is where it was."""
    _graph(opened)
    far = (
        "(() => { const gaps = graph.edges.map((one) => Math.hypot(one.source.x - one.target.x,"
        "one.source.y - one.target.y)); return gaps.reduce((a, b) => a + b) / gaps.length; })()"
    )
    places = "graph.nodes.map((one) => [one.x, one.y])"
    free, home = opened.run(far), opened.run(places)
    opened.choose("#graph-pull", "100")
    pulled = opened.run(far)
    assert pulled < 0.9 * free
    opened.choose("#graph-apart", "40")
    assert opened.run(far) > pulled
    opened.run("document.querySelector('#graph-apart').focus()")
    opened.press("ArrowLeft")
    assert opened.run("document.querySelector('#graph-apart-said').textContent") == "39 px"
    for slider, value in (("pull", "0"), ("apart", "13")):
        opened.choose(f"#graph-{slider}", value)
    assert opened.run(places) == home


def test_the_graph_fills_the_screen_and_still_opens_its_targets(opened: Browser) -> None:
    _graph(opened)
    opened.click("#graph-full")
    opened.wait("Boolean(document.fullscreenElement?.querySelector('#graph'))")
    opened.wait("$('graph-full').ariaPressed == 'true'")
    opened.wait("document.querySelector('#graph svg').clientHeight > 520")
    assert opened.run("document.fullscreenElement.scrollHeight <= window.innerHeight")
    opened.click(".node:nth-child(10) circle")
    opened.wait("document.fullscreenElement.querySelector('#details tbody tr') !== null")
    opened.press("Escape")
    assert opened.wait("document.querySelector('#details').hidden")
    opened.click("#graph-full")
    opened.wait("document.fullscreenElement === null && $('graph-full').ariaPressed == 'false'")


def test_coefficients_are_those_of_the_method_with_their_stars(opened: Browser) -> None:
    opened.choose("#effects-method", "published")
    _visible(opened, "#chart-effects-4")
    assert opened.run("document.querySelectorAll('#effects figure').length") == 4
    chart = "document.querySelector('#chart-effects-4 .plot').data[0]"
    assert opened.run(f"{chart}.text") == ["***", "***", "***", "", "*"]
    assert opened.run(f"{chart}.x[0]") == pytest.approx(-0.0139, abs=1e-4)
    opened.choose("#effects-test", "p_holm")
    _visible(opened, "#chart-effects-4")
    assert opened.run(f"{chart}.text") == ["***", "***", "***", "", ""]
    assert "384 models of 12" in opened.run("document.querySelector('#effects').innerText")


def test_costs_are_told_by_what_is_measured_or_by_every_input(opened: Browser) -> None:
    _visible(opened, "#chart-minutes")
    count = "document.querySelector('#chart-minutes .plot').data[1].x.length"
    assert opened.run(count) == 8
    opened.choose("#costs-by", "all")
    _visible(opened, "#chart-minutes")
    assert opened.run(count) == 63


def test_charts_are_saved_as_svg_png_and_csv_and_read_as_tables(opened: Browser) -> None:
    for key in ("heatmap-disease", "effects-1", "minutes", "hours"):
        _visible(opened, f"#chart-{key}")
        for place, form in enumerate(("svg", "png", "csv"), 1):
            opened.click(f"#chart-{key} .tools button:nth-child({place})")
            _well_formed(form, opened.downloaded(f"{key}.{form}"))
        opened.click(f"#chart-{key} summary")
        assert opened.wait(f"document.querySelectorAll('#chart-{key} td').length") > 5
    _graph(opened)
    for form in ("svg", "png", "csv"):
        opened.click(f"[data-save=graph]:nth-of-type({('svg', 'png', 'csv').index(form) + 1})")
        _well_formed(form, opened.downloaded(f"graph.{form}"))
    opened.click("[data-save=all]")
    lines = opened.downloaded("all.csv").decode().splitlines()
    assert len(lines) == 701
    opened.click("[data-save=answers]")
    assert len(opened.downloaded("answers.csv").decode().splitlines()) == 26


def _well_formed(form: str, content: bytes) -> None:
    if form == "svg":
        assert ElementTree.fromstring(content).tag.endswith("svg")
    elif form == "png":
        assert content.startswith(b"\x89PNG")
    else:
        assert len({line.count(",") for line in content.decode().splitlines()}) == 1


def test_the_page_is_readable_in_the_dark_on_a_phone_and_on_paper(opened: Browser) -> None:
    """Nothing is wider than the window, words stand out from their ground, all is printed."""
    opened.size(400, 900, "dark")
    assert opened.run("document.documentElement.scrollWidth") <= 400
    body = "getComputedStyle(document.body)"
    colours = opened.run(f"[{body}.color, {body}.backgroundColor]")
    ink, paper = (sum(map(int, colour[4:-1].split(","))) for colour in colours)
    assert ink - paper > 400
    opened.size(1280, 1000)
    assert opened.call("Page.printToPDF")["data"]
    drawn = "[...document.querySelectorAll('.plot')].filter((one) => !one.querySelector('svg'))"
    assert opened.run(f"{drawn}.length") == 0


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> ResultsTable:
    return results_with_people(tmp_path_factory.mktemp("grid"), np.random.default_rng(0))


def test_curves_confusion_and_links_are_those_of_the_model(
    browser: Browser, people: ResultsTable, tmp_path: Path
) -> None:
    """Where predictions, a history and pages lie beside it; a graph needs three targets."""
    model = Path(people.frame["model"].iloc[0])
    model.mkdir(exist_ok=True)
    (model / "README.md").write_text("# Card\n", encoding="utf-8")
    history = "epoch,train_loss,val_loss\n1,0.9,1.0\n2,0.5,0.8\n"
    (model.parent / "history.csv").write_text(history, encoding="utf-8")
    shown = dashboard_page(dashboard_data(analyse(people), model.parents[1] / "report"))
    (model.parents[1] / "report").mkdir()
    path = shown.write(model.parents[1] / "report" / "dashboard.html")
    browser.open(path.as_uri())
    assert "three targets" in browser.run("document.querySelector('#graph-key').innerText")
    browser.click("#answers tr:nth-child(1) button")
    for chart in ("training", "scatter"):
        _visible(browser, f"#chart-{chart}")
    links = browser.run("[...document.querySelectorAll('#details a')].map((one) => one.href)")
    assert [(model / "README.md").as_uri() in links, model.as_uri() + "/" in links] == [True] * 2
    browser.press("Escape")
    browser.click("#answers tr:nth-child(2) button")
    assert "Confusion" in browser.run("document.querySelector('#model').innerText")
    assert browser.errors == []


def test_names_are_shown_as_they_are_and_break_nothing(browser: Browser, tmp_path: Path) -> None:
    """Tags, quotes, a word of 300 letters; of one kind of target there is one choice of metric."""
    names = ("<b>age</b> & 'sex'", "x" * 300, "../🧠")
    rows = [
        {"target": target, "kind": "regression", "inputs": inputs, "r2": 0.5, "minutes": 3}
        for target in names
        for inputs in ("<i>blood</i>", f"<i>blood</i> + {'y' * 300}")
    ]
    shown = dashboard_page(dashboard_data(analyse(ResultsTable.of(rows)), tmp_path))
    browser.errors.clear()
    browser.size(1000, 900)
    browser.open(shown.write(tmp_path / "odd.html").as_uri())
    _visible(browser, "#heatmaps .plot")
    assert "<b>age</b> & 'sex'" in browser.run("document.querySelector('#heatmaps').textContent")
    assert browser.run("document.querySelectorAll('main b, main i').length") == 0
    wide = "document.querySelector('#answers table').offsetWidth <= innerWidth"
    assert browser.run(f"{wide} && document.documentElement.scrollWidth <= innerWidth")
    assert browser.run("document.querySelector('#metric-classification').closest('label').hidden")
    assert browser.errors == []


def test_the_page_that_is_served_shows_what_is_new(
    browser: Browser, people: ResultsTable, tmp_path: Path
) -> None:
    """First it waits for a cell, then it draws each that is finished; nobody else may ask."""
    place, made = laid(tmp_path)

    def results(done: Sequence[CellState]) -> ResultsTable:
        return ResultsTable(people.frame[: 4 * len(done)].reset_index(drop=True))

    server = grid_server(place, results, 0)
    address = f"http://127.0.0.1:{server.server_port}/"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        browser.call("Page.navigate", url=address)
        browser.wait("document.body?.innerText.includes('0 of 4 cells done')")
        finish_cell(made[0], place.place(made[0]), Steps())
        status = "document.querySelector('#status')?.innerText"
        browser.wait(f"{status}?.includes('1 of 4 cells done')")
        finish_cell(made[1], place.place(made[1]), Steps(lambda _: ValueError("no luck")))
        finish_cell(made[2], place.place(made[2]), Steps())
        browser.wait(f"{status}.includes('2 of 4 cells done, 1 failed')")
        assert "no luck" in browser.run("document.querySelector('#status').textContent")
    finally:
        server.shutdown()
        server.server_close()


def test_a_page_without_its_scripts_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(module: str, extra: str, purpose: str) -> Any:
        raise MissingExtraError(f"{purpose} needs {module}, {extra}.")

    monkeypatch.setattr("encephalon.reports.dashboard.require_extra", lacking)
    with pytest.raises(MissingExtraError, match="A dashboard needs gravis, grid"):
        dashboard_page({"title": "", "lead": "", "cards": {}})
