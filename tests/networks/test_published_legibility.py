# SPDX-License-Identifier: Apache-2.0
"""The network of the legibility study: its size to the last weight, and what absence does to it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from encephalon.errors import ModelError, RecipeError
from encephalon.networks import build_network

NAMES = ("flair", "t1", "dwi", "connectivity", "metadata")


def tiny(**options: Any) -> Any:
    """One of 2 channels in the first block, always the same, in evaluation mode."""
    torch.manual_seed(0)
    options = {"width": 2, "connections": 30, "columns": 4} | options
    return build_network("published-legibility", options).eval()


def people(count: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = dict.fromkeys(NAMES[:3], (1, 64, 64, 64)) | {"connectivity": (30,), "metadata": (4,)}
    return {n: torch.rand(count, *shape, generator=generator) for n, shape in shapes.items()}


@pytest.mark.parametrize(
    ("side", "images", "head"), [(64, 7_427_680, 141_314), (128, 11_295_968, 174_082)]
)
def test_the_published_sizes(side: int, images: int, head: int) -> None:
    """15.87 M weights at 64 cubed and 19.77 M at 128, worked out from the widths layer by layer."""
    with torch.device("meta"):
        network = build_network("published-legibility", {"side": side})
    found = {n: sum(p.numel() for p in m.parameters()) for n, m in network.named_children()}
    sizes = {"images": images, "connectivity": 8_288_512, "metadata": 13_984, "head": head}
    assert found == sizes
    assert sum(sizes.values()) == {64: 15_871_490, 128: 19_772_546}[side]


def test_images_of_128_voxels_end_at_two_by_two_by_two() -> None:
    """Six blocks instead of five, and 256 features of the images instead of 128."""
    with torch.device("meta"):
        network: Any = build_network("published-legibility", {"side": 128, "outputs": 1}).eval()
        image = torch.zeros(1, 1, 128, 128, 128)
        assert network.images[:6](image.expand(1, 3, -1, -1, -1)).shape == (1, 256, 2, 2, 2)
        output = network(image, image, image, torch.zeros(1, 64_620), torch.zeros(1, 24))
    assert output.shape == (1, 1)


def test_a_block_is_two_convolutions_beside_one_of_a_voxel() -> None:
    """A sum that is normalised, a GELU, the largest of two cubed."""
    block = tiny().images[0]
    image = torch.rand(1, 3, 8, 8, 8)
    inner = torch.nn.functional.gelu(block.first(image))
    summed = block.norm(block.second(inner) + block.skip(image))
    expected = torch.nn.functional.max_pool3d(torch.nn.functional.gelu(summed), 2)
    torch.testing.assert_close(block(image), expected)


def test_an_absent_image_beside_others_is_a_volume_of_zeros() -> None:
    """What stands in its place is not looked at, but zeros go through the network all the same."""
    given, network, whole = people(), tiny(inputs=["t1", "metadata"]), tiny()
    with torch.no_grad():
        output = network(**given)
        assert torch.equal(output, network(t1=given["t1"], metadata=given["metadata"]))
        zeros = {name: torch.zeros_like(given[name]) for name in ("flair", "dwi")}
        images = torch.cat([zeros["flair"], given["t1"], zeros["dwi"]], dim=1)
        said = [torch.zeros(2, 128), whole.metadata(given["metadata"]), whole.images(images)]
        assert torch.equal(output, whole.head(torch.cat(said, dim=1)))


@pytest.mark.parametrize(
    ("inputs", "silent"),
    [
        (["connectivity", "metadata"], {"images"}),
        (["t1"], {"connectivity", "metadata"}),
        (["metadata"], {"images", "connectivity"}),
    ],
)
def test_an_absent_block_is_passed_over_and_still_built(
    inputs: list[str], silent: set[str]
) -> None:
    """Zeros stand for it; it has no gradient, but its weights are among those of the network."""
    network = tiny(inputs=inputs)
    network(**{name: value for name, value in people().items() if name in inputs}).sum().backward()
    without = {n for n, p in network.named_parameters() if p.grad is None}
    assert {name.partition(".")[0] for name in without} == silent
    assert network.state_dict().keys() == tiny().state_dict().keys()


def test_inputs_and_sides_that_make_no_network_are_refused() -> None:
    """One sentence says what can be."""
    with pytest.raises(
        RecipeError, match="inputs must be of flair, t1, dwi, connectivity, metadata"
    ):
        tiny(inputs=["fmri"])
    with pytest.raises(ModelError, match="built for 'connectivity', which was not given"):
        tiny(inputs=["t1", "connectivity"])(t1=people()["t1"])
    with pytest.raises(RecipeError, match="side must be 64 or 128, not 96"):
        tiny(side=96)
