# SPDX-License-Identifier: Apache-2.0
"""Maps of a trained classifier, a few pictures at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encephalon.explanation.gradcam import grad_cam

if TYPE_CHECKING:
    from encephalon.studies.micrographs.preprocessing import Picture

__all__ = ["class_maps", "network_inputs"]

_BATCH = 8


def class_maps(
    network: nn.Module,
    pictures: Sequence[Picture],
    covariates: NDArray[np.float32],
    targets: Sequence[int],
    layer: str,
) -> Iterator[NDArray[np.float32]]:
    """Yield the map (h, w) of each of N pictures, as the network gives it.

    covariates  (N, W), encoded
    targets     (N) the class that each map is of

    Few pictures are in memory at a time. Raises what `grad_cam` raises.
    """
    for start in range(0, len(pictures), _BATCH):
        part = slice(start, start + _BATCH)
        images = np.stack([picture.image for picture in pictures[part]])
        inputs = network_inputs(network, images, covariates[part])
        yield from grad_cam(network, inputs, layer, list(targets[part]))


def network_inputs(network: nn.Module, *arrays: NDArray[np.float32]) -> tuple[Tensor, ...]:
    """Images (B, C, S, S) and covariates (B, W) as tensors, where the network is."""
    device = next(network.parameters()).device
    # Copies: an array that is mapped from a file must not be shared.
    return tuple(torch.tensor(values).to(device) for values in arrays)
