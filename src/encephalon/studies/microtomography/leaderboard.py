# SPDX-License-Identifier: Apache-2.0
"""A leaderboard: evaluations of many models, over their seeds, beside the published numbers.

Modes are never mixed: what was scored by the published rules has its own tables, and only there do
the published numbers stand beside it. Nor are tables of other tiles: each has its own rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from typing import Any

from encephalon.errors import InputError
from encephalon.evaluation.run import read_summary
from encephalon.io.atomic import make_folder, refuse_existing, write_text
from encephalon.io.files import expanded
from encephalon.io.text import read_records, write_records
from encephalon.reports.format import capitalised
from encephalon.reports.score_tables import Score, ScoreTable
from encephalon.studies.microtomography.evaluation import OWN
from encephalon.studies.microtomography.leaderboard_page import leaderboard_page
from encephalon.studies.microtomography.semantics import feature_heading, is_feature

__all__ = ["Entry", "Run", "leaderboard", "published_scores"]

#: Mode, task and data of a table.
TableKey = tuple[str, str, str]
TITLES = {
    "region": "Task 1: regions",
    "structure": "Task 2: structures",
    "readout": "Task 3: read-out",
    "in-sample": "Task 3: read-out, in-sample",
}
READOUTS = ("percent_vessel", "percent_axon", "cell_count", "cell_size", "cell_nearest")
#: Measures of each task that a leaderboard shows, the main one first.
MEASURES = {
    "region": ("accuracy", "balanced_accuracy"),
    "structure": ("f1", "iou", "f1_per_tile", "iou_per_tile", "balanced_accuracy"),
    "readout": READOUTS,
    "in-sample": READOUTS,
}
_COLUMNS = ("task", "measure", "method", "data", "mode", "value", "sd", "seeds", "published")
HEADINGS = {"f1": "F1", "iou": "IoU", "f1_per_tile": "F1 per tile", "iou_per_tile": "IoU per tile"}


@dataclass(frozen=True, eq=False)
class Run:
    """One evaluation: its folder, its summary, and what its method is called."""

    folder: Path
    summary: Mapping[str, Any]
    method: str

    @property
    def data(self) -> str:
        """The table of tiles, by the first digits of its SHA-256."""
        return str(self.summary["table"]["sha256"])[:8]

    @property
    def mode(self) -> str:
        """ "default" or "published"."""
        return str(self.summary["mode"])

    @property
    def seed(self) -> int:
        """The seed of its training."""
        return int(self.summary["seed"] or 0)

    def by(self, how: str) -> str:
        """The method, with the probe that told the regions, if it did not tell them itself."""
        return self.method if how == OWN else f"{self.method}, {how} probe"


@dataclass(frozen=True, kw_only=True)
class Entry(Score):
    """One score of one method over its seeds.

    task     what was measured; a read-out's measure is the feature, and its value R2
    data     the table of tiles, by the first digits of its SHA-256
    mode     "default" or "published"
    """

    task: str
    data: str
    mode: str


def leaderboard(
    folders: Sequence[Path], output: Path, overwrite: bool = False, words: Sequence[str] = ()
) -> list[Entry]:
    """Write leaderboard.csv, .md and .html of evaluations into a folder; returns its entries.

    `words` say of each evaluation what, beside its seed, it was trained with. Raises InputError
    for a folder that holds no evaluation of this study, and OutputExistsError.
    """
    output = expanded(output)
    for ending in ("csv", "md", "html"):
        refuse_existing(output / f"leaderboard.{ending}", overwrite)
    runs = _read_runs(folders, words)
    entries = _entries_of(runs)
    tables = _score_tables(entries)
    page = leaderboard_page(tables, runs)
    make_folder(output)
    rows = [{name: getattr(entry, name) for name in _COLUMNS} for entry in entries]
    write_records(rows, output / "leaderboard.csv")
    lines = (line for each in tables.values() for line in each.markdown())
    write_text(output / "leaderboard.md", "\n".join(lines) + "\n")
    page.write(output / "leaderboard.html", overwrite)
    return entries


def _read_runs(folders: Sequence[Path], words: Sequence[str] = ()) -> list[Run]:
    """The evaluations in these folders; `words` as in `leaderboard`.

    Those of one method that differ in nothing but the seed have its name, others their words behind
    it. Where a seed comes twice they differ in more, and have their folders too.
    """
    found = [(expanded(folder), _summary(folder)) for folder in folders]
    given = Counter(folder.resolve() for folder, _ in found)
    if again := [folder for folder, count in given.items() if count > 1]:
        raise InputError(f"{again[0]} is given twice, and would count as two seeds: name it once.")
    kinds = [
        (_method(each), each["target"], each["mode"], each["table"]["sha256"]) for _, each in found
    ]
    told = [*zip_longest(kinds, words, fillvalue="")]
    several = Counter(kind for kind, _ in set(told))
    seeds = Counter((one, each["seed"]) for one, (_, each) in zip(told, found, strict=True))
    twice = {one for (one, _), count in seeds.items() if count > 1}
    places = Counter(folder.name for folder, _ in found)
    runs = []
    for one, (folder, each) in zip(told, found, strict=True):
        kind, said = one
        name = f"{kind[0]}, {said}" if said and several[kind] > 1 else str(kind[0])
        if one in twice:
            name += f" ({folder.name if places[folder.name] == 1 else folder})"
        runs.append(Run(folder, each, name))
    return runs


def _entries_of(runs: Iterable[Run]) -> list[Entry]:
    """The scores of evaluations, those of one method together."""
    scores: dict[tuple[str, ...], list[float]] = {}
    for run in runs:
        for task, measure, method, as_published, value in _scores(run):
            if value is not None:
                key = (task, measure, method, run.data, run.mode, as_published)
                scores.setdefault(key, []).append(float(value))
    known = published_scores()
    found = []
    for (task, measure, method, data, mode, named), values in sorted(scores.items()):
        asked = ("readout" if task == "in-sample" else task, measure, named)
        said = known.get(asked, "") if mode == "published" else ""
        place = {"task": task, "measure": measure, "method": method, "data": data, "mode": mode}
        found.append(Entry(**place, values=tuple(values), published=said))
    return found


def published_scores() -> dict[tuple[str, str, str], str]:
    """The published scores by task, measure and method, as text: each protocol with its sd."""
    path = files("encephalon.studies.microtomography.published").joinpath("scores.csv")
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in read_records(Path(str(path)))[1]:
        spread = f" ± {float(row['sd']):.3f}" if row["sd"] else ""
        words = f"{row['protocol']} {float(row['value']):.2f}{spread}"
        found.setdefault((row["task"], row["measure"], row["method"]), []).append(words)
    return {key: "; ".join(words) for key, words in found.items()}


def _summary(folder: Path) -> Mapping[str, Any]:
    run = Run(folder, read_summary(folder), "")
    try:
        _ = run.data, run.mode, run.seed, list(_scores(run))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{folder / 'summary.json'}: this is no evaluation of a model of tiles, or it was "
            "changed: leave it out, or evaluate the model again."
        ) from error
    return run.summary


def _method(summary: Mapping[str, Any]) -> str:
    return str(summary["network" if summary["target"] == "structure" else "method"])


def _scores(run: Run) -> Iterator[tuple[str, str, str, str, float | None]]:
    """Task, measure and method of each score, what the paper calls that method, and the value.

    The paper reads regions out of representations by a linear probe, and R2 in-sample.
    """
    summary, known_as = run.summary, _method(run.summary)
    if summary["target"] == "structure":
        if known_as == "published-unet":
            known_as = "unet-3d" if summary.get("spatial_dims") == 3 else "unet"
        for measure in MEASURES["structure"]:
            yield "structure", measure, run.method, known_as, summary["pooled"][measure]
    for each in summary["regions"]:
        how, learnt = each["how"], summary["target"] == "representation"
        in_paper = how == OWN or (how == "linear" and learnt)
        for measure in MEASURES["region"]:
            value = each["metrics"][measure]["value"]
            yield "region", measure, run.by(how), known_as if in_paper else "", value
    for each in summary["readouts"]:
        yield "readout", each["target"], run.method, "", each["r2"]["value"]
        yield "in-sample", each["target"], run.method, known_as, each["in_sample"]


def _score_tables(entries: Iterable[Entry]) -> dict[TableKey, ScoreTable]:
    """A table for each mode, task and table of tiles."""
    groups: dict[TableKey, list[Entry]] = {}
    for each in entries:
        groups.setdefault((each.mode, each.task, each.data), []).append(each)
    order = sorted(groups, key=lambda key: (key[0], list(TITLES).index(key[1]), key[2]))
    tables = {}
    for mode, task, data in order:
        title = f"{TITLES[task]} ({mode}, tiles {data})"
        headings = {name: _heading(name) for name in MEASURES[task]}
        tables[mode, task, data] = ScoreTable(title, headings, groups[mode, task, data])
    return tables


def _heading(measure: str) -> str:
    if is_feature(measure):
        return f"R², {feature_heading(measure).replace(', %', '')}"
    return HEADINGS.get(measure) or capitalised(measure.replace("_", " "))
