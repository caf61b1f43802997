# SPDX-License-Identifier: Apache-2.0
"""A leaderboard: evaluations of many models, over their seeds, beside the published numbers.

Modes are never mixed: what was scored by the published rules has its own tables, and only there do
the published numbers stand beside it. Nor are tables of other tiles: each has its own rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from encephalon.errors import InputError, MissingFileError
from encephalon.io.atomic import make_folder, refuse_existing, write_text
from encephalon.io.files import expanded, is_file
from encephalon.io.text import read_json, read_records, write_records
from encephalon.reports.blocks import note, table
from encephalon.reports.page import Page

__all__ = ["Entry", "leaderboard", "published_scores", "read_entries"]

#: Task, measure, method, data and mode of an entry.
Key = tuple[str, str, str, str, str]
#: Bytes; a summary of an evaluation has some kilobytes.
LARGEST = 64 << 20
TITLES = {
    "region": "Task 1: regions",
    "structure": "Task 2: structures",
    "readout": "Task 3: read-out",
}
#: Measures of each task that a leaderboard shows, the main one first.
MEASURES = {
    "region": ("accuracy", "balanced_accuracy"),
    "structure": ("f1", "iou", "f1_per_tile", "iou_per_tile", "balanced_accuracy"),
    "readout": ("percent_vessel", "percent_axon", "cell_count", "cell_size", "cell_nearest"),
}


@dataclass(frozen=True)
class Entry:
    """One score of one method: the mean over seeds.

    task, measure  what was measured; a read-out's measure is the feature, and its value R2
    method         how the model was trained, and for probes how it was read
    data           the table of tiles, by the first digits of its SHA-256
    mode           "default" or "published"
    sd             standard deviation over `seeds`; None for one
    published      mean and sd of the paper, where there is one, as text
    """

    task: str
    measure: str
    method: str
    data: str
    mode: str
    value: float
    sd: float | None
    seeds: int
    published: str = ""


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
    entries = read_entries(folders, words)
    make_folder(output)
    write_records([asdict(entry) for entry in entries], output / "leaderboard.csv")
    write_text(output / "leaderboard.md", "\n".join(_markdown(entries)) + "\n")
    _page(entries, len(folders)).write(output / "leaderboard.html", overwrite)
    return entries


def read_entries(folders: Sequence[Path], words: Sequence[str] = ()) -> list[Entry]:
    """The scores of evaluations, those that differ in nothing but the seed together."""
    scores: dict[Key, dict[str, list[float]]] = {}
    for folder, said in zip_longest(folders, words, fillvalue=""):
        for key, value in _scores(_summary(Path(folder))):
            scores.setdefault(key, {}).setdefault(said, []).append(value)
    known = published_scores()
    found = []
    for (task, measure, method, data, mode), trained in sorted(scores.items()):
        for said, values in trained.items():
            name = f"{method}, {said}" if len(trained) > 1 else method
            spread = stdev(values) if len(values) > 1 else None
            # The published R2 of a read-out is in-sample, that of a region by classes or probe.
            paper = known.get((task, measure, method.split(",")[0]), "")
            paper = paper if mode == "published" else ""
            entry = Entry(task, measure, name, data, mode, mean(values), spread, len(values), paper)
            found.append(entry)
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
    path = expanded(folder) / "summary.json"
    if not is_file(path):
        raise MissingFileError(
            f"{folder}: there is no summary.json: give folders that  encephalon evaluate  wrote."
        )
    found: Any = read_json(path, LARGEST)
    if not isinstance(found, dict) or not {"method", "target", "regions", "table"} <= set(found):
        raise InputError(f"{path}: this is no evaluation of a model of tiles: leave it out.")
    return found


def _scores(summary: Mapping[str, Any]) -> Iterator[tuple[Key, float]]:
    """Task, measure, method, data and mode of each score, and its value."""
    data, mode = str(summary["table"]["sha256"])[:8], str(summary["mode"])
    name = str(summary["method"])
    if summary["target"] == "structure":
        name = str(summary["network"])
        for measure in MEASURES["structure"]:
            yield ("structure", measure, name, data, mode), float(summary["pooled"][measure])
    for each in summary["regions"]:
        method = name if each["how"] == "its own classes" else f"{name}, {each['how']} probe"
        for measure in MEASURES["region"]:
            yield ("region", measure, method, data, mode), float(each["metrics"][measure]["value"])
    for each in summary["readouts"]:
        held_out = each["r2"]["value"]
        if held_out is not None:
            yield ("readout", each["target"], name, data, mode), float(held_out)
        method = f"{name}, in-sample"
        yield ("readout", each["target"], method, data, mode), float(each["in_sample"])


def _blocks(entries: Sequence[Entry]) -> Iterator[tuple[str, list[str], list[dict[str, Any]]]]:
    """A title, columns and rows for each mode, task and table of tiles."""
    keys = sorted({(each.mode, list(TITLES).index(each.task), each.data) for each in entries})
    for mode, number, data in keys:
        task = list(TITLES)[number]
        mine = [each for each in entries if (each.mode, each.task, each.data) == (mode, task, data)]
        measures = [name for name in MEASURES[task] if any(each.measure == name for each in mine)]
        rows = []
        for method in sorted({each.method for each in mine}):
            found = {each.measure: each for each in mine if each.method == method}
            row: dict[str, Any] = {"method": method}
            row |= {name: _words(found[name]) for name in measures if name in found}
            row["seeds"] = max(each.seeds for each in found.values())
            known = {name: found[name].published for name in measures if name in found}
            row["published"] = "; ".join(f"{name}: {said}" for name, said in known.items() if said)
            rows.append(row)
        columns = ["method", *measures, "seeds"]
        columns += ["published"] if any(row["published"] for row in rows) else []
        yield f"{TITLES[task]} ({mode}, tiles {data})", columns, rows


def _words(entry: Entry) -> str:
    spread = "" if entry.sd is None else f" ± {entry.sd:.3f}"
    return f"{entry.value:.3f}{spread}"


def _markdown(entries: Sequence[Entry]) -> Iterable[str]:
    for title, columns, rows in _blocks(entries):
        yield f"## {title}\n"
        yield f"| {' | '.join(columns)} |"
        yield f"|{'---|' * len(columns)}"
        for row in rows:
            yield f"| {' | '.join(str(row.get(name, '')) for name in columns)} |"
        yield ""


def _page(entries: Sequence[Entry], count: int) -> Page:
    page = Page("Leaderboard", lead=f"{count} evaluations; mean and standard deviation over seeds.")
    for title, columns, rows in _blocks(entries):
        page.section(title, table(columns, rows))
    return page.add(
        note(
            "A read-out is R2 on tiles that were never fitted; in-sample R2, as published, is "
            "called so. Modes are never mixed."
        )
    )
