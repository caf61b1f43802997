# SPDX-License-Identifier: Apache-2.0
"""From a micrograph to what the network sees, by default or as published, with the way back."""

from __future__ import annotations

import os
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError
from encephalon.io.atomic import sha256
from encephalon.io.micrograph import picture_stem, read_micrograph
from encephalon.io.pixel_size import sidecar_size
from encephalon.studies.micrographs.published.preprocessing import (
    as_levels,
    foreground,
    network_input,
)
from encephalon.transforms.data_bar import picture_rows
from encephalon.transforms.grey_levels import IntensityHistogram, sharpness
from encephalon.transforms.resize import AxisResize, View, area_weights, centred_resize, resample

if TYPE_CHECKING:
    from encephalon.io.cache import ArrayCache
    from encephalon.io.micrograph import Micrograph
    from encephalon.recipes.schema import Mode
    from encephalon.studies.micrographs.settings import MicrographSettings

__all__ = ["CENTRE", "FACTS", "SPREAD", "Picture", "Preprocessing", "picture_content"]

#: Subtracted from grey levels in [0, 1], and what they are divided by then: about the mean and
#: standard deviation of micrographs that fill their range. Our choice.
CENTRE, SPREAD = 0.5, 0.25
#: Part of every key: raised when the same settings give another result.
VERSION = 2
#: What is measured on every picture, in this order.
FACTS = ("rows", "columns", "pixel_size_nm", "contrast", "saturated", "sharpness")
#: The settings that change the result of each mode.
DEFAULT_SETTINGS = ("size", "pixel_size_nm", "percentiles", "data_bar")
PUBLISHED_SETTINGS = ("clip_16_bit", "silhouettes")
#: Pixels that must be seen along each side at a fixed pixel size, raw and of the network alike;
#: with fewer, one of the two sizes is mistaken. Our choice.
FEWEST = 8


@dataclass(frozen=True, eq=False)
class Picture:
    """What the network sees of one micrograph.

    image  (channels, size, size), float32: one channel, or in published mode three of 224 x 224.
    view   Where it lies in the raw picture.
    facts  Measured on the raw picture without its data bar: `rows` and `columns` (pixels),
           `pixel_size_nm` (NaN where unknown), `contrast` (0.5th to 99.5th percentile, as a share
           of what the type can hold), `saturated` (share of pixels at the darkest or brightest
           level), `sharpness` (how little neighbouring pixels agree: 0 blurred, 1 white noise).
    """

    image: NDArray[np.float32]
    view: View
    facts: dict[str, float]


class Preprocessing:
    """Make pictures of micrographs; cheap to build and to pickle.

    key  Text that changes whenever the result would.
    """

    def __init__(self, settings: MicrographSettings, mode: Mode = "default") -> None:
        self.settings = settings
        self.mode: Mode = mode
        own = PUBLISHED_SETTINGS if mode == "published" else DEFAULT_SETTINGS
        names = ("page", "colour", *own)
        words = (f"{name}={getattr(settings, name)!r}" for name in names)
        self.key = " ".join((mode, f"version={VERSION}", *words))

    def __call__(self, micrograph: Micrograph) -> Picture:
        """Preprocess one micrograph; ContentError when it is constant or not finite."""
        make = self._as_published if self.mode == "published" else self._by_default
        return make(micrograph)

    def read(self, path: str | os.PathLike[str], cache: ArrayCache | None = None) -> Picture:
        """Read the file `path` and preprocess it, or take what `cache` has of the same content.

        Raises what `read_micrograph` raises.
        """

        def make() -> Picture:
            settings = self.settings
            return self(read_micrograph(path, page=settings.page, colour=settings.colour))

        if cache is None:
            return make()
        try:
            content = picture_content(Path(path))
        except OSError:
            return make()  # which says in its own words what is there instead
        return _unpacked(cache.get(f"{content} {self.key}", lambda: _packed(make())))

    def silhouette(self, path: str | os.PathLike[str]) -> NDArray[np.float32]:
        """What the published steps 1 to 4 make of a file: (rows / 8, columns / 8), in [0, 1].

        Raises what `read` raises.
        """
        settings = self.settings
        micrograph = read_micrograph(path, page=settings.page, colour=settings.colour)
        return self._silhouette(micrograph, _grey(micrograph.data, micrograph))

    def _silhouette(self, micrograph: Micrograph, grey: IntensityHistogram) -> NDArray[np.float32]:
        data = micrograph.data
        if self.settings.silhouettes:
            return data.astype(np.float32, copy=False)
        levels = as_levels(data, clip=self.settings.clip_16_bit)
        # Clipping may leave nothing but white, which is constant in its own way.
        counts = (grey if levels is data else _grey(levels, micrograph)).counts
        return foreground(levels, counts)

    def _as_published(self, micrograph: Micrograph) -> Picture:
        data = micrograph.data
        grey = _grey(data, micrograph)
        image, view = network_input(self._silhouette(micrograph, grey), data.shape)
        return Picture(image, view, _facts(micrograph, data, grey))

    def _by_default(self, micrograph: Micrograph) -> Picture:
        top, bottom = self._rows(micrograph)
        data = micrograph.data[top:bottom]
        grey = _grey(data, micrograph)
        low, high = grey.percentiles(*self.settings.percentiles)
        if low >= high:  # nearly all of it is of one level
            low, high = grey.darkest, grey.brightest
        square = self._square(micrograph, (top, bottom))
        image = _laid(data, square, top, (low, high))
        normalised = (image / np.float32(high - low) - CENTRE) / SPREAD
        down, across = square
        rows, columns = micrograph.data.shape
        view = View(
            (rows, columns),
            (down.size, across.size),
            (down.scale, across.scale),
            (down.offset, across.offset),
            (*down.seen, *across.seen),
            even=False,
        )
        return Picture(normalised[None], view, _facts(micrograph, data, grey))

    def _rows(self, micrograph: Micrograph) -> tuple[int, int]:
        """First and past-last row of the picture, without its data bar."""
        rows, bar = micrograph.data.shape[0], self.settings.data_bar
        if bar.mode == "keep":
            return 0, rows
        if bar.rows is None:
            return picture_rows(micrograph.data)
        if bar.rows >= rows:
            raise ContentError(
                f"{micrograph.path}: data_bar.rows is {bar.rows}, but the picture has {rows} rows; "
                "give fewer, or leave it out to look for the data bar."
            )
        return 0, rows - bar.rows

    def _square(
        self, micrograph: Micrograph, rows: tuple[int, int]
    ) -> tuple[AxisResize, AxisResize]:
        """The square of the network laid over `rows` of the picture, down and across."""
        settings, known = self.settings, micrograph.pixel_size_nm
        lines = rows, (0, micrograph.data.shape[1])
        pixel = known or (1.0, 1.0)
        if known and settings.pixel_size_nm:
            step, size = settings.pixel_size_nm, settings.size
            seen = [
                min((high - low) / (step / each), high - low, size, size * (step / each))
                for (low, high), each in zip(lines, known, strict=True)
            ]
            if min(seen) < FEWEST:  # picture and square have next to nothing in common
                raise ContentError(
                    f"{micrograph.path}: its pixels are {known[0]:g} x {known[1]:g} nm, too far "
                    f"from the {step:g} nm that this model needs to see anything; check the pixel "
                    "size."
                )
        else:
            sides = [(high - low) * each for (low, high), each in zip(lines, pixel, strict=True)]
            step = max(sides) / settings.size
        down, across = (
            centred_resize(*line, step / each, settings.size)
            for line, each in zip(lines, pixel, strict=True)
        )
        return down, across


def picture_content(path: Path) -> str:
    """What a picture depends on: the bytes of the file, and the pixel size beside it."""
    return f"{sha256(path)} {sidecar_size(path, picture_stem(path))}"


def _laid(
    data: NDArray[Any],
    square: tuple[AxisResize, AxisResize],
    top: int,
    limits: tuple[float, float],
) -> NDArray[np.float32]:
    """The square's picture of `data`, from 0 at the lower of `limits` to their span.

    The picture's median lies around it.
    """
    rows, columns = (
        area_weights(
            size,
            axis.inside[1] - axis.inside[0],
            axis.edge + axis.inside[0] * axis.scale - first,
            axis.scale,
        )
        for axis, size, first in zip(square, data.shape, (top, 0), strict=True)
    )
    low, high = (np.float32(limit) for limit in limits)

    def cut(part: NDArray[Any]) -> NDArray[Any]:
        # Counted from the lower limit: a small range far from 0 keeps its digits.
        np.clip(part, low, high, out=part)
        part -= low
        return part

    picture = resample(data, rows, columns, cut)
    (upper, lower), (left, right) = (axis.inside for axis in square)
    size = square[0].size
    if picture.shape == (size, size):
        return picture
    laid = np.full((size, size), np.median(picture), np.float32)
    laid[upper:lower, left:right] = picture
    return laid


def _grey(data: NDArray[Any], micrograph: Micrograph) -> IntensityHistogram:
    """The grey levels of `data`; ContentError when there is only one, or one that is no number."""
    grey = IntensityHistogram(data)
    if not np.isfinite(grey.darkest + grey.brightest):
        raise ContentError(
            f"{micrograph.path}: some pixels are NaN or infinite, but finite numbers are needed; "
            "export the picture again."
        )
    if grey.darkest == grey.brightest:
        raise ContentError(
            f"{micrograph.path}: every pixel is {grey.darkest:g}, so there is nothing to see; "
            "check the file."
        )
    return grey


def _facts(
    micrograph: Micrograph, data: NDArray[Any], grey: IntensityHistogram
) -> dict[str, float]:
    size = micrograph.pixel_size_nm
    values = (
        float(data.shape[0]),
        float(data.shape[1]),
        float(np.sqrt(size[0] * size[1])) if size else float("nan"),
        grey.contrast(),
        grey.saturated(),
        sharpness(data),
    )
    return dict(zip(FACTS, values, strict=True))


def _packed(picture: Picture) -> dict[str, NDArray[Any]]:
    facts = [picture.facts[name] for name in FACTS]
    numbers = np.hstack(astuple(picture.view)).astype(np.float64)
    return {"image": picture.image, "view": numbers, "facts": np.asarray(facts, np.float64)}


def _unpacked(arrays: dict[str, NDArray[Any]]) -> Picture:
    given: Any = tuple(arrays["view"].tolist())
    whole: Any = tuple(map(int, given))
    view = View(whole[:2], whole[2:4], given[4:6], given[6:8], whole[8:12], bool(whole[12]))
    return Picture(arrays["image"], view, dict(zip(FACTS, arrays["facts"].tolist(), strict=True)))
