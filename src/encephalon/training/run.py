# SPDX-License-Identifier: Apache-2.0
"""One run, from a recipe and a table to a model folder.

A study says what only it knows by a `Learner`; `train` does the rest in the same order for all:
open the folder, draw the network from the seed, start it from another model, prepare the samples,
train or go on, round to half precision, export the graph, describe the model, and write its card
and the page of the run. A study that trains several networks calls the parts itself.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encephalon.errors import MissingFileError, ModelError, RecipeError, RunError
from encephalon.inference.runtimes import resolve_device, resolve_threads
from encephalon.io.atomic import content_of
from encephalon.io.files import expanded
from encephalon.models.catalogue import find_model
from encephalon.models.description import FIRST_VERSION, ModelDescription, package_versions
from encephalon.models.folder import save_model
from encephalon.networks.encoders import user_code
from encephalon.networks.export import export_graph, half_precision
from encephalon.networks.registry import build_network, meta_network, output_shape
from encephalon.recipes.loading import dump_recipe, recipe_data
from encephalon.recipes.schema import Network, Recipe, Section, Training
from encephalon.recipes.validation import make_settings
from encephalon.reports.page import training_page
from encephalon.tables.reading import table_text
from encephalon.tables.schema import Table
from encephalon.training.loop import Loop, Task, make_fabric
from encephalon.training.record import table_contents
from encephalon.training.runs import RunFolder, TrainingContext, best_row
from encephalon.training.transfer import start_from

__all__ = [
    "Expected",
    "Fitted",
    "Learner",
    "ModelFacts",
    "check_network",
    "fit",
    "fit_network",
    "open_run",
    "round_to_half",
    "train",
    "training_parts",
    "write_model",
]

Settings = TypeVar("Settings", bound=Section)

PACKAGES = ("encephalon", "torch", "lightning", "numpy", "scipy", "onnx")


@dataclass(frozen=True)
class Expected:
    """What a network must make of its inputs for the study to use it.

    inputs, output  shapes, with their batch
    to              what it is to do, in words
    change          what to change where it does not
    sides           what must be multiples of the network's stride, as `said`; `widen` tells how
    """

    inputs: tuple[Sequence[int], ...]
    output: tuple[int, ...]
    to: str
    change: str = "change network"
    sides: tuple[int, ...] = ()
    said: str = ""
    widen: str = ""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained network, on its device with its best weights, and how it came to them."""

    network: nn.Module
    task: Task
    state: dict[str, Tensor]
    history: list[dict[str, float]]


@dataclass(frozen=True)
class ModelFacts:
    """What only the study knows of its model: `model.toml`, its card and the graph say the rest.

    labels, preprocessing, training_data, scores, card  see `ModelDescription`
    study     what its recipe's [study] says beside, such as what was measured
    example   inputs, or the shape of one, that prove the exported graph; None for no graph
    inputs    names of the graph's inputs
    packages  whose versions are told
    """

    labels: Mapping[int, str] = field(default_factory=dict)
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    training_data: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, str] = field(default_factory=dict)
    study: Mapping[str, Any] = field(default_factory=dict)
    example: Sequence[int] | tuple[Tensor, ...] | None = None
    inputs: Sequence[str] = ("image",)
    packages: Sequence[str] = PACKAGES


class Learner(Generic[Settings]):
    """How a study trains one network by one recipe, whose [study] is a `schema`."""

    schema: type[Settings]

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.settings = make_settings(self.schema, recipe.study.settings, recipe.name)

    @property
    def network(self) -> Network:
        """What is built, with the options that the study determines."""
        return self.recipe.network

    @property
    def expected(self) -> Sequence[Expected]:
        """What the network must be able to do."""
        return ()

    @property
    def models(self) -> Mapping[str, str | None]:
        """Models that the run reads beside `training.start_from`, by what asks for them."""
        return {}

    def split(self, table: Table) -> Table:
        """The table with the parts that it learns from."""
        return table

    def build(self) -> nn.Module:
        """The network as it is trained, drawn from the seed."""
        with user_code():
            return build_network(self.network.name, self.network.options)

    def prepare(self, part: Table, cache: Path, workers: int) -> Any:
        """The samples of a part of the table."""
        raise NotImplementedError

    def task(self, train: Any, validation: Any) -> Task:
        """Batches of the samples, and how an epoch is judged."""
        raise NotImplementedError

    def kept(self, state: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The weights of a trained network that its model has."""
        return state

    def exported(self, network: nn.Module) -> nn.Module:
        """What of a trained network the graph is."""
        return network

    def measure(self, fitted: Fitted) -> Mapping[str, Any]:
        """What the recipe's [study] of the model says beside, of a network on the CPU."""
        del fitted
        return {}

    def facts(self, table: Table) -> ModelFacts:
        """What the study says of a model that learnt from `table`."""
        raise NotImplementedError


def check_network(recipe: Recipe, network: Network, expected: Sequence[Expected]) -> nn.Module:
    """The network as shapes; raises RecipeError where it cannot be built or do what is expected."""
    with user_code():
        built = meta_network(network)
    multiple = getattr(built, "multiple", 1)
    for each in expected:
        if any(side % multiple for side in each.sides):
            raise RecipeError(
                f"{recipe.name}: the network needs multiples of {multiple} voxels, but "
                f"{each.said}: {each.widen}."
            )
        found = output_shape(built, recipe.name, *each.inputs)
        if found is not None and found != each.output:
            raise RecipeError(
                f"{recipe.name}: the network is to {each.to}, {list(each.output[1:])}, but gives "
                f"{list(found[1:])}: {each.change}."
            )
    return built


def train(learner: Learner[Any], table: Table, output: Path, context: TrainingContext) -> Path:
    """Train in the run folder `output`, and return the finished model folder.

    Raises RunError, TableError, RecipeError or ModelError for what cannot be trained, OutputError
    or OutputExistsError for a folder that must be left alone.
    """
    recipe, run, table = learner.recipe, RunFolder(output), learner.split(table)
    with open_run(run, recipe, table, context, models=learner.models) as placed:
        fitted = fit(learner, table, run, placed)
        run.finishing()
        return write_fitted(learner, table, run, fitted)


def write_fitted(learner: Learner[Any], table: Table, run: RunFolder, fitted: Fitted) -> Path:
    """Write the model folder and the page of a run whose training is over; returns the folder."""
    recipe = learner.recipe
    fitted.network.cpu()
    best = best_row(fitted.history, recipe.training)
    facts, parts = learner.facts(table), Counter(table.texts(str(table.columns.split)))
    split = {f"split_{name or 'none'}": count for name, count in sorted(parts.items())}
    facts = replace(
        facts,
        study=learner.measure(fitted),
        scores={f"validation_{k[4:]}": round(v, 4) for k, v in best.items() if k[:4] == "val_"},
        training_data={"samples": len(table), **facts.training_data, **split},
    )
    # However a network lies in memory while it learns, its graph is the same.
    fitted.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    state = learner.kept(round_to_half(fitted))
    write_model(run.model, recipe, facts, learner.exported(fitted.network), state)
    about = {"Recipe": recipe.name, "Mode": recipe.mode, "Seed": recipe.training.seed}
    page = training_page(fitted.history, recipe.title, best=best, about=about)
    page.write(run.report, overwrite=True)
    return run.model


@contextmanager
def open_run(
    run: RunFolder,
    recipe: Recipe,
    table: Table,
    context: TrainingContext,
    *,
    content: Callable[[Path], str] = content_of,
    models: Mapping[str, str | None] | None = None,
) -> Iterator[TrainingContext]:
    """Begin or go on with `run`, held against every other process; yields `context` with a device.

    What the run reads is recorded, or compared: the files of `table`, each as `content` sees it,
    and the models that `models` names beside that of `training.start_from`, by what asks for them.
    Raises RunError, OutputError or OutputExistsError for a folder that must be left alone.
    """
    count = resolve_threads(context.threads)
    place = resolve_device(context.device, needs_torch=True)
    torch.set_num_threads(count)
    named = {"training.start_from": recipe.training.start_from, **(models or {})}

    def contents() -> dict[str, str]:
        found = table_contents(table, context.workers, content)
        for name, source in named.items():
            # A model that is gone is missed by whoever still needs it.
            with suppress(MissingFileError, ModelError):
                if source is not None:
                    path = expanded(source)
                    found[name] = content_of(path if path.is_file() else find_model(source).path)
        return found

    with run.opened(
        dump_recipe(recipe),
        table_text(table.frame),
        resume=context.resume,
        contents=contents,
        conditions={"threads": str(count), "device": place, "torch": torch.__version__},
    ):
        yield replace(context, device=place)


def fit(learner: Learner[Any], table: Table, run: RunFolder, context: TrainingContext) -> Fitted:
    """Train on the rows whose split is "train", judged by those whose is "validation"."""
    parts, training = training_parts(table), learner.recipe.training
    torch.manual_seed(training.seed)
    network = learner.build()
    if training.start_from and not run.checkpoint.exists():
        start_from(network, training.start_from, training.fresh or ())
    samples = [learner.prepare(part, run.cache, context.workers) for part in parts]
    return fit_network(network, learner.task(*samples), training, run, context)


def fit_network(
    network: nn.Module,
    task: Task,
    training: Training,
    run: RunFolder,
    context: TrainingContext,
    freeze_statistics: bool = True,
) -> Fitted:
    """Train `network`, or go on from the checkpoint of `run`, where `context` says so.

    Of several processes only the first returns. Raises RunError for what was never a number.
    """
    leaves_out = bool(getattr(network, "leaves_out", False))
    fabric = make_fabric(context.device, training.precision, context.devices, leaves_out)
    loop = Loop(
        task, network, training, run, fabric, context.report, freeze_statistics=freeze_statistics
    )
    if context.resume:
        loop.resume()
    state = loop.fit()
    network.load_state_dict(state)
    return Fitted(network, task, state, loop.progress.history)


def training_parts(table: Table) -> tuple[Table, Table]:
    """The rows whose split is "train" and those whose is "validation"; RunError where none is."""
    train, validation = table.part("train"), table.part("validation")
    for name, part in (("train", train), ("validation", validation)):
        if not len(part):
            raise RunError(
                f"{table.source} has no row whose split is {name!r}: split the table, or give it "
                "more rows."
            )
    return train, validation


def round_to_half(fitted: Fitted) -> dict[str, NDArray[Any]]:
    """The best weights in half precision, which the network has from now on too.

    Tensors and graph then compute the same; the folder is half as large.
    """
    state: dict[str, NDArray[Any]] = half_precision(fitted.state)
    fitted.network.load_state_dict({name: torch.from_numpy(v) for name, v in state.items()})
    return state


def write_model(
    folder: Path,
    recipe: Recipe,
    facts: ModelFacts,
    network: nn.Module,
    state: Mapping[str, NDArray[Any]],
) -> Path:
    """Write the model folder: weights, perhaps a graph, description and card."""
    data = recipe_data(recipe)
    data["study"] |= facts.study
    description = ModelDescription(
        name=recipe.name,
        version=FIRST_VERSION,
        study=recipe.study.name,
        task=recipe.task,
        mode=recipe.mode,
        title=recipe.title,
        licence=recipe.licence,
        citation=recipe.citation or "unknown",
        labels=facts.labels,
        recipe=data,
        preprocessing=facts.preprocessing,
        training_data=facts.training_data,
        scores=facts.scores,
        versions=package_versions(facts.packages),
        card={"description": recipe.description, **facts.card},
    )
    with tempfile.TemporaryDirectory() as temporary:
        graph = None
        if facts.example is not None:
            graph = Path(temporary) / "graph.onnx"
            export_graph(network, graph, facts.example, facts.inputs)
        save_model(folder, description, state, graph, None, overwrite=True)
    return folder
