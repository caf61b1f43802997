# SPDX-License-Identifier: Apache-2.0
"""The settings of the isotropic study: what a recipe's `[study]` and a user may say."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from encephalon.recipes.options import listed
from encephalon.recipes.schema import Section
from encephalon.transforms.ranges import ScannerRanges
from encephalon.transforms.slices import SliceProfile

__all__ = ["IsotropicSettings", "PredictOptions", "Saved"]

Saved = Literal["t2w", "uncertainty", "t1w"]


class PredictOptions(Section):
    """What the user may ask of a reconstruction.

    Attributes
    ----------
    method
        "network": the model's own; "guided": the model-based one, which needs no weights and knows
        any contrast.
    spacing
        Of the result, mm. By default the in-plane spacing of the T2w, within 0.7 and 1.5 mm.
    thickness, gap
        Of the slices, mm, and between them, where the header says nothing or is wrong.
    axis
        The plane of the slices, where the voxel sizes do not tell, or a voxel axis (i, j or k).
    profile
        The sensitivity of a slice: "box", "gaussian", or a text file of two columns, offset in mm
        and sensitivity.
    registration
        "rigid": the T1w is moved onto the T2w; "none": the headers of both are trusted.
    series
        Which DICOM series the T2w is, or which volume of one; see `encephalon.io.dicom.read`.
    save
        The images to write.
    """

    method: Literal["network", "guided"] = "network"
    spacing: float | None = Field(default=None, gt=0.2, le=3)
    thickness: float | None = Field(default=None, gt=0)
    gap: float | None = Field(default=None, ge=0)
    axis: Literal["axial", "coronal", "sagittal", "i", "j", "k"] | None = None
    profile: str = "box"
    registration: Literal["rigid", "none"] = "rigid"
    series: str | None = Field(default=None, coerce_numbers_to_str=True)
    save: tuple[Saved, ...] = ("t2w", "uncertainty")

    @field_validator("save", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        return listed(value)


class IsotropicSettings(Section):
    """Everything that only this study understands.

    Attributes
    ----------
    patch
        Edge of the cubes that the network learns from, voxels.
    real_share
        Share of samples drawn from rows with scans, when the table has both kinds.
    scanner
        How thick slices are made of the truth, and what is wrong with the T1w.
    validation_samples
        Cubes that every epoch is judged by.
    trust
        The share of the network's correction that is added to the guided estimate: what served
        best on validation heads, which it was not trained on.
    deviation_scale
        What the network's standard deviation is multiplied by, so that errors on scans which it
        was not trained on scatter as it says.
    """

    patch: int = Field(default=32, ge=16, multiple_of=8)
    real_share: float = Field(default=0.4, ge=0, le=1)
    scanner: ScannerRanges = ScannerRanges()
    validation_samples: int = Field(default=48, gt=0)
    trust: float = Field(default=1.0, ge=0, le=1)
    deviation_scale: float = Field(default=1.0, gt=0)


PROFILES: dict[str, SliceProfile] = {
    "box": SliceProfile("box"),
    "gaussian": SliceProfile("gaussian"),
}
