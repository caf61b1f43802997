# SPDX-License-Identifier: Apache-2.0
"""What the published Keras U-Net keeps in its file, layer by layer, told without torch.

Source: the U-Net of Nobrainer up to 1.2 (`nobrainer/models/unet.py`), as used by `brainy` (brain
mask) and `ams` (meningioma): 16 base filters, no batch normalisation, 4,768,289 parameters.
"""

from __future__ import annotations

__all__ = ["STRIDE", "LayerShapes", "keras_unet_shapes"]

STRIDE = 8
"""Three poolings by two: each side of an input must be a multiple of this many voxels."""

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


def _conv(size: int, channels_in: int, channels_out: int) -> LayerShapes:
    # The transposed layers have as many channels in as out, so one rule serves both kinds.
    return {"kernel": (size, size, size, channels_in, channels_out), "bias": (channels_out,)}
