# SPDX-License-Identifier: Apache-2.0
"""`encephalon predict MODEL INPUT... -o OUT`, and `encephalon predict-bids`.

The latter has the order of every BIDS-App, BIDS_DIR OUT participant; what both say is the same.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from encephalon.cli import flags
from encephalon.cli.console import Console, error, table
from encephalon.errors import UsageError
from encephalon.inference.workers import SampleWorkers

if TYPE_CHECKING:
    from encephalon.api import Model, Predictions, Work
    from encephalon.inference.one_sample import Row
    from encephalon.inference.predictor import Prediction
    from encephalon.tables.samples import Sample

LEVELS = ("participant", "group")
_LABEL_FLAGS = ("--participant-label", "--session-label", "--session-id")
_FORESEEN = ("skipped", "to do")
_ORDER = ("ok", "done", "check", "skipped", "failed")

_log = logging.getLogger(__name__)


def predict(
    model: flags.Model,
    output: flags.Output,
    chosen: flags.Chosen,
    joined: flags.Joined,
    running: flags.Running,
    workers: SampleWorkers,
    console: Console,
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="INPUT",
            help="Image files, a folder of them, a DICOM folder, a table, or a BIDS dataset.",
            readable=False,  # one that is not fails alone, like every other bad file
        ),
    ] = None,
    more_inputs: flags.Inputs = None,
    report: flags.Report = True,
    dry_run: flags.DryRun = False,
    **options: Any,
) -> None:
    """Results lie on the grid of their input, each with a JSON sidecar; a folder also gets
    predictions.csv and report.html. A file that fails is named at the end, the others are done,
    and the exit code is 1.

    \b
    Example:
        encephalon predict brain-extraction scan.nii.gz -o masks
    """
    loading = {"model": model, **_who(workers), **running.loading(**options)}
    given = [*(more_inputs or []), *(inputs or [])]
    batch = {"inputs": given, "output": output, "overwrite": running.overwrite}
    batch |= chosen.words() | joined.words()
    _run(console, loading, batch, report=report, dry_run=dry_run)


def predict_bids(
    bids_dir: Annotated[Path, typer.Argument(metavar="BIDS_DIR", help="A BIDS dataset.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Where the derivatives go.")],
    level: Annotated[str, typer.Argument(metavar="LEVEL", help="participant, or group.")],
    chosen: flags.Chosen,
    running: flags.BidsRunning,
    workers: SampleWorkers,
    console: Console,
    model: flags.ModelOption = "brain-extraction",
    report: flags.Report = True,
    dry_run: flags.DryRun = False,
    **options: Any,
) -> None:
    """The level participant writes BIDS-derivatives: sub-01_desc-brain_mask.nii.gz with its JSON,
    and dataset_description.json; the level group, of all that is there, a table group_MODEL.tsv
    with its data dictionary, and one page.

    \b
    Examples:
        encephalon predict-bids /data/study /data/derivatives participant
        encephalon predict-bids /data/study /data/derivatives group
    """
    from encephalon.io.bids import is_bids

    if level not in LEVELS:
        raise UsageError(f"The analysis level must be participant or group, and got {level!r}.")
    if bids_dir.is_dir() and not is_bids(bids_dir):
        raise UsageError(f"{bids_dir} is no BIDS dataset: it has no dataset_description.json.")
    loading = {"model": model, **_who(workers), **running.loading(**options)}
    batch = {"inputs": [bids_dir], "output": output, "overwrite": running.overwrite}
    if level == "group":
        return _group(console, loading, output, report=report)
    return _run(console, loading, batch | chosen.words(), report=report, dry_run=dry_run)


def _group(console: Console, loading: Mapping[str, Any], output: Path, *, report: bool) -> None:
    from encephalon.api import load_model
    from encephalon.api.group import summarise_group

    written = flags.given(**vars(summarise_group(load_model(**loading), output, report=report)))
    console.result(written, "\n".join(f"{name}: {path}" for name, path in written.items()))


def _who(workers: SampleWorkers) -> dict[str, Any]:
    """Who does it, for `load_model`, where that is not this process alone."""
    return {"workers": workers} if workers.elsewhere else {}


def gather_labels(words: Sequence[str]) -> list[str]:
    """`--participant-label 01 02`, as BIDS-Apps are called, as `--participant-label 01,02`.

    Only after the analysis level: before it the words that follow may be folders.
    """
    found: list[str] = []
    gathering = False
    for word in words:
        if gathering and not word.startswith("-") and not found[-1].startswith("-"):
            found[-1] += f",{word}"
            continue
        if word.startswith("-"):
            gathering = word.replace("_", "-") in _LABEL_FLAGS and not {*LEVELS}.isdisjoint(found)
        found.append(word)
    return found


def _run(
    console: Console,
    loading: Mapping[str, Any],
    batch: Mapping[str, Any],
    *,
    report: bool,
    dry_run: bool,
) -> None:
    """Load the model, do the batch, say what came of it, and exit 1 if anything failed.

    `loading` are the arguments of `load_model`, `batch` those of `Model.plan`.
    """
    from encephalon.api import load_model

    model = load_model(**loading)
    told = [
        pair
        for name, value in model.describe().items()
        for pair in (value.items() if isinstance(value, Mapping) else [(name, value)])
    ]
    known = ((name, cell) for name, cell in told if cell not in (None, "", [], {}))
    words = (f"{name.replace('_', ' ')} {cell}" for name, cell in known)
    _log.info("model: %s", ", ".join(words))
    work = model.plan(**batch)
    if dry_run:
        _say_plan(console, work, model.preview(work))
    else:
        raise typer.Exit(do(console, model, work, report=report).exit_code)


def do(console: Console, model: Model, work: Work, *, report: bool = True) -> Predictions:
    """Do what was planned, a line a sample as soon as it is done, and say what came of it."""

    targets = list(model.describe().get("targets", ()))

    def tell(sample: Sample, row: Row, prediction: Prediction | None) -> None:
        del prediction
        if row.get("error"):
            return  # its sentence comes at the end
        words: list[Any] = [_status(row), sample.id]
        if "predicted" in row:
            said = row["predicted"]
            words += [f"{said} {row[f'p_{said}']:.3f}", row.get("light")]
        words += [f"{name} {_short(row[name])}" for name in targets if row.get(name) is not None]
        for name, value in row.items():
            if name.endswith("volume_ml"):
                kind = name.removesuffix("volume_ml").replace("_", " ")
                words.append(f"{value:.1f} {kind}mL")
        again = f"done again, since {row['again']} changed" if row.get("again") else None
        console.say("  ".join(str(word) for word in (*words, row.get("reasons"), again) if word))

    with console.progress(len(work.samples), model.name) as advance:
        result = model.run(work, report=report, progress=advance, on_result=tell)
    _say_result(console, model, work, result)
    return result


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _status(row: Row) -> str:
    """What became of a sample in a word: skipped, or its quality."""
    return "skipped" if row.get("status") == "skipped" else str(row.get("quality") or "done")


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
    present = flags.given(table=work.layout.table, report=result.report)
    if console.as_json:
        console.result(
            {"model": model.describe(), "rows": result.rows, "failures": failures, **present}, ""
        )
    for failure in failures:
        error(failure["message"])
    counts = Counter(_status(row) for row in result.rows if not row.get("error"))
    counts["failed"] = sum(one.of_sample for one in result.failures)
    said = {"check": "to check"}
    parts = [f"{counts[word]} {said.get(word, word)}" for word in _ORDER if counts[word]]
    noun = "sample" if len(work.samples) == 1 else "samples"
    console.say(f"{len(work.samples)} {noun}: {', '.join(parts)}")
    if chosen := (model.describe().get("model") or {}).get("chosen"):
        console.say(f"model: {chosen['note']}")
    classes = Counter(str(row["predicted"]) for row in result.rows if "predicted" in row)
    if classes:
        console.say(f"classes: {', '.join(f'{count} {name}' for name, count in classes.items())}")
    for name, path in present.items():
        console.say(f"{name}: {path}")
    if not present and not failures:
        for key, path in work.layout.files.items():
            console.say(f"written: {path} ({key})")
