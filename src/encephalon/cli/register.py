# SPDX-License-Identifier: Apache-2.0
"""How the module of a verb becomes part of the command: the same manners for each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import typer


def settings() -> dict[str, Any]:
    """The context settings of the command and of every verb."""
    return {
        "help_option_names": ["-h", "--help"],
        # Both --participant-label and --participant_label live in the field.
        "token_normalize_func": lambda token: token.replace("_", "-"),
        # typer turns a help flag without a value into one through pydantic, which takes 0.1 s.
        "default_map": {"help": False},
    }


def add(app: typer.Typer, name: str, text: str) -> None:
    """Add the verb `name` from the module of that name; its help begins with `text`.

    The module has a function of that name too, or, for a verb that has verbs of its own such as
    `models list`, the functions of these in COMMANDS.
    """
    word = name.replace("-", "_")
    module = import_module(f"encephalon.cli.{word}")
    if hasattr(module, "COMMANDS"):
        _add_group(app, name, text, module.COMMANDS)
    else:
        _add_verb(app, name, text, getattr(module, word))


def _add_group(
    app: typer.Typer, name: str, text: str, commands: Sequence[Callable[..., None]]
) -> None:
    group = typer.Typer(
        help=text, no_args_is_help=True, rich_markup_mode=None, context_settings=settings()
    )
    for function in commands:
        # A trailing underscore keeps a function apart from the builtin or keyword.
        label = function.__name__.rstrip("_").replace("_", "-")
        group.command(label, context_settings=settings())(function)
    app.add_typer(group, name=name)


def _add_verb(app: typer.Typer, name: str, text: str, function: Callable[..., None]) -> None:
    more = inspect.cleandoc(function.__doc__ or "")
    app.command(name, help=f"{text}\n\n{more}", context_settings=settings())(function)
