# SPDX-License-Identifier: Apache-2.0
"""Weights out of a Keras `.h5` file, with h5py alone: no TensorFlow, nothing executed.

Source of the layout: files written by `model.save` and `model.save_weights` of Keras 2. The root,
or its group `model_weights`, has the attribute `layer_names` in graph order; each layer's group has
`weight_names`; strings are bytes or str. The group `optimizer_weights` is never looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import ModelError, require_extra
from encephalon.models.content import check_content, digest

if TYPE_CHECKING:
    import h5py
    import numpy as np
    from numpy.typing import NDArray

    KerasLayer = tuple[str, dict[str, NDArray[np.float32]]]

__all__ = ["check_sha256", "read_keras_h5"]


def read_keras_h5(
    path: str | Path,
    expected_shapes: Sequence[Mapping[str, tuple[int, ...]]],
    sha256: str | None = None,
) -> list[KerasLayer]:
    """Return the layers with weights as (name, {"kernel", "bias"}) in graph order, float32.

    `expected_shapes` gives, for each layer in turn, the shapes of its arrays in Keras order:
    kernels (kd, kh, kw, in, out), or (kd, kh, kw, out, in) where transposed. Layers are matched by
    order, as their names change with the session that saved them; count, kinds and shapes must
    agree exactly. With `sha256` the whole file is compared first.
    Raises MissingFileError, or ModelError for anything but the expected weights.
    """
    require_extra("h5py", "train", "Reading published Keras weights")
    file_path = Path(path)
    check_content(file_path, "Keras weights (.h5)")
    if sha256 is not None:
        check_sha256(file_path, sha256)
    with _opened(file_path) as file:
        layers = _weighted_layers(file, file_path)
        _check_layers(layers, expected_shapes, file_path)
        return [
            (name, {kind: _array(file_path, name, kind, data) for kind, data in arrays.items()})
            for name, arrays in layers
        ]


def check_sha256(path: Path, expected: str) -> None:
    """Raise ModelError unless the sha256 of the file `path` is `expected`."""
    found = digest(path, "the published file")
    if found != expected:
        message = (
            f"{path}: expected the published file with sha256 {expected}, but its sha256 is "
            f"{found}: it is truncated or another file; fetch it again."
        )
        raise ModelError(message)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    import h5py

    if not h5py.is_hdf5(path):
        message = f"{path}: expected Keras weights (.h5), but it is not HDF5: fetch it again."
        raise ModelError(message)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except ModelError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = str(error).strip("\"'")
        message = f"{path}: the file is damaged or truncated ({reason}): fetch it again."
        raise ModelError(message) from error


def _weighted_layers(file: h5py.File, path: Path) -> list[tuple[str, dict[str, h5py.Dataset]]]:
    """Return the layers that have weights: their name, and their datasets by kind."""
    is_model = file.get("model_weights", getlink=True) is not None
    root = _member(file, "model_weights", path) if is_model else file
    names = _names(root, "layer_names")
    if names is None:
        message = (
            f"{path}: expected the weights of a Keras 2 model, but there is no 'layer_names': "
            "save them with model.save('weights.h5')."
        )
        raise ModelError(message)
    layers = []
    for name in names:
        group = _member(root, name, path)
        weights = _names(group, "weight_names") or []
        found = {_kind(weight): _member(group, weight, path) for weight in weights}
        if len(found) != len(weights):
            message = f"{path}: layer {name!r} names one weight twice: {weights}."
            raise ModelError(message)
        if found:
            layers.append((name, found))
    return layers


def _names(group: h5py.Group, attribute: str) -> list[str] | None:
    """Return a list of names kept in an attribute, which Keras splits in parts when it is long."""
    if attribute in group.attrs:
        parts = [group.attrs[attribute]]
    else:
        parts = []
        while f"{attribute}{len(parts)}" in group.attrs:
            parts.append(group.attrs[f"{attribute}{len(parts)}"])
    if not parts:
        return None
    names = [name for part in parts for name in list(part)]
    return [name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in names]


def _member(group: h5py.Group | h5py.Dataset, name: str, path: Path) -> Any:
    import h5py

    link = group.get(name, getlink=True) if isinstance(group, h5py.Group) else None
    if link is None or isinstance(link, h5py.ExternalLink):
        message = f"{path}: {group.name}/{name} is named but not in the file: fetch it again."
        raise ModelError(message)
    member = group[name]
    # A link to another file on the way, or values kept outside, could bring in anything.
    is_elsewhere = member.file.filename != group.file.filename
    if is_elsewhere or (
        isinstance(member, h5py.Dataset) and (member.external or member.is_virtual)
    ):
        message = f"{path}: {group.name}/{name} lies outside the file: fetch it again."
        raise ModelError(message)
    return member


def _kind(weight_name: str) -> str:
    """Return "kernel" for "conv3d_15/kernel:0"."""
    return weight_name.rsplit("/", 1)[-1].partition(":")[0]


def _check_layers(
    layers: Sequence[tuple[str, Mapping[str, Any]]],
    expected: Sequence[Mapping[str, tuple[int, ...]]],
    path: Path,
) -> None:
    counts = f"{len(expected)} layers with weights expected, {len(layers)} found"
    for number, (shapes, (name, arrays)) in enumerate(zip(expected, layers, strict=False)):
        found = {kind: getattr(data, "shape", None) for kind, data in arrays.items()}
        wanted = {kind: tuple(shape) for kind, shape in shapes.items()}
        if found != wanted:
            message = (
                f"{path}: layer {number} ({name!r}) has {_shown(found)} instead of "
                f"{_shown(wanted)} ({counts}): this is another network."
            )
            raise ModelError(message)
    if len(layers) != len(expected):
        extra = [name for name, _ in layers[len(expected) :]]
        what = f"one too many is {extra[0]!r}" if extra else f"layer {len(layers)} is missing"
        message = f"{path}: {counts}; {what}: this is another network."
        raise ModelError(message)


def _shown(shapes: Mapping[str, tuple[int, ...] | None]) -> str:
    return ", ".join(f"{kind} {shape}" for kind, shape in sorted(shapes.items(), reverse=True))


def _array(path: Path, layer: str, kind: str, data: h5py.Dataset) -> NDArray[np.float32]:
    import numpy as np

    if data.dtype != np.dtype("<f4"):
        message = f"{path}: layer {layer!r} keeps its {kind} as {data.dtype}, not as float32."
        raise ModelError(message)
    values: NDArray[np.float32] = data[...]
    if not np.isfinite(values).all():
        message = (
            f"{path}: layer {layer!r} has values that are not finite in its {kind}: the file is "
            "damaged or its training diverged; fetch it again."
        )
        raise ModelError(message)
    return values
