# SPDX-License-Identifier: Apache-2.0
"""An exported ONNX graph: read whole, compared with its sha256, and refused unless self-contained.

A runtime that is given a graph would also open the files that its tensors are said to lie in, and
no sha256 covers those. Only the weights of the same model are such a file, compared like the graph
and put into it here (`graph_weights.py`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from encephalon.errors import ModelError
from encephalon.models.files import read_compared
from encephalon.models.graph_weights import complete
from encephalon.models.protobuf import fields, number

_LARGEST = 1 << 30
"""Bytes; no reader of Protocol Buffers takes more than twice as many."""
_MOST_NODES = 10_000
"""Our networks have 130; a chain of 50,000 keeps a runtime busy for minutes before it refuses."""

# Message, number of a field, and the message in that field: onnx/onnx.proto, IR version 10.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_MOST_VALUES = 1 << 28
"""Of what a graph makes of a constant shape: a head of 512 voxels a side has half as many."""
_GROWING = (b"ConstantOfShape", b"Expand", b"Tile", b"Pad", b"Range", b"Resize", b"Upsample")
"""Operators whose result may be larger than all that they are given."""
_SHORT = 256  # bytes of a name, or of a tensor that may be a shape
_TYPES = {b"\x01": "f", b"\x06": "i", b"\x07": "q", b"\x0b": "d"}
"""Types of tensors by their number in ONNX, as `struct` calls them."""
_EXTERNAL = (13, 14)
"""The fields `external_data` and `data_location` of a tensor: where else its values lie."""


@dataclass(frozen=True)
class Graph:
    """The file of an exported graph and, where a model lists them, its sha256 and its weights."""

    path: Path
    sha256: str = ""
    weights: Path | None = None
    """The safetensors file that tensors of the graph may lie in."""
    weights_sha256: str = ""

    def read(self) -> bytes:
        """The content, to be given to a runtime as it is: what was checked is what is run.

        Raises MissingFileError, or ModelError for another sha256, for what is no ONNX graph, for
        one with tensors that lie anywhere else, and for one of more nodes than any network has, or
        that makes more values of a constant shape than any image has.
        """
        content = read_compared(self.path, "an ONNX graph", self.sha256, _LARGEST)
        if self.weights is not None and self.weights.name.encode() in content:
            weights = read_compared(self.weights, "safetensors", self.weights_sha256, _LARGEST)
            try:
                content = complete(content, weights, self.weights.name)
            except IndexError as error:
                raise ModelError(
                    f"{self.path}: its tensors do not lie in {self.weights.name} as it says: get "
                    "the model again."
                ) from error
        _check(content, self.path)
        return content


def _check(content: bytes, path: Path) -> None:
    """Raise ModelError unless every tensor is in `content` and the nodes are few and bounded."""
    # A list instead of calls: graphs may lie within graphs as deep as anybody likes.
    waiting, nodes = [("model", "", 0, len(content))], 0
    shapes: dict[str, float] = {}
    growing: set[str] = set()
    while waiting:
        kind, label, start, end = waiting.pop()
        nodes += kind == "node"
        if nodes > _MOST_NODES:
            raise ModelError(f"{path}: a graph of more than {_MOST_NODES:,} nodes is not run.")
        try:
            found = list(fields(content, start, end))
        except IndexError as error:
            raise ModelError(
                f"{path}: expected an ONNX graph, but it is damaged: get the model again."
            ) from error
        texts = {key: content[first:last] for key, first, last in found if last - first < _SHORT}
        if kind == "node":
            label = texts.get(2, b"").hex()
            if texts.get(4) in _GROWING:
                growing |= {content[first:last].hex() for key, first, last in found if key == 1}
        if kind == "tensor":
            if any(key in _EXTERNAL and any(content[first:last]) for key, first, last in found):
                raise ModelError(
                    f"{path}: the graph keeps tensors in another file, which nothing compares: "
                    "save it in one file (onnx.save_model without save_as_external_data)."
                )
            shapes[label or texts.get(8, b"").hex()] = _product(texts)
        label = label if kind in {"node", "attribute"} else ""
        inside = _INSIDE[kind]
        waiting += [
            (inside[key], label, first, last) for key, first, last in found if key in inside
        ]
    if any(shapes.get(name, 0) > _MOST_VALUES for name in growing):
        raise ModelError(f"{path}: the graph makes more than {_MOST_VALUES:,} values of a few.")


def _product(given: Mapping[int, bytes]) -> float:
    """The product of the values above 1 of a short tensor, as if it were a shape."""
    kind = _TYPES.get(given.get(2, b""))
    values: list[float] = []
    if kind is not None and 9 in given and len(given[9]) % struct.calcsize(kind) == 0:
        values = [one for (one,) in struct.iter_unpack(f"<{kind}", given[9])]
    elif kind is not None and 7 in given:
        place = 0
        with suppress(IndexError):
            while place < len(given[7]):
                value, place = number(given[7], place)
                values.append(value)
    return math.prod(float(one) for one in values if one > 1)
