# SPDX-License-Identifier: Apache-2.0
"""What a recipe may say, and a user of a model: plain data with defaults, checked, never evaluated.

A recipe is a TOML file with a few words at the top and four sections:

    name, title, description, task, mode, citation, licence
    [study]      name = "extraction", then the settings that only this study understands
    [table]      the columns of the table of samples (`encephalon.tables.schema.Columns`)
    [network]    name and options of the network
    [training]   how it is trained

Unknown keys are refused, except in `[study]`, whose settings are checked one floor up by the
study itself (it finds them in `recipe.study.settings`). What a user asks of a model when it
predicts is checked like a recipe's own settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from encephalon.errors import RecipeError, UsageError
from encephalon.recipes.validation import make_settings
from encephalon.tables.schema import Columns

Task = Literal["segmentation", "classification", "regression", "reconstruction", "representation"]
Mode = Literal["default", "published"]
Inputs = Literal["both", "image", "covariates"]
Score = Literal["softmax", "sigmoid_logit1"]
Baseline = Literal["texture", "covariates", "shuffled"]
Precision = Literal["32", "bf16-mixed", "16-mixed"]
#: What a search may change: all else shapes the table or its images, which are prepared once.
SEARCHED = ("training.", "network.options.", "study.augmentation.")
#: Samples of a batch. No device holds more, and making one cannot be interrupted.
LARGEST_BATCH = 65_536


class Section(BaseModel):
    """A part of a recipe: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="constants"
    )


class Study(Section):
    """Which study the recipe belongs to, and the settings that only that study understands."""

    model_config = ConfigDict(
        frozen=True, extra="allow", allow_inf_nan=False, ser_json_inf_nan="constants"
    )

    name: str = Field(min_length=1)

    @property
    def settings(self) -> dict[str, Any]:
        """Every key of `[study]` but the name, as written, for the study's own schema."""
        return dict(self.model_extra or {})


class Network(Section):
    """A network by its registered name, and the options that it is built with."""

    name: str = Field(min_length=1)
    options: dict[str, Any] = {}


class Loss(Section):
    """One term of the loss: its registered name, its weight in the sum, and its options."""

    name: str = Field(min_length=1)
    weight: float = Field(default=1.0, ge=0)
    options: dict[str, Any] = {}


class Training(Section):
    """How the network is trained. Lengths of time are in optimiser steps unless named epochs.

    `patience` epochs without a gain of more than `min_delta` in `monitor` end the training; the
    best epoch is the best one all the same, unless `keep` is "last". `freeze` names parts of the
    network, by whole path elements, that are not trained, and `unfreeze` parts of those that are.
    `start_from` names the model that training begins with, and `fresh` parts that are drawn anew
    all the same. `learning_rate_factors` says how much faster or slower a part learns: of nested
    parts the inner one counts. "head" is what the network of any recipe ends in.
    `momentum` is that of "sgd" and "lars" (0.9), which is Nesterov's for "sgd" unless `nesterov` is
    false; `exclude_bias_and_norm` spares vectors weight decay; "cosine" ends at the share
    `cosine_end` of
    the rate (0.01).
    """

    epochs: int = Field(default=100, gt=0)
    steps_per_epoch: int = Field(default=250, gt=0)
    batch_size: int = Field(default=1, gt=0, le=LARGEST_BATCH)
    optimiser: Literal["adam", "adamw", "lars", "sgd"] = "adam"
    learning_rate: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float | None = Field(default=None, ge=0, lt=1)
    nesterov: bool | None = None
    exclude_bias_and_norm: bool | None = None
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    cosine_end: float | None = Field(default=None, ge=0, le=1)
    warmup_steps: int = Field(default=0, ge=0)
    losses: tuple[Loss, ...] = Field(default=(Loss(name="dice"),), min_length=1)
    precision: Precision = "32"
    gradient_clip: float | None = Field(default=None, gt=0)
    patience: int | None = Field(default=None, gt=0)
    min_delta: float = Field(default=0.0, ge=0)
    monitor: str = "val_loss"
    monitor_mode: Literal["min", "max"] = "min"
    keep: Literal["last"] | None = None
    checkpoint_every: int = Field(default=250, gt=0)
    seed: int = Field(default=0, ge=0, lt=2**32)
    start_from: str | None = None
    freeze: tuple[str, ...] = ()
    unfreeze: tuple[str, ...] = ()
    fresh: tuple[str, ...] | None = None
    learning_rate_factors: dict[str, Annotated[float, Field(gt=0)]] | None = None
    l2_to_start: float = Field(default=0.0, ge=0)
    ema: float = Field(default=0.0, ge=0, lt=1)

    @field_validator("precision", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        # `--set training.precision=32` arrives as a number.
        return str(value) if type(value) is int else value

    @field_validator("monitor")
    @classmethod
    def _scored(cls, value: str) -> str:
        if not value.startswith(("val_", "train_")):
            raise ValueError("should begin with 'val_' or 'train_', as the scores of an epoch do")
        return value

    @field_validator("start_from")
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("names no model: give a model name or folder, or leave the key out")
        return value

    @model_validator(mode="after")
    def _of_use(self) -> Training:
        for key, given, having in (
            ("momentum", self.momentum, self.optimiser in {"sgd", "lars"}),
            ("nesterov", self.nesterov, self.optimiser == "sgd"),
            ("cosine_end", self.cosine_end, self.schedule == "cosine"),
        ):
            if given is not None and not having:
                raise ValueError(
                    f"{key} means nothing to the optimiser {self.optimiser!r} and the schedule "
                    f"{self.schedule!r}: leave it out"
                )
        if self.fresh and self.start_from is None:
            raise ValueError(
                "fresh names parts that are not taken from a model, but start_from names no model: "
                "every part is drawn anew, so leave it out"
            )
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class Search(Section):
    """Hyper-parameters that are searched for inside each fold, with Optuna.

    trials  Trials a fold; 0 searches nothing.
    space   Dotted recipe keys and what they may be: a list of choices, or { low = 1e-5, high =
            1e-3, log = true }, of whole numbers where both ends are. Keys lie in training,
            network.options or study.augmentation: table and pictures are the same for all.
    epochs  Epochs of one trial.
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


class Validated(Section):
    """What `[study]` says of how models are cross-validated.

    folds          Folds of the cross-validation: each is tested once, the one after it validates,
                   the others train. 0 uses the table's own split.
    allow_leakage  Train on a split whose groups straddle its parts, and say so in the report.
    search         See its class.
    """

    folds: int = Field(default=5, ge=0, le=100)
    allow_leakage: bool = False
    search: Search = Search()

    @model_validator(mode="after")
    def _enough_folds(self) -> Self:
        if self.folds in {1, 2}:
            raise ValueError("folds must be 0, or 3 and more: one tests, one validates")
        return self


class Classification(Validated):
    """What `[study]` says of every classifier, beside its validation: how it is read and reported.

    The settings of a study of classes have these beside its own.

    inputs         What the network sees: the image, the covariates, or both.
    balanced       Weigh classes by the inverse of their frequency.
    calibrate      Fit a calibration of the probabilities on validation predictions.
    score          "softmax", or "sigmoid_logit1" as the published notebooks do.
    baselines      What is trained beside the model: "texture" (classical features of the image) and
                   "covariates" on the same folds, "shuffled" (the label-permutation control) in the
                   first alone.
    levels         Columns whose values are scored as a whole, such as "vessel"; the group is always
                   one.
    strata         Columns that the results are cut by; the covariates by default.
    explain_layer  Layer of the network that maps are taken from; None is the last one with places.
    box            Columns (centre x, centre y, width, height as shares of the image) of a box in
                   which the answer is known to lie: the report then says how much of each map lies
                   inside it.
    """

    inputs: Inputs = "both"
    balanced: bool = True
    calibrate: bool = True
    score: Score = "softmax"
    baselines: tuple[Baseline, ...] = ("texture", "covariates", "shuffled")
    levels: tuple[str, ...] = ()
    strata: tuple[str, ...] = ()
    explain_layer: str | None = None
    box: tuple[str, str, str, str] | None = None


class Recipe(Section):
    """A whole recipe; build it with `encephalon.recipes.loading.load_recipe`."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    title: str
    description: str = ""
    task: Task
    mode: Mode = "default"
    citation: str = ""
    licence: str = "Apache-2.0"
    study: Study
    table: Columns = Columns()
    network: Network
    training: Training = Training()


@dataclass(frozen=True)
class Flag:
    """How the command line asks for an option: `Annotated[float, Flag("--border", "…", "MM")]`.

    names    one or several words, such as "--csf/--no-csf"; "" for an argument
    help     one sentence
    metavar  what stands for the value in the help
    """

    names: str
    help: str
    metavar: str = ""

    @property
    def long(self) -> str:
        """The name that messages say, such as "--border"; "" for an argument."""
        return next((name for name in self.names.split() if name.startswith("--")), "")


#: Flags that several commands share.
OUTPUT = Flag("-o --output", "Where the results go.", "PLACE")
OVERWRITE = Flag("--overwrite", "Replace results that exist.")
SEED = Flag("--seed", "Seed of every random draw.", "N")
SERIES = Flag(
    "--series",
    "Which DICOM series: number, description or UID; and :2 for its second volume.",
    "NAME",
)


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


Options = TypeVar("Options", bound=Section)


def ask(schema: type[Options], given: Mapping[str, Any], whose: str) -> Options:
    """What the user asked, checked; raises UsageError for what `whose` options do not know."""
    return make_settings(schema, given, f"Options of {whose}", section="", fault=UsageError)


def listed(value: Any) -> Any:
    """One word, or several between commas or blanks, as a tuple of words; anything else as it is.

    For the fields of options that take several names, before they are checked.
    """
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value
