# SPDX-License-Identifier: Apache-2.0
"""What the `[study]` of a published recipe may say, and what a published model may be asked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from encephalon.errors import RecipeError
from encephalon.recipes.schema import Flag, Recipe, Section
from encephalon.recipes.validation import make_settings
from encephalon.studies.isotropic.settings import NetworkOptions, Plane

NETWORK = "published-reconstruction"
"""The registered name of the only network of published recipes."""
ROLES = ("t1w", "t2w")
"""The inputs in the order of the network's channels, as BABY-AI has them."""
#: Levels of the published network, where a recipe does not say.
LEVELS = 6

Window = Literal["uniform", "gaussian"]
"""What overlapping patches count: the same everywhere, or less towards their edges."""

Size = tuple[Annotated[int, Field(gt=1)], Annotated[int, Field(gt=1)], Annotated[int, Field(gt=1)]]


class PublishedSettings(Section):
    """How BABY-AI was trained and is used; the defaults are the published values.

    Source: its repository, baby-ai-local.

    shape, padded    Voxels of the atlas grid, and of the volume that patches are cut from: zeros
                     are added on both sides.
    patch, stride    Edge of the patches, voxels, and from one patch to the next along each axis.
    factors, planes  Thick slices are made of the truth by keeping every k-th slice of these planes,
                     for each factor k: all of a plane's factors, plane by plane.
    """

    shape: Size = (182, 218, 182)
    padded: Size = (192, 224, 192)
    patch: int = Field(default=32, ge=2)
    stride: int = Field(default=16, ge=1)
    factors: tuple[Annotated[int, Field(ge=2)], ...] = Field(default=(2, 3, 4, 5), min_length=1)
    planes: tuple[Plane, ...] = Field(default=("axial", "coronal", "sagittal"), min_length=1)

    @model_validator(mode="after")
    def _patches_fill_the_volume(self) -> PublishedSettings:
        for size, padded in zip(self.shape, self.padded, strict=True):
            if padded < max(size, self.patch) or (padded - self.patch) % self.stride:
                raise ValueError(
                    f"patches of {self.patch} voxels every {self.stride} must end where the padded "
                    f"shape {list(self.padded)} does, which holds the shape {list(self.shape)}"
                )
        if self.stride > self.patch:
            raise ValueError(f"a stride of {self.stride} leaves gaps between the patches")
        return self


class PublishedOptions(NetworkOptions):
    """What may be asked of a published model.

    batch_size  The published program gave its network one patch at once.
    half        A small network of this layout differs by less than 1e-3 of the range of the image.
    window      What patches count where they overlap: "uniform", as published, the same up to their
                edges, or "gaussian", less towards them, so that no seams show.
    atlas       An image on the atlas grid. Scans are then taken as they are, brought there by rigid
                registration, and the result is brought back to the frame of the T2w, in voxels of
                1 mm. Without one both scans must lie on that grid, as was published.
    """

    batch_size: int = Field(default=8, ge=1)
    window: Window = "uniform"
    atlas: Annotated[
        str | None,
        Flag("--atlas", "Published: the atlas that native scans are brought to and back.", "FILE"),
    ] = None


def check_published_recipe(recipe: Recipe) -> None:
    """Raise RecipeError unless `recipe` is one that the published training can follow."""
    settings = make_settings(PublishedSettings, recipe.study.settings, recipe.name)
    channels = recipe.network.options.get("channels")
    levels = len(channels) if isinstance(channels, list | tuple) and channels else LEVELS
    multiple = 2 ** (levels - 1)
    fault = None
    if recipe.network.name != NETWORK:
        fault = f"mode 'published' trains the network {NETWORK!r}, not {recipe.network.name!r}"
    elif set(ROLES) - set(recipe.table.inputs):
        fault = f"table.inputs must name the columns of {' and '.join(ROLES)}"
    elif settings.patch % multiple:
        fault = f"study.patch is {settings.patch}, but the network needs multiples of {multiple}"
    if fault:
        raise RecipeError(f"{recipe.name}: {fault}: correct it.")
