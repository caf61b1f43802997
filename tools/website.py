# SPDX-License-Identifier: Apache-2.0
"""Check the pages (`pages.py`) and make the documentation site of them: docs/_build/index.html.

Pages are gathered into one folder, in which links lead to pages, and to copies of other files; the
pages of the Python functions and of all commands are made from their docstrings and their help, and
the Python of the gallery is run for its pictures. Sphinx does the rest (docs/conf.py): it runs the
notebooks, and takes every warning for an error, such as a link that leads nowhere, a page that is
in no list of CONTENTS, a notebook that fails.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from pydoc import locate
from typing import Any

import encephalon
from encephalon.cli.main import VERBS, command_of
from library import library_page
from pages import MADE, ROOT, cards, faults, notebooks, pages

BUILD = ROOT / "docs" / "_build"

#: The order of the pages; `card-*` are the models that ship, `notebook-*` those of the studies.
CONTENTS = {
    "Start": "tutorial gallery how-to coming-from troubleshooting faq",
    "Studies": "extraction isotropic micrographs microtomography legibility",
    "Notebooks": "notebook-*",
    "Many models, many machines": "grid cluster",
    "Models": "models card-* published-models",
    "Reference": "reference commands python",
    "Background": "explanation comparison data-protection citations",
    "Development": "architecture add-a-study contributing changelog",
}
#: Of the names in `encephalon.__all__` by the room they live in; and what else is imported from it.
ROOMS = {
    "api": (
        "Train, predict, evaluate, explain",
        [
            "encephalon.api.Workers",
            "encephalon.api.options.Options",
            "encephalon.api.options.ExtractionOptions",
            "encephalon.api.options.PublishedExtractionOptions",
            "encephalon.api.options.IsotropicOptions",
            "encephalon.api.options.PublishedIsotropicOptions",
            "encephalon.api.options.MicrographOptions",
            "encephalon.api.options.MicrotomographyOptions",
            "encephalon.api.options.EvaluationOptions",
        ],
    ),
    "inference": ("Predictions", []),
    "io": ("Images", []),
    "geometry": ("Where voxels lie", []),
    "tables": (
        "Tables",
        [
            "encephalon.tables.public_data.public_sets",
            "encephalon.tables.public_data.get_public_set",
        ],
    ),
    "recipes": ("Recipes", []),
    "models": ("Models", []),
    "studies": (
        "Studies and encoders of your own",
        ["encephalon.studies.base.Study", "encephalon.testing.EncoderConformance"],
    ),
    "errors": ("Errors", []),
}
_TARGET = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")
_PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_MADE = re.compile(rf'href="({MADE}[^"]+)"')


def main() -> int:
    """Check, then write; 1 when a page is wrong."""
    sources = {_name(page): page for page in (*pages(), *cards(), *notebooks())}
    found = [fault for page in pages() for fault in faults(page)]
    begun = time.monotonic()
    found = found or list(write(sources, BUILD))
    done = f"docs: every command parsed, {time.monotonic() - begun:.0f} s: {BUILD}/index.html"
    print("\n".join(found) or done)
    return int(bool(found))


def _name(path: Path) -> str:
    if path in cards():
        return f"card-{path.parent.name}"
    if path in notebooks():
        return f"notebook-{path.stem}"
    return "index" if path.stem == "README" else path.stem.lower()


def write(sources: Mapping[str, Path], site: Path) -> Iterator[str]:
    """Write the site of `sources`, pages by their names on it, and yield what is wrong with it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "pages"
        folder.mkdir()
        draw(sources["gallery"], Path(temporary) / "drawn")
        shutil.move(Path(temporary) / "drawn" / MADE, folder / MADE)
        for name, page in sources.items():
            text = _linked(page, sources, folder)
            (folder / f"{name}{page.suffix}").write_text(text, encoding="utf-8")
        (folder / "commands.md").write_text(commands_page(), encoding="utf-8")
        (folder / "python.md").write_text(python_page(), encoding="utf-8")
        (folder / "published-models.md").write_text(library_page(), encoding="utf-8")
        with (folder / "index.md").open("a", encoding="utf-8") as index:
            index.writelines(contents())
        built = Path(temporary) / "site"  # beside it lie the notebooks as they were run
        words = ["-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", temporary]
        words += ["-c", str(ROOT / "docs"), str(folder), str(built)]
        if subprocess.run([sys.executable, *words], env=_offline(), check=False).returncode:
            yield "docs: the site has the faults above"
        shutil.rmtree(site, ignore_errors=True)
        shutil.copytree(built, site)
        # Pages of results, which Sphinx would offer as downloads.
        left_out = shutil.ignore_patterns(".*", "*.nii.gz")
        shutil.copytree(folder / MADE, site / MADE, ignore=left_out)
    for name, page in sources.items():
        for link in _MADE.findall(page.read_text(encoding="utf-8")):
            if not (site / link).is_file():
                yield f"{name}: the link {link} leads nowhere"


def contents() -> Iterator[str]:
    """The lists of pages, which the theme shows beside each page."""
    for caption, names in CONTENTS.items():
        listed = "\n".join(names.split())
        yield f"\n\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {caption}\n\n{listed}\n```\n"


def draw(page: Path, folder: Path) -> None:
    """Run the Python of a page in a new folder, where its pictures are then."""
    folder.mkdir()
    code = "\n".join(_PYTHON.findall(page.read_text(encoding="utf-8")))
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=_offline(), check=True)


def _offline() -> dict[str, str]:
    """The environment of what is run for the site: without network, with the code of this clone."""
    sources = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    path = os.pathsep.join(sources)
    return {**os.environ, "ENCEPHALON_OFFLINE": "1", "PYTHONPATH": path}


def _linked(page: Path, sources: Mapping[str, Path], folder: Path) -> str:
    names = {path: name for name, path in sources.items()}

    def lead(found: re.Match[str]) -> str:
        path = (page.parent / found[1]).resolve()
        if path in names:
            return f"]({names[path]}{path.suffix}{found[2] or ''})"
        if path.is_file():
            shutil.copy(path, folder / path.name)
            return f"]({path.name})"
        return found[0]

    return _TARGET.sub(lead, page.read_text(encoding="utf-8"))


def commands_page() -> str:
    """The help of every verb, as Markdown."""
    parts = ["# Commands", "Made from the commands' own help."]
    for name in VERBS:
        group = command_of([name])
        parts += _help(group.commands[name], f"encephalon {name}")
    return "\n\n".join(parts)


def _help(command: Any, path: str, level: str = "##") -> Iterator[str]:
    context = command.make_context(path, [], resilient_parsing=True)
    yield f"{level} {path}"
    yield f"```text\n{command.get_help(context).strip()}\n```"
    for name, inner in getattr(command, "commands", {}).items():
        yield from _help(inner, f"{path} {name}", level + "#")


def python_page() -> str:
    """What `import encephalon` gives, as Markdown: signatures and docstrings."""
    parts = ["# Python", "Made from the docstrings. Every name is loaded when it is first used."]
    for room, (title, more) in ROOMS.items():
        parts.append(f"## {title}")
        public = [getattr(encephalon, name) for name in encephalon.__all__ if name != "__version__"]
        found = [thing for thing in public if thing.__module__.split(".")[1] == room]
        parts += [_documented(f"encephalon.{thing.__name__}", thing) for thing in found]
        parts += [_documented(path, locate(path)) for path in more]
    return "\n\n".join(parts)


def _documented(path: str, thing: Any) -> str:
    kind = "function"
    if isinstance(thing, type):
        kind = "exception" if issubclass(thing, Exception) else "class"
    shown = {"function": "", "class": "   :members:\n", "exception": "   :show-inheritance:\n"}
    return f"```{{eval-rst}}\n.. auto{kind}:: {path}\n{shown[kind]}```"


if __name__ == "__main__":
    sys.exit(main())
