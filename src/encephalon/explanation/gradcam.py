# SPDX-License-Identifier: Apache-2.0
"""Grad-CAM: where in an image a classifier found what speaks for a class.

Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74. The graph of gradients begins at the layer that the
map is taken from, so that frozen parameters and further inputs (covariates) make no difference.
MONAI's own takes one input and asks the parameters for gradients, which a frozen network refuses.
Maps are brought to a common scale before they are looked at.

They must depend on what the network has learnt. The sanity check randomises parameters from the
last stage to the first, and compares the map with the true one each time (Adebayo et al. 2018,
"Sanity checks for saliency maps", arXiv:1810.03292): a map that stays the same shows the image, not
the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from encephalon.errors import UsageError

__all__ = [
    "Target",
    "deepest_layer",
    "enlarged_map",
    "find_layer",
    "grad_cam",
    "randomised_weights",
    "rank_similarity",
    "scale_map",
    "similarity_when_randomised",
    "stages",
]

Target = int | Sequence[int] | None
# How much of a dotted path names a stage: "encoder.layer4" of "encoder.layer4.1.conv2".
_DEPTH = 2


def grad_cam(
    network: nn.Module,
    inputs: tuple[Tensor, ...],
    layer: str,
    target: Target = None,
    *,
    signed: bool = False,
) -> NDArray[np.float32]:
    """Return the map of each of B images, (B, h, w) or (B, d, h, w), on the grid of the layer.

    The map is relu(sum_k mean(gradient of the logit by channel k) x channel k), without any scale:
    0 where nothing speaks for the class. `signed` leaves out the relu: below 0 is what speaks
    against it, or lowers a number that is told.

    network  called as network(*inputs), in evaluation mode for the time; returns logits (B, C)
    inputs   what the network takes, each with B samples first
    layer    dotted path of the module whose output (B, K, ...) is explained; of one that gives a
             list of them, as an encoder does, the last; of one that is called several times, the
             last call
    target   index of the class, for all or one each; None is the most likely class of each

    Raises UsageError for an unknown layer, one whose output is no stack of channels or has no way
    to the logits, and for a class that the network does not have.
    """
    module = find_layer(network, layer)
    with torch.enable_grad():
        with _evaluating(network), _watching(module) as seen:
            logits: Tensor = network(*inputs)
        channels = _channels(seen, layer)
        score = logits.gather(1, _targets(logits, target)[:, None]).sum()
        gradient: Tensor | None = None
        if score.requires_grad:
            (gradient,) = torch.autograd.grad(score, (channels,), allow_unused=True)
    if gradient is None:
        raise UsageError(
            f"The logits do not depend on the layer {layer!r}: choose one on the way to them."
        )
    weights = gradient.mean(dim=tuple(range(2, gradient.ndim)), keepdim=True)
    values = (weights * channels.detach()).sum(dim=1)
    return (values if signed else torch.relu(values)).float().cpu().numpy()


def find_layer(network: nn.Module, layer: str) -> nn.Module:
    """Return the module at a dotted path; raises UsageError with the nearest paths otherwise."""
    modules: dict[str, nn.Module] = {
        name: module for name, module in network.named_modules() if name
    }
    if layer in modules:
        return modules[layer]
    near = get_close_matches(layer, modules, n=3, cutoff=0.0)
    raise UsageError(
        f"The network has no layer {layer!r}: the nearest are {', '.join(near) or 'none'}."
    )


@torch.no_grad()
def deepest_layer(network: nn.Module, inputs: tuple[Tensor, ...], cells: int) -> str:
    """Return the dotted path of the last layer whose maps have so many cells along each side.

    What is called several times does not count, nor what gives no single stack of maps but for a
    list of them, as an encoder does. Where there is none, it is the last layer with maps at all.

    Raises UsageError for a network without maps.
    """
    seen: list[tuple[str, int]] = []

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
            one = output[-1] if isinstance(output, list) and output else output
            if isinstance(one, Tensor) and one.ndim > 2:
                seen.append((name, min(one.shape[2:])))

        return note

    named = [(name, module) for name, module in network.named_modules() if name]
    handles = [module.register_forward_hook(watch(name)) for name, module in named]
    try:
        with _evaluating(network):
            network(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    names = [name for name, _ in seen]
    once = [one for one in seen if names.count(one[0]) == 1]
    if not once:
        raise UsageError("The network has no layer with maps: there is nothing to look at.")
    return next((name for name, least in reversed(once) if least >= cells), once[-1][0])


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards each module in the mode that it was in."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _watching(module: nn.Module) -> Iterator[list[Any]]:
    """Cut the graph at the module's output, and keep that output; the hook never stays behind."""
    seen: list[Any] = []

    def cut(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        several = isinstance(output, list) and bool(output)
        explained = output[-1] if several else output
        if not isinstance(explained, Tensor):
            seen.append(output)
            return output
        seen.append(explained.detach().requires_grad_())
        passed_on = seen[-1].clone()  # what works in place must not change what is explained
        return [*output[:-1], passed_on] if several else passed_on

    handle = module.register_forward_hook(cut)
    try:
        yield seen
    finally:
        handle.remove()


def _channels(seen: Sequence[Any], layer: str) -> Tensor:
    if not seen:
        raise UsageError(f"The layer {layer!r} is not used for these inputs: choose another layer.")
    output = seen[-1]
    if isinstance(output, Tensor) and output.ndim > 2:
        return output
    kind = f"of the shape {tuple(output.shape)}" if isinstance(output, Tensor) else "no tensor"
    raise UsageError(
        f"The output of the layer {layer!r} is {kind}: choose one with a map for each channel."
    )


def _targets(logits: Tensor, target: Target) -> Tensor:
    """(B,) the class to explain for each sample."""
    if target is None:
        return logits.detach().argmax(dim=1)
    count, classes = logits.shape
    chosen = torch.as_tensor(target, device=logits.device).long().expand(count)
    if bool(((chosen < 0) | (chosen >= classes)).any()):
        raise UsageError(
            f"The network has {classes} classes, from 0, and {target} is none of them."
        )
    return chosen


def scale_map(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return one map on a scale from 0, its minimum, to 1, its maximum; a constant one is all 0.

    NaN, where a network did not look, stays NaN and nothing else becomes it.
    """
    low = float(np.fmin.reduce(values, axis=None))
    span = float(np.fmax.reduce(values, axis=None)) - low
    shifted = values - low
    return np.asarray(shifted / span if span > 0 else shifted, dtype=np.float32)


def enlarged_map(values: NDArray[np.float32], image: NDArray[Any]) -> NDArray[np.float32]:
    """A map on the grid of its image (d, h, w), linearly; 0 where that is as its corner is."""
    cells = torch.from_numpy(values)[None, None]
    whole = functional.interpolate(cells, image.shape, mode="trilinear", align_corners=False)
    return np.where(image != image[0, 0, 0], np.asarray(whole[0, 0]), np.float32(0.0))


def randomised_weights(
    network: nn.Module,
    samples: Sequence[tuple[Tensor, ...]],
    layer: str,
    targets: Sequence[int],
    seed: int = 0,
) -> dict[str, float]:
    """Return the similarity of the maps to the true ones, see `similarity_when_randomised`.

    samples  what the network takes, each with one sample first
    targets  index of the class of each

    Raises what `grad_cam` raises.
    """

    def maps(of: nn.Module) -> list[NDArray[np.float32]]:
        pairs = zip(samples, targets, strict=True)
        return [grad_cam(of, given, layer, target)[0] for given, target in pairs]

    return similarity_when_randomised(network, maps, seed)


def similarity_when_randomised(
    network: nn.Module, maps: Callable[[nn.Module], Sequence[NDArray[Any]]], seed: int = 0
) -> dict[str, float]:
    """Return the similarity of the maps to the true ones, by stage, as ever more is randomised.

    The first entry has the last stage randomised, the next one the last two, and so on: the last
    entry has nothing left that was learnt. Similarities are rank correlations (-1 to 1), mean over
    the samples, which need not have one size. Randomised means shuffled: each tensor keeps its
    values and loses their places, so that activations keep their size. The network itself is left
    as it is.

    maps  explains each of some samples by such a network: images, or whatever has numbers
    """
    truth = maps(network)
    shuffled = deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, tensors in reversed(stages(shuffled).items()):
        for tensor in tensors:
            order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
            tensor.copy_(tensor.flatten()[order].reshape(tensor.shape))
        pairs = zip(truth, maps(shuffled), strict=True)
        found[name] = float(np.mean([rank_similarity(*pair) for pair in pairs]))
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
