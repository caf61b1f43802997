# SPDX-License-Identifier: Apache-2.0
"""Whether a network can be built and takes what it will be given, on torch's device "meta".

Tensors have shapes there, and neither values nor memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from encephalon.errors import RecipeError
from encephalon.networks.registry import build_network
from encephalon.recipes.schema import Network

__all__ = ["meta_network", "output_shape"]


def meta_network(asked: Network) -> nn.Module:
    """The network of a recipe as shapes; raises RecipeError for one that cannot be built."""
    try:
        with torch.device("meta"):
            return build_network(asked.name, asked.options)
    except RecipeError:
        return build_network(asked.name, asked.options).to("meta")  # or the fault is the device's


def output_shape(network: nn.Module, source: str, *shapes: Sequence[int]) -> tuple[int, ...] | None:
    """The shape of the output of a network of `meta_network` for inputs of these shapes.

    None for a network that does not run as shapes, as one from elsewhere may not. Raises
    RecipeError, naming the recipe `source`, for one that does not take them.
    """
    given = " and ".join(str(tuple(shape)) for shape in shapes)
    try:
        with torch.no_grad():
            answer = network.eval()(*(torch.zeros(*shape, device="meta") for shape in shapes))
    except Exception as error:  # whatever a network makes of what it was not made for
        if isinstance(error, NotImplementedError) or "meta" in str(error):
            return None  # it asks for numbers, which this device does not have
        reason = " ".join(str(error).split()).rstrip(".")
        raise RecipeError(
            f"{source}: the network does not take {given}, which is what study and table give it "
            f"({reason}): change network or study."
        ) from error
    return tuple(answer.shape) if isinstance(answer, torch.Tensor) else None
