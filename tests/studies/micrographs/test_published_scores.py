# SPDX-License-Identifier: Apache-2.0
"""Every published or recomputed figure of 3BTRON comes out to the printed digit.

Each fact is checked on the 35 likelihoods rounded to four places; where the folder of real data is,
these figures are compared with the published files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, mannwhitneyu

from encephalon.evaluation.traffic_light import (
    best_pair,
    breakdown,
    colours,
    score_pairs,
)
from encephalon.metrics.classification import (
    Confusion,
    classification_metrics,
    classification_scores,
    confusion,
)
from encephalon.statistics.intervals import proportion
from tests.studies.micrographs.published_demographics import demographics, middle_aged
from tests.studies.micrographs.published_scores import AMBER, GREEN, LIKELIHOOD, ROWS, TRUTH


class Scores:
    """Likelihoods (35,), truth (35,) and rows with `Sex` and `Brain Region`."""

    def __init__(
        self, likelihood: NDArray[np.float64], truth: NDArray[np.int64], rows: list[dict[str, Any]]
    ) -> None:
        self.likelihood, self.truth, self.rows = likelihood, truth, rows

    def where(self, keep: NDArray[np.bool_]) -> Scores:
        """A part of the images."""
        rows = [self.rows[i] for i in np.flatnonzero(keep)]
        return Scores(self.likelihood[keep], self.truth[keep], rows)

    def of(self, column: str, value: str) -> Scores:
        """The images of one stratum."""
        return self.where(np.array([row[column] == value for row in self.rows]))

    @property
    def decided(self) -> Scores:
        """Those that are green or red."""
        return self.where((self.likelihood <= GREEN) | (self.likelihood > AMBER))

    def at(self, cut: float) -> Confusion:
        """The table of right and wrong when likelihoods above the cut are called aged."""
        return confusion(self.truth, self.likelihood > cut)


@pytest.fixture
def scores() -> Scores:
    """The 35 test images."""
    return Scores(LIKELIHOOD, TRUTH, list(ROWS))


def rounded(table: Confusion) -> tuple[float, ...]:
    """Sensitivity, specificity, precision, F1, J and accuracy with three decimals."""
    values = (table.sensitivity, table.specificity, table.precision, table.f1, table.youden)
    return tuple(round(value, 3) for value in (*values, table.accuracy))


def test_the_headline_excludes_amber(scores: Scores) -> None:
    """7/2/8/2 of 19 images: sensitivity 77.8 %, specificity 80.0 %."""
    table = scores.decided.at(AMBER)
    assert (table.tp, table.fn, table.tn, table.fp, table.n) == (7, 2, 8, 2, 19)
    assert rounded(table) == (0.778, 0.8, 0.778, 0.778, 0.578, 0.789)


def test_all_images_at_one_half(scores: Scores) -> None:
    """11/5/10/9 of 35 images: hardly better than chance."""
    table = scores.at(0.5)
    assert (table.tp, table.fn, table.tn, table.fp) == (11, 5, 10, 9)
    assert rounded(table) == (0.688, 0.526, 0.55, 0.611, 0.214, 0.6)


def test_amber_as_negative(scores: Scores) -> None:
    """7/9/17/2 of 35 images when only red is called aged."""
    table = scores.at(AMBER)
    assert (table.tp, table.fn, table.tn, table.fp) == (7, 9, 17, 2)
    assert rounded(table) == (0.438, 0.895, 0.778, 0.56, 0.332, 0.686)


def test_colours_are_counted(scores: Scores) -> None:
    """Green 10, amber 16, red 9: 28.6 %, 45.7 %, 25.7 %."""
    (total,) = breakdown(colours(scores.likelihood, GREEN, AMBER), scores.rows, ())
    assert total == {"Green": 10, "Amber": 16, "Red": 9, "n": 35}
    pairs = score_pairs(scores.likelihood, scores.truth, "excluded")
    row = next(row for row in pairs if (row["green"], row["amber"]) == (GREEN, AMBER))
    ratios = [row[f"{light}_ratio"] for light in ("green", "amber", "red")]
    assert [round(ratio, 3) for ratio in ratios] == [0.286, 0.457, 0.257]
    assert round(row["amber_ratio"], 4) == 0.4571


def test_ranking_and_honesty(scores: Scores) -> None:
    """ROC-AUC 0.701 (0.767 without amber), PR-AUC 0.639, Brier 0.241."""
    known = classification_metrics(scores.truth, scores.likelihood)
    found = [round(known[name].value, 3) for name in ("roc_auc", "pr_auc", "brier")]
    assert found == [0.701, 0.639, 0.241]
    decided = classification_scores(scores.decided.truth, scores.decided.likelihood)
    assert round(decided["roc_auc"], 3) == 0.767


def test_the_area_has_the_published_interval(scores: Scores) -> None:
    """Bootstrap 0.51 to 0.87; a hundredth either way is the noise of 2000 draws."""
    interval = classification_metrics(scores.truth, scores.likelihood)["roc_auc"].interval()
    assert interval.low == pytest.approx(0.51, abs=0.015)
    assert interval.high == pytest.approx(0.87, abs=0.015)


def test_the_headline_has_the_published_intervals(scores: Scores) -> None:
    """Exact 0.40-0.97 and 0.44-0.97, Wilson 0.45-0.94 and 0.49-0.94."""
    table = scores.decided.at(AMBER)
    found = [
        (round(interval.low, 2), round(interval.high, 2))
        for method in ("exact", "wilson")
        for interval in (
            proportion(table.tp, table.tp + table.fn, method=method),  # type: ignore[arg-type]
            proportion(table.tn, table.tn + table.fp, method=method),  # type: ignore[arg-type]
        )
    ]
    assert found == [(0.40, 0.97), (0.44, 0.97), (0.45, 0.94), (0.49, 0.94)]


def test_the_two_classes_differ_by_mann_whitney(scores: Scores) -> None:
    """p 0.045, and U over all pairs is the area that we compute."""
    aged = scores.truth == 1
    test = mannwhitneyu(scores.likelihood[aged], scores.likelihood[~aged])
    assert round(test.pvalue, 3) == 0.045
    area = classification_scores(scores.truth, scores.likelihood)["roc_auc"]
    assert test.statistic / (aged.sum() * (~aged).sum()) == pytest.approx(area)


@pytest.mark.parametrize(
    ("column", "value", "n", "aged", "lights", "auc", "at_half", "decided", "kept"),
    [
        ("Sex", "Female", 17, 8, (5, 8, 4), 0.750, (0.750, 0.556), (0.750, 0.800), 9),
        ("Sex", "Male", 18, 8, (5, 8, 5), 0.662, (0.625, 0.500), (0.800, 0.800), 10),
        ("Brain Region", "CC", 17, 7, (3, 9, 5), 0.714, (0.857, 0.200), (0.800, 0.667), 8),
        ("Brain Region", "HC", 7, 3, (2, 3, 2), 0.750, (0.333, 0.750), (1.000, 0.667), 4),
        ("Brain Region", "PFC", 11, 6, (5, 4, 2), 0.867, (0.667, 1.000), (0.667, 1.000), 7),
    ],
)
def test_the_strata(
    scores: Scores,
    column: str,
    value: str,
    n: int,
    aged: int,
    lights: tuple[int, int, int],
    auc: float,
    at_half: tuple[float, float],
    decided: tuple[float, float],
    kept: int,
) -> None:
    """Each row of the published strata: sizes, lights, area, and both pairs of rates."""
    part = scores.of(column, value)
    assert (len(part.rows), int(part.truth.sum())) == (n, aged)
    counts = breakdown(colours(part.likelihood, GREEN, AMBER), part.rows, (column,))
    green, amber, red = lights
    assert counts == [{column: value, "Green": green, "Amber": amber, "Red": red, "n": n}]
    assert round(classification_scores(part.truth, part.likelihood)["roc_auc"], 3) == auc
    for table, expected in ((part.at(0.5), at_half), (part.decided.at(AMBER), decided)):
        assert (round(table.sensitivity, 3), round(table.specificity, 3)) == expected
    assert part.decided.at(AMBER).n == kept


SWEEP = {
    0.10: (7, 0.800, 0.500, 0.300),
    0.15: (11, 0.833, 0.600, 0.433),
    0.20: (15, 0.875, 0.714, 0.589),
    0.25: (19, 0.778, 0.800, 0.578),
    0.30: (23, 0.700, 0.692, 0.392),
    0.35: (27, 0.667, 0.667, 0.333),
    0.40: (30, 0.667, 0.667, 0.333),
    0.45: (33, 0.667, 0.556, 0.222),
}


def test_the_threshold_sweep(scores: Scores) -> None:
    """Kept, sensitivity, specificity and J of the symmetric pairs; 0.05 / 0.95 is skipped."""
    found = {
        row["green"]: (
            int(row["n"]),
            *(round(row[name], 3) for name in ("sensitivity", "specificity", "youden")),
        )
        for row in score_pairs(scores.likelihood, scores.truth, "excluded")
        if round(row["green"] + row["amber"], 9) == 1
    }
    assert found == SWEEP


def test_the_published_pair_is_the_best_of_the_allowed(scores: Scores) -> None:
    """0.25 / 0.75 has the highest J of the five pairs, and lies on the edge of what is allowed."""
    rows = score_pairs(scores.likelihood, scores.truth, "excluded")
    chosen = best_pair([rows])
    assert chosen is not None
    assert (chosen.green, chosen.amber) == (GREEN, AMBER)
    wider = best_pair([rows], widest=0.6)
    assert wider is not None
    assert (wider.green, wider.amber) == (0.2, 0.8)


def test_the_middle_aged_are_counted() -> None:
    """52 images: 6/24/22; CC 4/9/16 and PFC 2/15/6 differ with chi-square 6.10, p 0.047."""
    rows = middle_aged()
    lights = [row["Traffic Lights"] for row in rows]
    assert breakdown(lights, rows, ("Sex",)) == [
        {"Sex": "Female", "Green": 6, "Amber": 24, "Red": 22, "n": 52}
    ]
    regions = breakdown(lights, rows, ("Brain Region",))
    assert [(part["Brain Region"], part["n"]) for part in regions] == [("CC", 29), ("PFC", 23)]
    counts = [[part["Green"], part["Amber"], part["Red"]] for part in regions]
    assert counts == [[4, 9, 16], [2, 15, 6]]
    test = chi2_contingency(counts)
    assert (round(test.statistic, 2), test.dof, round(test.pvalue, 3)) == (6.10, 2, 0.047)


@pytest.mark.data
def test_these_figures_are_the_published_ones(data: Path) -> None:
    """Likelihoods to four places, lights, demographics, and the lights of the middle-aged."""
    folder = data / "published/3btron"
    table = pd.read_csv(folder / "ResNet50_deep_look.csv").round(4)
    assert colours(table["Age Likelihood"], GREEN, AMBER) == table["Traffic Lights"].tolist()
    columns = ["True Labels", "Age Likelihood", "Sex", "Brain Region"]
    ours = pd.DataFrame(ROWS).assign(**{"True Labels": TRUTH, "Age Likelihood": LIKELIHOOD})
    assert sorted(ours[columns].to_numpy().tolist()) == sorted(table[columns].to_numpy().tolist())
    rows = pd.read_csv(folder / "single_image_demographics.csv", dtype=str)
    known = pd.DataFrame(demographics()).drop(columns="Image ID")  # some vessels were left out
    assert known.equals(rows[list(known)])
    lights = pd.read_csv(folder / "middle_age_deep_look.csv").to_numpy().tolist()
    assert sorted(lights) == sorted(pd.DataFrame(middle_aged()).to_numpy().tolist())
