# SPDX-License-Identifier: Apache-2.0
"""Predict the class of one micrograph after another, in either mode; torch is optional."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import InputError, ModelError, UsageError
from encephalon.evaluation.predictions import with_cells
from encephalon.evaluation.traffic_light import NO_LIGHT, colours
from encephalon.experiments.folds import OVERLAP, Known, known_to, overlap_warning
from encephalon.explanation.explainable import Look
from encephalon.explanation.location import box_of
from encephalon.inference.predictions_table import RESERVED
from encephalon.inference.predictor import OutputKind, Prediction, Quality, Value
from encephalon.inference.runtimes import Runtime, resolve_threads
from encephalon.io.cache import ArrayCache
from encephalon.io.home import encephalon_home
from encephalon.io.micrograph import read_micrograph
from encephalon.models.fitted import LAST_STAGE, FittedState, score_logits
from encephalon.models.folder import ModelFolder
from encephalon.networks.registry import build_network
from encephalon.networks.torch_runtime import load_network, open_network
from encephalon.recipes.schema import Mode, class_names
from encephalon.studies.base import OpenModel
from encephalon.studies.micrographs.preprocessing import Picture, Preprocessing
from encephalon.studies.micrographs.quality import check_quality
from encephalon.studies.micrographs.report import raw_thumbnail, thumbnail
from encephalon.studies.micrographs.settings import (
    PredictOptions,
    micrograph_settings,
    network_options,
)
from encephalon.tables.encoding import encode_covariates

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from encephalon.models.published import PublishedFile
    from encephalon.recipes.schema import Recipe
    from encephalon.tables.samples import Sample

__all__ = ["Loaded", "MicrographPredictor", "make_micrograph_predictor"]

CACHE_LIMIT = 2 << 30
"""Bytes of preprocessed pictures that are kept, about 3,500 of them: our choice."""
PUBLISHED_THRESHOLDS = (0.25, 0.75)
"""Green and amber threshold of the published model (3BTRON)."""
MOST_READERS = 8
"""Threads that read at most: more would wait for the disk and only hold memory. Our choice."""

# Options that change what is seen of an image.
_OF_READING = {"page", "colour", "clip_16_bit", "silhouettes"}
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Loaded:
    """One sample, read: what the network sees of it.

    picture     the preprocessed image; None for a model of covariates alone
    covariates  (1, W) encoded, float32
    """

    sample: Sample
    picture: Picture | None
    covariates: NDArray[np.float32]


class MicrographPredictor:
    """A classifier of micrographs as the batch runner sees it: rows and no images.

    name, source          The model's name; its folder, or the published file.
    classes, columns, settings, mode
                          Names in the order of the logits; the columns of a table; the settings of
                          the recipe, with what the user asked for; "default" or "published".
    table_columns         Those of the table that the model was trained on, also those that it does
                          not see.
    thresholds, calibration
                          Of the traffic light (green, amber), and of the probabilities; None where
                          there is none.
    layer                 Dotted path of the layer that maps are taken from.
    readers               Samples that may be read at once.
    options               What the user asked for.
    """

    def __init__(
        self,
        model: ModelFolder | PublishedFile,
        recipe: Recipe,
        fitted: FittedState,
        options: PredictOptions,
        *,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        if (options.clip_16_bit or options.silhouettes) and recipe.mode != "published":
            raise UsageError(
                f"clip_16_bit and silhouettes are of mode 'published', and {model.name!r} is of "
                "'default': drop them."
            )
        self.name, self.source = model.name, model.path
        self.options, self.fitted = options, fitted
        self.settings = options.settings(micrograph_settings(recipe))
        self.mode: Mode = recipe.mode
        self.columns = self.table_columns = recipe.table
        if self.settings.inputs == "image":  # which needs no covariates in a table
            self.columns = replace(recipe.table, covariates={})
        self.classes, self.layer = fitted.classes, fitted.layer
        self.score = options.scoring(fitted, model.name)
        self.calibration = fitted.calibration if self.score == "softmax" else None
        self.thresholds = options.thresholds(fitted, model.name)
        self.readers = min(MOST_READERS, resolve_threads(threads))
        self.outputs: Mapping[str, OutputKind] = {}
        self.preprocessing = Preprocessing(self.settings, self.mode)
        self._cache: ArrayCache | None = None
        if options.cache:
            with suppress(ModelError):  # of a user without a home
                self._cache = ArrayCache(encephalon_home() / "cache" / "pictures", CACHE_LIMIT)
        self._model, self._recipe, self._place = model, recipe, (device, threads)
        key = Preprocessing(micrograph_settings(recipe), self.mode).key
        if fitted.key and fitted.key != key:
            logger.warning(
                "The model was trained on pictures that another version of Encephalon prepared in "
                "another way: its probabilities may be off; train it again."
            )
            logger.info("prepared then: %s; now: %s", fitted.key, key)

    def describe(self) -> dict[str, Any]:
        """Model, runtime, device, and how logits become probabilities and lights."""
        return {
            "model": self._model.describe(),
            "runtime": self._runtime.name,
            "device": self._runtime.device,
            "classes": list(self.classes),
            "score": self.score,
            "calibration": self.calibration.as_dict() if self.calibration else None,
            "thresholds": list(self.thresholds) if self.thresholds else None,
            **self.options.model_dump(include=_OF_READING, exclude_none=True),
        }

    def also_reads(self, sample: Sample) -> Iterator[Path]:
        """The sidecars of the images, which may have the size of their pixels."""
        from encephalon.io.micrograph import picture_stem

        for path in sample.inputs.values():
            yield path.with_name(f"{picture_stem(path)}.json")

    def check(self, samples: Sequence[Sample]) -> None:
        """Raise UsageError when the model needs covariates and no sample comes from a table.

        Says in the log how many of the samples were part of the training.
        """
        if self.columns.covariates and samples and not any(sample.row for sample in samples):
            raise UsageError(f"The model {self._table_wanted()}")
        known = self.known
        count = sum(bool(known.overlap(each.id, each.row)) for each in samples) if known else 0
        if count:
            logger.warning(overlap_warning(count, len(samples)))

    @cached_property
    def known(self) -> Known | None:
        """What the model has learnt; None where nothing is known of that."""
        return known_to(self.source, self._recipe.table)

    def read(self, sample: Sample) -> Loaded:
        """Read, preprocess and encode one sample; raises InputError, naming the file or the row."""
        sample.require_faultless()
        if self.columns.covariates and not sample.row:
            raise InputError(f"{sample.id}: the model {self._table_wanted()}")
        covariates = np.zeros((1, 0), np.float32)
        if self.columns.covariates:
            row = {self.columns.id: sample.id, **sample.row}
            covariates = encode_covariates([row], self.columns, self.fitted.scaling)
        if self.settings.inputs == "covariates":
            return Loaded(sample, None, covariates)
        role = next(iter(self.columns.inputs))
        picture = self.preprocessing.read(sample.file(role), self._cache)
        return Loaded(sample, picture, covariates)

    def predict(self, loaded: Loaded) -> Prediction:
        """The probabilities of the classes, the most likely one, and how far to trust it."""
        probabilities, quality = self.probabilities(self.logits(loaded)), self.check_quality(loaded)
        values: dict[str, Value] = {"predicted": self.classes[int(np.argmax(probabilities))]}
        if lights := self.lights(probabilities, [quality]):
            values["light"] = lights[0]
        if len(self.classes) == 2:
            values["likelihood"] = float(probabilities[0, 1])
        shares = zip(self.classes, probabilities[0].tolist(), strict=True)
        values |= {f"p_{name}": share for name, share in shares}
        sample = loaded.sample
        if self.known is not None:
            values[OVERLAP] = self.known.overlap(sample.id, sample.row)
        return Prediction(
            values=with_cells(values, sample.row, self.row_columns, RESERVED),
            quality=quality,
            pictures=None if loaded.picture is None else lambda: self.thumbnail(loaded),
        )

    def check_quality(self, loaded: Loaded) -> Quality | None:
        """How like the training images a sample is; None where nothing is known of them."""
        if loaded.picture is None:
            return None
        quality = check_quality(loaded.picture.facts, self.fitted.ranges)
        if quality is not None and quality.status != "ok" and self.thresholds:
            return replace(quality, reasons=(*quality.reasons, "unlike the training: no light"))
        return quality

    def logits(self, loaded: Loaded) -> NDArray[np.float64]:
        """The network's answer (1, C), the mean over the views that the settings ask for.

        Raises ModelError where C is not the number of the model's classes.
        """
        images, covariates = np.zeros((1, 1, 1, 1), np.float32), loaded.covariates
        if loaded.picture is not None:
            images = loaded.picture.image[None]
            if self.settings.repeats_of_image == 2:
                images = np.concatenate([images, images[..., ::-1]])
                covariates = np.repeat(covariates, 2, axis=0)
        (given,) = self._runtime.run({"image": images, "covariates": covariates})
        answers, expected = np.asarray(given, np.float64), (len(images), len(self.classes))
        if not np.isfinite(answers).all():
            raise ModelError("The network's answer is not finite: train or get the model again.")
        if answers.shape != expected:
            raise ModelError(
                f"{self.source}: the network was expected to give {list(expected)} numbers, one "
                f"for each of {', '.join(self.classes)}, but gives {list(answers.shape)}: "
                "network and model.toml are of two models, so get the model again."
            )
        mean: NDArray[np.float64] = answers.mean(axis=0, keepdims=True)
        return mean

    def probabilities(self, logits: NDArray[Any]) -> NDArray[np.float64]:
        """Probabilities (N, C) of logits (N, C), as the model's score and calibration say."""
        return score_logits(logits, self.score, self.calibration)

    def lights(
        self, probabilities: NDArray[np.float64], qualities: Sequence[Quality | None]
    ) -> list[str] | None:
        """The lights of probabilities (N, C), NO_LIGHT where the quality (N) is not "ok".

        None without thresholds.
        """
        if self.thresholds is None:
            return None
        shown = colours(probabilities[:, 1], *self.thresholds)
        return [
            light if quality is None or quality.status == "ok" else NO_LIGHT
            for light, quality in zip(shown, qualities, strict=True)
        ]

    def thumbnail(self, loaded: Loaded) -> NDArray[np.uint8] | None:
        """A small grey picture of the sample for pages (rows, columns).

        In published mode the network sees a binary image, so the file is read once more.
        """
        if loaded.picture is None:
            return None
        if self.mode == "default":
            return thumbnail(loaded.picture)
        path = loaded.sample.inputs[next(iter(self.columns.inputs))]
        return raw_thumbnail(path, self.settings)

    def look(self, sample: Sample) -> Look:
        """What the network is shown of a sample, for maps of where it looked."""
        loaded, settings = self.read(sample), self.settings
        assert loaded.picture is not None
        path = next(iter(sample.inputs.values()))
        return Look(
            loaded,
            inputs=(loaded.picture.image[None], loaded.covariates),
            raw=lambda: read_micrograph(path, page=settings.page, colour=settings.colour).data,
            to_raw=loaded.picture.view.to_raw,
            box=box_of(sample.row, settings.box),
        )

    def torch_network(self) -> nn.Module:
        """The network with its weights, on the CPU and in evaluation mode.

        Raises MissingExtraError without torch, ModelError for weights of another network.
        """
        name, options = self._recipe.network.name, network_options(self._recipe)
        network: Any = load_network(self._model, lambda: build_network(name, options))
        if isinstance(self._model, ModelFolder):
            return network  # type: ignore[no-any-return]
        found = {"covariates": network.covariates, "classes": network.head[-1].out_features}
        for key, words in (("covariates", "encoded covariates"), ("classes", "classes")):
            if found[key] != options[key]:
                raise ModelError(
                    f"{self.source}: the network has {found[key]} {words}, and the recipe "
                    f"{self._recipe.name!r} {options[key]}: only weights of the published question "
                    "can be used without a recipe of their own."
                )
        return network  # type: ignore[no-any-return]

    @cached_property
    def _runtime(self) -> Runtime:
        return open_network(self._model, *self._place, self.torch_network)

    def _table_wanted(self) -> str:
        names = [self.columns.id, *self.columns.inputs.values(), *self.columns.covariates]
        return (
            f"{self.name!r} sees {' and '.join(self.columns.covariates)} beside each image: give a "
            f"table with the columns {', '.join(names)} instead of images "
            "(encephalon table images  makes one)."
        )

    @cached_property
    def row_columns(self) -> tuple[str, ...]:
        """Columns of the table that are repeated in the results: covariates, group, levels ..."""
        table, settings = self._recipe.table, self.settings
        named = [*table.covariates, *settings.strata, table.group, *settings.levels, table.target]
        return tuple(dict.fromkeys(name for name in named if name and name != table.id))


def make_micrograph_predictor(model: OpenModel) -> MicrographPredictor:
    """The predictor of a model folder or of a published weights file.

    Raises UsageError for an option that there is not, ModelError for a model that cannot run.
    """
    asked, recipe, files = model.asked(PredictOptions), model.recipe, model.files
    if isinstance(files, ModelFolder):
        source = f"the model {model.name!r}"
        fitted = FittedState.from_dict(files.description.preprocessing, source)
        # The parts of model.toml may name other classes, or name them in another order.
        labels = [name for _, name in sorted(files.description.labels.items())]
        for place, names in (("labels", labels), ("recipe.table", recipe.table.target_kind)):
            if list(names) != list(fitted.classes):
                raise ModelError(
                    f"{files.path}: model.toml names the classes {', '.join(fitted.classes)} in "
                    f"[preprocessing], but {', '.join(names)} in [{place}]: get the model again."
                )
    else:
        # What the published notebooks fix for the published weights, whose recipe this is.
        settings = micrograph_settings(recipe)
        fitted = FittedState(
            classes=class_names(recipe),
            covariates=tuple(recipe.table.covariates),
            thresholds=PUBLISHED_THRESHOLDS,
            score=settings.score,
            layer=settings.explain_layer or LAST_STAGE,
        )
    return MicrographPredictor(
        files, recipe, fitted, asked, device=model.device, threads=model.threads
    )
