# SPDX-License-Identifier: Apache-2.0
"""`encephalon simulate micrographs | thick-slices | heads`: images whose answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from encephalon.cli import flags
from encephalon.cli.console import Console, error
from encephalon.errors import UsageError

if TYPE_CHECKING:
    from encephalon.studies.isotropic.simulate import Outcome, Wish

Axes = Annotated[
    str,
    typer.Option("--axis", help="Planes: axial, coronal, sagittal; or i, j, k.", metavar="AXES"),
]

Scans = Annotated[
    list[Path],
    typer.Argument(metavar="INPUT", help="Isotropic T2w: files, folders, BIDS, tables."),
]
Thicknesses = Annotated[
    str | None, typer.Option("--thickness", help="Of the slices, such as 2,3.3,5.", metavar="MM")
]
Gap = Annotated[
    float | None, typer.Option("--gap", help="Between slices; 0 by default.", metavar="MM")
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="box, gaussian, or a text file of two columns, offset in mm and sensitivity.",
        metavar="NAME",
    ),
]
Noise = Annotated[
    float | None,
    typer.Option(
        "--noise", help="Rician noise as a share of bright tissue, such as 0.02.", metavar="P"
    ),
]
Mode = Annotated[
    Literal["physical", "published"],
    typer.Option("--mode", help="As scanners measure, or slices left out as BABY-AI does."),
]
Factors = Annotated[
    str | None,
    typer.Option("--factor", help="Published: one of so many is kept; 2,3,4,5.", metavar="N"),
]


def micrographs(
    output: flags.Output,
    animals: Annotated[
        int,
        typer.Option("--animals", help="Number of animals, half of them aged.", min=2, max=1000),
    ] = 12,
    images: Annotated[
        int, typer.Option("--images", help="Micrographs an animal.", min=1, max=1000)
    ] = 6,
    size: Annotated[
        int, typer.Option("--size", help="Side of each, pixels.", min=64, max=4096)
    ] = 256,
    seed: flags.Seed = 0,
    overwrite: flags.Overwrite = False,
    quiet: flags.Quiet = False,
    as_json: flags.AsJson = False,
) -> None:
    """Write synthetic micrographs of vessels, and the spreadsheet that says what they show.

    Aged animals have a deposit of dark grains, whose box the sheet names.

    \b
    Example:
        encephalon simulate micrographs -o trial
        encephalon table images trial trial/sheet.csv -o trial/table.csv --id "Image ID" \\
          --id-rule before-underscore
    """
    from encephalon.studies.micrographs.synthetic import write_phantoms

    sheet = write_phantoms(
        output, animals=animals, images=images, size=size, seed=seed or 0, overwrite=overwrite
    )
    count = animals * images
    Console(0, quiet, as_json).result(
        {"sheet": sheet, "images": count}, f"{sheet}: {count} micrographs"
    )


def thick_slices(
    inputs: Scans,
    output: flags.Output,
    axis: Axes = "axial",
    thickness: Thicknesses = None,
    gap: Gap = None,
    profile: Profile = None,
    noise: Noise = None,
    mode: Mode = "physical",
    factor: Factors = None,
    seed: flags.Seed = None,
    overwrite: flags.Overwrite = False,
    verbose: flags.Verbose = 0,
    quiet: flags.Quiet = False,
    as_json: flags.AsJson = False,
) -> None:
    """Make thick slices of isotropic T2w scans, and a table of them, their truth and their T1w.

    Names of BIDS are kept, with acq-axial4mm in them; table.csv is what `evaluate` takes.

    \b
    Example:
        encephalon simulate thick-slices dataset -o thick --axis axial,coronal --thickness 3,5
        encephalon simulate thick-slices T2w.nii.gz -o thick --thickness 4 --gap 1 --noise 0.02
        encephalon simulate thick-slices T2w.nii.gz -o LR_data --mode published --factor 2,4
    """
    from encephalon.studies.isotropic.acquisition.inputs import find_scans
    from encephalon.studies.isotropic.simulate import write_thick_slices

    console = Console(verbose, quiet, as_json)
    physical = flags.given(
        thicknesses=_numbers(thickness, "--thickness"),
        gap=gap,
        profile=profile,
        noise=noise,
        seed=seed,
    )
    wish = _wish(mode, tuple(flags.words(axis) or ()), physical, _numbers(factor, "--factor"))
    scans = find_scans(inputs)
    with console.progress(None, "thick slices") as advance:
        outcome = write_thick_slices(scans, output, wish, overwrite=overwrite, progress=advance)
    _say(console, outcome)


def heads(
    output: flags.Output,
    subjects: Annotated[
        int, typer.Option("--subjects", help="Number of heads.", min=1, max=1000)
    ] = 2,
    infants: Annotated[
        bool,
        typer.Option("--infants", help="Small heads whose white matter is not myelinated yet."),
    ] = False,
    axis: Axes = "axial",
    thickness: Annotated[
        float, typer.Option("--thickness", help="Of the T2w's slices.", metavar="MM")
    ] = 4.0,
    seed: flags.Seed = 0,
    overwrite: flags.Overwrite = False,
    verbose: flags.Verbose = 0,
    quiet: flags.Quiet = False,
    as_json: flags.AsJson = False,
) -> None:
    """Write a small BIDS dataset of synthetic heads: T1w, T2w of thick slices, and its truth.

    The isotropic T2w is in derivatives/truth, and table.csv names all three. Nothing is downloaded.
    The T1w lies a few millimetres and degrees off, as heads move between scans.

    \b
    Example:
        encephalon simulate heads -o heads --subjects 3
        encephalon predict isotropic heads -o results
    """
    from encephalon.studies.isotropic.synthetic import write_heads

    console = Console(verbose, quiet, as_json)
    with console.progress(subjects, "heads") as advance:
        table = write_heads(
            output,
            subjects=subjects,
            infants=infants,
            axis=axis,
            thickness=thickness,
            seed=seed or 0,
            overwrite=overwrite,
            progress=advance,
        )
    console.result({"table": table, "subjects": subjects}, f"{table}: {subjects} heads")


def _numbers(words: str | None, flag: str) -> tuple[float, ...] | None:
    """`2,3.3` as numbers; raises UsageError for what is none."""
    if words is None:
        return None
    found = flags.words(words) or []
    try:
        return tuple(float(word) for word in found)
    except ValueError:
        raise UsageError(f"{flag} takes numbers between commas, and got {words!r}.") from None


def _wish(
    mode: str,
    axes: tuple[str, ...],
    physical: dict[str, Any],
    factors: tuple[float, ...] | None,
) -> Wish:
    """What was asked for; raises UsageError for a flag of the other mode, or one that is needed."""
    from encephalon.studies.isotropic.simulate import Wish

    if mode == "physical":
        if factors is not None:
            raise UsageError("--factor belongs to --mode published; give --thickness in mm.")
        if "thicknesses" not in physical:
            raise UsageError("Say how thick the slices are: --thickness 4 means 4 mm.")
        return Wish(axes, **physical)
    if physical:
        name = next(iter(physical)).replace("thicknesses", "thickness")
        raise UsageError(f"--{name} belongs to --mode physical; published slices have factors.")
    if factors is None or not all(one.is_integer() for one in factors):
        raise UsageError("Published slices need whole factors: --factor 2,3,4,5.")
    return Wish(axes, factors=tuple(int(one) for one in factors))


def _say(console: Console, outcome: Outcome) -> None:
    for sentence in outcome.failures:
        error(sentence)
    rows, failed = len(outcome.rows), len(outcome.failures)
    text = f"{outcome.table}: {rows} files" + (f", {failed} failures" if failed else "")
    if not rows:
        text = f"nothing was written, {failed} failures"
    data = {"table": outcome.table, "rows": outcome.rows, "failures": outcome.failures}
    console.result(data, text)
    if failed:
        raise typer.Exit(1)


COMMANDS = (micrographs, thick_slices, heads)
