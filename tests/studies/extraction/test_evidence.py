# SPDX-License-Identifier: Apache-2.0
"""Evidence of a mask in numbers, and the error that is expected of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from encephalon.geometry.affine import Affine, Grid
from encephalon.studies.extraction.segmentation.boundary import Boundary, predict_boundary
from encephalon.studies.extraction.segmentation.evidence import (
    evidence_of,
    expected_error,
    share_near_faces,
)
from encephalon.studies.extraction.segmentation.localisation import BrainLocation, View
from encephalon.studies.extraction.settings import ErrorModel, Fit
from tests.studies.extraction.ball import ball_image, ball_predictor

LOOKS = {"mirror", "turn"}
SEEN = {
    "coarse",
    "soft",
    "slope",
    "pieces",
    "tissue",
    "volume",
    "faces",
    "across",
    "bare",
    "spacing",
}


def fit(**changes: Any) -> Fit:
    """One that knows a single number, whose every coefficient is 1."""
    lines = dict.fromkeys(("good", "loss", "missed", "leaked"), (0.0, 1.0))
    one: dict[str, Any] = {"evidence": ("slope",), "centre": (2.0,), "scale": (0.5,), **lines}
    return Fit(**one | changes)


@pytest.mark.parametrize("fast", [False, True])
def test_every_look_that_was_taken_has_a_number(fast: bool) -> None:
    """A fast prediction has neither a mirror nor a turn; all numbers are finite."""
    predictor, image = ball_predictor(), ball_image()
    borders = predict_boundary(
        image, predictor.settings, predictor.network, predictor.network, fast=fast
    )
    told = evidence_of(borders, image.grid)
    assert set(told) == SEEN | (set() if fast else LOOKS)
    assert np.isfinite(list(told.values())).all()


def test_each_number_is_what_the_fit_knows_it_as() -> None:
    """By hand, for a ball of 16 mm in voxels of 2 mm, drawn alike on both grids."""
    grid = Grid((24, 24, 24), Affine.from_spacing(2.0))
    ball = 16 - 2 * np.linalg.norm(np.mgrid[:24, :24, :24] - 11.5, axis=0).astype(np.float32)
    view = View(grid, np.zeros(grid.shape, np.float32), np.ones(grid.shape, bool))
    both = np.stack([ball, ball - 2])
    borders = Boundary(
        BrainLocation(view, both / 2),
        view,
        both,
        mirror=0.9,
        turn=None,
        slope_error=0.1,
        second_piece=0.04,
        bare=0.3,
        across={"top": 9.0, "left": 16.0},
    )
    brain, tissue = np.count_nonzero(ball > 0), np.count_nonzero(ball > 2)
    doubted = np.sum(1 / (1 + np.exp(np.abs(ball, dtype=np.float64))))
    assert evidence_of(borders, grid) == pytest.approx(
        {
            "mirror": np.log(0.1),
            "coarse": np.log(0.002),
            "soft": np.log(doubted / (2 * brain)),
            "slope": np.log(0.1),
            "pieces": 0.2,
            "tissue": abs(tissue / brain - 0.85),
            "volume": abs(np.log(brain * 0.008 / 1400)),
            "faces": 0.0,
            "across": 0.5,
            "bare": 0.3,
            "spacing": 2.0,
        },
        rel=1e-4,
    )


def test_the_error_is_linear_in_standard_evidence() -> None:
    """By hand: 2.5 is one standard deviation above the mean of 2."""
    told = expected_error({"slope": 2.5, "other": 9.0}, ErrorModel(fits=(fit(loss=(-3.0, 1.0)),)))
    assert told is not None
    assert told.good == pytest.approx(1 / (1 + np.exp(-1)))
    assert told.dice == pytest.approx(1 - np.exp(-2))
    assert told.missed_ml == told.leaked_ml == pytest.approx(np.e - 1)


def test_evidence_far_beyond_the_known_counts_no_more() -> None:
    """The line ends at four standard deviations, and no number leaves its bounds."""
    model = ErrorModel(fits=(fit(),))
    far, further = (expected_error({"slope": value}, model) for value in (4.0, 400.0))
    assert far == further
    low = expected_error({"slope": -400.0}, model)
    assert low is not None
    assert (low.missed_ml, 0 <= low.dice <= 1) == (0.0, True)


def test_the_fit_that_knows_most_of_what_was_seen_is_asked() -> None:
    """With a mirror the one that knows it; without, the other; without either, none."""
    both = fit(
        evidence=("slope", "mirror"),
        centre=(0.0, 0.0),
        scale=(1.0, 1.0),
        **dict.fromkeys(("good", "loss", "missed", "leaked"), (5.0, 0.0, 0.0)),
    )
    model = ErrorModel(fits=(fit(), both))
    answers = [
        expected_error(told, model) for told in ({"slope": 2.0, "mirror": 0.0}, {"slope": 2.0}, {})
    ]
    assert answers[0] is not None
    assert answers[1] is not None
    assert answers[0].good > 0.99
    assert answers[1].good == 0.5
    assert answers[2] is None


def test_coefficients_must_fit_the_evidence() -> None:
    """One a number, and an intercept."""
    with pytest.raises(ValidationError, match="coefficients must be 1 and an intercept"):
        fit(good=(0.0,))


def test_the_share_near_a_face_is_that_of_the_border_within_six_millimetres() -> None:
    """A slab whose upper border lies 5, then 7 mm below the last face, its lower one far away."""
    grid = Grid((20, 20, 40), Affine.from_spacing(1.0))
    height = np.broadcast_to(np.arange(40.0), (20, 20, 40))
    wide = Grid((200, 200, 40), Affine.from_spacing(1.0, (-90.0, -90.0, 0.0)))
    for edge, share in ((34.5, 0.5), (32.5, 0.0)):
        distance = np.minimum(edge - 0.2 - height, height - 14.8).astype(np.float32)
        assert share_near_faces(distance, grid, wide) == pytest.approx(share, abs=0.01)


def test_a_border_that_is_nowhere_is_near_nothing() -> None:
    """An empty mask has no surface."""
    grid = Grid((8, 8, 8), Affine.from_spacing(1.0))
    assert share_near_faces(np.full((8, 8, 8), -9.0, np.float32), grid, grid) == 0.0
