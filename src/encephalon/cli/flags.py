# SPDX-License-Identifier: Apache-2.0
"""The flags that verbs share, in one table: same name, same meaning, same help everywhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Context, Option, TyperException

from encephalon.errors import UsageError, did_you_mean

# What the verbs themselves take, by the names of their flags.
_TAKEN = "model table output device threads offline overwrite progress workers"
_OWN = frozenset(_TAKEN.split())


def settings(
    pairs: list[str] | None, flag: str = "--set", form: str = "KEY=VALUE"
) -> dict[str, str]:
    """KEY=VALUE words as a dictionary; raises UsageError for a word without `=`.

    What is set twice has its last value, as commands are made longer by further words; what a flag
    says of the data it may say once.
    """
    found: dict[str, str] = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not (key.strip() and equals):
            raise UsageError(f"{flag} takes {form}, and got {pair!r}.")
        if flag != "--set" and key.strip() in found:
            raise UsageError(
                f"{flag} is given twice for {key.strip()!r}, {found[key.strip()]!r} and "
                f"{value.strip()!r}: keep one of them."
            )
        found[key.strip()] = value.strip()
    return found


def words(values: list[str] | None) -> list[str] | None:
    """The words `a,b` and `c` of a flag that may be repeated as ["a", "b", "c"]; none is None."""
    return [word for one in values for word in re.split(r"[,\s]+", one) if word] if values else None


def given(**options: Any) -> dict[str, Any]:
    """Only the options that the user set, so that the study's own defaults hold for the rest."""
    return {name: value for name, value in options.items() if value is not None}


def _configured(context: Context, file: Path | None) -> Path | None:
    """Take what the file says for what is not said on the command line.

    A list may stand for words between commas. Raises UsageError for a flag that the command does
    not have, and for a value that the flag does not take.
    """
    if file is None:
        return None
    from encephalon.io.text import parse_toml, read_text

    read = parse_toml(read_text(file), file)
    said = {key.replace("-", "_"): value for key, value in read.items()}
    known = {
        word.lstrip("-").replace("-", "_"): one
        for one in context.command.params
        for word in one.opts  # --no-csf is csf = false
        if word.startswith("--") and one.name != "config"
    }
    for key in said.keys() - known.keys():
        meant = did_you_mean(key, known, "its flags are")
        raise UsageError(f"{file}: `encephalon {context.info_name}` has no {key!r}; {meant}")
    told = {str(known[key].name): _told(context, known[key], said[key], file) for key in said}
    context.default_map = {**(context.default_map or {}), **told}
    return file


def _told(context: Context, flag: Any, value: Any, file: Path) -> Any:
    """What a flag is told by the file, as it would be typed."""
    if flag.multiple:
        value = value if isinstance(value, list) else [value]
    elif isinstance(value, list):
        value = ",".join(map(str, value))
    try:
        flag.process_value(context, value)
    except (TyperException, UsageError) as error:
        raise UsageError(f"{file}: {flag.name} = {value!r}: {str(error).rstrip('.')}.") from error
    return value


def _device(value: str) -> str:
    from encephalon.inference.runtimes import check_device

    return check_device(value)


_MODEL = "A model's name, a model or run folder, the folder of a grid, or published weights."
Model = Annotated[str, Argument(metavar="MODEL", help=_MODEL)]
ModelOption = Annotated[str, Option("-m", "--model", help=_MODEL, metavar="MODEL")]
Recipe = Annotated[
    str, Argument(metavar="RECIPE", help="A built-in recipe's name, or a TOML file.")
]
Inputs = Annotated[
    list[Path] | None,
    Option(
        *("-i", "--input"),
        help="An image, a folder of them, a DICOM folder, a table, or a BIDS dataset; may be "
        "repeated.",
        metavar="INPUT",
        readable=False,
    ),
]
Output = Annotated[Path, Option("-o", "--output", help="Where the results go.", metavar="PLACE")]
Device = Annotated[
    str,
    Option(
        "--device",
        help="auto, cpu, cuda, cuda:N or mps; falls back to the CPU with a warning.",
        callback=_device,
        metavar="NAME",
    ),
]
_THREADS = "CPU threads; all cores by default."
Threads = Annotated[int | None, Option("--threads", help=_THREADS, min=1, metavar="N")]
Overwrite = Annotated[bool, Option("--overwrite", help="Replace results that exist.")]
Offline = Annotated[bool, Option("--offline", help="Never use the network.")]
Mirror = Annotated[
    str | None,
    Option("--mirror", help="Address or folder that has the file.", metavar="PLACE"),
]
Mirrors = Annotated[
    list[str] | None,
    Option(
        "--mirror",
        help="Address, folder or archive that has the file; repeat it for further ones.",
        metavar="PLACE",
    ),
]
Seed = Annotated[
    int | None,
    Option("--seed", help="Seed of every random draw.", min=0, max=2**32 - 1, metavar="N"),
]
AsJson = Annotated[bool, Option("--json", help="Print the result as JSON.")]
DryRun = Annotated[bool, Option("--dry-run", help="Say what would be done, and do nothing.")]
Report = Annotated[bool, Option("--report/--no-report", help="Write report.html into the folder.")]
Table = Annotated[
    Path,
    Option("-t", "--table", help="CSV, TSV, Parquet or Excel; a row a sample.", metavar="FILE"),
]
Set = Annotated[
    list[str] | None,
    Option(
        "--set",
        help="Change a value of the recipe, such as training.epochs=5; may be repeated.",
        metavar="KEY=VALUE",
    ),
]
Options = Annotated[
    list[str] | None,
    Option(
        "--option",
        help="Any option of the model's study, such as border=2; may be repeated.",
        metavar="KEY=VALUE",
    ),
]


Config = Annotated[
    Path | None,
    Option(
        "--config",
        help="A TOML file of flags, such as border = 2; those on the command line win.",
        metavar="FILE",
        callback=_configured,
        is_eager=True,
    ),
]


@dataclass(frozen=True)
class Running:
    """How a model is loaded and run: what every verb that gives one images takes."""

    config: Config = None
    more: Options = None
    device: Device = "auto"
    threads: Threads = None
    overwrite: Overwrite = False
    offline: Offline = False

    def loading(self, **options: Any) -> dict[str, Any]:
        """The arguments of `load_model`: the `options` that have flags of their own, and the rest.

        Values of --option are in TOML spelling. Raises UsageError for one that is none of the
        study's, or is given by its own flag too.
        """
        from encephalon.recipes.loading import parse_value

        texts = settings(self.more, "--option")
        more = {key.replace("-", "_"): parse_value(text) for key, text in texts.items()}
        for name in more:
            if name in _OWN:
                raise UsageError(
                    f"--option takes what the model's study knows, and {name!r} is none of it."
                )
        said = given(**options)
        if twice := said.keys() & more.keys():
            raise UsageError(
                f"{min(twice)!r} is given twice, by its own flag and by --option: drop one."
            )
        running = {"device": self.device, "threads": self.threads, "offline": self.offline}
        return running | said | more


@dataclass(frozen=True)
class BidsRunning(Running):
    """The same in the words of BIDS-Apps for threads, and what others of these need."""

    threads: Annotated[
        int | None,
        Option(
            *("--threads", "--nprocs", "--n-cpus", "--omp-nthreads"),
            help=_THREADS,
            min=1,
            metavar="N",
        ),
    ] = None
    work_dir: Annotated[
        Path | None,
        Option(
            "-w",
            "--work-dir",
            help="Accepted, and not needed: no working files are kept.",
            metavar="PLACE",
        ),
    ] = None
    skip_bids_validation: Annotated[
        bool,
        Option("--skip-bids-validation", help="Accepted, and not needed: nothing is validated."),
    ] = False
    untracked: Annotated[
        bool,
        Option(*("--notrack", "--no-sub"), help="Accepted, and not needed: nothing is ever sent."),
    ] = False


@dataclass(frozen=True)
class Chosen:
    """Which images of a folder, or of a BIDS dataset, are taken."""

    pattern: Annotated[
        str | None,
        Option(
            "--pattern",
            help="Only files of a folder that match, such as '*T1w.nii.gz'; '**/*' also searches "
            "sub-folders.",
            metavar="GLOB",
        ),
    ] = None
    suffix: Annotated[
        list[str] | None,
        Option("--suffix", help="BIDS: only these suffixes, such as T1w,FLAIR.", metavar="KINDS"),
    ] = None
    participant_label: Annotated[
        list[str] | None,
        Option(
            "--participant-label",
            help="BIDS: only these, with or without sub-.",
            metavar="LABELS",
        ),
    ] = None
    session_label: Annotated[
        list[str] | None,
        Option(
            *("--session-label", "--session-id"),
            help="BIDS: only these, with or without ses-.",
            metavar="LABELS",
        ),
    ] = None
    bids_filter_file: Annotated[
        Path | None,
        Option(
            "--bids-filter-file",
            help='BIDS: a JSON file such as {"t1w": {"session": "01"}}, as fMRIPrep reads it.',
            metavar="FILE",
        ),
    ] = None

    def words(self) -> dict[str, Any]:
        """The same in the words of Python; only what the user said."""
        from encephalon.io.bids_filters import read_filters

        file = self.bids_filter_file
        return given(
            filters=None if file is None else read_filters(file),
            pattern=self.pattern,
            suffixes=words(self.suffix),
            participants=words(self.participant_label),
            sessions=words(self.session_label),
        )


@dataclass(frozen=True)
class Joined:
    """What joins a single input: further files of the same person, and what a table would say."""

    t1: Annotated[
        Path | None,
        Option(
            *("--t1w", "--t1"),
            help="The T1w of the same subject, for one T2w as INPUT [isotropic].",
            metavar="FILE",
        ),
    ] = None
    stack: Annotated[
        list[Path] | None,
        Option(
            "--stack",
            help="A further T2w of the same subject in another plane; up to two [isotropic].",
            metavar="FILE",
        ),
    ] = None
    source: Annotated[
        list[str] | None,
        Option(
            "--source",
            help="A file of the subject by what it is, such as flair=FLAIR.nii.gz; may be "
            "repeated, and INPUT left out [legibility].",
            metavar="NAME=FILE",
        ),
    ] = None
    value: Annotated[
        list[str] | None,
        Option(
            "--value",
            help="What a table would say of the subject, such as age=34; may be repeated "
            "[legibility].",
            metavar="COLUMN=CELL",
        ),
    ] = None

    def words(self) -> dict[str, Any]:
        """The same in the words of Python."""
        stacks = {f"stack{number}": path for number, path in enumerate(self.stack or [], start=2)}
        files = settings(self.source, "--source") | given(t1w=self.t1, **stacks)
        return {"companions": files, "values": settings(self.value, "--value")}
