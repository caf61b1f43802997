# SPDX-License-Identifier: Apache-2.0
"""Check data with pydantic, and say in one sentence where, what, and what was meant instead."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from encephalon.errors import EncephalonError, RecipeError, did_you_mean

Settings = TypeVar("Settings", bound=BaseModel)

_UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument"}
_MISSING = {"missing", "missing_argument"}
_MOST = 20  # faults that are described: each unknown key is compared with all known ones
_SHOWN = 60  # characters of a wrong value that are repeated to the reader


def make_settings(
    schema: type[Settings],
    settings: Mapping[str, Any],
    source: str,
    section: str = "study",
    fault: type[EncephalonError] = RecipeError,
) -> Settings:
    """The data as `schema`, a pydantic model such as that of a study's own settings.

    They are checked as strictly as the rest of a recipe. `source` and `section` say in an error
    where the keys came from: the part of the recipe that `schema` describes, "" for all of it.
    Raises `fault` with all that is wrong, in the order found, in one sentence.
    """
    try:
        return schema.model_validate(dict(settings))
    except ValidationError as error:
        sentences: list[str] = []
        faults = error.errors()
        for one in faults[:_MOST]:
            if one["type"] == "too_short" and len(faults) > 1:
                continue  # it only repeats that the items themselves are wrong
            sentence = _sentence(one, schema, section)
            if sentence not in sentences:
                sentences.append(sentence)
        if len(faults) > _MOST:
            sentences.append(f"and {len(faults) - _MOST} more")
        message = f"{source}: {'; '.join(sentences)}"
        raise fault(message if message.endswith((".", "?")) else f"{message}.") from error


def _sentence(fault: Any, schema: type[BaseModel], section: str) -> str:
    # pydantic names the branch of a union inside the path; the reader knows no branches.
    branches = {"str", "int", "float", "bool"}
    path = [
        part
        for part in fault["loc"]
        if not (isinstance(part, str) and ("[" in part or part in branches))
    ]
    parts = [section] * bool(section) + [str(part) for part in path[:-1]]
    where = f" in [{'.'.join(parts)}]" if parts else ""
    key = path[-1] if path else section
    if fault["type"] in _UNKNOWN:
        known = _known_keys(schema, path[:-1])
        meant = did_you_mean(str(key), known, "the keys are") if known else "none is taken"
        return f"unknown key {key!r}{where}; {meant.removesuffix('.')}"
    if fault["type"] in _MISSING and isinstance(key, int):
        return f"a value is missing{where}: there are only {key}"
    if fault["type"] in _MISSING:
        return f"the key {key!r} is missing{where}"
    # pydantic's words for Python types in the words of TOML.
    message = re.sub("^(Value error, |Input |String |Tuple )", "", fault["msg"])
    message = re.sub(r"dictionary or instance of \w+", "section", message)
    message = message.replace("valid tuple", "list").replace("valid dictionary", "section")
    if fault["type"] == "value_error" and isinstance(fault["input"], Mapping):
        # Of a whole section: what is wrong with it is said, and it is too long to be repeated.
        what = f"{key!r}{where}" if path else f"[{section}]" if section else "it"
        return f"{what} {message}"
    shown = repr(fault["input"])
    shown = shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + "..."
    return f"{key!r}{where} {message}, but is {shown}"


def _known_keys(schema: Any, path: Sequence[int | str]) -> list[str]:
    """Names that may stand at `path` below `schema` (empty where any name may)."""
    for part in path:
        if _is_model(schema):
            field = schema.model_fields.get(str(part))
            schema = field.annotation if field else None
        elif dataclasses.is_dataclass(schema):
            schema = typing.get_type_hints(schema).get(str(part))
        else:
            inner, named = typing.get_args(schema), typing.get_origin(schema) is dict
            schema = inner[named] if inner and (named or isinstance(part, int)) else None
        if isinstance(schema, UnionType) and set(typing.get_args(schema)[1:]) == {NoneType}:
            schema = typing.get_args(schema)[0]
    if _is_model(schema):
        return list(schema.model_fields)
    if dataclasses.is_dataclass(schema):
        return [field.name for field in dataclasses.fields(schema)]
    return []


def _is_model(schema: Any) -> bool:
    return isinstance(schema, type) and issubclass(schema, BaseModel)
