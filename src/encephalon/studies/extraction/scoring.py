# SPDX-License-Identifier: Apache-2.0
"""One predicted mask against its reference: the grid they share, and every score of the pair."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, GeometryError
from encephalon.evaluation import overlap, surface_distances, volume_error
from encephalon.geometry import Affine, is_sheared
from encephalon.io.image import Image, read_labels
from encephalon.studies.extraction.cases import Case

if TYPE_CHECKING:
    from encephalon.inference.predictor import Prediction

__all__ = ["mask_of", "read_reference", "require_same_grid", "score_mask"]


def score_mask(
    predicted: NDArray[Any], reference: NDArray[Any], affine: Affine
) -> dict[str, float]:
    """Score one mask (I, J, K) against its reference on the same grid, placed by `affine`."""
    spacing = affine.matrix[:3, :3] if is_sheared(affine) else affine.spacing
    counts = overlap(predicted, reference)
    distances = surface_distances(predicted, reference, spacing)
    volumes = volume_error(predicted, reference, spacing)
    return {
        "dice": counts.dice,
        "jaccard": counts.jaccard,
        "sensitivity": counts.sensitivity,
        "precision": counts.precision,
        "hd95_mm": distances.hd95,
        "assd_mm": distances.assd,
        "volume_ml": volumes.predicted_ml,
        "reference_ml": volumes.reference_ml,
        "volume_error_ml": volumes.ml,
        "volume_error_percent": volumes.percent,
    }


def read_reference(case: Case) -> Image:
    """Read the reference mask; refuses label images, whose brain labels nobody has named."""
    image = read_labels(case.reference)
    found = np.unique(image.data)
    found = found[found > 0]
    if found.size > 1:
        raise ContentError(
            f"{case.reference}: a reference mask must hold 0 and one other value, but it holds "
            f"{found.size} labels: make a mask of those that count."
        )
    return replace(image, data=image.data > 0)


def mask_of(prediction: Prediction, case: Case) -> tuple[NDArray[np.bool_], Image | None]:
    output = next((each for each in prediction.images.values() if each.suffix == "mask"), None)
    if output is None:
        raise ContentError(
            f"{case.sample.id}: the model makes no mask, so there is nothing to score."
        )
    return np.asarray(output.data != 0), output.like


def require_same_grid(scan: Image | None, reference: Image, case: Case) -> None:
    """Raise GeometryError unless no corner of the two grids is half a voxel apart."""
    if scan is None:
        return
    apart = np.inf
    if scan.shape == reference.shape:
        corners = np.array(np.meshgrid(*[(0, size - 1) for size in scan.shape])).reshape(3, -1).T
        shift = scan.affine.apply(corners) - reference.affine.apply(corners)
        apart = float(np.linalg.norm(shift, axis=1).max())
    if apart > 0.5 * min(scan.spacing):
        raise GeometryError(
            f"{case.reference}: the reference mask lies on another grid than its scan: resample "
            "it to the scan first."
        )
