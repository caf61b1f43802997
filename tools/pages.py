# SPDX-License-Identifier: Apache-2.0
"""The pages of the project, and what is wrong with them; `website.py` makes a site of them.

Checked in README.md, CONTRIBUTING.md, CHANGELOG.md and docs/*.md: every `encephalon` command in a
shell block is parsed by the real command line (`commands.py` runs them), every `make` target, every
extra and every relative link exists, every address of the web has the form of one, every Python
block compiles and uses only public names.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import encephalon
from encephalon.cli.main import command_of
from encephalon.cli.predict import gather_labels
from encephalon.cli.register import present_word
from encephalon.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent
_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:|#)([^)#\s]+)[^)]*\)")
_ADDRESS = re.compile(r"https?:[^\s)>\]\"`]*")
#: Where the Python of a page writes what the page shows; the site is not made without.
MADE = "pictures/"
_EXTRA = re.compile(r"\.\[([\w,]+)\]")


def pages() -> list[Path]:
    """The pages, the front page first."""
    docs = sorted((ROOT / "docs").glob("*.md"))
    return [ROOT / "README.md", *docs, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]


def cards() -> list[Path]:
    """The cards of the models that ship with the package."""
    return sorted((ROOT / "src" / "encephalon" / "models" / "packaged").glob("*/README.md"))


def notebooks() -> list[Path]:
    """The notebooks, kept without their output: they are run when the site is made."""
    return sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def faults(page: Path) -> Iterator[str]:
    """Yield what is wrong with one page."""
    text = page.read_text(encoding="utf-8")
    for language, block in _BLOCK.findall(text):
        check = {"sh": _shell_faults, "python": _python_faults}.get(language)
        for fault in check(block) if check else ():
            yield f"{page.relative_to(ROOT)}: {fault}"
    prose = _BLOCK.sub("", text)
    for address in _ADDRESS.findall(prose):
        if not re.fullmatch(r"https://[\w-]+(\.[\w-]+)+(/\S*)?", address):
            yield f"{page.relative_to(ROOT)}: {address} is no address of the web, or not safe"
    for link in _LINK.findall(prose):
        if not (page.parent / link).exists() and not link.startswith(MADE):
            yield f"{page.relative_to(ROOT)}: the link {link} leads nowhere"


def _shell_faults(block: str) -> Iterator[str]:
    targets = set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["make"]:
            yield from (
                f"no target {word}" for word in words[1:] if "=" not in word and word not in targets
            )
        elif words[:2] == ["pip", "install"]:
            known = _project()["optional-dependencies"]
            asked = (name for found in _EXTRA.findall(line) for name in found.split(","))
            yield from (f"`{line.strip()}`: no extra {name}" for name in asked if name not in known)
        elif words[:1] == ["encephalon"]:
            stop = next((at for at, word in enumerate(words) if word in {">", "|"}), len(words))
            with contextlib.suppress(typer.Exit):
                try:
                    parse(words[1:stop])
                except (typer.TyperException, UsageError) as error:
                    yield f"`{line.strip()}`: {error}"


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return dict(project["project"])


def parse(words: list[str]) -> None:
    """Let the command line parse `words`; raises what it raises for wrong ones."""
    words = gather_labels(words) if words[:1] == ["predict-bids"] else words
    command = command_of([present_word(word) for word in words[:1]])
    context = None
    name = "encephalon"
    while True:
        with contextlib.redirect_stdout(io.StringIO()):
            context = command.make_context(name, list(words), parent=context)
        if not hasattr(command, "resolve_command"):
            return
        words = [*getattr(context, "_protected_args", []), *context.args]
        name, command, words = command.resolve_command(context, words)


def _python_faults(block: str) -> Iterator[str]:
    try:
        tree = ast.parse(block)
    except SyntaxError as error:
        yield f"a Python block does not compile: {error}"
        return
    for node in ast.walk(tree):
        base = getattr(node, "value", None)
        used = isinstance(base, ast.Name) and base.id == "encephalon"
        if isinstance(node, ast.Attribute) and used and node.attr not in encephalon.__all__:
            yield f"encephalon.{node.attr} is not public"
