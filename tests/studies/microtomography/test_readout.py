# SPDX-License-Identifier: Apache-2.0
"""Read-outs and probes: what is there is found, what is not there is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from encephalon.errors import UsageError
from encephalon.studies.microtomography.readout import PROBES, Parts, probe, read_out

SPLIT = np.repeat(np.array(["train", "validation", "test"]), [200, 60, 80])


def parts(seed: int, width: int = 40) -> Parts:
    """Representations of noise, in groups of ten tiles."""
    features = np.random.default_rng(seed).normal(size=(len(SPLIT), width))
    return Parts(features, SPLIT, [f"g{n // 10}" for n in range(len(SPLIT))])


def test_what_is_linear_in_the_representation_is_read_out_of_tiles_never_fitted() -> None:
    known = parts(0)
    found = read_out(known, "vessels", known.features @ np.arange(40.0) + 1e6)
    assert found.r2.value > 0.999
    assert found.r2.low <= found.r2.value <= found.r2.high
    assert found.r2.units == 8
    assert found.floor < 0.1


def test_noise_is_read_out_in_the_sample_and_nowhere_else() -> None:
    known = parts(1, width=100)
    found = read_out(known, "noise", np.random.default_rng(2).normal(size=len(SPLIT)))
    # F features of N tiles explain about F / N of anything.
    assert found.in_sample == pytest.approx(100 / 340, abs=0.08)
    assert found.in_sample_floor == pytest.approx(100 / 340, abs=0.08)
    assert found.r2.value < 0.1


def test_tiles_that_lack_the_feature_are_left_out() -> None:
    known = parts(3)
    values = known.features[:, 0].copy()
    values[-10:] = np.nan
    assert read_out(known, "cell_size", values).tiles == 70
    values[SPLIT == "validation"] = np.nan
    alone = read_out(known, "cell_size", values)
    assert np.isnan(alone.r2.value)
    assert alone.in_sample > 0.99


def test_what_is_read_out_does_not_depend_on_tiles_that_lack_the_feature() -> None:
    """Nor on their representations, which may lie elsewhere: as those of tiles without a cell."""
    known = parts(10, width=2)
    values = known.features[:, 0].copy()
    lacking = np.arange(len(SPLIT)) % 2 == 0
    values[lacking] = np.nan
    far = Parts(known.features + 50 * lacking[:, None], SPLIT, known.groups)
    assert read_out(far, "cell_size", values).r2.value > 0.9


@pytest.mark.parametrize("kind", PROBES)
def test_probes_tell_apart_what_is_apart_and_shuffled_classes_by_chance(kind: str) -> None:
    known = parts(4, width=8)
    truth = (known.features[:, 0] > 0).astype(np.int64) + 2 * (known.features[:, 1] > 0)
    apart = Parts(
        known.features + 20 * np.eye(8)[truth], SPLIT, known.groups
    )  # each class around a corner of its own
    test = SPLIT == "test"
    found = probe(apart, kind, truth)  # type: ignore[arg-type]
    assert (found.predicted == truth)[test].mean() == 1
    shuffled = np.random.default_rng(5).permutation(truth)
    assert (probe(apart, kind, shuffled).predicted == shuffled)[test].mean() < 0.5  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", PROBES)
def test_the_hyper_parameter_is_chosen_without_the_tiles_that_test(kind: Any) -> None:
    """Whatever these look like, and whatever they are: choice and fit stay what they are."""
    known, test = parts(8, width=8), SPLIT == "test"
    noise = np.random.default_rng(9).normal(size=len(SPLIT))
    truth = (known.features[:, 0] + noise > 0).astype(np.int64)
    found = probe(known, kind, truth)
    moved = np.where(test[:, None], -3 * known.features, known.features)
    other = probe(Parts(moved, SPLIT, known.groups), kind, np.where(test, 1 - truth, truth))
    assert other.chosen == found.chosen
    assert np.array_equal(other.predicted[~test], found.predicted[~test])
    values = known.features[:, 0] + noise
    one, two = (read_out(known, "x", np.where(test, sign * values, values)) for sign in (1, -1))
    assert one.penalty == two.penalty
    assert one.r2.value > two.r2.value


def test_tiles_without_a_class_are_not_learnt() -> None:
    known = parts(6)
    truth = (known.features[:, 0] > 0).astype(np.int64)
    hidden = np.where(np.arange(len(truth)) % 2, -1, truth)
    assert set(probe(known, "linear", hidden).predicted) == {0, 1}


def test_a_representation_that_is_no_number_is_refused_with_its_tile() -> None:
    features = np.zeros((len(SPLIT), 3))
    features[7, 1] = np.nan
    with pytest.raises(UsageError, match="tile 7 holds NaN"):
        Parts(features, SPLIT, ["g"] * len(SPLIT))
