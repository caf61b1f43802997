# SPDX-License-Identifier: Apache-2.0
"""The scans of a cohort, prepared: each source of images, person by person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from encephalon.errors import InputError
from encephalon.studies.legibility.preprocessing import ImageRow, prepare_images
from encephalon.studies.legibility.settings import Cohort
from encephalon.training.dataset import Prepared

__all__ = ["PREPARED", "Scan", "prepare_scans"]

#: The suffix of what is prepared already.
PREPARED = ".npy"
#: Sources that the other scans of a person are brought to MNI space by, if they are not of T1w.
REFERENCES = ("t1", "t1w")

Scan = Prepared | InputError | None


def prepare_scans(
    cohort: Cohort,
    files: Mapping[str, Sequence[Path | None]],
    cache: Path,
    side: int,
    **how: Any,
) -> dict[str, list[Scan]]:
    """Of each source of images, for each person: the prepared file, why there is none, or None.

    files  by source, the scan of each person; a .npy file is prepared already, and has no notes
    how    mode, workers, scheduler and progress, see `prepare_images`

    A scan is brought to MNI space by the T1w scan of the person, where there is one.
    """
    best = next((name for name in files if name.lower() in REFERENCES), None)
    found: dict[str, list[Scan]] = {name: [None] * len(some) for name, some in files.items()}
    places, rows = [], []
    for name, some in files.items():
        for person, path in enumerate(some):
            if path is not None and path.suffix.lower() == PREPARED:
                found[name][person] = Prepared(path, {})
            elif path is not None:
                first = files[best][person] if best is not None and best != name else None
                first = first if first is None or first.suffix.lower() != PREPARED else None
                said = "auto" if best is None else cohort.sources[best].contents
                rows.append(ImageRow(path, cohort.sources[name].contents, first, said))
                places.append((name, person))
    if rows:
        for (name, person), one in zip(
            places, prepare_images(rows, cache, side, **how), strict=True
        ):
            found[name][person] = one
    return found
