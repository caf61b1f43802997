# SPDX-License-Identifier: Apache-2.0
"""Writes a synthetic cohort: what people have, how it is declared, and what is true of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain, combinations, count, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.geometry.affine import Affine
from encephalon.io.atomic import atomic_folder, refuse_foreign, write_json, write_text
from encephalon.io.files import expanded
from encephalon.io.image import Image
from encephalon.io.reading import write_image
from encephalon.io.text import write_records
from encephalon.studies.legibility.cohort import COHORT, PEOPLE, cohort_text
from encephalon.studies.legibility.preprocessing import CLAMP, brain_scores
from encephalon.studies.legibility.settings import Block, Cohort, Source, Target
from encephalon.synthetic.brain_images import BrainImages
from encephalon.synthetic.connectome import Connectome
from encephalon.synthetic.people import (
    BLOCKS,
    IMAGES,
    NUISANCES,
    SITES,
    TARGETS,
    People,
    ceiling,
    draw_people,
)
from encephalon.tables.schema import ColumnKind
from encephalon.transforms.template import mni_grid

if TYPE_CHECKING:
    from encephalon.inference.batch import Progress

__all__ = [
    "CEILINGS",
    "TRUTH",
    "Size",
    "as_prepared",
    "carriers",
    "declare_cohort",
    "write_cohort",
]

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: What lies beside the cohort, and what declares one that is yet to be prepared.
TRUTH, CEILINGS, RAW = "truth.json", "ceilings.csv", "COHORT.toml"
#: Our choice: columns that carry a signal, of which the mean is the signal exactly, and how far
#: they stray from it; columns of noise of each block; the share of cells that are empty.
CARRIERS, STRAY, EMPTY = 2, 0.5, 0.03
NOISE = {"constitutional": 2, "serology": 10, "psychology": 40, "disease": 10}
#: Millimetres: the mean length of a head, and what a deviation of the signal of sex in T1 and one
#: of chance add to it: the length says nothing of sex that T1 does not.
HEAD, HEAD_SEX, HEAD_CHANCE = 180.0, 4.0, 5.0


@dataclass(frozen=True)
class Size:
    """How large a cohort is.

    people, seed    how many, and what they are drawn from
    side, regions   voxels along each side of an image, which span 224 mm; regions of connectivity
    missing         share of people who lack an input, drawn for each (T1 and FLAIR go together);
                    nobody lacks all
    images          False for connectivity and tables alone
    """

    people: int
    seed: int = 0
    side: int = 32
    regions: int = 24
    missing: float = 0.0
    images: bool = True


def write_cohort(
    folder: Path,
    size: Size,
    *,
    prepared: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write a cohort into a new folder, all or nothing; returns its COHORT.toml, or its people.csv.

    With `prepared` it is what `encephalon table cohort` makes of one, to be trained on at once.
    Beside it lie truth.json with what was planted, and ceilings.csv with the best scores from each
    set of inputs. Raises OutputExistsError for a folder
    that is there, unless `overwrite` and it holds such a cohort or nothing.
    """
    folder = expanded(folder)
    if overwrite:
        refuse_foreign(folder, "synthetic cohort", (TRUTH,))
    cohort, drawn = declare_cohort(size, prepared), draw_people(size.people, size.seed)
    rng = np.random.default_rng([size.seed, 1])
    has = _presence(cohort, size, rng)
    chance = HEAD_CHANCE * rng.standard_normal(size.people)
    heads = HEAD + HEAD_SEX * drawn.signals["t1"]["sex"][:, 0] + chance
    columns = {
        "id": drawn.ids,
        "family": [f"family-{number + 1}" for number in drawn.family],
        "site": [SITES[number] for number in drawn.site],
        "head_size": [f"{length:.1f}" for length in heads],
        **({name: [""] * size.people for name in cohort.sources} if prepared else {}),
        **_cells(cohort, drawn, has, rng),
    }
    total, done = sum(int(has[source].sum()) for source in cohort.sources), count(1)
    with atomic_folder(folder, overwrite) as work:
        written = _write_connectivity(work, size, drawn, has["connectivity"], prepared)
        if size.images:
            images = _write_images(work, size, drawn, has, heads / HEAD, prepared)
            written = chain(written, images)
        for person, source, file in written:
            if prepared:
                columns[source][person] = file
            if progress:
                progress(next(done), total, drawn.ids[person])
        rows = zip(*columns.values(), strict=True)
        write_records([dict(zip(columns, row, strict=True)) for row in rows], work / PEOPLE)
        _write_truth(work, size, cohort)
        write_text(work / (COHORT if prepared else RAW), cohort_text(cohort))
    return folder / (PEOPLE if prepared else RAW)


def declare_cohort(size: Size, prepared: bool = False) -> Cohort:
    """What its people have and what is told of them, as files to prepare or as prepared ones."""
    files = "" if prepared else "images/{{id}}_{}.nii.gz"
    sources = {
        name: Source(kind="image", contents="brain", files=files.format(name))
        for name in (IMAGES if size.images else ())
    }
    sources["connectivity"] = Source(
        kind="connectivity",
        representation="tangent",
        array="" if prepared else "connectivity.npy",
        ids="" if prepared else "connectivity.txt",
    )
    return Cohort(
        name="synthetic",
        table=PEOPLE,
        group="family",
        site="site",
        together=(("t1", "flair"),) if size.images else (),
        confounds=("site", "head_size", "age", "sex"),
        subgroups=("sex", "site"),
        sources=sources,
        blocks={name: Block(columns=_columns(name)) for name in BLOCKS},
        targets={
            name: Target(kind=one.kind, classes=one.classes, domain=one.domain, unit=one.unit)
            for name, one in TARGETS.items()
        },
    )


def _columns(block: str) -> dict[str, ColumnKind]:
    """The targets of the block, and columns of signals and of noise, which no name tells apart."""
    own: dict[str, ColumnKind] = {
        name: one.classes or "number" for name, one in TARGETS.items() if one.domain == block
    }
    count = NOISE[block] + sum(map(len, carriers(block).values()))
    return own | {f"{block}_{n:02d}": "number" for n in range(1, count + 1)}


def carriers(block: str) -> dict[str, list[str]]:
    """By signal ("age", or "diagnosis-1" and "diagnosis-2") the columns that carry it."""
    signals = [
        f"{name}-{n + 1}" if one.signals > 1 else name
        for name, one in TARGETS.items()
        if block in one.shares
        for n in range(one.signals)
    ]
    return {
        name: [f"{block}_{CARRIERS * place + n:02d}" for n in range(1, CARRIERS + 1)]
        for place, name in enumerate(signals)
    }


def _presence(cohort: Cohort, size: Size, rng: np.random.Generator) -> dict[str, Flags]:
    """Who has which input."""
    lacks = rng.random((size.people, len(cohort.units))) < size.missing
    kept = rng.integers(len(cohort.units), size=size.people)
    lacks[np.arange(size.people), kept] &= ~lacks.all(axis=1)
    return {name: ~lacks[:, n] for n, unit in enumerate(cohort.units) for name in unit}


def _cells(
    cohort: Cohort, drawn: People, has: Mapping[str, Flags], rng: np.random.Generator
) -> dict[str, list[str]]:
    """The columns of all blocks as text, "" where nothing is known."""
    cells: dict[str, list[str]] = {}
    for block, declared in cohort.blocks.items():
        numbers = rng.standard_normal((len(drawn.ids), len(declared.columns)))
        values = dict(zip(declared.columns, numbers.T, strict=True))
        for signal, names in zip(drawn.of(block).T, carriers(block).values(), strict=True):
            stray = STRAY * rng.standard_normal((CARRIERS, len(signal)))
            for name, away in zip(names, stray - stray.mean(axis=0), strict=True):
                values[name] = signal + away
        values |= {name: drawn.truth[name] for name in declared.columns if name in TARGETS}
        for name, kind in declared.columns.items():
            known = has[block] & (rng.random(len(drawn.ids)) >= EMPTY)
            texts = (kind[int(n)] if kind != "number" else f"{n:.4f}" for n in values[name])
            cells[name] = [text if there else "" for text, there in zip(texts, known, strict=True)]
    return cells


#: The place of a person, a source of theirs, and its file.
Written = Iterator[tuple[int, str, str]]


def _write_images(
    work: Path, size: Size, drawn: People, has: Mapping[str, Flags], scale: Values, prepared: bool
) -> Written:
    """Write the images that people have, as NIfTI as large as their heads, or prepared."""
    (work / "images").mkdir()
    signals = {source: drawn.of(source) for source in IMAGES}
    most = max(values.shape[1] for values in signals.values())
    brain = BrainImages(mni_grid(size.side), IMAGES, most, NUISANCES, len(SITES))
    for number, source in enumerate(IMAGES):
        for person in map(int, np.flatnonzero(has[source])):
            rng = np.random.default_rng([size.seed, 2, number, person])
            seen = (signals[source][person], drawn.looks[source][person], int(drawn.site[person]))
            image = brain.draw(source, *seen, rng)
            file = f"images/{drawn.ids[person]}_{source}." + ("npy" if prepared else "nii.gz")
            if prepared:
                np.save(work / file, as_prepared(image, brain.mask))
            else:
                affine = Affine(np.diag([*[scale[person]] * 3, 1.0])) @ brain.grid.affine
                write_image(1000 * image, work / file, Image(image, affine))
            yield person, source, file


def as_prepared(image: NDArray[np.float32], mask: Flags) -> NDArray[np.float16]:
    """The image as preparation leaves it: z-scores of the brain in [-1, 1], -1 outside."""
    return brain_scores(image.clip(*np.percentile(image[mask], CLAMP)), mask).astype(np.float16)


def _write_connectivity(
    work: Path, size: Size, drawn: People, has: Flags, prepared: bool
) -> Written:
    """Write the matrices in one file with their ids, or prepared: the upper triangle of each."""
    if prepared:
        (work / "connectivity").mkdir()
    signals, there = drawn.of("connectivity"), np.flatnonzero(has)
    connectome = Connectome(size.regions, signals.shape[1], NUISANCES, len(SITES))
    matrices = np.empty((len(there), size.regions, size.regions), np.float32)
    for place, person in enumerate(map(int, there)):
        rng = np.random.default_rng([size.seed, 3, person])
        seen = (signals[person], drawn.looks["connectivity"][person], int(drawn.site[person]))
        matrices[place] = connectome.draw(*seen, rng)
        file = f"connectivity/{drawn.ids[person]}.npy"
        if prepared:
            np.save(work / file, matrices[place][connectome.upper])
        yield person, "connectivity", file
    if not prepared:
        np.save(work / "connectivity.npy", matrices)
        write_text(work / "connectivity.txt", "".join(f"{drawn.ids[one]}\n" for one in there))


def _write_truth(work: Path, size: Size, cohort: Cohort) -> None:
    """What was planted, and the best score of each set of units."""
    units = cohort.units
    planted = {name: asdict(one) for name, one in TARGETS.items()}
    told = {"size": size, "targets": planted, "carriers": {name: carriers(name) for name in BLOCKS}}
    write_json(work / TRUTH, told)
    best: list[dict[str, Any]] = [
        {"target": target, "inputs": "+".join(inputs), "metric": metric, "best": f"{value:.6f}"}
        for target in cohort.targets
        for number in range(1, len(units) + 1)
        for inputs in map(sum, combinations(units, number), repeat(()))
        for metric, value in ceiling(target, inputs).items()
    ]
    write_records(best, work / CEILINGS)
