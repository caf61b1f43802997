# SPDX-License-Identifier: Apache-2.0
"""A published weights file, given by path or downloaded: identified by its sha256."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from encephalon.errors import InputError, ModelError, require_extra
from encephalon.io.files import opened
from encephalon.models.card import UNKNOWN
from encephalon.models.files import digest
from encephalon.models.registry import RegistryEntry, registry_entries

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from encephalon.models.keras import KerasLayer, Shape


@dataclass(frozen=True)
class _Layout:
    """What weights in a file of one kind belong to, where their sha256 says no more."""

    study: str
    task: str
    network: str
    recipe: str = ""


_KERAS = _Layout("extraction", "segmentation", "keras-unet")
_TORCH = _Layout("micrographs", "classification", "image-classifier", "micrographs-published")
_LAYOUTS = {".h5": _KERAS, ".hdf5": _KERAS, ".pt": _TORCH, ".pth": _TORCH}
_MARKED = {
    b"model.0.conv.unit0.conv.weight": _Layout(
        "isotropic", "reconstruction", "published-reconstruction", "isotropic-published"
    ),
    b"online_encoder.": _Layout(
        "microtomography", "representation", "tile-encoder", "byol-published"
    ),
    b"down_blocks.0.conv1.weight": _Layout(
        "microtomography", "segmentation", "published-unet", "microstructure-2d-published"
    ),
    b"segmentation_head.0.weight": _Layout(
        "microtomography", "segmentation", "published-segmenter", "microstructure-2d-published"
    ),
    b"down_tr128.down_conv.weight": _Layout(
        "microtomography", "segmentation", "published-vnet-light", "microstructure-3d-published"
    ),
    b"red_blocks1.0.conv_red.0.weight": _Layout(
        "microtomography", "segmentation", "published-highresnet", "microstructure-3d-published"
    ),
    b"mlp_logits_state_dict": _Layout(
        "legibility", "classification", "published-legibility", "legibility-published"
    ),
    b"classifier.weight": _Layout(
        "microtomography", "classification", "tile-classifier", "region-published"
    ),
}
"""What weights named so belong to: the names are those of each system's own code."""
_NAMES_WITHIN = 2**18
"""Bytes: torch writes all names before the first number, and 221 of them are 30,000 bytes."""

PUBLISHED_SUFFIXES = tuple(_LAYOUTS)
"""How the name of a published weights file ends: of Keras, or a state dictionary of torch."""


@dataclass(frozen=True)
class PublishedFile:
    """A published weights file and, where its sha256 is listed, what is known of it."""

    path: Path
    sha256: str
    entry: RegistryEntry | None = None

    @property
    def name(self) -> str:
        """The registered name, or the file's own without its suffix."""
        return self.entry.name if self.entry else self.path.stem

    @property
    def study(self) -> str:
        """The study that knows how to use the weights."""
        return self._about.study

    @property
    def network(self) -> str:
        """The registered name of the network that the weights belong to."""
        return self._about.network

    @property
    def recipe(self) -> str:
        """The built-in recipe that the weights were trained by, "" where it makes no difference."""
        return self._about.recipe

    @cached_property
    def _about(self) -> RegistryEntry | _Layout:
        layout = _LAYOUTS.get(self.path.suffix.lower(), _KERAS)
        if self.entry or layout is not _TORCH:
            return self.entry or layout
        start = b""
        with suppress(InputError), opened(self.path) as stream:
            start = stream.read(_NAMES_WITHIN)
        return next((layout for name, layout in _MARKED.items() if name in start), _TORCH)

    def layers(self, expected_shapes: Sequence[Mapping[str, Shape]]) -> list[KerasLayer]:
        """Return the weights, layer by layer; see `read_keras_h5` for shapes and errors."""
        from encephalon.models.keras import read_keras_h5

        return read_keras_h5(self.path, expected_shapes)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the weights of a state dictionary (.pt, .pth) by their names in the file.

        Raises MissingExtraError without torch, ModelError for anything but finite tensors.
        """
        require_extra("torch", "train", f"The model {self.name!r}")
        from encephalon.models.weights import read_state_dict

        return read_state_dict(self.path)

    def describe(self) -> dict[str, str]:
        """Return what a sidecar says of the model: name, version, sha256, study, what to cite."""
        return {
            "name": self.name,
            "version": self.entry.version if self.entry else UNKNOWN,
            "sha256": self.sha256,
            "study": self.study,
            "task": self._about.task,
            "mode": "published",
            **({"title": self.entry.title, "citation": self.entry.citation} if self.entry else {}),
        }


def open_published(path: str | Path, entry: RegistryEntry | None = None) -> PublishedFile:
    """Identify the weights file `path` by its sha256.

    A file of the user's own training, whose sha256 is not listed, is welcome: only its layers are
    checked, when they are read. So is one that was published without anybody recording its sha256:
    it goes by its own name. Raises MissingFileError, or ModelError when the file should be
    `entry`, or bears the name of a published file, and its sha256 says otherwise.
    """
    file_path = Path(path)
    entries = [item for item in registry_entries().values() if item.sha256]
    named = (item for item in entries if item.is_published and item.file == file_path.name)
    expected = entry or next(named, None)
    found = digest(file_path, "a published weights file (.h5, .pt, .pth)")
    if expected is not None and expected.sha256 not in {"", found}:
        raise ModelError(
            f"{path}: expected the published weights {expected.name!r} ({expected.size:,} bytes, "
            f"sha256 {expected.sha256}, {expected.sha256_is}), but it has "
            f"{file_path.stat().st_size:,} bytes and sha256 {found}: fetch it again, or rename it "
            "if the weights are your own."
        )
    listed = expected or next((item for item in entries if item.sha256 == found), None)
    return PublishedFile(file_path, found, listed)
