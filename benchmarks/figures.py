# SPDX-License-Identifier: Apache-2.0
"""How a benchmark tells its figures, and how far it is."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["progress", "tell"]


def tell(figures: Mapping[str, float], wishes: Mapping[str, str], file: Path | None) -> None:
    """Print each figure beside what is wished of it, and write them as JSON to `file`, if any."""
    for key, value in figures.items():
        print(f"{key.replace('_', ' '):<32}{value:>10.3g}   {wishes.get(key, '')}")
    if file is not None:
        file.write_text(json.dumps(dict(figures), indent=2) + "\n", encoding="utf-8")


def progress(done: int, total: int, what: str) -> None:
    """Say on stderr how far it is, and `what` the part is that was done or begun last."""
    print(f"{done} of {total}: {what}", file=sys.stderr, flush=True)
