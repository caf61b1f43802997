# SPDX-License-Identifier: Apache-2.0
"""Two methods on the same trials: which rows are pairs, and how far apart they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

from encephalon.evaluation import Comparison, compare_paired
from encephalon.studies.isotropic.contenders import CUBIC, GUIDED, T2W_ONLY
from encephalon.studies.isotropic.evaluation_options import NORMAL
from encephalon.studies.isotropic.trials import LESION

__all__ = ["COMPARED", "OTHERS", "SAME", "Difference", "differences", "key_of"]

Row = Mapping[str, Any]

#: The metrics of which differences are taken; larger is better in both.
COMPARED = ("psnr_foreground", "ssim_foreground")
#: The methods that every other one is compared with, trial by trial.
OTHERS = (CUBIC, GUIDED, T2W_ONLY)
#: The comparison of a method under stress with itself without.
SAME = "itself, normal"


@dataclass(frozen=True)
class Difference:
    """A method minus `other` in one metric, person by person.

    `corrected` is the p value corrected by Holm for all axes, thicknesses and conditions of this
    method; it and the intervals are NaN where there are fewer than two persons.
    """

    other: str
    metric: str
    comparison: Comparison
    corrected: float = float("nan")


def differences(rows: Sequence[Row], known: Mapping[Any, Row]) -> list[Difference]:
    """The rows of one method in one condition, compared with the others and itself.

    `known` holds every row by its `key_of`.
    """
    method, condition = str(rows[0]["method"]), str(rows[0]["condition"])
    others = [(name, name) for name in OTHERS if name != method]
    if condition != NORMAL:
        others.append((SAME, method))
    pairs = ((label, _paired(rows, other, label, known)) for label, other in others)
    return [
        difference
        for label, paired in pairs
        for metric in COMPARED
        if (difference := _difference(label, metric, paired)) is not None
    ]


def key_of(row: Row, condition: str, method: str) -> tuple[Any, ...]:
    """What tells the row of a method on the same trial, in that condition, from others."""
    return row["id"], row["axis"], row["thickness"], condition, method


def _paired(
    rows: Sequence[Row], other: str, label: str, known: Mapping[Any, Row]
) -> list[tuple[Row, Row]]:
    """Each row with that of the other method on the same trial.

    What does not look at the T1w is not run again when the T1w alone is made worse: then its row of
    the normal trial is the one to compare with.
    """
    found = []
    for row in rows:
        same = None if label == SAME else known.get(key_of(row, row["condition"], other))
        match = same or (known.get(key_of(row, NORMAL, other)) if _may_borrow(row, label) else None)
        if match is not None:
            found.append((row, match))
    return found


def _may_borrow(row: Row, label: str) -> bool:
    # With a lesion the truth is another one, which only a comparison with itself may overlook.
    return label == SAME or (row["condition"] != LESION and label != GUIDED)


def _difference(label: str, metric: str, pairs: list[tuple[Row, Row]]) -> Difference | None:
    values = [(one[metric], two[metric], one["group"]) for one, two in pairs]
    values = [each for each in values if isfinite(each[0]) and isfinite(each[1])]
    if not values:
        return None
    first, second, groups = zip(*values, strict=True)
    found = compare_paired(first, second, groups=groups)
    if found.mean_difference.units < 2:
        found = replace(found, p_value=float("nan"))
    return Difference(label, metric, found)
