# SPDX-License-Identifier: Apache-2.0
"""What a result depends on, in a few digits: its inputs, its model and the options.

Inputs are told apart by their bytes. Size and time of a file would be quicker, but miss an image
that was replaced by one of the same size, and take every copied dataset for a new one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import EncephalonError
from encephalon.inference.predictor import kinds_of, model_facts
from encephalon.io.atomic import content_of
from encephalon.io.dicom_series import is_dicom
from encephalon.io.files import is_file, opened, place
from encephalon.io.image import SLICE_SUFFIXES, image_suffix

if TYPE_CHECKING:
    from encephalon.inference.predictor import Predictor
    from encephalon.tables.samples import Sample


_DIGITS = 16  # of each part: 64 bits, far more than chance needs
# Of a description: where it was computed and what is said of it, not what was asked for.
_NO_OPTIONS = {"model", "runtime", "device", "notice"}
# Options that choose one of several images in one place: another choice is another input.
_CHOOSING = ("series", "page")
_CHUNK = 1 << 20
# What a DICOM folder may hold beside its slices: results of ours among them.
_NO_SLICES = (".json", ".csv", ".html", ".txt")


@dataclass(frozen=True)
class Fingerprint:
    """Of one result, 16 hexadecimal digits each: its inputs, its model, and the options.

    `place` is where the inputs lay (folder, series, page), "" where nothing says it. A result does
    not depend on it; it tells an input that changed from another of the same name.
    """

    inputs: str
    model: str
    options: str
    place: str = field(default="", compare=False)

    def __str__(self) -> str:
        """As it stands in a table or a sidecar."""
        return "-".join(filter(None, astuple(self)))

    @classmethod
    def parse(cls, text: Any) -> Fingerprint | None:
        """What `str` wrote, or None for anything else."""
        parts = text.split("-") if isinstance(text, str) else []
        good = len(parts) in (3, 4) and all(len(part) == _DIGITS for part in parts)
        return cls(*parts) if good else None

    def changed_since(self, earlier: Fingerprint) -> str:
        """In words, what is another than when `earlier` was taken: "the input and the options"."""
        names = ("the input", "the model", "the options")
        pairs = zip(names, astuple(self)[:3], astuple(earlier)[:3], strict=True)
        return " and ".join(name for name, new, old in pairs if new != old)

    def lay_elsewhere(self, earlier: Fingerprint) -> bool:
        """Whether other inputs, from another place, were there when `earlier` was taken."""
        known = bool(self.place and earlier.place)
        return self.inputs != earlier.inputs and known and self.place != earlier.place


class Fingerprints:
    """Those of the results of one predictor.

    A predictor whose result depends on more files than those of a sample (a sidecar with the size
    of the pixels, say) names them by its method `also_reads(sample)`. Where no images are written
    the cells of a sample's row count too: they may be repeated in the results.
    """

    def __init__(self, predictor: Predictor) -> None:
        about = predictor.describe()
        facts = model_facts(about)
        chosen = {key: about[key] for key in _CHOOSING if about.get(key)}
        passed = {*_NO_OPTIONS, *_CHOOSING}
        options = {key: value for key, value in about.items() if key not in passed}
        self._predictor = predictor
        self._model = _digest([str(facts.get("sha256") or _plain(facts)).encode()])
        self._chosen = _plain(chosen).encode() if chosen else b""
        self._options = _digest([_plain(options).encode()])

    def of(self, sample: Sample) -> Fingerprint | None:
        """That of a sample; None where one of its files cannot be read."""
        try:
            inputs = _digest(self._inputs(sample))
        except (EncephalonError, OSError, ValueError):
            return None
        places = [os.fsencode(place(path)) + b"\n" for _, path in sorted(sample.inputs.items())]
        where = _digest([*places, self._chosen])
        return Fingerprint(inputs, self._model, self._options, where)

    def _inputs(self, sample: Sample) -> Iterator[bytes]:
        for role, path in sorted(sample.inputs.items()):
            yield f"\n{role}\n".encode()
            yield from _content(path)
        yield self._chosen
        more: Any = getattr(self._predictor, "also_reads", None)
        for path in more(sample) if more else ():
            if is_file(path):
                yield b"\nbeside\n"
                yield from _content(path)
        if sample.row and not kinds_of(self._predictor.outputs, sample):
            yield _plain(sample.row).encode()


def _content(path: Path) -> Iterator[bytes]:
    """The bytes of a file; of a DICOM series, or one slice for all of it, the folder's files.

    Of a volume in a folder what its files hold, in a few digits.
    """
    if path.suffix.lower() == ".zarr" and path.is_dir():
        yield content_of(path).encode()
        return
    folder = path if path.is_dir() else None
    if folder is None and _like_slice(path) and is_dicom(path):
        folder = path.parent
    files = sorted(
        file
        for file in (folder.iterdir() if folder is not None else ())
        if file.is_file()
        and not file.name.startswith(".")
        and _like_slice(file)
        and file.suffix not in _NO_SLICES
        and file.stat().st_size
    )
    for file in files if folder == path else [*files, path]:
        if folder is not None:
            yield f"\n{file.name}\n".encode("utf-8", "surrogateescape")
        with opened(file) as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk


def _like_slice(file: Path) -> bool:
    return image_suffix(file) in (None, *SLICE_SUFFIXES)


def _plain(facts: Mapping[Any, Any]) -> str:
    return json.dumps(facts, sort_keys=True, default=str)


def _digest(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()[:_DIGITS]
