# SPDX-License-Identifier: Apache-2.0
"""Connectivity that holds signals whose strength is known, and much besides.

Each signal moves edges of its own, in the tangent space around a mean of low rank.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Connectome"]

Values = NDArray[np.float64]

#: Our choice, in the tangent space: what a deviation of a signal, of looks and of a site moves an
#: edge, and its noise; edges that a signal moves, and the rank and weight of what all have in
#: common.
EDGE, EDGE_LOOK, EDGE_SITE, EDGE_NOISE, EDGES, RANK, COMMON = 0.10, 0.02, 0.03, 0.06, 10, 5, 0.6


class Connectome:
    """Draws correlations (R, R) between regions.

    signals  that a matrix has
    looks    ways in which matrices differ whatever they are like
    sites    that move edges in a way of their own
    """

    def __init__(self, regions: int, signals: int, looks: int, sites: int) -> None:
        rng = np.random.default_rng(0)
        loads = rng.standard_normal((regions, RANK)) / np.sqrt(RANK)
        common = COMMON * loads @ loads.T + (1 - COMMON) * np.eye(regions)
        self.root = _of_eigenvalues(_correlations(common), np.sqrt)
        self.upper = np.triu_indices(regions, 1)
        pairs = len(self.upper[0])
        each = min(EDGES, pairs // max(1, signals))
        edges = rng.permutation(pairs)
        self.patterns = np.zeros((signals, pairs))
        for number, pattern in enumerate(self.patterns):
            pattern[edges[number * each : (number + 1) * each]] = rng.choice([-1, 1], each)
        self.looks = EDGE_LOOK * rng.standard_normal((looks, pairs))
        self.sites = EDGE_SITE * rng.standard_normal((sites, pairs))

    def draw(self, signals: Values, looks: Values, site: int, rng: np.random.Generator) -> Values:
        """One matrix; what is no signal has no part in the patterns, whose sums tell it exactly."""
        other = looks @ self.looks + self.sites[site]
        other += EDGE_NOISE * rng.standard_normal(len(other))
        sizes = (self.patterns**2).sum(axis=1)
        other -= (self.patterns @ other / sizes) @ self.patterns
        tangent = np.zeros_like(self.root)
        tangent[self.upper] = EDGE * signals @ self.patterns + other
        moved = self.root @ _of_eigenvalues(tangent + tangent.T, np.exp) @ self.root
        return _correlations(moved)


def _of_eigenvalues(matrix: Values, function: np.ufunc) -> Values:
    values, vectors = np.linalg.eigh(matrix)
    found: Values = (vectors * function(values)) @ vectors.T
    return found


def _correlations(covariance: Values) -> Values:
    """The symmetric correlations of a covariance, its diagonal 1 exactly."""
    deviations = np.sqrt(np.diag(covariance))
    found: Values = covariance / np.outer(deviations, deviations)
    found = (found + found.T) / 2
    np.fill_diagonal(found, 1.0)
    return found
