# SPDX-License-Identifier: Apache-2.0
"""What a user may ask of a micrograph model when it predicts, evaluates or explains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from encephalon.errors import UsageError
from encephalon.recipes.schema import Section
from encephalon.studies.micrographs.settings import MicrographSettings, Score

if TYPE_CHECKING:
    from encephalon.studies.micrographs.learned import Learned

__all__ = ["PredictOptions"]

Share = float | None


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
        In legacy mode, cut 16-bit grey levels at 255 as the published code did.
    silhouettes
        In legacy mode, the images went through the published steps 2 to 4 already.
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
