# SPDX-License-Identifier: Apache-2.0
"""What editors and type checkers are told of the public functions is what these take."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

import encephalon
from encephalon.api.options import EvaluationOptions, Options
from encephalon.experiments.scored_predictions import PredictionOptions
from encephalon.studies.isotropic.settings import EvaluationOptions as SliceOptions
from encephalon.studies.registry import list_studies, load_study

TOLD = get_type_hints(Options)
FUNCTIONS = [name for name in encephalon.__all__ if inspect.isfunction(getattr(encephalon, name))]
VERBS = ["predict", "load_model", "load_recipe", "train", "evaluate", "explain"]


def fields() -> Iterator[tuple[str, str, Any]]:
    """Study and mode, name and type of every option."""
    for study in map(load_study, list_studies()):
        for mode, section in study.options.items():
            for name, field in section.model_fields.items():
                yield f"{study.name}, {mode}", name, field.annotation


def words(kind: Any) -> set[Any]:
    """The words and the plain types within a type."""
    if get_origin(kind) is Literal:
        return set(get_args(kind))
    inner = [one for part in get_args(kind) if part is not Ellipsis for one in words(part)]
    return set(inner) if inner else {kind}


def test_every_option_of_every_study_is_told_and_no_other() -> None:
    assert set(TOLD) == {name for _, name, _ in fields()}


@pytest.mark.parametrize(("study", "name", "kind"), list(fields()), ids=str)
def test_what_a_study_takes_is_told(study: str, name: str, kind: Any) -> None:
    """Every word of a choice, and None where it may be given."""
    del study
    plain = {one for one in words(kind) if isinstance(one, str | type)}
    assert plain <= words(TOLD[name])


def test_choices_are_those_of_the_studies() -> None:
    """No word is told that no study takes."""
    taken: dict[str, set[Any]] = {}
    for _, name, kind in fields():
        taken.setdefault(name, set()).update(words(kind))
    for name, kind in TOLD.items():
        choices = {one for one in words(kind) if isinstance(one, str)}
        choices -= {"structures", "regions"}  # which are written, asked for or not
        assert choices <= taken[name], name


def test_every_option_of_an_evaluation_is_told_and_no_other() -> None:
    expected = {*TOLD, *SliceOptions.model_fields, *PredictionOptions.model_fields}
    assert set(get_type_hints(EvaluationOptions)) == expected


@pytest.mark.parametrize("options", [Options, EvaluationOptions])
def test_every_option_is_explained(options: Any) -> None:
    text = f"{inspect.getdoc(Options)} {inspect.getdoc(options)}"
    for name in options.__annotations__:
        assert f"{name} " in text or f"{name}," in text, name


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_names_each_parameter(name: str) -> None:
    """In its docstring, with an example."""
    function = getattr(encephalon, name)
    text = inspect.getdoc(function) or ""
    missing = [one for one in inspect.signature(function).parameters if one not in text]
    assert not missing
    assert list(examples(function))


def examples(thing: Any) -> Iterator[ast.Module]:
    """The indented blocks of a docstring that call the package."""
    for block in (inspect.getdoc(thing) or "").split("\n\n"):
        if block.startswith("    ") and "encephalon." in block:
            yield ast.parse(textwrap.dedent(block))


def test_examples_call_what_is_there_as_it_is_called() -> None:
    """Every call of a public function in a docstring fits its signature."""
    things = [getattr(encephalon, name) for name in FUNCTIONS]
    called = 0
    for thing in (*things, encephalon.Model.predict):
        for node in (one for block in examples(thing) for one in ast.walk(block)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            base = node.func.value
            if isinstance(base, ast.Name) and base.id == "encephalon":
                given = {one.arg: None for one in node.keywords if one.arg}
                function = getattr(encephalon, node.func.attr)
                inspect.signature(function).bind(*node.args, **given)
                named = set(inspect.signature(function).parameters)
                assert set(given) <= named | set(TOLD), ast.unparse(node)
                called += 1
    assert called > len(VERBS)


def test_overrides_are_numbers_or_text() -> None:
    """In Python one writes 5, on a command line "5"."""
    for value in (5, "5"):
        recipe = encephalon.load_recipe("micrographs", {"training.epochs": value})
        assert recipe.training.epochs == 5


def test_completion_offers_public_names_alone() -> None:
    """`dir` lists no module that is imported for its own use."""
    hidden = {name for name in dir(encephalon) if name.startswith("__")}
    assert set(dir(encephalon)) - hidden == set(encephalon.__all__) - hidden
