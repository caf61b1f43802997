# SPDX-License-Identifier: Apache-2.0
"""The work of explaining images: where a classifier looked in each, and whether to trust it.

Beside the maps stand three checks: the share of the maps inside known boxes, what happens to the
maps when the weights are shuffled, and how much the covariates decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import UsageError
from encephalon.explanation.report import (
    REPORT,
    TABLE,
    ExplanationImages,
    ExplanationPage,
    Explanations,
    source_of,
)
from encephalon.io.text import write_records

if TYPE_CHECKING:
    from encephalon.explanation.explainable import Asked, Explainable, Look
    from encephalon.explanation.explainer import Explained, Explainer
    from encephalon.inference.one_sample import Row
    from encephalon.tables.samples import Sample

__all__ = ["ImageWork"]

#: Images that the sanity check looks at: our choice, enough for a mean and quick.
_CHECKED = 8
#: Images with a known class below which nothing is said of the covariates: our choice.
_FEWEST = 20


@dataclass(eq=False)
class ImageWork:
    """The state of one batch, with what the checks need: a few numbers an image, and the first few
    images whole.
    """

    explainer: Explainer
    images: ExplanationImages
    page: ExplanationPage
    result: Explanations
    overwrite: bool
    first: list[Explained] = field(default_factory=list)
    known: list[tuple[int, Any, NDArray[np.float32]]] = field(default_factory=list)
    found: list[Any] = field(default_factory=list)

    @classmethod
    def begin(
        cls, model: Explainable, samples: Sequence[Sample], output: Path, asked: Asked
    ) -> ImageWork:
        """The work on these samples; raises UsageError for what the model does not have."""
        from encephalon.explanation.explainer import Explainer

        if asked.target is not None:
            raise UsageError(
                f"The model {model.predictor.name!r} tells one thing alone, not {asked.target!r} "
                "among others: leave out the target."
            )
        explainer = Explainer(model, asked.target_class, asked.layer, asked.device, asked.threads)
        return cls(
            explainer,
            ExplanationImages(output, samples, model.bins.names, asked.overwrite),
            ExplanationPage(model.predictor.describe(), explainer.layer),
            Explanations(folder=output),
            asked.overwrite,
        )

    def finish(self) -> Explanations:
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
        self.page.write(result.folder / REPORT, result, overwrite=self.overwrite)
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
        truth = sample.row.get(model.columns.target or "")
        known = {"truth": str(truth)} if truth in model.classes else {}
        row = _row(sample, one, place) | known | self.images.write(sample, heatmap, one, place)
        self.result.rows.append(row)
        self.page.add(row, heatmap, one)
        # One without a group is a unit of its own.
        group = sample.row.get(model.columns.group or "") or f"image {sample.id}"
        if len(self.first) < _CHECKED:
            self.first.append(one)
        if one.found is not None:
            self.found.append((group, one.found))
        if known:
            self.known.append((model.classes.index(str(truth)), group, one.head))


def _row(sample: Sample, one: Explained, place: str) -> Row:
    row: Row = {"id": sample.id, "source": source_of(sample), "class": one.name}
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
