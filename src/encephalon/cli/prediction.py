# SPDX-License-Identifier: Apache-2.0
"""What `predict` and `predict-bids` do with their flags, and what they say about it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from encephalon.cli.console import Console, error, table

if TYPE_CHECKING:
    from encephalon.api import Model, Predictions, Work
    from encephalon.inference.batch import Row
    from encephalon.inference.predictor import Prediction
    from encephalon.tables.sample import Sample

_log = logging.getLogger(__name__)

_WORDS = {"check": "to check"}
_FORESEEN = ("skipped", "to do")
_ORDER = ("ok", "done", "check", "skipped", "failed")


def run(
    console: Console,
    loading: Mapping[str, Any],
    batch: Mapping[str, Any],
    *,
    report: bool = True,
    dry_run: bool = False,
) -> None:
    """Load the model, do the batch, say what came of it, and exit 1 if anything failed.

    `loading` are the arguments of `load_model`, `batch` those of `Model.plan`.
    """
    from encephalon.api import load_model

    model = load_model(**loading)
    _log.info("model: %s", _in_words(model.describe()))
    work = model.plan(**batch)
    if dry_run:
        _say_plan(console, work, model.preview(work))
        return
    raise typer.Exit(do(console, model, work, report=report).exit_code)


def _in_words(about: Mapping[str, Any]) -> str:
    """What a predictor says of itself, as one line; what is empty is left out."""
    told = [
        pair
        for name, value in about.items()
        for pair in (value.items() if isinstance(value, Mapping) else [(name, value)])
    ]
    known = ((name, cell) for name, cell in told if cell not in (None, "", [], {}))
    return ", ".join(f"{name.replace('_', ' ')} {cell}" for name, cell in known)


def do(console: Console, model: Model, work: Work, *, report: bool = True) -> Predictions:
    """Do what was planned, and say what came of it."""
    with console.progress(len(work.samples), model.name) as advance:
        result = model.run(work, report=report, progress=advance, on_result=_teller(console))
    _say_result(console, model, work, result)
    return result


def _teller(console: Console) -> Any:
    """A line a sample, as soon as it is done."""

    def tell(sample: Sample, row: Row, prediction: Prediction | None) -> None:
        del prediction
        if row.get("error"):
            return  # its sentence comes at the end
        numbers = [f"{value:.1f} {name}" for name, value in _volumes(row)]
        again = f"done again, since {row['again']} changed" if row.get("again") else None
        words = [_status(row), sample.id, _class(row), *numbers, row.get("reasons"), again]
        console.say("  ".join(str(word) for word in words if word))

    return tell


def _status(row: Row) -> str:
    """What became of a sample in a word: skipped, or its quality."""
    return "skipped" if row.get("status") == "skipped" else str(row.get("quality") or "done")


def _class(row: Row) -> str | None:
    """The class that was predicted, its probability and its light, where there are such."""
    if "predicted" not in row:
        return None
    said = row["predicted"]
    return "  ".join(
        [f"{said} {row[f'p_{said}']:.3f}", *([row["light"]] if "light" in row else [])]
    )


def _volumes(row: Row) -> list[tuple[str, float]]:
    """The values in mL, for people: `volume_ml` is said as "mL"."""
    found = [(name, value) for name, value in row.items() if name.endswith("volume_ml")]
    return [(name.removesuffix("volume_ml").replace("_", " ") + "mL", v) for name, v in found]


def _say_plan(console: Console, work: Work, preview: list[str]) -> None:
    rows: list[dict[str, Any]] = [
        {
            "id": one.sample.id,
            "inputs": {role: str(path) for role, path in one.sample.inputs.items()},
            "outputs": {key: str(path) for key, path in one.images.items()},
            "status": words if words.startswith(_FORESEEN) else "failed",
            "problem": None if words.startswith(_FORESEEN) else words,
            "absent": dict(one.sample.absent),
        }
        for one, words in zip(work.planned, preview, strict=True)
    ]
    shown = [
        {
            "id": row["id"],
            "input": " ".join(row["inputs"].values()),
            "outputs": row["problem"] or " ".join(row["outputs"].values()),
            **({"absent": " ".join(row["absent"])} if any(one["absent"] for one in rows) else {}),
            "status": row["status"],
        }
        for row in rows
    ]
    console.result({"planned": rows}, lambda: table(shown))
    if any(row["problem"] for row in rows):
        raise typer.Exit(1)


def _say_result(console: Console, model: Model, work: Work, result: Predictions) -> None:
    failures = [{"id": one.id, "message": one.message} for one in result.failures]
    places = {"table": work.layout.table, "report": result.report}
    present = {name: path for name, path in places.items() if path is not None}
    if console.as_json:
        console.result(
            {"model": model.describe(), "rows": result.rows, "failures": failures, **present}, ""
        )
    for failure in failures:
        error(failure["message"])
    counts = Counter(_status(row) for row in result.rows if not row.get("error"))
    counts["failed"] = sum(one.of_sample for one in result.failures)
    parts = [f"{counts[word]} {_WORDS.get(word, word)}" for word in _ORDER if counts[word]]
    console.say(f"{len(work.samples)} in all: {', '.join(parts)}")
    classes = Counter(str(row["predicted"]) for row in result.rows if "predicted" in row)
    if classes:
        console.say(f"classes: {', '.join(f'{count} {name}' for name, count in classes.items())}")
    for name, path in present.items():
        console.say(f"{name}: {path}")
    if not present and work.layout.file is not None and not failures:
        console.say(f"written: {Path(work.layout.file)}")
