# SPDX-License-Identifier: Apache-2.0
"""What the `[study]` of a published recipe may say: one target, told from one set of inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, Self, get_args

from pydantic import Field

from encephalon.errors import RecipeError, did_you_mean, either
from encephalon.recipes.schema import Recipe
from encephalon.recipes.validation import make_settings
from encephalon.studies.legibility.settings import Cohort, LegibilitySettings

__all__ = ["IMAGES", "INPUTS", "PublishedSettings", "published_settings"]

IMAGES = ("flair", "t1", "dwi")
Input = Literal["flair", "t1", "dwi", "connectivity", "metadata"]
INPUTS: tuple[Input, ...] = get_args(Input)
"""What its inputs are called, in their order."""
#: Side of the images for a network that sees none (--resize of `train.py`).
SMALL = 64


class PublishedSettings(LegibilitySettings):
    """How the study was done; the defaults are those of its released `train.py`.

    Beside or unlike those of `LegibilitySettings`:

    inputs           Of "flair", "t1", "dwi", "connectivity" and "metadata", those that are used;
                     what the cohort has of them if (). "metadata" are all blocks of columns.
    metadata_blocks  The blocks that are used; all if (). The columns of the others, and of the
                     target's own domain, are zeros.
    targets          The one that is told.
    side             Voxels along each side of the images; 64 where none is used.
    class_balance    "undersample", as the released script does, or "none", as the published results
                     look.
    copies           Varied copies of each training image, one an epoch and then from the first
                     again, as published; 0 varies it anew each time. Without an augmentation there
                     are none.
    data_size        People of each part that are used, the first of the table; all if not given.
    cache_validation Keep what is validated with in memory.
    penalty, connectivity_penalty
                     What the mean square of each tensor of weights counts in the loss, and that of
                     the first layer of connectivity.
    columns          Columns of the metadata with those that are zeros; counted in the cohort if not
                     given, which a model keeps.
    """

    inputs: tuple[Input, ...] = ()
    metadata_blocks: tuple[str, ...] = ()
    targets: tuple[str, ...] = ("sex",)
    side: Literal[64, 128] = 64
    modality_dropout: float = Field(default=0.0, ge=0, le=0)
    fusion: Literal["attention"] = "attention"
    class_balance: Literal["none", "undersample"] = "undersample"
    copies: int = Field(default=0, ge=0)
    encoder_from: dict[str, str] = Field(default_factory=dict, max_length=0)
    baselines: tuple[Literal["mean", "linear", "trees"], ...] = ()
    folds: int = Field(default=0, ge=0, le=100)
    data_size: int | None = Field(default=None, gt=0)
    cache_validation: bool = True
    penalty: float = Field(default=1e-4, ge=0)
    connectivity_penalty: float = Field(default=1e-3, ge=0)
    columns: int | None = Field(default=None, ge=0)

    @property
    def target(self) -> str:
        """The one that is told."""
        return self.targets[0]

    def using(self, cohort: Cohort, resolve: Callable[[Cohort], Cohort]) -> Self:
        """The settings with what they use of a cohort, which is used as one, or not at all.

        Raises RecipeError for what the cohort lacks, and what the published network cannot do.
        """
        if self.columns is not None:  # of a recipe that was completed before
            return self.model_copy(update={"cohort": resolve(cohort)})
        target = self._only_target(cohort)
        # Also of what is not used, whose columns are counted.
        cohort = resolve(cohort.only((), self.targets))
        named = _sources(cohort, strict=not self.inputs)
        _require(self.inputs, named, cohort)
        _require(self.metadata_blocks, cohort.blocks, cohort)
        words = tuple(word for word in INPUTS if word in (self.inputs or named))
        hidden = cohort.hidden_from(target)
        blocks = [n for n in self.metadata_blocks or cohort.blocks if n not in hidden]
        used = [name for word in words for name in named[word]]
        used += blocks if "metadata" in words else []
        if not used:
            raise RecipeError(
                f"The target {target!r} would be told from nothing, as all metadata that is used "
                "is of its own domain: name further study.inputs."
            )
        own = cohort.targets[target].column or target
        columns = sum(own != one for block in cohort.blocks.values() for one in block.columns)
        return self.model_copy(
            update={
                "inputs": words,
                "columns": max(columns, 1),
                "side": self.side if set(words) & set(IMAGES) else SMALL,
                "cohort": _as_one(cohort.only(tuple(used), (target,))),
            }
        )

    def _only_target(self, cohort: Cohort) -> str:
        if len(self.targets) != 1:
            raise RecipeError(
                f"A published recipe tells one target, but study.targets has {len(self.targets)}: "
                "name one, and train a model for each."
            )
        kind = cohort.only((), self.targets).targets[self.target].kind
        if kind not in {"binary", "continuous"}:
            raise RecipeError(
                f"A published recipe tells binary and continuous targets, but {self.target!r} is "
                f"{kind}: choose another target, or the recipe legibility."
            )
        return self.target

    def network_options(self, connections: int) -> dict[str, Any]:
        """What the network is built with, for connectivity of that length."""
        kind = self.cohort.targets[self.target].kind if self.cohort else "binary"
        known = {"inputs": list(self.inputs), "side": self.side, "columns": self.columns}
        known["outputs"] = 1 if kind == "continuous" else 2
        return known | ({"connections": connections} if connections else {})


def published_settings(recipe: Recipe) -> PublishedSettings:
    """The settings of a published recipe of this study; raises RecipeError."""
    return make_settings(PublishedSettings, recipe.study.settings, recipe.name)


def _sources(cohort: Cohort, strict: bool) -> dict[str, tuple[str, ...]]:
    """The sources that each input is; none that "metadata" is, where there are blocks.

    Raises RecipeError for two of connectivity and, if strict, for an image that is no input, as it
    would be left out unsaid.
    """
    images = [name for name, one in cohort.sources.items() if one.kind == "image"]
    flat = [name for name, one in cohort.sources.items() if one.kind == "connectivity"]
    if strict and (strange := set(images) - set(IMAGES)):
        raise RecipeError(
            f"The published network sees {either(IMAGES)}, but the cohort {cohort.name!r} has the "
            f"image {min(strange)!r}: rename it in cohort.toml, or name study.inputs without it."
        )
    if len(flat) > 1:
        raise RecipeError(
            f"The published network has one connectivity, but the cohort {cohort.name!r} has "
            f"{', '.join(flat)}: keep one of them in cohort.toml."
        )
    found: dict[str, tuple[str, ...]] = {name: (name,) for name in images if name in IMAGES}
    found |= {"connectivity": tuple(flat)} if flat else {}
    return found | ({"metadata": ()} if cohort.blocks else {})


def _require(names: Iterable[str], known: Iterable[str], cohort: Cohort) -> None:
    there = list(known)
    for name in names:
        if name not in there:
            meant = did_you_mean(name, there, "it has")
            raise RecipeError(f"The cohort {cohort.name!r} has no {name!r}; {meant}")


def _as_one(cohort: Cohort) -> Cohort:
    """All inputs together or not at all, and correlations as they are."""
    raw = {n: one.model_copy(update={"representation": "correlation"})
           for n, one in cohort.sources.items()}  # fmt: skip
    together = (cohort.inputs,) if len(cohort.inputs) > 1 else ()
    return cohort.model_copy(update={"sources": raw, "together": together})
