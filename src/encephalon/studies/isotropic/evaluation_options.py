# SPDX-License-Identifier: Apache-2.0
"""What a user may ask of an evaluation: which thick slices are simulated, and what goes wrong."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from encephalon.recipes.options import listed
from encephalon.recipes.schema import Section
from encephalon.studies.isotropic.axes import Plane
from encephalon.studies.isotropic.profiles import make_profile
from encephalon.transforms.slices import SliceProfile

__all__ = ["CONDITIONS", "NORMAL", "EvaluationOptions"]

Stress = Literal["wrong", "misaligned", "missing", "lesion"]

#: What a row says where nothing was made worse.
NORMAL = "normal"
#: What may be made worse, and what the column `condition` calls it.
CONDITIONS: dict[Stress, str] = {
    "wrong": "wrong T1w",
    "misaligned": "misaligned T1w",
    "missing": "no T1w",
    "lesion": "lesion",
}


class EvaluationOptions(Section):
    """How a method is put to the test.

    Attributes
    ----------
    axes, thicknesses
        The planes of the slices, and their thicknesses in mm: every pair of them is simulated
        (spec baby-ai, checklist 9 and 10).
    gap, profile, noise
        Between the slices, mm; their sensitivity ("box", "gaussian", a text file, or "point", which
        is decimation, as published); and the standard deviation of the noise, as a share of the
        truth's range.
    stress
        What is tested besides: "wrong" (the T1w of another person), "misaligned" (the T1w moved by
        2 mm and turned by 2°), "missing" (none), "lesion" (in the T2w alone).
    seed
        Of noise, lesions and misalignments.
    """

    axes: tuple[Plane, ...] = Field(default=("axial", "coronal", "sagittal"), min_length=1)
    thicknesses: tuple[float, ...] = Field(default=(2.0, 3.0, 4.0, 5.0), min_length=1)
    gap: float = Field(default=0.0, ge=0)
    profile: str = "box"
    noise: float = Field(default=0.0, ge=0)
    stress: tuple[Stress, ...] = ()
    seed: int = Field(default=0, ge=0)

    @field_validator("axes", "thicknesses", "stress", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        """One word, or several between commas, as a list; none twice."""
        if isinstance(value, int | float):
            return (value,)
        return tuple(dict.fromkeys(listed(value)))

    @field_validator("thicknesses")
    @classmethod
    def _thick(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if min(value) <= 0:
            raise ValueError("a slice must have a thickness above 0 mm")
        return value

    def slice_profile(self, thickness: float) -> SliceProfile:
        """The sensitivity of a slice of `thickness` mm; raises what `make_profile` raises."""
        if self.profile == "point":
            return SliceProfile("point")
        return make_profile(self.profile, thickness)

    @property
    def conditions(self) -> tuple[str, ...]:
        """What the column `condition` will say, the normal one first."""
        return (NORMAL, *(CONDITIONS[each] for each in self.stress))
