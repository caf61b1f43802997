# SPDX-License-Identifier: Apache-2.0
"""Explain a batch: where the model looked in each image, how sure it was, and whether to trust it.

Beside the maps stand three checks: the share of the maps inside known boxes, what happens to the
maps when the weights are shuffled, and how much the covariates decide.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import require_extra
from encephalon.explanation.report import (
    REPORT,
    TABLE,
    ExplanationImages,
    ExplanationPage,
    Explanations,
)
from encephalon.inference.batch import Failure, failure_sentence, prefetch, without_traceback
from encephalon.inference.writing import sources
from encephalon.io.atomic import prove_writable, refuse_existing
from encephalon.io.text import write_records

if TYPE_CHECKING:
    from encephalon.explanation.explainable import Explainable, Look
    from encephalon.explanation.explainer import Explained, Explainer
    from encephalon.inference.batch import Progress, Row
    from encephalon.tables.samples import Sample

__all__ = ["explain"]

#: Images that the sanity check looks at: our choice, enough for a mean and quick.
_CHECKED = 8
#: Images with a known class below which nothing is said of the covariates: our choice.
_FEWEST = 20


logger = logging.getLogger(__name__)


def explain(
    model: Explainable,
    samples: Sequence[Sample],
    output: Path,
    *,
    target_class: str | None = None,
    layer: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Explanations:
    """Explain every sample and write maps, panels, a table and a report.

    target_class  name of the class that maps are of; None is the predicted one
    layer         dotted path of the layer that they are taken from; None is the model's own

    A sample that cannot be read or written is a failure, and the others are done. Raises
    OutputExistsError and UsageError before any work, what the predictor's `check` raises, and
    MissingExtraError without torch.
    """
    require_extra("torch", "train", "Explaining")
    from encephalon.explanation.explainer import Explainer

    for name in (TABLE, REPORT):
        refuse_existing(output / name, overwrite)
    predictor = model.predictor
    getattr(predictor, "check", lambda _: None)(samples)
    explainer = Explainer(model, target_class, layer, device, threads)
    prove_writable(output)
    images = ExplanationImages(output, samples, model.bins.names, overwrite)
    page = ExplanationPage(predictor.describe(), explainer.layer)
    result = Explanations(folder=output)
    work = _Work(explainer, images, page, result)
    readers = getattr(predictor, "readers", 1)
    reading = prefetch(model.look, samples, lambda _: False, readers)
    with closing(reading):
        for done, (sample, future) in enumerate(reading, start=1):
            try:
                assert future is not None
                work.explain(sample, future.result().content)
            except Exception as error:  # the others must be done
                logger.debug("%s failed", sample.id, exc_info=error)
                message = failure_sentence(sample, error)
                result.rows.append({"id": sample.id, "source": _source(sample), "error": message})
                result.failures.append(Failure(sample.id, message, without_traceback(error)))
            if progress is not None:
                progress(done, len(samples), sample.id)
    return work.finish(overwrite)


@dataclass(eq=False)
class _Work:
    """The state of one batch, with what the checks need: a few numbers an image, and the first few
    images whole.
    """

    explainer: Explainer
    images: ExplanationImages
    page: ExplanationPage
    result: Explanations
    first: list[Explained] = field(default_factory=list)
    known: list[tuple[int, Any, NDArray[np.float32]]] = field(default_factory=list)
    found: list[Any] = field(default_factory=list)

    def finish(self, overwrite: bool) -> Explanations:
        """Compute the checks over all images, and write table and report."""
        from encephalon.explanation.gradcam import randomised_weights
        from encephalon.explanation.importance import HeadInputs, covariate_importance
        from encephalon.explanation.location import summarise

        result, network, model = self.result, self.explainer.network, self.explainer.model
        columns = model.columns
        groups = [group for group, _ in self.found] if columns.group else None
        result.location = summarise([found for _, found in self.found], groups)
        if self.first:
            seen = [one.inputs for one in self.first]
            targets = [list(model.classes).index(one.name) for one in self.first]
            result.sanity = randomised_weights(network, seen, self.explainer.layer, targets)
        if len(self.known) >= _FEWEST and model.probabilities and columns.covariates:
            truth, owners, heads = zip(*self.known, strict=True)
            result.importance = covariate_importance(
                [HeadInputs(network, np.arange(len(heads)), np.stack(heads))],
                np.array(truth, dtype=np.int64),
                columns,
                model.probabilities,
                owners if columns.group else None,
            )
        write_records(result.rows, result.folder / TABLE)
        self.page.write(result.folder / REPORT, result, overwrite=overwrite)
        return result

    def explain(self, sample: Sample, look: Look) -> None:
        """Explain a sample, and write its files."""
        from encephalon.reports.images import Heatmap

        self.images.check(sample)
        one, model = self.explainer.explain(look), self.explainer.model
        raw, values = look.raw(), one.map
        if one.slice is not None:
            raw, values = raw[one.slice], values[one.slice]
        heatmap = Heatmap.of(raw, values)
        place = model.bins(one.values)
        row = _row(sample, one, place) | self.images.write(sample, heatmap, one, place)
        self.result.rows.append(row)
        self.page.add(row, heatmap, one)
        # One without a group is a unit of its own.
        group = sample.row.get(model.columns.group or "") or f"image {sample.id}"
        if len(self.first) < _CHECKED:
            self.first.append(one)
        if one.found is not None:
            self.found.append((group, one.found))
        truth = sample.row.get(model.columns.target or "")
        if truth in model.classes:
            self.known.append((model.classes.index(str(truth)), group, one.head))


def _row(sample: Sample, one: Explained, place: str) -> Row:
    row: Row = {"id": sample.id, "source": _source(sample), "class": one.name}
    row |= {"probability": one.probability, "predicted": one.values["predicted"]}
    if "likelihood" in one.values:
        row["likelihood"] = one.values["likelihood"]
    row |= {"certainty": place, "quality": one.quality, "reasons": "; ".join(one.reasons)}
    row["peak"] = one.peak
    if one.slice is not None:
        row["slice"] = one.slice
    if one.found is not None:
        row |= {"inside_box": one.found.share, "points_inside_box": one.found.hit}
    return row


def _source(sample: Sample) -> str:
    return "; ".join(sources(sample))
