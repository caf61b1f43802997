# SPDX-License-Identifier: Apache-2.0
"""A graph of targets says of every two what people and what models have of them in common."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from encephalon.errors import TableError, UsageError
from encephalon.experiments.best_inputs import best_inputs
from encephalon.experiments.results_table import ResultsTable, read_results
from encephalon.experiments.target_graph import TargetGraph, graph_of_targets, target_values
from encephalon.tables.schema import Columns, Table

SETS = (("t1",), ("dwi",), ("t1", "dwi"))
#: Balanced accuracy or R² by target, at each of SETS.
SCORES = {"sex": (0.9, 0.8, 0.95), "mood": (0.5, 0.55, 0.55), "worry": (0.5, 0.6, 0.55)}
NUMBERS = {"age": (0.8, 0.6, 0.9), "fat": (0.8, 0.6, -0.5)}


def _rows() -> Iterator[dict[str, Any]]:
    for metric, targets in (("balanced_accuracy", SCORES), ("r2", NUMBERS)):
        kind = "regression" if metric == "r2" else "classification"
        for target, scores in targets.items():
            for inputs, score in zip(SETS, scores, strict=True):
                always = () if target == "sex" else ("blood",)
                about = {"target": target, "kind": kind, "domain": target[0]}
                yield {**about, "inputs": (*inputs, *always), metric: score, "model": "m"}


@pytest.fixture(scope="module")
def people() -> dict[str, NDArray[np.float64]]:
    """Two groups of targets of 300 people, each with a cause in common."""
    rng = np.random.default_rng(0)
    causes = rng.standard_normal((2, 300))
    own = 0.6 * rng.standard_normal((8, 300))
    names = [f"{'ab'[place // 4]}{place % 4}" for place in range(8)]
    values = {name: causes[place // 4] + own[place] for place, name in enumerate(names)}
    values["a0"] = (values["a0"] > 0).astype(float)
    values["b3"][:50] = np.nan
    return values


@pytest.fixture(scope="module")
def graph(people: dict[str, NDArray[np.float64]]) -> TargetGraph:
    return graph_of_targets(people, domains={name: name[0] for name in people})


def test_targets_of_one_cause_are_one_block_of_each_measure_of_people(graph: TargetGraph) -> None:
    assert graph.measures == ("abs_r", "mutual_information", "mic")
    for measure in graph.measures:
        blocks = {name: node[f"block_{measure}"][0] for name, node in graph.nodes.items()}
        causes = [{blocks[name] for name in blocks if name[0] == cause} for cause in "ab"]
        assert causes[0].isdisjoint(causes[1])


def test_edges_say_in_how_many_people_and_how_surely(graph: TargetGraph) -> None:
    edge = graph.edges["a1", "b3"]
    assert (edge["n"], graph.nodes["b3"]["n"]) == (250, 250)
    assert edge["r_low"] < edge["r"] < edge["r_high"]
    assert edge["abs_r"] == abs(edge["r"])
    assert edge["r_low"] < 0 < edge["r_high"]
    assert graph.edges["a1", "a2"]["r_low"] > 0.5


def test_the_top_of_the_edges_are_the_heaviest_of_that_share(graph: TargetGraph) -> None:
    heaviest = graph.top("mic", 25)
    assert len(graph.edges) == 28
    assert len(graph.top("mic")) == 16
    assert heaviest == graph.top("mic")[:7]
    least = min(graph.edges[pair]["mic"] for pair in heaviest)
    rest = [edge["mic"] for pair, edge in graph.edges.items() if pair not in heaviest]
    assert least >= max(rest)
    assert all(first[0] == second[0] for first, second in heaviest)


def test_centrality_is_the_first_eigenvector_of_the_weights(graph: TargetGraph) -> None:
    names = list(graph.nodes)
    weights = np.zeros((8, 8))
    for (first, second), edge in graph.edges.items():
        one, other = names.index(first), names.index(second)
        weights[one, other] = weights[other, one] = edge["abs_r"]
    expected = np.abs(np.linalg.eigh(weights)[1][:, -1])
    found = [graph.nodes[name]["centrality_abs_r"] for name in names]
    assert found == pytest.approx(expected, abs=1e-4)


def test_similarity_is_1_less_the_mean_difference_of_scores_above_chance() -> None:
    found = graph_of_targets(results=ResultsTable.of(_rows()))
    assert found.measures == ("similarity", "inverse_distance")
    assert found.edges["mood", "worry"]["similarity"] == pytest.approx(1 - 0.1 / 3)
    assert found.edges["sex", "age"]["similarity"] == pytest.approx(1)
    # What is worse than chance is no better than chance.
    assert found.edges["age", "fat"]["similarity"] == pytest.approx(1 - 0.9 / 3)
    edge = found.edges["age", "fat"]
    assert edge["similarity_low"] < edge["similarity"] < edge["similarity_high"]


def test_inputs_that_a_target_always_has_do_not_tell_its_sets_apart() -> None:
    """Sex is never told from blood, and the others never without it."""
    found = graph_of_targets(results=ResultsTable.of(_rows()))
    assert {edge["sets"] for edge in found.edges.values()} == {3}


def test_the_published_similarity_leaves_out_equal_scores_and_is_of_balanced_accuracies() -> None:
    found = graph_of_targets(results=ResultsTable.of(_rows()))
    assert found.edges["mood", "worry"]["inverse_distance"] == pytest.approx(1 / 0.05)
    assert np.isnan(found.edges["sex", "age"]["inverse_distance"])


def test_a_node_says_what_its_target_is_told_from_best() -> None:
    results = ResultsTable.of(_rows())
    found = graph_of_targets(results=results)
    node = found.nodes["sex"]
    assert (node["score"], node["metric"], node["domain"]) == (0.95, "balanced_accuracy", "s")
    assert (node["inputs"], node["model"], node["kind"]) == ("t1 + dwi", "m", "classification")
    known = best_inputs(results)
    assert graph_of_targets(results=results, best=known).record() == found.record()


def test_people_and_results_meet_by_the_name_of_the_target() -> None:
    rng = np.random.default_rng(1)
    people = {name: rng.standard_normal(60) for name in ("worry", "mood", "height")}
    found = graph_of_targets(people, ResultsTable.of(_rows()))
    assert list(found.nodes) == ["sex", "mood", "worry", "age", "fat", "height"]
    assert {"mic", "similarity"} <= found.edges["mood", "worry"].keys()
    assert "similarity" not in found.edges["mood", "height"]
    assert "mic" not in found.edges["sex", "mood"]


def test_the_record_is_json_without_numbers_that_it_has_not(graph: TargetGraph) -> None:
    for one in (graph, graph_of_targets(results=ResultsTable.of(_rows()))):
        record = json.loads(json.dumps(one.record(), allow_nan=False))
        assert [node["id"] for node in record["nodes"]] == list(one.nodes)
        assert {edge["source"] for edge in record["edges"]} <= set(one.nodes)
        assert [measure["name"] for measure in record["measures"]] == list(one.measures)


def test_the_same_is_drawn_at_the_same_places(people: dict[str, NDArray[np.float64]]) -> None:
    one, other = (graph_of_targets(people).record() for _ in range(2))
    assert one == other


def test_targets_without_people_or_scores_in_common_have_no_edge_and_break_nothing() -> None:
    rng = np.random.default_rng(2)
    first = np.arange(80) < 40
    people = {name: np.where(first, rng.standard_normal(80), np.nan) for name in "abc"}
    people |= {name: np.where(first, np.nan, rng.standard_normal(80)) for name in "de"}
    results = [
        {"target": name, "kind": "regression", "inputs": "", "r2": score}
        for name, score in (("a", 0.1), ("b", 0.2), ("c", float("nan")))
    ]
    found = graph_of_targets(people, ResultsTable.of(results))
    assert found.edges["a", "d"]["n"] == 0
    assert len(found.top("mic", 100)) == 4
    assert found.edges["a", "b"]["similarity"] == pytest.approx(0.9)
    assert "score" not in found.nodes["c"]
    json.dumps(found.record(), allow_nan=False)


def test_two_targets_are_no_graph() -> None:
    with pytest.raises(UsageError, match="three targets at least, but there are 2"):
        graph_of_targets({"a": np.ones(20), "b": np.ones(20)})


def test_targets_that_nothing_is_known_of_are_no_graph() -> None:
    with pytest.raises(UsageError, match="two targets that some inputs or people tell"):
        graph_of_targets({name: np.full(20, np.nan) for name in "abc"})


def test_values_of_people_are_numbers_or_two_words() -> None:
    frame = pd.DataFrame(
        {
            "sex": ["male", "female", "", "male"],
            "age": ["30", "", "41.5", "7"],
            "hair": ["red", "black", "brown", "red"],
        }
    )
    table = Table(frame, Columns(id="sex"), Path())
    found = target_values(table, ["sex", "age"])
    assert np.array_equal(found["sex"], [1, 0, np.nan, 1], equal_nan=True)
    assert np.array_equal(found["age"], [30, np.nan, 41.5, 7], equal_nan=True)
    with pytest.raises(TableError, match="row 2: 'hair' is 'red', which is no number"):
        target_values(table, ["hair"])
    with pytest.raises(TableError, match="'weight'"):
        target_values(table, ["weight"])


def test_the_published_results_make_a_graph_in_which_what_brains_tell_stands_apart(
    data: Path,
) -> None:
    published = data / "published" / "legibility" / "metrics_comparison_test.csv"
    found = graph_of_targets(results=read_results(published))
    assert (len(found.nodes), len(found.edges)) == (25, 300)
    assert len(found.top("similarity")) == 180
    coarse = {name: node["block_similarity"][-1] for name, node in found.nodes.items()}
    told = {"Sex (Male)", "Age", "Body Fat", "Weight", "Hb"}
    assert {coarse[name] for name in told}.isdisjoint(
        {coarse[name] for name in found.nodes if name not in {*told, "HDL"}}
    )
