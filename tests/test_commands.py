# SPDX-License-Identifier: Apache-2.0
"""What runs the commands of the pages reads them as a reader does, and hides no failure."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).resolve().parent.parent / "tools"


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Any:
    """tools/commands.py as a module."""
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("commands")


@pytest.fixture
def page(commands: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A page with a long command, one that is not run, and a Python block."""
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    path = tmp_path / "page.md"
    path.write_text(
        "Words.\n\n```sh\nencephalon bench brain-extraction \\\n  --threads 2   # a remark\n"
        "pip install .    # enough to predict (needs a network)\n```\n\n```python\nprint(1)\n```\n"
        "```toml\nnot = 'run'\n```\n"
    )
    return path


def test_a_page_is_read_line_by_line(commands: Any, page: Path) -> None:
    """Continued lines are one, remarks are none of them, and a reason keeps a line from running."""
    first, second, third = commands.steps(page)
    assert first.command.startswith("encephalon bench brain-extraction --threads 2 --repeat 1")
    assert (first.reason, second.reason, third.reason) == ("", "needs a network", "")
    assert (third.kind, third.command) == ("python", "print(1)")


def test_a_block_of_python_may_need_something_too(commands: Any, page: Path) -> None:
    """Its last line says what, and it is not run."""
    page.write_text("```python\nimport umap\numap.UMAP()  # needs umap-learn\n```\n", "utf-8")
    (step,) = commands.steps(page)
    assert (step.kind, step.reason) == ("python", "needs umap-learn")


def test_options_go_before_a_redirection(commands: Any) -> None:
    """What is appended belongs to the command and not to the file."""
    step = commands.Step("page", "sh", "encephalon bench brain-extraction > times.txt")
    assert re.fullmatch(r"encephalon bench brain-extraction --\S.* > times\.txt", step.command)


@pytest.mark.parametrize(
    ("kind", "words", "code"),
    [("sh", "echo told >&2; exit 3", 3), ("sh", "false\necho on", 1), ("python", "1 / 0", 1)],
)
def test_a_failure_is_told_with_its_output(
    commands: Any, tmp_path: Path, kind: str, words: str, code: int
) -> None:
    """The exit code is that of the command, whose words on either stream are kept."""
    done = commands.run(commands.Step("page", kind, words), tmp_path, 60)
    assert done.code == code
    assert ("told" in done.output) is ("told" in words)


def test_every_shortening_is_of_a_command_on_a_page(commands: Any) -> None:
    """What no page says any more is not shortened any more either."""
    known = [
        re.sub(r"\s+#.*$", "", step.words)
        for place in commands.pages()
        for step in commands.steps(place)
    ]
    for pattern, _ in commands.SHORTER:
        assert any(re.match(pattern, words) for words in known), pattern
