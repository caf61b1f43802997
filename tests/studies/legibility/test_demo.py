# SPDX-License-Identifier: Apache-2.0
"""The demonstration of legibility: people who are made up, and the smallest grid."""

from __future__ import annotations

from pathlib import Path

import pytest

from encephalon.api.grid import plan_grid
from encephalon.studies.legibility import study


def test_the_demonstration_makes_people_up_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And every cell of the smallest grid is planned for them."""
    monkeypatch.setattr(study, "DEMO", {"people": 30, "side": 16, "regions": 8})
    shown = study.STUDY.demo
    assert shown is not None
    table = shown.samples(tmp_path / "samples", False)
    before = table.stat().st_mtime_ns
    assert shown.samples(tmp_path / "samples", False) == table
    assert table.stat().st_mtime_ns == before
    assert len(plan_grid(shown.grid, table).cells) == 3
