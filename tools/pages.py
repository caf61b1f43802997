# SPDX-License-Identifier: Apache-2.0
"""Check the pages of the project and write them as HTML to docs/_build.

Checked in README.md, CONTRIBUTING.md and docs/*.md: every `encephalon` command in a shell block is
parsed by the real command line (nothing is run), every `make` target and every relative link
exists, every Python block compiles and uses only public names. The page of all commands is made
from their own help.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import typer
from markdown_it import MarkdownIt

import encephalon
from encephalon.cli.main import VERBS, build
from encephalon.cli.predict_bids import gather_labels
from encephalon.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "docs" / "_build"
_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:|#)([^)#\s]+)[^)]*\)")
_PAGE = re.compile(r"\]\((?:docs/|\.\./)?(\w[\w-]*)\.md")
_TEMPLATE = """<!doctype html>
<html lang="en-GB"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.55 system-ui, sans-serif; }}
body {{ max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }}
pre, code {{ font: 14px/1.45 ui-monospace, monospace; background: #8881; border-radius: 4px; }}
pre {{ padding: .8rem; overflow-x: auto; }} pre code {{ background: none; }}
table {{ border-collapse: collapse; }} td, th {{ border: 1px solid #8886; padding: .3rem .6rem; }}
nav a {{ margin-right: 1rem; }}
</style></head><body><nav>{nav}</nav>
{body}
</body></html>
"""


def pages() -> list[Path]:
    """The pages, the front page first."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def faults(page: Path) -> Iterator[str]:
    """Yield what is wrong with one page."""
    text = page.read_text(encoding="utf-8")
    for language, block in _BLOCK.findall(text):
        check = {"sh": _shell_faults, "python": _python_faults}.get(language)
        for fault in check(block) if check else ():
            yield f"{page.relative_to(ROOT)}: {fault}"
    for link in _LINK.findall(_BLOCK.sub("", text)):
        if not (page.parent / link).exists():
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
        elif words[:1] == ["encephalon"]:
            stop = next((at for at, word in enumerate(words) if word in {">", "|"}), len(words))
            with contextlib.suppress(typer.Exit):
                try:
                    parse(words[1:stop])
                except (typer.TyperException, UsageError) as error:
                    yield f"`{line.strip()}`: {error}"


def parse(words: list[str]) -> None:
    """Let the command line parse `words`; raises what it raises for wrong ones."""
    words = gather_labels(words) if words[:1] == ["predict-bids"] else words
    command: Any = typer.main.get_command(build(words[:1]))
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


def commands_page() -> str:
    """The help of every verb, as Markdown."""
    parts = ["# Commands", "Made from the commands' own help."]
    for name in VERBS:
        group: Any = typer.main.get_command(build([name]))
        parts += _help(group.commands[name], f"encephalon {name}")
    return "\n\n".join(parts)


def _help(command: Any, path: str) -> Iterator[str]:
    context = command.make_context(path, [], resilient_parsing=True)
    yield f"## {path}"
    yield f"```\n{command.get_help(context).strip()}\n```"
    for name, inner in getattr(command, "commands", {}).items():
        yield from _help(inner, f"{path} {name}")


def write(texts: dict[str, str]) -> None:
    """Write each Markdown text as an HTML page, with links to the others."""
    BUILD.mkdir(parents=True, exist_ok=True)
    markdown = MarkdownIt("commonmark").enable("table")
    nav = "".join(f'<a href="{name}.html">{escape(name)}</a>' for name in texts)
    for name, text in texts.items():
        body = markdown.render(_PAGE.sub(lambda found: f"]({_name(found[1])}.html", text))
        page = _TEMPLATE.format(title=escape(name), nav=nav, body=body)
        (BUILD / f"{name}.html").write_text(page, encoding="utf-8")


def _name(stem: str) -> str:
    return "index" if stem == "README" else stem.lower()


def main() -> int:
    """Check, then write; 1 when a page is wrong."""
    found = [fault for page in pages() for fault in faults(page)]
    if found:
        print("\n".join(found))
        return 1
    texts = {_name(page.stem): page.read_text(encoding="utf-8") for page in pages()}
    write({**texts, "commands": commands_page()})
    print(f"docs: {len(texts) + 1} pages in {BUILD.relative_to(ROOT)}, every command checked")
    return 0


if __name__ == "__main__":
    sys.exit(main())
