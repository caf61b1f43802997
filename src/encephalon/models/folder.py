# SPDX-License-Identifier: Apache-2.0
"""A model on disk: `model.toml`, tensors, perhaps a graph, and the card.

Loading parses text and tensors only; nothing is unpickled, imported or run. Every file is compared
with its sha256 in `model.toml` before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import InputError, MissingFileError, ModelError, listed
from encephalon.io.atomic import atomic_folder, sha256
from encephalon.io.files import exists
from encephalon.io.text import read_text
from encephalon.models.card import render_card
from encephalon.models.description import (
    ModelDescription,
    dump_description,
    parse_description,
)
from encephalon.models.files import changed, digest, read_compared
from encephalon.models.graph import Graph
from encephalon.models.graph_weights import share

if TYPE_CHECKING:
    from numpy.typing import NDArray


DESCRIPTION = "model.toml"
WEIGHTS = "weights.safetensors"
GRAPH = "graph.onnx"
CARD = "README.md"

_LARGEST_DESCRIPTION = 1 << 22
"""Bytes; a description is some kilobytes, so anything larger is something else."""
_LARGEST_WEIGHTS = 800 * 1024**2
"""Bytes of tensors, which are in memory twice while they are read; our networks have 25 MiB."""


@dataclass(frozen=True)
class ModelFolder:
    """A model folder whose description was read and whose files were verified; see `open_model`."""

    path: Path
    description: ModelDescription
    sha256: str
    """Of `model.toml`, which holds the sha256 of every other file: it identifies the model."""
    told: Mapping[str, Any] = field(default_factory=dict)
    """What is said of it beside, such as why it was chosen among the models of a grid."""
    bundle: Path | None = None
    """The bundle of MONAI that it was made of, if it was."""

    @property
    def name(self) -> str:
        """The model's name."""
        return self.description.name

    @property
    def study(self) -> str:
        """The study that knows how to use the model."""
        return self.description.study

    @property
    def graph(self) -> Graph | None:
        """The exported graph for torch-free inference, if the model has one."""
        files = self.description.files
        return _graph(self.path, files) if GRAPH in files else None

    @property
    def weights(self) -> Path | None:
        """The file of tensors, if the model has one."""
        return self.path / WEIGHTS if WEIGHTS in self.description.files else None

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the weights by name. Raises ModelError if there are none or any is not finite."""
        if self.weights is None:
            raise ModelError(
                f"{self.path}: the model has a graph but no {WEIGHTS}: use it to predict only."
            )
        return read_tensors(self.weights, self.description.files[WEIGHTS])

    def describe(self) -> dict[str, Any]:
        """Return what a sidecar says of the model: name, version, sha256, study, what to cite."""
        known = {**vars(self.description), "sha256": self.sha256}
        keys = ("name", "version", "sha256", "study", "task", "mode", "title", "citation")
        return {**{key: known[key] for key in keys}, **self.told}


def open_model(path: str | Path) -> ModelFolder:
    """Open the model folder `path` and compare every listed file with its sha256.

    Files that `model.toml` does not list are never touched. Raises MissingFileError when there is
    no `model.toml`, ModelError for a description or a file that is not what it should be.
    """
    folder = Path(path)
    description = read_description(folder)
    if not {WEIGHTS, GRAPH} & set(description.files):
        raise ModelError(f"{folder}: the model lists neither {WEIGHTS} nor {GRAPH}: get it again.")
    for name, expected in description.files.items():
        path = folder / name
        if name == GRAPH:
            _graph(folder, description.files).read()
            continue
        found = digest(path, f"the file {name!r} of the model {description.name!r}")
        if found != expected:
            raise ModelError(changed(path, expected, found))
    return ModelFolder(folder, description, sha256(folder / DESCRIPTION))


def read_description(folder: Path) -> ModelDescription:
    """Return the parsed `model.toml` of `folder`, without looking at its other files."""
    path = folder / DESCRIPTION
    if not exists(path):
        raise MissingFileError(
            f"{folder}: expected a model folder, but it has no {DESCRIPTION}: check the path."
        )
    try:
        text = read_text(path, _LARGEST_DESCRIPTION, "the description of a model")
    except InputError as error:
        raise ModelError(f"{error} Get the model again.") from error
    return parse_description(text, str(path))


def _graph(folder: Path, files: Mapping[str, str]) -> Graph:
    weights = folder / WEIGHTS if WEIGHTS in files else None
    return Graph(folder / GRAPH, files[GRAPH], weights, files.get(WEIGHTS, ""))


def save_model(
    folder: str | Path,
    description: ModelDescription,
    state: Mapping[str, NDArray[Any]] | None,
    graph: Path | bytes | None = None,
    card: str | None = None,
    *,
    overwrite: bool = False,
) -> ModelFolder:
    """Write a model folder in one atomic step and return it.

    `state` holds the weights by name, `graph` the exported graph or its path; one of the two is
    needed, and what both hold is written once, as weights. `card` is the text of README.md,
    rendered from the description when None. The `files` of the description are filled in here.
    Raises OutputExistsError when `folder` exists and `overwrite` is not set, ModelError for weights
    that are not finite and for a graph that `Graph.read` refuses.
    """
    final = Path(folder)
    with atomic_folder(final, overwrite) as work:
        if state is not None:
            _write_tensors(work / WEIGHTS, state)
        if graph is not None:
            data = graph if isinstance(graph, bytes) else Path(graph).read_bytes()
            (work / GRAPH).write_bytes(data)
            Graph(work / GRAPH).read()
            if state is not None:
                weights = (work / WEIGHTS).read_bytes()
                (work / GRAPH).write_bytes(share(data, weights, WEIGHTS))
        files = {path.name: sha256(path) for path in sorted(work.iterdir())}
        if not files:
            raise ModelError(f"{final}: a model needs weights or a graph, but got neither.")
        described = replace(description, files=files)
        (work / CARD).write_text(card or render_card(described), encoding="utf-8")
        described = replace(described, files={**files, CARD: sha256(work / CARD)})
        (work / DESCRIPTION).write_text(dump_description(described), encoding="utf-8")
    return open_model(final)


def check_state(
    tensors: Mapping[str, NDArray[Any]],
    expected: Mapping[str, tuple[int, ...]],
    source: str,
    mend: str = "",
) -> None:
    """Raise ModelError unless `tensors` has exactly the names and shapes of `expected`.

    It lists the first five differences and counts the others; `mend` says what to do.
    """
    faults = [f"missing {name!r}" for name in expected if name not in tensors]
    faults += [f"unexpected {name!r}" for name in tensors if name not in expected]
    faults += [
        f"{name!r} is {tuple(tensors[name].shape)} instead of {tuple(shape)}"
        for name, shape in expected.items()
        if name in tensors and tuple(tensors[name].shape) != tuple(shape)
    ]
    if faults:
        raise ModelError(
            f"{source}: the weights do not fit the network ({listed(faults, 5, '; ')}): "
            f"{mend or 'use the recipe that they were trained with'}."
        )


def read_tensors(path: Path, sha256: str = "") -> dict[str, NDArray[Any]]:
    """Return the tensors of a safetensors file by name, after comparing its sha256 if one is given.

    Raises MissingFileError, or ModelError for anything but tensors of NumPy's types, all finite.
    """
    from safetensors.numpy import load

    content = read_compared(path, "safetensors", sha256, _LARGEST_WEIGHTS)
    try:
        tensors: dict[str, NDArray[Any]] = load(content)
    except Exception as error:  # types that NumPy lacks, shapes of 2^62: each fails in its own way
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(
            f"{path}: expected safetensors, but it cannot be read ({reason}): get it again."
        ) from error
    _check_finite(tensors, str(path))
    return dict(sorted(tensors.items()))  # it gives them in another order each time


def _write_tensors(path: Path, state: Mapping[str, NDArray[Any]]) -> None:
    import numpy as np
    from safetensors.numpy import save

    # Contiguous by `asarray`, as `ascontiguousarray` would turn a scalar into a vector.
    tensors = {name: np.asarray(state[name], order="C") for name in sorted(state)}
    if not tensors:
        raise ModelError(f"{path}: expected weights, but the state is empty.")
    _check_finite(tensors, str(path))
    path.write_bytes(save(tensors, metadata={"format": "np"}))


def _check_finite(tensors: Mapping[str, NDArray[Any]], source: str) -> None:
    import numpy as np

    for name, array in tensors.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ModelError(
                f"{source}: the weights {name!r} are not finite: the training diverged."
            )
