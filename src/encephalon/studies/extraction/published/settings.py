# SPDX-License-Identifier: Apache-2.0
"""What the `[study]` section of a published recipe may say; checked without torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_serializer, field_validator, model_validator

from encephalon.recipes.schema import SERIES, Flag, Section, listed
from encephalon.studies.extraction.settings import SAVE, Size
from encephalon.transforms.parameters import RigidRanges

__all__ = ["Conformed", "PublishedOptions", "PublishedSettings"]

#: Voxels that a block has a multiple of, as `KerasUNet.multiple` says; told without torch.
STRIDE = 8

Output = Literal["mask", "brain", "probability", "variance", "entropy"]
Edge = Annotated[int, Field(ge=STRIDE, multiple_of=STRIDE)]
Rule = Literal["published", "always", "never"]


class Conformed(Section):
    """The grid that scans are put on: voxels, and their edge in mm."""

    shape: Size = (256, 256, 256)
    spacing_mm: float = Field(default=1.0, gt=0)


class PublishedSettings(Section):
    """How the published networks were trained; the defaults are the published values.

    conform       The grid on which everything happens.
    normalise     "z-score": over the whole volume, background included, after it was moved.
    block         Voxels of the blocks that the volume is cut into, not overlapping; they fill its
                  shape.
    threshold     Probability above which a voxel belongs to the mask, when an epoch is judged and
                  later.
    augmentation  How pairs are moved; see `encephalon.transforms.spatial`.
    target        What the mask is of: "brain", or "lesion" for something inside it.
    classes       Names of the network's classes from the background on, where it has several.
    """

    conform: Conformed = Conformed()
    normalise: Literal["z-score"] = "z-score"
    block: Size = (128, 128, 128)
    threshold: float = Field(default=0.3, gt=0, lt=1)
    augmentation: RigidRanges = RigidRanges()
    target: Literal["brain", "lesion"] = "brain"
    classes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _blocks_fill_the_volume(self) -> PublishedSettings:
        for size, block in zip(self.conform.shape, self.block, strict=True):
            if block < STRIDE or block % STRIDE or size % block:
                raise ValueError(
                    f"the block {list(self.block)} must fill the shape {list(self.conform.shape)} "
                    f"in multiples of {STRIDE} voxels"
                )
        return self


class PublishedOptions(Section):
    """What may be asked of a published model; the defaults are those of the published apps.

    threshold      Probability above which a voxel belongs to the mask.
    block, halo    Voxels of a block, one edge or three, and of the overlap on each of its sides
                   (none was published; from 56 on the result is that of the whole volume, and what
                   less of it changes is measured and told).
    batch_size     Blocks predicted at once.
    conform        "published" leaves a scan that has the network's shape as it is, "always" does
                   not, as in training, and "never" takes every scan for a conformed one.
    resize         Voxels that the scan is resized to instead, whatever its voxel size and axes, as
                   `nobrainer predict` does; the mask is resized back.
    rotate         Average with a second pass on the scan turned by 45 degrees about two axes.
    largest, fill  Keep the largest 26-connected piece; fill the cavities of the mask.
    series         Which DICOM series of a folder, or which volume of one; see
                   `encephalon.io.dicom.read`.
    save           The images to write.
    """

    threshold: Annotated[
        float, Flag("-t --threshold", "Probability from which a voxel is in the mask.", "P")
    ] = Field(default=0.3, gt=0, lt=1)
    block: Annotated[
        tuple[Edge, Edge, Edge],
        Flag("-b --block --block-shape", "Edge of the network's blocks, or three edges.", "VOXELS"),
    ] = (128, 128, 128)
    halo: Annotated[
        int,
        Flag(
            "--halo",
            "Overlap of blocks on each side: 0 as published, from 56 on without any seam; what "
            "less of it changes is told.",
            "VOXELS",
        ),
    ] = Field(default=0, ge=0, le=128)
    batch_size: Annotated[int, Flag("--batch-size", "Blocks that are predicted at once.", "N")] = (
        Field(default=1, ge=1)
    )
    conform: Rule = "published"
    resize: Annotated[
        Size | None,
        Flag(
            "-r --resize --resize-features-to",
            "Resize the scan to three edges, such as 256,256,256, instead of conforming it.",
            "VOXELS",
        ),
    ] = None
    rotate: Annotated[
        bool, Flag("--rotate/--no-rotate --rotate-and-predict", "Average over rotations.")
    ] = False
    largest: Annotated[
        bool, Flag("--largest/--no-largest -l --largest-label", "Keep the largest piece only.")
    ] = False
    fill: Annotated[bool, Flag("--fill/--no-fill", "Fill holes in the mask.")] = False
    series: Annotated[str | None, SERIES] = Field(default=None, coerce_numbers_to_str=True)
    save: Annotated[tuple[Output, ...], SAVE] = ("mask",)

    @field_validator("resize", "save", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return listed(value)

    @field_validator("block", mode="before")
    @classmethod
    def _one_or_three(cls, value: Any) -> Any:
        edges = tuple(listed(value)) if isinstance(value, str | list | tuple) else (value,)
        if len(edges) not in {1, 3}:
            raise ValueError(f"needs one edge or three, but has {len(edges)}")
        return edges * 3 if len(edges) == 1 else edges

    @field_serializer("block")
    def _one_edge(self, block: tuple[int, int, int]) -> int | list[int]:
        return block[0] if len({*block}) == 1 else list(block)

    @field_validator("resize")
    @classmethod
    def _some_voxels(cls, shape: Size | None) -> Size | None:
        if shape is not None and min(shape) < STRIDE:
            raise ValueError(f"needs edges of {STRIDE} voxels or more")
        return shape

    @field_validator("halo")
    @classmethod
    def _on_the_grid(cls, halo: int) -> int:
        # The tile, block + 2 * halo, must be a multiple of the network's stride.
        return -(-halo // (STRIDE // 2)) * (STRIDE // 2)
