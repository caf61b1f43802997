# SPDX-License-Identifier: Apache-2.0
"""A graph whose larger tensors lie in the weights beside it, so that no model has them twice.

It is the "external data" of ONNX itself: a tensor names the file, the first byte and how many, and
safetensors holds values as ONNX does, so that any program opens such a graph from its folder. We
hand a runtime the whole graph, put together here: what it would open by itself, nothing compares.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from encephalon.models.protobuf import fields, sized, whole

# Fields of messages: onnx/onnx.proto, IR version 10.
_GRAPH = 7  # of a model
_TENSOR = 5  # of a graph: an initialiser
_TYPE, _RAW, _EXTERNAL, _LOCATION = 2, 9, 13, 14  # of a tensor
_KEY, _VALUE = 1, 2  # of what is said of its place
_ELSEWHERE = 1
"""The location of a tensor whose values are not in the graph."""
_TYPES = {"F32": 1, "U8": 2, "I8": 3, "U16": 4, "I16": 5, "I32": 6, "I64": 7, "F16": 10, "F64": 11}
"""Types of safetensors by their numbers in ONNX."""
_WORTH = 256
"""Bytes; saying where a tensor lies takes a hundred."""


def share(graph: bytes, weights: bytes, file: str) -> bytes:
    """The graph without the values of the tensors that `weights`, a safetensors file, has too.

    `file` is its name. Each tensor of the weights stands in for one of the graph at the most.
    """
    places: dict[tuple[int, bytes], list[int]] = {}
    for kind, start, end in _tensors(weights):
        if end - start >= _WORTH:
            places.setdefault((kind, weights[start:end]), []).append(start)

    def shared(tensor: bytes) -> bytes:
        kind, raw = int.from_bytes(_last(tensor, _TYPE), "little"), _last(tensor, _RAW)
        found = places.get((kind, raw))
        if not found:
            return tensor
        said = {"location": file, "offset": str(found.pop()), "length": str(len(raw))}
        place = b"".join(
            sized(_EXTERNAL, sized(_KEY, key.encode()) + sized(_VALUE, value.encode()))
            for key, value in said.items()
        )
        return _without(tensor, _RAW) + place + whole(_LOCATION, _ELSEWHERE)

    return _with_tensors(graph, shared)


def complete(graph: bytes, weights: bytes, file: str) -> bytes:
    """The graph with the values of the tensors that lie in `weights`, whose file has the name.

    Tensors that lie anywhere else stay as they are. Raises IndexError for a place that is not in
    the file, and for more values than it has.
    """
    left = len(weights)

    def filled(tensor: bytes) -> bytes:
        nonlocal left
        entries = [tensor[start:end] for key, start, end in _of(tensor) if key == _EXTERNAL]
        said = {_last(one, _KEY): _last(one, _VALUE) for one in entries}
        if said.pop(b"location", b"") != file.encode():
            return tensor
        start, length = (_decimal(said.get(name, b"")) for name in (b"offset", b"length"))
        left -= length
        if start + length > len(weights) or left < 0:
            raise IndexError("a tensor that reaches beyond the weights")
        kept = _without(tensor, _EXTERNAL, _LOCATION)
        return kept + sized(_RAW, weights[start : start + length])

    return _with_tensors(graph, filled)


def _tensors(weights: bytes) -> Iterator[tuple[int, int, int]]:
    """Of each tensor of a safetensors file its type in ONNX, its first byte, and its end."""
    begin = 8 + int.from_bytes(weights[:8], "little")
    for name, told in json.loads(weights[8:begin]).items():
        if name != "__metadata__" and told["dtype"] in _TYPES:
            start, end = told["data_offsets"]
            yield _TYPES[told["dtype"]], begin + start, begin + end


def _decimal(digits: bytes) -> int:
    if not (digits.isdigit() and len(digits) < 20):
        raise IndexError("a place that is no number")
    return int(digits)


def _with_tensors(model: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The model with each initialiser of its graph changed; those of graphs within stay."""
    return _changed(model, _GRAPH, lambda graph: _changed(graph, _TENSOR, change))


def _changed(message: bytes, key: int, change: Callable[[bytes], bytes]) -> bytes:
    made, last = [], 0
    for found, start, end in _of(message):
        value = message[start:end]
        made.append(sized(key, change(value)) if found == key else message[last:end])
        last = end
    return b"".join(made)


def _without(message: bytes, *keys: int) -> bytes:
    kept, last = [], 0
    for found, _, end in _of(message):
        kept.append(b"" if found in keys else message[last:end])
        last = end
    return b"".join(kept)


def _last(message: bytes, key: int) -> bytes:
    """The value of the last field of the number, which is the one that holds; b"" without any."""
    values = [message[start:end] for found, start, end in _of(message) if found == key]
    return values[-1] if values else b""


def _of(message: bytes) -> Iterator[tuple[int, int, int]]:
    return fields(message, 0, len(message))
