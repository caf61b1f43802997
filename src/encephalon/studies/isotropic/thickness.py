# SPDX-License-Identifier: Apache-2.0
"""How thick the slices of a scan are: as asked for, as its header tells, or without gaps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from encephalon.errors import InputError
from encephalon.studies.isotropic.remarks import Remarks
from encephalon.studies.isotropic.settings import PredictOptions

__all__ = ["TOLERANCE", "slice_thickness"]

#: Sizes that differ by less than this share are the same, in headers and in what users say.
TOLERANCE = 0.05
#: A thickness of more distances between slices than this is a slip: scanners overlap by half.
THICKEST = 4.0
#: And at least this share: a header in metres must not turn slices into points.
THINNEST = 0.05


def slice_thickness(
    distance: float, options: PredictOptions, header: Mapping[str, Any], remarks: Remarks
) -> float:
    """The thickness of a slice, mm, where their middles lie `distance` mm apart.

    What is asked for goes before the `header`, in the words of BIDS, and that before the distance.
    Raises InputError for sizes asked for that do not fit the distance.
    """
    thickness = _chosen(distance, options, header, remarks)
    between = _number(header.get("SpacingBetweenSlices"))
    if between is not None and not _same(between, distance):
        remarks.warn(
            f"its header says that slices lie {between:.3g} mm apart, but the voxels are "
            f"{distance:.3g} mm, which is used"
        )
    _remark_sizes(remarks, thickness, distance)
    return thickness


def _chosen(
    distance: float, options: PredictOptions, header: Mapping[str, Any], remarks: Remarks
) -> float:
    told = _told(header, "SliceThickness", remarks, distance)
    asked = _asked_thickness(distance, options, remarks.name)
    if asked is not None:
        if told is not None and not _same(told, asked):
            remarks.note(f"its header says {told:.3g} mm thick, but {asked:.3g} mm was asked for")
        return asked
    if told is not None:
        return told
    remarks.warn(
        f"nothing says how thick its slices are, so they were taken as {distance:.3g} mm without a "
        "gap, and all of the result rests on that: give --thickness or --gap"
    )
    return distance


def _asked_thickness(distance: float, options: PredictOptions, name: str) -> float | None:
    thickness, gap = options.thickness, options.gap
    apart = f"but in the file the middles of the slices are {distance:.3g} mm apart"
    if thickness is not None and gap is not None and not _same(thickness + gap, distance):
        raise InputError(
            f"{name}: slices of {thickness:g} mm with gaps of {gap:g} mm would lie "
            f"{thickness + gap:g} mm apart, {apart}: give --thickness or --gap alone, or correct "
            "the voxel size of the file."
        )
    if thickness is not None:
        if thickness > THICKEST * distance:
            raise InputError(
                f"{name}: slices of {thickness:g} mm were asked for, {apart}: correct one."
            )
        return thickness
    if gap is None:
        return None
    if gap > (1 - TOLERANCE) * distance:
        raise InputError(
            f"{name}: gaps of {gap:g} mm were asked for, {apart}: give a smaller --gap."
        )
    return distance - gap


def _told(header: Mapping[str, Any], key: str, remarks: Remarks, distance: float) -> float | None:
    value = _number(header.get(key))
    if value is not None and not THINNEST * distance <= value <= THICKEST * distance:
        remarks.warn(f"its {key} of {value:g} mm cannot be true and is not used")
        return None
    return value


def _remark_sizes(remarks: Remarks, thickness: float, distance: float) -> None:
    gap = distance - thickness
    if gap > thickness:
        remarks.warn(
            f"the gaps of {gap:.3g} mm are wider than the slices of {thickness:.3g} mm, so most of "
            "the head was never measured"
        )
    elif -gap > TOLERANCE * distance:
        remarks.note(f"its slices of {thickness:.3g} mm overlap, {distance:.3g} mm apart")
    elif gap > TOLERANCE * distance:
        remarks.note(f"its slices of {thickness:.3g} mm have gaps of {gap:.3g} mm between them")


def _number(value: Any) -> float | None:
    """A positive number, or None for what is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= TOLERANCE * other
