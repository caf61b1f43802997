# SPDX-License-Identifier: Apache-2.0
"""The published network with its weights, as a function of NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ModelError, require_extra
from encephalon.inference.devices import resolve_device, resolve_threads

if TYPE_CHECKING:
    from encephalon.models.folder import ModelFolder
    from encephalon.models.published import PublishedFile

__all__ = ["LoadedNetwork", "load_network"]

Float = NDArray[np.float32]


@dataclass(frozen=True)
class LoadedNetwork:
    """Probabilities (B, 1, I, J, K) of blocks (B, 1, I, J, K), and what computes them where."""

    run: Any
    runtime: str
    device: str

    def __call__(self, batch: Float) -> Float:
        """Return the probabilities of `batch`; raises ModelError for more than one class."""
        answer: Float = self.run(batch)
        if answer.shape[1] != 1:
            raise ModelError(
                f"The published path knows one class, but this network has {answer.shape[1]}: "
                "use a model of mode 'default'."
            )
        return answer


def load_network(
    model: ModelFolder | PublishedFile, device: str = "auto", threads: int | None = None
) -> LoadedNetwork:
    """Load a published weights file, or a model folder trained as published.

    A folder with an exported graph needs no torch; everything else does, and raises
    MissingExtraError without it. Raises ModelError for weights that are not the network's.
    """
    from encephalon.models.folder import ModelFolder

    if isinstance(model, ModelFolder) and model.graph is not None:
        from encephalon.inference.runtimes import open_runtime

        opened = open_runtime(model.graph, device, threads)
        return LoadedNetwork(lambda batch: opened.run(batch)[0], opened.name, opened.device)
    require_extra("torch", "train", f"The model {model.name!r}")
    network = _from_folder(model) if isinstance(model, ModelFolder) else _from_published(model)
    return _on_device(network, device, threads)


def _from_published(model: PublishedFile) -> Any:
    from encephalon.networks.keras_layout import keras_unet_shapes
    from encephalon.networks.keras_unet import load_keras_layers
    from encephalon.networks.registry import build_network

    layers = model.layers(keras_unet_shapes())
    return load_keras_layers(build_network(model.network), layers)  # type: ignore[arg-type]


def _from_folder(model: ModelFolder) -> Any:
    import torch

    from encephalon.models.folder import check_state
    from encephalon.networks.registry import build_network

    settings = dict(model.description.recipe.get("network", {}))
    name = str(settings.get("name", "keras-unet"))
    network = build_network(name, settings.get("options"))
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    tensors = model.tensors()
    check_state(tensors, expected, str(model.path))
    network.load_state_dict({key: torch.from_numpy(value) for key, value in tensors.items()})
    return network


def _on_device(network: Any, device: str, threads: int | None) -> LoadedNetwork:
    import torch

    place = resolve_device(device, needs_torch=True)
    torch.set_num_threads(resolve_threads(threads))
    network = network.to(place).eval()

    def run(batch: Float) -> Float:
        with torch.inference_mode():
            answer: Float = network(torch.from_numpy(batch).to(place)).cpu().numpy()
        return answer

    return LoadedNetwork(run, f"torch {torch.__version__}", place)
