# SPDX-License-Identifier: Apache-2.0
"""The JSON beside every image: what it is, from what, by what, how long it took, how good it is."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.inference.predictor import OutputKind, Prediction

if TYPE_CHECKING:
    from encephalon.tables.samples import Sample

__all__ = ["BYTES", "FINGERPRINT", "MAKER", "generated_by", "model_facts", "sidecar", "sources"]

MAKER = "Encephalon"
FINGERPRINT, BYTES = "Fingerprint", "Sha256"
"""What the result depends on, and the sha256 of the image: by these a later run knows its own."""

# What BIDS calls the content of these suffixes ("Type" of derived masks).
_TYPES = {"brain": "Brain", "meningioma": "Lesion"}


def sidecar(
    sample: Sample,
    kind: OutputKind,
    prediction: Prediction,
    description: Mapping[str, Any],
    seconds: float,
) -> dict[str, Any]:
    """Return what the JSON beside one image says; keys as BIDS derivatives spell them.

    `description` is `Predictor.describe()`; `seconds` is reading and computing, wall time.
    """
    record: dict[str, Any] = {"Id": sample.id, "Sources": sources(sample)}
    if kind.description:
        record["Description"] = kind.description
    if kind.suffix == "mask" and kind.desc in _TYPES:
        record["Type"] = _TYPES[kind.desc]
    quality = prediction.quality
    settings = {key: value for key, value in description.items() if key != "model"}
    if kind.skull_stripped is not None:
        record["SkullStripped"] = kind.skull_stripped
    if sample.bids is not None:  # the world that the coordinates are of: that of the scan
        record["SpatialReference"] = record["Sources"][0]
    record |= {
        "Model": model_facts(description),
        "Settings": settings,
        "Values": dict(prediction.values),
        "Quality": {
            "Status": quality.status if quality else "unknown",
            "Reasons": list(quality.reasons) if quality else [],
        },
        "Seconds": round(seconds, 3),
        "GeneratedBy": generated_by(),
    }
    return record


def sources(sample: Sample) -> list[str]:
    """Return the files that a sample was read from: BIDS addresses, or paths as they were given."""
    if sample.bids is None:
        return [Path(path).as_posix() for path in sample.inputs.values()]
    subject = sample.bids.entities.get("sub", "")
    return [_bids_address(Path(path), subject) for path in sample.inputs.values()]


def model_facts(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `Predictor.describe` says of the model itself."""
    return dict(description.get("model") or {})


def generated_by() -> list[dict[str, Any]]:
    """Return the entry of GeneratedBy that names this program."""
    from encephalon import __version__

    return [
        {
            "Name": MAKER,
            "Version": __version__,
            "Description": f"Python {platform.python_version()}",
            "CodeURL": f"pkg:generic/encephalon@{__version__}",
        }
    ]


def _bids_address(path: Path, subject: str) -> str:
    # From the subject's folder on; the folders above it are nobody else's business.
    parts = path.parts
    first = max((n for n, part in enumerate(parts) if part == f"sub-{subject}"), default=-1)
    return "bids:raw:" + "/".join(parts[first:])
