# SPDX-License-Identifier: Apache-2.0
"""How Sphinx makes the site: `make docs` gathers the pages (`tools/website.py`) and calls it.

Nothing on the site is fetched from elsewhere: the theme has its own scripts, and the fonts are
those of the reader's machine.
"""

import re
from typing import Any

import encephalon

project = "Encephalon"
author = "The Encephalon developers"
project_copyright = "The Encephalon developers, Apache-2.0"
version = release = encephalon.__version__
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_copybutton"]
myst_enable_extensions = ["attrs_block"]
myst_heading_anchors = 4
# Every notebook is run when the site is made, in a folder of its own; one that fails is a warning.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 600
nb_execution_show_tb = True
nb_merge_streams = True
default_role = "code"  # docstrings set names in single backticks
autodoc_default_options = {"exclude-members": "model_config"}  # pydantic's own
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries_show_parents = "hide"
html_theme = "furo"
html_title = f"Encephalon {release}"
html_static_path: list[str] = []
html_copy_source = html_show_sourcelink = False
html_theme_options = {"top_of_page_buttons": []}
copybutton_prompt_text = "$ "

_TERM = re.compile(r"^(\w[^`]*?\S|\w)\s{2,}(\S.*)$")
_OUTSIDE = re.compile(r"(`[^`]*`)")


def readable(text: list[str]) -> list[str]:
    """The lines of a docstring as reStructuredText.

    Aligned names (`name   what it is`) become a list of definitions, indented blocks code, and
    what is no code is taken as it stands.
    """
    made: list[str] = []
    for block in "\n".join(text).split("\n\n"):
        lines = block.strip("\n").splitlines()
        if lines and lines[0].startswith("    "):
            made += ["::", "", *lines, ""]
        elif lines and _TERM.match(lines[0]):
            made += [*_definitions(lines), ""]
        else:
            made += [*map(_plain, lines), ""]
    return made


def _definitions(lines: list[str]) -> list[str]:
    made: list[str] = []
    for line in lines:
        found = _TERM.match(line)
        if found:
            made += [f"``{found[1]}``", f"    {_plain(found[2])}"]
        else:
            made.append(f"    {_plain(line.strip())}")
    return made


def _plain(line: str) -> str:
    parts = _OUTSIDE.split(line)
    parts[::2] = [re.sub(r"([*_|\\])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def _rewrite(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    del app, what, name, obj, options
    lines[:] = readable(lines)


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _rewrite)
