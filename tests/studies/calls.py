# SPDX-License-Identifier: Apache-2.0
"""Call a study as the verbs do, on the CPU with one thread and one worker unless asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from encephalon.recipes.schema import Recipe, Section
from encephalon.studies.base import OpenModel, Study
from encephalon.studies.registry import load_study
from encephalon.tables.schema import Table
from encephalon.training.runs import RunFolder, TrainingContext


def context(**asked: Any) -> TrainingContext:
    """How a test computes."""
    return TrainingContext(**{"device": "cpu", "workers": 1, "threads": 1, **asked})


def train(recipe: Recipe, table: Table, run: Path, **asked: Any) -> Path:
    """Train as the study of `recipe` does; the model folder."""
    study = load_study(recipe.study.name)
    assert study.trainable is not None
    return study.trainable.train(recipe, table, run, context(**asked))


def fit(recipe: Recipe, table: Table, run: RunFolder, how: TrainingContext) -> Any:
    """Train the network of `recipe` as its study does, and leave it at that."""
    from encephalon.training import run as training

    study = load_study(recipe.study.name)
    assert study.trainable is not None
    return training.fit(study.trainable.learner(recipe), table, run, how)


def opened(files: Any, **options: Any) -> OpenModel:
    """A model with options."""
    return OpenModel(files, options, "cpu", 1)


@dataclass(frozen=True)
class FakeRuntime:
    """A function of one array in the place of a network."""

    answer: Callable[[Any], Any]
    name: str = "fake"
    device: str = "cpu"

    def run(self, given: Any) -> list[Any]:
        """What the function says."""
        return [self.answer(given)]


class AnySettings(Section):
    """Whatever a recipe says."""

    model_config = ConfigDict(extra="allow")


def plain_study(**parts: Any) -> Study:
    """A study that can do nothing but what is given; a recipe may say anything of it."""
    settings = {"default": AnySettings}
    return Study("plain", settings, {}, **{"load": None, **parts})
