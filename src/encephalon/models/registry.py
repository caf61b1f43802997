# SPDX-License-Identifier: Apache-2.0
"""The models that can be had by name, as the registry that ships with the package lists them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from encephalon.errors import ModelError
from encephalon.io.fetch import recorded
from encephalon.models import files
from encephalon.models.card import CARD_SECTIONS, UNKNOWN, Figure, read_figures


def published_path(entry: RegistryEntry) -> Path:
    """Return where the downloaded file of a published model lies, whether it is there or not."""
    return files.installed_folder() / entry.name / entry.file


@dataclass(frozen=True)
class RegistryEntry:
    """One model that is known by name: a published weights file, or a zipped model folder."""

    name: str
    kind: Literal["published", "folder", "listed"]
    """The last cannot be used here, as `obtain` says, and is listed for whoever looks for it."""
    title: str
    version: str
    study: str
    task: str
    mode: str
    file: str
    size: int
    """Bytes."""
    sha256: str
    """Of the file; "" where nobody has published it and it was not fetched yet."""
    licence: str
    citation: str = UNKNOWN
    network: str = ""
    """For published weights: the network that they belong to."""
    recipe: str = ""
    """For published weights: the built-in recipe whose columns and settings they go with."""
    url: str = ""
    """Address of the file, https; empty when none is known."""
    mirrors: tuple[str, ...] = ()
    """Further addresses of the same file, asked in turn where the first does not have it."""
    source: str = ""
    """Where its authors host it, in words."""
    obtain: str = ""
    """A sentence on other ways to the file."""
    published_mode: str = ""
    """What the mode "published" does with it."""
    figures: tuple[Figure, ...] = ()
    """As its authors published them."""
    labels: Mapping[int, str] = field(default_factory=dict)
    card: Mapping[str, str] = field(default_factory=dict)
    sha256_is: str = "published"
    """Where the sha256 is from: "published", or "recorded on DATE at the first fetch"."""

    @property
    def is_published(self) -> bool:
        """Whether the sha256, and with it the size, is that of the registry."""
        return self.sha256_is == "published"


def registry_entries() -> Mapping[str, RegistryEntry]:
    """Return the entries that ship with the package, by name.

    Where nobody has published a sha256, it is that of the first fetch. Raises UnreadableFileError
    where the records of fetched files are damaged.
    """
    return {name: _completed(entry) for name, entry in shipped_entries().items()}


def _completed(entry: RegistryEntry) -> RegistryEntry:
    if entry.sha256:
        return entry
    if entry.kind == "listed":
        return replace(entry, sha256_is=UNKNOWN)
    if (record := recorded(entry.url)) is None:
        return replace(entry, sha256_is="unknown until the first fetch")
    told = f"recorded on {record.date} at the first fetch"
    return replace(entry, sha256=record.sha256, size=record.size, sha256_is=told)


@cache
def shipped_entries() -> Mapping[str, RegistryEntry]:
    """Return the entries as the package has them."""
    entries: dict[str, RegistryEntry] = {}
    for path in sorted(Path(__file__).with_name("registered").glob("*.toml")):
        entries |= parse_registry(path.read_text(encoding="utf-8"), str(path))
    return entries


def parse_registry(text: str, source: str) -> dict[str, RegistryEntry]:
    """Parse the text of a registry; raises ModelError for anything that it should not hold.

    What its table `shared` says holds for every model that says nothing else.
    """
    entries: dict[str, RegistryEntry] = {}
    try:
        content = tomllib.loads(text)
        shared = content.get("shared", {})
        for values in map(dict, content["model"]):
            card = {**shared.get("card", {}), **values.get("card", {})}
            entry = _entry({**shared, **values, "card": card})
            entries[entry.name] = entry
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{source}: expected a registry of models ({error}): install encephalon again."
        ) from error
    return entries


def _entry(values: dict[str, Any]) -> RegistryEntry:
    name = values.get("name")
    if unknown := set(values) - {item.name for item in fields(RegistryEntry)}:
        raise ModelError(f"{name!r} has the unknown keys {sorted(unknown)}")
    if unknown := set(values["card"]) - set(CARD_SECTIONS):
        raise ModelError(f"the card of {name!r} has the unknown sections {sorted(unknown)}")
    mirrors = tuple(values.get("mirrors", ()))
    if not all(url.startswith("https://") for url in (values.get("url"), *mirrors) if url):
        raise ModelError(f"the address of {name!r} is not https")
    labels = {int(key): label for key, label in values.get("labels", {}).items()}
    figures = read_figures(values.get("figures", ()))
    return RegistryEntry(**{**values, "labels": labels, "mirrors": mirrors, "figures": figures})
