# SPDX-License-Identifier: Apache-2.0
"""Count what the base install pulls in, and fail when it is over the budget of 30.

It starts from pyproject.toml and walks the requirements of what is installed, so it gives the same
answer in a bare environment as in a developer's.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

BUDGET = 30
PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def base() -> set[str]:
    """Every distribution that the base install of this project needs, directly or not."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    return walk(project["dependencies"], set())


def walk(requirements: Iterable[str], seen: set[str]) -> set[str]:
    """Add to `seen` what these requirements need without extras, and return it."""
    for line in requirements:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found = canonicalize_name(requirement.name)
            if found not in seen:
                seen.add(found)
                walk(requires(found) or [], seen)
    return seen


def main() -> int:
    """Print the distributions; 1 when there are too many."""
    found = sorted(base())
    print(f"{len(found)} required distributions (budget {BUDGET}): {', '.join(found)}")
    return int(len(found) > BUDGET)


if __name__ == "__main__":
    sys.exit(main())
