# SPDX-License-Identifier: Apache-2.0
"""Linear models of every set of inputs."""

from __future__ import annotations

import torch

from encephalon.networks.linear_sets import LinearSets

SOURCES = {
    "t1": {"kind": "image", "coarse": 2},
    "rest": {"kind": "connectivity", "features": 6},
    "blood": {"kind": "table", "features": 4},
}
SETS = ([0], [1], [2], [0, 1], [0, 1, 2])


def filled() -> LinearSets:
    """One whose sets tell different things."""
    torch.manual_seed(0)
    made = LinearSets(SOURCES, {"t1": 3, "rest": 2}, SETS, 2)
    for buffer in made.buffers():
        if buffer.dtype == torch.float32:
            buffer.copy_(torch.randn_like(buffer))
    return made


def people() -> dict[str, torch.Tensor]:
    """Three of them, with an unknown cell."""
    torch.manual_seed(1)
    blood = torch.randn(3, 4)
    blood[0, 1] = torch.nan
    return {"t1": torch.randn(3, 1, 4, 4, 4), "rest": torch.randn(3, 6), "blood": blood}


def test_a_set_is_a_line_through_its_sources() -> None:
    """By hand: of connectivity and of a table, whose unknown cell is the mean."""
    made, given = filled(), people()
    said = made(given, torch.tensor([[0, 1, 0], [0, 0, 1], [0, 0, 1]]))
    basis = made.bases["rest"]
    rest = (given["rest"][0] - basis.centre) @ basis.axes * basis.scale
    torch.testing.assert_close(said[0], rest @ made.weights[1, 3:5] + made.intercepts[1])
    blood = given["blood"][1] / 2
    torch.testing.assert_close(said[1], blood @ made.weights[2, 5:] + made.intercepts[2])


def test_what_is_absent_is_not_looked_at() -> None:
    """Whatever stands there, NaN too."""
    made, given = filled(), people()
    present = torch.tensor([[1, 1, 0]] * 3)
    before = made(given, present)
    assert torch.equal(before, made({**given, "blood": given["blood"] * torch.nan}, present))
    assert torch.equal(before, made({**given, "blood": None}, present))


def test_another_set_is_told_by_the_smallest_that_holds_it() -> None:
    """Connectivity and a table have no set of their own here."""
    made, given = filled(), people()
    rest = made(given, torch.tensor([[0, 1, 1]] * 3))
    reduced = made.reduced(given, torch.tensor([[0, 1, 1]] * 3))
    torch.testing.assert_close(rest, reduced @ made.weights[4] + made.intercepts[4])
