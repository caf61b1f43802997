# SPDX-License-Identifier: Apache-2.0
"""The network of the published study of what is legible in the imaged brain (Ruffle et al. 2024).

One CNN for three images as channels, two perceptrons for connectivity and metadata, and a head over
what they say, as its released script builds them, with what it does for a source that is absent:
the network is built for one set of inputs and knows no other. Its files hold the weights of four
blocks, each a state dictionary of its own (`train.py` of the repository
high-dimensional/biobank-megamodeller).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encephalon.errors import ModelError
from encephalon.networks.registry import fill_network

__all__ = ["IMAGES", "PublishedLegibility", "build_published_legibility", "from_published_blocks"]

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


#: What a block of a published file is called here, and its layers with their place in the block.
_PUBLISHED_BLOCKS = {
    "cnn": "images",
    "mlp_connectivity": "connectivity",
    "mlp_metadata": "metadata",
    "mlp_logits": "head",
}
#: Modules of a layer of a perceptron: linear, normalisation, activation, dropout.
_LAYER = 4
_CONVOLUTIONS = ("first", "second")


def from_published_blocks(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Weights of a published file by the names of a `PublishedLegibility`.

    They are called `BLOCK_state_dict.NAME` there, of the blocks "cnn", "mlp_connectivity",
    "mlp_metadata" and "mlp_logits", with or without the `module.` of training on several GPUs.
    What is none of this keeps its name, so that it is reported as it is.
    """
    blocks = sum(".skip_conv_layers." in name and name.endswith("weight") for name in tensors)
    found = {}
    for name, value in tensors.items():
        block, _, inner = name.partition("_state_dict.")
        ours = _PUBLISHED_BLOCKS.get(block)
        inner = inner.removeprefix("module.")
        found[name if ours is None else f"{ours}.{_placed(ours, inner, blocks)}"] = value
    return found


def _placed(block: str, name: str, blocks: int) -> str:
    """The name of a weight in its block here; `blocks` are those of convolutions."""

    def convolution(match: re.Match[str]) -> str:
        number = int(match[1])
        return f"{number // 2}.{_CONVOLUTIONS[number % 2]}."

    if block != "images":
        name = re.sub(r"^dense_layers\.(\d+)\.", lambda m: f"{_LAYER * int(m[1])}.", name)
        return re.sub(r"^bn_layers\.(\d+)\.", lambda m: f"{_LAYER * int(m[1]) + 1}.", name)
    name = re.sub(r"^conv_layers\.(\d+)\.", convolution, name)
    name = re.sub(r"^skip_conv_layers\.(\d+)\.", r"\1.skip.", name)
    name = re.sub(r"^bn_layers\.(\d+)\.", r"\1.norm.", name)
    # After the blocks comes what flattens their last map.
    name = re.sub(r"^dense_layer\.", f"{blocks + 1}.", name)
    return re.sub(r"^final_batch_norm\.", f"{blocks + 2}.", name)


def build_published_legibility(
    tensors: Mapping[str, NDArray[Any]], source: str
) -> PublishedLegibility:
    """The network of a published file, with all inputs, which bears its published names.

    The side of the images, the lengths of connectivity and metadata, the outputs and the width are
    those of the weights. Raises ModelError, with `source` in it, for missing, unexpected and
    mis-shaped weights.
    """
    found: dict[str, Any] = from_published_blocks(tensors)
    parts = ("images.0.first", "connectivity.0", "metadata.0", f"head.{2 * _LAYER}")
    arrays: list[Any] = [found.get(f"{part}.weight") for part in parts]
    if [getattr(array, "ndim", 0) for array in arrays] != [5, 2, 2, 2]:
        example = next(iter(tensors), "nothing")
        raise ModelError(
            f"{source}: expected the blocks 'cnn', 'mlp_connectivity', 'mlp_metadata' and "
            "'mlp_logits' of the published network of legibility, but their layers are not among "
            f"these {len(tensors)} (the first is {example!r}): this is another architecture."
        )
    first, connectivity, metadata, last = arrays
    deep = any(name.startswith("images.5.skip.") for name in found)
    network = PublishedLegibility(
        side=128 if deep else 64,
        connections=connectivity.shape[1],
        columns=metadata.shape[1],
        outputs=len(last),
        width=len(first),
    )
    return fill_network(network, found, source)
