# SPDX-License-Identifier: Apache-2.0
"""Small cohorts of every layout, written for a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from encephalon.errors import EncephalonError
from encephalon.io.text import read_records, write_records
from encephalon.studies.legibility.cohort_folder import find_people

PEOPLE = tuple(f"p{number:02}" for number in range(12))
REGIONS = 5
TARGETS = """
[targets.age]
kind = "continuous"
unit = "years"
[targets.sex]
kind = "binary"
"""
CONNECTIVITY = '[sources.connectivity]\nkind = "connectivity"\n'
MOOD = """
[blocks.mood]
columns = ["q_*", "hand"]
"""


def rows(people: tuple[str, ...] = PEOPLE, name: str = "id") -> list[dict[str, Any]]:
    """A row a person: age, sex, two questions and a hand."""
    return [
        {
            name: person,
            "age": 20 + number,
            "sex": "FM"[number % 2],
            "q_2": number % 5,
            "q_10": number % 3,
            "hand": "LRA"[number % 3],
        }
        for number, person in enumerate(people)
    ]


def matrices(count: int = len(PEOPLE), regions: int = REGIONS) -> NDArray[np.float64]:
    """Correlations of a person each (N, R, R)."""
    rng = np.random.default_rng(7)
    return np.stack([np.corrcoef(rng.normal(size=(regions, 40))) for _ in range(count)])


def write_table(folder: Path, table: list[dict[str, Any]], text: str = MOOD + TARGETS) -> Path:
    """people.csv and COHORT.toml of the layout "table"; the path of the latter."""
    write_records(table, folder / "all.csv")
    return write_toml(folder, 'table = "all.csv"\n' + text)


def write_toml(folder: Path, text: str) -> Path:
    """COHORT.toml with that text."""
    path = folder / "COHORT.toml"
    path.write_text(text, encoding="utf-8")
    return path


def touch(path: Path) -> Path:
    """A file with content, which nothing is to read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"image")
    return path


def written(folder: Path) -> dict[str, dict[str, str]]:
    """The rows of people.csv by id."""
    return {next(iter(row.values())): row for row in read_records(folder / "people.csv")[1]}


def refused(path: Path) -> str:
    """Why the cohort of that file is not found."""
    with pytest.raises(EncephalonError) as caught:
        find_people(path)
    text = str(caught.value)
    assert "\n  and" not in text
    return text
