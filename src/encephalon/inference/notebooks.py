# SPDX-License-Identifier: Apache-2.0
"""A prediction in the forms that notebooks know: a picture, HTML."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from encephalon.errors import UsageError
from encephalon.reports.format import Html
from encephalon.reports.slices import Overlay, three_planes

if TYPE_CHECKING:
    from encephalon.inference.predictor import Prediction
    from encephalon.reports.images import Picture

__all__ = ["as_html", "drawn"]


def drawn(prediction: Prediction) -> Any:
    """Three planes through the first image as a Pillow image; a mask is outlined in its scan.

    Raises UsageError for a prediction without an image in mm.
    """
    from PIL import Image as Pillow

    return Pillow.fromarray(_planes(prediction).base)


def as_html(prediction: Prediction) -> str:
    """The quality, the values, and the picture where there is one."""
    quality = prediction.quality
    told = {} if quality is None else {"quality": " ".join([quality.status, *quality.reasons])}
    rows = "".join(
        f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>"
        for name, value in {**told, **prediction.values}.items()
    )
    try:
        picture = _planes(prediction).html
    except UsageError:
        picture = Html("")
    return f"{picture}<table>{rows}</table>"


def _planes(prediction: Prediction) -> Picture:
    first = next((one for one in prediction.images.values() if one.like is not None), None)
    if first is None or first.like is None:
        raise UsageError("This prediction has no image of a volume to show: look at its values.")
    affine = first.like.affine
    if first.suffix == "mask" and first.like.shape == first.data.shape:
        picture = three_planes(first.like.data, affine, [Overlay(np.asarray(first.data) > 0)])
    else:
        picture = three_planes(first.data, affine)
    return replace(picture, base=picture.flat(), layers=())
