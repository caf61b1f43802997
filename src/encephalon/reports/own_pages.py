# SPDX-License-Identifier: Apache-2.0
"""What a page of many samples has of one: its own page beside it, its thumbnail, its rating.

A page of a thousand samples stays small, because all that is large lies in the folder beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from encephalon.reports.format import Html, tag
from encephalon.reports.images import Picture, jpeg_image
from encephalon.reports.page import Page, batch_of

__all__ = ["file_links", "own_page", "rating", "rating_bar", "thumbnail", "write_own_page"]


def write_own_page(page: Page, name: str, folder: Path) -> Path:
    """Write the page of the sample `name` into `folder`, in place of an earlier one of it.

    Raises OutputExistsError for a file that is no such page.
    """
    place = folder / f"{name}.html"
    return page.write(place, overwrite=batch_of(place) is not None)


def own_page(name: str, folder: Path) -> str | None:
    """The address of the page that a sample has in `folder`, seen from beside it, if any."""
    file = f"{name}.html"
    return f"{quote(folder.name)}/{quote(file)}" if batch_of(folder / file) else None


def thumbnail(picture: Picture) -> Html:
    """A small JPEG of a picture with its layers drawn in."""
    return jpeg_image(picture.flat(), "")


def rating(name: str, folder: str = ".") -> Html:
    """Where the reader says whether a sample is good or bad, and why.

    folder  that of the batch's page, seen from the page this is on: both have the same rating
    """
    return tag("span", class_="rate", data_rate=name, data_folder=folder)


def rating_bar() -> Html:
    """Where ratings are counted and saved as a table."""
    return tag("div", class_="rating-bar")


def file_links(row: Mapping[str, Any], files: Mapping[str, str], up: str = "") -> dict[str, Any]:
    """The files of a row by what they are; what was written is linked, what was read is named.

    files  keys of the row and what each is; what was written is relative to the batch's folder
    up     the way from the page to that folder: "" or "../"
    """
    return {label: _file(row.get(key), key != "source", up) for key, label in files.items()}


def _file(path: Any, written: bool, up: str) -> Html | None:
    """The last part of a path; one that was read may lie anywhere, and is not told in full."""
    if not path:
        return None
    names = ", ".join(Path(each).name for each in str(path).split("; "))
    name = tag("code", names)
    return tag("a", name, href=up + quote(str(path))) if written else name
