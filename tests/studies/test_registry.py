# SPDX-License-Identifier: Apache-2.0
"""Studies are found by name and imported when they are needed."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from encephalon.errors import RecipeError
from encephalon.studies import list_studies, load_study, registry
from encephalon.studies.base import Study


def test_listing_studies_imports_none_of_them() -> None:
    """A fresh process that lists the studies has imported neither a study nor a heavy package."""
    program = (
        "import sys; from encephalon.studies import list_studies; assert list_studies();"
        "heavy = {'torch', 'numpy', 'pandas', 'encephalon.studies.extraction'};"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_unknown_study_is_answered_with_the_nearest() -> None:
    """The message helps with a typing mistake, and lists what there is otherwise."""
    with pytest.raises(RecipeError, match="did you mean 'extraction'"):
        load_study("extracton")
    with pytest.raises(RecipeError, match=r"known studies: .*extraction"):
        load_study("astrology")


def test_a_third_party_adds_a_study_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is loaded when asked for, and listed with the others."""
    study = Study("weather", {}, {}, load=lambda _model: None)  # type: ignore[arg-type,return-value]
    point = SimpleNamespace(load=lambda: study)
    monkeypatch.setattr(registry, "_entry_points", lambda: {"weather": point})
    assert load_study("weather") is study
    assert "weather" in list_studies()
