# SPDX-License-Identifier: Apache-2.0
"""Put a trained model into the package: its weights and graph, its card and its figures.

    python tools/package_model.py RUN --card tools/cards/NAME.toml --scores EVALUATION/summary.json
    python tools/package_model.py src/encephalon/models/packaged/NAME --card tools/cards/NAME.toml

RUN is the folder of `encephalon train`; the summary is what `encephalon evaluate` wrote. The result
is src/encephalon/models/packaged/NAME, or `-o FOLDER` for a model that is not to ship. Of a model
that is there already, the second alone changes what its card says, and what `[study]` of the card
sets: calibration after the training.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from encephalon.errors import EncephalonError, ModelError, listed
from encephalon.io.atomic import refuse_foreign
from encephalon.io.text import parse_toml, read_json, read_text
from encephalon.models.files import packaged_folder
from encephalon.models.folder import DESCRIPTION, open_model, save_model

#: What of a metric's summary goes into the card.
SHOWN = (
    *("n", "median", "mean", "minimum", "maximum", "f1", "low", "high", "iou"),
    *("median_interval", "mean_interval"),
)
#: What a card must have.
WORDS = ("version", "licence", "citation", "card")


def main() -> None:
    """Read the arguments, and write the model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--card", type=Path, required=True)
    parser.add_argument("--scores", type=Path)
    parser.add_argument("--calibration", type=Path, help="TOML whose [study] is set as well")
    parser.add_argument("-o", "--output", type=Path, help="a model folder of its own")
    asked = parser.parse_args()
    print(package(asked.run, asked.card, asked.scores, asked.calibration, asked.output))


def package(
    run: Path,
    card: Path,
    scores: Path | None = None,
    calibration: Path | None = None,
    output: Path | None = None,
) -> Path:
    """Write the model of the run into the package, or to `output`, and return its folder.

    Raises InputError for a file that is not there or cannot be read, ModelError for a folder
    without a model and a card that lacks something, and OutputExistsError for a folder of other
    data.
    """
    model = open_model(run / "model" if (run / "model").is_dir() else run)
    words = parse_toml(read_text(card), card)
    if lacking := [key for key in WORDS if key not in words]:
        raise ModelError(f"{card}: lacks {listed(lacking)}: a card has {listed(WORDS)}.")
    figures = dict(model.description.scores)
    if scores is not None:
        figures |= _figures(read_json(scores))
    recipe = model.description.recipe
    fitted = parse_toml(read_text(calibration), calibration) if calibration else {}
    study = {**recipe["study"], **words.get("study", {}), **fitted.get("study", {})}
    description = replace(
        model.description,
        version=words["version"],
        licence=words["licence"],
        citation=words["citation"],
        card={key: " ".join(text.split()) for key, text in words["card"].items()},
        scores=figures,
        recipe={**recipe, "study": study},
    )
    target = output or packaged_folder() / description.name
    refuse_foreign(target, "model", (DESCRIPTION,))
    graph = model.graph.read() if model.graph else None
    save_model(target, description, model.tensors(), graph, overwrite=True)
    return target


def _figures(summary: dict[str, Any]) -> dict[str, Any]:
    """Metric by metric, the few numbers that the card shows."""
    return {
        name: {key: value[key] for key in SHOWN if key in value and _known(value[key])}
        for name, value in summary["overall"].items()
    }


def _known(value: Any) -> bool:
    """Whether this is a number, or an interval that could be told."""
    return not isinstance(value, dict) or value.get("low") is not None


if __name__ == "__main__":
    try:
        main()
    except EncephalonError as error:
        sys.exit(f"error: {error}")
