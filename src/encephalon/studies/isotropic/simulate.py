# SPDX-License-Identifier: Apache-2.0
"""Files of thick slices made of isotropic ones, and the table that pairs them with their truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from encephalon.errors import EncephalonError, GeometryError, InputError, OutputError, UsageError
from encephalon.io.atomic import prove_writable, refuse_existing, write_json, write_text
from encephalon.io.bids import generated_by, write_dataset_description
from encephalon.io.image import Image, image_stem
from encephalon.io.reading import read_image, write_image
from encephalon.io.text import csv_text
from encephalon.studies.isotropic.acquisition.inputs import ScanFile
from encephalon.studies.isotropic.published.preprocessing import (
    FACTORS,
    decimate,
    decimated_path,
    read_published,
    write_published,
)
from encephalon.studies.isotropic.reconstruction.problem import AXES, VOXEL_AXES, slice_axis
from encephalon.studies.isotropic.simulation import SliceSettings, simulate_slices
from encephalon.tables.naming import written_path
from encephalon.transforms.conform import straightened
from encephalon.transforms.slices import make_profile

COLUMNS = ("id", "t2w", "reference", "t1w", "axis", "thickness", "group")
TABLE = "table.csv"
Progress = Callable[[int, int, str], None]
"""Called after each file with the number done, the number in all, and its name."""
Row = dict[str, Any]


@dataclass(frozen=True)
class SimulationConfig:
    """Which slices are to be made of every scan: all axes by all thicknesses, or all factors.

    axes              Planes of the slices: axial, coronal, sagittal, or voxel axes i, j, k.
    thicknesses, gap  Of the slices and between them, mm.
    profile           "box", "gaussian" or a text file of offsets in mm and sensitivities.
    noise, seed       Of the Rician noise, as a share of bright tissue; every file has its own.
    factors, start    Of the published decimation (BABY-AI), and its first slice. It knows nothing
                      of the above but the axes; physical slices have no factors.
    """

    axes: tuple[str, ...] = ("axial",)
    thicknesses: tuple[float, ...] = ()
    gap: float = 0.0
    profile: str = "box"
    noise: float = 0.0
    seed: int = 0
    factors: tuple[int, ...] = ()
    start: int = 0

    def __post_init__(self) -> None:
        """Raise UsageError for a wish that no scan can fulfil, and what the profile raises."""
        known = [*AXES, *VOXEL_AXES]
        strange = next((axis for axis in self.axes if axis not in known), None)
        if strange is not None or not self.axes:
            raise UsageError(
                f"There is no slice axis {strange or ''!r}: choose of {', '.join(known)}."
            )
        if bool(self.thicknesses) == bool(self.factors):
            factors = ",".join(map(str, FACTORS))
            raise UsageError(
                f"Say how thick slices are in mm, or by which factors, such as {factors}."
            )
        # Gap and noise are refused beside factors too.
        for thickness in self.thicknesses or (1.0,):
            SliceSettings(self.axes[0], thickness, self.gap, noise=self.noise)
        for thickness in self.thicknesses:
            make_profile(self.profile, thickness)
        if self.factors and min(self.factors) < 2:
            raise UsageError(
                f"A factor must be 2 or more, but {min(self.factors)} was asked for: correct it."
            )
        if self.factors and not 0 <= self.start < min(self.factors):
            raise UsageError(
                f"The first slice kept must be 0 to {min(self.factors) - 1}, below every factor, "
                f"but {self.start} was asked for: correct it."
            )


@dataclass
class SimulationResult:
    """A row for each file that was written, a sentence for each that was not, and the table."""

    table: Path
    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class _Piece(NamedTuple):
    """One file to be made of a scan: where, what its row says, and how."""

    path: Path
    row: Row
    write: Callable[[Image], None]


def write_thick_slices(
    scans: Sequence[ScanFile],
    output: Path,
    config: SimulationConfig,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SimulationResult:
    """Write thick slices of every scan into `output`, and table.csv that pairs them with it.

    Physical slices have a JSON beside them, and BIDS names where the scan has one; published ones
    are named as published. Files are whole or absent. A scan that cannot be used spoils nothing but
    itself. Raises OutputExistsError where there is a table already, unless `overwrite`, and
    OutputError for a folder that cannot be written to, or is a raw dataset.
    """
    result = SimulationResult(output / TABLE)
    refuse_existing(result.table, overwrite)
    prove_writable(output)
    if not config.factors and any(scan.bids for scan in scans):
        by = generated_by()
        write_dataset_description(output, "Thick slices, simulated of isotropic scans", by)
    plans = [list(_pieces(scan, output, config, overwrite)) for scan in scans]
    done, total = 0, sum(map(len, plans))
    taken = {scan.path.resolve(): scan.path for scan in scans}  # nor is an input written over
    for scan, pieces in zip(scans, plans, strict=True):
        with _kept(result, scan):
            if scan.fault:
                raise InputError(scan.fault)
            image = straightened(read_image(scan.path))
            for piece in pieces:
                with _kept(result, scan):
                    place = piece.path.resolve()
                    if place in taken:
                        raise OutputError(
                            f"{scan.path}: it would be written as {piece.path}, like "
                            f"{taken[place]}: work on them apart, or rename one."
                        )
                    taken[place] = scan.path
                    piece.write(image)
                    result.rows.append(piece.row)
                done += 1
                if progress is not None:
                    progress(done, total, piece.path.name)
    if result.rows:
        write_text(result.table, csv_text(result.rows, COLUMNS))
    return result


@contextmanager
def _kept(result: SimulationResult, scan: ScanFile) -> Iterator[None]:
    """Turn what goes wrong with one scan into a sentence, so that the others are done."""
    try:
        yield
    except EncephalonError as error:
        result.failures.append(str(error))
    except MemoryError as error:
        message = f"{scan.path}: there is not enough memory ({error}); close other programs."
        result.failures.append(message)
    except OSError as error:
        message = f"{scan.path}: {error.strerror or error}; check the file, its folder, the disk."
        result.failures.append(message)


def _pieces(
    scan: ScanFile, output: Path, config: SimulationConfig, overwrite: bool
) -> Iterator[_Piece]:
    """The files that are to be made of a scan."""
    for axis in config.axes:
        for factor in config.factors:
            yield _published(scan, output, config.start, axis, factor, overwrite)
        for thickness in config.thicknesses:
            yield _physical(scan, output, config, axis, thickness, overwrite)


def _physical(
    scan: ScanFile,
    output: Path,
    config: SimulationConfig,
    axis: str,
    thickness: float,
    overwrite: bool,
) -> _Piece:
    gap = f"gap{_word(config.gap)}" if config.gap else ""
    path = scan.path_in(output, f"{axis}{_word(thickness)}{gap}")
    # Of the name, so that a file's noise does not depend on those before it.
    seed = crc32(f"{config.seed} {path.name}".encode())

    def write(image: Image) -> None:
        sidecar = path.with_name(f"{image_stem(path)}.json")
        for each in (path, sidecar):
            refuse_existing(each, overwrite)
        profile = make_profile(config.profile, thickness)
        thick = simulate_slices(
            image, SliceSettings(axis, thickness, config.gap, profile, config.noise, seed)
        )
        write_image(thick.data, path, thick, overwrite)
        facts = {  # in the words of BIDS where it has some
            "SliceThickness": thickness,
            "SpacingBetweenSlices": thickness + config.gap,
            "SliceEncodingDirection": VOXEL_AXES[slice_axis(thick.affine, axis)],
            "SkullStripped": False,
            "Sources": [written_path(scan.path, output.resolve())],
            "Simulation": {"Profile": config.profile, "Noise": config.noise, "Seed": config.seed},
        }
        write_json(sidecar, facts)

    return _Piece(path, _row(scan, path, output, axis, thickness), write)


def _published(
    scan: ScanFile, output: Path, start: int, axis: str, factor: int, overwrite: bool
) -> _Piece:
    path = decimated_path(output, scan.path, axis, factor)
    row = _row(scan, path, output, axis, None)

    def write(image: Image) -> None:
        across = slice_axis(image.affine, axis)
        row["thickness"] = round(factor * image.spacing[across], 3)
        try:
            data = decimate(read_published(image), factor, across, start)
        except GeometryError as error:
            raise GeometryError(f"{image.name}: {error}") from error
        write_published(data, path, image, overwrite)

    return _Piece(path, row, write)


def _row(scan: ScanFile, path: Path, output: Path, axis: str, thickness: float | None) -> Row:
    base = output.resolve()
    return {
        "id": image_stem(path),
        "t2w": written_path(path, base),
        "reference": written_path(scan.path, base),
        "t1w": None if scan.t1w is None else written_path(scan.t1w, base),
        "axis": axis,
        "thickness": thickness,
        "group": scan.group,
    }


def _word(size: float) -> str:
    """A size in letters and digits, as BIDS wants labels: 3.3 is 3p3mm."""
    return f"{size:g}mm".replace(".", "p")
