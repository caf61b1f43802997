# SPDX-License-Identifier: Apache-2.0
"""What editors and type checkers are told of the public functions is what these take."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_overloads, get_type_hints

import pytest

import encephalon
from encephalon.api import options
from encephalon.api.options import EvaluationOptions, Loading, NamedModel, Options
from encephalon.experiments.scored_predictions import PredictionOptions
from encephalon.models.catalogue import find_model, list_models
from encephalon.models.folder import ModelFolder
from encephalon.models.registry import registry_entries
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


def named() -> dict[str, Any]:
    """By model, the keywords that an overload of `load_model` has for it."""
    told = (get_type_hints(one) for one in get_overloads(encephalon.load_model))
    return {
        name: get_args(hints["options"])[0]
        for hints in told
        if get_origin(hints["model"]) is Literal and hints["options"] is not Any
        for name in get_args(hints["model"])
    }


def kind_of(name: str) -> tuple[str, str]:
    """Study and mode of a model that has a name."""
    if name in registry_entries():
        entry = registry_entries()[name]
        return entry.study, entry.mode
    found = find_model(name)
    assert isinstance(found, ModelFolder)
    return found.study, found.description.mode


def test_every_model_that_has_a_name_is_told() -> None:
    """Those that ship, and the published ones that can be had."""
    shipped = {one.name for one in list_models() if one.where == "packaged"}
    published = {name for name, one in registry_entries().items() if one.kind != "listed"}
    assert set(named()) == shipped | published == words(NamedModel)


@pytest.mark.parametrize("name", sorted(named()))
def test_a_named_model_is_told_the_options_of_its_study_and_mode_alone(name: str) -> None:
    """With every word of every choice, and no other; beside how any model is loaded."""
    study, mode = kind_of(name)
    taken = {
        key: one.annotation for key, one in load_study(study).options[mode].model_fields.items()
    }
    told = get_type_hints(named()[name])
    assert set(told) - set(get_type_hints(Loading)) == set(taken)
    for key, kind in taken.items():
        choices = {one for one in words(kind) if isinstance(one, str)}
        assert choices == {one for one in words(told[key]) if isinstance(one, str)}, key


KINDS = [one for key, one in vars(options).items() if key.endswith("Options")]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_option_is_explained(kind: Any) -> None:
    """In its class, or, of one that has those of all studies, in the classes of these."""
    all_studies = kind in {Options, EvaluationOptions}
    text = "".join(inspect.getdoc(one) or "" for one in (KINDS if all_studies else [kind]))
    for name in set(get_type_hints(kind)) - set(get_type_hints(Loading)):
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
