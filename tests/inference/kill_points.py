# SPDX-License-Identifier: Apache-2.0
"""Kill a batch of two samples at each of its system calls that name a file, and run it again.

`python -m tests.inference.kill_points IN OUT KIND` prints one JSON object a point. KIND is "new",
or "changed" for a batch whose results are there already, of other options. Each killed batch is a
fork, so that one start of Python serves them all.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from encephalon.inference.outputs import OutputLayout
from encephalon.tables.samples import Sample
from tests.inference.conftest import BrightVoxels, predict_all

CALLS = ("link", "rename", "replace", "unlink")


def batch(scans: Path, out: Path, threshold: float = 50.0) -> Any:
    samples = [Sample(path.name[0], {"image": path}) for path in sorted(scans.iterdir())]
    layout = OutputLayout(out, table=out / "predictions.csv")
    return predict_all(BrightVoxels(threshold), samples, layout)


def killed_at(point: int, after: bool, work: Callable[[], Any]) -> bool:
    """Whether `work`, in a process of its own, came to its call number `point`."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    count = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def one(*words: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count == point and not after:
                os._exit(9)
            result = call(*words, **more)
            if count == point:
                os._exit(9)
            return result

        return one

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    work()
    os._exit(0)


def content(out: Path) -> dict[str, str]:
    """The images and rows of a folder, without what time says of them."""
    found = {path.name: path.read_bytes().hex() for path in sorted(out.glob("*.nii.gz"))}
    for row in (out / "predictions.csv").read_text("utf-8").splitlines()[1:]:
        cells = row.split(",")
        found[f"row {cells[0]}"] = " ".join(cells[:-2])
    return found


def main(scans: Path, root: Path, kind: str) -> None:
    undisturbed = root / "undisturbed"
    batch(scans, undisturbed)
    after, point = False, 0
    while True:
        point += 1
        out = root / f"{point}-{after}"
        if kind == "changed":
            batch(scans, out, 0.5)
        if not killed_at(point, after, lambda out=out: batch(scans, out)):  # type: ignore[misc]
            if after:
                return
            after, point = True, 0
            continue
        left = sorted(path.name for path in out.iterdir() if path.name[0] in "ab")
        again = batch(scans, out)
        said = {
            "point": point,
            "left": left,
            "failures": [one.message for one in again.failures],
            "status": [row["status"] for row in again.rows],
            "same": content(out) == content(undisturbed),
            "parts": [path.name for path in out.iterdir() if ".part" in path.name],
        }
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()  # or the next fork has it too


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
