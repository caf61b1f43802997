# SPDX-License-Identifier: Apache-2.0
"""Commands of the legibility study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from encephalon.recipes.schema import OUTPUT, OVERWRITE, SEED, Flag, Section
from encephalon.studies.base import Command, Done

if TYPE_CHECKING:
    from encephalon.inference.batch import Progress

__all__ = ["SIMULATORS"]


class PeopleOptions(Section):
    """What may be asked of `encephalon simulate cohort`; see `synthetic.cohort.Size`."""

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
        encephalon simulate cohort -o people --people 60 --side 16
        encephalon table cohort people/COHORT.toml -o cohort
        encephalon train legibility -t cohort/people.csv -o run
    """
    from encephalon.studies.legibility.synthetic.cohort import CEILINGS, Size, write_cohort

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


SIMULATORS = {"cohort": Command(PeopleOptions, _people)}
