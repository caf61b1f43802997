# SPDX-License-Identifier: Apache-2.0
"""The documentation site has every page and every public name, in words that Sphinx reads."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import encephalon
from encephalon.models.registry import shipped_entries

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def website(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`tools/website.py`, which imports its neighbour."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    yield _module(ROOT / "tools" / "website.py")
    sys.modules.pop("pages", None)
    sys.modules.pop("library", None)


@pytest.fixture
def conf() -> Any:
    """`docs/conf.py`."""
    return _module(ROOT / "docs" / "conf.py")


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_has_its_place_in_the_contents(website: Any) -> None:
    """A new page is in the navigation, and nothing in it is missing."""
    listed = " ".join(website.CONTENTS.values()).split()
    written = {path.stem for path in (ROOT / "docs").glob("*.md")}
    made = {"commands", "python", "card-*", "notebook-*", "published-models"}
    made |= {"contributing", "changelog"}
    assert len(listed) == len(set(listed))
    assert set(listed) == written | made


def test_the_page_of_python_has_every_public_name(website: Any) -> None:
    """A name of a new room is no longer left out of the site."""
    page = website.python_page()
    public = set(encephalon.__all__) - {"__version__"}
    assert [name for name in public if f":: encephalon.{name}\n" not in page] == []


def test_every_registered_model_has_its_card_on_the_site(website: Any) -> None:
    """With the figures, and what is done with it here."""
    page = website.library_page()
    names = [line.removeprefix("### ") for line in page.splitlines() if line.startswith("### ")]
    assert sorted(names) == sorted(shipped_entries())
    assert "| Dice | 0.97 | median | 0.91 to 0.98 (range) | 99 |" in page
    assert "| Mode published | Predicts as its program does" in page


def test_aligned_names_become_definitions_and_stars_stay_stars(conf: Any) -> None:
    """A docstring of the house as reStructuredText."""
    text = ["What one gets.", "", "first   one of *these*", "        and more", "`b*c`  two"]
    assert conf.readable(text) == [
        *("What one gets.", ""),
        *("``first``", r"    one of \*these\*", "    and more", r"    `b*c`  two", ""),
    ]


def test_indented_lines_of_a_docstring_are_code(conf: Any) -> None:
    """As in the docstring of the package."""
    assert conf.readable(["So:", "", "    encephalon.predict(*all)"]) == [
        *("So:", ""),
        *("::", "", "    encephalon.predict(*all)", ""),
    ]
