# SPDX-License-Identifier: Apache-2.0
"""The microtomography study: what representations know about brain structure, one `STUDY`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import RecipeError, UsageError
from encephalon.recipes.validation import make_settings
from encephalon.studies.base import Demo, OpenModel, Study, Trainable
from encephalon.studies.microtomography.commands import SIMULATORS, TABLES
from encephalon.studies.microtomography.settings import MicrotomographySettings, PredictOptions

if TYPE_CHECKING:
    from encephalon.api.model import Model
    from encephalon.evaluation.run import Scorable
    from encephalon.experiments.grid_choice import Scored
    from encephalon.experiments.grid_folder import CellState
    from encephalon.explanation.explainable import Explainable
    from encephalon.inference.predictor import Predictor
    from encephalon.recipes.schema import Recipe
    from encephalon.reports.batch import BatchReport
    from encephalon.tables.schema import Table
    from encephalon.training.run import Learner
    from encephalon.training.runs import TrainingContext

__all__ = ["STUDY"]


def _load(model: OpenModel) -> Predictor:
    from encephalon.studies.microtomography.predictor import make_tile_predictor

    return make_tile_predictor(model)


def _page(about: Mapping[str, Any]) -> BatchReport:
    from encephalon.studies.microtomography.report import batch_report

    return batch_report(about)


#: The volume of a demonstration.
DEMO = {"depth": 40, "side": 64, "tile": 64, "cubes": 2}
#: The network that each method without a gradient makes.
NETWORKS = {"pca": "tile-factors", "nmf": "tile-factors", "frozen": "tile-encoder"}


class _Training(Trainable):
    def check_recipe(self, recipe: Recipe) -> None:
        settings = make_settings(MicrotomographySettings, recipe.study.settings, recipe.name)
        if settings.encoder_from is not None and recipe.training.start_from is not None:
            raise RecipeError(
                f"{recipe.name}: study.encoder_from and training.start_from both say where the "
                "encoder starts: leave one of them out."
            )
        if settings.method in {"pca", "nmf"} and recipe.training.start_from is not None:
            raise RecipeError(
                f"{recipe.name}: the factors of {settings.method!r} are solved for and start from "
                "nothing: leave out training.start_from (--from)."
            )
        if settings.method == "supervised":
            return
        wanted = NETWORKS.get(settings.method, "self-supervised")
        if recipe.network.name != wanted:
            raise RecipeError(
                f"{recipe.name}: the method {settings.method!r} makes the network {wanted!r}, not "
                f"{recipe.network.name!r}: set network.name to that, or choose another method."
            )

    def learner(self, recipe: Recipe) -> Learner[Any]:
        from encephalon.studies.microtomography.task import TileLearner

        return TileLearner(recipe)

    def train(self, recipe: Recipe, table: Table, output: Path, context: TrainingContext) -> Path:
        from encephalon.studies.microtomography.factors import train_without_gradient
        from encephalon.studies.microtomography.task import TileLearner
        from encephalon.training.run import train

        learner = TileLearner(recipe)
        fit = train_without_gradient if learner.settings.method in NETWORKS else train
        return fit(learner, table, output, context)


def _tiles(folder: Path, overwrite: bool) -> Path:
    from encephalon.studies.microtomography.benchmark import load_benchmark
    from encephalon.studies.microtomography.synthetic import write_volume
    from encephalon.studies.microtomography.tiles import TABLE, write_tiles

    if overwrite or not (folder / TABLE).exists():  # which is written last
        file = folder / "volume" / "benchmark.toml"
        if overwrite or not file.exists():
            write_volume(file.parent, **DEMO, seed=0, overwrite=overwrite)
        write_tiles(load_benchmark(file), folder, file.parent, overwrite=overwrite)
    return folder / TABLE


def _compare(cells: Sequence[CellState], output: Path) -> Path:
    from encephalon.studies.microtomography.leaderboard import leaderboard

    words = [", ".join(cell.words) for cell in cells]
    leaderboard([cell.evaluation for cell in cells], output, overwrite=True, words=words)
    return output / "leaderboard.html"


def _scoring(model: Model, table: Path) -> Scorable[Any, Any]:
    from encephalon.studies.microtomography.evaluation import TileEvaluation

    return TileEvaluation(model, table)


def _explaining(model: Model) -> Explainable:
    from encephalon.explanation.explainable import ConfidenceBins, Explainable

    predictor: Any = model.predictor
    if predictor.settings.target != "region":
        raise UsageError(
            f"The model {model.name!r} tells no region of a tile that could be explained: give one "
            "that does, as  encephalon train region-supervised  makes it."
        )
    network = predictor.torch_network()
    # Patches share a tile evenly, and convolutions are padded.
    even = getattr(network.encoder, "multiple", 1) > 1
    return Explainable(
        predictor,
        predictor.classes,
        model.columns,
        look=partial(predictor.look, even=even),
        network=lambda: network,
        layer="encoder",
        bins=ConfidenceBins(predictor.classes),
    )


def _main_score(cell: CellState) -> Scored:
    """As in leaderboards: of regions, as the model or the first probe tells them, or structures."""
    from encephalon.evaluation.run import read_summary
    from encephalon.experiments.grid_choice import Scored

    found = read_summary(cell.evaluation)
    if found["regions"]:
        first = found["regions"][0]
        return Scored.of("accuracy", first["metrics"]["accuracy"], found["tiles"])
    if found["pooled"]:
        return Scored.of("F1", found["pooled"]["f1"], found["tiles"])
    first = found["readouts"][0] if found["readouts"] else {"target": "nothing", "r2": None}
    return Scored.of(f"R² of {first['target']}", first["r2"], found["tiles"])


STUDY = Study(
    name="microtomography",
    settings={"default": MicrotomographySettings, "published": MicrotomographySettings},
    options={"default": PredictOptions, "published": PredictOptions},
    load=_load,
    page=_page,
    kind="microscopy",
    trainable=_Training(),
    scorable=_scoring,
    main_score=_main_score,
    explainable=_explaining,
    simulators=SIMULATORS,
    tables=TABLES,
    demo=Demo(_tiles, "microtomography-tiny"),
    compare=_compare,
    grids=Path(__file__).parent / "grids",
)
