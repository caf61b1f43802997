# SPDX-License-Identifier: Apache-2.0
"""A loaded model: predict on one sample in memory, or on a batch on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

from encephalon.api.options import (
    ExtractionModel,
    ExtractionOptions,
    IsotropicModel,
    IsotropicOptions,
    MicrographModel,
    MicrographOptions,
    MicrotomographyModel,
    MicrotomographyOptions,
    NamedModel,
    NoSuchOption,
    Options,
    PublishedExtractionModel,
    PublishedExtractionOptions,
    PublishedIsotropicModel,
    PublishedIsotropicOptions,
)
from encephalon.api.page import ReportPage
from encephalon.errors import ModelError, UsageError, did_you_mean
from encephalon.experiments.grid_choice import GridModels, best_model, models_of
from encephalon.experiments.grid_folder import is_grid
from encephalon.inference.batch import BatchResult, run_batch
from encephalon.inference.outputs import Place, Work, choose_layout
from encephalon.inference.resume import EarlierResults
from encephalon.inference.workers import HERE, Workers
from encephalon.io.files import expanded, is_folder
from encephalon.models.catalogue import find_folder, find_model
from encephalon.models.download import get_model
from encephalon.models.registry import registry_entries

if TYPE_CHECKING:
    from torch import nn

    from encephalon.inference.batch import OnResult, Progress
    from encephalon.inference.one_sample import OnPrediction
    from encephalon.inference.outputs import OutputLayout
    from encephalon.inference.predictor import Prediction, Predictor
    from encephalon.io.bids_filters import Filters
    from encephalon.models.folder import ModelFolder
    from encephalon.models.published import PublishedFile
    from encephalon.studies.base import OpenModel, Study
    from encephalon.tables.image_files import Kind
    from encephalon.tables.pairing import Given
    from encephalon.tables.samples import Sample
    from encephalon.tables.schema import Columns


class Chosen(TypedDict, total=False):
    """Which images of the inputs are taken, and what joins a single one; see `api.predict`."""

    pattern: str | None
    suffixes: Sequence[str] | None
    participants: Sequence[str] | None
    sessions: Sequence[str] | None
    filters: Filters | None
    companions: Mapping[str, Given] | None
    values: Mapping[str, str] | None


@dataclass
class Predictions(BatchResult):
    """What became of a batch: `rows`, `failures`, and the page that shows them, if there is one."""

    report: Path | None = None

    def to_dataframe(self) -> Any:
        """The rows as a pandas DataFrame, one a sample, in the order of predictions.csv."""
        from pandas import DataFrame

        return DataFrame(self.rows)

    def _repr_html_(self) -> str:
        return str(self.to_dataframe().to_html(index=False, na_rep=""))


@dataclass(frozen=True, repr=False)
class Model:
    """A loaded model, for repeated use; make it with `load_model`.

    predictor   reads samples and predicts
    study       what made it, see `encephalon.studies.base`
    columns     what the columns of a table mean to it
    opened      how it was loaded, for workers that load it too; None for one that stays here
    """

    predictor: Predictor
    study: Study
    columns: Columns
    opened: OpenModel | None = None

    def __repr__(self) -> str:
        about = self.describe()
        known = {**about, **(about.get("model") or {})}
        told = (f"{key} {known[key]}" for key in ("version", "mode", "device") if known.get(key))
        return f"Model({', '.join([repr(self.name), f'study {self.study.name}', *told])})"

    @property
    def name(self) -> str:
        """The model's name."""
        return self.predictor.name

    def describe(self) -> dict[str, Any]:
        """Model, version, sha256, mode, device, runtime and versions."""
        return self.predictor.describe()

    def torch_network(self) -> nn.Module:
        """The network with its weights, on the CPU and in evaluation mode, to be used elsewhere.

            network = encephalon.load_model("axon-myelin").torch_network()
            logits = network(tiles)  # (B, 1, Y, X) to (B, 3, Y, X)

        Raises MissingExtraError without torch, and ModelError for a model without weights.
        """
        from encephalon.networks.torch_runtime import load_network

        own: Callable[[], nn.Module] | None = getattr(self.predictor, "torch_network", None)
        if own is not None:
            return own()
        if self.opened is None:
            raise ModelError(f"The model {self.name!r} was not opened from files with weights.")
        return load_network(self.opened.files)

    def predict(self, image: Any = None, /, *, affine: Any = None, **inputs: Any) -> Prediction:
        """Predict on one sample and write nothing.

        `image` is a path, a folder of DICOM files, an array (I, J, K), a nibabel image or an
        `Image`; of a model with several inputs it is the first, the others are given by role, and
        covariates by the name of their column. `affine` (4, 4) places an array, in mm. The result
        lies on the grid of the input.

            prediction = encephalon.load_model("brain-extraction").predict("scan.nii.gz")
            prediction.mask.to_nibabel()  # uint8, with the affine of the scan
            encephalon.load_model("isotropic").predict("T2w.nii.gz", t1w="T1w.nii.gz").plot()

        Raises InputError for what cannot be read, UsageError for other inputs than the model takes.
        """
        from encephalon.io.image import placed
        from encephalon.tables.samples import Sample

        if affine is not None:
            image = placed(image, affine)
        roles, covariates = self.columns.inputs, self.columns.covariates
        first = next(iter(roles), "image")
        given = inputs if image is None else {first: image, **inputs}
        known = [*roles, *covariates]
        if not given:
            raise UsageError(f"The model {self.name!r} takes {', '.join(known)}, and got nothing.")
        if strange := next((name for name in given if name not in known), None):
            meant = did_you_mean(strange, known, "it takes")
            raise UsageError(f"The model {self.name!r} takes no {strange!r}; {meant}")
        row = {name: value for name, value in given.items() if name not in roles}
        places = {name: value for name, value in given.items() if name in roles}
        return self.predictor.predict(self.predictor.read(Sample("sample", places, row)))

    def plan(
        self,
        inputs: Sequence[Place],
        output: Place | Mapping[str, Place],
        *,
        overwrite: bool = False,
        **chosen: Unpack[Chosen],
    ) -> Work:
        """What `predict_batch` would do with these arguments; no image is read or written."""
        from encephalon.tables.pairing import add_companions
        from encephalon.tables.samples import Sample

        companions, values = chosen.pop("companions", None) or {}, chosen.pop("values", None) or {}
        # Nobody but whom these say; else they join the only one that the inputs mean.
        samples = [Sample("sample", {})]
        if inputs or not (companions or values):
            samples = _samples(inputs, self.columns, self.study.kind, chosen)
        if companions or values:
            samples = add_companions(samples, companions, self.columns, values)
        layout = choose_layout(output, samples, self.predictor.outputs)
        planned = layout.plan(samples, self.predictor.outputs)
        return Work(layout, planned, overwrite)

    def predict_batch(
        self,
        inputs: Sequence[Place],
        output: Place | Mapping[str, Place],
        *,
        overwrite: bool = False,
        report: bool = True,
        progress: Progress | None = None,
        on_result: OnResult | None = None,
        **chosen: Unpack[Chosen],
    ) -> Predictions:
        """Predict on files, folders, tables and BIDS datasets; see `api.predict`."""
        work = self.plan(inputs, output, overwrite=overwrite, **chosen)
        return self.run(work, report=report, progress=progress, on_result=on_result)

    def preview(self, work: Work) -> list[str]:
        """Of each sample of `plan`: "skipped", "to do", or the sentence on why it cannot be done.

        Inputs are read for what earlier runs left of them, and nothing is predicted or written.
        """
        earlier = EarlierResults(self.predictor, work)
        return [earlier.preview(one) for one in work.planned]

    def run(
        self,
        work: Work,
        *,
        report: bool = True,
        progress: Progress | None = None,
        on_result: OnResult | None = None,
    ) -> Predictions:
        """Do what `plan` planned."""
        again = None
        if self.opened is not None:
            again = partial(_again, self.opened.of_worker(), work.layout, report)
        files = None if self.opened is None else self.opened.files
        page = ReportPage(self.study, self.predictor, work.layout, files) if report else None
        result = run_batch(
            self.predictor,
            work,
            progress=progress,
            on_result=on_result,
            on_prediction=None if page is None else page.add,
            workers=HERE if self.opened is None else self.opened.workers,
            again=again,
        )
        path = None if page is None else page.write(result, work.overwrite)
        return Predictions(result.rows, result.failures, path)


@overload
def load_model(  # type: ignore[overload-overlap]
    model: ExtractionModel, **options: Unpack[ExtractionOptions]
) -> Model: ...
@overload
def load_model(  # type: ignore[overload-overlap]
    model: PublishedExtractionModel, **options: Unpack[PublishedExtractionOptions]
) -> Model: ...
@overload
def load_model(  # type: ignore[overload-overlap]
    model: IsotropicModel, **options: Unpack[IsotropicOptions]
) -> Model: ...
@overload
def load_model(  # type: ignore[overload-overlap]
    model: PublishedIsotropicModel, **options: Unpack[PublishedIsotropicOptions]
) -> Model: ...
@overload
def load_model(  # type: ignore[overload-overlap]
    model: MicrographModel, **options: Unpack[MicrographOptions]
) -> Model: ...
@overload
def load_model(  # type: ignore[overload-overlap]
    model: MicrotomographyModel, **options: Unpack[MicrotomographyOptions]
) -> Model: ...
@overload
def load_model(  # type: ignore[overload-overlap]
    model: NamedModel, **options: Any
) -> NoSuchOption: ...
@overload
def load_model(
    model: Place,
    *,
    device: str = ...,
    threads: int | None = ...,
    offline: bool = ...,
    workers: Workers = ...,
    **options: Unpack[Options],
) -> Model: ...
def load_model(
    model: Place,
    *,
    device: str = "auto",
    threads: int | None = None,
    offline: bool = False,
    workers: Workers = HERE,
    **options: Any,
) -> Model | NoSuchOption:
    """Load a model by name, model folder, run folder, published weights file or folder of a grid.

    Of a grid it is the best finished one, see `experiments.grid_choice`; of people each has theirs.

    device   auto, cpu, cuda, cuda:N or mps
    threads  CPU threads; all by default
    offline  refuse to download a registered model that is not on this machine
    workers  who does the samples of a batch, or the blocks of a volume, see `Workers`
    options  those of the model's study, see `api.options`

        model = encephalon.load_model("brain-extraction", border=2, device="cpu")
        for scan in ("one.nii.gz", "two.nii.gz"):
            print(model.predict(scan).values["volume_ml"])

    Raises ModelError for an unknown or damaged model, UsageError for an unknown option.
    """
    from encephalon.studies.base import OpenModel
    from encephalon.studies.registry import load_study

    found: ModelFolder | PublishedFile
    grid = None
    if isinstance(model, str) and model in registry_entries():
        found = get_model(model, offline=offline)
    elif is_grid(expanded(model)) and not find_folder(str(model)):
        found, grid = _of_grid(models_of(expanded(model)))
    else:
        found = find_model(model if isinstance(model, str) else Path(model))
    study = load_study(found.study)
    opened = OpenModel(found, options, device, threads, workers, grid)
    predictor = study.load(opened)
    columns = getattr(predictor, "columns", None) or opened.columns
    return Model(predictor, study, columns, opened)


def _again(
    opened: OpenModel, layout: OutputLayout, report: bool
) -> tuple[Predictor, OnPrediction | None]:
    """The predictor of a worker, and what keeps the pictures of its predictions for the page."""
    from encephalon.studies.registry import load_study

    study = load_study(opened.files.study)
    predictor = study.load(opened)
    return predictor, ReportPage(study, predictor, layout).add if report else None


def _of_grid(grid: GridModels) -> tuple[ModelFolder, GridModels]:
    """The best model of a grid, or any where every sample has its own best; and what is left."""
    from encephalon.studies.base import able
    from encephalon.studies.registry import load_study

    study = load_study(grid.study)
    cannot = "has no score to choose a model of a grid by: give the run of one of its cells"
    whose = f"The study {study.name!r}"
    return best_model(grid, None if study.results else able(study.main_score, whose, cannot))


def _samples(
    inputs: Sequence[Any],
    columns: Columns,
    kind: Kind,
    chosen: Chosen,
) -> list[Sample]:
    """Every sample of the inputs; one that is not there fails later, alone, among several."""
    from encephalon.tables.samples import collect_samples

    if not inputs:
        raise UsageError("There is nothing to predict on: give files, folders or a table.")
    strange = next((one for one in inputs if not isinstance(one, str | os.PathLike)), None)
    if strange is not None:
        raise UsageError(
            f"A batch takes paths, and got {type(strange).__name__}: give it to the loaded model's "
            "predict."
        )
    samples = collect_samples(
        inputs,
        columns,
        role=next(iter(columns.inputs), "image"),
        suffixes=chosen.get("suffixes"),
        participants=chosen.get("participants"),
        sessions=chosen.get("sessions"),
        keep_absent=True,
        kind=kind,
        pattern=chosen.get("pattern"),
        filters=chosen.get("filters"),
    )
    words = chosen.get("suffixes") or chosen.get("participants") or chosen.get("sessions")
    if words and not any(sample.bids for sample in samples):
        raise UsageError(
            f"{', '.join(words)} would choose images of a BIDS dataset, but none of the inputs is "
            "one: drop the choice, or give the dataset."
        )
    if chosen.get("pattern") and not any(is_folder(expanded(one)) for one in inputs):
        raise UsageError(
            f"The pattern {chosen['pattern']!r} would choose files of a folder, but none of the "
            "inputs is one: drop it, or give the folder."
        )
    return samples
