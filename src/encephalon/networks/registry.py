# SPDX-License-Identifier: Apache-2.0
"""Networks by name: a table of places to look, so that nothing is imported before it is built.

A third party adds a network in one of two ways: the `register` decorator, or an entry point in the
group `encephalon.networks` whose name is the network's name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import EncephalonError, RecipeError, did_you_mean, require_extra
from encephalon.models.folder import check_state

if TYPE_CHECKING:
    from torch.nn import Module

    from encephalon.recipes.schema import Network

__all__ = [
    "ENTRY_POINTS",
    "HEAD",
    "build_network",
    "fill_network",
    "head_of",
    "list_networks",
    "meta_network",
    "network_factory",
    "output_shape",
    "register",
    "require_network",
]

ENTRY_POINTS = "encephalon.networks"
HEAD = "head"
"""What a network ends in, unless its `head_parts` say what that is called."""

_Factory = TypeVar("_Factory", bound=Callable[..., Any])
Filled = TypeVar("Filled", bound="Module")

_BUILT_IN: Mapping[str, str] = {
    "distance-unet": "encephalon.networks.distance_unet:DistanceUNet",
    "highresnet": "encephalon.networks.volume_networks:HighResNet",
    "image-classifier": "encephalon.networks.image_classifier:ImageClassifier",
    "keras-unet": "encephalon.networks.keras_unet:KerasUNet",
    "masked-fusion": "encephalon.networks.fusion:MaskedFusion",
    "published-highresnet": ("encephalon.networks.published_volume_networks:PublishedHighResNet"),
    "published-legibility": "encephalon.networks.published_legibility:PublishedLegibility",
    "published-reconstruction": (
        "encephalon.networks.published_reconstruction:PublishedReconstruction"
    ),
    "published-segmenter": "encephalon.networks.published_segmenters:PublishedSegmenter",
    "published-unet": "encephalon.networks.published_unet:PublishedUNet",
    "published-vnet-light": "encephalon.networks.published_volume_networks:PublishedVNetLight",
    "self-supervised": "encephalon.networks.self_supervised:SelfSupervised",
    "slice-unet": "encephalon.networks.slice_unet:SliceUNet",
    "tile-classifier": "encephalon.networks.tile_classifier:TileClassifier",
    "tile-encoder": "encephalon.networks.tile_encoder:TileEncoder",
    "tile-factors": "encephalon.networks.tile_encoder:TileFactors",
    "tile-segmenter": "encephalon.networks.decoders:TileSegmenter",
    "vnet-light": "encephalon.networks.volume_networks:VNetLight",
}
_registered: dict[str, Callable[..., Any]] = {}


def register(name: str) -> Callable[[_Factory], _Factory]:
    """Return a decorator that makes a class or function buildable as `name`.

    Raises RecipeError when the name already means something else.
    """

    def keep(factory: _Factory) -> _Factory:
        known = _registered.get(name)
        if name in _BUILT_IN or (known is not None and known is not factory):
            raise RecipeError(f"The network name {name!r} is already taken: choose another name.")
        _registered[name] = factory
        return factory

    return keep


def list_networks() -> tuple[str, ...]:
    """Return the sorted names of every network: built in, registered and from entry points."""
    return tuple(sorted({*_BUILT_IN, *_registered, *_entry_points()}))


def require_network(name: str) -> None:
    """Raise RecipeError unless a network has that name; torch is not needed to know."""
    # Asking what is installed takes milliseconds.
    if name not in {*_BUILT_IN, *_registered} and name not in _entry_points():
        meant = did_you_mean(name, list_networks(), "known networks:")
        raise RecipeError(f"Unknown network {name!r}; {meant}")


def network_factory(name: str) -> Callable[..., Module]:
    """Return the class or function that builds the network `name`.

    Raises RecipeError for an unknown name and MissingExtraError without torch.
    """
    if name in _registered:
        return _registered[name]
    require_extra("torch", "train", f"The network {name!r}")
    if name not in _BUILT_IN:
        require_network(name)
    found = resolve_name(_BUILT_IN[name]) if name in _BUILT_IN else _entry_points()[name].load()
    factory: Callable[..., Module] = found
    return factory


def build_network(name: str, options: Mapping[str, Any] | None = None) -> Module:
    """Build the network `name` with keyword arguments `options`, weights freshly drawn.

    Raises RecipeError for an unknown name, an unknown or missing option, or a refused value;
    MissingExtraError when torch is not installed.
    """
    factory = network_factory(name)
    given = dict(options or {})
    parameters = inspect.signature(factory).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for key in given:
            if key not in parameters:
                meant = did_you_mean(key, parameters, "it takes:")
                raise RecipeError(f"Unknown option {key!r} of the network {name!r}; {meant}")
    try:
        return factory(**given)
    except EncephalonError:
        raise
    except Exception as error:  # torch has many, for a width below 0 or beyond the memory
        reason = " ".join(str(error).split()).rstrip(".")
        raise RecipeError(
            f"The network {name!r} cannot be built with the options {given}: {reason}."
        ) from error


def head_of(network: Module) -> tuple[str, ...]:
    """The parts that a network ends in, which depend on what it is to tell; () if it has none.

    They are its `head_parts` if it names any, which may lie deep inside, and else its `head`.
    """
    named: tuple[str, ...] | None = getattr(network, "head_parts", None)
    if named is None:
        named = (HEAD,) if hasattr(network, HEAD) else ()
    return tuple(named)


def meta_network(asked: Network) -> Module:
    """The network of a recipe as shapes; raises RecipeError for one that cannot be built.

    It lies on torch's device "meta", where tensors have shapes, and neither values nor memory.
    """
    import torch

    try:
        with torch.device("meta"):
            return build_network(asked.name, asked.options)
    except RecipeError:
        return build_network(asked.name, asked.options).to("meta")  # or the fault is the device's


def output_shape(network: Module, source: str, *shapes: Sequence[int]) -> tuple[int, ...] | None:
    """The shape of the output of a network of `meta_network` for inputs of these shapes.

    None for a network that does not run as shapes, as one from elsewhere may not. Raises
    RecipeError, naming the recipe `source`, for one that does not take them.
    """
    import torch

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


def fill_network(
    network: Filled, tensors: Mapping[str, NDArray[Any]], source: str, mend: str = ""
) -> Filled:
    """Make `tensors` the weights of `network` and return it; half precision becomes single.

    They are copied, but into a network on the meta device, which shares their memory. Raises
    ModelError, with `source` in it, unless names and shapes are the network's; `mend` says what to
    do then, if not to use the recipe of the weights.
    """
    import torch

    state = network.state_dict()
    check_state(tensors, {name: tuple(value.shape) for name, value in state.items()}, source, mend)
    filled = {k: torch.from_numpy(np.asarray(v)).to(state[k].dtype) for k, v in tensors.items()}
    network.load_state_dict(filled, assign=any(value.is_meta for value in state.values()))
    return network


def _entry_points() -> dict[str, Any]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
