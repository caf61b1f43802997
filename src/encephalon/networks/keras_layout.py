# SPDX-License-Identifier: Apache-2.0
"""What the published Keras U-Net keeps in its file, layer by layer, told without torch.

Source: the U-Net of Nobrainer up to 1.2 (`nobrainer/models/unet.py`), as used by `brainy` (brain
mask) and `ams` (meningioma): 16 base filters, no batch normalisation, 4,768,289 parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from encephalon.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["STRIDE", "LayerShapes", "keras_unet_shapes", "state_of_layers"]

STRIDE = 8
"""Three poolings by two: each side of an input must be a multiple of this many voxels."""

_UP = ("upsample.{}", "decoder.{}.0", "decoder.{}.2")
_NAMES = [f"encoder.{level}.{place}" for level in range(4) for place in (0, 2)]
_NAMES += [*(name.format(level) for level in range(3) for name in _UP), "head"]
"""The layers that carry weights as `KerasUNet` calls them, in the order of the Keras graph."""

LayerShapes = dict[str, tuple[int, ...]]
"""The shapes of one layer's arrays in Keras order: `kernel` and `bias`."""


def keras_unet_shapes(
    n_classes: int = 1, filters: int = 16, in_channels: int = 1
) -> list[LayerShapes]:
    """Return the shapes of the 18 layers that carry weights, in the order of the Keras graph.

    A convolution's kernel is (kd, kh, kw, in, out); a transposed one's is (kd, kh, kw, out, in).
    """
    f = filters
    encoder = [(in_channels, f), (f, 2 * f), (2 * f, 2 * f), (2 * f, 4 * f), (4 * f, 4 * f)]
    encoder += [(4 * f, 8 * f), (8 * f, 8 * f), (8 * f, 16 * f)]
    layers = [_conv(3, *channels) for channels in encoder]
    for skip, up in ((8 * f, 16 * f), (4 * f, 8 * f), (2 * f, 4 * f)):
        layers += [_conv(2, up, up), _conv(3, skip + up, skip), _conv(3, skip, skip)]
    return [*layers, _conv(1, 2 * f, n_classes)]


def state_of_layers(layers: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, NDArray[Any]]:
    """The weights of `KerasUNet` by their names, from Keras arrays.

    `layers` are (name, {"kernel", "bias"}) in graph order, as `read_keras_h5` gives them. They are
    matched by order, as Keras numbers its layers differently in every session. Raises ModelError
    for a layer too many or too few, and one of another kind.
    """
    if len(layers) != len(_NAMES):
        raise ModelError(
            f"The network has {len(_NAMES)} layers with weights, but {len(layers)} were given: "
            "use the weights of the published U-Net."
        )
    state = {}
    for number, (ours, (name, arrays)) in enumerate(zip(_NAMES, layers, strict=True)):
        if set(arrays) != {"kernel", "bias"}:
            raise ModelError(
                f"Layer {number} ({name!r}) must have kernel and bias, not {sorted(arrays)}."
            )
        # One transposition serves both kinds: Keras puts (in, out) last in a convolution and
        # (out, in) last in a transposed one, torch (out, in) and (in, out) first. No flip.
        state[f"{ours}.weight"] = arrays["kernel"].transpose(4, 3, 0, 1, 2)
        state[f"{ours}.bias"] = arrays["bias"]
    return state


def _conv(size: int, channels_in: int, channels_out: int) -> LayerShapes:
    # The transposed layers have as many channels in as out, so one rule serves both kinds.
    return {"kernel": (size, size, size, channels_in, channels_out), "bias": (channels_out,)}
