# SPDX-License-Identifier: Apache-2.0
"""Count what the base install pulls in, and fail when it is over the budget of 30.

It walks the requirements of the installed distribution, so it gives the same answer in a bare
environment as in a developer's.
"""

from __future__ import annotations

import sys
from importlib.metadata import requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

BUDGET = 30


def required(name: str, seen: set[str]) -> set[str]:
    """Add to `seen` every distribution that `name` needs without extras, and return it."""
    for line in requires(name) or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found = canonicalize_name(requirement.name)
            if found not in seen:
                seen.add(found)
                required(found, seen)
    return seen


def main() -> int:
    """Print the distributions; 1 when there are too many."""
    found = sorted(required("encephalon", set()))
    print(f"{len(found)} required distributions (budget {BUDGET}): {', '.join(found)}")
    return int(len(found) > BUDGET)


if __name__ == "__main__":
    sys.exit(main())
