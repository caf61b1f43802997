# SPDX-License-Identifier: Apache-2.0
"""The legibility study: what can be read of a person from which inputs, one constant `STUDY`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import RecipeError, UsageError
from encephalon.studies.base import Demo, OpenModel, Study, Trainable
from encephalon.studies.legibility.commands import SIMULATORS, TABLES
from encephalon.studies.legibility.modes import NETWORKS, SETTINGS, legibility_settings
from encephalon.studies.legibility.settings import PredictOptions

if TYPE_CHECKING:
    from encephalon.api.model import Model
    from encephalon.evaluation.run import Scorable
    from encephalon.experiments.grid_folder import CellState
    from encephalon.experiments.results_table import ResultsTable
    from encephalon.explanation.explainable import Explains
    from encephalon.inference.predictor import Predictor
    from encephalon.recipes.schema import Recipe
    from encephalon.reports.batch import BatchReport
    from encephalon.tables.schema import Table
    from encephalon.training.runs import TrainingContext

__all__ = ["STUDY"]

#: Who is made up for the demonstration: few, so that it takes two minutes.
DEMO: Mapping[str, Any] = {"people": 72, "side": 16, "missing": 0.1}


class _Training(Trainable):
    def check_recipe(self, recipe: Recipe) -> None:
        settings, network = legibility_settings(recipe), NETWORKS[recipe.mode]
        if recipe.network.name != network:
            raise RecipeError(
                f"{recipe.name}: legibility is learnt by the network {network!r} in the mode "
                f"{recipe.mode!r}, not by {recipe.network.name!r}: change network.name."
            )
        if recipe.mode == "published" and recipe.training.batch_size < 2:
            raise RecipeError(
                f"{recipe.name}: training.batch_size is 1, but the published network standardises "
                "over the people of a batch: set it to 2 or more."
            )
        if settings.hold_out_sites and not settings.folds:
            raise RecipeError(
                f"{recipe.name}: study.hold_out_sites needs folds to hold them out in, but "
                "study.folds is 0: set it to the number of sites, or leave hold_out_sites out."
            )

    def completing(self, table: Path) -> Callable[[Recipe], Recipe]:
        from encephalon.studies.legibility.cohort import Completing

        return Completing(table)

    def check_network(self, recipe: Recipe) -> None:
        from encephalon.studies.legibility.experiment import check_network

        check_network(recipe)

    def check_table(self, table: Table) -> Table:
        from encephalon.tables.checks import checked

        return checked(table, audited=True)

    def total_steps(self, recipe: Recipe) -> int:
        """Of all networks: one a fold, the one that ships, and those of the learning curve."""
        settings = legibility_settings(recipe)
        networks = (settings.folds + 1 if settings.folds else 1) + len(settings.learning_curve)
        return networks * super().total_steps(recipe)

    def train(self, recipe: Recipe, table: Table, output: Path, context: TrainingContext) -> Path:
        from encephalon.studies.legibility.experiment import train

        if context.devices > 1 and legibility_settings(recipe).folds:
            raise UsageError(
                f"The networks of a cross-validation train on one device, not {context.devices}: "
                "leave out --devices, or set study.folds=0 and split the table."
            )
        return train(recipe, table, output, context)


def _load(model: OpenModel) -> Predictor:
    if model.grid is not None:
        from encephalon.studies.legibility.choosing import make_choosing_predictor

        return make_choosing_predictor(model, model.grid)
    from encephalon.studies.legibility.predictor import make_people_predictor

    return make_people_predictor(model)


def _page(about: Mapping[str, Any]) -> BatchReport:
    from encephalon.studies.legibility.report import batch_report

    return batch_report(about)


def _one(model: Model) -> Any:
    """The predictor of a model; raises UsageError for those of a grid."""
    from encephalon.studies.legibility.choosing import ChosenPeople

    predictor: Any = model.predictor
    if isinstance(predictor, ChosenPeople):
        one = predictor.candidates[0].path.parent
        raise UsageError(
            f"{predictor.grid.path} is many models: give the run of one, such as {one}."
        )
    return predictor


def _scoring(model: Model, table: Path) -> Scorable[Any, Any]:
    from encephalon.studies.legibility.scoring import PeopleEvaluation

    _one(model)
    return PeopleEvaluation(model, table)


def _explaining(model: Model) -> Explains:
    from encephalon.studies.legibility.explanation_work import ExplainablePeople

    predictor = _one(model)
    if predictor.model["mode"] == "published":
        raise UsageError(
            f"The model {model.name!r} answers to one set of inputs alone, so nobody can say what "
            "each adds: explain one of the recipe 'legibility'."
        )
    return ExplainablePeople(predictor)


def _compare(cells: Sequence[CellState], output: Path) -> Path:
    from encephalon.studies.legibility.evaluation_page import compare_people

    return compare_people(cells, output)


def _results(cells: Sequence[CellState]) -> ResultsTable:
    from encephalon.studies.legibility.results import results_of_people

    return results_of_people(cells)


def _made_up(folder: Path, overwrite: bool) -> Path:
    from encephalon.studies.legibility.cohort import PEOPLE
    from encephalon.studies.legibility.synthetic import Size, write_cohort

    if overwrite or not (folder / PEOPLE).exists():
        write_cohort(folder, Size(**DEMO), prepared=True, overwrite=overwrite)
    return folder / PEOPLE


STUDY = Study(
    name="legibility",
    settings=SETTINGS,
    options={"default": PredictOptions, "published": PredictOptions},
    load=_load,
    page=_page,
    trainable=_Training(),
    scorable=_scoring,
    explainable=_explaining,
    simulators=SIMULATORS,
    tables=TABLES,
    demo=Demo(_made_up, "legibility-tiny"),
    compare=_compare,
    results=_results,
    grids=Path(__file__).parent / "grids",
)
