# SPDX-License-Identifier: Apache-2.0
"""Start a network from a trained model: strict, but for parts that are drawn anew, as a new head.

Or start its encoder alone from the weights of a backbone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from encephalon.errors import ModelError, RecipeError, listed
from encephalon.io.files import expanded
from encephalon.models.catalogue import find_model
from encephalon.models.files import check_content
from encephalon.models.folder import ModelFolder, read_tensors
from encephalon.models.published import PublishedFile, open_published
from encephalon.networks.registry import fill_network, head_of, network_factory
from encephalon.networks.torch_runtime import published_state
from encephalon.training.optimisers import in_network

__all__ = ["load_encoder", "start_from"]

#: What comes before the names of an encoder's weights in a model of this kind.
_ENCODER = "encoder."
#: torchvision's names of the layer that tells classes, the first kernels, and a counter of batches.
_CLASSES, _STEM, _COUNTER = "fc.", "conv1.weight", "num_batches_tracked"
_MEND = (
    "use the recipe that they were trained with, or draw the parts that differ anew "
    "(training.fresh, --fresh)"
)

logger = logging.getLogger(__name__)


def start_from(network: nn.Module, source: str, fresh: Sequence[str] = ()) -> list[str]:
    """Fill `network` from the model `source` and return the names of the weights that stay fresh.

    `source` is a model's name, a model folder, a run folder or a published weights file (.h5, .pt).
    Every weight must be there with its very shape, but for the parts `fresh`, such as "head" or
    "decoder.2", which stay as they were drawn and need not be in the model. The head does so by
    itself, whole, where its shape or what it tells differs, or the model has none. Of a network of
    another kind that has an encoder, as one that learnt without labels or makes masks, the encoder
    alone is taken. What stayed fresh is logged. Raises ModelError for a model that is not on this
    machine or does not fit, before a single weight is replaced, and RecipeError for a part that
    neither has.
    """
    model, state = find_model(source), network.state_dict()
    found, head = _weights_for(network, model), head_of(network)
    drawn = in_network(network, fresh)
    for part in drawn:
        if not any(_under(name, [part]) for name in (*state, *found)):
            parts = ", ".join(sorted(_parts(state)))
            raise RecipeError(
                f"The recipe draws {part!r} anew, but neither the network nor {source} has "
                f"such a part: the network has {parts}."
            )
    if _head_differs(network, head, found):
        drawn += head
    drawn += getattr(network, "solved_parts", ())
    found = {name: array for name, array in found.items() if not _under(name, drawn)}
    kept = [name for name in state if not _under(name, drawn)]
    shared = _share_encoder(kept, found)
    if shared:
        found = {name: array for name, array in found.items() if name.startswith(_ENCODER)}
        kept = [name for name in kept if name.startswith(_ENCODER)]
    anew = [name for name in state if name not in set(kept)]
    _fill(network, found, anew, f"{source}, as the start of this recipe's network")
    if shared:
        logger.info("started the encoder from %s, and nothing else", source)
    elif anew:
        what = "a new head" if _under_all(anew, head) else "new parts"
        logger.info("started from %s with %s: %s", source, what, listed(anew, 10))
    else:
        logger.info("started from %s, every weight", source)
    return anew


def _weights_for(network: nn.Module, model: ModelFolder | PublishedFile) -> dict[str, NDArray[Any]]:
    """The weights of a model by the names of its network here; ModelError for another network."""
    if not isinstance(model, PublishedFile):
        return model.tensors()
    found = published_state(model)
    own = isinstance(network, network_factory(model.network))  # type: ignore[arg-type]
    if not own and "encoder" not in _parts(network.state_dict()) & _parts(found):
        raise ModelError(
            f"{model.path}: published weights belong to the network {model.network!r}, but the "
            f"recipe builds {type(network).__name__}: start from a model folder of that network."
        )
    return found


def _head_differs(
    network: nn.Module, head: Iterable[str], found: Mapping[str, NDArray[Any]]
) -> bool:
    """Whether weights of the head have other shapes in `found`, or tell other things, or are none.

    A head that is a dictionary of heads tells what their names say.
    """
    state, modules = network.state_dict(), dict(network.named_modules())
    for part in head:
        mine, theirs = ([n for n in names if _under(n, [part])] for names in (state, found))
        if mine and not theirs:
            return True
        if isinstance(modules.get(part), nn.ModuleDict):
            told = ({n[len(part) + 1 :].partition(".")[0] for n in each} for each in (mine, theirs))
            if len(set(map(frozenset, told))) > 1:
                return True
        if any(found[name].shape != state[name].shape for name in mine if name in found):
            return True
    return False


def _share_encoder(mine: Iterable[str], theirs: Iterable[str]) -> bool:
    """Whether both have an encoder, and beside it other parts."""
    one, other = _parts(mine), _parts(theirs)
    return one != other and "encoder" in one & other


def _parts(names: Iterable[str]) -> set[str]:
    """What a network is made of, by the names of its weights."""
    return {name.partition(".")[0] for name in names}


def _under(name: str, parts: Iterable[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def _under_all(names: Iterable[str], parts: Sequence[str]) -> bool:
    return all(_under(name, parts) for name in names)


def _fill(
    network: nn.Module, tensors: Mapping[str, NDArray[Any]], fresh: Iterable[str], source: str
) -> None:
    """Fill `network` but for the weights `fresh`, which stay as they were drawn."""
    state = network.state_dict()
    kept = {name: state[name].cpu().numpy() for name in fresh}
    fill_network(network, {**tensors, **kept}, source, _MEND)


def load_encoder(network: nn.Module, path: str | Path) -> None:
    """Fill `network.encoder` from a file of weights: a torchvision ResNet, or a model of this kind.

    The file is .safetensors, or a state dictionary that `torch.save` wrote; what it knows of
    classes (`fc.*`, a head) is passed over. Where it was made for colour and the network sees
    grey, its kernels are summed over the colours, which is what it would say of three equal
    channels; the other way round each colour gets an equal share. Either is logged.
    Raises RecipeError for a network without an encoder, MissingFileError, and ModelError for a
    file that does not fit, before a single weight is replaced.
    """
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise RecipeError(
            f"{path}: weights of an encoder were given, but the {type(network).__name__} of these "
            "options has none: let it see the image, or leave the file out."
        )
    file_path = expanded(path)
    state = encoder.state_dict()
    if file_path.suffix.lower() == ".safetensors":
        check_content(file_path, "weights of an encoder (.safetensors)")
        found = read_tensors(file_path)
    else:
        found = published_state(open_published(file_path))
    tensors = {k.removeprefix(_ENCODER): v for k, v in found.items() if k.startswith(_ENCODER)}
    # A file of a backbone alone has torchvision's names.
    tensors = tensors or {k: v for k, v in found.items() if not k.startswith(_CLASSES)}
    _match_stem(tensors, state, file_path)
    # Older files do not have these counters, which nothing depends on.
    counters = [name for name in state if name.endswith(_COUNTER) and name not in tensors]
    _fill(encoder, tensors, counters, f"{file_path}, as the encoder of this recipe's network")
    logger.info("started the encoder from %s", file_path)


def _match_stem(
    tensors: dict[str, NDArray[Any]], state: Mapping[str, torch.Tensor], path: Path
) -> None:
    """Bring the first kernels, (out, channels, rows, columns), to the network's channels."""
    kernels = tensors.get(_STEM)
    channels = state[_STEM].shape[1] if _STEM in state else None
    if kernels is None or kernels.ndim != 4 or {kernels.shape[1], channels} != {1, 3}:
        return
    grey = kernels.astype(np.float32).sum(axis=1, keepdims=True)
    tensors[_STEM] = grey if channels == 1 else np.repeat(grey / 3, 3, axis=1)
    logger.info(
        "%s is for images of %d channels and the network for %d: its first kernels were %s.",
        path,
        kernels.shape[1],
        channels,
        "summed over the colours" if channels == 1 else "shared evenly among the colours",
    )
