# SPDX-License-Identifier: Apache-2.0
"""Encoders: an image in, its feature maps out, fine to coarse; the one contract of every task.

An encoder is a module with `channels` and `strides`, one of each for every feature map, whose
`forward` takes float32 (B, in_channels, [Z,] Y, X) and returns the list of maps (B, channels[i],
[Z,] Y / strides[i], X / strides[i]), sides rounded up or down. One map is enough. The mean of the
last map over its places is the representation of the image. `encephalon.testing` has tests of an
encoder to inherit.

Names are built in, entry points of the group `encephalon.encoders`, or `module:Class` for code of
one's own, which is imported only where a recipe of the user's own asks for it (`user_code`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from importlib.metadata import entry_points
from itertools import pairwise
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from encephalon.errors import EncephalonError, RecipeError, did_you_mean, require_extra
from encephalon.networks.layers import resize

ENTRY_POINTS = "encephalon.encoders"

_user_code: ContextVar[bool] = ContextVar("user_code", default=False)


class Encoder(Protocol):
    """What an encoder has beside being a module."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def __call__(self, image: Tensor) -> list[Tensor]:
        """The feature maps of an image."""
        ...


class ResNetEncoder(nn.Module):
    """The four stages of a residual network (He et al. 2015, arXiv:1512.03385) for small images.

    As published for MTNeuro the first convolution has 3 x 3 pixels and stride 1, and no pooling
    follows it, so that the maps have strides 1, 2, 4 and 8. Weights bear torchvision's names.

    block, layers         "basic" or "bottleneck", and the number of blocks of each stage.
    in_channels, spatial_dims
                          Channels of the image; 2, or 3 with kernels of 3 x 3 x 3.
    width                 Channels of the first stage before a bottleneck's factor of four; doubled
                          by each stage.
    """

    def __init__(
        self,
        block: str,
        layers: Sequence[int],
        in_channels: int = 1,
        spatial_dims: int = 2,
        width: int = 64,
    ) -> None:
        super().__init__()
        require_extra("monai", "train", "A residual encoder")
        from monai.networks.nets.resnet import ResNet

        widths = [width * factor for factor in (1, 2, 4, 8)]
        whole = ResNet(
            block,
            list(layers),
            widths,
            spatial_dims=spatial_dims,
            n_input_channels=in_channels,
            conv1_t_size=3,
            conv1_t_stride=1,
            no_max_pool=True,
            bias_downsample=False,
            feed_forward=False,
        )
        self.conv1, self.bn1, self.act = whole.conv1, whole.bn1, whole.act
        self.layer1, self.layer2 = whole.layer1, whole.layer2
        self.layer3, self.layer4 = whole.layer3, whole.layer4
        # Channels last in memory would be a fifth faster, but torch 2.13 damages memory then (CPU),
        # in the gradient of a convolution of 8 channels by 1 x 1 with a stride of 2.
        self.channels = tuple(w * (4 if block == "bottleneck" else 1) for w in widths)
        self.strides = (1, 2, 4, 8)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, in_channels, [Z,] Y, X) to four maps."""
        x = self.act(self.bn1(self.conv1(image)))
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps


class FullyConvolutionalEncoder(nn.Module):
    """The six layers of the SFCN (Peng et al. 2021, doi:10.1016/j.media.2020.101871), for brains.

    As published a layer is a convolution, a normalisation, pooling by two and a ReLU; the last has
    kernels of one voxel and no pooling. Normalised is over a person's own channels, in groups, and
    not over a batch: who else is in it changes nothing, and one person may be all of it.

    in_channels, spatial_dims  Channels of the image; 2 or 3.
    width                      Channels of the first layer, 32 as published; those after it have
                               twice, 4, 8, 8 times and twice as many.
    """

    def __init__(self, in_channels: int = 1, spatial_dims: int = 3, width: int = 32) -> None:
        super().__init__()
        convolution: Any = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
        pooling: Any = nn.MaxPool3d if spatial_dims == 3 else nn.MaxPool2d
        self.channels = tuple(width * factor for factor in (1, 2, 4, 8, 8, 2))
        self.strides = (2, 4, 8, 16, 32, 32)
        self.layers = nn.ModuleList()
        for before, after in pairwise([in_channels, *self.channels]):
            last = len(self.layers) == len(self.channels) - 1
            kernel, padding = (1, 0) if last else (3, 1)
            # Groups of some channels, so that a map of one voxel is not normalised away.
            norm = nn.GroupNorm(math.gcd(after, max(1, after // 8)), after)
            convolved = convolution(before, after, kernel, padding=padding)
            self.layers.append(nn.Sequential(convolved, norm))
        self.pool: Any = pooling(2)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, in_channels, [Z,] Y, X) to six maps."""
        maps = [image]
        for place, layer in enumerate(self.layers):
            found = layer(maps[-1])
            # A map of one voxel stays one.
            is_pooled = place < len(self.layers) - 1 and min(found.shape[2:]) > 1
            maps.append((self.pool(found) if is_pooled else found).relu())
        return maps[1:]


class AdaptedEncoder(nn.Module):
    """Any network of colour images from elsewhere (timm, Hugging Face, DINO) as an encoder.

    Write a function of your own that returns it, with the weights that you chose, and name that
    function in your recipe as `module:function`:

        def dino(in_channels=1):
            network = timm.create_model("vit_small_patch14_dinov2.lvd142m", dynamic_img_size=True)
            return AdaptedEncoder(network, (384,), (14,), call="forward_features", multiple=14)

    network            Takes (B, 3, Y, X); gives one map or a list of them, tokens (B, N, channels)
                       of which the last ones are the patches row by row, or an object or mapping
                       that holds either under `last_hidden_state`, `x_norm_patchtokens` or
                       `feature_maps`.
    channels, strides  Of the maps, fine to coarse.
    call               The method of `network` to call in place of itself.
    multiple           Images are resized to the next multiple of this.
    mean, std          Of each colour in images between 0 and 1, which are normalised by them.
    """

    def __init__(
        self,
        network: nn.Module,
        channels: Sequence[int],
        strides: Sequence[int],
        call: str = "forward",
        multiple: int = 1,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
    ) -> None:
        super().__init__()
        self.network, self.call, self.multiple = network, call, multiple
        self.channels, self.strides = tuple(channels), tuple(strides)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 1 or 3, Y, X) to the maps."""
        if image.dim() != 4:
            raise RecipeError(
                f"An encoder of pictures was given the shape {tuple(image.shape)}: give it tiles "
                "of one slice."
            )
        sides = [-(-side // self.multiple) * self.multiple for side in image.shape[2:]]
        colours = (resize(image, sides).expand(-1, 3, -1, -1) - self.mean) / self.std
        found = _found_maps(getattr(self.network, self.call)(colours))
        if len(found) != len(self.strides):
            return found
        maps = []
        for one, stride in zip(found, self.strides, strict=True):
            placed = _placed(one, [side // stride for side in sides])
            maps.append(resize(placed, [-(-side // stride) for side in image.shape[2:]]))
        return maps


def _found_maps(answer: Any) -> list[Tensor]:
    for name in ("feature_maps", "last_hidden_state", "x_norm_patchtokens"):
        inside = answer.get(name) if isinstance(answer, Mapping) else getattr(answer, name, None)
        if inside is not None:
            answer = inside
            break
    return list(answer) if isinstance(answer, list | tuple) else [answer]


def _placed(tokens: Tensor, sides: Sequence[int]) -> Tensor:
    """Tokens (B, N, C) as a map (B, C, *sides), without those that come before the patches."""
    if tokens.dim() != 3 or tokens.shape[1] < sides[0] * sides[1]:
        return tokens
    patches = tokens[:, tokens.shape[1] - sides[0] * sides[1] :]
    return patches.transpose(1, 2).reshape(len(patches), -1, *sides)


_Factory = Callable[..., nn.Module]


def _resnet(block: str, *layers: int) -> _Factory:
    return lambda **options: ResNetEncoder(block, layers, **options)


_BUILT_IN: Mapping[str, _Factory] = {
    "resnet10": _resnet("basic", 1, 1, 1, 1),
    "resnet18": _resnet("basic", 2, 2, 2, 2),
    "resnet50": _resnet("bottleneck", 3, 4, 6, 3),
    "sfcn": FullyConvolutionalEncoder,
}


@contextmanager
def user_code() -> Iterator[None]:
    """Let encoders be `module:Class`, within: for recipes of the user's own, never for models."""
    token = _user_code.set(True)
    try:
        yield
    finally:
        _user_code.reset(token)


def list_encoders() -> tuple[str, ...]:
    """The sorted names of the encoders that are built in or come from entry points."""
    return tuple(sorted({*_BUILT_IN, *(point.name for point in entry_points(group=ENTRY_POINTS))}))


def build_encoder(name: str, **options: Any) -> nn.Module:
    """The encoder `name`, built with `options`, whose `channels` and `strides` were looked at.

    Raises RecipeError for an unknown name, for code that cannot be imported or that nobody asked
    for, and for what does not keep the contract.
    """
    factory = _factory(name)
    try:
        encoder = factory(**options)
    except EncephalonError:
        raise
    except Exception as error:  # whatever a class from elsewhere makes of its options
        reason = " ".join(str(error).split()).rstrip(".")
        raise RecipeError(
            f"The encoder {name!r} cannot be built with the options {options}: {reason}."
        ) from error
    check_encoder(encoder, name)
    return encoder


def _factory(name: str) -> _Factory:
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == name:
            return cast(_Factory, point.load())
    module, colon, attribute = name.partition(":")
    if not colon:
        meant = did_you_mean(name, list_encoders(), "write module:Class, or one of")
        raise RecipeError(f"Unknown encoder {name!r}; {meant}")
    if not _user_code.get():
        raise RecipeError(
            f"The encoder {name!r} is code, which only a recipe of your own may name: name it "
            f"there, or install it as an entry point of the group {ENTRY_POINTS!r}."
        )
    try:
        found: Any = getattr(import_module(module), attribute)
    except Exception as error:  # a module from elsewhere may raise anything
        raise RecipeError(
            f"The encoder {name!r} cannot be imported ({error}): install its package, or put its "
            "folder on PYTHONPATH."
        ) from error
    if not callable(found):
        raise RecipeError(f"The encoder {name!r} is {type(found).__name__}, and no class.")
    return cast(_Factory, found)


def check_encoder(encoder: object, name: str) -> None:
    """Raise RecipeError unless `encoder` is a module with channels and strides of its maps."""
    if not isinstance(encoder, nn.Module):
        raise RecipeError(
            f"The encoder {name!r} gives {type(encoder).__name__} where a torch module is needed."
        )
    found = {key: getattr(encoder, key, None) for key in ("channels", "strides")}
    for key, values in found.items():
        whole = isinstance(values, tuple) and all(type(v) is int and v > 0 for v in values)
        if not whole or not values:
            raise RecipeError(
                f"The encoder {name!r} needs a tuple {key!r} of whole numbers above 0, one for "
                f"each of its feature maps, but has {values!r}."
            )
    channels, strides = cast(Encoder, encoder).channels, cast(Encoder, encoder).strides
    if len(channels) != len(strides) or list(strides) != sorted(strides):
        raise RecipeError(
            f"The encoder {name!r} has channels {channels} and strides {strides}: there must be "
            "one of each for every feature map, from fine to coarse."
        )


def feature_maps(encoder: nn.Module, image: Tensor) -> list[Tensor]:
    """The maps of `image`, of which number and shapes were looked at; RecipeError if wrong."""
    maps = encoder(image)
    # A graph that is recorded has been run before, and its sizes are not numbers.
    if not torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        _check_maps(encoder, image, maps)
    return cast(list[Tensor], maps)


def _check_maps(encoder: nn.Module, image: Tensor, maps: Any) -> None:
    about, name = cast(Encoder, encoder), type(encoder).__name__
    check_encoder(encoder, name)
    if not isinstance(maps, list) or not all(isinstance(one, Tensor) for one in maps):
        raise RecipeError(
            f"The encoder {name} must return a list of feature maps, not {type(maps).__name__}."
        )
    if len(maps) != len(about.channels):
        raise RecipeError(
            f"The encoder {name} returned {len(maps)} feature maps where its channels tell of "
            f"{len(about.channels)}."
        )
    for one, channels, stride in zip(maps, about.channels, about.strides, strict=True):
        wanted = (len(image), channels, *(-(-side // stride) for side in image.shape[2:]))
        floor = (*wanted[:2], *(side // stride for side in image.shape[2:]))
        fits = len(one.shape) == len(wanted) and all(
            low <= side <= high for low, side, high in zip(floor, one.shape, wanted, strict=True)
        )
        if not fits:
            raise RecipeError(
                f"The encoder {name} returned a map of the shape {tuple(one.shape)} for an image "
                f"of {tuple(image.shape)}, where its channels and strides tell of {wanted}."
            )


def representation(maps: Sequence[Tensor]) -> Tensor:
    """The mean (B, channels) of the last map over its places."""
    return maps[-1].flatten(2).mean(dim=2)
