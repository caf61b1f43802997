# SPDX-License-Identifier: Apache-2.0
"""How the module of a verb becomes part of the command: the same manners for each."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import typer

from encephalon.cli import flags, verbs
from encephalon.cli.console import Console, error, table

if TYPE_CHECKING:
    from encephalon.studies.base import Command

#: Earlier words of commands and flags, and those of other programs, which are understood too.
EARLIER = {
    "arrays": "import-arrays",
    "benchmark": "bench",
    "configs": "recipes",
    "dataset": "table",
    "heads": "phantoms",
    "left-over": "remainder",
    "lights": "count-lights",
    "skullstrip": "brain",
    "superres": "isotropic",
}

_HOMES = {
    "predict-bids": "predict",
    "explain": "evaluate",
    "bench": "demo",
    "brain": "tasks",
    "cite": "models",
    "classify": "tasks",
    "isotropic": "tasks",
    "simulate": "table",
}
"""The module of a verb that shares one with another."""


def present_word(token: str) -> str:
    """Today's word for a command or a flag."""
    word = token.replace("_", "-")
    return EARLIER.get(word, word)


def settings() -> dict[str, Any]:
    """The context settings of the command and of every verb."""
    return {
        "help_option_names": ["-h", "--help"],
        # Both --participant-label and --participant_label live in the field.
        "token_normalize_func": present_word,
        # typer turns a help flag without a value into one through pydantic, which takes 0.1 s.
        "default_map": {"help": False},
    }


def study_commands(kind: Literal["simulators", "tables"]) -> list[Callable[..., None]]:
    """The verbs that single studies have, as functions of a group."""
    from encephalon.studies.registry import list_studies, load_study

    studies = [load_study(name) for name in list_studies()]
    return [
        _study_command(name, command)
        for study in studies
        for name, command in getattr(study, kind).items()
    ]


def _study_command(name: str, command: Command) -> Callable[..., None]:
    def run(console: Console, **said: Any) -> None:
        from encephalon.recipes.schema import ask

        asked = ask(command.options, flags.given(**said), name)
        with console.progress(None, name) as advance:
            done = command.run(asked, advance)
        for sentence in done.failures:
            error(sentence)
        text = done.text
        console.result(done.data, text if isinstance(text, str) else lambda: table(text))
        if done.failures:
            raise typer.Exit(1)

    run.__name__, run.__doc__ = name.replace("-", "_"), command.run.__doc__
    return verbs.flagged(*verbs.of_sections([("", command.options)]))(run)


def add(app: typer.Typer, name: str, text: str) -> None:
    """Add the verb `name` from its module; its help begins with `text`.

    What bears its name there is a function, a task of `cli/tasks.py`, or, for a verb that has verbs
    of its own such as `models list`, the functions of these.
    """
    word = name.replace("-", "_")
    found = getattr(import_module(f"encephalon.cli.{_HOMES.get(name, word)}"), word)
    if hasattr(found, "verb"):
        found = found.verb()
    if callable(found):
        more = inspect.cleandoc(found.__doc__ or "")
        command = app.command(name, help=f"{text}\n\n{more}", context_settings=settings())
        command(verbs.verb_of(found))
        return
    group = typer.Typer(
        help=text, no_args_is_help=True, rich_markup_mode=None, context_settings=settings()
    )
    for function in found:
        # A trailing underscore keeps a function apart from the builtin or keyword.
        label = function.__name__.rstrip("_").replace("_", "-")
        group.command(label, context_settings=settings())(verbs.verb_of(function))
    app.add_typer(group, name=name)
