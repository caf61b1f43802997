# SPDX-License-Identifier: Apache-2.0
"""What a study is to everything below it: one constant `STUDY` in `studies/NAME/study.py`.

A study says what only it knows; order, files, locks, resume and failures belong to the rooms that
ask it. What it cannot do is None, and `able` says so in one sentence. Its `study.py` imports torch
and pandas inside functions or by `late` alone, so that a study is named, described and asked for
its options at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from encephalon.errors import ModelError, UsageError
from encephalon.inference.workers import HERE, Workers

if TYPE_CHECKING:
    from encephalon.api.model import Model
    from encephalon.evaluation.run import Scorable
    from encephalon.experiments.grid_choice import GridModels, Scored
    from encephalon.experiments.grid_folder import CellState
    from encephalon.experiments.results_table import ResultsTable
    from encephalon.explanation.explainable import Explains
    from encephalon.inference.batch import Progress
    from encephalon.inference.predictor import Predictor
    from encephalon.inference.runtimes import Runtime
    from encephalon.models.folder import ModelFolder
    from encephalon.models.published import PublishedFile
    from encephalon.recipes.schema import Mode, Recipe, Section
    from encephalon.reports.batch import BatchReport
    from encephalon.tables.image_files import Kind
    from encephalon.tables.schema import Columns, Table
    from encephalon.training.run import Learner
    from encephalon.training.runs import TrainingContext

    Schema = TypeVar("Schema", bound=Section)

Ability = TypeVar("Ability")


@dataclass(frozen=True)
class Study:
    """All that the verbs ask of a study.

    name         as recipes and models name it
    kind         "picture" where a sample is an image in a file of its own, and no volume
    settings     what the recipe's [study] may say, by mode
    options      what a user may ask of a model that predicts, by mode: flags are made of them
    load         the predictor of a model, with what the user asked of it
    page         the page of a batch, given `Predictor.describe()`; None for none
    columns      what its predictions say of a sample, by the name of the column, a sentence each
    trainable    how models of the study are trained
    scorable     an evaluation of such a model on a table with known answers
    explainable  how such a model shows what it looked at; raises UsageError for one that cannot
    simulators   what makes samples whose answer is known, by the verb of `encephalon simulate`
    tables       what makes or reads tables of its own, by the verb of `encephalon table`
    demo         what `encephalon demo` shows; None where any head will do
    compare      writes a comparison of the finished cells of a grid into a folder, and returns its
                 page; None for a row of numbers each
    results      what finished cells tell of each target from each set of inputs, which statistics
                 are made of; None where models are not told apart by their inputs
    main_score   of a finished cell, on samples that it has not learnt from: the model with the
                 largest predicts where a grid is named. Of a study with `results` every sample has
                 its own best, which `load` chooses: see `OpenModel.grid`
    grids        the folder of the grids that ship
    """

    name: str
    settings: Mapping[Mode, type[Section]]
    options: Mapping[Mode, type[Section]]
    load: Callable[[OpenModel], Predictor]
    page: Callable[[Mapping[str, Any]], BatchReport] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    kind: Kind = "volume"
    trainable: Trainable | None = None
    scorable: Callable[[Model, Path], Scorable[Any, Any]] | None = None
    explainable: Callable[[Model], Explains] | None = None
    simulators: Mapping[str, Command] = field(default_factory=dict)
    tables: Mapping[str, Command] = field(default_factory=dict)
    demo: Demo | None = None
    compare: Callable[[Sequence[CellState], Path], Path] | None = None
    results: Callable[[Sequence[CellState]], ResultsTable] | None = None
    main_score: Callable[[CellState], Scored] | None = None
    grids: Path | None = None


@dataclass(frozen=True)
class Demo:
    """What `encephalon demo` shows of a study, without a scan of the user's.

    samples  makes what a model is shown with in a folder, or finds it there (replaces it, if it is
             told to), and returns what is predicted on: the folder, or a table
    grid     the built-in grid that is run on them where the study is named in place of a model
    """

    samples: Callable[[Path, bool], Path]
    grid: str = ""


@dataclass(frozen=True)
class Command:
    """A verb of the command line that one study has alone, such as `encephalon simulate NAME`.

    options  its arguments and flags: the fields that have a `Flag`
    run      does it, given the options and what to call as work goes on; its docstring is the help
    """

    options: type[Section]
    run: Callable[[Any, Progress], Done]


@dataclass(frozen=True)
class Done:
    """What a command did: as data for --json, as a sentence or rows, and what failed of it."""

    data: Mapping[str, Any]
    text: str | Sequence[Mapping[str, Any]]
    failures: Sequence[str] = ()


def able(ability: Ability | None, whose: str, cannot: str) -> Ability:
    """`ability`, which is there; raises UsageError for one that is not, such as no training."""
    if ability is None:
        raise UsageError(f"{whose} {cannot}.")
    return ability


@dataclass(frozen=True)
class OpenModel:
    """A model on this machine with what the user asked of it: what a predictor is made of.

    grid  whose best model it is; of a study with `results` any, and every sample has its own best
    """

    files: ModelFolder | PublishedFile
    options: Mapping[str, Any]
    device: str = "auto"
    threads: int | None = None
    workers: Workers = HERE
    grid: GridModels | None = None

    def of_worker(self) -> OpenModel:
        """The same for one of its workers, with its share of the threads of this machine."""
        return replace(self, threads=self.workers.threads_each(self.threads), workers=HERE)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.files.name

    @property
    def mode(self) -> str:
        """How it works: that of its recipe, "published" for a published weights file."""
        from encephalon.models.folder import ModelFolder

        return self.files.description.mode if isinstance(self.files, ModelFolder) else "published"

    @property
    def recipe(self) -> Recipe:
        """The recipe in the model folder, or the built-in one of a published weights file."""
        from encephalon.models.folder import ModelFolder
        from encephalon.recipes.loading import load_recipe, make_recipe

        if isinstance(self.files, ModelFolder):
            return make_recipe(self.files.description.recipe, source=self._source)
        return load_recipe(self.files.recipe)

    @property
    def columns(self) -> Columns:
        """What its recipe says of tables; the default columns where it has none."""
        from encephalon.models.folder import ModelFolder
        from encephalon.tables.schema import Columns

        files = self.files
        known = files.description.recipe if isinstance(files, ModelFolder) else files.recipe
        return self.recipe.table if known else Columns()

    def runtime(self) -> Runtime:
        """The opened graph, which predicts without torch; raises ModelError for none."""
        from encephalon.inference.runtimes import open_runtime

        graph = getattr(self.files, "graph", None)
        if graph is None:
            raise ModelError(
                f"{self.files.path}: the model has no exported graph: train or get it again."
            )
        return open_runtime(graph, self.device, self.threads)

    def settings(self, schema: type[Schema]) -> Schema:
        """What the recipe of the model says of its study, checked."""
        from encephalon.recipes.validation import make_settings

        return make_settings(schema, self.recipe.study.settings, self._source)

    def asked(self, schema: type[Schema]) -> Schema:
        """What the user asked, checked; raises UsageError for what the model does not know."""
        from encephalon.recipes.schema import ask

        return ask(schema, self.options, self._source)

    @property
    def _source(self) -> str:
        return f"the model {self.name!r}"


class Trainable:
    """How models of a study are trained; a study overrides what differs.

    One that trains a single network gives its `learner`, one that trains several its own `train`.
    """

    def check_recipe(self, recipe: Recipe) -> None:
        """Raise RecipeError for what the schema of the study's settings cannot tell by itself."""

    def completing(self, table: Path) -> Callable[[Recipe], Recipe]:  # noqa: ARG002
        """What gives a recipe all that `table`, and files beside it, say of it: training needs it.

        Called whenever recipes meet a table, also with a recipe that was completed before; what
        lies there is read once for all of them. Raises RecipeError, or what reading the table
        raises.
        """
        return lambda recipe: recipe

    def learner(self, recipe: Recipe) -> Learner[Any]:
        """What trains the network of `recipe`, where a run trains one; needs torch."""
        raise NotImplementedError

    def check_network(self, recipe: Recipe) -> None:
        """Raise RecipeError unless the network of `recipe` can be built and suits; needs torch."""
        from encephalon.training.run import check_network

        learner = self.learner(recipe)
        check_network(recipe, learner.network, learner.expected)

    def check_table(self, table: Table) -> Table:
        """The table itself, checked; raises TableError with its faults."""
        from encephalon.tables.checks import checked

        return checked(table)

    def total_steps(self, recipe: Recipe) -> int:
        """How many steps a run takes at the most, over all its networks."""
        return recipe.training.epochs * recipe.training.steps_per_epoch

    def train(self, recipe: Recipe, table: Table, output: Path, context: TrainingContext) -> Path:
        """Train in the run folder `output`, and return the finished model folder; needs torch."""
        from encephalon.training.run import train

        return train(self.learner(recipe), table, output, context)
