# SPDX-License-Identifier: Apache-2.0
"""What a person's answer is made of: what each input adds, and where in it that lies.

Inputs that travel together are one unit. What units add are Shapley values, of sets of what the
person has; what an edge of connectivity or a column adds is an integrated gradient from the mean of
those who trained; where in an image it lies is Grad-CAM. All are of one number: a continuous
answer in its unit, or the log-odds of a class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encephalon.errors import ContentError, UsageError, did_you_mean, either
from encephalon.explanation.attribution import InputShares, shapley_values
from encephalon.explanation.gradcam import deepest_layer, enlarged_map, find_layer
from encephalon.networks.fusion import MaskedFusion
from encephalon.networks.one_source import OnePerson, OneSource
from encephalon.studies.legibility.data import Encoding
from encephalon.studies.legibility.settings import Cohort, Target
from encephalon.transforms.connectivity import matrices_of, shares_of_pairs

__all__ = ["CELLS", "ExplainedPerson", "PeopleExplainer", "Question"]

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]
#: Maps are taken from the last layer with as many cells along each side, of 28 mm (our choice): the
#: last of all may have two.
CELLS = 8
#: Shares of a class count as no less than this, or they would have endless odds (ours).
RAREST = 1e-4


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


#: The number that is read of sets of what a person has (K, inputs).
Read = Callable[[Question, Flags], Values]


@dataclass(frozen=True, eq=False)
class ExplainedPerson:
    """One person's answer.

    base, answer  the number from nothing, and from all that the person has
    adds          what each unit adds, such as "t1+flair": sums to the answer less the base
    maps          of each image (side, side, side) what raises the number; below 0 what lowers it
    edges         of connectivity (R, R), symmetric, what each pair of regions adds to what an
                  average one would say; on the diagonal what a region adds, in the tangent space
    columns       of each block what its known columns add to what average ones would say
    checked       of each input what randomised weights are tried on
    gap           by how much, at the most, what the numbers of an input add misses their sum, as a
                  share of what they add
    """

    id: str
    question: Question
    base: float
    answer: float
    adds: Mapping[str, float]
    maps: Mapping[str, NDArray[np.float32]] = field(repr=False)
    edges: Mapping[str, Values] = field(repr=False)
    columns: Mapping[str, Mapping[str, float]] = field(repr=False)
    checked: Mapping[str, InputShares] = field(repr=False)
    gap: float = 0.0


class PeopleExplainer:
    """A fitted network, ready to explain one person after another.

    counts  how many of those who trained are of each class, () of a number
    layer   of the encoder of images that maps are taken from; None is the last one with CELLS

    Raises UsageError for a layer that an encoder of images does not have.
    """

    def __init__(
        self,
        network: MaskedFusion,
        encoding: Encoding,
        question: Question,
        counts: Sequence[int] = (),
        layer: str | None = None,
    ) -> None:
        self.network, self.encoding, self.question = network.eval(), encoding, question
        self.counts, self.layer, self.layers = counts, layer, dict[str, str]()
        cohort = encoding.cohort
        hidden = cohort.hidden_from(question.name)
        self.seen = tuple(name for name in cohort.inputs if name not in hidden)
        images = [n for n in self.seen if n in cohort.sources and network.average_of(n) is None]
        for name in images if layer is not None else ():
            find_layer(self._told(name, question), layer or "")
        if layer is not None and not images:
            raise UsageError(f"{question.name!r} is told from no image: leave out the layer.")

    def explain(
        self,
        who: str,
        given: Mapping[str, NDArray[np.float32]],
        read: Read | None = None,
        question: Question | None = None,
        linear: float = 0.0,
    ) -> ExplainedPerson:
        """Explain the person called `who`.

        given     what there is of them as the network is shown it, without a batch
        read      the number as it is read of each of some sets of units of what there is, where
                  that is not just what the network says of them
        question  with the class of this person, where the network's likeliest one is not meant
        linear    how much the linear models beside the network count in their answer

        Raises ContentError for a person who has nothing of what the target is told from.
        """
        network, cohort, name = self.network, self.encoding.cohort, self.question.name
        used = [one for one in self.seen if one in given]
        if not used:
            raise ContentError(
                f"{who} has none of {', '.join(self.seen)}, from which {name!r} is told: give at "
                "least one."
            )
        place = network.queries.device
        there = {one: torch.tensor(given[one])[None].to(place) for one in used}
        has = torch.tensor([[one in used for one in cohort.inputs]]).to(place)
        with torch.no_grad():
            tokens = network.encode(there, has)
            said = network.fuse(tokens, has)[:, network.columns[name]]
            question = (question or self.question).of(said)
            lines = None if network.linear is None else network.linear.reduced(there, has)
            person = OnePerson(tokens, has, lines, linear)
        found: dict[str, dict[str, Any]] = {"maps": {}, "edges": {}, "columns": {}, "checked": {}}
        gaps = [0.0]
        for source, one in there.items():
            told, base = self._told(source, question, person), network.average_of(source)
            layer = self._layer(source, told, one) if base is None else ""
            checked = found["checked"][source] = InputShares(told, one, base, layer)
            if base is None:
                found["maps"][source] = enlarged_map(checked.shares(), given[source][0])
                continue
            gradient, change = checked.gradient_and_change()
            gaps.append(checked.gap(gradient * change))
            if source in cohort.sources:
                found["edges"][source] = self._edges(source, gradient, change)
            else:
                found["columns"][source] = self._columns(source, gradient * change, one)
        nothing = question.base(self.encoding, self.counts)
        adds = self._adds(question, tokens, used, nothing, read)
        answer = nothing + sum(adds.values())
        return ExplainedPerson(who, question, nothing, answer, adds, **found, gap=max(gaps))

    def _told(self, name: str, question: Question, person: OnePerson | None = None) -> OneSource:
        score = partial(question.score, encoding=self.encoding)
        return OneSource(self.network, name, question.name, score, person)

    def _layer(self, name: str, told: OneSource, image: Tensor) -> str:
        """That which maps of a source are taken from."""
        if name not in self.layers:
            self.layers[name] = self.layer or deepest_layer(told, (image,), CELLS)
        return self.layers[name]

    def _adds(
        self, question: Question, tokens: Tensor, used: list[str], base: float, read: Read | None
    ) -> dict[str, float]:
        """What each unit of the inputs that are used adds."""
        cohort = self.encoding.cohort
        units = [tuple(n for n in unit if n in used) for unit in cohort.units]
        units = [unit for unit in units if unit]
        members = np.array([[n in unit for n in cohort.inputs] for unit in units])

        @torch.no_grad()
        def answers(sets: Flags) -> Values:
            present = (sets.astype(int) @ members.astype(int)) > 0
            some = sets.any(axis=1)
            if read is None:
                rows = torch.from_numpy(present).to(tokens.device)
                said = self.network.fuse(tokens, rows)[:, self.network.columns[question.name]]
                numbers = question.score(said.double(), self.encoding).cpu().numpy()
            else:
                numbers = np.full(len(sets), base)
                numbers[some] = read(question, present[some])
            return np.where(some, numbers, base)

        shares = shapley_values(answers, len(units))
        return {"+".join(unit): float(share) for unit, share in zip(units, shares, strict=True)}

    def _edges(self, name: str, gradient: Values, change: Values) -> Values:
        if name in self.encoding.spaces:
            reference = self.encoding.spaces[name].arrays()["reference"]
            return shares_of_pairs(gradient, change, reference)
        return np.asarray(matrices_of((gradient * change)[None], diagonal=0.0)[0])

    def _columns(self, name: str, shares: Values, given: Tensor) -> dict[str, float]:
        known, at, found = given[0].isfinite().cpu().numpy(), 0, {}
        for column, kind in self.encoding.cohort.blocks[name].columns.items():
            here = slice(at, at := at + (1 if kind == "number" else len(kind)))
            if known[here].any():
                found[column] = float(shares[here].sum())
        return found
