# SPDX-License-Identifier: Apache-2.0
"""Linear models of every set of inputs, which stand beside a network and are exported with it.

They are not trained by gradients: what they hold is solved for, see `statistics.ridge`, and given
to their buffers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from encephalon.networks.layers import resize

__all__ = ["LinearSets", "small_image"]


class LinearSets(nn.Module):
    """Every column of the output from each set of the sources, linearly.

    sources     By name, in the order of the inputs, a `kind` and what it needs, as `MaskedFusion`
                has it.
    components  Of each source but tables, how many numbers it is reduced to.
    sets        Of each set the places of its sources.
    columns     Of the output.

    A source is centred and turned onto its axes, an image of few voxels a side; the columns of a
    table are taken as they are, what is unknown as the mean, and divided by the root of their
    number, so that no source counts for more because it has more columns. What is absent is 0.
    """

    def __init__(
        self,
        sources: Mapping[str, Mapping[str, Any]],
        components: Mapping[str, int],
        sets: Sequence[Sequence[int]],
        columns: int,
    ) -> None:
        super().__init__()
        self.sources, self.sides, self.widths = tuple(sources), dict[str, int](), []
        self.bases = nn.ModuleDict()
        for name, about in sources.items():
            if about["kind"] == "image":
                self.sides[name] = about["coarse"]
            if about["kind"] == "table":
                self.widths.append(about["features"])
            else:
                channels = about.get("channels", 1)
                features = channels * about["coarse"] ** 3 if name in self.sides else 0
                self.bases[name] = _Basis(features or about["features"], components[name])
                self.widths.append(components[name])
        self.sets: Tensor
        members = [[place in some for place in range(len(self.sources))] for some in sets]
        self.register_buffer("sets", torch.tensor(members), persistent=False)
        self.weights: Tensor
        self.intercepts: Tensor
        self.register_buffer("weights", torch.zeros(len(sets), sum(self.widths), columns))
        self.register_buffer("intercepts", torch.zeros(len(sets), columns))

    def forward(self, inputs: Mapping[str, Tensor | None], present: Tensor) -> Tensor:
        """(B, columns) of the sources that are `present` (B, sources), see `of`."""
        return self.of(self.reduced(inputs, present), present)

    def reduced(self, inputs: Mapping[str, Tensor | None], present: Tensor) -> Tensor:
        """What the sources of people are reduced to (B, all components), 0 of what is absent."""
        has, found = present.bool(), []
        for place, name in enumerate(self.sources):
            given = inputs.get(name)
            if given is None:
                found.append(torch.zeros(len(has), self.widths[place], device=has.device))
                continue
            flat = self.flat(name, given)
            if name in self.bases:
                flat = self.bases[name](flat)
            else:
                flat = flat.nan_to_num() * self.widths[place] ** -0.5
            found.append(torch.where(has[:, place : place + 1], flat, 0.0))
        return torch.cat(found, dim=1)

    def flat(self, name: str, given: Tensor) -> Tensor:
        """A source of people as numbers (B, features), of an image those of few voxels a side."""
        if name not in self.sides:
            return given.float()
        return small_image(given.float(), self.sides[name])

    def of(self, reduced: Tensor, present: Tensor) -> Tensor:
        """(B, columns) of the set that is just what is `present` (B, sources).

        Where there is no such set, of the last one, with 0 for what is absent.
        """
        place, here = self.place(present.bool()), self.kept(reduced, present.bool())
        return (here[:, None] @ self.weights[place])[:, 0] + self.intercepts[place]

    def kept(self, reduced: Tensor, has: Tensor) -> Tensor:
        """`reduced` with 0 for what is not there, of which nothing is looked at."""
        each = [has[:, n : n + 1].expand(-1, width) for n, width in enumerate(self.widths)]
        return torch.where(torch.cat(each, dim=1), reduced, 0.0)

    def place(self, has: Tensor) -> Tensor:
        """The place (B,) of the set that serves what each person has (B, sources), see `of`."""
        inside = ~(has[:, None] & ~self.sets).any(dim=2)  # (B, sets)
        return inside.to(torch.int64).argmax(dim=1)


class _Basis(nn.Module):
    """Numbers (B, features) less their mean, along axes, to (B, components)."""

    def __init__(self, features: int, components: int) -> None:
        super().__init__()
        self.centre: Tensor
        self.axes: Tensor
        self.scale: Tensor
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("axes", torch.zeros(features, components))
        self.register_buffer("scale", torch.ones(1))

    def forward(self, flat: Tensor) -> Tensor:
        """(B, components)."""
        return (flat - self.centre) @ self.axes * self.scale


def small_image(image: Tensor, side: int) -> Tensor:
    """An image (B, channels, Z, Y, X) with `side` voxels a side, flat: means of blocks."""
    small = nnf.avg_pool3d(image, [max(1, one // side) for one in image.shape[2:]])
    return resize(small, [side] * 3).flatten(1)
