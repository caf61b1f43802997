# SPDX-License-Identifier: Apache-2.0
"""The settings of the micrograph study: what a recipe's `[study]` section may say.

What a user may ask of a micrograph model when it predicts, evaluates or explains.

What a recipe says to this study: its settings, its classes, and the network that follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from encephalon.errors import RecipeError, UsageError
from encephalon.recipes import make_settings
from encephalon.recipes.schema import Recipe, Section
from encephalon.transforms.parameters import PlanarRanges

if TYPE_CHECKING:
    from encephalon.models.fitted import Learned

__all__ = [
    "DataBar",
    "Inputs",
    "MicrographSettings",
    "PredictOptions",
    "Search",
    "Thresholds",
    "check_recipe",
    "class_names",
    "micrograph_settings",
    "network_options",
]

Inputs = Literal["both", "image", "covariates"]


Score = Literal["softmax", "sigmoid_logit1"]


Range = tuple[float, float]

#: What a search may change: all else shapes the table or its pictures, which are prepared once.
SEARCHED = ("training.", "network.options.", "study.augmentation.")


Share = float | None


class DataBar(Section):
    """What becomes of the strip of text that a microscope writes under its image.

    Attributes
    ----------
    mode
        "crop" cuts it off, "keep" leaves it.
    rows
        Its height in pixels of the raw image; None looks for it.
    """

    mode: Literal["crop", "keep"] = "crop"
    rows: int | None = Field(default=None, ge=0)


class Thresholds(Section):
    """How the two thresholds of the traffic light are found on validation predictions.

    Attributes
    ----------
    step
        Step of the grid (3BTRON spec 5: 0.05, which gives 99 pairs).
    amber
        "excluded" scores green and red alone; "negative" counts amber as negative.
    widest
        Largest |amber - green| of the symmetric pairs that are chosen from.
    """

    step: float = Field(default=0.05, gt=0, le=0.25)
    amber: Literal["excluded", "negative"] = "negative"
    widest: float = Field(default=0.5, gt=0, le=1)


class Search(Section):
    """Hyper-parameters that are searched for inside each fold, with Optuna.

    Attributes
    ----------
    trials
        Trials a fold; 0 searches nothing.
    space
        Dotted recipe keys and what they may be: a list of choices, or
        { low = 1e-5, high = 1e-3, log = true }, of whole numbers where both ends are. Keys lie in
        training, network.options or study.augmentation: table and pictures are the same for all.
    epochs
        Epochs of one trial.
    """

    trials: int = Field(default=0, ge=0)
    epochs: int = Field(default=10, gt=0)
    space: dict[str, list[float | int | str | bool] | dict[str, float | int | bool]] = Field(
        default_factory=dict
    )

    @field_validator("space")
    @classmethod
    def _drawable(cls, space: dict[str, Any]) -> dict[str, Any]:
        for key, values in space.items():
            if not key.startswith(SEARCHED):
                raise ValueError(f"{key!r} must begin with one of {', '.join(SEARCHED)}")
            if isinstance(values, dict):
                right = {"low", "high"} <= set(values) <= {"low", "high", "log"}
                right = right and values["low"] < values["high"]
            else:
                right = bool(values)
            if not right:
                raise ValueError(f"{key!r} needs a list of choices, or low and a higher high")
        return space

    @model_validator(mode="after")
    def _something(self) -> Search:
        if self.trials and not self.space:
            raise ValueError("trials need a space of hyper-parameters to draw from")
        return self


class MicrographSettings(Section):
    """Everything that only this study understands.

    Attributes
    ----------
    inputs
        What the network sees: the image, the covariates, or both.
    size
        Side of the square picture that the network sees, pixels.
    pixel_size_nm
        Pixel size that every image with a known one is brought to before the square is laid; None
        fits the whole image into the square.
    percentiles
        Percentiles of the grey levels that become 0 and 1.
    page
        Page of files with several, counted from 1; None refuses them.
    colour
        "refuse" colour images, or take their "luminance".
    clip_16_bit
        Published mode: levels above 255 are cut, as published, and not scaled.
    silhouettes
        Published mode: the images went through the published steps 2 to 4 already.
    data_bar, augmentation, thresholds, search
        See their classes.
    folds
        Folds of the cross-validation: each is tested once, the one after it validates, the others
        train. 0 uses the table's own split.
    repeats_of_image
        Views of one image whose mean is its prediction: 1, or 2 with its mirror image.
    balanced
        Weigh classes by the inverse of their frequency.
    freeze_statistics
        Frozen normalisation layers keep their statistics (the published training changed them).
    encoder_weights
        File of backbone weights to start from (.safetensors, .pt, .pth); None starts at random.
    calibrate
        Fit a calibration of the probabilities on validation predictions.
    score
        "softmax", or "sigmoid_logit1" as the published notebooks do.
    baselines
        What is trained beside the model: "texture" and "covariates" on the same folds, "shuffled"
        (the label-permutation control) in the first alone.
    levels
        Columns whose values are scored as a whole, such as "vessel"; the group is always one.
    strata
        Columns that the results are cut by; the covariates by default.
    explain_layer
        Layer of the network that maps are taken from; None is the last one with places.
    box
        Columns (centre x, centre y, width, height as shares of the image) of a box in which the
        answer is known to lie: the report then says how much of each map lies inside it.
    allow_leakage
        Train on a split whose groups straddle its parts, and say so in the report.
    """

    inputs: Inputs = "both"
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
    search: Search = Search()
    folds: int = Field(default=5, ge=0, le=100)
    repeats_of_image: Literal[1, 2] = 1
    balanced: bool = True
    freeze_statistics: bool = True
    encoder_weights: str | None = None
    calibrate: bool = True
    score: Score = "softmax"
    baselines: tuple[Literal["texture", "covariates", "shuffled"], ...] = (
        "texture",
        "covariates",
        "shuffled",
    )
    levels: tuple[str, ...] = ()
    strata: tuple[str, ...] = ()
    explain_layer: str | None = None
    box: tuple[str, str, str, str] | None = None
    allow_leakage: bool = False

    @field_validator("percentiles")
    @classmethod
    def _ordered(cls, value: Range) -> Range:
        if not 0 <= value[0] < value[1] <= 100:
            raise ValueError("must be two growing numbers from 0 to 100")
        return value

    @model_validator(mode="after")
    def _folds(self) -> MicrographSettings:
        if self.folds in {1, 2}:
            raise ValueError("folds must be 0, or 3 and more: one tests, one validates")
        return self


class PredictOptions(Section):
    """What the user may ask; None leaves what the model says.

    Attributes
    ----------
    score
        "softmax" with the model's calibration, or "sigmoid_logit1" as published.
    green, amber
        Thresholds of the traffic light: green up to the one, amber up to the other, red above.
    page, colour
        Page of files with several, from 1; what becomes of colour images.
    clip_16_bit
        In published mode, cut 16-bit grey levels at 255 as the published code did.
    silhouettes
        In published mode, the images went through the published steps 2 to 4 already.
    cache
        Keep preprocessed pictures, by the content of their files, for the next time.
    compare
        For an evaluation: predictions.csv of another model on the same images.
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
        names = ("page", "colour", "score", "clip_16_bit", "silhouettes")
        asked = {name: getattr(self, name) for name in names}
        given = {name: value for name, value in asked.items() if value is not None}
        return trained.model_copy(update=given)

    def scoring(self, learned: Learned, model: str) -> Score:
        """How logits become probabilities; raises UsageError where the classes do not allow it."""
        if self.score == "sigmoid_logit1" and len(learned.classes) != 2:
            raise UsageError(
                f"The score sigmoid_logit1 is for two classes, and {model!r} has others."
            )
        return self.score or learned.score

    def thresholds(self, learned: Learned, model: str) -> tuple[float, float] | None:
        """The thresholds of the traffic light: those asked for, else those of the model.

        Those that were chosen on calibrated probabilities mean nothing for another score.
        Raises UsageError for more than two classes, one threshold alone, and a wrong order.
        """
        asked = (self.green, self.amber)
        if asked != (None, None) and len(learned.classes) != 2:
            raise UsageError(
                f"The model {model!r} has {len(learned.classes)} classes, and the traffic light is "
                "for two: drop the options green and amber."
            )
        other = learned.calibration is not None and self.score not in {None, learned.score}
        known = (None, None) if other else learned.thresholds or (None, None)
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


def class_names(recipe: Recipe) -> tuple[str, ...]:
    """The classes in the order of the logits; raises RecipeError where the table names none."""
    kind = recipe.table.target_kind
    if recipe.table.target is None or isinstance(kind, str) or len(kind) < 2:
        raise RecipeError(
            f"{recipe.name}: a classifier needs the column of the classes in table.target, and two "
            "or more classes in table.target_kind, in their order."
        )
    if len(set(kind)) < len(kind):
        raise RecipeError(f"{recipe.name}: table.target_kind names a class twice: {list(kind)}.")
    return tuple(kind)


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
