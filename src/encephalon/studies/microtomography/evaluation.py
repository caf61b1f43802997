# SPDX-License-Identifier: Apache-2.0
"""Score a model on a table of tiles: regions, structures, and what can be read out of features.

A model of regions is scored by its own classes on the part "test". It and a representation are also
asked what a linear model reads out of their frozen features: regions by probes, and every semantic
feature that the table has. The features of all tiles are written beside the scores.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import TableError
from encephalon.evaluation.cases import Case
from encephalon.evaluation.run import CaseResult, EvaluationResult, Scorable
from encephalon.io.atomic import atomic_path, sha256, write_bytes
from encephalon.metrics.classification import classification_metrics, confusion_matrix
from encephalon.metrics.label_maps import METRICS, ClassCounts
from encephalon.metrics.segmentation import same_shape
from encephalon.models.fitted import score_logits
from encephalon.reports.blocks import ExamplesByConfidence
from encephalon.reports.format import format_estimate, format_number
from encephalon.reports.images import png_bytes
from encephalon.reports.label_maps import beside, label_pictures
from encephalon.statistics.intervals import Interval
from encephalon.studies.microtomography.data import require_classes
from encephalon.studies.microtomography.embedding import EMBEDDING, embed
from encephalon.studies.microtomography.predictor import TilePredictor
from encephalon.studies.microtomography.reading import LoadedTile, read_structures
from encephalon.studies.microtomography.readout import PROBES, Parts, ReadOut, probe, read_out
from encephalon.studies.microtomography.report import evaluation_page
from encephalon.studies.microtomography.semantics import is_feature
from encephalon.studies.microtomography.tiles import IGNORED
from encephalon.tables.checks import checked
from encephalon.tables.reading import read_table
from encephalon.tables.samples import table_samples

if TYPE_CHECKING:
    from encephalon.reports.format import Html
    from encephalon.reports.images import Picture
    from encephalon.reports.page import Page
    from encephalon.tables.schema import Table

__all__ = ["ClassScores", "TileEvaluation", "TileSummary"]

Row = dict[str, Any]
Values = NDArray[np.float64]
#: Tiles that a page shows, the worst ones, and those whose pictures every evaluation writes.
WORST, PICTURED = 6, 4
#: How classes are told, if not by a probe.
OWN = "its own classes"
#: Folder of those pictures: ID_image.png, ID_truth.png and ID_prediction.png.
PICTURES = "pictures"


@dataclass(frozen=True)
class ClassScores:
    """How well classes of tiles were told on the part "test".

    how       `OWN`, or the probe
    metrics   accuracy, balanced accuracy and f1, each with its interval over groups of slices
    per_class sensitivity, precision and f1 of each class; NaN where nothing is counted
    matrix    true class down, predicted class across
    """

    how: str
    metrics: Mapping[str, Interval]
    per_class: Mapping[str, list[float]]
    matrix: list[list[int]]


@dataclass(frozen=True)
class TileSummary:
    """What all scores say.

    tiles      how many were scored, and how many had no region and were not
    regions    scores of the model's own classes, and of each probe
    readouts   of each semantic feature that the table has
    structures for each class its metrics, pooled over voxels and as means over tiles
    pooled     means of these over classes; "balanced_accuracy" without the background
    classes    regions or structures, in the order of the matrices
    confusion  voxels: true structure down, predicted structure across
    """

    tiles: int
    without_region: int = 0
    regions: list[ClassScores] = field(default_factory=list)
    readouts: list[ReadOut] = field(default_factory=list)
    structures: dict[str, dict[str, float]] = field(default_factory=dict)
    pooled: dict[str, float] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    confusion: list[list[int]] = field(default_factory=list)


class TileEvaluation(Scorable[Case, TileSummary]):
    """A loaded model on a table of tiles, as `encephalon table tiles` makes it."""

    def __init__(self, model: Any, table: str | Path) -> None:
        self.predictor: TilePredictor = model.predictor
        self.classes, self.target = self.predictor.classes, self.predictor.settings.target
        self.table = checked(read_table(Path(table), model.columns))
        self.path, self.begun = Path(table), time.perf_counter()
        if self.target == "structure":
            for cell in dict.fromkeys(self.table.texts(str(self.table.columns.target))):
                require_classes(self.table.path(cell), self.classes)
        else:
            self.tables = ("scores.csv", EMBEDDING)
        self.features: dict[str, Values] = {}
        self.embedding: list[Row] = []
        self.worst = ExamplesByConfidence(WORST)
        self.chosen: set[str] = set()
        self.pictured: dict[str, Mapping[str, Picture]] = {}
        self.confusion = np.zeros((len(self.classes), len(self.classes)), np.int64)
        split = str(self.table.columns.split)
        self.split = np.array(self.table.texts(split) if self.table.has(split) else [""])
        if not (self.split == "test").any():
            raise TableError(
                f"{self.table.source} has no tile whose {split!r} is 'test', and nothing else is "
                "scored: make the table of a benchmark with that part."
            )

    def cases(self) -> Sequence[Case]:
        """The tiles that test; all of them where features are read out."""
        group, parts = str(self.table.columns.group), self.split
        groups = self.table.texts(group) if self.table.has(group) else self.table.ids
        cases = [
            Case(sample, groups[row])
            for row, sample in enumerate(table_samples(self.table))
            if parts[row] == "test" or (self.target != "structure" and parts[row])
        ]
        if self.target == "structure":  # the same ones of every model, spread over the boxes
            step = -(-len(cases) // PICTURED)
            self.chosen = {case.name for case in cases[step // 2 :: step]}
        return cases

    def score(self, case: Case) -> CaseResult:
        """The class of a tile, or the counts of its voxels; features are kept for the read-out."""
        loaded = self.predictor.read_tile(case.sample)
        about = case.sample.row
        row: Row = {"id": case.name, "box": about.get("box"), "group": case.group}
        row["split"] = about.get(str(self.table.columns.split))
        if self.target == "structure":
            return CaseResult([row | self._counted(case, loaded)])
        features, logits = self.predictor.output(loaded)
        self.features[case.name] = features.astype(np.float64)
        if self.classes:
            row["region"] = about.get(str(self.table.columns.target))
            shares = score_logits(logits[None], "softmax")[0]
            row["predicted"] = self.classes[int(np.argmax(logits))]
            row |= dict(zip((f"p_{n}" for n in self.classes), shares, strict=True))
        return CaseResult([row])

    def _counted(self, case: Case, loaded: LoadedTile) -> Row:
        """The counts of the voxels of a tile and its mean F1; its pictures are kept if asked."""
        truth, found = read_structures(self.table, case.sample), self.predictor.label_map(loaded)
        same_shape(found, truth)
        known = truth != IGNORED
        confusion = confusion_matrix(truth[known], found[known], len(self.classes))
        self.confusion += confusion
        counts = ClassCounts.of(confusion)
        each = dict(zip(self.classes[1:], counts.metric("f1")[0, 1:], strict=True))
        defined = {name: float(value) for name, value in each.items() if np.isfinite(value)}
        # Where there is nothing, and nothing was found, all is right.
        f1 = float(np.mean(list(defined.values()))) if defined else 1.0
        words = ", ".join(f"{name} {format_number(value, 3)}" for name, value in defined.items())
        words = f"F1 {format_number(f1, 3)}" + (f" ({words})" if words else "")
        shown = np.where(known, truth, 0)
        draw = cache(partial(label_pictures, loaded.voxels, Truth=shown, Prediction=found))
        self.worst.offer(f1, lambda: beside(case.name, words, draw()))
        if case.name in self.chosen:
            self.pictured[case.name] = draw()
        row: Row = {"f1": f1}
        for number, name in enumerate(self.classes):
            row |= {f"{k}_{name}": int(v[0, number]) for k, v in vars(counts).items()}
        return row

    def summarise(self, rows: list[Row]) -> TileSummary | None:
        """Scores of the tiles that test."""
        if not rows:
            return None
        if self.target == "structure":
            return self._structures(rows)
        parts, names = self._parts(rows), self._regions(rows)
        classes = list(self.classes) or sorted({name for name in names if name})
        regions = [self._own(rows)] if self.classes else []
        if any(names) and parts.complete:
            regions += [self._probed(parts, kind, names, classes) for kind in PROBES]
        places = {name: place for place, name in enumerate(self.table.ids)}
        order = [places[row["id"]] for row in rows]
        features = {
            name: _feature(self.table, name)[order]
            for name in map(str, self.table.frame.columns)
            if is_feature(name)
        }
        readouts = [
            read_out(parts, name, values)
            for name, values in features.items()
            if np.unique(values[np.isfinite(values)]).size > 1
        ]
        known = [{**row, "region": name} for row, name in zip(rows, names, strict=True)]
        for number, row in enumerate(known):
            row |= {name: float(values[number]) for name, values in features.items()}
        self.embedding = embed(parts.features, known)
        tested = [n for n, row in enumerate(rows) if row["split"] == "test"]
        nowhere = sum(any(names) and not names[n] for n in tested)
        return TileSummary(len(tested), nowhere, regions, readouts, classes=classes)

    def _structures(self, rows: Sequence[Row]) -> TileSummary:
        names = ("tp", "fp", "fn", "tn")
        table = {k: np.array([[r[f"{k}_{c}"] for c in self.classes] for r in rows]) for k in names}
        counts = ClassCounts(**table)
        pooled, means = counts.pooled, {m: counts.per_image(m) for m in METRICS}
        structures = {
            name: {
                **{metric: float(pooled.metric(metric)[0, n]) for metric in METRICS},
                **{f"{metric}_per_tile": float(means[metric][n]) for metric in METRICS},
            }
            for n, name in enumerate(self.classes)
        }
        over = {m: float(np.nanmean(pooled.metric(m)[0])) for m in METRICS}
        over |= {f"{m}_per_tile": float(np.nanmean(means[m])) for m in METRICS}
        over["balanced_accuracy"] = counts.balanced_accuracy()
        return TileSummary(
            len(rows),
            structures=structures,
            pooled=over,
            classes=list(self.classes),
            confusion=self.confusion.tolist(),
        )

    def _parts(self, rows: Sequence[Row]) -> Parts:
        return Parts(
            np.stack([self.features[row["id"]] for row in rows]),
            np.array([row["split"] for row in rows]),
            [row["group"] for row in rows],
        )

    def _regions(self, rows: Sequence[Row]) -> list[str]:
        """The true region of each row, "" where nobody knows."""
        column = self.table.columns.target if self.classes else "region"
        if not self.table.has(column):
            return [""] * len(rows)
        known = dict(zip(self.table.ids, self.table.texts(str(column)), strict=True))
        return [known[row["id"]] for row in rows]

    def _own(self, rows: Sequence[Row]) -> ClassScores:
        kept = [row for row in rows if row["split"] == "test" and row["region"]]
        if not kept:
            raise TableError(
                f"{self.table.source}: no tile of the part 'test' has a region, and nothing else "
                "is scored: give the benchmark labels of regions there."
            )
        truth = np.array([self.classes.index(row["region"]) for row in kept])
        shares = np.array([[row[f"p_{name}"] for name in self.classes] for row in kept])
        return _class_scores(OWN, truth, shares, [row["group"] for row in kept])

    def _probed(
        self, parts: Parts, kind: Any, names: Sequence[str], classes: Sequence[str]
    ) -> ClassScores:
        truth = np.array([classes.index(name) if name else -1 for name in names])
        found = probe(parts, kind, truth).predicted
        kept = (parts.split == "test") & (truth >= 0)
        groups = [group for group, keep in zip(parts.groups, kept, strict=True) if keep]
        return _class_scores(kind, truth[kept], np.eye(len(classes))[found[kept]], groups)

    def lines(self, summary: TileSummary) -> Iterable[str]:
        """Accuracies, F1 of each structure, and R2 of each feature."""
        for each in summary.regions:
            yield f"accuracy ({each.how}) {format_estimate(each.metrics['accuracy'])}"
        for name, metrics in summary.structures.items():
            yield f"{name}: F1 {format_number(metrics['f1'])}, IoU {format_number(metrics['iou'])}"
        for read in summary.readouts:
            yield f"R² of {read.target} {format_estimate(read.r2)}"

    def rows(self, result: EvaluationResult[TileSummary]) -> Mapping[str, Sequence[Row]]:
        """The scores, and the embedding of what has features."""
        return dict(zip(self.tables, (result.rows, self.embedding), strict=False))

    def record(self, result: EvaluationResult[TileSummary]) -> Mapping[str, Any]:
        """The model and how it learnt, the data by its hash, the time it took, and the scores."""
        self._write_features(result.folder)
        for name, pictures in self.pictured.items():
            for part, picture in pictures.items():
                path = result.folder / PICTURES / f"{name}_{part.lower()}.png"
                write_bytes(path, png_bytes(picture.flat() if picture.layers else picture.base))
        return {
            "model": self.predictor.describe(),
            **self.predictor.trained,
            "target": self.target,
            "mode": self.predictor.model.get("mode"),
            "spatial_dims": 3 if self.predictor.depth else 2,
            "table": {"file": self.path.name, "sha256": sha256(self.path)},
            "seconds": round(time.perf_counter() - self.begun, 1),
            "history": self.predictor.history(),
            **result.told,
            "failures": result.failures,
        }

    def _write_features(self, folder: Path) -> None:
        """The features of every tile with the cells of its row, as features.npz."""
        if not self.features:
            return
        kept = [place for place, name in enumerate(self.table.ids) if name in self.features]
        table = self.table.select(kept)
        cells = {str(name): np.array(table.texts(str(name))) for name in table.frame.columns}
        with atomic_path(folder / "features.npz") as temporary, temporary.open("wb") as stream:
            features = np.stack([self.features[name] for name in table.ids]).astype(np.float32)
            np.savez_compressed(stream, allow_pickle=False, features=features, **cells)

    def page(self, result: EvaluationResult[TileSummary], failures: Sequence[Html]) -> Page:
        """Main metrics, confusion, read-outs, structures, and the embedding."""
        return evaluation_page(self, result, failures)


def _feature(table: Table, name: str) -> Values:
    """The semantic feature of each tile, NaN where its cell is empty."""
    values, cells = table.numbers(name), table.texts(name)
    for row in np.flatnonzero(np.isnan(values)).tolist():
        if cell := cells[row]:
            raise TableError(
                f"{table.source}, row {table.row(row)}: the feature {name!r} must be a number or "
                f"empty, but is {cell!r}: correct it, or give the column another name."
            )
    return values


def _class_scores(
    how: str, truth: NDArray[np.int64], shares: Values, groups: Sequence[str]
) -> ClassScores:
    metrics = classification_metrics(truth, shares)
    kept = ("accuracy", "balanced_accuracy", "f1")
    found = confusion_matrix(truth, shares.argmax(axis=1), shares.shape[1])
    counts = ClassCounts.of(found)
    return ClassScores(
        how,
        {name: metrics[name].interval(groups) for name in kept},
        {name: counts.metric(name)[0].tolist() for name in ("sensitivity", "precision", "f1")},
        found.tolist(),
    )
