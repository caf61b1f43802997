# SPDX-License-Identifier: Apache-2.0
"""Model folders as others keep them: a repository of the Hugging Face Hub, and a bundle of MONAI.

Both have `configs/metadata.json` by MONAI's schema. A folder for the Hub is a model folder that
begins its card with the Hub's fields. A bundle has the layout of MONAI's specification
(https://docs.monai.io/en/stable/mb_specification.html): its `models/model.pt` are tensors alone,
and `configs/model.toml` says what made them. Its `configs/inference.json` runs in MONAI, by this
package; here it is written and compared, and never run.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from encephalon import __version__
from encephalon.errors import EncephalonError, ModelError, OutputError, listed, require_extra
from encephalon.io.atomic import locked, make_folder, remove, sha256, write_json
from encephalon.io.files import is_file
from encephalon.io.text import read_json
from encephalon.models import files
from encephalon.models.card import CARD_SECTIONS, UNKNOWN, figures_of, render_card
from encephalon.models.description import ModelDescription, dump_description, parse_description
from encephalon.models.files import digest, read_compared
from encephalon.models.folder import CARD, DESCRIPTION, ModelFolder, open_model, save_model
from encephalon.models.weights import read_state_dict

METADATA = "configs/metadata.json"
INFERENCE = "configs/inference.json"
FOLDERS = ("configs", "docs", "models")
"""The folders of a bundle; a repository of the Hub has the first."""
SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    "meta_schema_20240725.json"
)
_TOML, _CARD = "configs/model.toml", "docs/README.md"
_TENSORS, _GRAPH = "models/model.pt", "models/model.onnx"
_CONFIGURATION = {
    "imports": ["$import encephalon", "$from pathlib import Path"],
    "bundle_root": ".",
    "dataset_dir": "$@bundle_root + '/data'",
    "output_dir": "$@bundle_root + '/eval'",
    "device": "auto",
    "options": {},
    "network_def": "$encephalon.load_model(Path(@bundle_root)).torch_network()",
    "predictions": (
        "$encephalon.predict(Path(@bundle_root), @dataset_dir, @output_dir, device=@device, "
        "**@options)"
    ),
    "run": ["$@predictions.raise_failures()"],
}
"""What MONAI runs: preprocessing, network and all that follows are those of `encephalon predict`.

`dataset_dir` is whatever `predict` takes: an image, a folder of them, a table, a BIDS dataset.
"""
_LARGEST_METADATA = 1 << 22
_LARGEST = 1 << 30
_LONGEST_VALUE = 80
"""Characters of a setting in a message."""
_SAID = "the metadata of a bundle"
_KEPT = ".bundle-"
"""How the names of the model folders begin that were made of bundles."""
_UNUSED = 30 * 24 * 3600.0
"""Seconds after which one of them that was not used is removed: our choice."""
_SMALL = 64
"""Voxels along each axis of an image that tells how many channels come out."""
_TYPES = {"tensor(float)": "float32", "tensor(int64)": "int64", "tensor(uint8)": "uint8"}
_log = logging.getLogger(__name__)


def write_hub_folder(model: ModelFolder, folder: Path) -> None:
    """Write what uploads to the Hub as it is into `folder`, which is empty.

    The files are those of the model, byte for byte; a card that was made before cards began with
    the Hub's fields is made anew.
    """
    about = model.description
    for name in about.files:
        (folder / name).write_bytes((model.path / name).read_bytes())
    description = (model.path / DESCRIPTION).read_bytes()
    if not (is_file(folder / CARD) and (folder / CARD).read_bytes().startswith(b"---\n")):
        (folder / CARD).write_text(render_card(about), encoding="utf-8")
        about = replace(about, files={**about.files, CARD: sha256(folder / CARD)})
        description = dump_description(about).encode()
    (folder / DESCRIPTION).write_bytes(description)
    make_folder(folder / "configs")
    write_json(folder / METADATA, metadata(model))


def write_bundle(model: ModelFolder, folder: Path) -> None:
    """Write a bundle of MONAI into `folder`, which is empty.

    A model without weights, which has a graph alone, has no `models/model.pt`.
    Raises MissingExtraError without torch.
    """
    for name in FOLDERS:
        make_folder(folder / name)
    (folder / _TOML).write_bytes((model.path / DESCRIPTION).read_bytes())
    if CARD in model.description.files:
        (folder / _CARD).write_bytes((model.path / CARD).read_bytes())
    if model.weights is not None:
        _save_tensors(model.tensors(), folder / _TENSORS)
    if model.graph is not None:
        (folder / _GRAPH).write_bytes(model.graph.read())
    written = [name for name in (_TOML, _TENSORS, _GRAPH, _CARD) if is_file(folder / name)]
    digests = {name: sha256(folder / name) for name in written}
    write_json(folder / METADATA, metadata(model) | {"encephalon_files": digests})
    write_json(folder / INFERENCE, _configuration(model))


def _configuration(model: ModelFolder) -> dict[str, Any]:
    """What MONAI runs of a model; without weights there is no network to give it."""
    return {
        key: value
        for key, value in _CONFIGURATION.items()
        if key != "network_def" or model.weights is not None
    }


def check_configuration(model: ModelFolder, folder: Path) -> None:
    """Raise ModelError unless MONAI would run of the bundle `folder` what an export writes."""
    try:
        found = read_json(folder / INFERENCE, _LARGEST_METADATA)
    except EncephalonError as error:
        raise ModelError(str(error)) from error
    if not isinstance(found, dict):
        raise ModelError(
            f"{folder / INFERENCE}: expected settings by name, got {_shown(found)}: export the "
            "model again."
        )
    expected = _configuration(model)
    faults = [f"missing {key!r}" for key in expected if key not in found]
    faults += [f"unexpected {key!r}" for key in found if key not in expected]
    faults += [
        f"{key!r} is {_shown(found[key])} instead of {_shown(value)}"
        for key, value in expected.items()
        if key in found and found[key] != value
    ]
    if faults:
        raise ModelError(
            f"{folder / INFERENCE}: MONAI would run something else than this version exports "
            f"({listed(faults, 3, '; ')}): export the model again, unless you changed it yourself."
        )


def _shown(value: Any) -> str:
    words = json.dumps(value)
    return words if len(words) <= _LONGEST_VALUE else f"{words[:_LONGEST_VALUE]} ..."


def is_bundle(folder: Path) -> bool:
    """Whether `folder` has the metadata of a bundle, and no model.toml of its own."""
    return is_file(folder / METADATA) and not is_file(folder / DESCRIPTION)


def open_bundle(folder: Path) -> ModelFolder:
    """The model of a bundle that `write_bundle` wrote, to be used where it lies.

    A model folder is made of it once and kept beside the installed ones, until nobody has used it
    for 30 days. Raises what `read_bundle` raises, also for a file of the bundle that was changed
    since.
    """
    kept = files.installed_folder() / f"{_KEPT}{digest(folder / METADATA, _SAID)[:16]}"
    make_folder(files.installed_folder())
    with locked(kept):
        if is_file(kept / DESCRIPTION):
            _files_of(folder)
            found = open_model(kept)
        else:
            found = read_bundle(folder, kept)
        with suppress(OSError):  # a folder of somebody else
            os.utime(kept)
    _remove_unused(files.installed_folder())
    return replace(found, bundle=folder)


def _remove_unused(home: Path) -> None:
    """Remove the model folders of bundles that were not used for long.

    Their locks, which are empty, stay: another process may wait for one.
    """
    for kept in home.glob(f"{_KEPT}*"):
        with suppress(OSError, OutputError):  # another process is quicker, or has it
            if not _is_unused(kept):
                continue
            with locked(kept, timeout=0):
                if _is_unused(kept):  # still, now that nobody can take it up
                    remove(kept)


def _is_unused(kept: Path) -> bool:
    return kept.is_dir() and time.time() - kept.stat().st_mtime > _UNUSED


def read_bundle(folder: Path, target: Path) -> ModelFolder:
    """Make the model folder `target` of a bundle that `write_bundle` wrote.

    Every file is compared with the sha256 in the metadata. Raises ModelError for a bundle of
    another program, whose configuration is code, which is never run here.
    """
    found = _files_of(folder)
    toml, card = ((found[name] or b"").decode("utf-8", "replace") for name in (_TOML, _CARD))
    description = parse_description(toml, str(folder / _TOML))
    state = None if found[_TENSORS] is None else read_state_dict(folder / _TENSORS)
    return save_model(target, description, state, found[_GRAPH], card or None, overwrite=True)


def _files_of(folder: Path) -> dict[str, bytes | None]:
    """The content of each file of a bundle, compared with its sha256; None for one it has not."""
    try:
        about = read_json(folder / METADATA, _LARGEST_METADATA)
    except EncephalonError as error:
        raise ModelError(str(error)) from error
    digests = about.get("encephalon_files") if isinstance(about, dict) else None
    if not isinstance(digests, dict) or _TOML not in digests:
        raise ModelError(
            f"{folder}: a bundle of MONAI that another program wrote: what it is made of is "
            "code, which is never run here; use it with MONAI."
        )
    return {name: _compared(folder, digests, name) for name in (_TOML, _TENSORS, _GRAPH, _CARD)}


def _compared(folder: Path, digests: Mapping[str, Any], name: str) -> bytes | None:
    """The content of a file of the bundle, None for one that it does not have."""
    if name not in digests:
        return None
    expected = f"the file {name} of a bundle"
    return read_compared(folder / name, expected, str(digests[name]), _LARGEST)


def _save_tensors(tensors: Mapping[str, Any], path: Path) -> None:
    require_extra("torch", "train", "A bundle of MONAI")
    import torch

    # Copies, as arrays that were read may not be written to, which torch warns of.
    torch.save({name: torch.from_numpy(array.copy()) for name, array in tensors.items()}, path)


def metadata(model: ModelFolder) -> dict[str, Any]:
    """What MONAI wants to know of a model, by its schema of 2024-07-25 (`SCHEMA`)."""
    about, versions = model.description, model.description.versions
    card = {key: about.card.get(key, "").strip() or UNKNOWN for key in CARD_SECTIONS}
    labels = ", ".join(f"{value}: {name}" for value, name in sorted(about.labels.items()))
    inputs, outputs = tensor_formats(model)
    figures = figures_of(about.scores)
    return {
        "schema": SCHEMA,
        "version": about.version,
        "changelog": {about.version: "as exported"},
        "monai_version": str(versions.get("monai", UNKNOWN)),
        "pytorch_version": str(versions.get("torch", UNKNOWN)),
        "numpy_version": str(versions.get("numpy", UNKNOWN)),
        "required_packages_version": {"encephalon": __version__},
        "name": about.title or about.name,
        "task": f"{about.task} ({about.study})",
        "description": card["description"],
        "authors": about.citation,
        "copyright": about.licence,
        "intended_use": card["intended_use"],
        "data_source": card["training_data"],
        "image_classes": card["inputs"],
        "pred_classes": labels or UNKNOWN,
        "eval_metrics": {one.name.replace(" ", "_"): one.value for one in figures},
        "references": [about.citation],
        "network_data_format": {"inputs": inputs, "outputs": outputs},
    }


def tensor_formats(model: ModelFolder) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inputs and the outputs of a network by their names, in MONAI's words.

    Of an exported graph they are its own, of weights alone what the recipe names.
    """
    about, graph = model.description, model.graph
    if graph is not None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            opened = onnxruntime.InferenceSession(graph.read(), options, ["CPUExecutionProvider"])
            given, got = opened.get_inputs(), opened.get_outputs()
            counts = _channels(opened, given, got)
            return (
                {one.name: _format(about, one, counts, True) for one in given},
                {one.name: _format(about, one, counts, False) for one in got},
            )
        except EncephalonError:
            raise
        except Exception as error:  # noqa: BLE001  the runtime has exceptions of its own
            _log.warning("%s: what goes in and comes out is not known (%s).", graph.path, error)
    names = list(about.recipe.get("table", {}).get("inputs", {})) or ["image"]
    unknown = {"num_channels": 1, "spatial_shape": ["*"], "dtype": "float32", "value_range": []}
    image = {"type": "image", "format": "magnitude", **unknown}
    return dict.fromkeys(names, image), {"pred": image}


def _channels(opened: Any, given: Sequence[Any], got: Sequence[Any]) -> dict[str, int]:
    """How many channels each tensor has: as the graph says, or as comes out of a small image."""
    said = {one.name: one.shape[1] for one in (*given, *got) if len(one.shape) > 1}
    if all(isinstance(count, int) for count in said.values()):
        return said
    image = {
        one.name: np.zeros(
            [1, *(size if isinstance(size, int) else _SMALL for size in one.shape[1:])],
            dtype=_TYPES.get(one.type, "float32"),
        )
        for one in given
    }
    made = opened.run(None, image)
    told = {one.name: array.shape[1] for one, array in zip(got, made, strict=True)}
    return {**{name: array.shape[1] for name, array in image.items()}, **told}


def _format(
    about: ModelDescription, tensor: Any, counts: Mapping[str, int], goes_in: bool
) -> dict[str, Any]:
    """One tensor (B, C, ...) of a graph."""
    shape: Sequence[Any] = tensor.shape or ()
    count = counts.get(tensor.name, 1)
    spatial = [size if isinstance(size, int) else "*" for size in shape[2:]]
    kind, form = "image" if spatial else "tuples", "magnitude" if spatial else "latent"
    channels: Mapping[Any, str] = {place: f"channel {place}" for place in range(count)}
    if goes_in and count == len(names := about.preprocessing.get("channels", ())):
        channels = dict(enumerate(names))
    # Not the labels: a network may give distances, from which the labels are made.
    if not goes_in and count == len(names := about.preprocessing.get("classes", ())):
        channels = dict(enumerate(names))
        kind, form = ("image", "labels") if spatial else ("probabilities", "classes")
    return {
        "type": kind,
        "format": form,
        "modality": "n/a",
        "num_channels": count,
        "spatial_shape": spatial,
        "dtype": _TYPES.get(tensor.type, str(tensor.type)),
        "value_range": [],
        "is_patch_data": True,
        "channel_def": {str(place): name for place, name in channels.items()},
    }
