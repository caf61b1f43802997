# SPDX-License-Identifier: Apache-2.0
"""Every decoder with every kind of encoder, and the networks of whole volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from encephalon.errors import ModelError, RecipeError
from encephalon.networks import build_network
from encephalon.networks.decoders import DECODERS, TileSegmenter, _part_means
from encephalon.networks.encoders import user_code
from encephalon.networks.export import export_graph
from encephalon.networks.layers import middle, pad_to_multiple
from encephalon.networks.published_unet import PublishedUNet, build_published_unet
from tests.networks.test_encoders import USERS


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


SMALL = {"width": 4, "encoder_options": {"width": 4}}


def network(name: str, **options: Any) -> Any:
    """The same weights every time."""
    torch.manual_seed(2)
    with user_code():
        return build_network(name, options)


def idle(built: nn.Module, image: torch.Tensor) -> list[str]:
    """The weights that are to be trained and no logit depends on."""
    built.zero_grad()
    built(image).square().mean().backward()
    weights = [(name, p) for name, p in built.named_parameters() if p.requires_grad]
    return [name for name, p in weights if p.grad is None or not p.grad.any()]


@pytest.mark.parametrize("size", [(33, 46), (8, 17, 30)], ids=["2-D", "3-D"])
@pytest.mark.parametrize("decoder", sorted(DECODERS))
def test_a_mask_has_the_size_of_its_tile_and_every_weight_a_part_in_it(
    decoder: str, size: tuple[int, ...]
) -> None:
    """Odd sides and a single tile in a batch included, as published for volumes."""
    built = network("tile-segmenter", classes=3, decoder=decoder, spatial_dims=len(size), **SMALL)
    image = torch.rand(1, 1, *size)
    assert built(image).shape == (1, 3, *size)
    # A rectified layer of a few channels may be silent for one image.
    others = [idle(built, torch.randn(2, 1, *size)) for _ in range(3)]
    assert set(others[0]).intersection(*others[1:]) == set()


@pytest.mark.parametrize("decoder", sorted(DECODERS))
@pytest.mark.parametrize("encoder", ["PlainEncoder", "adapted"])
def test_encoders_of_users_serve_every_decoder(decoder: str, encoder: str) -> None:
    """Two maps from stride 1, or a single one of stride 4."""
    name = f"{USERS}:{encoder}"
    built = network("tile-segmenter", classes=2, decoder=decoder, encoder=name, width=4).eval()
    image = torch.rand(2, 1, 21, 19)
    first, second = built(image), built(image)
    assert first.shape == (2, 2, 21, 19)
    assert torch.equal(first, second)


@pytest.mark.parametrize("decoder", sorted(DECODERS))
def test_a_decoder_learns_what_is_bright(decoder: str) -> None:
    """A few steps on two tiles lower the loss by a third."""
    encoder = f"{USERS}:PlainEncoder"
    built = network("tile-segmenter", classes=2, decoder=decoder, encoder=encoder, width=4)
    image = torch.nn.functional.interpolate(torch.rand(2, 1, 4, 4), size=(16, 16))
    target = (image[:, 0] > 0.5).long()
    optimiser = torch.optim.Adam(built.parameters(), 0.02)
    losses = []
    for _ in range(15):
        loss = nn.functional.cross_entropy(built(image), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.67 * losses[0]


def test_an_unknown_decoder_is_answered_with_the_nearest() -> None:
    """Before the encoder is built."""
    with pytest.raises(RecipeError, match="Unknown decoder 'unett'; did you mean 'unet'"):
        TileSegmenter(decoder="unett")


@pytest.mark.parametrize(
    ("dims", "classes", "count"), [(2, 4, 1_971_620), (3, 3, 5_646_275)], ids=["2-D", "3-D"]
)
def test_the_published_u_net_has_the_published_size(dims: int, classes: int, count: int) -> None:
    """1.97 and 5.65 million weights."""
    with torch.device("meta"):
        built = PublishedUNet(classes, spatial_dims=dims)
    assert sum(p.numel() for p in built.parameters()) == count


@pytest.mark.parametrize(
    ("dims", "norm", "activation", "up"),
    [
        (2, "batch", "relu", "transposed"),
        (2, "instance", "leaky", "interpolation"),
        (2, "none", "elu", "transposed"),
        (3, "batch", "elu", "interpolation"),
        (3, "group2", "relu", "transposed"),
    ],
)
def test_the_published_u_net_takes_all_its_options(
    dims: int, norm: str, activation: str, up: str
) -> None:
    """At odd sizes the logits are those of the whole tile, and every weight has a part in them."""
    options: Any = {"norm": norm, "activation": activation, "up": up, "blocks": 3, "width": 4}
    built = network("published-unet", classes=3, spatial_dims=dims, **options)
    size = (8, 13, 10)[-dims:]
    image = torch.rand(1, 1, *size)
    assert built(image).shape == (1, 3, *size)
    others = [idle(built, torch.randn(2, 1, *size)) for _ in range(3)]
    biases = {name for name in others[0] if name.endswith(("bias", "norm2.weight"))}
    assert set(others[0]).intersection(*others[1:]) <= biases


def test_without_padding_the_middle_is_left() -> None:
    """Two convolutions of each of three blocks, and their halves, take their borders."""
    built = network("published-unet", padding="valid", blocks=2, width=4).eval()
    image = torch.rand(1, 1, 40, 44)
    assert built(image).shape == (1, 4, 24, 28)
    # What is left has seen nothing but the tile: what lies around it changes nothing.
    around = nn.functional.pad(image, [4] * 4, value=9.0)
    torch.testing.assert_close(middle(built(around), (24, 28)), built(image))


def test_an_option_of_the_published_u_net_that_is_none_is_refused() -> None:
    """With those that there are."""
    for option, words in (
        ({"norm": "layer"}, "norm must be one of batch, instance, none, groupN, not 'layer'"),
        ({"activation": "gelu"}, "activation must be one of relu, leaky, elu"),
        ({"padding": "full"}, "padding must be one of same, valid"),
        ({"up": "nearest"}, "up must be one of transposed, interpolation"),
    ):
        with pytest.raises(RecipeError, match=words):
            network("published-unet", **option)


def test_the_published_u_net_begins_as_published() -> None:
    """Xavier-uniform kernels, and biases at 0."""
    built = network("published-unet", width=8)
    kernel = built.down_blocks[1].conv1.weight
    bound = (6 / (9 * (8 + 16))) ** 0.5
    assert 0.98 * bound < kernel.abs().max() <= bound
    biases = [
        p for name, p in built.named_parameters() if ".conv" in name and name.endswith("bias")
    ]
    assert not any(p.any() for p in biases)


def published_names(blocks: int, norm: bool = True, up: bool = True) -> set[str]:
    """The keys of a file as the published class writes them."""
    layers = {f"down_blocks.{n}.{k}" for n in range(blocks) for k in ("conv1", "conv2")}
    norms = {f"down_blocks.{n}.{k}" for n in range(blocks) for k in ("norm1", "norm2")}
    for n in range(blocks - 1):
        layers |= {f"up_blocks.{n}.{k}" for k in ("conv0", "conv1", "conv2", *["up"] * up)}
        norms |= {f"up_blocks.{n}.{k}" for k in ("norm0", "norm1", "norm2")}
    names = {f"{one}.{k}" for one in (*layers, "conv_final") for k in ("weight", "bias")}
    values = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return names | {f"{one}.{k}" for one in norms for k in values if norm}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("up", ["transposed", "interpolation"])
def test_published_weights_of_a_u_net_fit_by_name(dims: int, up: str) -> None:
    """Sizes are read from the weights; what is missing is named."""
    built = network("published-unet", spatial_dims=dims, classes=3, blocks=3, width=2, up=up)
    tensors = {name: value.numpy() for name, value in built.state_dict().items()}
    assert set(tensors) == published_names(3, up=up == "transposed")
    again = build_published_unet(tensors, "own.pt")
    image = torch.rand(2, 1, *(8,) * dims)
    assert torch.equal(again.eval()(image), built.eval()(image))
    del tensors["up_blocks.0.norm0.weight"]
    with pytest.raises(ModelError, match=r"own\.pt: .*missing 'up_blocks\.0\.norm0\.weight'"):
        build_published_unet(tensors, "own.pt")
    with pytest.raises(ModelError, match="the first is 'x'"):
        build_published_unet({"x": np.zeros(1)}, "own.pt")


@pytest.mark.parametrize(
    ("name", "options"), [("vnet-light", {}), ("highresnet", {"widths": [4, 4, 4, 4, 4]})]
)
@pytest.mark.parametrize("size", [(8, 16, 16), (5, 9, 12)])
def test_networks_of_volumes_take_any_depth(
    name: str, options: dict[str, Any], size: tuple[int, ...]
) -> None:
    """The published 8 slices, and what is no multiple of anything."""
    built = network(name, classes=3, **options)
    assert built(torch.rand(1, 1, *size)).shape == (1, 3, *size)
    assert idle(built, torch.randn(1, 1, *size)) == []
    built.eval()
    image = torch.rand(2, 1, *size)
    torch.testing.assert_close(built(image)[:1], built(image[:1]))


def test_networks_of_volumes_have_the_size_of_their_papers_parts() -> None:
    """With 3 classes."""
    counts = {"vnet-light": 12_241_138, "highresnet": 815_587}
    for name, count in counts.items():
        with torch.device("meta"):
            built = build_network(name, {"classes": 3})
        assert sum(p.numel() for p in built.parameters()) == count


def test_padding_is_cut_off_again() -> None:
    """Edges are repeated, and the middle is what was there."""
    image = torch.rand(1, 2, 5, 8)
    padded = pad_to_multiple(image, 4)
    assert padded.shape == (1, 2, 8, 8)
    assert torch.equal(middle(padded, (5, 8)), image)
    assert torch.equal(padded[:, :, 0], image[:, :, 0])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("published-unet", {"width": 4}),
        *(("tile-segmenter", {"decoder": one, **SMALL}) for one in sorted(DECODERS)),
        ("tile-classifier", {"encoder_options": {"width": 4}}),
    ],
    ids=lambda value: value.get("decoder", "") if isinstance(value, dict) else value,
)
def test_every_network_of_tiles_has_a_graph(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """That says what the network says, once its weights are rounded."""
    built = network(name, **options).half().float()
    export_graph(built, tmp_path / "graph.onnx", (2, 1, 16, 24))
    if name == "tile-segmenter":
        run = onnxruntime.InferenceSession(str(tmp_path / "graph.onnx"))
        image = torch.rand(1, 1, 40, 24)
        (found,) = run.run(None, {"image": image.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), built(image), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
def test_means_of_parts_are_those_of_adaptive_pooling(bins: int) -> None:
    """For sides that the parts divide, and others."""
    for size in ((6, 12), (5, 7), (2, 3)):
        image = torch.rand(2, 3, *size)
        expected = nn.functional.adaptive_avg_pool2d(image, bins)
        torch.testing.assert_close(_part_means(image, bins), expected)
