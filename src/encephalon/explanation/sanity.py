# SPDX-License-Identifier: Apache-2.0
"""The sanity check of maps: they must depend on what the network has learnt.

Adebayo et al. 2018, "Sanity checks for saliency maps", arXiv:1810.03292: parameters are randomised
from the last stage to the first, and the map is compared with the true one each time. A map that
stays the same shows the image, not the network.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encephalon.explanation.gradcam import Target, grad_cam

__all__ = ["randomised_weights", "rank_similarity", "stages"]

# How much of a dotted path names a stage: "encoder.layer4" of "encoder.layer4.1.conv2".
_DEPTH = 2


def randomised_weights(
    network: nn.Module,
    inputs: tuple[Tensor, ...],
    layer: str,
    target: Target = None,
    seed: int = 0,
) -> dict[str, float]:
    """Return the similarity of the maps to the true ones, by stage, as ever more is randomised.

    The first entry has the last stage randomised, the next one the last two, and so on: the last
    entry has nothing left that was learnt. Similarities are rank correlations (-1 to 1), mean over
    the images. The class is that of `target`, or what the untouched network says. Randomised means
    shuffled: each tensor keeps its values and loses their places, so that activations keep their
    size. The network itself is left as it is. Raises what `grad_cam` raises.
    """
    with torch.no_grad():
        chosen = network(*inputs).argmax(dim=1).tolist() if target is None else target
    truth = grad_cam(network, inputs, layer, chosen)
    shuffled = deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, tensors in reversed(stages(shuffled).items()):
        for tensor in tensors:
            _shuffle(tensor, generator)
        maps = grad_cam(shuffled, inputs, layer, chosen)
        found[name] = float(
            np.mean([rank_similarity(*pair) for pair in zip(truth, maps, strict=True)])
        )
    return found


def rank_similarity(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return Spearman's rank correlation of two maps of one shape; 0 where one is constant."""
    from scipy.stats import rankdata

    ranks = [rankdata(values) for values in (first, second)]
    if any(np.ptp(each) == 0 for each in ranks):
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def stages(network: nn.Module) -> dict[str, list[Tensor]]:
    """Return the parameters and running statistics by stage, in the order of the network."""
    found: dict[str, list[Tensor]] = {}
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        owner = name.rpartition(".")[0]
        stage = ".".join(owner.split(".")[:_DEPTH]) or "network"
        found.setdefault(stage, []).append(tensor.data)
    return found


def _shuffle(tensor: Tensor, generator: torch.Generator) -> None:
    order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
    tensor.copy_(tensor.flatten()[order].reshape(tensor.shape))
