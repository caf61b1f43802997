# SPDX-License-Identifier: Apache-2.0
"""What explaining a batch gives: its files, and a page with the checks of the maps first.

`location_block`, `sanity_block` and `importance_block` serve other pages too.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.inference.batch import BatchResult
from encephalon.inference.outputs import OutputLayout
from encephalon.inference.predictor import OutputKind
from encephalon.inference.writing import sources
from encephalon.io.atomic import explained, refuse_existing, write_bytes
from encephalon.io.files import Inputs
from encephalon.reports.batch import model_facts
from encephalon.reports.blocks import (
    StatCard,
    card,
    chosen_grid,
    facts,
    figure,
    heat_key,
    note,
    paragraph,
    stat_cards,
    table,
)
from encephalon.reports.charts import DotGroup, dot_chart
from encephalon.reports.drawn import PictureBudget
from encephalon.reports.format import Html, format_estimate
from encephalon.reports.images import AMBER, MAP, Heatmap
from encephalon.reports.page import Legend, Page
from encephalon.statistics.intervals import Interval

if TYPE_CHECKING:
    from encephalon.explanation.explainer import Explained
    from encephalon.explanation.location import Location
    from encephalon.inference.one_sample import Row
    from encephalon.reports.images import Bytes
    from encephalon.tables.samples import Sample

__all__ = [
    "HEAT_KEY",
    "LEGEND",
    "MAPS",
    "ORIGINALS",
    "REPORT",
    "TABLE",
    "ExplanationImages",
    "ExplanationPage",
    "Explanations",
    "fill_page",
    "importance_block",
    "location_block",
    "sanity_block",
    "source_of",
]

TABLE, REPORT = "explanations.csv", "report.html"
LEGEND = Legend(MAP, "where the network looked", AMBER)
HEAT_KEY = heat_key("nothing", "what speaks most for the class")
_SIDE = 288  # longest side of a picture, pixels
# A map that is still this much like the true one does not show what was learnt: our choice.
_TOO_ALIKE = 0.5

_HINT = (
    "The lighter the colour, the more the place speaks for the class. Each map has a scale of its "
    "own: its lightest place is its maximum, however small. Dark margins were not seen."
)
_SLICE_HINT = " Of a volume the slice with that place is shown; the file has all."
#: Folders of the published notebook (3BTRON's `get_visualisations.ipynb`), which left them empty.
ORIGINALS, MAPS = "original_images", "cam_images"


@dataclass
class Explanations(BatchResult):
    """What came of it: rows as in explanations.csv, failures, and the three checks.

    location    shares of the maps inside the boxes of the table; None without boxes
    sanity      similarity of the maps to the true ones, by stage, with ever more weights shuffled
    importance  growth of the log loss (nats) when a covariate is permuted
    """

    folder: Path = field(default_factory=Path)
    location: Location | None = None
    sanity: dict[str, float] = field(default_factory=dict)
    importance: dict[str, Interval] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """All of it as plain data, as `--json` prints it."""
        failures = [{"id": one.id, "message": one.message} for one in self.failures]
        checks = {name: getattr(self, name) for name in ("location", "sanity", "importance")}
        places = {"table": self.folder / TABLE, "report": self.folder / REPORT}
        return {"rows": self.rows, "failures": failures, **checks, **places}

    def __str__(self) -> str:
        """The outcome in a few lines."""
        done = sum("error" not in row for row in self.rows)
        failed = f", {len(self.failures)} failed" if self.failures else ""
        lines = [f"{done} explained{failed}", str(self.location or "")]
        return "\n".join(line for line in (*lines, f"report: {self.folder / REPORT}") if line)


def source_of(sample: Sample) -> str:
    """The files that a sample is read from, as the table has them."""
    return "; ".join(sources(sample))


class ExplanationPage:
    """Collects images as they are explained, and writes the page at the end.

    about  the predictor's own description
    layer  where the maps are taken from
    """

    def __init__(self, about: Mapping[str, Any], layer: str) -> None:
        self._about, self._layer = about, layer
        self._entries: list[tuple[float, Row, Html | None]] = []
        self._budget = PictureBudget()

    def add(self, row: Row, heatmap: Heatmap, one: Explained) -> None:
        """Add one image: its row of explanations.csv, and image and map at the size of a screen."""
        words = f"{row['id']} with the map of {one.name}"
        drawn = self._budget.draw(lambda: [heatmap.resized(_SIDE).overlay(words).html])
        shares = [value for key, value in one.values.items() if key.startswith("p_")]
        self._entries.append((max(map(float, shares)), row, drawn[0] if drawn else None))

    def write(self, path: Path, result: Explanations, overwrite: bool = False) -> Path:
        """Write the page; raises OutputExistsError for an existing file unless `overwrite`."""
        entries = sorted(self._entries, key=lambda entry: -entry[0])
        page = Page(
            "Where the network looked",
            "Encephalon · explanations",
            f"{len(entries)} images, the most certain ones first.",
            [LEGEND],
        )
        certain = sum(str(row["certainty"]).startswith("certain") for _, row, _ in entries)
        shown = [StatCard(len(entries), "explained"), StatCard(certain, "certain")]
        if empty := sum(row["peak"] == 0 for _, row, _ in entries):
            shown.append(StatCard(empty, "empty maps", "nothing speaks for the class", "check"))
        cards = [(_card(*entry[1:]), _kinds(entry[1])) for entry in entries]
        volumes = any("slice" in row for _, row, _ in entries)
        hint = paragraph(_HINT + _SLICE_HINT * volumes), HEAT_KEY
        sections = {
            "Is it where the answer lies?": result.location and location_block(result.location),
            "Does it depend on what was learnt?": result.sanity and sanity_block(result.sanity),
            "What else decides?": result.importance and importance_block(result.importance),
            "Images": [*hint, chosen_grid(cards, "images")] if cards else [],
        }
        how = {"Method": "Grad-CAM (Selvaraju et al. 2017)", "Layer": self._layer}
        fill_page(page, result, shown, sections, model_facts(self._about, how))
        return page.write(path, overwrite)


def fill_page(
    page: Page,
    result: Explanations,
    shown: Sequence[StatCard],
    sections: Mapping[str, Any],
    model: Html,
    hint: str = "",
) -> None:
    """Put on a page its numbers, its sections that hold anything, who failed, and the model.

    sections  blocks by title; the last one, of samples, stands behind who failed
    """
    failed = [card(one.id, note(one.message, "fail")) for one in result.failures]
    count = [StatCard(len(failed), "failed", status="fail")] * bool(failed)
    page.add(stat_cards([*shown, *count]), *[paragraph(hint)] * bool(hint))
    *checks, samples = sections.items()
    for title, blocks in (*checks, ("Without an explanation", failed), samples, ("Model", [model])):
        if blocks:
            page.section(title, *blocks)


def location_block(location: Location) -> list[Html]:
    """Show how much of the maps lies inside known boxes, beside a centre prior and chance."""
    columns = {"what": "", "share": "Share inside the box", "hits": "Highest point inside"}
    cells = [
        {
            "what": name,
            "share": format_estimate(share, percent=True),
            "hits": format_estimate(hits, percent=True) if hits else None,
        }
        for name, share, hits in (
            ("Maps of the network", location.share, location.hits),
            ("Centre prior", location.centre_prior, location.centre_hits),
            ("Uniform map", location.uniform, None),
            ("Maps minus centre prior", location.difference, None),
        )
    ]
    words = (
        f"{location.n} images have a box in which the answer lies; intervals are 95 % percentile "
        f"bootstrap intervals that draw {location.share.units} independent units, and those of the "
        "highest points, which are shares, Wilson's where it says so. The centre prior is a map "
        'that always says "the middle": a Gaussian whose standard deviation is a quarter of each '
        "side."
    )
    if location.beats_centre:
        verdict = note("The maps lie in the box more than the middle of the image does.")
    else:
        verdict = note(
            "The maps lie in the box no more than the middle of the image does, as far as is "
            "known.",
            "check",
        )
    return [verdict, table(columns, cells), paragraph(words)]


def sanity_block(
    similarity: Mapping[str, float], what: str = "maps", of: str = "images"
) -> list[Html]:
    """Show how alike maps stay when weights are shuffled, from the last stage to the first.

    what  is compared, and what it is `of`
    """
    last = list(similarity.values())[-1]
    good = f"The {what} depend on what the network has learnt."
    bad = (
        f"With all weights shuffled the {what} are still alike (rank correlation {last:.2f}): they "
        f"show the {of} more than what was learnt."
    )
    rows = [
        {"stage": f"{'' if place == 0 else '… and '}{name}", "similarity": value}
        for place, (name, value) in enumerate(similarity.items())
    ]
    columns = {"stage": "Shuffled", "similarity": f"Rank correlation with the true {what}"}
    words = "Adebayo et al. 2018: 1 is the same, 0 has nothing in common with it."
    verdict = note(bad, "check") if last > _TOO_ALIKE else note(good)
    return [verdict, table(columns, rows, digits=2), paragraph(words)]


def importance_block(importance: Mapping[str, Interval]) -> list[Html]:
    """Show by how much the log loss grows when a covariate is permuted."""
    groups = [DotGroup(name, (), interval) for name, interval in importance.items()]
    units = max(each.units for each in importance.values())
    words = (
        "Each covariate is permuted among the images, which stay as they are. Zero: the "
        "model does not use it. Images that it was trained on show what it uses, not what helps. "
        f"Bars are 95 % percentile bootstrap intervals that draw {units} independent units."
    )
    return [figure(dot_chart(groups, "growth of the log loss, nats")), paragraph(words)]


def _kinds(row: Row) -> list[str]:
    """What the reader may choose an image by: right or wrong, if that is known, and its class."""
    kinds = [f"predicted {row['predicted']}"]
    if "truth" in row:
        kinds.insert(0, "right" if row["truth"] == row["predicted"] else "wrong")
    return kinds


def _card(row: Row, drawn: Html | None) -> Html:
    other = row["predicted"] if row["predicted"] != row["class"] else None
    inside = row.get("inside_box")
    known = {
        "Class": f"{row['class']}, {row['probability']:.3f}",
        "Predicted": other,
        "True": row["truth"] if row.get("truth", row["predicted"]) != row["predicted"] else None,
        "Certainty": str(row["certainty"]).replace("_", " "),
        "Slice, from 0": row.get("slice"),
        "Inside the box": None if inside is None else f"{100 * inside:.0f} %",
    }
    reasons = [note(row["reasons"], "check")] if row.get("reasons") else []
    picture = figure(drawn) if drawn else note("The picture is left out to keep this page small.")
    return card(str(row["id"]), *reasons, picture, facts(known))


class ExplanationImages:
    """The output folder of a batch of explanations.

    <bin>/<id>_panel.png           image, heat map and overlay side by side
    cam_images/<id>_cam.tif        the map, float32, on the raw grid, NaN where nobody looked
    cam_images/<id>_cam.png        the same in colours
    original_images/<id>.png       the image

    Pictures of a volume are of the slice with the map's maximum; the map has all slices as pages.
    """

    def __init__(
        self, folder: Path, samples: Sequence[Sample], bins: Sequence[str], overwrite: bool
    ) -> None:
        self.folder, self._overwrite = folder, overwrite
        self._bins = tuple(bins)
        self._inputs = Inputs(path for one in samples for path in one.inputs.values())
        kinds = {"cam": OutputKind("", extension=".tif", description="map")}
        planned = OutputLayout(folder / MAPS).plan(samples, kinds)
        self._planned = {id(one.sample): one for one in planned}

    def check(self, sample: Sample) -> None:
        """Raise OutputError for a sample whose files may not be written."""
        self._planned[id(sample)].require_free(self._overwrite)

    def write(self, sample: Sample, heatmap: Heatmap, one: Explained, place: str) -> dict[str, str]:
        """Write the files of one image; returns the paths of map and panel, as the table has them.

        heatmap  image and map at the size of a screen
        place    the bin that the image lies in
        """
        from encephalon.io.micrograph import write_plane

        name = sample.id
        array, heat = (self.folder / MAPS / f"{name}_cam{end}" for end in (".tif", ".png"))
        original = self.folder / ORIGINALS / f"{name}.png"
        panel = self.folder / place / f"{name}_panel.png"
        for path in (array, heat, original, panel):
            refuse_existing(path, self._overwrite)
        self._inputs.refuse((array, heat, original, panel))
        # An image that has come to lie in another bin must not be in two folders.
        for stale in (self.folder / one_bin / panel.name for one_bin in self._bins):
            if stale != panel:
                with explained(stale):
                    stale.unlink(missing_ok=True)
        caption = f"{name}: {one.name}, probability {one.probability:.2f}"
        said = str(one.values.get("predicted", one.name))
        if said != one.name:
            caption += f" (predicted: {said})"
        if one.slice is not None:
            caption += f", slice {one.slice}"
        write_plane(one.map, array)
        _write_png(heat, heatmap.colours())
        _write_png(original, heatmap.grey)
        _write_png(panel, heatmap.panel(caption))
        return {"map": f"{MAPS}/{array.name}", "panel": f"{place}/{panel.name}"}


def _write_png(path: Path, pixels: Bytes) -> None:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=1)
    write_bytes(path, stream.getbuffer())
