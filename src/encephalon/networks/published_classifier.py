# SPDX-License-Identifier: Apache-2.0
"""The published network of 3BTRON as an `ImageClassifier`, and the names of its weights.

Its state dictionary has 322 tensors: `image_features_.*`, which are torchvision's `resnet50`
without `fc`, and `combined_features_.0` and `.3`, the two layers of the head (spec 3btron,
section 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from encephalon.errors import ModelError
from encephalon.models.folder import check_state
from encephalon.networks.image_classifier import ImageClassifier
from encephalon.networks.registry import fill_network

__all__ = ["build_published_classifier", "from_published_names", "to_published_names"]

_ENCODER = {
    "block": "bottleneck",
    "layers": (3, 4, 6, 3),
    "widths": (64, 128, 256, 512),
    "channels": 3,
}
"""The published network's image branch: a ResNet-50 of colour images."""
_FEATURES = 2048
"""What the image branch gives to the head."""
_NAMES = {"image_features_.": "encoder.", "combined_features_.": "head."}


def build_published_classifier(tensors: Mapping[str, NDArray[Any]], source: str) -> ImageClassifier:
    """Return the published network with the weights `tensors`, which bear their published names.

    The numbers of covariates, hidden units and classes are those of the weights, so that a file of
    the user's own with this layout is as welcome. Raises ModelError, with `source` in it, for
    missing, unexpected and mis-shaped weights.
    """
    hidden, classes, inputs = _head_sizes(tensors, source)
    network = ImageClassifier(
        classes=classes,
        covariates=inputs - _FEATURES,
        hidden=hidden,
        **_ENCODER,  # type: ignore[arg-type]
    )
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    check_state(tensors, to_published_names(shapes), source)
    return fill_network(network, from_published_names(tensors), source)


def to_published_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Rename what is kept by the names of an `ImageClassifier`'s weights to the published names."""
    return _renamed(values, {ours: theirs for theirs, ours in _NAMES.items()})


def from_published_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Rename what is kept by published names; other names stay as they are."""
    return _renamed(values, _NAMES)


def _renamed(values: Mapping[str, Any], prefixes: Mapping[str, str]) -> dict[str, Any]:
    renamed = {}
    for name, value in values.items():
        old = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        renamed[prefixes.get(old, "") + name[len(old) :]] = value
    return renamed


def _head_sizes(tensors: Mapping[str, NDArray[Any]], source: str) -> tuple[int, int, int]:
    """Hidden units, classes and inputs of the head."""
    first, last = (tensors.get(f"combined_features_.{layer}.weight") for layer in (0, 3))
    if first is None or last is None or first.ndim != 2 or last.ndim != 2:
        example = next(iter(tensors), "nothing")
        raise ModelError(
            f"{source}: expected the 322 weights of the published 3BTRON network, but there is no "
            f"head 'combined_features_.0' and '.3' among these {len(tensors)} (the first is "
            f"{example!r}): this is another architecture."
        )
    if first.shape[1] < _FEATURES:
        raise ModelError(
            f"{source}: expected a head of {_FEATURES} image features and more, but "
            f"'combined_features_.0.weight' takes {first.shape[1]}: this is another architecture."
        )
    return first.shape[0], last.shape[0], first.shape[1]
