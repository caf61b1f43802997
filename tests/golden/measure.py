# SPDX-License-Identifier: Apache-2.0
"""Measures what golden.json records, by the public names alone.

As a program it writes that file again, from the folder of real scans:
`python -m tests.golden.measure DATA tests/golden/golden.json`.
"""

from __future__ import annotations

import csv
import json
import math
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import encephalon
from encephalon.cli.main import main

Facts = dict[str, Any]

SCANS = ("pumi/sub-001_T1w.nii.gz", "hippodeep/example_brain_t1.nii.gz")
#: Where distances are read: shares of the grid along each axis.
PLACES = ((0.5, 0.5, 0.5), *product((0.35, 0.65), repeat=3))
CPU: dict[str, Any] = {"device": "cpu", "threads": 2}
MICROGRAPHS = {
    "study.size": "32",
    "study.folds": "3",
    "study.levels": '["vessel"]',
    "study.baselines": '["texture", "covariates"]',
    "network.options.widths": "[4, 4, 8, 8]",
    "network.options.hidden": "8",
    "network.options.dropout": "0.1",
    "training.epochs": "3",
    "training.steps_per_epoch": "6",
    "training.batch_size": "6",
    "training.warmup_steps": "0",
    "training.ema": "0.5",
    "training.learning_rate": "1e-2",
}
RENAMED = ("Class=class", "Sex=sex", "Region=region", "Animal=animal", "Vessel=vessel")


def mask_facts(model: encephalon.Model, scan: Path) -> Facts:
    """Volume and centroid of the mask, distances at fixed places and their percentiles in it."""
    prediction = model.predict(scan)
    mask, distance = prediction.images["mask"], prediction.images["distance"].data
    inside = np.argwhere(mask.data > 0)
    affine = encephalon.read_image(scan).affine.matrix
    shape = mask.data.shape
    places = [tuple(int(share * n) for share, n in zip(p, shape, strict=True)) for p in PLACES]
    assert prediction.quality is not None
    return {
        "shape": list(shape),
        "quality": prediction.quality.status,
        "volume_ml": prediction.values["volume_ml"],
        "agreement_mirror": prediction.values["agreement_mirror"],
        "agreement_turn": prediction.values["agreement_turn"],
        "slope_error": prediction.values["slope_error"],
        "centroid_mm": (affine[:3, :3] @ inside.mean(axis=0) + affine[:3, 3]).tolist(),
        "distances_mm": [float(distance[place]) for place in places],
        "percentiles_mm": np.percentile(distance[mask.data > 0], [5, 25, 50, 75, 95]).tolist(),
    }


def weights_of(model: encephalon.Model) -> Facts:
    """How much a model holds, and under which names its weights begin and end."""
    tensors = encephalon.find_model(model.name).tensors()
    names = sorted(tensors)
    count = sum(math.prod(tensor.shape) for tensor in tensors.values())
    return {"tensors": len(names), "weights": count, "first": names[0], "last": names[-1]}


def isotropic_facts(data: Path) -> Facts:
    """A real thick T2w and its T1w: values, and percentiles of both results."""
    anat = data / "heads" / "ds000011" / "sub-08" / "anat"
    model = encephalon.load_model("isotropic", spacing=2.5, thickness=4.0, gap=1.0, **CPU)
    prediction = model.predict(anat / "sub-08_inplaneT2.nii.gz", t1w=anat / "sub-08_T1w.nii.gz")
    images = {role: image.data for role, image in prediction.images.items()}
    centre = tuple(n // 2 for n in images["t2w"].shape)
    shares = [1, 5, 25, 50, 75, 95, 99]
    assert prediction.quality is not None
    return {
        "shape": list(images["t2w"].shape),
        "quality": prediction.quality.status,
        "values": prediction.values,
        **{role: np.percentile(image, shares).tolist() for role, image in images.items()},
        "profile": images["t2w"][centre[0], centre[1], ::6].tolist(),
    }


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def keys_of(value: Any, prefix: str = "") -> Iterator[str]:
    """Dotted keys of a summary; of a list those of what comes first."""
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, dict):
        for key, item in value.items():
            yield prefix + key
            yield from keys_of(item, f"{prefix}{key}.")


def structure(summary: Any) -> Facts:
    """The keys of two levels in order, and every word that is a key at any depth."""
    keys = list(keys_of(summary))
    words = sorted({word for key in keys for word in key.split(".")})
    return {"keys": [key for key in keys if key.count(".") < 2], "words": words}


def scored(folder: Path, texts: int) -> Facts:
    """Of an evaluation: columns, the first `texts` ones of each row, and the numbers behind them.

    Without the seconds, which are never the same.
    """
    rows = rows_of(folder / "scores.csv")
    columns = [name for name in rows[0] if name != "seconds"]
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return {
        "columns": columns,
        "rows": [[row[name] for name in columns[:texts]] for row in rows],
        "numbers": {
            name: [float(row[name]) if row[name] else None for row in rows]
            for name in columns[texts:]
        },
        "summary": structure({k: v for k, v in summary.items() if k != "model"}),
    }


def mask_scores(data: Path, folder: Path) -> Facts:
    """The shipped model against the mask that comes with a FLAIR."""
    scans = data / "heads" / "openms-patient01"
    files = f"{scans}/study1_FLAIR.nii.gz,{scans}/derived_brainmask_FLAIR.nii.gz"
    (folder / "heads.csv").write_text(f"id,image,labels,group\nFLAIR,{files},p\n")
    encephalon.evaluate("brain-extraction", folder / "heads.csv", folder / "scores", **CPU)
    return scored(folder / "scores", 4)


def tissue(shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """0 outside, then scalp, fluid, cortex and white matter as 1 to 4, in folded shells."""
    axes = np.meshgrid(*[np.linspace(-1.1, 1.1, n) for n in shape], indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    radius = radius + 0.05 * np.sin(9 * axes[0]) * np.cos(11 * axes[2])
    return np.asarray(np.digitize(-radius, [-1.0, -0.85, -0.75, -0.55]), float)


def isotropic_scores(folder: Path) -> Facts:
    """Every method on thick slices of a made-up head of two contrasts."""
    kinds = tissue((36, 40, 32)).astype(int)
    affine = encephalon.Affine.from_spacing((1.0, 1.0, 1.0))
    for role, levels in (("t2w", [0, 150, 900, 500, 350]), ("t1w", [0, 700, 200, 550, 800])):
        image = np.asarray(levels, np.float32)[kinds]
        like = encephalon.Image(image, affine)
        encephalon.write_image(image, folder / f"{role}.nii.gz", like)
    (folder / "pairs.csv").write_text("id,t2w,t1w,group\na,t2w.nii.gz,t1w.nii.gz,a\n")
    options = {"axes": "axial", "thicknesses": "4", "bare": "true", **CPU}
    encephalon.evaluate("isotropic", folder / "pairs.csv", folder / "scores", **options)
    return scored(folder / "scores", 7)


def micrographs(folder: Path, name: str, animals: int, seed: int) -> Path:
    """Made-up micrographs, three an animal, and their table."""
    size = ("--animals", str(animals), "--images", "3", "--size", "64", "--seed", str(seed), "-q")
    assert main(["simulate", "micrographs", "-o", str(folder / name), *size]) == 0
    table, sheet = folder / name / "table.csv", folder / name / "sheet.csv"
    rename = [word for pair in RENAMED for word in ("--rename", pair)]
    rule = ("--id", "Image ID", "--id-rule", "before-underscore", *rename, "-q")
    words = ("table", "images", folder / name, sheet, "-o", table, *rule)
    assert main([str(word) for word in words]) == 0
    return table


def run_facts(folder: Path) -> Facts:
    """A small cross-validation of micrographs: who was in which fold, and how it was scored."""
    table, run = micrographs(folder, "trial", 10, 0), folder / "run"
    options: dict[str, Any] = {"device": "cpu", "threads": 1, "workers": 1}
    encephalon.train("micrographs", table, run, overrides=MICROGRAPHS, **options)
    rows = rows_of(run / "evaluation" / "predictions.csv")
    validation = rows_of(run / "evaluation" / "validation.csv")
    thresholds = rows_of(run / "evaluation" / "thresholds.csv")
    summary = json.loads((run / "evaluation" / "summary.json").read_text(encoding="utf-8"))
    new = micrographs(folder, "new", 4, 7)
    encephalon.predict(run, [new], folder / "predicted", report=False, **CPU)
    predicted = rows_of(folder / "predicted" / "predictions.csv")
    return {
        "columns": list(rows[0]),
        "tested": [[row["id"], row["fold"], row["class"], row["animal"]] for row in rows],
        "validated": [[row["id"], row["fold"]] for row in validation],
        "threshold_columns": list(thresholds[0]),
        "pairs_tried": [[row["fold"], row["green"], row["amber"]] for row in thresholds[::20]],
        "summary": structure(summary),
        "p_aged": [float(row["p_Aged"]) for row in rows],
        "figures": {k: v["value"] for k, v in summary["model"]["figures"].items()},
        "baselines": {
            name: found["figures"]["roc_auc"]["value"]
            for name, found in summary["baselines"].items()
        },
        "predicted_columns": list(predicted[0]),
        "predicted_p_aged": [float(row["p_Aged"]) for row in predicted],
    }


def moved_volume(data: Path) -> float:
    """mL of the first head's mask, its border 2 mm outwards and without the fluid."""
    model = encephalon.load_model("brain-extraction", border=2.0, csf=False, **CPU)
    return float(str(model.predict(data / "heads" / SCANS[0]).values["volume_ml"]))


def masks(data: Path) -> Facts:
    """The shipped brain extraction on two whole heads, and with other options on one."""
    model = encephalon.load_model("brain-extraction", save="mask,distance", **CPU)
    facts: Facts = {scan: mask_facts(model, data / "heads" / scan) for scan in SCANS}
    return {**facts, "border 2, no CSF": moved_volume(data)}


def packaged() -> Facts:
    """Tensors of the two models that ship."""
    names = ("brain-extraction", "isotropic")
    return {name: weights_of(encephalon.load_model(name, **CPU)) for name in names}


def everything(data: Path) -> Facts:
    """All of golden.json."""
    found: Facts = {"packaged": packaged(), "masks": masks(data)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found["mask_scores"] = mask_scores(data, folder)
        found["micrographs"] = run_facts(folder)
    with tempfile.TemporaryDirectory() as name:
        found["isotropic_scores"] = isotropic_scores(Path(name))
    return {**found, "isotropic": isotropic_facts(data)}


def line_of(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    parts = [
        f"{line_of(part)}: {{\n  "
        + ",\n  ".join(f"{line_of(name)}: {line_of(value)}" for name, value in facts.items())
        + "\n}"
        for part, facts in everything(Path(sys.argv[1]).resolve()).items()
    ]
    Path(sys.argv[2]).write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")
