# SPDX-License-Identifier: Apache-2.0
"""The image classifier: the published network to the last weight, and its options."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from encephalon.errors import RecipeError
from encephalon.networks import build_network

TINY: dict[str, Any] = {"layers": (1, 1, 1, 1), "widths": (4, 8, 8, 16), "hidden": 6}
RESNET50: dict[str, Any] = {
    "block": "bottleneck",
    "layers": (3, 4, 6, 3),
    "channels": 3,
    "covariates": 5,
}


def tiny(**options: Any) -> Any:
    """A network of a few thousand weights, always the same, in evaluation mode."""
    torch.manual_seed(0)
    return build_network("image-classifier", {**TINY, "covariates": 5, **options}).eval()


def shape_of(network: Any, path: str, *inputs: Tensor) -> tuple[int, ...]:
    """The shape of what the module at `path` says."""
    seen: list[Tensor] = []
    handle = network.get_submodule(path).register_forward_hook(lambda _m, _i, o: seen.append(o))
    network(*inputs)
    handle.remove()
    return tuple(seen[0].shape)


def normalisation(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    names = ("weight", "bias", "running_mean", "running_var")
    return {f"{prefix}.{name}": (width,) for name in names} | {f"{prefix}.num_batches_tracked": ()}


def torchvision_resnet50() -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's resnet50 without `fc`, written out."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7)} | normalisation("bn1", 64)
    before = 64
    for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), start=1):
        for block in range(blocks):
            at = f"layer{stage}.{block}"
            kernels = ((width, before, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1))
            for number, kernel in enumerate(kernels, start=1):
                shapes[f"{at}.conv{number}.weight"] = kernel
                shapes |= normalisation(f"{at}.bn{number}", kernel[0])
            if block == 0:
                shapes[f"{at}.downsample.0.weight"] = (4 * width, before, 1, 1)
                shapes |= normalisation(f"{at}.downsample.1", 4 * width)
            before = 4 * width
    return shapes


def test_the_published_options_make_the_published_network() -> None:
    """318 + 4 tensors under torchvision's names, 23,508,032 + 1,052,674 parameters."""
    network: Any = build_network("image-classifier", RESNET50)
    found = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    expected = {f"encoder.{name}": shape for name, shape in torchvision_resnet50().items()}
    head = {"0.weight": (512, 2053), "0.bias": (512,), "3.weight": (2, 512), "3.bias": (2,)}
    assert found == expected | {f"head.{name}": shape for name, shape in head.items()}
    assert len(found) == 322
    assert sum(p.numel() for p in network.encoder.parameters()) == 23_508_032
    assert sum(p.numel() for p in network.parameters()) == 24_560_706


def test_the_stride_of_a_bottleneck_is_on_its_middle_convolution() -> None:
    """torchvision's layout (v1.5): weights of another layout would fit and say something else."""
    network = tiny(block="bottleneck")
    strides = [network.encoder.layer2[0].get_submodule(f"conv{n}").stride for n in (1, 2, 3)]
    assert strides == [(1, 1), (2, 2), (1, 1)]


@pytest.mark.parametrize("inputs", ["both", "image", "covariates"])
def test_the_logits_depend_on_what_the_network_sees_alone(inputs: str) -> None:
    """Another image, or other covariates, change the answer only where they are an input."""
    network = tiny(inputs=inputs, classes=3)
    image, covariates = torch.rand(2, 1, 40, 48), torch.rand(2, 5)
    first = network(image, covariates)
    assert first.shape == (2, 3)
    sees_image = not torch.equal(first, network(1 - image, covariates))
    sees_covariates = not torch.equal(first, network(image, 1 - covariates))
    assert (sees_image, sees_covariates) == (inputs != "covariates", inputs != "image")


def test_a_network_of_covariates_alone_has_no_encoder() -> None:
    """Two layers, 5 to 6 to 2."""
    assert sum(p.numel() for p in tiny(inputs="covariates").parameters()) == 5 * 6 + 6 + 6 * 2 + 2


def test_without_covariates_the_image_is_enough() -> None:
    """A table that names none needs no other option, and no second input."""
    assert tiny(covariates=0)(torch.rand(2, 1, 32, 32)).shape == (2, 2)


@pytest.mark.parametrize(
    ("options", "grid"),
    [
        ({}, 2),
        ({"strides": (1, 2, 2, 1)}, 4),
        ({"strides": (1, 2, 1, 1), "block": "bottleneck"}, 8),
        ({"stem": "small"}, 4),
        ({"stem": "small", "stem_stride": 1}, 8),
        ({"stem_stride": 1}, 4),
    ],
)
def test_stem_and_strides_set_how_fine_the_last_map_is(options: dict[str, Any], grid: int) -> None:
    """Pixels of the last map of a 64 x 64 image: 1/32 of it by default, finer by request."""
    network = tiny(**options)
    found = shape_of(network, "encoder.layer4", torch.rand(1, 1, 64, 64), torch.rand(1, 5))
    assert found[2:] == (grid, grid)


@pytest.mark.parametrize(
    ("norm", "kind"), [("group", nn.GroupNorm), ("instance", nn.InstanceNorm2d)]
)
def test_every_normalisation_is_of_the_kind_asked_for(norm: str, kind: type[nn.Module]) -> None:
    """In the stages too; an image's logits then depend on no other image, even in training."""
    network = tiny(norm=norm, dropout=0.0).train()
    modules = list(network.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in modules)
    assert sum(isinstance(module, kind) for module in modules) == 1 + 4 * 2 + 3
    images, covariates = torch.rand(3, 1, 64, 64), torch.rand(3, 5)
    alone = network(images[:1], covariates[:1])
    torch.testing.assert_close(network(images, covariates)[:1], alone)


def test_groups_have_sixteen_channels_where_they_divide() -> None:
    """Wu and He's fixed width; fewer where the width of a stage is no multiple of 16."""
    network = tiny(norm="group", widths=(8, 16, 32, 24))
    groups = [network.encoder.get_submodule(f"layer{n}.0.bn1").num_groups for n in (1, 2, 3, 4)]
    assert groups == [1, 1, 2, 3]


def test_gradients_reach_the_parity_layer_of_maps_in_a_frozen_network() -> None:
    """layer4.2.conv3 gives its output and its gradient, untouched by what comes after."""
    network = tiny(block="bottleneck", layers=(1, 1, 1, 3))
    network.requires_grad_(False)
    kept: list[Tensor] = []
    layer = network.get_submodule("encoder.layer4.2.conv3")

    def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        kept.extend([output, output.detach().clone()])

    layer.register_forward_hook(keep)
    image = torch.rand(1, 1, 64, 64, requires_grad=True)
    logit = network(image, torch.rand(1, 5))[0, 1]
    (gradient,) = torch.autograd.grad(logit, kept[0])
    assert gradient.shape == (1, 64, 2, 2)
    assert gradient.abs().sum() > 0
    assert torch.equal(kept[0], kept[1])


@pytest.mark.parametrize("path", ["encoder.layer4", "encoder.layer1.0.conv1", "encoder.layer2"])
def test_full_backward_hooks_work_on_stages_and_convolutions(path: str) -> None:
    """Nothing after these writes over what they said."""
    network = tiny()
    seen: list[Tensor] = []
    layer = network.get_submodule(path)
    layer.register_full_backward_hook(lambda _m, _i, o: seen.append(o[0]))
    network(torch.rand(1, 1, 64, 64), torch.rand(1, 5)).sum().backward()
    assert seen[0].abs().sum() > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"inputs": "covariates", "covariates": 0}, "needs covariates"),
        ({"inputs": "pictures"}, "one of both, image, covariates, not 'pictures'"),
        ({"stem": "big"}, "stem must be one of standard, small"),
        ({"stem_stride": 3}, "stem_stride must be 1 or 2"),
        ({"norm": "layer"}, "norm must be one of batch, group, instance"),
        ({"strides": (2, 2, 2, 2)}, "strides must be 1 and then"),
        ({"strides": (1, 2, 4, 1)}, r"not \[1, 2, 4, 1\]"),
        ({"layers": (1, 1)}, "layers must be four positive numbers"),
        ({"widths": (4, 0, 8, 8)}, "widths must be four positive numbers"),
        ({"block": "wide"}, "wide"),
        ({"layer": (1, 1, 1, 1)}, "did you mean 'layers'"),
    ],
)
def test_options_that_make_no_network_are_faults_of_the_recipe(
    options: dict[str, Any], words: str
) -> None:
    """Each is one sentence that says what may be given."""
    with pytest.raises(RecipeError, match=words):
        tiny(**options)
