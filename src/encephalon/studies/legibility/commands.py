# SPDX-License-Identifier: Apache-2.0
"""Commands of the legibility study: a synthetic cohort, and the folder of any cohort."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from encephalon.inference.workers import SampleWorkers
from encephalon.recipes.schema import OUTPUT, OVERWRITE, SEED, Flag, Section
from encephalon.studies.base import Command, Done

if TYPE_CHECKING:
    from encephalon.inference.batch import Progress
    from encephalon.studies.legibility.settings import Cohort

__all__ = ["SIMULATORS", "TABLES"]


class PeopleOptions(Section):
    """What may be asked of `encephalon simulate cohort`; see `synthetic.Size`."""

    output: Annotated[Path, OUTPUT]
    people: Annotated[int, Flag("--people", "How many.")] = Field(default=200, ge=2, le=100_000)
    side: Annotated[
        Literal[16, 32, 64, 128],
        Flag("--side", "Voxels along each side of an image, of 224 mm.", "16|32|64|128"),
    ] = 32
    regions: Annotated[int, Flag("--regions", "Regions of connectivity.")] = Field(
        default=24, ge=8, le=400
    )
    missing: Annotated[
        float, Flag("--missing", "Share of people who lack an input, for each of these.", "SHARE")
    ] = Field(default=0.0, ge=0, le=0.9)
    no_images: Annotated[bool, Flag("--no-images", "Connectivity and tables alone.")] = False
    prepared: Annotated[
        bool,
        Flag(
            "--prepared", "Write what `encephalon table cohort` makes of it, to train on at once."
        ),
    ] = False
    seed: Annotated[int, SEED] = Field(default=0, ge=0, lt=2**32)
    overwrite: Annotated[bool, OVERWRITE] = False


def _people(asked: PeopleOptions, progress: Progress) -> Done:
    """Write people with images, connectivity and tables, of whom ceilings.csv says how well each
    target can be told from each set of inputs.

    \b
    Example:
        encephalon simulate cohort -o people --side 16 --prepared
        encephalon train legibility -t people/people.csv -o run --set study.side=16
    """
    from encephalon.studies.legibility.synthetic import CEILINGS, Size, write_cohort

    size = Size(
        **asked.model_dump(include={"people", "seed", "side", "regions", "missing"}),
        images=not asked.no_images,
    )
    written = write_cohort(
        asked.output,
        size,
        prepared=asked.prepared,
        overwrite=asked.overwrite,
        progress=progress,
    )
    found = {"cohort": written, "people": size.people, "ceilings": written.with_name(CEILINGS)}
    return Done(found, f"{written}: {size.people} people")


class CohortOptions(SampleWorkers):
    """What may be asked of `encephalon table cohort`."""

    cohort: Annotated[Path, Flag("", "The file that declares the cohort.", "COHORT.toml")]
    output: Annotated[
        Path, Flag("-o --output", "Folder of people.csv, cohort.toml and the data.", "FOLDER")
    ]
    side: Annotated[
        Literal[16, 32, 64, 128],
        Flag("--side", "Voxels along each side of a prepared image, of 224 mm.", "16|32|64|128"),
    ] = 64
    no_images: Annotated[
        bool, Flag("--no-images", "Leave scans as they are: training prepares them.")
    ] = False
    dry_run: Annotated[bool, Flag("--dry-run", "Say who has what, and do nothing.")] = False
    overwrite: Annotated[bool, OVERWRITE] = False


def _cohort(asked: CohortOptions, progress: Progress) -> Done:
    """Make a cohort ready to learn from: its people, their images and connectivity.

    \b
    Example:
        encephalon table cohort COHORT.toml -o cohort
        encephalon train legibility -t cohort/people.csv -o run
    """
    from encephalon.io.files import expanded
    from encephalon.studies.legibility.cohort import PEOPLE
    from encephalon.studies.legibility.cohort_folder import (
        Preparing,
        Written,
        counts,
        find_people,
        write_cohort,
    )

    path, folder, images = expanded(asked.cohort), expanded(asked.output), not asked.no_images
    if asked.dry_run:
        written = Written(find_people(path, images), ())
    else:
        how = Preparing(images, asked.side, asked, progress)
        written = write_cohort(path, folder, how, overwrite=asked.overwrite)
    given = written.given
    people, found = len(given.table), counts(given)
    would = "would write " if asked.dry_run else ""
    lines = [f"{would}{folder / PEOPLE}: {people} people"]
    for what, known in found.items():
        words = ", ".join(f"{name} {count}" for name, count in known.items())
        lines += [f"{what}: {words}"] * bool(known)
    return Done(
        {"table": folder / PEOPLE, "people": people, **found},
        "\n".join([*lines, *_classes(given.cohort)]),
        written.failures,
    )


def _classes(cohort: Cohort) -> list[str]:
    """What the classes of each target are, of two the positive one."""
    return [
        f"{name} is {target.classes[1]!r} or {target.classes[0]!r}, and {target.classes[1]!r} is "
        "the positive class"
        if target.kind == "binary"
        else f"{name} is {', '.join(map(repr, target.classes))}"
        for name, target in cohort.targets.items()
        if target.classes
    ]


SIMULATORS = {"cohort": Command(PeopleOptions, _people)}
TABLES = {"cohort": Command(CohortOptions, _cohort)}
