# SPDX-License-Identifier: Apache-2.0
"""The verbs as functions, and a loaded model for repeated use. The command line calls these."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from encephalon.api.model import Model, Predictions, load_model
from encephalon.api.options import EvaluationOptions, Options
from encephalon.errors import RecipeError, UsageError
from encephalon.inference.outputs import Place, Work
from encephalon.inference.workers import HERE, Workers
from encephalon.io.files import expanded
from encephalon.studies.base import able

if TYPE_CHECKING:
    from encephalon.evaluation.run import EvaluationResult
    from encephalon.explanation.report import Explanations
    from encephalon.inference.batch import Progress
    from encephalon.io.bids_filters import Filters
    from encephalon.recipes.schema import Recipe
    from encephalon.studies.base import Trainable
    from encephalon.tables.pairing import Given
    from encephalon.tables.schema import Table

__all__ = [
    "EvaluationOptions",
    "Model",
    "Options",
    "Predictions",
    "Work",
    "Workers",
    "evaluate",
    "explain",
    "load_model",
    "load_recipe",
    "predict",
    "train",
]


def predict(
    model: Place,
    inputs: Sequence[Place] | Place,
    output: Place | Mapping[str, Place],
    *,
    device: str = "auto",
    threads: int | None = None,
    overwrite: bool = False,
    offline: bool = False,
    report: bool = True,
    pattern: str | None = None,
    suffixes: Sequence[str] | None = None,
    participants: Sequence[str] | None = None,
    sessions: Sequence[str] | None = None,
    filters: Filters | None = None,
    companions: Mapping[str, Given] | None = None,
    values: Mapping[str, str] | None = None,
    workers: Workers = HERE,
    **options: Unpack[Options],
) -> Predictions:
    """Predict on every sample that `inputs` mean and write the results to `output`.

    model       a name, a model or run folder, a published weights file, the folder of a grid
    inputs      image files, a folder of images, a DICOM folder, a table, or a BIDS dataset
    output      a folder, or the file of a single result, or the file of each image by its key; BIDS
                in gives BIDS-derivatives out
    overwrite   replace what other programs, or other options, left there
    report      write report.html into the folder
    pattern     which images of a folder, such as "*T1w.nii.gz"; "**/*" means sub-folders too
    suffixes, participants, sessions  which of BIDS, such as ["T1w", "FLAIR"], ["01", "02"]
    filters     which of BIDS, as `--bids-filter-file` says it: {"t1w": {"session": "01"}}
    companions  by role, the other images of a single input, such as {"t1w": "T1w.nii.gz"}
    values      by column, what a table would say of a single input, such as {"age": "34"}
    device, threads, offline, workers, options  as `load_model` takes them

        done = encephalon.predict("brain-extraction", "scans", "masks", border=2, save="mask,brain")
        done.to_dataframe()[["id", "volume_ml", "quality"]]

    Images lie on the grid of their input, each with a JSON sidecar; `predictions.csv` has a row
    a sample and `report.html` shows them. A sample that fails is in `result.failures`, and
    the others are done. Raises InputError, ModelError, OutputError or UsageError for what stops
    all of them.
    """
    places = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    how: dict[str, Any] = {"device": device, "threads": threads, "workers": workers}
    loaded = load_model(model, offline=offline, **how, **options)
    return loaded.predict_batch(
        places,
        output,
        overwrite=overwrite,
        report=report,
        pattern=pattern,
        suffixes=suffixes,
        participants=participants,
        sessions=sessions,
        filters=filters,
        companions=companions,
        values=values,
    )


def load_recipe(
    recipe: Place | Recipe, overrides: Mapping[str, Any] | None = None, table: Place | None = None
) -> Recipe:
    """A recipe by its name, its file or as it is, checked down to the settings of its study.

    `overrides` maps dotted keys to values, such as {"training.epochs": 5}; `table` is that of the
    samples, whose study may take more of the recipe from what lies beside it.

        recipe = encephalon.load_recipe("micrographs", {"training.epochs": 5})
        print(recipe.training.learning_rate)

    Raises RecipeError, and what reading the table raises where its study does.
    """
    from encephalon.recipes.loading import load_recipe as load

    return check_recipe(load(recipe, overrides), table)


def check_recipe(recipe: Recipe, table: Place | None = None) -> Recipe:
    """The recipe, checked down to the settings of its study and completed; see `load_recipe`."""
    return recipe_checker(table)(recipe)


def recipe_checker(table: Place | None = None) -> Callable[[Recipe], Recipe]:
    """What checks many recipes as `check_recipe` does one; what they all need is read once."""
    completing: dict[str, Callable[[Recipe], Recipe]] = {}

    def check(recipe: Recipe) -> Recipe:
        _check_recipe(recipe)
        if table is None:
            return recipe
        name = recipe.study.name
        if name not in completing:
            completing[name] = _trainable(recipe).completing(expanded(table))
        return completing[name](recipe)

    return check


def _check_recipe(recipe: Recipe) -> None:
    from encephalon.networks.registry import require_network
    from encephalon.recipes.validation import make_settings
    from encephalon.studies.registry import load_study

    require_network(recipe.network.name)
    trainable, schemas = _trainable(recipe), load_study(recipe.study.name).settings
    if recipe.mode not in schemas:
        raise RecipeError(
            f"{recipe.name}: the study {recipe.study.name!r} has no mode {recipe.mode!r}: set mode "
            f"to {' or '.join(map(repr, schemas))}."
        )
    make_settings(schemas[recipe.mode], recipe.study.settings, recipe.name)
    trainable.check_recipe(recipe)


def check_network(recipe: Recipe) -> None:
    """Raise RecipeError unless the network of `recipe` and its losses suit its study.

    Without torch nothing can be built, and nothing is said.
    """
    from importlib.util import find_spec

    if find_spec("torch") is None:
        return
    from encephalon.training.losses import WeightedLoss

    WeightedLoss(recipe.training.losses)
    _trainable(recipe).check_network(recipe)


def load_samples(recipe: Recipe, table: Place | Table) -> Table:
    """The table of samples that `recipe` is to learn from, checked as its study asks.

    One that was read already has the columns of `recipe`. Raises MissingFileError, or TableError
    with every fault.
    """
    from dataclasses import replace

    from encephalon.tables.reading import read_table
    from encephalon.tables.schema import Table

    if isinstance(table, Table):
        read = replace(table, columns=recipe.table.expand(map(str, table.frame.columns)))
    else:
        read = read_table(table, recipe.table)
    return _trainable(recipe).check_table(read)


def total_steps(recipe: Recipe) -> int:
    """How many steps training by `recipe` takes at the most, over all networks of its study."""
    return _trainable(recipe).total_steps(recipe)


def _trainable(recipe: Recipe) -> Trainable:
    from encephalon.studies.registry import load_study

    study = load_study(recipe.study.name)
    return able(study.trainable, f"The study {study.name!r}", "trains no models")


def train(
    recipe: Place | Recipe,
    table: Place,
    output: Place,
    *,
    resume: bool = False,
    overrides: Mapping[str, Any] | None = None,
    device: str = "auto",
    devices: int = 1,
    workers: int = 2,
    threads: int | None = None,
    report: Callable[[Any, Mapping[str, float]], None] | None = None,
    jobs: Workers = HERE,
) -> Path:
    """Train a model and return its folder, `output`/model.

    recipe     the name of a built-in one, a TOML file, or what `load_recipe` returned
    table      names the samples and their split
    output     the folder of the run
    resume     go on with the run in `output`, bit for bit on the CPU
    overrides  dotted keys of the recipe to values, such as {"training.epochs": 5}
    device     auto, cpu, cuda, cuda:N or mps
    devices    number of GPUs
    workers    number of processes that prepare samples
    threads    CPU threads; all by default
    report     called after every step with the progress and the losses
    jobs       who trains the folds of a cross-validation, see `Workers`; then nothing is reported

        folder = encephalon.train("brain-extraction", "split.csv", "runs/first")
        model = encephalon.load_model(folder)

    Raises RecipeError, TableError, RunError, UsageError for jobs without folds, and
    MissingExtraError without the extra `train`.
    """
    from encephalon.errors import require_extra
    from encephalon.training.runs import TrainingContext

    require_extra("torch", "train", "Training")
    require_extra("lightning", "train", "Training")
    loaded = load_recipe(recipe, overrides, table)
    check_network(loaded)
    samples = load_samples(loaded, table)
    one = loaded.training.epochs * loaded.training.steps_per_epoch
    if jobs.elsewhere and total_steps(loaded) <= one:
        raise UsageError(
            f"{loaded.name} trains one network, which is the work of one process: leave out --jobs "
            "and whatever else shares work out, or set study.folds."
        )
    context = TrainingContext(resume, device, devices, workers, threads, report, jobs)
    return _trainable(loaded).train(loaded, samples, Path(output), context)


def evaluate(
    model: Place,
    table: Place,
    output: Place,
    *,
    device: str = "auto",
    threads: int | None = None,
    overwrite: bool = False,
    offline: bool = False,
    progress: Progress | None = None,
    **options: Unpack[EvaluationOptions],
) -> EvaluationResult[Any]:
    """Score a model on a table with known answers, and write scores, summary and report.

    model      as `predict` takes it, or a CSV file of predicted classes, ours or another program's
    table      names the samples and their answers; of one that was split the part "test" is scored
    output     the folder of the results
    device     auto, cpu, cuda, cuda:N or mps
    threads    CPU threads; all by default
    overwrite  replace an earlier evaluation
    offline    never touch the network
    progress   called after every sample with how many are done, how many there are, and its name
    options    see `api.options.EvaluationOptions`

        print(encephalon.evaluate("brain-extraction", "heads.csv", "scores"))  # the main metrics

    Raises what `predict` raises, and TableError for a table without answers.
    """
    from encephalon.evaluation.run import evaluate as score
    from encephalon.tables.reading import is_table

    if is_table(model):
        from encephalon.experiments.scored_predictions import ScoredPredictions

        given = ScoredPredictions(expanded(model), Path(table), options)
        return score(given, Path(output), overwrite=overwrite, progress=progress)
    asked: dict[str, Any] = {**options}  # the study parts what is asked of the model from the rest
    loaded = load_model(model, device=device, threads=threads, offline=offline, **asked)
    scorable = able(loaded.study.scorable, f"The model {loaded.name!r}", "cannot be scored")
    return score(
        scorable(loaded, Path(table)), Path(output), overwrite=overwrite, progress=progress
    )


def explain(
    model: Place,
    inputs: Sequence[Place] | Place,
    output: Place,
    *,
    target: str | None = None,
    target_class: str | None = None,
    layer: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    overwrite: bool = False,
    offline: bool = False,
    progress: Progress | None = None,
    **options: Unpack[Options],
) -> Explanations:
    """Show what a model looked at in every sample, and write maps, tables and report.

    model         as `predict` takes it
    inputs        as `predict` takes them
    output        the folder of the results
    target        name of what is explained, of a model that tells several things; its first one by
                  default
    target_class  name of the class that is explained; the predicted one by default
    layer         dotted path of the layer that maps are taken from; the model's own by default
    device        auto, cpu, cuda, cuda:N or mps
    threads       CPU threads; all by default
    overwrite     replace earlier explanations
    offline       never touch the network
    progress      called after every sample
    options       those of the model's study, see `api.options.Options`

        shown = encephalon.explain("runs/mine", "new.csv", "maps", target_class="Aged")

    Models of micrographs, of slices, of the regions of microtomography, and of the legibility of
    people can be explained. The result has `rows`, `failures` and what is known of how far the
    maps can be trusted. Raises what `predict` raises, and UsageError for a model that has nothing
    to explain.
    """
    from encephalon.explanation.run import explain as show

    loaded = load_model(model, device=device, threads=threads, offline=offline, **options)
    nothing = "has nothing to explain: it is no classifier"
    explainable = able(loaded.study.explainable, f"The model {loaded.name!r}", nothing)(loaded)
    places = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    samples = loaded.plan(places, output).samples
    return show(
        explainable,
        samples,
        Path(output),
        target=target,
        target_class=target_class,
        layer=layer,
        device=device,
        threads=threads,
        overwrite=overwrite,
        progress=progress,
    )
