# SPDX-License-Identifier: Apache-2.0
"""How a function becomes a verb: flags made of what it takes, and of the options of studies."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import is_dataclass, replace
from functools import wraps
from inspect import Parameter
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from typer import Argument, Option

from encephalon.cli.flags import given, settings, words
from encephalon.errors import UsageError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from encephalon.recipes.schema import Flag, Section

Found = tuple[str, "FieldInfo", "Flag"]
"""A field that has a flag, and the study that it is of."""


def of_sections(
    sections: Iterable[tuple[str, type[Section]]], names: Mapping[str, str] | None = None
) -> list[Parameter]:
    """The flags of the fields of `sections`, each of the study that it comes with.

    What two studies have under one name is one flag, whose help says which study means what. Where
    there is no study, "", the help shows the defaults too. `names` are other words for the flags
    of some fields.
    """
    fields = (
        (study, name, field)
        for study, section in sections
        for name, field in section.model_fields.items()
    )
    return _parameters(fields, names or {})


def of_studies() -> list[Parameter]:
    """The flags of what all studies can be asked when they predict.

    Those that models of mode "default" do not take come last, and their help names the mode.
    """
    from encephalon.studies.registry import list_studies, load_study

    fields = [
        (one.name if name in plain else f"{one.name} in mode {mode}", name, field)
        for one in map(load_study, list_studies())
        for plain in [one.options["default"].model_fields]
        for mode, options in one.options.items()
        for name, field in options.model_fields.items()
    ]
    return _parameters(sorted(fields, key=lambda found: " in mode " in found[0]), {})


def _parameters(
    fields: Iterable[tuple[str, str, FieldInfo]], names: Mapping[str, str]
) -> list[Parameter]:
    """The flags of fields, of each what it is of, its name, and itself."""
    from encephalon.recipes.schema import Flag

    found: dict[str, list[Found]] = {}
    for study, name, field in fields:
        for flag in field.metadata:
            if isinstance(flag, Flag):
                said = replace(flag, names=names.get(name, flag.names))
                found.setdefault(name, []).append((study, field, said))
    return [_parameter(name, each) for name, each in found.items()]


def verb_of(function: Callable[..., None]) -> Callable[..., None]:
    """A function as a verb: what it takes by ** are the options of all studies."""
    takes = inspect.signature(function).parameters.values()
    asks = any(one.kind is Parameter.VAR_KEYWORD for one in takes)
    return flagged(*(of_studies() if asks else ()))(function)


def parts(kind: Any, names: Collection[str]) -> list[Parameter]:
    """Some of the flags of a dataclass, in which the help names no study."""
    found = [one for one in _fields(kind) if one.name in names]
    return [_changed(one, help=re.sub(r" \[\w+\]", "", _option(one).help)) for one in found]


def _option(parameter: Parameter) -> Any:
    return parameter.annotation.__metadata__[0]


def _changed(parameter: Parameter, **told: Any) -> Parameter:
    """The same flag, of which typer is told something else, such as another help."""
    option = copy(_option(parameter))
    vars(option).update(told)
    return parameter.replace(annotation=Annotated[parameter.annotation.__origin__, option])


def flagged(
    *flags: Parameter, hidden: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """What makes of a function a verb, as typer reads signatures.

    The verb has `flags` in the place of what the function takes by **, and, after its own, a flag
    for each field of the dataclasses and sections that the function takes, such as `Running`. The
    help leaves out those that are `hidden`.
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
        more = [part for some in fields.values() for part in some]
        every = [*needed, *flags, *(one for one in own if one not in needed), *more]
        every = [_changed(one, hidden=True) if one.name in hidden else one for one in every]

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
        told["callback"], kind = _pairs(flag.long), list[str]
    if many and names:
        told["callback"] = _numbers(flag.long) if get_args(kind)[0] is float else words
        kind = list[str]
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
            text += f"  [default: {_shown(value, flag)}]"
        meant.setdefault(text, []).append(study)
    # Before the stop, so that it is seen which of several sentences is whose.
    return " ".join(
        f"{text.removesuffix('.')} [{', '.join(dict.fromkeys(names))}]." if any(names) else text
        for text, names in meant.items()
    )


def _shown(value: Any, flag: Flag) -> str:
    """A default as one would type it."""
    if value is True:
        return flag.names.partition("/")[0].lstrip("-")
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _pairs(name: str) -> Callable[[list[str] | None], list[tuple[str, Any]]]:
    """What reads KEY=VALUE words, values as TOML spells them: pairs, as typer wants a list."""

    def read(words: list[str] | None) -> list[tuple[str, Any]]:
        from encephalon.recipes.loading import parse_value

        return [(key, parse_value(text)) for key, text in settings(words, name).items()]

    return read


def _numbers(name: str) -> Callable[[list[str] | None], list[float] | None]:
    """What reads `2,3.3` as numbers; it raises UsageError for what is none."""

    def read(values: list[str] | None) -> list[float] | None:
        found = words(values)
        try:
            return None if found is None else list(map(float, found))
        except ValueError:
            raise UsageError(
                f"{name} takes numbers between commas, and got {' '.join(found or ())!r}."
            ) from None

    return read
