# SPDX-License-Identifier: Apache-2.0
"""The published network with its weights, as a function of NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ModelError, require_extra
from encephalon.inference.devices import resolve_device, resolve_threads
from encephalon.studies.isotropic.published.preprocessing import Network
from encephalon.studies.isotropic.published.settings import NETWORK

if TYPE_CHECKING:
    from encephalon.models.folder import ModelFolder
    from encephalon.models.published import PublishedFile

__all__ = ["LoadedNetwork", "load_network"]

Float = NDArray[np.float32]


@dataclass(frozen=True)
class LoadedNetwork:
    """Patches (B, 1, N, N, N) of patches (B, 2, N, N, N), and what computes them where."""

    run: Network
    runtime: str
    device: str

    def __call__(self, batch: Float) -> Float:
        """What the network says of `batch`."""
        return self.run(batch)


def load_network(
    model: ModelFolder | PublishedFile,
    patch: int,
    device: str = "auto",
    threads: int | None = None,
    half: bool = False,
) -> LoadedNetwork:
    """Load a published weights file, or a model folder trained as published.

    The published weights take 1.5 GB, once. Raises MissingExtraError without torch or MONAI, and
    ModelError for weights that are not the network's, and for a network that halves its grid more
    often than a patch of `patch` voxels can be.
    """
    from encephalon.models.folder import ModelFolder

    for module in ("torch", "monai"):
        require_extra(module, "train", f"The model {model.name!r}")
    network = _from_folder(model) if isinstance(model, ModelFolder) else _from_published(model)
    if patch % network.multiple:
        raise ModelError(
            f"{model.path}: the network takes patches of multiples of {network.multiple} voxels, "
            f"but those of the recipe have {patch}: use the recipe that it was trained with."
        )
    return _on_device(network, device, threads, half)


def _from_published(model: PublishedFile) -> Any:
    from encephalon.networks.published_reconstruction import build_published_reconstruction

    return build_published_reconstruction(model.tensors(), str(model.path))


def _from_folder(model: ModelFolder) -> Any:
    import torch

    from encephalon.networks.published_reconstruction import fill_network
    from encephalon.networks.registry import build_network

    settings = model.description.recipe.get("network", {})
    # Without memory for weights that would only be drawn to be replaced.
    with torch.device("meta"):
        network = build_network(settings.get("name", NETWORK), settings.get("options"))
    fill_network(network, model.tensors(), str(model.path))
    return network


def _on_device(network: Any, device: str, threads: int | None, half: bool) -> LoadedNetwork:
    import torch

    place = resolve_device(device, needs_torch=True)
    kind, _, _ = place.partition(":")
    torch.set_num_threads(resolve_threads(threads))
    network = network.to(place).eval()

    def run(batch: Float) -> Float:
        with torch.inference_mode(), torch.autocast(kind, torch.float16, enabled=half):
            answer = network(torch.from_numpy(batch).to(place))
        result: Float = answer.float().cpu().numpy()
        return result

    return LoadedNetwork(run, f"torch {torch.__version__}", place)
