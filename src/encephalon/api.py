# SPDX-License-Identifier: Apache-2.0
"""The verbs as functions, and a loaded model for repeated use. The command line calls these."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from encephalon.inference.batch import BatchResult

if TYPE_CHECKING:
    from encephalon.inference.batch import OnResult, Progress
    from encephalon.inference.outputs import OutputLayout, PlannedOutput
    from encephalon.inference.predictor import Prediction, Predictor
    from encephalon.models import ModelFolder, PublishedFile
    from encephalon.recipes.schema import Recipe
    from encephalon.tables import Columns, Sample

Place = str | os.PathLike[str]

REPORT = "report.html"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What a batch will do: its samples, and how their results are named."""

    samples: list[Sample]
    layout: OutputLayout
    planned: list[PlannedOutput]


@dataclass
class Predictions(BatchResult):
    """What became of a batch: `rows`, `failures`, and the page that shows them, if there is one."""

    report: Path | None = None


@dataclass(frozen=True)
class Model:
    """A loaded model, for repeated use; make it with `load_model`.

    predictor   reads samples and predicts
    study       the module of the study that made it
    columns     what the columns of a table mean to it
    """

    predictor: Predictor
    study: ModuleType
    columns: Columns

    @property
    def name(self) -> str:
        """The model's name."""
        return self.predictor.name

    def describe(self) -> dict[str, Any]:
        """Model, version, sha256, mode, device, runtime and versions."""
        return self.predictor.describe()

    def predict(self, image: Any = None, /, **inputs: Any) -> Prediction:
        """Predict on one sample and write nothing.

        `image` is a path, a folder of DICOM files, an array (I, J, K), a nibabel image or an
        `Image`; a model with several inputs takes them by role. The result lies on the grid of
        the input. Raises InputError for what cannot be read.
        """
        from encephalon.tables import Sample

        given = inputs if image is None else {"image": image, **inputs}
        return self.predictor.predict(self.predictor.read(Sample("sample", given)))

    def plan(
        self,
        inputs: Sequence[Place],
        output: Place,
        *,
        overwrite: bool = False,
        suffixes: Sequence[str] | None = None,
        participants: Sequence[str] | None = None,
        sessions: Sequence[str] | None = None,
    ) -> Work:
        """What `predict_batch` would do with these arguments; nothing is read or written."""
        from encephalon.inference.outputs import choose_layout

        samples = _samples(inputs, self.columns, suffixes, participants, sessions)
        layout = choose_layout(Path(output), samples, self.predictor.outputs)
        planned = layout.plan(samples, self.predictor.outputs, overwrite)
        return Work(samples, layout, planned)

    def predict_batch(
        self,
        inputs: Sequence[Place],
        output: Place,
        *,
        overwrite: bool = False,
        report: bool = True,
        suffixes: Sequence[str] | None = None,
        participants: Sequence[str] | None = None,
        sessions: Sequence[str] | None = None,
        progress: Progress | None = None,
        on_result: OnResult | None = None,
    ) -> Predictions:
        """Predict on files, folders, tables and BIDS datasets; see `predict`."""
        from encephalon.inference.batch import run_batch

        work = self.plan(
            inputs,
            output,
            overwrite=overwrite,
            suffixes=suffixes,
            participants=participants,
            sessions=sessions,
        )
        page = _Page(self, work.layout, on_result) if report else None
        result = run_batch(
            self.predictor,
            work.samples,
            work.layout,
            overwrite=overwrite,
            progress=progress,
            on_result=on_result if page is None else page.add,
        )
        path = None if page is None else page.write(result, overwrite)
        return Predictions(result.rows, result.failures, path)


def load_model(
    model: Place,
    *,
    device: str = "auto",
    threads: int | None = None,
    offline: bool = False,
    **options: Any,
) -> Model:
    """Load a model by name, model folder, run folder or published weights file.

    `device` is auto, cpu, cuda, cuda:N or mps; `threads` the CPU threads (all by default);
    `options` are those of its study, such as `border` in mm for brain extraction. A registered
    model that is not on this machine is downloaded unless `offline`. Raises ModelError for
    an unknown or damaged model, UsageError for an unknown option.
    """
    from encephalon.studies.registry import load_study

    found = _found(model, offline)
    study = load_study(found.study)
    predictor = study.make_predictor(found, {**options, "device": device, "threads": threads})
    return Model(predictor, study, _columns(found))


def predict(
    model: Place,
    inputs: Sequence[Place] | Place,
    output: Place,
    *,
    device: str = "auto",
    threads: int | None = None,
    overwrite: bool = False,
    offline: bool = False,
    report: bool = True,
    suffixes: Sequence[str] | None = None,
    participants: Sequence[str] | None = None,
    sessions: Sequence[str] | None = None,
    **options: Any,
) -> Predictions:
    """Predict on every sample that `inputs` mean and write the results to `output`.

    inputs    image files, a folder of images, a DICOM folder, a table, or a BIDS dataset
    output    a folder, or the file of a single result; BIDS in gives BIDS-derivatives out
    options   those of the model's study, see `load_model`

    Images lie on the grid of their input, each with a JSON sidecar; `predictions.csv` has a row
    a sample and `report.html` shows them. A sample that fails is in `result.failures`, and
    the others are done. Raises InputError, ModelError, OutputError or UsageError for what stops
    all of them.
    """
    places = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    loaded = load_model(model, device=device, threads=threads, offline=offline, **options)
    return loaded.predict_batch(
        places,
        output,
        overwrite=overwrite,
        report=report,
        suffixes=suffixes,
        participants=participants,
        sessions=sessions,
    )


def load_recipe(recipe: Place, overrides: Mapping[str, str] | None = None) -> Recipe:
    """A built-in recipe by name, or a TOML file, checked down to the settings of its study.

    `overrides` maps dotted keys to values, such as {"training.epochs": "5"}. Raises RecipeError.
    """
    from encephalon.recipes import load_recipe as load
    from encephalon.studies.registry import load_study

    loaded = load(recipe, overrides)
    check: Callable[[Recipe], object] | None
    check = getattr(load_study(loaded.study.name), "check_recipe", None)
    if check is not None:
        check(loaded)
    return loaded


def train(
    recipe: Place,
    table: Place,
    output: Place,
    *,
    resume: bool = False,
    overrides: Mapping[str, str] | None = None,
    device: str = "auto",
    devices: int = 1,
    workers: int = 2,
    report: Callable[[Any, Mapping[str, float]], None] | None = None,
) -> Path:
    """Train a model and return its folder, `output`/model.

    `table` names the samples and their split; `resume` goes on with the run in `output`, bit for
    bit on the CPU. `devices` is the number of GPUs, `workers` that of processes preparing samples;
    `report` is called after every step with the progress and the losses. Raises
    RecipeError, TableError, RunError, and MissingExtraError without the extra `train`.
    """
    from encephalon.errors import require_extra
    from encephalon.studies.registry import load_study
    from encephalon.tables import checked, read_table

    require_extra("torch", "train", "Training")
    require_extra("lightning", "train", "Training")
    loaded = load_recipe(recipe, overrides)
    samples = checked(read_table(table, loaded.table))
    folder: Path = load_study(loaded.study.name).train(
        loaded,
        samples,
        Path(output),
        resume=resume,
        device=device,
        devices=devices,
        workers=workers,
        report=report,
    )
    return folder


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
    **options: Any,
) -> Any:
    """Score a model on a table with known answers, and write scores, summary and report.

    Raises what `predict` raises, and TableError for a table without answers.
    """
    loaded = load_model(model, device=device, threads=threads, offline=offline, **options)
    return loaded.study.evaluate(loaded, Path(table), Path(output), overwrite, progress)


class _Page:
    """Collects what the study's report shows while a batch runs; a study may have none."""

    def __init__(self, model: Model, layout: OutputLayout, on_result: OnResult | None) -> None:
        make = getattr(model.study, "make_report", None)
        self._page: Any = None
        if make is not None and layout.file is None:
            self._page = make(model.describe())
        self._folder, self._on_result = layout.folder, on_result
        self._shown: set[str] = set()

    def add(self, sample: Sample, row: dict[str, Any], prediction: Prediction | None) -> None:
        if self._on_result is not None:
            self._on_result(sample, row, prediction)
        if self._page is not None and prediction is not None:
            self._page.add(row, prediction.pictures)
            self._shown.add(sample.id)

    def write(self, result: BatchResult, overwrite: bool) -> Path | None:
        if self._page is None:
            return None
        failures = [(one.id, one.message) for one in result.failures if one.id not in self._shown]
        path = _free(self._folder / REPORT, overwrite)
        self._page.write(path, failures, overwrite=overwrite)
        return path


def _free(path: Path, overwrite: bool) -> Path:
    """`path`, or the first of report-2.html, report-3.html ... where earlier ones must stay."""
    number, free = 1, path
    while free.exists() and not overwrite:
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free


def _found(model: Place, offline: bool) -> ModelFolder | PublishedFile:
    """The model on this machine, fetched first when it is a registered name."""
    from encephalon.models import find_model, get_model
    from encephalon.models.entries import registry_entries

    if isinstance(model, str) and model in registry_entries():
        return get_model(model, offline=offline)
    return find_model(model if isinstance(model, str) else Path(model))


def _columns(model: ModelFolder | PublishedFile) -> Columns:
    """What the model's recipe says of tables; the default columns for published weights."""
    from encephalon.recipes import make_recipe
    from encephalon.tables import Columns

    description = getattr(model, "description", None)
    if description is None or not description.recipe:
        return Columns()
    return make_recipe(description.recipe, source=f"the model {model.name!r}").table


def _samples(
    inputs: Sequence[Place],
    columns: Columns,
    suffixes: Sequence[str] | None,
    participants: Sequence[str] | None,
    sessions: Sequence[str] | None,
) -> list[Sample]:
    """Every sample of the inputs; one that is not there fails later, alone, among several."""
    from encephalon.tables import Sample, collect_samples, file_stem

    places = [Path(place).expanduser() for place in inputs]
    present = [place for place in places if place.exists()] or places
    samples = collect_samples(
        present,
        columns,
        suffixes=suffixes,
        participants=participants,
        sessions=sessions,
    )
    role = next(iter(columns.inputs), "image")
    absent = [place for place in places if place not in present]
    return samples + [Sample(file_stem(place), {role: place}) for place in absent]
