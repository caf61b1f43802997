# SPDX-License-Identifier: Apache-2.0
"""The five networks of slices that MTNeuro took from a library, whose weights bear those names.

They are those of segmentation_models_pytorch 0.3 (github.com/qubvel-org/
segmentation_models.pytorch) with the encoder `resnet18` and all else as it is by default there, as
the notebooks of github.com/im-a-jin/MTNeuro build them. `tile-segmenter` has decoders after the
same papers for models of one's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as nnf

from encephalon.errors import ModelError, require_extra
from encephalon.networks.layers import check_choice, middle, pad_to_multiple
from encephalon.networks.published_decoders import PUBLISHED_DECODERS, enlarged
from encephalon.networks.registry import fill_network


class PublishedSegmenter(nn.Module):
    """Logits of each class at each pixel.

    decoder               "unet++", "manet", "fpn", "pan" or "pspnet".
    classes, in_channels  Channels out and in.
    width                 Channels of the first stage of the encoder, 64 as published; all others
                          are in proportion, and those of "fpn" need a multiple of 16.

    (B, in_channels, Y, X) to (B, classes, Y, X). Sides that are no multiple of 32, and for "pan"
    those below 128, are padded by repeating the edges, and the logits cut to their size.
    """

    head_parts = ("segmentation_head",)
    multiple = 32

    def __init__(
        self, decoder: str = "unet++", classes: int = 4, in_channels: int = 1, width: int = 64
    ) -> None:
        super().__init__()
        check_choice("decoder", decoder, tuple(PUBLISHED_DECODERS))
        self.known_as = decoder
        self.encoder = _Encoder(in_channels, width, dilated=decoder == "pan")
        self.decoder = PUBLISHED_DECODERS[decoder](self.encoder.channels)
        kernel, self.factor = _HEADS[decoder]
        head = nn.Conv2d(self.decoder.out_channels, classes, kernel, padding=kernel // 2)
        self.segmentation_head = nn.Sequential(head)
        # The pyramid of PAN halves the coarsest map, of stride 16, three times.
        self.least = 128 if decoder == "pan" else self.multiple

    def forward(self, tile: Tensor) -> Tensor:
        """(B, in_channels, Y, X) to logits."""
        short = any(side < self.least for side in tile.shape[2:])
        x = pad_to_multiple(tile, self.least if short else self.multiple)
        logits = self.segmentation_head(self.decoder(self.encoder(x)))
        return middle(enlarged(logits, self.factor), tile.shape[2:])


class _Encoder(nn.Module):
    """ResNet-18 (arXiv:1512.03385) by torchvision's names: maps of strides 2, 4, 8, 16 and 32.

    Where `dilated` the last keeps the grid of the one before, and its kernels are twice as wide.
    """

    def __init__(self, in_channels: int, width: int, dilated: bool) -> None:
        super().__init__()
        require_extra("monai", "train", "The network 'published-segmenter'")
        from monai.networks.nets.resnet import ResNet

        self.channels = (width, width, 2 * width, 4 * width, 8 * width)
        whole = ResNet(
            "basic",
            [2, 2, 2, 2],
            list(self.channels[1:]),
            spatial_dims=2,
            n_input_channels=in_channels,
            conv1_t_size=7,
            conv1_t_stride=2,
            bias_downsample=False,
            feed_forward=False,
        )
        self.conv1, self.bn1 = whole.conv1, whole.bn1
        self.layer1, self.layer2 = whole.layer1, whole.layer2
        self.layer3, self.layer4 = whole.layer3, whole.layer4
        for convolution in self.layer4.modules() if dilated else ():
            if isinstance(convolution, nn.Conv2d):
                around = tuple(2 * (side // 2) for side in convolution.kernel_size)
                convolution.stride, convolution.dilation = (1, 1), (2, 2)
                convolution.padding = around

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = [nnf.relu(self.bn1(self.conv1(image)))]
        x = nnf.max_pool2d(maps[0], 3, 2, padding=1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps


_HEADS: Mapping[str, tuple[int, int]] = {
    "unet++": (3, 1),
    "manet": (3, 1),
    "fpn": (1, 4),
    "pan": (3, 4),
    "pspnet": (3, 8),
}
"""The kernel that gives the logits, and the stride of its map."""
_KNOWN_BY = {
    "unet++": "decoder.blocks.x_0_0.conv1.0.weight",
    "manet": "decoder.center.top_conv.weight",
    "fpn": "decoder.p5.weight",
    "pan": "decoder.fpa.mid.0.conv.weight",
    "pspnet": "decoder.psp.blocks.0.pool.1.0.weight",
}
"""A weight that each decoder has alone."""


def build_published_segmenter(
    tensors: Mapping[str, NDArray[Any]], source: str
) -> PublishedSegmenter:
    """The network of slices with the weights `tensors`, which tell its decoder.

    Raises ModelError, with `source` in it, for missing, unexpected and mis-shaped weights.
    """
    names = ("encoder.conv1.weight", "segmentation_head.0.weight")
    first, last = (tensors.get(name) for name in names)
    decoder = next((name for name, weight in _KNOWN_BY.items() if weight in tensors), None)
    if first is None or last is None or decoder is None or first.ndim != 4:
        example = next(iter(tensors), "nothing")
        raise ModelError(
            f"{source}: expected the weights of U-Net++, MAnet, FPN, PAN or PSPNet by the names of "
            f"segmentation_models_pytorch, but these {len(tensors)} begin with {example!r}: this "
            "is another architecture."
        )
    network = PublishedSegmenter(decoder, len(last), first.shape[1], len(first))
    return fill_network(network, tensors, source)
