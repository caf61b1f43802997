# SPDX-License-Identifier: Apache-2.0
"""The page of one person who was explained: the slices of each image under its map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.reports.batch import model_facts, model_name
from encephalon.reports.blocks import facts
from encephalon.reports.format import Html, tag
from encephalon.reports.images import AMBER, SKY
from encephalon.reports.page import Page
from encephalon.reports.viewer import BODY, HINT, ViewedImage, ViewedLabel, volume_viewer
from encephalon.transforms.template import mni_grid

__all__ = ["person_page"]

#: Share of its extreme from which on a map is laid over the image (ours).
SHOWN = 0.5
_RAISES, _LOWERS = 1, 2
_LABELS = (
    ViewedLabel(_RAISES, "raises the answer", AMBER),
    ViewedLabel(_LOWERS, "lowers the answer", SKY),
)
_AXES = replace(BODY, outside="neither")
_HOW = (
    f"{HINT} Laid over is where the map has more than {SHOWN:.0%} of its extreme: amber raises the "
    "answer, blue lowers it. The map itself is the second image."
)


def person_page(
    name: str,
    about: Mapping[str, Any],
    images: Mapping[str, NDArray[Any]],
    maps: Mapping[str, NDArray[np.float32]],
    pictures: Sequence[Html],
) -> Page:
    """One HTML file by itself, with a viewer of each image that there is a map of.

    about     the predictor's own description
    images    (side, side, side) in MNI space, by the names of the inputs
    maps      on the same grid, with their signs
    pictures  three planes of each, for paper
    """
    page = Page(
        title=name,
        kicker="Encephalon · explanation",
        lead=f"What {model_name(about)} sees in the images.",
        batch_of=str((about.get("model") or {}).get("name")),
    )
    for source, values in maps.items():
        most = max(float(np.abs(values).max(initial=0.0)), 1e-12)
        over = np.zeros(values.shape, np.uint8)
        over[values > SHOWN * most] = _RAISES
        over[values < -SHOWN * most] = _LOWERS
        labels = [each for each in _LABELS if (over == each.value).any()]
        shown = [
            ViewedImage("Image", images[source]),
            ViewedImage("Map", values, window=(-most, most)),
        ]
        mask = over if labels else None
        viewer = volume_viewer(shown, mni_grid(len(values)).affine, mask, labels, _AXES)
        page.section(source, tag("p", _HOW, class_="soft"), viewer)
    if pictures:
        page.section("Pictures", *pictures)
    back = tag("a", "Everybody", href="../report.html")
    return page.section("Origin", facts({"Batch": back}), model_facts(about))
