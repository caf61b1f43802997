# SPDX-License-Identifier: Apache-2.0
"""Fuzz every reader at length: `python -m tests.fuzz --files 10000 --seed 1`.

Prints a table of counts by reader and what went wrong; exits 1 when anything did.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.fuzz.harness import KINDS, Result, fuzz, missing, worker
from tests.fuzz.readers import READERS


def _row(name: str, counts: dict[str, int]) -> str:
    numbers = [sum(counts.values()), *(counts.get(kind, 0) for kind in KINDS)]
    return f"{name:<22}" + "".join(f"{number:>10,}" for number in numbers)


def main() -> int:
    """Fuzz the readers that were asked for, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, help="damaged files in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reader", action="append", choices=sorted(READERS))
    parser.add_argument("--keep", type=Path, help="a folder for the files that went wrong")
    given = parser.parse_args()
    readers = [READERS[name] for name in given.reader or READERS]
    readers = [reader for reader in readers if missing(reader) is None]
    results: dict[str, Result] = {}
    with worker() as one:
        for reader in readers:
            numbers = range(-(-given.files // len(readers)))
            result = fuzz(reader, numbers, given.seed, one, heavy=True, keep=given.keep)
            results[reader.name] = result
            print(_row(reader.name, result.counts), file=sys.stderr, flush=True)
    print(f"{'reader':<22}" + "".join(f"{word:>10}" for word in ("files", *KINDS)))
    for name, result in results.items():
        print(_row(name, result.counts))
    total = sum((result.counts for result in results.values()), start=type(result.counts)())
    print(_row("all", total))
    faults = [(name, *fault) for name, result in results.items() for fault in result.faults]
    for fault in faults:
        print(": ".join(fault).replace("\n", "\\n")[:300])
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
