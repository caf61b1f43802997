# SPDX-License-Identifier: Apache-2.0
"""The flags that verbs share, in one table: same name, same meaning, same help everywhere.

Those of a study are made from the fields of its options that have a `Flag`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, is_dataclass
from functools import wraps
from inspect import Parameter
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from typer import Argument, Option

from encephalon.errors import UsageError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from encephalon.recipes.schema import Flag, Section

Found = tuple[str, "FieldInfo", "Flag"]
"""A field that has a flag, and the study that it is of."""

# What the verbs themselves take, by the names of their flags.
_TAKEN = "model table output device threads offline overwrite progress workers"
_OWN = frozenset(_TAKEN.split())


def settings(pairs: list[str] | None, flag: str = "--set") -> dict[str, str]:
    """KEY=VALUE words as a dictionary; raises UsageError for a word without `=`.

    What is set twice has its last value, as commands are made longer by further words; what a flag
    says of the data it may say once.
    """
    found: dict[str, str] = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not (key.strip() and equals):
            raise UsageError(f"{flag} takes KEY=VALUE, and got {pair!r}.")
        if flag != "--set" and key.strip() in found:
            raise UsageError(
                f"{flag} is given twice for {key.strip()!r}, {found[key.strip()]!r} and "
                f"{value.strip()!r}: keep one of them."
            )
        found[key.strip()] = value.strip()
    return found


def words(value: str | None) -> list[str] | None:
    """`a,b c` as ["a", "b", "c"]; None stays None."""
    return None if value is None else [word for word in re.split(r"[,\s]+", value) if word]


def given(**options: Any) -> dict[str, Any]:
    """Only the options that the user set, so that the study's own defaults hold for the rest."""
    return {name: value for name, value in options.items() if value is not None}


def _device(value: str) -> str:
    from encephalon.inference.runtimes import check_device

    return check_device(value)


_MODEL = "A model's name, a model or run folder, the folder of a grid, or published weights."
Model = Annotated[str, Argument(metavar="MODEL", help=_MODEL)]
ModelOption = Annotated[str, Option("-m", "--model", help=_MODEL, metavar="MODEL")]
Recipe = Annotated[
    str, Argument(metavar="RECIPE", help="A built-in recipe's name, or a TOML file.")
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
Offline = Annotated[bool, Option("--offline", help="Never touch the network.")]
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


@dataclass(frozen=True)
class Running:
    """How a model is loaded and run: what every verb that gives one images takes."""

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
    """The same in the words that BIDS-Apps have for threads."""

    threads: Annotated[
        int | None,
        Option(
            *("--threads", "--nprocs", "--n-cpus", "--omp-nthreads"),
            help=_THREADS,
            min=1,
            metavar="N",
        ),
    ] = None


@dataclass(frozen=True)
class Chosen:
    """Which images of a BIDS dataset are taken."""

    suffix: Annotated[
        str | None,
        Option("--suffix", help="BIDS: kinds of image, such as T1w,FLAIR.", metavar="KINDS"),
    ] = None
    participant_label: Annotated[
        str | None,
        Option(
            "--participant-label",
            help="BIDS: only these, with or without sub-.",
            metavar="LABELS",
        ),
    ] = None
    session_label: Annotated[
        str | None,
        Option(
            *("--session-label", "--session-id"),
            help="BIDS: only these, with or without ses-.",
            metavar="LABELS",
        ),
    ] = None

    def words(self) -> dict[str, list[str]]:
        """The same in the words of Python; only what the user said."""
        return given(
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
            "--t1",
            help="The T1w of the same person, for one T2w as INPUT [isotropic].",
            metavar="FILE",
        ),
    ] = None
    stack: Annotated[
        list[Path] | None,
        Option(
            "--stack",
            help="A further T2w of INPUT's person, cut in another plane; up to two [isotropic].",
            metavar="FILE",
        ),
    ] = None
    source: Annotated[
        list[str] | None,
        Option(
            "--source",
            help="A file of INPUT's person by what it is, such as flair=FLAIR.nii.gz; may be "
            "repeated, and do without INPUT [legibility].",
            metavar="NAME=FILE",
        ),
    ] = None
    value: Annotated[
        list[str] | None,
        Option(
            "--value",
            help="What a table would say of INPUT's person, such as age=34; may be repeated "
            "[legibility].",
            metavar="COLUMN=CELL",
        ),
    ] = None

    def words(self) -> dict[str, Any]:
        """The same in the words of Python."""
        stacks = {f"stack{number}": path for number, path in enumerate(self.stack or [], start=2)}
        files = settings(self.source, "--source") | given(t1w=self.t1, **stacks)
        return {"companions": files, "values": settings(self.value, "--value")}


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


def flagged(*flags: Parameter) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """What makes of a function a verb, as typer reads signatures.

    The verb has `flags` in the place of what the function takes by **, and, after its own, a flag
    for each field of the dataclasses and sections that the function takes, such as `Running`.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        takes = inspect.signature(function, eval_str=True).parameters.values()
        whole: dict[str, Any] = {
            one.name: one.annotation
            for one in takes
            if is_dataclass(one.annotation) or _is_section(one.annotation)
        }
        own = [
            one for one in takes if one.kind is not Parameter.VAR_KEYWORD and one.name not in whole
        ]
        needed = [one for one in own if one.default is Parameter.empty]
        fields = {name: _fields(kind) for name, kind in whole.items()}
        parts = [part for some in fields.values() for part in some]
        every = [*needed, *flags, *(one for one in own if one not in needed), *parts]

        @wraps(function)
        def verb(**said: Any) -> None:
            for name, kind in whole.items():
                asked = {part.name: said.pop(part.name) for part in fields[name]}
                said[name] = _asked(kind, asked) if _is_section(kind) else kind(**asked)
            function(**said)

        named = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in every]
        vars(verb)["__signature__"] = inspect.Signature(named)
        verb.__annotations__ = {one.name: one.annotation for one in named}
        return verb

    return decorate


def _fields(kind: Any) -> list[Parameter]:
    """The flags of a dataclass, or of a section."""
    if _is_section(kind):
        return of_sections([("", kind)])
    return list(inspect.signature(kind, eval_str=True).parameters.values())


def _is_section(kind: Any) -> bool:
    """Whether it is a pydantic model, which need not be imported to tell."""
    return hasattr(kind, "model_fields")


def _asked(kind: type[Section], said: dict[str, Any]) -> Section:
    from encephalon.recipes.schema import ask

    paired = {name for name, one in kind.model_fields.items() if get_origin(one.annotation) is dict}
    told = {name: dict(one) if name in paired else one for name, one in given(**said).items()}
    return ask(kind, told, "this command")


def _parameter(name: str, found: Sequence[Found]) -> Parameter:
    _, field, flag = found[0]
    one_of = get_origin(field.annotation) in (Union, UnionType)
    kinds = get_args(field.annotation) if one_of else (field.annotation,)
    kind = next(each for each in kinds if each is not type(None))
    names, many = flag.names.split(), get_origin(kind) is tuple
    told: dict[str, Any] = {"help": _help(found), "metavar": flag.metavar or None}
    if kind is int:
        # The least and the largest whole number that any of the fields takes.
        bounds = [each for _, one, _ in found for each in one.metadata]
        least = [each.ge for each in bounds if hasattr(each, "ge")]
        most = [each.le for each in bounds if hasattr(each, "le")]
        most += [each.lt - 1 for each in bounds if hasattr(each, "lt")]
        told |= {"min": min(least, default=None), "max": max(most, default=None)}
    if get_origin(kind) is dict:
        told["callback"], kind = _pairs(names[-1]), list[str]
    if many and names:
        told["callback"] = _numbers(names[-1]) if get_args(kind)[0] is float else words
    plain = type(get_args(kind)[0]) if get_origin(kind) is Literal else kind
    read: Any = plain if plain in (bool, int, float, Path, list[str]) else str
    if not names:
        read = list[Path] if many else read
    option: Any = Option(*names, **told) if names else Argument(**told)
    if field.is_required():
        return Parameter(name, Parameter.KEYWORD_ONLY, annotation=Annotated[read, option])
    kind = Annotated[read | None, option]
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind, default=None)


def _help(found: Sequence[Found]) -> str:
    """The sentences of a flag, each with the studies that mean it so."""
    meant: dict[str, list[str]] = {}
    for study, field, flag in found:
        text, value = flag.help, field.get_default(call_default_factory=True)
        has_default = value is not None and value is not False and value not in ((), {})
        if has_default and not study and not field.is_required():
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            text += f"  [default: {shown}]"
        meant.setdefault(text, []).append(study)
    # Before the stop, so that it is seen which of several sentences is whose.
    return " ".join(
        f"{text.removesuffix('.')} [{', '.join(dict.fromkeys(names))}]." if any(names) else text
        for text, names in meant.items()
    )


def _pairs(name: str) -> Callable[[list[str] | None], list[tuple[str, Any]]]:
    """What reads KEY=VALUE words, values as TOML spells them: pairs, as typer wants a list."""

    def read(words: list[str] | None) -> list[tuple[str, Any]]:
        from encephalon.recipes.loading import parse_value

        return [(key, parse_value(text)) for key, text in settings(words, name).items()]

    return read


def _numbers(name: str) -> Callable[[str | None], list[float] | None]:
    """What reads `2,3.3` as numbers; it raises UsageError for what is none."""

    def read(value: str | None) -> list[float] | None:
        try:
            return None if value is None else [float(word) for word in words(value) or []]
        except ValueError:
            raise UsageError(f"{name} takes numbers between commas, and got {value!r}.") from None

    return read
