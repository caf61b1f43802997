# SPDX-License-Identifier: Apache-2.0
"""Check the pages of the project and write them as HTML to docs/_build.

Checked in README.md, CONTRIBUTING.md, CHANGELOG.md and docs/*.md: every `encephalon` command in a
shell block is parsed by the real command line (`commands.py` runs them), every `make` target, every
extra and every relative link exists, every Python block compiles and uses only public names. The
page of all commands is made from their own help, those of the shipped models are their cards, and
no link of a page that was written leads nowhere.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import typer
from markdown_it import MarkdownIt

import encephalon
from encephalon.cli.main import VERBS, build
from encephalon.cli.predict import gather_labels
from encephalon.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "docs" / "_build"
_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:|#)([^)#\s]+)[^)]*\)")
_TARGET = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")
_HREF = re.compile(r'href="(?!https?:|mailto:|#)([^"#]+)')
_EXTRA = re.compile(r"\.\[([\w,]+)\]")
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
nav a {{ margin-right: 1rem; white-space: nowrap; }}
</style></head><body><nav>{nav}</nav>
{body}
</body></html>
"""


def pages() -> list[Path]:
    """The pages, the front page first."""
    docs = sorted((ROOT / "docs").glob("*.md"))
    return [ROOT / "README.md", *docs, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]


def cards() -> list[Path]:
    """The cards of the models that ship with the package."""
    return sorted((ROOT / "src" / "encephalon" / "models" / "packaged").glob("*/README.md"))


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


def write(texts: dict[str, str], sources: dict[str, Path]) -> None:
    """Write each Markdown text as an HTML page; links lead to pages, and to copies of other files.

    `sources` are the files that texts come from, by the names of their pages.
    """
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    markdown = MarkdownIt("commonmark").enable("table")
    nav = "".join(f'<a href="{name}.html">{escape(name)}</a>' for name in texts)
    for name, text in texts.items():
        body = markdown.render(_linked(text, sources[name], sources) if name in sources else text)
        page = _TEMPLATE.format(title=escape(name), nav=nav, body=body)
        (BUILD / f"{name}.html").write_text(page, encoding="utf-8")


def _linked(text: str, source: Path, sources: dict[str, Path]) -> str:
    names = {path: name for name, path in sources.items()}

    def lead(found: re.Match[str]) -> str:
        path = (source.parent / found[1]).resolve()
        if path in names:
            return f"]({names[path]}.html{found[2] or ''})"
        if path.is_file():
            shutil.copy(path, BUILD / path.name)
        return f"]({path.name})"

    return _TARGET.sub(lead, text)


def dead_links() -> Iterator[str]:
    """What the written pages link to and is not there."""
    for page in sorted(BUILD.glob("*.html")):
        for link in _HREF.findall(page.read_text(encoding="utf-8")):
            if not (BUILD / link).exists():
                yield f"{page.relative_to(ROOT)}: the link {link} leads nowhere"


def _name(path: Path) -> str:
    if path in cards():
        return f"card-{path.parent.name}"
    return "index" if path.stem == "README" else path.stem.lower()


def main() -> int:
    """Check, then write; 1 when a page is wrong."""
    found = [fault for page in pages() for fault in faults(page)]
    if found:
        print("\n".join(found))
        return 1
    sources = {_name(page): page for page in (*pages(), *cards())}
    texts = {name: page.read_text(encoding="utf-8") for name, page in sources.items()}
    write({**texts, "commands": commands_page()}, sources)
    found = list(dead_links())
    if found:
        print("\n".join(found))
        return 1
    print(f"docs: {len(texts) + 1} pages in {BUILD.relative_to(ROOT)}, every command parsed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
