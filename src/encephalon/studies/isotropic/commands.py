# SPDX-License-Identifier: Apache-2.0
"""Commands of the isotropic study: thick slices of scans, and synthetic heads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from encephalon.errors import UsageError
from encephalon.recipes.schema import OUTPUT, OVERWRITE, SEED, Flag, Section
from encephalon.studies.base import Command, Done

if TYPE_CHECKING:
    from encephalon.inference.batch import Progress
    from encephalon.studies.isotropic.simulate import SimulationConfig


class SliceOptions(Section):
    """What may be asked of `encephalon simulate thick-slices`; see `simulate.SimulationConfig`."""

    inputs: Annotated[
        tuple[Path, ...], Flag("", "Isotropic T2w: files, folders, BIDS, tables.", "INPUT")
    ]
    output: Annotated[Path, OUTPUT]
    axis: Annotated[
        tuple[str, ...],
        Flag(
            "--slice-plane --axis",
            "Slice planes: axial, coronal, sagittal; or i, j, k.",
            "AXES",
        ),
    ] = ("axial",)
    thickness: Annotated[
        tuple[float, ...],
        Flag("--slice-thickness --thickness", "Slice thickness, such as 2,3.3,5.", "MM"),
    ] = ()
    gap: Annotated[float, Flag("--slice-gap --gap", "Gap between slices.", "MM")] = 0.0
    profile: Annotated[
        str,
        Flag(
            "--slice-profile --profile",
            "Slice profile: box, gaussian, or a text file of offset in mm and sensitivity.",
            "NAME",
        ),
    ] = "box"
    noise: Annotated[
        float, Flag("--noise", "Rician noise as a share of bright tissue, such as 0.02.", "P")
    ] = 0.0
    mode: Annotated[
        Literal["physical", "published"],
        Flag(
            "--mode",
            "As scanners measure, or slices left out as BABY-AI does.",
            "physical|published",
        ),
    ] = "physical"
    factor: Annotated[
        tuple[float, ...],
        Flag("--factor", "Published: one of so many is kept; 2,3,4,5.", "N"),
    ] = ()
    start_slice: Annotated[
        int, Flag("--start-slice", "Published: the first that is kept, below every factor.", "N")
    ] = Field(default=0, ge=0)
    seed: Annotated[int, SEED] = Field(default=0, ge=0, lt=2**32)
    overwrite: Annotated[bool, OVERWRITE] = False


class PhantomOptions(Section):
    """What may be asked of `encephalon simulate phantoms`; see `synthetic.write_heads`."""

    output: Annotated[Path, OUTPUT]
    subjects: Annotated[int, Flag("--subjects", "Number of heads.")] = Field(
        default=2, ge=1, le=1000
    )
    infants: Annotated[
        bool, Flag("--infants", "Small heads whose white matter is not myelinated yet.")
    ] = False
    axis: Annotated[
        str,
        Flag(
            "--slice-plane --axis",
            "Slice planes: axial, coronal, sagittal; or i, j, k.",
            "AXES",
        ),
    ] = "axial"
    thickness: Annotated[
        float, Flag("--slice-thickness --thickness", "Slice thickness of the T2w.", "MM")
    ] = 4.0
    seed: Annotated[int, SEED] = Field(default=0, ge=0, lt=2**32)
    overwrite: Annotated[bool, OVERWRITE] = False


def _thick_slices(asked: SliceOptions, progress: Progress) -> Done:
    """Make thick slices of isotropic T2w scans, and a table of them, their truth and their T1w.

    Names of BIDS are kept, with acq-axial4mm in them; table.csv is what `evaluate` takes.

    \b
    Example:
        encephalon simulate thick-slices data -o thick --slice-plane coronal --slice-thickness 3,5
        encephalon simulate thick-slices T2w.nii.gz -o thick --slice-thickness 4 --noise 0.02
        encephalon simulate thick-slices T2w.nii.gz -o LR_data --mode published --factor 2,4
    """
    from encephalon.studies.isotropic.acquisition.inputs import find_scans
    from encephalon.studies.isotropic.simulate import write_thick_slices

    config = _config(asked)
    found = write_thick_slices(
        find_scans(asked.inputs), asked.output, config, overwrite=asked.overwrite, progress=progress
    )
    rows, failed = len(found.rows), len(found.failures)
    text = f"{found.table}: {rows} files" + (f", {failed} failures" if failed else "")
    if not rows:
        text = f"nothing was written, {failed} failures"
    data = {"table": found.table, "rows": found.rows, "failures": found.failures}
    return Done(data, text, found.failures)


def _config(asked: SliceOptions) -> SimulationConfig:
    """What was asked for; raises UsageError for a flag of the other mode, or one that is needed."""
    from encephalon.studies.isotropic.simulate import SimulationConfig

    given = asked.model_fields_set
    if asked.mode == "physical":
        for name in ("factor", "start_slice"):
            if name in given:
                raise UsageError(
                    f"{_flag(name)} belongs to --mode published; give --slice-thickness in mm."
                )
        if "thickness" not in given:
            raise UsageError("Say how thick the slices are: --slice-thickness 4 means 4 mm.")
        return SimulationConfig(
            asked.axis, asked.thickness, asked.gap, asked.profile, asked.noise, asked.seed
        )
    strange = [name for name in ("thickness", "gap", "profile", "noise", "seed") if name in given]
    if strange:
        raise UsageError(
            f"{_flag(strange[0])} belongs to --mode physical; published slices have factors."
        )
    if "factor" not in given or not all(one.is_integer() for one in asked.factor):
        raise UsageError("Published slices need whole factors: --factor 2,3,4,5.")
    factors = tuple(int(one) for one in asked.factor)
    return SimulationConfig(asked.axis, factors=factors, start=asked.start_slice)


def _flag(name: str) -> str:
    """The flag of an option of slices, as help has it first."""
    told = SliceOptions.model_fields[name].metadata
    return next(one.long for one in told if isinstance(one, Flag))


def _phantoms(asked: PhantomOptions, progress: Progress) -> Done:
    """Write a small BIDS dataset of synthetic heads: T1w, T2w of thick slices, and its truth.

    The isotropic T2w is in derivatives/truth, and table.csv names all three. Nothing is downloaded.
    The T1w lies a few millimetres and degrees off, as heads move between scans.

    \b
    Example:
        encephalon simulate phantoms -o heads --subjects 3
        encephalon predict isotropic heads -o results
    """
    from encephalon.studies.isotropic.synthetic import write_heads

    said = asked.model_dump()
    table = write_heads(said.pop("output"), **said, progress=progress)
    count = asked.subjects
    return Done({"table": table, "subjects": count}, f"{table}: {count} heads")


SIMULATORS = {
    "thick-slices": Command(SliceOptions, _thick_slices),
    "phantoms": Command(PhantomOptions, _phantoms),
}
