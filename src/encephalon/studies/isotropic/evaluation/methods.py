# SPDX-License-Identifier: Apache-2.0
"""The methods of one table: the model's network, itself without the T1w, and what it must beat."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from encephalon.studies.isotropic.evaluation.cases import LESION
from encephalon.studies.isotropic.reconstruction.problem import Estimate, Method, Problem
from encephalon.studies.isotropic.settings import NORMAL

__all__ = ["CUBIC", "GUIDED", "NETWORK", "T2W_ONLY", "ComparedMethod", "compared_methods"]

NETWORK, T2W_ONLY, GUIDED, CUBIC = "network", "T2w only", "guided", "cubic"


@dataclass(frozen=True)
class ComparedMethod:
    """A method by its name; `guided` says whether it looks at the T1w."""

    name: str
    method: Method
    guided: bool = False

    def takes_part(self, problem: Problem, condition: str) -> bool:
        """Whether its answer in this condition is another one than in the normal one.

        Without a T1w the network is itself what is compared as "T2w only".
        """
        if self.name == T2W_ONLY and problem.guide is None:
            return False
        return self.guided or condition in (NORMAL, LESION)


def compared_methods(predictor: Any) -> list[ComparedMethod]:
    """All methods of the evaluation of a predictor, the model's own first.

    `predictor.method` is that of its network, and `predictor.reconstruct`, if there is one, the
    same with further stacks; one whose option `method` is another is compared by that alone.
    """
    from encephalon.studies.isotropic.reconstruction.interpolation import METHODS

    own: Method = getattr(predictor, "reconstruct", predictor.method)
    chosen = getattr(getattr(predictor, "options", None), "method", NETWORK)
    found = []
    if chosen == NETWORK:
        found += [ComparedMethod(NETWORK, own, True), ComparedMethod(T2W_ONLY, without_guide(own))]
    found.append(ComparedMethod(GUIDED, _guided, True))
    return found + [ComparedMethod(name, method) for name, method in METHODS.items()]


def without_guide(method: Method) -> Method:
    """The same method, which does not see the T1w."""
    return lambda problem: method(replace(problem, guide=None, coverage=None))


def _guided(problem: Problem) -> Estimate:
    """The guided method, with all stacks where there are several."""
    from encephalon.studies.isotropic.reconstruction.guided import guided

    estimate = guided(problem)
    if len(problem.stacks) == 1:
        return estimate
    from encephalon.studies.isotropic.reconstruction.multi_stack import fuse_stacks

    return fuse_stacks(problem, estimate)
