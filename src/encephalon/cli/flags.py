# SPDX-License-Identifier: Apache-2.0
"""The flags that verbs share, in one table: same name, same meaning, same help everywhere.

Those of a study are made from the fields of its options that have a `Flag`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from inspect import Parameter
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

import typer

from encephalon.errors import UsageError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from encephalon.recipes.schema import Flag, Section

Found = tuple[str, "FieldInfo", "Flag"]
"""A field that has a flag, and the study that it is of."""

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
    from encephalon.inference.runtimes import check_device

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


def of_sections(sections: Iterable[tuple[str, type[Section]]]) -> list[Parameter]:
    """The flags of the fields of `sections`, each of the study that it comes with.

    What two studies have under one name is one flag, whose help says which study means what. Where
    there is no study, "", the help shows the defaults too.
    """
    from encephalon.recipes.schema import Flag

    found: dict[str, list[Found]] = {}
    for study, section in sections:
        for name, field in section.model_fields.items():
            for flag in field.metadata:
                if isinstance(flag, Flag):
                    found.setdefault(name, []).append((study, field, flag))
    return [_parameter(name, fields) for name, fields in found.items()]


def of_studies() -> list[Parameter]:
    """The flags of what all studies can be asked when they predict."""
    from encephalon.studies.registry import list_studies, load_study

    studies = [load_study(name) for name in list_studies()]
    return of_sections((one.name, options) for one in studies for options in one.options.values())


def flagged(function: Callable[..., None], flags: Sequence[Parameter]) -> Callable[..., None]:
    """`function` with `flags` in the place of what it takes by **, as typer reads signatures."""
    signature = inspect.signature(function, eval_str=True)
    own = [one for one in signature.parameters.values() if one.kind is not Parameter.VAR_KEYWORD]
    needed = [one for one in own if one.default is Parameter.empty]
    every = [*needed, *flags, *(one for one in own if one not in needed)]
    named = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in every]
    vars(function)["__signature__"] = signature.replace(parameters=named)
    function.__annotations__ = {one.name: one.annotation for one in named}
    return function


def _parameter(name: str, found: Sequence[Found]) -> Parameter:
    _, field, flag = found[0]
    (kind, *_) = (one for one in _members(field.annotation) if one is not type(None))
    names, many = flag.names.split(), get_origin(kind) is tuple
    told: dict[str, Any] = {"help": _help(found), "metavar": flag.metavar or None}
    if kind is int:
        told |= _bounds([each for _, one, _ in found for each in one.metadata])
    if many and names:
        told["callback"] = _numbers(names[-1]) if get_args(kind)[0] is float else words
    read: Any = kind if kind in (bool, int, float, Path) else str
    if not names:
        read, names = list[Path] if many else read, []
    option: Any = typer.Option(*names, **told) if names else typer.Argument(**told)
    if field.is_required():
        return Parameter(name, Parameter.KEYWORD_ONLY, annotation=Annotated[read, option])
    kind = Annotated[read | None, option]
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind, default=None)


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _help(found: Sequence[Found]) -> str:
    """The sentences of a flag, each with the studies that mean it so."""
    meant: dict[str, list[str]] = {}
    for study, field, flag in found:
        known = "" if study or field.is_required() else _default(field.default)
        meant.setdefault(flag.help + known, []).append(study)
    texts = {text: ", ".join(dict.fromkeys(filter(None, names))) for text, names in meant.items()}
    return " ".join(f"{text} [{names}]" if names else text for text, names in texts.items())


def _default(value: Any) -> str:
    shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return "" if value is None or value is False or value == () else f"  [default: {shown}]"


def _bounds(metadata: Sequence[Any]) -> dict[str, int]:
    """The least and the largest whole number that any of the fields takes."""
    least = [each.ge for each in metadata if hasattr(each, "ge")]
    most = [each.le for each in metadata if hasattr(each, "le")]
    most += [each.lt - 1 for each in metadata if hasattr(each, "lt")]
    return ({"min": min(least)} if least else {}) | ({"max": max(most)} if most else {})


def _numbers(name: str) -> Callable[[str | None], list[float] | None]:
    """What reads `2,3.3` as numbers; it raises UsageError for what is none."""

    def read(value: str | None) -> list[float] | None:
        try:
            return None if value is None else [float(word) for word in words(value) or []]
        except ValueError:
            raise UsageError(f"{name} takes numbers between commas, and got {value!r}.") from None

    return read
