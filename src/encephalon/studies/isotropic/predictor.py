# SPDX-License-Identifier: Apache-2.0
"""Thick slices, and perhaps a T1w, to an isotropic scan with a verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from encephalon.errors import InputError, UsageError
from encephalon.inference.predictor import (
    NetworkPredictor,
    OutputImage,
    OutputKind,
    Prediction,
    stage,
)
from encephalon.inference.runtimes import Runtime
from encephalon.io.image import Image
from encephalon.io.itk import write_transform
from encephalon.networks.torch_runtime import TorchRuntime, load_network
from encephalon.studies.base import OpenModel
from encephalon.studies.isotropic.acquisition.inputs import (
    Case,
    make_problem,
    read_case,
    unused_stacks,
)
from encephalon.studies.isotropic.acquisition.registration import Registration, missing_voxels
from encephalon.studies.isotropic.acquisition.slices import sidecars
from encephalon.studies.isotropic.images import ScanFigures
from encephalon.studies.isotropic.quality import check_quality, measure_quality, values
from encephalon.studies.isotropic.reconstruction.guided import guided
from encephalon.studies.isotropic.reconstruction.multi_stack import fuse_stacks
from encephalon.studies.isotropic.reconstruction.network import NetworkMethod
from encephalon.studies.isotropic.reconstruction.problem import Estimate, Method, Problem
from encephalon.studies.isotropic.settings import (
    EvaluationOptions,
    IsotropicSettings,
    PredictOptions,
)
from encephalon.tables.samples import Sample

__all__ = ["IsotropicPredictor", "make_isotropic_predictor"]

#: Every image that can be written, by the word that asks for it.
KINDS = {
    "t2w": OutputKind(
        "T2w",
        "isotropic",
        description="The isotropic scan, units of the input.",
        skull_stripped=False,
    ),
    # No T2w: whoever asks a dataset for its T2w must not be given it.
    "uncertainty": OutputKind(
        "T2wstd",
        "isotropic",
        description="Standard deviation of the error that is to be expected, units of the input.",
    ),
    "t1w": OutputKind(
        "T1w",
        "aligned",
        description="The T1w on the grid of the isotropic scan.",
        skull_stripped=False,
    ),
    "transform": OutputKind(
        "xfm",
        "T1wToT2w",
        ".tfm",
        description="How the T1w was moved onto the T2w: a transform of ITK, as ANTs takes it.",
    ),
}


@dataclass(frozen=True)
class IsotropicPredictor(NetworkPredictor[PredictOptions]):
    """A loaded isotropic model.

    settings    the study's settings from the model's recipe
    evaluation  what the user asked of an evaluation
    """

    settings: IsotropicSettings
    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)

    notice = (
        "For research only: not for diagnosis or treatment. "
        "What lies between slices is an estimate."
    )
    kinds = KINDS

    @cached_property
    def method(self) -> Method:
        """The method that the user chose: the network, or the guided one."""
        if self.options.method == "guided":
            return guided
        known = self.settings
        return NetworkMethod(
            self.runtime,
            known.trust,
            known.deviation_scale,
            known.deviation_scale_alone,
            self.options.batch_size,
        )

    def also_reads(self, sample: Sample) -> Iterator[Path]:
        """The sidecars of the scans, which may tell of their slices."""
        for path in sample.inputs.values():
            yield from sidecars(path)

    def read(self, sample: Sample) -> Case:
        """The scans of `sample`; raises InputError naming the file."""
        return read_case(sample, self.options)

    def predict(self, loaded: Case) -> Prediction:
        """The isotropic scan and whatever else was asked for, in the frame of the T2w."""
        stage("registering")
        problem, registration = make_problem(loaded, self.options)
        stage("reconstructing")
        estimate = self.reconstruct(problem)
        stage("judging")
        metrics = measure_quality(
            problem,
            estimate,
            trained=self.settings.scanner.ratio if self.options.method == "network" else None,
            trusted=registration.trusted if registration else None,
            reasons=registration.reasons if registration else (),
            other=problem.stack.operator.interpolate(problem.stack.slices),
            warnings=(*loaded.warnings, *unused_stacks(loaded, problem)),
            notes=loaded.notes,
        )
        pictures = ScanFigures(
            problem,
            estimate,
            metrics,
            guide=registration.guide if registration else None,
            acquisition=loaded.facts(self.options),
            registration=_registration_facts(registration) if registration else {},
        )
        images = self._images(loaded.images[0], problem, estimate, registration)
        return Prediction(images, values(metrics), check_quality(metrics), pictures)

    def reconstruct(self, problem: Problem) -> Estimate:
        """The estimate of the chosen method, from all stacks where there are several."""
        estimate = fuse_stacks(problem, self.method(problem))
        beyond = missing_voxels(problem.stack.operator)
        for volume in (estimate.image, estimate.deviation):
            if volume is not None:
                volume[..., beyond] = 0
        return estimate

    def _images(
        self, scan: Image, problem: Problem, estimate: Estimate, moved: Registration | None
    ) -> dict[str, OutputImage]:
        place, images = problem.native_grid.affine, {}
        found = {"t2w": estimate.image, "uncertainty": estimate.deviation}
        found["t1w"] = moved.guide if moved else None
        for key, kind in self.outputs.items():
            if key == "transform" and moved:
                matrix, names = moved.matrix.matrix, (kind.desc, kind.suffix)
                images[key] = OutputImage(matrix, None, *names, writer=write_transform)
            elif (volume := found.get(key)) is not None:
                data = problem.native(volume)
                like = Image(data, place, scan.source, scan.header)
                images[key] = OutputImage(data, like, kind.desc, kind.suffix)
        if self.outputs and not images:
            raise InputError(
                f"{scan.name}: nothing but the T1w or its transform was to be written, but there "
                "is no T1w that can be used: give one, or save t2w too."
            )
        return images


def _registration_facts(registration: Registration) -> dict[str, str]:
    """What the page of a scan says of the registration."""
    fit = registration.fit
    if fit is None:
        return {"Placed by": "the headers, as asked"}
    return {
        "Mean displacement": f"{fit.moved_mm:.1f} mm",
        "Agreement of two starts": f"{fit.disagreement_mm:.2f} mm",
        "Mutual information": f"{fit.information:.3f} (headers {fit.header_information:.3f})",
        "Took": f"{fit.seconds:.0f} s",
    }


def make_isotropic_predictor(model: OpenModel) -> IsotropicPredictor:
    """The predictor of a model folder; raises UsageError for an option that is not known."""
    fields = EvaluationOptions.model_fields
    tested = {key: value for key, value in model.options.items() if key in fields}
    asked = {
        key: value
        for key, value in model.options.items()
        if key in PredictOptions.model_fields or key not in tested
    }
    options = replace(model, options=asked).asked(PredictOptions)
    return IsotropicPredictor(
        model.files.describe(),
        _half_precision(model) if options.half else model.runtime(),
        options,
        model.settings(IsotropicSettings),
        replace(model, options=tested).asked(EvaluationOptions),
    )


def _half_precision(model: OpenModel) -> Runtime:
    """The network in float16, by torch, as a graph is single precision everywhere."""
    runtime = TorchRuntime(load_network(model.files), model.device, model.threads, half=True)
    if runtime.device == "cpu":
        raise UsageError(
            "Half precision is for a GPU: a processor takes many times as long with it, so leave "
            "the option half out, or give --device."
        )
    return runtime
