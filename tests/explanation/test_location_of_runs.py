# SPDX-License-Identifier: Apache-2.0
"""Shares of maps are measured in the raw image, beside priors that saw no more."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from encephalon.evaluation.predictions import Predictions
from encephalon.experiments.attribution import examples
from encephalon.explanation.gradcam import grad_cam
from encephalon.explanation.location import box_of, locate_maps, summarise, weigh
from encephalon.io.atomic import json_text
from encephalon.transforms.resize import View
from tests.studies.micrographs.standing_in import Grains

WHOLE = View((80, 80), (8, 8), (10.0, 10.0), (4.5, 4.5), (0, 80, 0, 80))
LEFT = View((80, 80), (8, 8), (10.0, 10.0), (4.5, 4.5), (0, 80, 0, 40))
CORNER = (0.2, 0.2, 0.3, 0.3)


def _map(row: int, column: int) -> np.ndarray:
    values = np.zeros((8, 8), np.float32)
    values[row, column] = 3
    return values


def test_a_map_in_the_box_beats_the_centre_and_one_elsewhere_does_not() -> None:
    """The verdict is that of the paired difference's lower end, groups drawn as wholes."""
    maps = [WHOLE.to_raw(_map(1, 1))] * 4
    good = summarise([weigh(one, CORNER) for one in maps], ["a", "a", "b", "c"])
    assert good is not None
    assert (good.n, good.share.units, good.hits.value) == (4, 3, 1)
    assert good.share.value > 0.9
    assert good.uniform.value == pytest.approx(0.09, abs=0.001)
    assert good.difference.value == pytest.approx(good.share.value - good.centre_prior.value)
    assert good.beats_centre
    bad = summarise([weigh(WHOLE.to_raw(_map(6, 6)), CORNER)] * 4)
    assert bad is not None
    assert (bad.share.value, bad.hits.value, bad.beats_centre) == (0, 0, False)
    assert '"difference"' in json_text(good)


def test_images_without_a_box_are_left_out_with_their_groups() -> None:
    """A table may name boxes for some images only; without any there is nothing to say."""
    one = weigh(WHOLE.to_raw(_map(1, 1)), CORNER)
    found = summarise([None, one, one], ["a", "b", "b"])
    assert found is not None
    assert (found.n, found.share.units) == (2, 1)
    assert np.isnan(found.share.low)
    assert summarise([None]) is None


def test_priors_are_cut_to_what_the_network_saw() -> None:
    """A box in an unseen half has no share of anything; one in the seen half has twice its area."""
    unseen = weigh(LEFT.to_raw(_map(1, 1)), (0.75, 0.5, 0.2, 0.2))
    assert (unseen.share, unseen.centre_prior, unseen.uniform) == (0, 0, 0)
    assert weigh(LEFT.to_raw(_map(1, 1)), (0.25, 0.5, 0.2, 0.2)).uniform == pytest.approx(0.08)


def _pictures(count: int) -> tuple[list[Any], list[Any]]:
    """Pictures of 32 x 32 pixels, half of the raw size, with a dark square; and its box."""
    rng = np.random.default_rng(0)
    pictures, boxes = [], []
    for _ in range(count):
        row, column = 4 * rng.integers(0, 7, 2)
        image = rng.normal(0.5, 0.1, (1, 32, 32)).astype(np.float32)
        image[0, row : row + 4, column : column + 4] = -2
        view = View((64, 80), (32, 32), (2.0, 2.5), (0.5, 0.75), (0, 64, 0, 80))
        pictures.append(SimpleNamespace(image=image, view=view))
        boxes.append(((column + 2) / 32, (row + 2) / 32, 0.25, 0.25))
    return pictures, boxes


def test_the_maps_of_a_network_are_located_in_the_raw_images() -> None:
    """The dark square of each of eleven pictures is where its map is; two of them have no box."""
    pictures, boxes = _pictures(11)
    known = [None, *boxes[1:10], None]
    inputs = torch.tensor(np.stack([one.image for one in pictures])), torch.zeros(11, 2)
    maps = grad_cam(Grains(), inputs, "encoder.layer4", [1] * 11)
    found = locate_maps(maps, [one.view for one in pictures], known)
    assert found is not None
    assert (found.n, found.hits.value) == (9, 1)
    assert found.share.value > 0.8
    assert found.beats_centre


def test_a_box_is_four_numbers_of_a_row() -> None:
    """A missing column, an empty cell or a word is no box."""
    names = ("x", "y", "w", "h")
    row = {"x": "0.1", "y": 0.2, "w": "0.3", "h": "0.4"}
    assert box_of(row, names) == (0.1, 0.2, 0.3, 0.4)
    for broken in ({**row, "h": None}, {**row, "h": "tall"}, {"x": "0.1"}, {**row, "h": "nan"}):
        assert box_of(broken, names) is None
    assert box_of(row, None) is None


def _scored(likelihoods: list[float]) -> Predictions:
    p = np.array(likelihoods)
    count = len(p)
    return Predictions(
        ids=[f"S{n}" for n in range(count)],
        classes=("Young", "Aged"),
        logits=np.zeros((count, 2)),
        y_prob=np.stack([1 - p, p], axis=1),
        y_true=np.array([1, -1] * count)[:count],
        rows=[{}] * count,
        fold=np.zeros(count, np.int64),
    )


def test_examples_are_the_most_and_the_least_certain() -> None:
    """Surest first, least sure first, none twice, and only those shown are read."""
    scored = _scored([0.5, 0.99, 0.2, 0.02, 0.6])
    read: list[int] = []

    def plane(place: int) -> np.ndarray:
        read.append(place)
        return np.arange(6400, dtype=np.uint16).reshape(80, 80)

    maps = {place: _map(1, 1) for place in range(4)}
    most, least = examples(scored, maps, [WHOLE] * 5, plane, count=2)
    assert [one.id for one in most] == ["S1", "S3"]
    assert [one.id for one in least] == ["S0", "S4"]
    assert sorted(read) == [0, 1, 3, 4]
    assert (most[1].predicted, most[1].probability, most[1].truth) == ("Young", 0.98, None)
    assert (least[0].predicted, least[0].truth) == ("Young", "Aged")
    assert most[0].picture.size == (320, 320)
    assert (len(most[0].picture.layers), len(least[1].picture.layers)) == (1, 0)


def test_few_images_are_shown_once() -> None:
    """Three images are two sure ones and one unsure one, however many were asked for."""
    most, least = examples(_scored([0.5, 0.9, 0.7]), {}, [WHOLE] * 3, lambda _: np.eye(80), count=6)
    assert ([one.id for one in most], [one.id for one in least]) == (["S1", "S2"], ["S0"])
