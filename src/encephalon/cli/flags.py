# SPDX-License-Identifier: Apache-2.0
"""The flags that verbs share, in one table: same name, same meaning, same help everywhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from encephalon.errors import UsageError

# The options of studies that have flags of their own.
_OF_STUDIES = (
    *("series", "border", "csf", "threshold", "largest", "fill", "rotate", "block", "save"),
    *("method", "spacing", "thickness", "gap", "axis", "profile", "registration"),
)
# What the verbs themselves take, by the names of their flags.
_OWN = {"model", "table", "output", "device", "threads", "offline", "overwrite", "progress"}


def settings(pairs: list[str] | None, flag: str = "--set") -> dict[str, str]:
    """KEY=VALUE words as a dictionary; raises UsageError for a word without `=`."""
    found: dict[str, str] = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not (key.strip() and equals):
            raise UsageError(f"{flag} takes KEY=VALUE, and got {pair!r}.")
        found[key.strip()] = value.strip()
    return found


def values(pairs: list[str] | None) -> dict[str, Any]:
    """KEY=VALUE words of --option, values in TOML spelling, keys with underscores."""
    from encephalon.recipes.loading import parse_value

    texts = settings(pairs, "--option")
    found = {key.replace("-", "_"): parse_value(text) for key, text in texts.items()}
    for name in found:
        if name in _OWN:
            raise UsageError(
                f"--option takes what the model's study knows, and {name!r} is none of it."
            )
    return found


def words(value: str | None) -> list[str] | None:
    """`a,b c` as ["a", "b", "c"]; None stays None."""
    return None if value is None else [word for word in re.split(r"[,\s]+", value) if word]


def given(**options: Any) -> dict[str, Any]:
    """Only the options that the user set, so that the study's own defaults hold for the rest."""
    return {name: value for name, value in options.items() if value is not None}


def asked(pairs: list[str] | None, **options: Any) -> dict[str, Any]:
    """The options that the user set, by flags of their own or by --option; raises UsageError."""
    flags, more = given(**options), values(pairs)
    twice = flags.keys() & more.keys()
    if twice:
        raise UsageError(
            f"{min(twice)!r} is given twice, by its own flag and by --option: drop one."
        )
    return flags | more


def of_studies(said: Mapping[str, Any]) -> dict[str, Any]:
    """What was said to the flags that belong to studies, by the names of their options."""
    found = {name: said[name] for name in _OF_STUDIES if name in said}
    return found | {"save": words(said.get("save"))}


def companions(t1: Path | None, stacks: list[Path] | None) -> dict[str, dict[str, Path]]:
    """The images that join INPUT, by role, in the words of Python; nothing where there are none."""
    more = {f"stack{number}": path for number, path in enumerate(stacks or [], start=2)}
    joined = given(t1w=t1, **more)
    return {"companions": joined} if joined else {}


def selection(
    suffix: str | None, participants: str | None, sessions: str | None
) -> dict[str, list[str]]:
    """Which images of a BIDS dataset, in the words of Python; only what the user said."""
    return given(suffixes=words(suffix), participants=words(participants), sessions=words(sessions))


def _device(value: str) -> str:
    from encephalon.inference.devices import check_device

    return check_device(value)


def _flag(*names: str, text: str, callback: Callable[..., Any] | None = None, **more: Any) -> Any:
    return typer.Option(*names, help=text, callback=callback, **more)


_MODEL = "A model's name, a model or run folder, or a published weights file."
Model = Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL)]
ModelOption = Annotated[str, _flag("-m", "--model", text=_MODEL, metavar="MODEL")]
Recipe = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A built-in recipe's name, or a TOML file.")
]

# What every verb that works on data has.
Output = Annotated[Path, _flag("-o", "--output", text="Where the results go.", metavar="PLACE")]
Device = Annotated[
    str,
    _flag(
        "--device",
        text="auto, cpu, cuda, cuda:N or mps; falls back to the CPU with a warning.",
        callback=_device,
        metavar="NAME",
    ),
]
Threads = Annotated[
    int | None, _flag("--threads", text="CPU threads; all cores by default.", min=1, metavar="N")
]
Overwrite = Annotated[bool, _flag("--overwrite", text="Replace results that exist.")]
Offline = Annotated[bool, _flag("--offline", text="Never touch the network.")]
Seed = Annotated[
    int | None,
    _flag("--seed", text="Seed of every random draw.", min=0, max=2**32 - 1, metavar="N"),
]
Verbose = Annotated[
    int,
    _flag("-v", "--verbose", text="Say more; -vv adds tracebacks.", count=True, show_default=False),
]
Quiet = Annotated[bool, _flag("-q", "--quiet", text="Say errors only.")]
AsJson = Annotated[bool, _flag("--json", text="Print the result as JSON.")]
DryRun = Annotated[bool, _flag("--dry-run", text="Say what would be done, and do nothing.")]
Report = Annotated[bool, _flag("--report/--no-report", text="Write report.html into the folder.")]
Table = Annotated[
    Path, _flag("-t", "--table", text="CSV, TSV, Parquet or Excel; a row a sample.", metavar="FILE")
]
Set = Annotated[
    list[str] | None,
    _flag(
        "--set",
        text="Change a value of the recipe, such as training.epochs=5; may be repeated.",
        metavar="KEY=VALUE",
    ),
]
Options = Annotated[
    list[str] | None,
    _flag(
        "--option",
        text="Any option of the model's study, such as border=2; may be repeated.",
        metavar="KEY=VALUE",
    ),
]

# How the files of a folder find their rows.
IdRule = Annotated[
    str,
    _flag(
        "--id-rule",
        text="How a file name becomes an id: stem, before-underscore, or a regular expression "
        "with one group.",
        metavar="RULE",
    ),
]
Rename = Annotated[
    list[str] | None,
    _flag("--rename", text="Rename a column of SHEET; may be repeated.", metavar="OLD=NEW"),
]

# BIDS-Apps have their own words for threads, and for which images of a dataset.
BidsThreads = Annotated[
    int | None,
    _flag(
        "--threads",
        "--nprocs",
        "--n-cpus",
        "--omp-nthreads",
        text="CPU threads; all cores by default.",
        min=1,
        metavar="N",
    ),
]
Suffix = Annotated[
    str | None, _flag("--suffix", text="BIDS: kinds of image, such as T1w,FLAIR.", metavar="KINDS")
]
Participants = Annotated[
    str | None,
    _flag("--participant-label", text="BIDS: only these, with or without sub-.", metavar="LABELS"),
]
Sessions = Annotated[
    str | None,
    _flag(
        "--session-label",
        "--session-id",
        text="BIDS: only these, with or without ses-.",
        metavar="LABELS",
    ),
]

Series = Annotated[
    str | None,
    _flag(
        "--series",
        text="Which DICOM series: number, description or UID; and :2 for its second volume.",
        metavar="NAME",
    ),
]

# Options of segmentation studies; a study refuses those that it does not know.
Border = Annotated[
    float | None,
    _flag("--border", text="Move the mask's border outwards, or inwards below 0.", metavar="MM"),
]
Csf = Annotated[
    bool | None,
    _flag("--csf/--no-csf", text="Keep the fluid around the brain, or leave it out."),
]
Threshold = Annotated[
    float | None,
    _flag("-t", "--threshold", text="Probability from which a voxel is in the mask.", metavar="P"),
]
Largest = Annotated[
    bool | None,
    _flag(
        "--largest/--no-largest",
        "-l",
        "--largest-label",
        text="Keep the largest piece only.",
    ),
]
Fill = Annotated[bool | None, _flag("--fill/--no-fill", text="Fill holes in the mask.")]
Rotate = Annotated[
    bool | None,
    _flag("--rotate/--no-rotate", "--rotate-and-predict", text="Average over rotations."),
]
Block = Annotated[
    int | None,
    _flag(
        "-b", "--block", text="Edge of the blocks that the network sees.", metavar="VOXELS", min=8
    ),
]
Save = Annotated[
    str | None,
    _flag(
        "--save",
        text="Images to write: mask,brain,distance,probability, or t2w,uncertainty,t1w.",
        metavar="KINDS",
    ),
]

# Images that join a single INPUT, for models that take more than one.
T1 = Annotated[
    Path | None,
    _flag("--t1", text="The T1w of the same person, for one T2w as INPUT.", metavar="FILE"),
]
Stacks = Annotated[
    list[Path] | None,
    _flag(
        "--stack",
        text="A further T2w of INPUT's person, cut in another plane; up to two.",
        metavar="FILE",
    ),
]

# Options of reconstruction studies.
Method = Annotated[
    str | None,
    _flag("--method", text="network, or guided, which needs no training.", metavar="NAME"),
]
Spacing = Annotated[
    float | None,
    _flag(
        "--spacing",
        text="Voxel edge of the result, mm; the T2w's in-plane one by default.",
        metavar="MM",
    ),
]
Thickness = Annotated[
    float | None,
    _flag("--thickness", text="Of the slices, mm; where the header does not tell.", metavar="MM"),
]
Gap = Annotated[
    float | None,
    _flag("--gap", text="Between slices, mm; where the header does not tell.", metavar="MM"),
]
Axis = Annotated[
    str | None,
    _flag(
        "--axis",
        text="Plane of the slices: axial, coronal or sagittal; or i, j or k.",
        metavar="PLANE",
    ),
]
Profile = Annotated[
    str | None,
    _flag(
        "--profile",
        text="Sensitivity across a slice: box, gaussian, or a text file of mm and sensitivity.",
        metavar="KIND",
    ),
]
Registration = Annotated[
    str | None,
    _flag("--registration", text="rigid, or none to trust the headers.", metavar="KIND"),
]
