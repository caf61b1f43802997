# SPDX-License-Identifier: Apache-2.0
"""Every help has an example, and shows no type of Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from encephalon.cli.main import VERBS, command_of


def helps() -> Iterator[tuple[str, str]]:
    """Each command without commands of its own, and its help."""
    for verb in VERBS:
        group = command_of([verb])
        waiting = [(verb, group.commands[verb])]
        while waiting:
            name, command = waiting.pop()
            inner: dict[str, Any] = getattr(command, "commands", {})
            waiting += [(f"{name} {word}", one) for word, one in inner.items()]
            if not inner:
                context = command.make_context(f"encephalon {name}", [], resilient_parsing=True)
                yield name, command.get_help(context)


PAGES = dict(helps())


@pytest.mark.parametrize("name", PAGES)
def test_a_command_shows_an_example_of_itself(name: str) -> None:
    """A line that can be copied, and words that people type."""
    page = PAGES[name]
    assert f"    encephalon {name}" in page
    assert re.findall(r"<[a-z][a-z \[\]]*>|\{[A-Z_]+\}", page) == []
