# SPDX-License-Identifier: Apache-2.0
"""Other programs beside the model: what they predict of the same people, scored on the same folds.

What they are told from is not known: their answer is the same beside every set of inputs, and is
scored on the people who have all of that set, as the model's is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from encephalon.experiments.external import External, read_external, recalibrated
from encephalon.experiments.folds import Fold
from encephalon.io.files import expanded
from encephalon.studies.legibility.baselines import predicted_by
from encephalon.studies.legibility.data import People
from encephalon.studies.legibility.input_sets import visible_sets
from encephalon.studies.legibility.predictions import Predicted, groups_of
from encephalon.studies.legibility.settings import Cohort, LegibilitySettings
from encephalon.tables.schema import Table

__all__ = ["external_predictions", "read_programs"]


def read_programs(settings: LegibilitySettings, cohort: Cohort, table: Table) -> list[External]:
    """What the files of `settings.external` say; raises TableError for what they may not."""
    targets = {name: target.classes for name, target in cohort.targets.items()}
    return [
        read_external(expanded(file), table.ids, targets, column=cohort.id, name=name)
        for name, file in settings.external.items()
    ]


def external_predictions(
    people: People, folds: Sequence[Fold], programs: Sequence[External], *, recalibrate: bool
) -> Iterator[Predicted]:
    """What each program says of each target that it tells, as it is and, if asked, put right."""
    groups = groups_of(people)
    for program in programs:
        for target, answers in program.answers.items():
            said = {program.name: answers}
            if recalibrate:
                right = recalibrated(answers, people.truth[target], folds, groups)
                said[f"{program.name} recalibrated"] = right
            for method, values in said.items():
                sets = dict.fromkeys(visible_sets(people.cohort, target), values)
                yield from predicted_by(method, target, sets, people, folds)
