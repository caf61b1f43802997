# SPDX-License-Identifier: Apache-2.0
"""How small an effect a cohort could have shown: of each target, in each input it is told from.

Effects of known size are planted into what people have, and looked for by a ridge regression, see
`encephalon.statistics.power`: where a target was not told, they say what may have been missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from encephalon.errors import UsageError
from encephalon.reports.blocks import note, paragraph, table
from encephalon.reports.format import Html
from encephalon.statistics.power import SHARES, liability_auc, planted_power
from encephalon.studies.legibility.baselines import flat_images
from encephalon.studies.legibility.data import Encoding, People
from encephalon.studies.legibility.evaluation import Record
from encephalon.studies.legibility.predictions import groups_of

__all__ = ["power_blocks", "power_records"]


def power_records(people: People) -> list[Record]:
    """A row for each target, input and share of variance that was planted.

    found    share of the planted effects that were found
    needed   the smallest share from which on most are; NaN where none is large enough
    roc_auc  of two classes, what knowing the effect would reach
    problem  why nothing could be planted; there is one row then, without a share

    Only who is known to be of a target counts for it, and inputs of its own domain do not. Images
    are as coarse as the baselines see them.
    """
    encoding, owners = Encoding.fit(people, np.arange(len(people))), groups_of(people)
    columns = flat_images(people)
    columns |= {
        n: encoding.features(n, x).astype(np.float64) for n, x in people.connectivity.items()
    }
    columns |= {n: encoding.block(n, x).astype(np.float64) for n, x in people.values.items()}
    found = list[Record]()
    for target, about in people.cohort.targets.items():
        truth = people.truth[target]
        rows = np.flatnonzero(np.isfinite(truth))
        groups = owners and [owners[row] for row in rows]
        classes: Sequence[float] = ()
        if about.count > 1:
            classes = (np.bincount(truth[rows].astype(np.int64), minlength=2) / len(rows)).tolist()
        for name in people.cohort.inputs:
            if name in people.cohort.hidden_from(target):
                continue
            row: Record = {"target": target, "input": name}
            try:
                (one,) = planted_power({name: columns[name][rows]}, groups, classes=classes)
            except UsageError as error:
                found.append({**row, "problem": str(error)})
                continue
            row |= {"people": one.people, "needed": one.needed}
            for share in SHARES:
                auc = liability_auc(share, classes[1]) if about.count == 2 else np.nan
                said = {"share": share, "found": one.found[share], "roc_auc": auc}
                found.append({**row, **said, "r2": one.r2[share]})
    return found


def power_blocks(rows: Sequence[Record]) -> list[Html]:
    """A row for each target and input, for the page of the run."""
    words = (
        "Effects of known size were planted into what people have, in directions that all columns "
        "of an input have a part in, and a ridge regression looked for them in people whom it had "
        "not seen; one that lies where people differ most would be found sooner. A target that was "
        "not told may still have effects smaller than the smallest of which four of five were "
        "found. Their size is the share of the variance of the target, of classes that of what "
        "lies behind them; the area is that of someone who knows the effect."
    )
    shown = list[Record]()
    for (target, name), some in groupby(rows, lambda row: (row["target"], row["input"])):
        each = [row for row in some if "share" in row]
        if not each:
            continue
        first = each[0]
        least = [row for row in each if row["share"] == first["needed"]]
        line: Record = {"target": target, "input": name, "people": first["people"]}
        line["needed"] = _percent(first["needed"]) if least else f"over {_percent(max(SHARES))}"
        line["roc_auc"] = least[0]["roc_auc"] if least else None
        shown.append(line | {_percent(row["share"]): _percent(row["found"]) for row in each})
    columns = {"target": "Target", "input": "Input", "people": "People"}
    columns |= {"needed": "Smallest effect found", "roc_auc": "ROC AUC of it"}
    columns |= {_percent(share): f"Found of {_percent(share)}" for share in SHARES}
    problems = [note(str(row["problem"]), "check") for row in rows if "problem" in row]
    return [paragraph(words), *problems, table(columns, shown, digits=2)]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
