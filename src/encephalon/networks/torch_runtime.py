# SPDX-License-Identifier: Apache-2.0
"""Networks with the weights of a model, and torch as what runs them, beside exported graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import require_extra
from encephalon.inference.runtimes import (
    Inputs,
    Runtime,
    open_runtime,
    resolve_device,
    resolve_threads,
)
from encephalon.models.folder import ModelFolder

if TYPE_CHECKING:
    from torch import nn

    from encephalon.models.published import PublishedFile

__all__ = ["TorchRuntime", "load_network", "open_network", "published_state"]

Make = Callable[[], "nn.Module"]

#: What builds a network of the weights of a published file, which bear their published names.
_ROOM = "encephalon.networks."
_VOLUMES = _ROOM + "published_volume_networks:build_published_volume_network"
_PUBLISHED = {
    "image-classifier": _ROOM + "image_classifier:build_published_classifier",
    "keras-unet": _ROOM + "keras_unet:build_published_keras_unet",
    "published-highresnet": _VOLUMES,
    "published-legibility": _ROOM + "published_legibility:build_published_legibility",
    "published-reconstruction": _ROOM + "published_reconstruction:build_published_reconstruction",
    "published-segmenter": _ROOM + "published_segmenters:build_published_segmenter",
    "published-unet": _ROOM + "published_unet:build_published_unet",
    "published-vnet-light": _VOLUMES,
    "tile-classifier": _ROOM + "published_encoder:build_published_encoder",
    "tile-encoder": _ROOM + "published_encoder:build_published_encoder",
}


class TorchRuntime:
    """Runs a network with torch as a graph is run; see `Runtime`.

    The names of several inputs are those of the network's own. With `half` it computes in float16.
    """

    def __init__(
        self,
        network: nn.Module,
        device: str = "auto",
        threads: int | None = None,
        half: bool = False,
    ) -> None:
        import torch

        self.name = f"torch {torch.__version__}"
        self.device = resolve_device(device, needs_torch=True)
        torch.set_num_threads(resolve_threads(threads))
        self._network, self._half = network.to(self.device).eval(), half

    def run(self, given: Inputs) -> list[NDArray[np.float32]]:
        """The only output, float32, for one input (B, C, ...) or for several by name."""
        import torch

        named = dict(given) if isinstance(given, Mapping) else {"": given}
        tensors = {name: torch.from_numpy(data).to(self.device) for name, data in named.items()}
        kind, _, _ = self.device.partition(":")
        with torch.inference_mode(), torch.autocast(kind, torch.float16, enabled=self._half):
            answer = self._network(*[tensors.pop("")] if "" in tensors else [], **tensors)
        return [answer.float().cpu().numpy()]


def open_network(
    model: ModelFolder | PublishedFile,
    device: str = "auto",
    threads: int | None = None,
    load: Make | None = None,
) -> Runtime:
    """What runs a model: its exported graph, without torch, or torch where there is none.

    `load` gives torch the network with its weights, which is `load_network` of the model otherwise.
    """
    graph = model.graph if isinstance(model, ModelFolder) else None
    if graph is not None:
        return open_runtime(graph, device, threads)
    return TorchRuntime(load() if load else load_network(model), device, threads)


def load_network(model: ModelFolder | PublishedFile, build: Make | None = None) -> nn.Module:
    """The network of a model with its weights, on the CPU and in evaluation mode.

    `build` makes the network of a model folder; without it that is done as its recipe says. Raises
    MissingExtraError without torch, and ModelError for weights that are not the network's.
    """
    require_extra("torch", "train", f"The model {model.name!r}")
    from encephalon.networks.registry import build_network, fill_network

    source = str(model.path)
    if isinstance(model, ModelFolder):
        about = model.description.recipe.get("network", {})
        network = build() if build else build_network(about.get("name", ""), about.get("options"))
        return fill_network(network, model.tensors(), source).eval()
    # The network is as large as the weights are.
    build_published: Callable[..., nn.Module] = resolve_name(_PUBLISHED[model.network])
    is_keras = model.network == "keras-unet"
    return build_published(published_state(model) if is_keras else model.tensors(), source).eval()


def published_state(model: PublishedFile) -> dict[str, NDArray[Any]]:
    """The weights of a published file by their names in the network of that file here."""
    if model.network == "keras-unet":
        from encephalon.networks.keras_unet import published_shapes, state_of_layers

        return state_of_layers(model.layers(published_shapes()))
    from encephalon.networks.image_classifier import from_published_names
    from encephalon.networks.published_encoder import from_published_encoder
    from encephalon.networks.published_legibility import from_published_blocks

    renamed = {
        "tile-classifier": from_published_encoder,
        "tile-encoder": from_published_encoder,
        "published-legibility": from_published_blocks,
    }.get(model.network, from_published_names)
    return renamed(model.tensors())
