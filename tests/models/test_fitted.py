# SPDX-License-Identifier: Apache-2.0
"""What training leaves behind: how logits are read, and which images are like the known ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encephalon.errors import ModelError
from encephalon.models.fitted import FittedState, score_logits
from encephalon.studies.micrographs.quality import check_quality
from tests.studies.micrographs.linear_model import CALIBRATION, write_model


def test_the_published_score_looks_at_the_second_logit_alone() -> None:
    """sigmoid(z1) is the likelihood whatever z0 says; softmax depends on both."""
    logits = np.array([[0.0, 0.2], [5.0, 0.2], [-900.0, -900.0]])
    published = score_logits(logits, "sigmoid_logit1")
    assert published[0, 1] == published[1, 1] == pytest.approx(1 / (1 + np.exp(-0.2)))
    assert published[2].tolist() == [1.0, 0.0]
    softmax = score_logits(logits, "softmax")
    assert softmax[1, 1] < 0.01 < softmax[0, 1]
    assert score_logits(logits, "softmax", CALIBRATION)[0, 1] < softmax[0, 1]


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A [preprocessing] without classes, or with a score that nobody knows, is one sentence."""
    for wrong in ({}, {"classes": ["a", "b"], "score": "best"}, {"classes": 3}):
        with pytest.raises(ModelError, match="not that of a classifier"):
            FittedState.from_dict(wrong, "model x")


def test_what_is_learnt_survives_the_model_file(tmp_path: Path) -> None:
    """Written to model.toml and read again it is the same."""
    model = write_model(
        tmp_path / "m", ranges={"contrast": (0.1, 0.2)}, scaling={"age": (1.0, 2.0)}
    )
    learned = FittedState.from_dict(model.description.preprocessing, "m")
    assert learned.ranges == {"contrast": (0.1, 0.2)}
    assert learned.scaling == {"age": (1.0, 2.0)}
    assert learned.calibration == CALIBRATION
    assert FittedState.from_dict(learned.as_dict(), "m") == learned


@pytest.mark.parametrize(
    ("facts", "status", "words"),
    [
        ({"contrast": 0.5, "rows": 1000.0, "pixel_size_nm": 4.5}, "ok", ""),
        ({"contrast": 0.64, "rows": 1400.0, "pixel_size_nm": 6.0}, "ok", ""),
        ({"contrast": 0.9, "rows": 1000.0, "pixel_size_nm": 4.5}, "check", "contrast is 0.9"),
        ({"contrast": 0.5, "rows": 400.0, "pixel_size_nm": 4.5}, "check", "number of rows is 400"),
        ({"contrast": 0.5, "rows": 1000.0, "pixel_size_nm": 9.0}, "check", "pixel size in nm is 9"),
        ({"contrast": 0.5, "rows": 1000.0}, "check", "pixel size in nm is not known"),
    ],
)
def test_images_unlike_the_training_images_are_flagged(
    facts: dict[str, float], status: str, words: str
) -> None:
    """Facts outside their training range, with some room, say so in words."""
    ranges = {"contrast": (0.4, 0.6), "rows": (1000.0, 1000.0), "pixel_size_nm": (4.0, 5.0)}
    quality = check_quality(facts, ranges)
    assert quality is not None
    assert quality.status == status
    assert words in "; ".join(quality.reasons)
    assert (quality.status == "ok") == (not quality.reasons)


def test_nothing_is_said_where_nothing_is_known_of_training() -> None:
    """Published weights come without ranges, and a NaN range is none."""
    assert check_quality({"contrast": 0.5}, {}) is None
    assert check_quality({"contrast": 0.5}, {"pixel_size_nm": (float("nan"), 1.0)}) is None
