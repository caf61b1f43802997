# SPDX-License-Identifier: Apache-2.0
"""Representations to look at: tiles as points of a plane, in embedding.csv and on pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import InputError
from encephalon.io.files import is_file
from encephalon.io.text import read_records
from encephalon.reports.clouds import Cloud
from encephalon.statistics.projections import neighbour_plane, principal_plane, standardised
from encephalon.studies.microtomography.semantics import feature_heading, is_feature

__all__ = ["EMBEDDING", "HOW", "cloud_of", "colours_of", "embed", "planes_of", "read_embedding"]

Row = Mapping[str, Any]
EMBEDDING = "embedding.csv"
#: Tiles of an embedding at the most: t-SNE of a thousand takes some ten seconds.
EMBEDDED = 1000
#: What is known of a tile, beside its semantic features, and what may colour it.
KNOWN = {"region": "Region", "box": "Box", "split": "Part"}
#: The planes, and their axes.
PLANES = {
    "pca": ("principal components", "First component", "Second component"),
    "tsne": ("t-SNE", "First axis", "Second axis"),
}
HOW = (
    "Each dot is a tile: point at it to see which. Nearness in t-SNE means likeness, distance "
    "means little."
)


def embed(features: NDArray[np.float64], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What is known of tiles, and their places in each plane: pca_1, pca_2, tsne_1 and tsne_2.

    Of more than `EMBEDDED` tiles, evenly spaced ones; the features (N, F) are standardised first.
    """
    chosen = slice(None, None, -(-len(rows) // EMBEDDED))
    points = standardised(features[chosen])
    found = [
        {k: v for k, v in row.items() if k == "id" or k in KNOWN or is_feature(k)}
        for row in rows[chosen]
    ]
    for name, plane in (("pca", principal_plane(points)), ("tsne", neighbour_plane(points))):
        for row, (x, y) in zip(found, plane, strict=True):
            row |= {f"{name}_1": float(x), f"{name}_2": float(y)}
    return found


def read_embedding(folder: Path) -> list[dict[str, Any]]:
    """The rows of the embedding in the folder of an evaluation; [] for none, InputError if bad."""
    path = folder / EMBEDDING
    if not is_file(path):
        return []
    names, read = read_records(path)
    rows: list[dict[str, Any]] = [dict(row) for row in read]
    try:
        for row in rows:
            row |= {k: float(row[k] or "nan") for k in names if k != "id" and k not in KNOWN}
            _ = [row[f"{plane}_{n}"] for plane in PLANES for n in (1, 2)]
    except (ValueError, LookupError) as error:
        raise InputError(
            f"{path}: this is no embedding ({error}): evaluate the model again."
        ) from error
    return rows


def colours_of(rows: Sequence[Row]) -> dict[str, str]:
    """What may colour the tiles of embeddings, key to heading."""
    names = dict.fromkeys(name for row in rows for name in row if is_feature(name))
    return {**KNOWN, **{name: feature_heading(name) for name in names}}


def planes_of(rows: Sequence[Row]) -> dict[str, str]:
    """The planes in which these tiles have places, and their titles, the more telling last."""
    known = {plane: np.isfinite([row[f"{plane}_1"] for row in rows]).any() for plane in PLANES}
    return {plane: title for plane, (title, *_) in PLANES.items() if known[plane]}


def cloud_of(rows: Sequence[Row], plane: str, caption: str) -> Cloud:
    """An embedding in one of the planes."""
    _, across, up = PLANES[plane]
    x, y = ([row[f"{plane}_{n}"] for row in rows] for n in (1, 2))
    return Cloud(x, y, rows, across, up, caption)
