# SPDX-License-Identifier: Apache-2.0
"""Fail when a file is longer than 400 lines or a function longer than 60.

A central module that grows a little with every change is how good code bases go stale, so a check
watches the ceiling instead of good will.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LINES = 400
FUNCTION_LINES = 60
FOLDERS = ("src", "tests", "tools", "benchmarks", "examples")


def faults(path: Path) -> Iterator[str]:
    """Yield one sentence for the file and each function that is over its limit."""
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    if lines > FILE_LINES:
        yield f"{path}: {lines} lines, the limit is {FILE_LINES}: split it by concept."
    for node in ast.walk(ast.parse(text, str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                yield (
                    f"{path}:{node.lineno}: {node.name} has {length} lines, "
                    f"the limit is {FUNCTION_LINES}."
                )


def main(root: Path) -> int:
    """Print every fault under `root`; 1 when there is one."""
    files = sorted(path for folder in FOLDERS for path in (root / folder).rglob("*.py"))
    found = [fault for path in files for fault in faults(path)]
    print("\n".join(found) if found else f"limits: {len(files)} files within the limits")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent))
