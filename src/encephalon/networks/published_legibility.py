# SPDX-License-Identifier: Apache-2.0
"""The network of the published study of what is legible in the imaged brain (spec legibility).

One CNN for three images as channels, two perceptrons for connectivity and metadata, and a head over
what they say, as its released script builds them (spec section 2), with what it does for a source
that is absent: the network is built for one set of inputs and knows no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from encephalon.errors import ModelError

IMAGES = ("flair", "t1", "dwi")
"""The channels, in their order."""
_SOURCES = (*IMAGES, "connectivity", "metadata")
#: Channels of each block in units of `width`, and what the CNN says, by the side of the images.
_BLOCKS = {64: (1, 2, 4, 8, 8), 128: (1, 2, 4, 8, 8, 8)}
_IMAGE_FEATURES = {64: 128, 128: 256}
_CONNECTIVITY = (128, 128)
_METADATA = (128, 64, 32)
_HEAD = (256, 256)


class PublishedLegibility(nn.Module):
    """One target from the sources it was built for: 15.87 M weights at 64 cubed, 19.77 M at 128.

    Every block is built, whatever the inputs, and so is in the optimiser's hands. Without any
    image, without connectivity or without metadata the block is passed over, and zeros stand for
    what it says. Of several images an absent one is a volume of zeros. Metadata of an absent kind
    are columns of zeros, which whoever makes the table writes.

    inputs                The sources used: "flair", "t1", "dwi", "connectivity", "metadata".
    side                  Voxels along each side of the images, 64 or 128.
    connections           Length of the connectivity, 64,620 for 360 regions.
    columns               Columns of the metadata.
    outputs               2 for a binary target, one logit a class; 1 for a continuous one.
    width                 Channels of the first block, 32 as published.

    Images (B, 1, side, side, side), connectivity (B, connections) and metadata (B, columns), in the
    order of the sources or by name, to (B, outputs). What is no input may be left out, or be
    anything. Raises ValueError for options that make no network, and ModelError for a missing
    input.
    """

    def __init__(
        self,
        inputs: Sequence[str] = _SOURCES,
        side: int = 64,
        connections: int = 64_620,
        columns: int = 24,
        outputs: int = 2,
        width: int = 32,
    ) -> None:
        super().__init__()
        if not inputs or not set(inputs) <= set(_SOURCES):
            raise ValueError(f"inputs must be of {', '.join(_SOURCES)}, not {list(inputs)}")
        if side not in _BLOCKS:
            raise ValueError(f"side must be 64 or 128, not {side}")
        self.inputs = frozenset(inputs)
        channels = [len(IMAGES), *(width * factor for factor in _BLOCKS[side])]
        features = _IMAGE_FEATURES[side]
        self.images = nn.Sequential(
            *(_Block(before, after) for before, after in pairwise(channels)),
            nn.Flatten(),
            *_layer(8 * channels[-1], features),  # a map of 2 x 2 x 2
        )
        self.connectivity = _perceptron(connections, _CONNECTIVITY, dropout=0.5)
        self.metadata = _perceptron(columns, _METADATA, dropout=0.1)
        joined = _CONNECTIVITY[-1] + _METADATA[-1] + features
        self.head = _perceptron(joined, _HEAD, dropout=0.1)
        self.head.append(nn.Linear(_HEAD[-1], outputs))
        self.widths = {
            "connectivity": _CONNECTIVITY[-1],
            "metadata": _METADATA[-1],
            "images": features,
        }

    def forward(
        self,
        flair: Tensor | None = None,
        t1: Tensor | None = None,
        dwi: Tensor | None = None,
        connectivity: Tensor | None = None,
        metadata: Tensor | None = None,
    ) -> Tensor:
        """(B, outputs), without a sigmoid."""
        given = dict(zip(_SOURCES, (flair, t1, dwi, connectivity, metadata), strict=True))
        used = {n: one for n, one in given.items() if n in self.inputs and one is not None}
        if missing := self.inputs - used.keys():
            raise ModelError(
                f"The network was built for {min(missing)!r}, which was not given: give it, or "
                "build a network without it."
            )
        first = next(iter(used.values()))
        images = [used[name] for name in IMAGES if name in used]
        if images:
            empty = torch.zeros_like(images[0])
            used["images"] = torch.cat([used.get(name, empty) for name in IMAGES], dim=1)
        said = [
            self.get_submodule(block)(used[block])
            if block in used
            else torch.zeros_like(first.flatten(1)[:, :1]).expand(-1, width)
            for block, width in self.widths.items()
        ]
        output: Tensor = self.head(torch.cat(said, dim=1))
        return output


class _Block(nn.Module):
    """Two convolutions beside one of a voxel, whose sum is normalised; half the side comes out."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(before, after, kernel_size=3, padding=1)
        self.second = nn.Conv3d(after, after, kernel_size=3, padding=1)
        self.skip = nn.Conv3d(before, after, kernel_size=1)
        self.norm = nn.BatchNorm3d(after)
        self.end = nn.Sequential(nn.GELU(), nn.MaxPool3d(2), nn.Dropout(0.1))
        self.act = nn.GELU()

    def forward(self, image: Tensor) -> Tensor:
        """(B, before, 2 n, 2 n, 2 n) to (B, after, n, n, n)."""
        summed = self.second(self.act(self.first(image))) + self.skip(image)
        halved: Tensor = self.end(self.norm(summed))
        return halved


def _layer(before: int, after: int) -> list[nn.Module]:
    return [nn.Linear(before, after), nn.BatchNorm1d(after), nn.GELU()]


def _perceptron(features: int, widths: Sequence[int], dropout: float) -> nn.Sequential:
    """Layers of these widths, each followed by a dropout."""
    layers = [
        module
        for before, after in pairwise([features, *widths])
        for module in (*_layer(before, after), nn.Dropout(dropout))
    ]
    return nn.Sequential(*layers)
