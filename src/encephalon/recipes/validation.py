# SPDX-License-Identifier: Apache-2.0
"""Turn what pydantic found wrong into one sentence that says where, what, and what was meant."""

from __future__ import annotations

import dataclasses
import re
import typing
from typing import Any

from pydantic import BaseModel, ValidationError

from encephalon.errors import did_you_mean

_UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument"}
_MISSING = {"missing", "missing_argument"}
_MOST = 20  # faults that are described: each unknown key is compared with all known ones
_SHOWN = 60  # characters of a wrong value that are repeated to the reader


def describe(error: ValidationError, schema: type[BaseModel], section: str = "") -> str:
    """All faults of `error`, in the order found, joined by "; " and without a final stop.

    `section` names the part of the recipe that `schema` describes, for schemas that cover
    only one section (a study's own settings).
    """
    sentences: list[str] = []
    faults = error.errors()
    for fault in faults[:_MOST]:
        if fault["type"] == "too_short" and len(faults) > 1:
            continue  # it only repeats that the items themselves are wrong
        sentence = _sentence(fault, schema, section)
        if sentence not in sentences:
            sentences.append(sentence)
    if len(faults) > _MOST:
        sentences.append(f"and {len(faults) - _MOST} more")
    return "; ".join(sentences)


def full_stop(sentence: str) -> str:
    """`sentence` with a stop at its end, unless it has one or asks a question."""
    return sentence if sentence.endswith((".", "?")) else f"{sentence}."


def known_keys(schema: Any, path: tuple[int | str, ...]) -> list[str]:
    """Names that may stand at `path` below `schema` (empty where any name may)."""
    for part in path:
        schema = _step(schema, part)
    if _is_model(schema):
        return list(schema.model_fields)
    if dataclasses.is_dataclass(schema):
        return [field.name for field in dataclasses.fields(schema)]
    return []


def _sentence(fault: Any, schema: type[BaseModel], section: str) -> str:
    path = tuple(part for part in fault["loc"] if not _is_tag(part))
    where = _where(section, path[:-1])
    key = path[-1] if path else section
    if fault["type"] in _UNKNOWN:
        known = known_keys(schema, path[:-1])
        meant = did_you_mean(str(key), known, "the keys are") if known else "none is taken"
        return f"unknown key {key!r}{where}; {meant.removesuffix('.')}"
    if fault["type"] in _MISSING and isinstance(key, int):
        return f"a value is missing{where}: there are only {key}"
    if fault["type"] in _MISSING:
        return f"the key {key!r} is missing{where}"
    shown = repr(fault["input"])
    shown = shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + "..."
    return f"{key!r}{where} {_plain(fault['msg'])}, but is {shown}"


def _plain(message: str) -> str:
    """pydantic's words for Python types in the words of TOML."""
    message = re.sub("^(Value error, |Input |String |Tuple )", "", message)
    message = re.sub(r"dictionary or instance of \w+", "section", message)
    return message.replace("valid tuple", "list").replace("valid dictionary", "section")


def _where(section: str, path: tuple[int | str, ...]) -> str:
    parts = [section, *map(str, path)] if section else [str(part) for part in path]
    return f" in [{'.'.join(parts)}]" if parts else ""


def _is_tag(part: int | str) -> bool:
    # pydantic names the branch of a union inside the path; the reader knows no branches.
    return isinstance(part, str) and ("[" in part or part in {"str", "int", "float", "bool"})


def _is_model(schema: Any) -> bool:
    return isinstance(schema, type) and issubclass(schema, BaseModel)


def _step(schema: Any, part: int | str) -> Any:
    if _is_model(schema):
        field = schema.model_fields.get(str(part))
        return field.annotation if field else None
    if dataclasses.is_dataclass(schema):
        return typing.get_type_hints(schema).get(str(part))
    inner = typing.get_args(schema)
    return inner[0] if inner and isinstance(part, int) else None
