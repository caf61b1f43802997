# SPDX-License-Identifier: Apache-2.0
"""What is said of a model: `model.toml`, from which its card is written (`card.py`).

The text of `model.toml` is parsed by rule, never executed, and unknown keys are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from encephalon.errors import InputError, ModelError, did_you_mean
from encephalon.io.text import parse_toml
from encephalon.models.card import CARD_SECTIONS, UNKNOWN
from encephalon.recipes.loading import in_todays_words

FORMAT_VERSION = 1
FIRST_VERSION = "0.1.0"
"""The version of a model fresh from training."""
MODES = ("default", "published")

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,63}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KINDS: Mapping[type, str] = {str: "text", int: "a whole number", Mapping: "a table"}


@dataclass(frozen=True)
class ModelDescription:
    """What a model is, made from and made of; one `model.toml`."""

    name: str
    version: str
    study: str
    task: str
    mode: str = "default"
    title: str = ""
    licence: str = UNKNOWN
    citation: str = UNKNOWN
    format_version: int = FORMAT_VERSION
    labels: Mapping[int, str] = field(default_factory=dict)
    """Name of each value in the output; 0 is background."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    training_data: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, str] = field(default_factory=dict)
    """Prose for the card, by the keys of CARD_SECTIONS."""
    files: Mapping[str, str] = field(default_factory=dict)
    """File name to sha256, lower-case hexadecimal."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            kind = {"str": str, "int": int}.get(str(item.type), Mapping)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise ModelError(f"{item.name!r} must be {_KINDS[kind]}, but got {value!r}.")
        check_model_name(self.name)
        if not _VERSION.fullmatch(self.version):
            raise ModelError(f"'version' must look like '1.0.0', but got {self.version!r}.")
        if self.format_version != FORMAT_VERSION:
            raise ModelError(
                f"'format_version' must be {FORMAT_VERSION}, not {self.format_version}."
            )
        if self.mode not in MODES:
            raise ModelError(f"'mode' must be one of {MODES}, but got {self.mode!r}.")
        for key, text in self.card.items():
            if key not in CARD_SECTIONS or not isinstance(text, str):
                raise ModelError(
                    f"'card' holds text under {', '.join(CARD_SECTIONS)}, but got {key!r}."
                )
        _check_files(self.files)


def parse_description(text: str, source: str) -> ModelDescription:
    """Parse the text of a `model.toml`; `source` names it in errors.

    Raises ModelError for text that is not TOML, a missing or unknown key, a value of the wrong
    kind, a newer format, and a file name that could lead out of the folder.
    """
    try:
        content = parse_toml(text, source)
    except InputError as error:
        raise ModelError(f"{error} Get the model again.") from error
    version = content.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ModelError(
            f"{source}: format {version} is newer than this program's {FORMAT_VERSION}: "
            "update encephalon."
        )
    known = [item.name for item in fields(ModelDescription)]
    for key in content:
        if key not in known:
            meant = did_you_mean(key, known, "known keys:")
            raise ModelError(f"{source}: unknown key {key!r}; {meant}")
    for key in ("format_version", "name", "version", "study", "task", "files"):
        if key not in content:
            raise ModelError(f"{source}: the key {key!r} is missing: get the model again.")
    # Mode and recipe may be in the words of an earlier version.
    today = in_todays_words({key: content[key] for key in ("mode",) if key in content})
    if isinstance(content.get("recipe"), dict):
        today["recipe"] = in_todays_words(content["recipe"])
    try:
        labels = {int(key): str(name) for key, name in dict(content.get("labels", {})).items()}
        return ModelDescription(**{**content, **today, "labels": labels})
    except (TypeError, ValueError) as error:
        raise ModelError(f"{source}: {error}") from error


def dump_description(description: ModelDescription) -> str:
    """Return the text of the `model.toml` of `description`; None values are left out."""
    import tomlkit

    values = {item.name: getattr(description, item.name) for item in fields(description)}
    # Plain values first: TOML puts every key after a table's heading into that table.
    ordered = sorted(values.items(), key=lambda pair: isinstance(pair[1], Mapping))
    return tomlkit.dumps({key: _plain(value) for key, value in ordered})


def check_model_name(name: str) -> str:
    """Return `name` if it can name a model and a folder; raise ModelError otherwise."""
    if not _NAME.fullmatch(name):
        raise ModelError(
            f"A model's name is made of lower-case letters, digits, '.', '_' and '-', but got "
            f"{name!r}: choose another."
        )
    return name


def _check_files(files: Mapping[str, Any]) -> None:
    for name, digest in files.items():
        # A plain name only: no separator, no drive, no leading dot, so nothing outside the folder.
        if not _FILE_NAME.fullmatch(name) or name.lower() == "model.toml":
            raise ModelError(
                f"'files' names {name!r}, which is not a plain file name inside the folder."
            )
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise ModelError(
                f"'files' gives no sha256 for {name!r}: expected 64 hexadecimal digits."
            )


def _plain(value: Any) -> Any:
    """Return `value` as what TOML can hold: NumPy scalars, tuples and paths are converted."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value if item is not None]
    if isinstance(value, bool | int | float | str):
        return value
    # NumPy's scalars and arrays both have it; NumPy itself stays out of this module.
    to_list = getattr(value, "tolist", None)
    return _plain(to_list()) if callable(to_list) else str(value)


def package_versions(names: Sequence[str]) -> dict[str, str]:
    """The version of each installed package, "unknown" for one that is not installed."""
    found = dict.fromkeys(names, UNKNOWN)
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
