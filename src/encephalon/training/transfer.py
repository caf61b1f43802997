# SPDX-License-Identifier: Apache-2.0
"""Start a network from a trained model: strict, but for a head that has other outputs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from encephalon.errors import ModelError
from encephalon.models import ModelFolder, PublishedFile, find_model
from encephalon.models.folder import check_state

__all__ = ["HEAD", "start_from"]

#: The module that every network here ends in, and the only one that may differ from its start.
HEAD = "head"

logger = logging.getLogger(__name__)


def start_from(network: nn.Module, source: str) -> list[str]:
    """Fill `network` from the model `source` and return the names of the weights that stay fresh.

    `source` is a model's name, a model folder, a run folder or a published weights file (.h5).
    Every weight must be there with its very shape; only the head, when its shape differs, is left
    as it was drawn, whole. What stayed fresh is logged. Raises ModelError for a model that is not
    on this machine or does not fit, before a single weight is replaced.
    """
    model = find_model(source)
    fill = _from_published if isinstance(model, PublishedFile) else _from_folder
    fresh = fill(network, model)  # type: ignore[arg-type]
    if fresh:
        logger.info("started from %s with a new head: %s", model.path, ", ".join(fresh))
    else:
        logger.info("started from %s, every weight", model.path)
    return fresh


def _from_folder(network: nn.Module, model: ModelFolder) -> list[str]:
    tensors = model.tensors()
    state = network.state_dict()
    fresh = _fresh_head({name: tuple(value.shape) for name, value in state.items()}, tensors)
    kept = {name: array for name, array in tensors.items() if not (fresh and _in_head(name))}
    wanted = {name: tuple(value.shape) for name, value in state.items() if name not in fresh}
    check_state(kept, wanted, f"{model.path}, as the start of this recipe's network")
    loaded = {name: torch.from_numpy(array).to(state[name]) for name, array in kept.items()}
    network.load_state_dict({**state, **loaded})
    return fresh


def _from_published(network: nn.Module, model: PublishedFile) -> list[str]:
    from encephalon.networks.keras_layout import keras_unet_shapes
    from encephalon.networks.keras_unet import KerasUNet, load_keras_layers

    if not isinstance(network, KerasUNet):
        message = (
            f"{model.path}: published weights belong to the network 'keras-unet', but the recipe "
            f"builds a {type(network).__name__}: start from a model folder of that network."
        )
        raise ModelError(message)
    layers = model.layers(keras_unet_shapes())
    same_head = tuple(network.head.weight.shape[:1]) == layers[-1][1]["bias"].shape
    load_keras_layers(network, layers, with_head=same_head)
    return [] if same_head else [name for name in network.state_dict() if _in_head(name)]


def _fresh_head(
    shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, NDArray[Any]]
) -> list[str]:
    """The names of the head's weights, if any of them has another shape; none otherwise."""
    head = [name for name in shapes if _in_head(name)]
    differs = any(name in tensors and tensors[name].shape != shapes[name] for name in head)
    return head if differs else []


def _in_head(name: str) -> bool:
    return name.startswith(HEAD + ".")
