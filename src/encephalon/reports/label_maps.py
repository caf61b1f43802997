# SPDX-License-Identifier: Apache-2.0
"""Pictures of label maps: classes of voxels in colours, over their image or beside it.

Each class is a layer of the picture, which a reader may switch off in the legend of the page. The
colours are told apart by every kind of colour vision (after Okabe and Ito).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.reports.blocks import panel, panels
from encephalon.reports.format import Html, join, tag
from encephalon.reports.images import (
    WINDOW,
    Colour,
    Layer,
    Picture,
    fitted_size,
    grey_levels,
    resize,
)
from encephalon.reports.page import Legend

__all__ = [
    "beside",
    "class_colour",
    "class_layer",
    "label_legend",
    "label_picture",
    "label_pictures",
]

Labels = NDArray[np.integer]

_COLOURS: tuple[Colour, ...] = (
    (213, 94, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
)
#: Longest side of a picture, pixels: those of a micrograph of 771 x 822 are all seen.
_SMALLEST, _LARGEST = 480, 960
#: How much of the image a label over it hides, of 255.
_OVER, _WHOLE = 150, 255


def class_colour(number: int) -> Colour:
    """The colour of a class; 0, the background, is black."""
    return _COLOURS[(number - 1) % len(_COLOURS)] if number else (0, 0, 0)


def label_legend(classes: Sequence[str]) -> list[Legend]:
    """What the colours mean, for a page; the first class is the background."""
    return [Legend(class_layer(n), name, class_colour(n)) for n, name in enumerate(classes) if n]


def label_picture(voxels: NDArray[Any], labels: Labels | None, alt: str) -> Picture:
    """The middle slice of an image (z, y, x), its labels over it where they are known."""
    plane = np.asarray(voxels[len(voxels) // 2], np.float32)
    size = _size(plane.shape)
    levels = resize(plane, size)
    grey = np.rint(grey_levels(levels, *np.percentile(levels, WINDOW))).astype(np.uint8)
    return Picture(grey, alt, () if labels is None else _layers(labels, size, _OVER))


def label_pictures(voxels: NDArray[Any], **labels: Labels) -> dict[str, Picture]:
    """The middle slice of an image (z, y, x), "Image", and of label maps by their names."""
    size = _size(voxels.shape[1:])
    black = np.zeros(size[::-1], np.uint8)
    pictures = {"Image": label_picture(voxels, None, "Image")}
    for name, each in labels.items():
        pictures[name] = Picture(black, name, _layers(each, size, _WHOLE))
    return pictures


def beside(title: str, words: str, pictures: Mapping[str, Picture | Html]) -> Html:
    """Pictures of one thing side by side, each over its name, with what is said of them all."""
    shown = [panel(picture, name) for name, picture in pictures.items()]
    said = tag("span", words, class_="soft") if words else None
    return join(tag("h3", title, " ", said), panels(*shown))


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Width and height of a picture: every pixel of a plane, unless there are few or very many."""
    return fitted_size(shape, min(max(_SMALLEST, *shape), _LARGEST))


def _layers(labels: Labels, size: tuple[int, int], opacity: int) -> tuple[Layer, ...]:
    middle = labels[len(labels) // 2]
    rows, columns = (np.arange(n) * m // n for n, m in zip(size[::-1], middle.shape, strict=True))
    shown = middle[np.ix_(rows, columns)]
    layers = []
    for number in np.unique(shown[shown > 0]).tolist():
        rgba = np.zeros((*shown.shape, 4), np.uint8)
        rgba[shown == number] = (*class_colour(number), opacity)
        layers.append(Layer(class_layer(number), rgba))
    return tuple(layers)


def class_layer(number: int) -> str:
    """The name of the layer of a class, by which a legend switches it."""
    return f"class-{number}"
