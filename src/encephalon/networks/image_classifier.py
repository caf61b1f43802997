# SPDX-License-Identifier: Apache-2.0
"""A residual network over one image, joined by what else is known of the sample, into classes.

Its last map is averaged, or pooled by attention, which says which places the answer rests on.

The published network of 3BTRON is one. Its state dictionary has 322 tensors: `image_features_.*`,
which are torchvision's `resnet50` without `fc`, and `combined_features_.0` and `.3`, the two layers
of the head, as its `scripts/model.py` builds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import gcd
from typing import Any, Literal, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encephalon.errors import ModelError, require_extra
from encephalon.models.folder import check_state
from encephalon.networks.registry import fill_network

__all__ = [
    "AttentionPooling",
    "ImageClassifier",
    "build_published_classifier",
    "from_published_names",
    "show_attention",
    "to_published_names",
]

#: Kernel size of the first convolution, and whether a pooling by two follows it.
_STEMS = {"standard": (7, True), "small": (3, False)}
#: Channels that share one group's statistics (Wu and He 2018, arXiv:1803.08494, table 3).
_GROUP_WIDTH = 16

#: Log-odds of every place before training: most of an image is no answer. Our choice.
START = -2.0

_PUBLISHED = {
    "block": "bottleneck",
    "layers": (3, 4, 6, 3),
    "widths": (64, 128, 256, 512),
    "channels": 3,
}
"""The published network's image branch: a ResNet-50 of colour images."""
_FEATURES = 2048
"""What the image branch gives to the head."""
_NAMES = {"image_features_.": "encoder.", "combined_features_.": "head."}


class ImageClassifier(nn.Module):
    """A residual network (He et al. 2015, arXiv:1512.03385), then two layers over all inputs.

    `encoder` is MONAI's ResNet, whose weights bear torchvision's names: `conv1`, `bn1`, `layer1` to
    `layer4`. `head` takes its features, averaged over the image, beside the covariates. With the
    bottleneck block, layers (3, 4, 6, 3), three channels, five covariates and two classes this is
    the network of 3BTRON: 322 tensors, 24,560,706 parameters.

    classes               Number of classes: the logits that come out.
    covariates            Number of encoded covariates, one-hot columns counted each.
    inputs                "both"; "image", which ignores the covariates; or "covariates", which has
                          no encoder.
    block, layers, widths
                          Residual block, number of blocks and base width of each of the four
                          stages. A "bottleneck" gives four times its base width.
    channels              Channels of the image.
    stem                  "standard": a convolution of 7 x 7 pixels and a max pooling by two.
                          "small": a convolution of 3 x 3 pixels alone, for small or finely textured
                          images.
    stem_stride           Stride of the stem's convolution, 1 or 2.
    strides               Stride of each stage; the first keeps its grid. (1, 2, 2, 1) makes the
                          last map, and so the maps of an explanation, twice as fine.
    pooling               "mean" of the last map, or "attention", which the network learns to weigh
                          it by.
    norm                  "batch", or "group" or "instance" for batches of a few images.
    hidden, dropout       Width of the head's hidden layer, and the share of it that training leaves
                          out.

    (B, channels, rows, columns) and (B, covariates) to (B, classes); while `shows_attention`, to
    (B, classes + places), with the log-odds of attention at each place of the last map, row by row.
    Raises ValueError for options that make no network.
    """

    def __init__(
        self,
        classes: int = 2,
        covariates: int = 0,
        inputs: Literal["both", "image", "covariates"] = "both",
        block: Literal["basic", "bottleneck"] = "basic",
        layers: Sequence[int] = (2, 2, 2, 2),
        widths: Sequence[int] = (64, 128, 256, 512),
        channels: int = 1,
        stem: Literal["standard", "small"] = "standard",
        stem_stride: int = 2,
        strides: Sequence[int] = (1, 2, 2, 2),
        pooling: Literal["mean", "attention"] = "mean",
        norm: Literal["batch", "group", "instance"] = "batch",
        hidden: int = 512,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        _check_choice("inputs", inputs, ("both", "image", "covariates"))
        self.sees_image = inputs != "covariates"
        self.sees_covariates = inputs != "image" and covariates > 0
        if not (self.sees_image or self.sees_covariates):
            raise ValueError("inputs = 'covariates' needs covariates, but the table names none")
        self.shows_attention = False
        self.covariates = covariates
        self.features = 0
        _check_choice("pooling", pooling, ("mean", "attention"))
        if self.sees_image:
            self.features = widths[-1] * (4 if block == "bottleneck" else 1)
            self.encoder = _encoder(
                block, layers, widths, channels, stem=stem, stem_stride=stem_stride
            )
            _set_strides(self.encoder, strides)
            _set_norm(self.encoder, norm)
            if pooling == "attention":
                self.encoder.avgpool = AttentionPooling(self.features)
        joined = self.features + (covariates if self.sees_covariates else 0)
        self.head = nn.Sequential(
            nn.Linear(joined, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, classes)
        )

    @property
    def attends(self) -> bool:
        """Whether the last map is pooled by attention."""
        return self.sees_image and isinstance(self.encoder.avgpool, AttentionPooling)

    @property
    def map_layer(self) -> str:
        """Path of the layer that maps are taken from, unless somebody names another."""
        return "encoder.avgpool.gated" if self.attends else "encoder.layer4"

    def forward(self, image: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Return logits (B, classes); what the network does not see may be left out or empty."""
        found = self.encoder(image) if self.sees_image else None
        seen = [] if found is None else [found[:, : self.features]]
        if self.sees_covariates:
            seen.append(cast(Tensor, covariates))
        logits: Tensor = self.head(torch.cat(seen, dim=1))
        if self.shows_attention and found is not None:
            return torch.cat([logits, found[:, self.features :]], dim=1)
        return logits


def show_attention(network: nn.Module, shown: bool) -> bool:
    """Let a classifier show its attention, or stop; whether it has any."""
    if not (isinstance(network, ImageClassifier) and network.attends):
        return False
    network.shows_attention = shown
    return True


def _encoder(
    block: str,
    layers: Sequence[int],
    widths: Sequence[int],
    channels: int,
    *,
    stem: str,
    stem_stride: int,
) -> nn.Module:
    """MONAI's ResNet up to the mean over the image, (B, channels, rows, columns) to (B, F)."""
    require_extra("monai", "train", "The network 'image-classifier'")
    from monai.networks.nets.resnet import ResNet

    _check_choice("stem", stem, tuple(_STEMS))
    for name, values in (("layers", layers), ("widths", widths)):
        if len(values) != 4 or min(values) < 1:
            raise ValueError(f"{name} must be four positive numbers, not {list(values)}")
    if stem_stride not in {1, 2}:
        raise ValueError(f"stem_stride must be 1 or 2, not {stem_stride}")
    kernel, pooled = _STEMS[stem]
    return ResNet(
        block,
        list(layers),
        list(widths),
        spatial_dims=2,
        n_input_channels=channels,
        conv1_t_size=kernel,
        conv1_t_stride=stem_stride,
        no_max_pool=not pooled,
        bias_downsample=False,
        feed_forward=False,
    )


def _set_strides(encoder: nn.Module, strides: Sequence[int]) -> None:
    """Let a stage keep its grid; MONAI's ResNet always halves it in the last three stages."""
    if len(strides) != 4 or strides[0] != 1 or not set(strides) <= {1, 2}:
        raise ValueError(f"strides must be 1 and then three of 1 or 2, not {list(strides)}")
    for number, stride in enumerate(strides, start=1):
        for module in encoder.get_submodule(f"layer{number}").modules():
            if isinstance(module, nn.Conv2d) and module.stride != (1, 1):
                module.stride = (stride, stride)


def _set_norm(encoder: nn.Module, norm: str) -> None:
    """Replace every batch normalisation, whose name stays; MONAI's option reaches the stem only."""
    _check_choice("norm", norm, ("batch", "group", "instance"))
    if norm == "batch":
        return
    for name, module in list(encoder.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            channels = module.num_features
            other: nn.Module = nn.InstanceNorm2d(channels, affine=True)
            if norm == "group":
                other = nn.GroupNorm(channels // gcd(channels, _GROUP_WIDTH), channels)
            parent, _, own = name.rpartition(".")
            setattr(encoder.get_submodule(parent), own, other)


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")


class AttentionPooling(nn.Module):
    """The mean of a map's features, weighted by what the map itself says of each place.

    After the attention of multiple-instance learning (Ilse et al. 2018, arXiv:1802.04712), with a
    sigmoid in place of the softmax, so that weights mean the same for maps of any size. `gated`
    passes on the weighted map: explanations are taken from there.

    (B, F, rows, columns) to (B, F + rows * columns): the features, then the log-odds of each place.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(features, 1, kernel_size=1)
        nn.init.constant_(self.weigh.bias, START)  # type: ignore[arg-type]
        self.gated = nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Return the pooled features beside the log-odds of all places."""
        log_odds = self.weigh(features)
        weights = log_odds.sigmoid()
        total = self.gated(features * weights).sum(dim=(2, 3))
        # Where hardly anything is attended to, the mean shrinks to nothing, and does not explode.
        pooled = total / (weights.sum(dim=(2, 3)) + 1e-3)
        return torch.cat([pooled, log_odds.flatten(1)], dim=1)


def build_published_classifier(tensors: Mapping[str, NDArray[Any]], source: str) -> ImageClassifier:
    """Return the published network with the weights `tensors`, which bear their published names.

    The numbers of covariates, hidden units and classes are those of the weights, so that a file of
    the user's own with this layout is as welcome. Raises ModelError, with `source` in it, for
    missing, unexpected and mis-shaped weights.
    """
    first, last = (tensors.get(f"combined_features_.{layer}.weight") for layer in (0, 3))
    if first is None or last is None or first.ndim != 2 or last.ndim != 2:
        example = next(iter(tensors), "nothing")
        raise ModelError(
            f"{source}: expected the 322 weights of the published 3BTRON network, but there is no "
            f"head 'combined_features_.0' and '.3' among these {len(tensors)} (the first is "
            f"{example!r}): this is another architecture."
        )
    if first.shape[1] < _FEATURES:
        raise ModelError(
            f"{source}: expected a head of {_FEATURES} image features and more, but "
            f"'combined_features_.0.weight' takes {first.shape[1]}: this is another architecture."
        )
    network = ImageClassifier(
        classes=last.shape[0],
        covariates=first.shape[1] - _FEATURES,
        hidden=first.shape[0],
        **_PUBLISHED,  # type: ignore[arg-type]
    )
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    check_state(tensors, to_published_names(shapes), source)
    return fill_network(network, from_published_names(tensors), source)


def to_published_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Rename what is kept by the names of an `ImageClassifier`'s weights to the published names."""
    return _renamed(values, {ours: theirs for theirs, ours in _NAMES.items()})


def from_published_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Rename what is kept by published names; other names stay as they are."""
    return _renamed(values, _NAMES)


def _renamed(values: Mapping[str, Any], prefixes: Mapping[str, str]) -> dict[str, Any]:
    renamed = {}
    for name, value in values.items():
        old = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        renamed[prefixes.get(old, "") + name[len(old) :]] = value
    return renamed
