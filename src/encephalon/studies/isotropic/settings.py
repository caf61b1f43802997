# SPDX-License-Identifier: Apache-2.0
"""The settings of the isotropic study: what a recipe's `[study]` and a user may say.

Those of an evaluation say which thick slices are simulated, and what goes wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from encephalon.recipes.schema import SERIES, Flag, Section, listed
from encephalon.transforms.parameters import ScannerRanges

if TYPE_CHECKING:
    from encephalon.transforms.slices import SliceProfile

__all__ = [
    "CONDITIONS",
    "NORMAL",
    "EvaluationOptions",
    "IsotropicSettings",
    "NetworkOptions",
    "Plane",
    "PredictOptions",
    "Saved",
]

Plane = Literal["axial", "coronal", "sagittal"]
Saved = Literal["t2w", "uncertainty", "t1w", "transform"]
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


#: Largest share of a network's correction that is used, unless a recipe says otherwise. Synthetic
#: heads ask for all of it, but a real scan that was itself resampled from thick slices became worse
#: than the guided estimate with more than half of it, by 0.1 dB with all (patient07 of Lesjak et
#: al. 2017, axial slices of 4 mm).
LARGEST_TRUST = 0.4


class NetworkOptions(Section):
    """How a network is run, whichever it is; both change the result by no more than rounding.

    batch_size  tiles or patches that it sees at once
    half        whether it computes in half precision (float16), by torch: for a GPU
    """

    batch_size: int = Field(default=1, ge=1)
    half: bool = False


class PredictOptions(NetworkOptions):
    """What the user may ask of a reconstruction.

    method        "network": the model's own; "guided": the model-based one, which needs no weights
                  and knows any contrast
    fast          the guided method, whatever the model: near it, and without the time of a network
    spacing       of the result, mm; by default the in-plane spacing of the T2w, within 0.7 and
                  1.5 mm
    thickness     of the slices, mm, where the header says nothing or is wrong
    gap           between the slices, mm, likewise
    axis          the plane of the slices, where the voxel sizes do not tell, or a voxel axis (i, j
                  or k)
    profile       the sensitivity of a slice: "box", "gaussian", or a text file of two columns,
                  offset in mm and sensitivity
    registration  "rigid": the T1w is moved onto the T2w; "none": the headers of both are trusted
    series        which DICOM series the T2w is, or which volume of one; see
                  `encephalon.io.dicom.read`
    save          the images to write
    """

    method: Annotated[
        Literal["network", "guided"],
        Flag("--method", "network, or guided, which needs no training.", "NAME"),
    ] = "network"
    fast: Annotated[
        bool,
        Flag("--fast", "The guided method alone, without the network: nearly as good."),
    ] = Field(default=False, exclude=True)  # what is kept of it is the method
    spacing: Annotated[
        float | None,
        Flag("--spacing", "Voxel size of the result, mm; by default that of a slice.", "MM"),
    ] = Field(default=None, gt=0.2, le=3)
    thickness: Annotated[
        float | None,
        Flag(
            "--slice-thickness --thickness",
            "Slice thickness, mm, where the header does not give it.",
            "MM",
        ),
    ] = Field(default=None, gt=0)
    gap: Annotated[
        float | None,
        Flag(
            "--slice-gap --gap", "Gap between slices, mm, where the header does not give it.", "MM"
        ),
    ] = Field(default=None, ge=0)
    axis: Annotated[
        Literal["axial", "coronal", "sagittal", "i", "j", "k"] | None,
        Flag(
            "--slice-plane --axis",
            "Slice plane: axial, coronal or sagittal; or a voxel axis, i, j or k.",
            "PLANE",
        ),
    ] = None
    profile: Annotated[
        str,
        Flag(
            "--slice-profile --profile",
            "Slice profile: box, gaussian, or a text file of offset in mm and sensitivity.",
            "KIND",
        ),
    ] = "box"
    registration: Annotated[
        Literal["rigid", "none"],
        Flag("--registration", "rigid, or none to trust the headers.", "KIND"),
    ] = "rigid"
    series: Annotated[str | None, SERIES] = Field(default=None, coerce_numbers_to_str=True)
    save: Annotated[
        tuple[Saved, ...],
        Flag("--save", "Images to write: t2w,uncertainty,t1w,transform.", "KINDS"),
    ] = ("t2w", "uncertainty")

    @model_validator(mode="before")
    @classmethod
    def _guided_where_fast(cls, given: Any) -> Any:
        return {"method": "guided", **given} if given.get("fast") is True else given

    @model_validator(mode="after")
    def _one_method(self) -> Self:
        if self.fast and self.method == "network":
            raise ValueError("asks for the method network, which fast leaves out: drop one of them")
        return self

    @field_validator("save", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        return listed(value)


class IsotropicSettings(Section):
    """Everything that only this study understands.

    patch               edge of the patches that the network learns from, voxels
    block               edge of the parts of heads that are cut into slices and reconstructed as
                        one before patches are cut from them, voxels; 0: each patch is a problem of
                        its own, whose guided estimate knows fewer slices than in a prediction
    blocks_per_head     how many of those each row of the table gives, kept in the run's cache
    real_share          share of samples drawn from rows with scans, when the table has both kinds
    scanner             how thick slices are made of the truth, and what is wrong with the T1w
    validation_samples  cubes that every epoch is judged by
    largest_trust       the most that training sets `trust` to; by default 0.4, as real scans became
                        worse with more of a network that knew hardly any
    trust               the share of the network's correction that is added to the guided estimate:
                        what served best on validation heads, which it was not trained on
    deviation_scale     what the expected standard deviation (of the network and of the guided
                        method) is multiplied by where there is a T1w, so that errors on
                        scans which the network was not trained on scatter as it says
    deviation_scale_alone
                        the same where there is none
    """

    patch: int = Field(default=32, ge=16, multiple_of=8)
    block: int = Field(default=0, ge=0, multiple_of=8)
    blocks_per_head: int = Field(default=8, gt=0)
    real_share: float = Field(default=0.4, ge=0, le=1)
    scanner: ScannerRanges = ScannerRanges()
    validation_samples: int = Field(default=48, gt=0)
    largest_trust: float = Field(default=LARGEST_TRUST, ge=0, le=1)
    trust: float = Field(default=1.0, ge=0, le=1)
    deviation_scale: float = Field(default=1.0, gt=0)
    deviation_scale_alone: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _room(self) -> Self:
        if 0 < self.block < self.patch:
            raise ValueError(f"a block of {self.block} voxels holds no patch of {self.patch}")
        return self


class EvaluationOptions(Section):
    """How a method is put to the test.

    axes         the planes of the slices
    thicknesses  theirs in mm: every pair of both is simulated
    gap          between the slices, mm
    profile      their sensitivity: "box", "gaussian", a text file, or "point", which is decimation,
                 as published
    noise        its standard deviation, as a share of the truth's range
    stress       what is tested besides: "wrong" (the T1w of another person), "misaligned" (the T1w
                 moved by 2 mm and turned by 2°), "missing" (none), "lesion" (in the T2w alone)
    bare         the method alone is tested: a T1w lies where its header says, whoever's it is. By
                 default it is registered, and left out if it does not fit, as in a prediction
    seed         of noise, lesions and misalignments
    """

    axes: tuple[Plane, ...] = Field(default=("axial", "coronal", "sagittal"), min_length=1)
    thicknesses: tuple[float, ...] = Field(default=(2.0, 3.0, 4.0, 5.0), min_length=1)
    gap: float = Field(default=0.0, ge=0)
    profile: str = "box"
    noise: float = Field(default=0.0, ge=0)
    stress: tuple[Stress, ...] = ()
    bare: bool = False
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
        from encephalon.transforms.slices import SliceProfile, make_profile

        if self.profile == "point":
            return SliceProfile("point")
        return make_profile(self.profile, thickness)

    @property
    def conditions(self) -> tuple[str, ...]:
        """What the column `condition` will say, the normal one first."""
        return (NORMAL, *(CONDITIONS[each] for each in self.stress))
