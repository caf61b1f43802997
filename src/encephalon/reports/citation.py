# SPDX-License-Identifier: Apache-2.0
"""How a result is cited: a paragraph for the methods, and BibTeX, from what its model says."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from encephalon import __version__
from encephalon.reports.blocks import details, paragraph
from encephalon.reports.format import Html, tag

__all__ = ["Citation", "cite"]

_DOI = re.compile(r"10\.\d{4,9}/[^\s,;)]*\w")
_DONE = {
    "segmentation": "Structures were segmented",
    "reconstruction": "Images were reconstructed",
    "classification": "Images were classified",
}
# What `Predictor.describe` says that is no setting.
_NO_SETTING = ("model", "notice", "runtime", "device")


@dataclass(frozen=True)
class Citation:
    """The methods paragraph, and the BibTeX entries that it counts as [1] and [2]."""

    methods: str
    bibtex: str

    def section(self) -> Html:
        """Both on a page, to be opened."""
        shown = (paragraph(self.methods), tag("pre", self.bibtex))
        return details("A paragraph for the methods, and BibTeX", *shown)


def cite(model: Mapping[str, Any], running: Mapping[str, Any] | None = None) -> Citation:
    """The citation of a model, given what is known of it.

    model    name, version, task, and, where they are known, title, sha256 and citation
    running  what `Predictor.describe` says: runtime, device and settings go into the paragraph
    """
    name, version = str(model["name"]), _known(model.get("version"))
    key = re.sub(r"\W+", "_", name)
    which = f"the model {name}" + (f" {version}" if version else "")
    if digest := _known(model.get("sha256")):
        which += f" (sha256 {digest[:12]})"
    python = f"Encephalon {__version__} (Python {platform.python_version()}; [1])"
    words = [f"{_DONE.get(str(model.get('task')), 'Images were processed')} with {python} and "]
    words += [f"{which} [2]", _how(running or {}), "."]
    software = {
        "title": "{Encephalon}: deep learning for images of the brain",
        "author": "{The Encephalon developers}",
        "version": __version__,
    }
    about = {
        "title": f"{{{_known(model.get('title')) or name}}}",
        "version": version,
        "howpublished": f"Model {name}, sha256 {digest[:12]}" if digest else f"Model {name}",
        "note": _known(model.get("citation")),
        "doi": next(iter(_DOI.findall(_known(model.get("citation")))), ""),
    }
    entries = [_entry("software", "encephalon", software), _entry("misc", key, about)]
    return Citation("".join(words), "\n\n".join(entries))


def _how(running: Mapping[str, Any]) -> str:
    where = [str(running[one]) for one in ("runtime", "device") if running.get(one)]
    settings = [
        f"{name.replace('_', ' ')} {value}"
        for name, value in running.items()
        if name not in _NO_SETTING and isinstance(value, str | int | float)
    ]
    by = f", run by {' on the '.join(where)}" if where else ""
    return by + (f", with the settings {', '.join(settings)}" if settings else "")


def _known(value: Any) -> str:
    return "" if value in (None, "", "unknown") else str(value)


def _entry(kind: str, key: str, fields: Mapping[str, str]) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])
