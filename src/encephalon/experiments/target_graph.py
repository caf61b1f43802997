# SPDX-License-Identifier: Apache-2.0
"""A graph of targets: how far they go together in people, and in how well models tell them.

Each measure makes a graph of its own over the same targets, with their centrality and blocks in it.

    abs_r               absolute correlation of two targets over people
    mutual_information  of them, nats
    mic                 their maximal information coefficient, 0 to 1
    similarity          how alike models tell them from the same inputs: 1 less the mean difference
                        of their scores, on a scale from 0, chance, to 1; at most 1
    inverse_distance    the same as it was published: the mean of 1 / the difference of their
                        balanced accuracies. One set of inputs at which two happen to score alike
                        outweighs all others, so that it says little; where they are equal it is
                        infinite, and the set is left out. Read `similarity` instead

Two values hold less than a number does, so that targets of two values have smaller measures over
people, and blocks may part them from the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import UsageError, require_extra
from encephalon.experiments.best_inputs import BestInputs, best_inputs
from encephalon.experiments.results_table import HAS, ResultsTable
from encephalon.statistics.block_model import BlockModel, block_model
from encephalon.statistics.dependence import dependences
from encephalon.statistics.intervals import bootstrap_weighted, mean_of
from encephalon.tables.kinds import column_kind, numbers_of
from encephalon.tables.schema import Table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MEASURES", "TOP", "TargetGraph", "graph_of_targets", "target_values"]

Pair = tuple[str, str]
Values = NDArray[np.float64]
Attributes = Mapping[str, Any]
Nodes = dict[str, dict[str, Any]]
Edges = dict[Pair, dict[str, Any]]

#: Of the edges, and what they are called where people read them.
MEASURES = {
    "abs_r": "Absolute correlation",
    "mutual_information": "Mutual information (nats)",
    "mic": "Maximal information coefficient",
    "similarity": "Similarity of performance",
    "inverse_distance": "Inverse distance of balanced accuracies, as published",
}
#: Percent of the edges that are drawn, the heaviest, as published.
TOP = 60.0


@dataclass(frozen=True)
class TargetGraph:
    """Targets, and what is known of every two of them; a measure is there where any pair has it.

    nodes   attributes by target: domain, kind; n, people who have it; all that BestInputs says of
            it; and of each measure centrality_MEASURE, block_MEASURE (a block at each level, the
            finest first) and a place x_MEASURE, y_MEASURE to draw it at, -1 to 1
    edges   attributes by pair: n, r, r_low, r_high (95 %, over people), sets of inputs of both,
            similarity_low, similarity_high (over sets), each measure, and top_MEASURE: the percent
            of edges that weigh as much or more
    blocks  the block model of each measure
    """

    nodes: Mapping[str, Attributes]
    edges: Mapping[Pair, Attributes]
    blocks: Mapping[str, BlockModel]

    @property
    def measures(self) -> tuple[str, ...]:
        """Those that any pair has, in the order of MEASURES."""
        return tuple(self.blocks)

    def top(self, measure: str, percent: float = TOP) -> list[Pair]:
        """The heaviest edges, that many percent of those that have the measure, heaviest first."""
        rank = {pair: edge.get(f"top_{measure}", nan) for pair, edge in self.edges.items()}
        return sorted((pair for pair in rank if rank[pair] <= percent), key=lambda pair: rank[pair])

    def record(self) -> dict[str, Any]:
        """As JSON holds it: nodes with an "id", edges with "source" and "target", and measures."""
        return {
            "nodes": [{"id": name} | _plain(node) for name, node in self.nodes.items()],
            "edges": [
                {"source": first, "target": second} | _plain(edge)
                for (first, second), edge in self.edges.items()
            ],
            "measures": [
                {"name": name, "title": MEASURES[name], **model.record()}
                for name, model in self.blocks.items()
            ],
            "top": TOP,
        }


def graph_of_targets(
    people: Mapping[str, Values] | None = None,
    results: ResultsTable | None = None,
    *,
    best: Sequence[BestInputs] | None = None,
    domains: Mapping[str, str] | None = None,
    groups: Sequence[Any] | None = None,
    seed: int = 0,
) -> TargetGraph:
    """The graph of the targets of people, of results, or of both, which go together by name.

    people   values of each target (N,), NaN where unknown: see `target_values`
    results  how well models tell each target
    best     inputs of each target, where they are known; else they are found
    domains  of targets; by default what the results say
    groups   who is drawn together by the bootstrap, (N,): families

    Raises UsageError for fewer than three targets, and where no pair has a measure; and
    MissingExtraError without the extra `grid`.
    """
    require_extra("networkx", "grid", "A graph of targets")
    told = results.targets if results else []
    targets = list(dict.fromkeys([*told, *(people or {})]))
    if len(targets) < 3:
        raise UsageError(f"A graph needs three targets at least, but there are {len(targets)}.")
    nodes: Nodes = {name: {"domain": "", "kind": ""} for name in targets}
    edges: Edges = {pair: {} for pair in combinations(targets, 2)}
    if results:
        _add_results(nodes, edges, results, best_inputs(results) if best is None else best)
    if people:
        # In the order of the targets, which is that of each pair.
        known = {name: people[name] for name in targets if name in people}
        _add_people(nodes, edges, known, groups, seed)
    for name in set(domains or {}) & set(nodes):
        nodes[name]["domain"] = (domains or {})[name]
    measured = _measured(nodes, edges, seed)
    if not measured:
        raise UsageError("A graph needs two targets that some inputs or people tell something of.")
    return TargetGraph(nodes, edges, measured)


def target_values(table: Table, targets: Sequence[str]) -> dict[str, Values]:
    """The values (N,) of targets of a table of people; 0 and 1 for two words, in their order.

    Raises TableError for a column that there is not, or of neither numbers nor two words.
    """
    found = {}
    for target in targets:
        whose = f"the target {target!r}"
        table.require(target, whose)
        kind = column_kind(table, target, whose)
        if isinstance(kind, tuple) and len(kind) == 2:
            places = {word: float(place) for place, word in enumerate(kind)}
            found[target] = np.array([places.get(cell, nan) for cell in table.texts(target)])
        else:
            found[target] = np.array(numbers_of(table, target))
    return found


def _add_results(
    nodes: Nodes, edges: Edges, results: ResultsTable, best: Sequence[BestInputs]
) -> None:
    for name, rows in results.frame.groupby("target"):
        nodes[str(name)] |= {what: rows[what].iloc[0] for what in ("domain", "kind")}
    for one in best:
        nodes[one.target] |= one.record() | {"model": one.model}
    for pair, similar in _similarities(results).items():
        edges[pair] |= similar


def _add_people(
    nodes: Nodes,
    edges: Edges,
    people: Mapping[str, Values],
    groups: Sequence[Any] | None,
    seed: int,
) -> None:
    for name, values in people.items():
        nodes[name]["n"] = int(np.isfinite(values).sum())
    for pair, found in dependences(people, groups=groups, seed=seed).items():
        r = found.correlation
        edges[pair] |= {
            "n": found.n,
            "r": r.value,
            "r_low": r.low,
            "r_high": r.high,
            "abs_r": abs(r.value),
            "mutual_information": found.mutual_information,
            "mic": found.mic,
        }


def _similarities(results: ResultsTable) -> dict[Pair, dict[str, Any]]:
    """How alike every two targets are told from the sets of inputs that both are told from."""
    score = results.score()
    chance = results.frame["chance"]
    above = ((score - chance) / (1 - chance)).clip(lower=0)
    accuracy = results.frame.get("balanced_accuracy", score * nan)
    skills, accuracies = (_by_set(results, each) for each in (above, accuracy))
    found = {}
    for one, other in combinations(results.targets, 2):
        apart = (skills[one] - skills[other]).dropna().abs()
        alike = bootstrap_weighted(1 - apart, mean_of)
        distance = (accuracies[one] - accuracies[other]).dropna().abs()
        distance = distance[distance > 0]
        found[one, other] = {
            "sets": len(apart),
            "similarity": alike.value,
            "similarity_low": alike.low,
            "similarity_high": alike.high,
            "inverse_distance": float((1 / distance).mean()) if len(distance) else nan,
        }
    return found


def _by_set(results: ResultsTable, score: pd.Series[float]) -> pd.DataFrame:
    """Scores, a row a set of inputs and a column a target: the mean of seeds and folds.

    What a target is always told from is no part of its sets: it is not what makes them differ.
    """
    import pandas as pd

    frame, target = results.frame, results.frame["target"]
    sets = pd.Series("", index=frame.index)
    for name in results.inputs:
        used = frame[f"{HAS}{name}"]
        sets += (used & ~used.groupby(target).transform("all")).map({True: f"{name} + ", False: ""})
    return score.groupby([sets, target]).mean().unstack().reindex(columns=results.targets)


def _measured(nodes: Nodes, edges: Edges, seed: int) -> dict[str, BlockModel]:
    """Adds what each measure says of nodes and edges, and returns the block models."""
    models = {}
    for measure in MEASURES:
        known = {p: edge[measure] for p, edge in edges.items() if isfinite(edge.get(measure, nan))}
        if len(known) < 2:
            continue
        order = sorted(known, key=lambda pair: -known[pair])
        shares = {pair: 100 * rank / len(order) for rank, pair in enumerate(order, 1)}
        for pair, share in shares.items():
            edges[pair][f"top_{measure}"] = share
        models[measure] = model = block_model(_weights(list(nodes), known), seed=seed)
        central, places = _central(nodes, known), _places(nodes, shares)
        for number, (name, node) in enumerate(nodes.items()):
            node[f"centrality_{measure}"] = central[name]
            node[f"block_{measure}"] = [int(level[number]) for level in model.levels]
            node[f"x_{measure}"], node[f"y_{measure}"] = places[name]
    return models


def _weights(names: Sequence[str], known: Mapping[Pair, float]) -> Values:
    found = np.full((len(names),) * 2, nan)
    for (first, second), weight in known.items():
        one, other = names.index(first), names.index(second)
        found[one, other] = found[other, one] = weight
    return found


def _central(names: Iterable[str], known: Mapping[Pair, float]) -> dict[str, float]:
    """The eigenvector centrality of each node, weighted by all edges."""
    import networkx as nx

    graph = nx.Graph()
    graph.add_nodes_from(names)
    # In units of the heaviest: far above 1 the power iteration of networkx takes for ever.
    unit = max(known.values()) or 1.0
    graph.add_weighted_edges_from((*pair, weight / unit) for pair, weight in known.items())
    found = nx.eigenvector_centrality(graph, max_iter=10_000, weight="weight")
    return {name: float(value) for name, value in found.items()}


def _places(names: Iterable[str], shares: Mapping[Pair, float]) -> dict[str, tuple[float, float]]:
    """Where to draw each node: the more of the edges weigh less, the nearer are its two."""
    import networkx as nx

    graph = nx.Graph()
    graph.add_nodes_from(names)
    # By rank, because springs by weight draw what is alike into one spot.
    distances = {name: dict.fromkeys(graph, 1.2) | {name: 0.0} for name in graph}
    for (first, second), share in shares.items():
        distances[first][second] = distances[second][first] = 0.2 + share / 100
    at = nx.kamada_kawai_layout(graph, dist=distances)
    return {name: (float(x), float(y)) for name, (x, y) in at.items()}


def _plain(attributes: Attributes) -> dict[str, Any]:
    """With None for NaN, which JSON has none of."""
    return {
        key: None if isinstance(value, float) and not isfinite(value) else value
        for key, value in attributes.items()
    }
