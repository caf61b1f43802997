# SPDX-License-Identifier: Apache-2.0
"""What the labels of a box mean: ids or masks of a file as numbers of classes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import InputError, quoted
from encephalon.studies.microtomography.benchmark import LabelMap

__all__ = ["class_numbers", "ids_of_masks", "whole_ids"]

#: The id of voxels that several masks claim, which is nobody's own.
NOWHERE = np.iinfo(np.int64).min

Numbers = NDArray[np.uint8]
_log = logging.getLogger(__name__)


def whole_ids(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Labels as whole numbers; raises InputError for values between two, which are no id."""
    if values.dtype.kind != "f":
        return values
    ids = values.astype(np.int64)
    if between := int((ids != values).sum()):
        raise InputError(
            f"{name}: {between:,} of {ids.size:,} labels are no whole numbers, and cannot be ids: "
            "give labels that were resampled by nearest neighbour, if at all."
        )
    return ids


def ids_of_masks(
    masks: Mapping[str, NDArray[np.bool_]], labels: LabelMap, box: str
) -> NDArray[Any]:
    """The first id of the class of each mask (z, y, x); in two masks NOWHERE.

    What lies in no mask has the first id of the first class.
    """
    known = labels.classes
    if not masks or not set(masks) <= set(known):
        raise InputError(
            f"The box {box!r} has masks of {quoted(masks) or 'nothing'}, but the classes are "
            f"{quoted(known)}: give one for each class that is drawn."
        )
    rest = next(iter(known.values()))[0]
    within = sum(masks.values(), np.zeros((), np.int64))
    found = np.full(within.shape, rest, np.int64)
    for name, mask in masks.items():
        found[mask] = known[name][0]
    if twice := int((within > 1).sum()):
        _log.warning("%s: %d voxels lie in two masks and are not learnt or scored.", box, twice)
        found[within > 1] = NOWHERE
    return found


def class_numbers(ids: NDArray[Any], labels: LabelMap, where: str) -> Numbers:
    """The number of the class of each voxel; raises InputError for ids that mean nothing."""
    known = labels.index | {NOWHERE: -1}
    there, places = np.unique(ids, return_inverse=True)
    strange = [int(one) for one in there if int(one) not in known]
    if strange:
        count = int(np.isin(ids, strange).sum())
        raise InputError(
            f"The labels of {where} have {count:,} voxels of the ids {quoted(map(str, strange))}, "
            "which the benchmark does not know: say in its label map what they mean."
        )
    numbers = np.array([known[int(one)] % 256 for one in there], np.uint8)
    return numbers[places].reshape(ids.shape)
