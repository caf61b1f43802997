# SPDX-License-Identifier: Apache-2.0
"""The size of a micrograph's pixels, from whatever the microscope or its software wrote down."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from encephalon.io.text import read_json

Size = tuple[float, float]
"""Height and width of a pixel (row, column), nm."""

LARGEST_PIXEL = 10_000.0
"""Largest pixel, nm, that is believed of a resolution in dots an inch or centimetre. Our choice:
print and screen settings (72 to 2,400 dots an inch, 353 to 10.6 µm) lie above, micrographs
below."""

INCH, _CENTIMETRE = 25.4e6, 1e7  # nm
_UNITS = {
    **dict.fromkeys(("m", "meter", "metre"), 1e9),
    **dict.fromkeys(("cm", "centimeter"), _CENTIMETRE),
    **dict.fromkeys(("mm", "millimeter"), 1e6),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer"), 1e3),
    **dict.fromkeys(("nm", "nanometer"), 1.0),
    **dict.fromkeys(("pm", "picometer"), 1e-3),
    **dict.fromkeys(("å", "angstrom"), 0.1),
    **dict.fromkeys(("in", "inch"), INCH),
}
_IMAGEJ_MICRO = re.compile(r"\\u00[bB]5")


def nanometres(value: Any, unit: Any) -> float | None:
    """A length in nm; None where the number or the unit ("um", "nm", "micron" ...) is none."""
    scale = _UNITS.get(_IMAGEJ_MICRO.sub("µ", str(unit)).strip().lower())
    number = _number(value)
    return None if scale is None or number is None else number * scale


def sidecar_size(path: Path, stem: str) -> Size | None:
    """What the JSON file of the same name says (BIDS microscopy: PixelSize is [X, Y, ...]).

    Raises UnreadableFileError where there is one that cannot be read.
    """
    file = path.parent / f"{stem}.json"
    if not os.path.lexists(file):
        return None
    record = read_json(file)
    try:
        across, down = record["PixelSize"][:2]
        unit = record["PixelSizeUnits"]
    except (ValueError, LookupError, TypeError):
        return None
    return _pair(nanometres(down, unit), nanometres(across, unit))


def dots_size(down: Any, across: Any, nm_per_unit: float) -> Size | None:
    """What dots per inch or centimetre mean, unless they are a setting for print or screen."""
    size = _pair(_inverse(down, nm_per_unit), _inverse(across, nm_per_unit))
    return size if size is not None and max(size) < LARGEST_PIXEL else None


def tiff_size(tiff: Any, page: Any) -> Size | None:
    """What the tags of a page say: OME, FEI or Thermo, Zeiss, ImageJ, or the plain resolution.

    `tiff` is an open tifffile.TiffFile. Tags that are not there or make no sense are passed over.
    """
    return _first(tiff, page, (_ome, _thermo, _zeiss, _imagej, _resolution))


def plane_height(tiff: Any) -> float | None:
    """The distance of the planes of an open tifffile.TiffFile, nm: OME, or ImageJ."""
    found = _first(tiff, None, (_ome_planes, _imagej_planes))
    return None if found is None else found[0]


def _first(tiff: Any, page: Any, looks: Iterable[Callable[[Any, Any], Size | None]]) -> Size | None:
    for look in looks:
        try:
            size = look(tiff, page)
        except Exception:  # noqa: BLE001 -- a damaged note about the picture is no reason to refuse it
            continue
        if size is not None:
            return size
    return None


def _ome(tiff: Any, _: Any) -> Size | None:
    text = tiff.ome_metadata or ""
    return _pair(_ome_edge(text, "Y"), _ome_edge(text, "X"))


def _ome_planes(tiff: Any, _: Any) -> Size | None:
    edge = _ome_edge(tiff.ome_metadata or "", "Z")
    return _pair(edge, edge)


def _imagej_planes(tiff: Any, _: Any) -> Size | None:
    found = tiff.imagej_metadata or {}
    edge = nanometres(found.get("spacing"), found.get("unit"))
    return _pair(edge, edge)


def _ome_edge(text: str, axis: str) -> float | None:
    # Read by pattern: XML of a stranger can hold far more than two numbers.
    value = re.search(rf'\bPhysicalSize{axis}="([^"]+)"', text)
    unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]+)"', text)
    return None if value is None else nanometres(value[1], unit[1] if unit else "µm")


def _thermo(tiff: Any, _: Any) -> Size | None:
    found = tiff.fei_metadata or {}
    for section in ("Scan", "EScan", "IScan"):
        scan = found.get(section)
        if isinstance(scan, Mapping) and "PixelWidth" in scan:
            height = scan.get("PixelHeight", scan["PixelWidth"])
            return _pair(nanometres(height, "m"), nanometres(scan["PixelWidth"], "m"))
    return None


def _zeiss(tiff: Any, _: Any) -> Size | None:
    found = tiff.sem_metadata or {}
    for key in ("ap_image_pixel_size", "ap_pixel_size"):
        if len(found.get(key, ())) == 3:
            _name, value, unit = found[key]
            edge = nanometres(value, unit)
            return _pair(edge, edge)
    return None


def _imagej(tiff: Any, page: Any) -> Size | None:
    unit = (tiff.imagej_metadata or {}).get("unit", "")
    scale = nanometres(1.0, unit)
    if scale is None:
        return None
    down, across = page.tags["YResolution"].value, page.tags["XResolution"].value
    return _pair(_inverse(down, scale), _inverse(across, scale))


def _resolution(_: Any, page: Any) -> Size | None:
    unit = page.tags.get("ResolutionUnit")
    scale = {2: INCH, 3: _CENTIMETRE}[int(unit.value) if unit is not None else 2]
    return dots_size(page.tags["YResolution"].value, page.tags["XResolution"].value, scale)


def _number(value: Any) -> float | None:
    try:
        number = value[0] / value[1] if isinstance(value, tuple) else float(value)
    except (TypeError, ValueError, ArithmeticError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _inverse(per_unit: Any, scale: float) -> float | None:
    number = _number(per_unit)
    return None if number is None else scale / number


def _pair(down: float | None, across: float | None) -> Size | None:
    return None if down is None or across is None else (down, across)
