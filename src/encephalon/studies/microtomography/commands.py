# SPDX-License-Identifier: Apache-2.0
"""Commands of microtomography: a synthetic volume, and tables of tiles."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from encephalon.errors import UsageError
from encephalon.recipes.schema import OUTPUT, OVERWRITE, SEED, Flag, Section
from encephalon.studies.base import Command, Done

if TYPE_CHECKING:
    from encephalon.inference.batch import Progress

__all__ = ["SIMULATORS", "TABLES"]


class VolumeOptions(Section):
    """What may be asked of `encephalon simulate microtomography`."""

    output: Annotated[Path, OUTPUT]
    depth: Annotated[int, Flag("--depth", "Slices.")] = Field(default=120, ge=24, le=2000)
    side: Annotated[int, Flag("--side", "Side of the slices of each region, voxels.")] = Field(
        default=128, ge=32, le=2048
    )
    tile: Annotated[int, Flag("--tile", "Side of a tile, voxels.")] = Field(default=64, ge=16)
    cubes: Annotated[int, Flag("--cubes", "Cubes of each region: the first is learnt from.")] = (
        Field(default=2, ge=1, le=8)
    )
    seed: Annotated[int, SEED] = Field(default=0, ge=0, lt=2**32)
    overwrite: Annotated[bool, OVERWRITE] = False

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.tile > self.side:
            raise ValueError(f"has --tile {self.tile} above --side {self.side}: no tile would fit")
        return self


class TileOptions(Section):
    """What may be asked of `encephalon table tiles`."""

    benchmark: Annotated[str, Flag("", "A benchmark file, or the name of one that ships.", "FILE")]
    output: Annotated[Path, Flag("-o --output", "Folder of tiles.csv and its boxes.", "FOLDER")]
    data: Annotated[
        Path | None,
        Flag("--data", "Folder that its paths start from; that of the benchmark file.", "FOLDER"),
    ] = None
    offline: Annotated[
        bool, Flag("--offline", "Use what was fetched before, and nothing else.")
    ] = False
    token_file: Annotated[
        Path | None, Flag("--token-file", "A file with a token for BossDB.", "FILE")
    ] = None
    dry_run: Annotated[
        bool, Flag("--dry-run", "Say how many tiles there would be, and do nothing.")
    ] = False
    overwrite: Annotated[bool, OVERWRITE] = False


def _volume(asked: VolumeOptions, progress: Progress) -> Done:
    """Write a labelled volume with the proportions of the published one, and its benchmark.

    \b
    Example:
        encephalon simulate microtomography -o volume
        encephalon table tiles volume/benchmark.toml -o tiles
        encephalon train region-supervised -t tiles/tiles.csv -o run
    """
    from encephalon.studies.microtomography.synthetic import write_volume

    del progress
    said = asked.model_dump()
    written = write_volume(said.pop("output"), **said)
    return Done({"benchmark": written}, f"{written}")


def _tiles(asked: TileOptions, progress: Progress) -> Done:
    """Cut the boxes of a benchmark out of its volumes, and write a table of their tiles.

    \b
    Example:
        encephalon table tiles mtneuro-regions-published -o tiles
    """
    from encephalon.io.files import expanded
    from encephalon.studies.microtomography.benchmark import find_benchmark, load_benchmark
    from encephalon.studies.microtomography.tiles import TABLE, write_tiles

    benchmark = load_benchmark(asked.benchmark)
    folder = expanded(asked.output)
    if asked.dry_run:
        counts = Counter(tile.split for tile in benchmark.tiles_of())
        told = ", ".join(f"{count} {split}" for split, count in counts.items())
        return Done(
            counts, f"would cut tiles of {len(benchmark.boxes)} boxes into {folder}: {told}"
        )
    rows = write_tiles(
        benchmark,
        folder,
        expanded(asked.data) if asked.data else find_benchmark(asked.benchmark).parent,
        overwrite=asked.overwrite,
        progress=progress,
        offline=asked.offline,
        token_file=asked.token_file,
    )
    nowhere = sum(benchmark.regions is not None and row["region"] is None for row in rows)
    text = f"{folder / TABLE}: {len(rows)} tiles"
    if nowhere:
        text += f", {nowhere} of them without a region, which are left out where regions are learnt"
    return Done({"table": folder / TABLE, "tiles": len(rows), "without_region": nowhere}, text)


class LeaderboardOptions(Section):
    """What may be asked of `encephalon table leaderboard`."""

    evaluations: Annotated[
        str, Flag("", "Folders that `encephalon evaluate` wrote, between commas.", "FOLDERS")
    ]
    output: Annotated[Path, Flag("-o --output", "Folder of the leaderboard.", "FOLDER")]
    overwrite: Annotated[bool, OVERWRITE] = False


def _leaderboard(asked: LeaderboardOptions, progress: Progress) -> Done:
    """Put evaluations of tile models side by side: leaderboard.csv, .md and .html.

    \b
    Example:
        encephalon table leaderboard evaluations/byol-0,evaluations/byol-1 -o leaderboard
    """
    from encephalon.studies.microtomography.leaderboard import leaderboard

    del progress
    folders = [Path(name.strip()) for name in asked.evaluations.split(",") if name.strip()]
    if not folders:
        raise UsageError("No folder of an evaluation is given: name one, or several with commas.")
    entries = leaderboard(folders, asked.output, asked.overwrite)
    written = asked.output / "leaderboard.html"
    return Done({"page": written, "scores": len(entries)}, f"{written}: {len(entries)} scores")


SIMULATORS = {"microtomography": Command(VolumeOptions, _volume)}
TABLES = {
    "tiles": Command(TileOptions, _tiles),
    "leaderboard": Command(LeaderboardOptions, _leaderboard),
}
