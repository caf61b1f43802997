# SPDX-License-Identifier: Apache-2.0
"""The page of models that others published, made from the registry; `website.py` writes it."""

from __future__ import annotations

from collections.abc import Iterator

from encephalon.models.card import CARD_SECTIONS, figures_table
from encephalon.models.registry import RegistryEntry, shipped_entries

_STATUS = {
    "published": "can be fetched by name, and used",
    "folder": "can be fetched by name, and used",
    "listed": "listed only: it cannot be used here",
}
_SYSTEMS = {
    "extraction": "Brain extraction and meningioma",
    "micrographs": "Micrographs",
    "isotropic": "Isotropic images of infants",
    "microtomography": "Microtomography",
    "legibility": "Legibility",
    "none": "Others of the Nobrainer repository",
}


def library_page() -> str:
    """The cards of all registered models, as Markdown, by the system that they belong to."""
    entries = list(shipped_entries().values())
    parts = [
        "# Published models",
        "Made from the registry of the package, which `encephalon models list` reads: weights that "
        "others published, what they take, how good they were found to be, who hosts them, and "
        "what is done with them here. Figures are those of their authors.",
    ]
    for study, title in _SYSTEMS.items():
        parts.append(f"## {title}")
        for entry in entries:
            if entry.study == study:
                parts += _card(entry)
    return "\n\n".join(parts) + "\n"


def _card(entry: RegistryEntry) -> Iterator[str]:
    size = f"{entry.size / 1e6:.1f} MB" if entry.size else "unknown"
    told = {
        "Status": _STATUS[entry.kind],
        "Task": entry.task,
        "Licence": entry.licence,
        "Size": size,
        "sha256": f"`{entry.sha256}`" if entry.sha256 else "not published",
        "Hosted": entry.source,
        "Mode published": entry.published_mode,
        "Citation": entry.citation,
    }
    rows = [f"| {name} | {text} |" for name, text in told.items()]
    yield f"### {entry.name}"
    yield f"{entry.title}."
    yield "\n".join(["| | |", "|---|---|", *rows])
    for key, heading in CARD_SECTIONS.items():
        if text := entry.card.get(key):
            yield f"*{heading}.* {text}"
    if entry.figures:
        yield figures_table(entry.figures)
