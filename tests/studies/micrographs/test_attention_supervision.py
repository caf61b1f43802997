# SPDX-License-Identifier: Apache-2.0
"""Where a network is told to look lies where the box lies, however the picture is varied."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from encephalon.errors import RecipeError
from encephalon.networks import build_network
from encephalon.recipes.loading import load_recipe
from encephalon.studies.micrographs.settings import network_options
from encephalon.studies.micrographs.task import AttentionSupervision, make_attention_supervision
from encephalon.transforms.planar import Augmentation
from encephalon.transforms.resize import View

STILL = Augmentation(np.eye(2))
MIRRORED = Augmentation(np.diag([-1.0, 1.0]))
#: 64 pixels in cells of 8; the box covers the pixels that cell (2, 5) is centred in: 16 and 40.
BOX = (40.5 / 64, 16.5 / 64, 8 / 64, 8 / 64)
#: A raw image of twice the rows, shown in the middle half of the picture's columns.
TALL = View((128, 64), (64, 64), (2.0, 2.0), (0.5, -31.5), (0, 128, 0, 64), even=False)


def _dataset(row: dict[str, str], view: View) -> Any:
    return SimpleNamespace(shape=(1, 64, 64), views=[view], cells=lambda: [row])


def _recipe(**changes: str) -> Any:
    return load_recipe("tumour-slices", {key.replace("__", "."): v for key, v in changes.items()})


def _row(box: tuple[float, ...]) -> dict[str, str]:
    return dict(zip(("box_x", "box_y", "box_w", "box_h"), map(str, box), strict=True))


def test_the_wish_is_highest_in_the_cell_that_sees_the_box() -> None:
    """A padded network of stride 8 centres its cell (2, 5) at the pixel (16, 40)."""
    target = AttentionSupervision([BOX], 64, 8).targets(np.array([0]), [STILL])[0].view(8, 8)
    assert divmod(int(target.argmax()), 8) == (2, 5)
    assert target.max() > 0.7
    assert target.sum().item() == pytest.approx(1.0, abs=0.05)


def test_the_wish_is_mirrored_with_the_picture() -> None:
    """Left and right change places, as in the picture that the network is shown."""
    target = AttentionSupervision([BOX], 64, 8).targets(np.array([0]), [MIRRORED])[0].view(8, 8)
    assert int(target.sum(dim=0).argmax()) in {2, 3}
    assert int(target.sum(dim=1).argmax()) == 2


def test_nothing_is_wished_where_no_box_is_known() -> None:
    """Such a picture has negative targets, which the loss leaves out."""
    targets = AttentionSupervision([None, BOX], 64, 8).targets(np.array([0, 1]), [STILL, STILL])
    assert (targets[0] == -1).all()
    assert (targets[1] >= 0).all()


def test_boxes_of_the_raw_image_are_found_again_in_the_picture() -> None:
    """The middle of the raw image is the middle of the picture, and its sizes are halved."""
    recipe = _recipe()
    network = build_network(recipe.network.name, network_options(recipe))
    supervision = make_attention_supervision(
        recipe, _dataset(_row((0.5, 0.25, 0.5, 0.25)), TALL), network
    )
    assert supervision is not None
    assert supervision.grid == 8
    assert supervision.boxes[0] == pytest.approx((0.5, 0.25, 0.25, 0.25))


def test_a_recipe_without_the_loss_asks_for_nothing() -> None:
    """The network keeps its attention to itself, and its statistics as they were."""
    recipe = load_recipe("micrographs")
    network = build_network(recipe.network.name, network_options(recipe))
    assert make_attention_supervision(recipe, _dataset({}, TALL), network) is None
    assert not network.shows_attention


def test_looking_for_the_grid_changes_nothing_in_the_network() -> None:
    """Weights and running statistics are those from before."""
    recipe = _recipe()
    network = build_network(recipe.network.name, network_options(recipe)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    make_attention_supervision(recipe, _dataset(_row(BOX), TALL), network)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network__options__pooling": "mean"}, "needs a network that attends"),
        ({"study__augmentation__mixup": "0.2"}, "cannot look at two mixed pictures"),
    ],
)
def test_supervision_that_cannot_be_is_refused(changes: dict[str, str], sentence: str) -> None:
    """One sentence says which key to change."""
    recipe = _recipe(**changes)
    network = build_network(recipe.network.name, network_options(recipe))
    with pytest.raises(RecipeError, match=sentence):
        make_attention_supervision(recipe, _dataset(_row(BOX), TALL), network)
