# SPDX-License-Identifier: Apache-2.0
"""The encoder and classifier of MTNeuro's tiles, from weights that bear their published names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from encephalon.errors import ModelError
from encephalon.networks.registry import fill_network
from encephalon.networks.tile_classifier import TileClassifier
from encephalon.networks.tile_encoder import TileEncoder

#: What an MTNeuro encoder calls the children of torchvision's ResNet that it keeps in a sequence.
_SEQUENCE = {"0": "conv1", "1": "bn1", "3": "layer1", "4": "layer2", "5": "layer3", "6": "layer4"}


def from_published_encoder(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Weights of an MTNeuro run by the names of a `TileClassifier` or `TileEncoder`.

    A supervised run holds `encoder.*` and `classifier.*`; a self-supervised one `online_encoder.*`
    beside projectors, predictors and a target, which are left out. The encoder's own names are
    torchvision's, or the places of its layers in a sequence, `f.0` to `f.6`.
    """
    online = any(name.startswith("online_encoder.") for name in tensors)
    prefixes = {"online_encoder.": "encoder."} if online else {"encoder.": "encoder."}
    prefixes |= {"classifier.": "head."} if not online else {}
    found = {}
    for name, value in tensors.items():
        old = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
        if old is not None:
            inner = re.sub(r"^f\.([0-6])\.", _place, name[len(old) :])
            found[prefixes[old] + inner] = value
    return found


def _place(match: re.Match[str]) -> str:
    return _SEQUENCE.get(match[1], match[1]) + "."


def build_published_encoder(
    tensors: Mapping[str, NDArray[Any]], source: str
) -> TileClassifier | TileEncoder:
    """The classifier of a published run, or the encoder of one that learnt without labels.

    Block, channels and classes are those of the weights. Raises ModelError, with `source` in it,
    for missing, unexpected and mis-shaped weights.
    """
    found = from_published_encoder(tensors)
    stem, head = found.get("encoder.conv1.weight"), found.get("head.weight")
    if stem is None or stem.ndim not in {4, 5}:
        example = next(iter(tensors), "nothing")
        raise ModelError(
            f"{source}: expected the weights of an MTNeuro encoder, 'online_encoder.*' or "
            f"'encoder.*', but found none of its first layer among these {len(tensors)} (the first "
            f"is {example!r}): this is another architecture."
        )
    known: Any = {
        "encoder": "resnet50" if "encoder.layer1.0.conv3.weight" in found else "resnet18",
        "in_channels": stem.shape[1],
        "spatial_dims": stem.ndim - 2,
        "encoder_options": {"width": len(stem)},
    }
    network = TileEncoder(**known) if head is None else TileClassifier(len(head), **known)
    return fill_network(network, found, source)
