# SPDX-License-Identifier: Apache-2.0
"""The settings of the micrograph study: what a recipe's `[study]` section and a user may say.

From a recipe follow its settings, its classes and its network; a user may choose how a model
predicts, evaluates and explains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from encephalon.errors import RecipeError, UsageError
from encephalon.recipes.schema import Classification, Recipe, Score, Section, class_names
from encephalon.recipes.validation import make_settings
from encephalon.transforms.parameters import PlanarRanges

if TYPE_CHECKING:
    from encephalon.models.fitted import FittedState

__all__ = [
    "DataBar",
    "MicrographSettings",
    "PredictOptions",
    "Thresholds",
    "check_recipe",
    "micrograph_settings",
    "network_options",
]

Range = tuple[float, float]
Share = float | None


class DataBar(Section):
    """What becomes of the strip of text that a microscope writes under its image.

    mode  "crop" cuts it off, "keep" leaves it.
    rows  Its height in pixels of the raw image; None looks for it.
    """

    mode: Literal["crop", "keep"] = "crop"
    rows: int | None = Field(default=None, ge=0)


class Thresholds(Section):
    """How the two thresholds of the traffic light are found on validation predictions.

    step    Step of the grid (3BTRON: 0.05, which gives 99 pairs).
    amber   "excluded" scores green and red alone; "negative" counts amber as negative.
    widest  Largest |amber - green| of the symmetric pairs that are chosen from.
    """

    step: float = Field(default=0.05, gt=0, le=0.25)
    amber: Literal["excluded", "negative"] = "negative"
    widest: float = Field(default=0.5, gt=0, le=1)


class MicrographSettings(Classification):
    """What the study knows beside the settings of every classifier.

    size                  Side of the square picture that the network sees, pixels.
    pixel_size_nm         Pixel size that every image with a known one is brought to before the
                          square is laid; None fits the whole image into the square.
    percentiles           Percentiles of the grey levels that become 0 and 1.
    page                  Page of files with several, counted from 1; None refuses them.
    colour                "refuse" colour images, or take their "luminance".
    clip_16_bit           Published mode: levels above 255 are cut, as published, and not scaled.
    silhouettes           Published mode: the images went through the published steps 2 to 4
                          already.
    data_bar, augmentation, thresholds
                          See their classes.
    repeats_of_image      Views of one image whose mean is its prediction: 1, or 2 with its mirror
                          image.
    freeze_statistics     Frozen normalisation layers keep their statistics (the published training
                          changed them).
    encoder_weights       File of backbone weights to start from (.safetensors, .pt, .pth); None
                          starts at random.
    """

    size: int = Field(default=384, ge=32, le=2048)
    pixel_size_nm: float | None = Field(default=None, gt=0)
    percentiles: Range = (0.5, 99.5)
    page: int | None = Field(default=None, ge=1)
    colour: Literal["refuse", "luminance"] = "refuse"
    clip_16_bit: bool = False
    silhouettes: bool = False
    data_bar: DataBar = DataBar()
    augmentation: PlanarRanges = PlanarRanges()
    thresholds: Thresholds = Thresholds()
    repeats_of_image: Literal[1, 2] = 1
    freeze_statistics: bool = True
    encoder_weights: str | None = None

    @field_validator("percentiles")
    @classmethod
    def _ordered(cls, value: Range) -> Range:
        if not 0 <= value[0] < value[1] <= 100:
            raise ValueError("must be two growing numbers from 0 to 100")
        return value


class PredictOptions(Section):
    """What the user may ask; None leaves what the model says.

    score         "softmax" with the model's calibration, or "sigmoid_logit1" as published.
    green, amber  Thresholds of the traffic light: green up to the one, amber up to the other, red
                  above.
    page, colour  Page of files with several, from 1; what becomes of colour images.
    clip_16_bit   In published mode, cut 16-bit grey levels at 255 as the published code did.
    silhouettes   In published mode, the images went through the published steps 2 to 4 already.
    cache         Keep preprocessed pictures, by the content of their files, for the next time.
    compare       For an evaluation: predictions.csv of another model on the same images.
    """

    score: Score | None = None
    green: Share = Field(default=None, ge=0, le=1)
    amber: Share = Field(default=None, ge=0, le=1)
    page: int | None = Field(default=None, ge=1)
    colour: Literal["refuse", "luminance"] | None = None
    clip_16_bit: bool | None = None
    silhouettes: bool | None = None
    cache: bool = True
    compare: str | None = None

    @model_validator(mode="after")
    def _order(self) -> PredictOptions:
        if self.green is not None and self.amber is not None and self.green > self.amber:
            raise ValueError("green must not be above amber")
        return self

    def settings(self, trained: MicrographSettings) -> MicrographSettings:
        """The settings that a model was trained with, changed where the user asked for it."""
        names = {"page", "colour", "score", "clip_16_bit", "silhouettes"}
        return trained.model_copy(update=self.model_dump(include=names, exclude_none=True))

    def scoring(self, fitted: FittedState, model: str) -> Score:
        """How logits become probabilities; raises UsageError where the classes do not allow it."""
        if self.score == "sigmoid_logit1" and len(fitted.classes) != 2:
            raise UsageError(
                f"The score sigmoid_logit1 is for two classes, and {model!r} has others."
            )
        return self.score or fitted.score

    def thresholds(self, fitted: FittedState, model: str) -> tuple[float, float] | None:
        """The thresholds of the traffic light: those asked for, else those of the model.

        Those that were chosen on calibrated probabilities mean nothing for another score, and more
        than two classes have no light. Raises UsageError for one asked of more than two classes,
        one threshold alone, and a wrong order.
        """
        asked = (self.green, self.amber)
        if len(fitted.classes) != 2:
            if asked == (None, None):
                return None
            raise UsageError(
                f"The model {model!r} has {len(fitted.classes)} classes, and the traffic light is "
                "for two: drop the options green and amber."
            )
        other = fitted.calibration is not None and self.score not in {None, fitted.score}
        known = (None, None) if other else fitted.thresholds or (None, None)
        green, amber = (
            new if new is not None else old for new, old in zip(asked, known, strict=True)
        )
        if green is None and amber is None:
            return None
        if green is None or amber is None or green > amber:
            raise UsageError(
                f"A traffic light needs 0 <= green <= amber <= 1, but green is {green} and amber "
                f"{amber}: give both."
            )
        return green, amber


def micrograph_settings(recipe: Recipe) -> MicrographSettings:
    """The checked settings in `recipe.study`; raises RecipeError for one that is not right."""
    return make_settings(MicrographSettings, recipe.study.settings, recipe.name)


def network_options(recipe: Recipe) -> dict[str, Any]:
    """The options that the network is built with: the recipe's, and what the table determines.

    Those are `classes`, `covariates` (encoded columns) and `inputs`. Raises RecipeError where the
    recipe says otherwise in [network.options].
    """
    from encephalon.tables.encoding import covariate_width

    determined = {
        "classes": len(class_names(recipe)),
        "covariates": covariate_width(recipe.table),
        "inputs": micrograph_settings(recipe).inputs,
    }
    for name, value in determined.items():
        said = recipe.network.options.get(name, value)
        if said != value:
            raise RecipeError(
                f"{recipe.name}: network.options.{name} is {said!r}, but table and study make it "
                f"{value!r}: leave it out."
            )
    return {**recipe.network.options, **determined}


def check_recipe(recipe: Recipe) -> None:
    """Raise RecipeError unless this study can train what `recipe` describes."""
    settings, classes = micrograph_settings(recipe), class_names(recipe)
    fault = None
    if len(recipe.table.inputs) != 1:
        fault = "a sample has one image: name one column in table.inputs"
    elif recipe.table.target in recipe.table.covariates:
        fault = (
            f"table.covariates names {recipe.table.target!r}, which is table.target: leave it out, "
            "or the network is given the answer"
        )
    elif settings.inputs == "covariates" and not recipe.table.covariates:
        fault = "study.inputs is 'covariates', but table.covariates names none"
    elif recipe.training.batch_size < 2:
        fault = "batches of one image cannot be normalised: set training.batch_size to 2 or more"
    elif settings.score == "sigmoid_logit1" and len(classes) != 2:
        fault = f"study.score 'sigmoid_logit1' is for two classes, not {len(classes)}"
    if fault:
        raise RecipeError(f"{recipe.name}: {fault}.")
    network_options(recipe)
