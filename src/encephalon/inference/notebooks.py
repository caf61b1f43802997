# SPDX-License-Identifier: Apache-2.0
"""A prediction in the forms that notebooks know: nibabel images, a picture, HTML."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import UsageError
from encephalon.reports.slices import Overlay, three_planes

if TYPE_CHECKING:
    from encephalon.inference.predictor import Prediction
    from encephalon.io.image import Image

__all__ = ["as_html", "as_nibabel", "drawn"]


def as_nibabel(data: NDArray[Any], like: Image) -> Any:
    """`data` (I, J, K) on the grid of `like` as nibabel's Nifti1Image, with its qform and sform."""
    nibabel: Any = import_module("nibabel")  # its types are incomplete
    image, header = nibabel.Nifti1Image(data, like.affine.matrix), like.header
    if isinstance(header, nibabel.Nifti1Header):
        image.set_qform(header.get_qform(), int(header["qform_code"]))
        image.set_sform(like.affine.matrix, int(header["sform_code"]) or 1)
    return image


def drawn(prediction: Prediction) -> Any:
    """Three planes through the first image as a Pillow image; a mask is outlined in its scan.

    Raises UsageError for a prediction without an image in mm.
    """
    from PIL import Image as Pillow

    first = next((one for one in prediction.images.values() if one.like is not None), None)
    if first is None or first.like is None:
        raise UsageError("This prediction has no image of a volume to show: look at its values.")
    affine = first.like.affine
    if first.suffix == "mask" and first.like.shape == first.data.shape:
        picture = three_planes(first.like.data, affine, [Overlay(np.asarray(first.data) > 0)])
    else:
        picture = three_planes(first.data, affine)
    return Pillow.fromarray(picture.flat())


def as_html(prediction: Prediction) -> str:
    """The quality, the values, and the picture where there is one."""
    quality = prediction.quality
    told = {} if quality is None else {"quality": " ".join([quality.status, *quality.reasons])}
    rows = "".join(
        f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>"
        for name, value in {**told, **prediction.values}.items()
    )
    try:
        stream = BytesIO()
        drawn(prediction).save(stream, "PNG")
        code = b64encode(stream.getvalue()).decode("ascii")
        picture = f'<img alt="Three planes" src="data:image/png;base64,{code}">'
    except UsageError:
        picture = ""
    return f"{picture}<table>{rows}</table>"
