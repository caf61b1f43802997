# SPDX-License-Identifier: Apache-2.0
"""The network of a model as a function of arrays: its exported graph, or torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ModelError, require_extra
from encephalon.inference.devices import resolve_device, resolve_threads
from encephalon.studies.micrographs.settings import network_options

if TYPE_CHECKING:
    from torch import nn

    from encephalon.models.folder import ModelFolder
    from encephalon.models.graph import Graph
    from encephalon.models.published import PublishedFile
    from encephalon.recipes.schema import Recipe

__all__ = ["Engine", "build_torch_network", "graph_engine", "torch_engine"]

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Engine:
    """Logits (B, C) of images (B, channels, S, S) and covariates (B, W), and what computes them."""

    run: Callable[[Float, Float], Float]
    runtime: str
    device: str

    def __call__(self, image: Float, covariates: Float) -> NDArray[np.float64]:
        """Return the logits; raises ModelError where they are not finite."""
        logits = np.asarray(self.run(image, covariates), dtype=np.float64)
        if not np.isfinite(logits).all():
            raise ModelError("The network's answer is not finite: train or get the model again.")
        return logits


def graph_engine(graph: Graph | Path, device: str = "auto", threads: int | None = None) -> Engine:
    """Open the exported graph of a model, without torch."""
    from encephalon.inference.runtimes import open_runtime

    opened = open_runtime(graph, device, threads)

    def run(image: Float, covariates: Float) -> Float:
        return opened.run({"image": image, "covariates": covariates})[0]

    return Engine(run, opened.name, opened.device)


def torch_engine(network: nn.Module, device: str = "auto", threads: int | None = None) -> Engine:
    """Run a network with torch."""
    import torch

    place = resolve_device(device, needs_torch=True)
    torch.set_num_threads(resolve_threads(threads))
    network = network.to(place).eval()

    def run(image: Float, covariates: Float) -> Float:
        with torch.inference_mode():
            given = (torch.from_numpy(each).to(place) for each in (image, covariates))
            logits: Float = network(*given).float().cpu().numpy()
        return logits

    return Engine(run, f"torch {torch.__version__}", place)


def build_torch_network(model: ModelFolder | PublishedFile, recipe: Recipe) -> nn.Module:
    """Return the network of a model with its weights, on the CPU and in evaluation mode.

    Raises MissingExtraError without torch, and ModelError for weights that are not those of the
    recipe's network.
    """
    require_extra("torch", "train", f"The model {model.name!r}")
    from encephalon.models.folder import ModelFolder

    network = _folder(model, recipe) if isinstance(model, ModelFolder) else _file(model, recipe)
    return network.eval()


def _folder(model: ModelFolder, recipe: Recipe) -> nn.Module:
    import torch

    from encephalon.models.folder import check_state
    from encephalon.networks.registry import build_network

    network = build_network(recipe.network.name, network_options(recipe))
    tensors = model.tensors()
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    check_state(tensors, expected, str(model.path))
    state = {name: torch.from_numpy(value) for name, value in tensors.items()}
    network.load_state_dict(state)  # which turns half precision into single
    return network


def _file(model: PublishedFile, recipe: Recipe) -> nn.Module:
    from encephalon.networks.published_classifier import build_published_classifier

    network = build_published_classifier(model.tensors(), str(model.path))
    found, wanted = _head_sizes(network), network_options(recipe)
    for name, words in (("covariates", "encoded covariates"), ("classes", "classes")):
        if found[name] != wanted[name]:
            raise ModelError(
                f"{model.path}: the network has {found[name]} {words}, and the recipe "
                f"{recipe.name!r} {wanted[name]}: only weights of the published question can be "
                "used without a recipe of their own."
            )
    return network


def _head_sizes(network: Any) -> dict[str, int]:
    """How many covariates a network takes and how many classes it tells apart."""
    features = network.encoder.layer4[-1].conv3.out_channels
    head = network.head
    return {"covariates": head[0].in_features - features, "classes": head[-1].out_features}
