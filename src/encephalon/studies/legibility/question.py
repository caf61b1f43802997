# SPDX-License-Identifier: Apache-2.0
"""The one number that an explanation is of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from encephalon.errors import UsageError, did_you_mean, either
from encephalon.studies.legibility.data import Encoding
from encephalon.studies.legibility.settings import Cohort, Target

__all__ = ["Question"]

#: Shares of a class count as no less than this, or they would have endless odds (ours).
RAREST = 1e-4
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """The one number that is explained: a continuous answer, or the log-odds of a class.

    place  of the class: of classes in order the odds are of it or a higher one; -1 for none, which
           of classes without order is the likeliest one of each person
    """

    name: str
    target: Target
    place: int = -1

    @classmethod
    def asked(cls, cohort: Cohort, name: str | None, called: str | None, model: str) -> Question:
        """Of the target `name`, the first if None; raises UsageError for one that there is not."""
        name = next(iter(cohort.targets)) if name is None else name
        if name not in cohort.targets:
            meant = did_you_mean(name, cohort.targets, "it tells")
            raise UsageError(f"The model {model!r} tells no {name!r}; {meant}")
        target = cohort.targets[name]
        classes = target.classes[1:] if target.kind == "ordinal" else target.classes
        if called is None:
            return cls(name, target, 1 if target.kind in {"binary", "ordinal"} else -1)
        if called not in classes:
            known = f"name {either(classes)}" if classes else "it is a number: leave out the class"
            raise UsageError(f"Of {name!r} no class {called!r} can be explained; {known}.")
        return cls(name, target, target.classes.index(called))

    @property
    def unit(self) -> str:
        """What the number is, such as "years" or "log-odds of M"."""
        if self.target.kind == "continuous":
            return self.target.unit or self.name
        above = self.target.kind == "ordinal" and self.place < self.target.count - 1
        return f"log-odds of {self.target.classes[self.place]}{' or above' if above else ''}"

    def of(self, said: Tensor) -> Question:
        """The same with a class, that of what the network says of the target (1, columns)."""
        if self.target.kind == "multiclass" and self.place < 0:
            return replace(self, place=int(said[0].argmax()))
        return self

    def score(self, said: Tensor, encoding: Encoding) -> Tensor:
        """The number (B,) of what the network says of the target (B, columns)."""
        if self.target.kind == "continuous":
            _, _, mean, deviation = encoding.targets[self.name]
            return said[:, 0] * deviation + mean
        if self.target.kind == "binary":
            return said[:, 0] if self.place else -said[:, 0]
        if self.target.kind == "ordinal":
            return said[:, self.place - 1]
        rest = [place for place in range(said.shape[1]) if place != self.place]
        return said[:, self.place] - said[:, rest].logsumexp(dim=1)

    def number(self, values: Values) -> Values:
        """The number (N,) of an answer that was read: values, or probabilities (N, classes)."""
        if self.target.kind == "continuous":
            return values[:, 0]
        above = self.target.kind == "ordinal"
        share = values[:, self.place : None if above else self.place + 1].sum(axis=1)
        share = share.clip(RAREST, 1 - RAREST)
        return np.asarray(np.log(share / (1 - share)))

    def base(self, encoding: Encoding, counts: Sequence[int]) -> float:
        """What is said of somebody of whom nothing is known: the mean of those who trained.

        counts  how many of them are of each class
        """
        if self.target.kind == "continuous":
            return encoding.targets[self.name][2]
        shares = np.array(counts, dtype=np.float64) / max(1, sum(counts))
        return float(self.number(shares[None])[0])
