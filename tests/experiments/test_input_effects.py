# SPDX-License-Identifier: Apache-2.0
"""What inputs add: the published coefficients from the published table, and planted ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encephalon.experiments.input_effects import InputEffect, input_effects, matched_pairs
from encephalon.experiments.results_table import ResultsTable, read_results
from tests.experiments.grid_results import ADDS, made_results, results_with_people

pytest.importorskip("statsmodels")

#: Models, targets and score of each domain, and of each input what it adds, the standard error and
#: the p value where they are published (Ruffle et al. 2024); 0 for less than 0.001.
PUBLISHED = {
    ("constitutional", 28, 4, "balanced_accuracy"): {
        "t1 + flair": (0.0407, 0.0138, 0.003),
        "dwi": (0.0213, None, 0.12),
        "connectivity": (0.0117, None, 0.40),
    },
    ("psychology", 384, 12, "balanced_accuracy"): {
        "t1 + flair": (-0.0139, 0.0016, 0.0),
        "dwi": (-0.0118, None, 0.0),
        "connectivity": (-0.0090, None, 0.0),
        "disease": (0.0037, None, 0.021),
        "serology": (-0.0018, None, 0.25),
    },
    ("disease", 160, 5, "balanced_accuracy"): {
        "t1 + flair": (-0.0041, None, 0.21),
        "dwi": (-0.0099, None, 0.003),
        "connectivity": (-0.0076, None, 0.021),
        "serology": (0.0080, None, 0.015),
        "psychology": (-0.0002, None, 0.95),
    },
    ("serology", 128, 4, "r2"): {
        "t1 + flair": (0.0076, None, 0.021),
        "dwi": (-0.0005, None, 0.89),
        "connectivity": (-0.0254, None, 0.0),
        "disease": (0.0143, None, 0.0),
        "psychology": (-0.0063, None, 0.056),
    },
}


def of_method(found: list[InputEffect], method: str) -> dict[str, InputEffect]:
    """The effects by this method, by the input."""
    return {each.unit: each for each in found if each.method == method}


@pytest.fixture(scope="module")
def published(data: Path) -> ResultsTable:
    """The published table of 700 models."""
    return read_results(data / "published" / "legibility" / "metrics_comparison_test.csv")


@pytest.fixture(scope="module")
def effects(published: ResultsTable) -> list[InputEffect]:
    """What its inputs add."""
    return input_effects(published)


@pytest.mark.data
@pytest.mark.parametrize("domain", PUBLISHED)
def test_the_published_coefficients_are_those_of_the_published_table(
    effects: list[InputEffect], domain: tuple[str, int, int, str]
) -> None:
    """To the last of their four digits, with errors and p values."""
    found = of_method([each for each in effects if each.domain == domain[0]], "published")
    assert found.keys() == PUBLISHED[domain].keys()
    for unit, (estimate, error, p_value) in PUBLISHED[domain].items():
        about = (found[unit].models, found[unit].targets, found[unit].metric)
        assert (domain[0], *about) == domain
        effect = found[unit].effect
        assert effect.estimate == pytest.approx(estimate, abs=1e-4)
        if error is not None:
            assert effect.standard_error == pytest.approx(error, abs=1e-4)
        digits = len(str(p_value).partition(".")[2]) if p_value else 3
        assert abs(effect.p_value - p_value) <= 0.51 * 10**-digits


@pytest.mark.data
def test_honest_errors_of_the_published_table_are_larger(effects: list[InputEffect]) -> None:
    """Of 11 published stars 4 stay once sets are taken for what they are, and all are corrected."""
    methods = ("published", "crossed", "paired")
    stars = {
        name: [each for each in effects if each.method == name and each.effect.p_value < 0.05]
        for name in methods
    }
    counts = {name: (len(some), sum(e.p_holm < 0.05 for e in some)) for name, some in stars.items()}
    assert counts == {"published": (11, 7), "crossed": (7, 4), "paired": (7, 4)}
    for plain, crossed in zip(
        *(of_method(effects, name).values() for name in methods[:2]), strict=True
    ):
        assert crossed.effect.estimate == pytest.approx(plain.effect.estimate, abs=1e-6)
        assert crossed.effect.standard_error > 0.99 * plain.effect.standard_error


@pytest.mark.data
def test_all_inputs_score_below_metadata_alone_in_72_of_84_cells(published: ResultsTable) -> None:
    """In 55 of 60 of classes, by 0.043 on average, and in 17 of 24 of numbers."""
    pairs = matched_pairs(published, ("t1", "flair", "dwi", "connectivity"))
    scores, kinds = published.score().to_numpy(), published.frame["kind"].to_numpy()
    apart = scores[pairs[:, 0]] - scores[pairs[:, 1]]
    classes = kinds[pairs[:, 0]] == "classification"
    assert (len(pairs), (apart < 0).sum()) == (84, 72)
    assert (classes.sum(), (apart[classes] < 0).sum()) == (60, 55)
    assert apart[classes].mean() == pytest.approx(-0.043, abs=5e-4)
    assert (apart[~classes] < 0).sum() == 17


def test_planted_effects_are_found_by_every_method(rng: np.random.Generator) -> None:
    """With every domain in its metric; what adds nothing is told to be too small to matter."""
    found = input_effects(made_results(rng))
    for method in ("published", "crossed", "paired"):
        effects = of_method(found, method)
        estimates = {unit: each.effect.estimate for unit, each in effects.items()}
        assert estimates == pytest.approx(ADDS, abs=0.01)
        assert max(effects[unit].p_holm for unit in ("brain", "blood")) < 0.05
        assert effects["words"].p_equivalent < 0.05 < effects["brain"].p_equivalent
        assert effects["brain"].p_fdr <= effects["brain"].p_holm
    assert {each.method for each in found} == {"published", "crossed", "paired"}


def test_seeds_cross_with_targets_and_sets(rng: np.random.Generator) -> None:
    """Replicates are paired with those of their own seed, and add no sets."""
    parts = [made_results(rng, seed=seed).frame for seed in range(2)]
    both = ResultsTable.of(row for part in parts for row in part.to_dict("records"))
    assert len(matched_pairs(both, ["brain"])) == 2 * len(
        matched_pairs(made_results(rng), ["brain"])
    )
    found = of_method(input_effects(both), "crossed")["brain"]
    assert (found.models, found.effect.freedom) == (80, 4)


def test_pairs_differ_in_nothing_but_what_was_added(rng: np.random.Generator) -> None:
    """All of it or none: a set with a part of it is in no pair."""
    results = made_results(rng)
    pairs = matched_pairs(results, ["brain", "blood"])
    inputs = results.frame["inputs"].to_numpy()[pairs]
    assert {tuple(pair) for pair in inputs} == {
        ("brain + blood + words", "words"),
        ("brain + blood", ""),
    }
    assert matched_pairs(results, ["nothing known"]).shape == (0, 2)


def test_people_say_what_an_input_adds_for_them(tmp_path: Path, rng: np.random.Generator) -> None:
    """Where predictions lie beside the models; hard people are hard for all, and tell nothing."""
    results = results_with_people(tmp_path, rng)
    found = [each for each in input_effects(results) if each.method == "people"]
    size = {each.unit: each for each in found if each.target == "size"}
    assert size["brain"].p_holm < 1e-6
    assert size["words"].effect.standard_error < 0.05
    assert size["words"].p_equivalent < 0.05
    kind = [each.p_holm for each in found if each.target == "kind"]
    assert (len(kind), min(kind) > 0.01) == (3, True)


def test_a_single_target_says_nothing_of_others(rng: np.random.Generator) -> None:
    """And inputs that exclude each other cannot be told apart."""
    results = made_results(rng)
    assert input_effects(results.where(target="target 1")) == []
    alone = results.frame[results.frame["inputs"].isin(["brain", "blood"])]
    some = ResultsTable(alone.reset_index(drop=True))
    assert input_effects(some) == []
