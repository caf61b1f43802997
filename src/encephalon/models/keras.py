# SPDX-License-Identifier: Apache-2.0
"""Weights out of a Keras `.h5` file, with h5py alone: no TensorFlow, nothing executed.

Source of the layout: files written by `model.save` and `model.save_weights` of Keras 2. The root,
or its group `model_weights`, has the attribute `layer_names` in graph order; each layer's group has
`weight_names`; strings are bytes or str. The group `optimizer_weights` is never looked at.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encephalon.errors import ModelError, listed, require_extra
from encephalon.models.files import check_content

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray

    KerasLayer = tuple[str, dict[str, NDArray[np.float32]]]
    Shape = tuple[int | None, ...]
    """None for a side that the file tells, such as the number of classes."""


_SECONDS = 60
"""Of processor time; the published weights of 19 MB take half of one."""
_MEMORY = 1 << 30
"""Bytes."""
_CHILD = f"from {__name__} import _child; _child()"
_REFUSED = 3
"""The exit code of the process that says why in its last line."""


def read_keras_h5(
    path: str | Path, expected_shapes: Sequence[Mapping[str, Shape]]
) -> list[KerasLayer]:
    """Return the layers with weights as (name, {"kernel", "bias"}) in graph order, float32.

    `expected_shapes` gives, for each layer in turn, the shapes of its arrays in Keras order:
    kernels (kd, kh, kw, in, out), or (kd, kh, kw, out, in) where transposed; None stands for any
    number above 0. Layers are matched by order, as their names change with the session that saved
    them; count, kinds and shapes must agree exactly. Raises MissingFileError, or ModelError for
    anything but the expected weights.
    """
    require_extra("h5py", "train", "Reading published Keras weights")
    file_path = Path(path)
    check_content(file_path, "Keras weights (.h5)")
    layers = _read_apart(file_path, expected_shapes)
    for layer, arrays in layers:
        for kind, values in arrays.items():
            if not np.isfinite(values).all():
                raise ModelError(
                    f"{path}: layer {layer!r} has values that are not finite in its {kind}: the "
                    "file is damaged or its training diverged; fetch it again."
                )
    return layers


def _read_apart(path: Path, shapes: Sequence[Mapping[str, Shape]]) -> list[KerasLayer]:
    """The layers, read in a process of its own.

    HDF5 follows some damaged files for ever, or into all of the memory, and nothing stops it from
    within; the process is ended after more processor time or memory than weights can take.
    """
    from safetensors.numpy import load

    command = [sys.executable, "-c", _CHILD]
    places = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    ran = subprocess.run(
        command,
        input=json.dumps([str(path.absolute()), str(path), list(map(dict, shapes))]).encode(),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places), "OPENBLAS_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
    )
    if ran.returncode == _REFUSED:
        raise ModelError(json.loads(ran.stderr.splitlines()[-1]))
    if ran.returncode:
        raise ModelError(
            f"{path}: the file is damaged: reading it did not end, or filled the memory: fetch it "
            "again."
        )
    tensors = load(ran.stdout)
    layers: dict[int, KerasLayer] = {}
    for key, array in tensors.items():
        number, kind, name = key.split("/", 2)
        layers.setdefault(int(number), (name, {}))[1][kind] = array
    return [layers[number] for number in sorted(layers)]


def _child() -> None:
    """Read what `_read_apart` asks for, within limits; the answer is on the standard output."""
    import resource

    from safetensors.numpy import save

    for kind, limit in ((resource.RLIMIT_CPU, _SECONDS), (resource.RLIMIT_DATA, _MEMORY)):
        with suppress(ValueError, OSError):  # a stricter limit is there already
            resource.setrlimit(kind, (limit, limit))
    place, shown, listed = json.load(sys.stdin)
    expected = [{kind: tuple(shape) for kind, shape in each.items()} for each in listed]
    try:
        layers = _read_here(Path(place), Path(shown), expected)
    except ModelError as error:
        sys.stderr.write(f"{json.dumps(str(error))}\n")
        sys.exit(_REFUSED)
    tensors = {
        f"{number}/{kind}/{name}": array
        for number, (name, arrays) in enumerate(layers)
        for kind, array in arrays.items()
    }
    sys.stdout.buffer.write(save(tensors))


def _read_here(
    place: Path, path: Path, expected: Sequence[Mapping[str, Shape]]
) -> list[KerasLayer]:
    """The layers of the file at `place`, which errors call `path`."""
    with _opened(place, path) as file:
        layers = _weighted_layers(file, path)
        _check_layers(layers, expected, path)
        for name, arrays in layers:
            for kind, data in arrays.items():
                if data.dtype != np.dtype("<f4"):
                    raise ModelError(
                        f"{path}: layer {name!r} keeps its {kind} as {data.dtype}, not as float32."
                    )
        return [
            (name, {kind: data[...] for kind, data in arrays.items()}) for name, arrays in layers
        ]


@contextmanager
def _opened(place: Path, path: Path) -> Iterator[h5py.File]:
    import h5py

    if not h5py.is_hdf5(place):
        raise ModelError(
            f"{path}: expected Keras weights (.h5), but it is not HDF5: fetch it again."
        )
    try:
        with h5py.File(place, "r") as file:
            yield file
    except ModelError:
        raise
    except Exception as error:  # damage makes h5py raise a dozen, MemoryError among them
        reason = " ".join(str(error).strip("\"'").split())
        raise ModelError(
            f"{path}: the file is damaged or truncated ({reason}): fetch it again."
        ) from error


def _weighted_layers(file: h5py.File, path: Path) -> list[tuple[str, dict[str, h5py.Dataset]]]:
    """Return the layers that have weights: their name, and their datasets by kind."""
    is_model = file.get("model_weights", getlink=True) is not None
    root = _member(file, "model_weights", path) if is_model else file
    names = _names(root, "layer_names")
    if names is None:
        raise ModelError(
            f"{path}: expected the weights of a Keras 2 model, but there is no 'layer_names': "
            "save them with model.save('weights.h5')."
        )
    layers = []
    for name in names:
        group = _member(root, name, path)
        weights = _names(group, "weight_names") or []
        # "kernel" for "conv3d_15/kernel:0".
        kinds = [weight.rsplit("/", 1)[-1].partition(":")[0] for weight in weights]
        members = [_member(group, weight, path) for weight in weights]
        found = dict(zip(kinds, members, strict=True))
        if len(found) != len(weights):
            raise ModelError(f"{path}: layer {name!r} names one weight twice: {weights}.")
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
        raise ModelError(
            f"{path}: {group.name}/{name} is named but not in the file: fetch it again."
        )
    member = group[name]
    # A link to another file on the way, or values kept outside, could bring in anything.
    is_elsewhere = member.file.filename != group.file.filename
    if is_elsewhere or (
        isinstance(member, h5py.Dataset) and (member.external or member.is_virtual)
    ):
        raise ModelError(f"{path}: {group.name}/{name} lies outside the file: fetch it again.")
    return member


def _check_layers(
    layers: Sequence[tuple[str, Mapping[str, Any]]],
    expected: Sequence[Mapping[str, Shape]],
    path: Path,
) -> None:
    counts = f"{len(expected)} layers with weights expected, {len(layers)} found"
    faults = []
    for number, (shapes, (name, arrays)) in enumerate(zip(expected, layers, strict=False)):
        found = {kind: getattr(data, "shape", None) for kind, data in arrays.items()}
        wanted = {kind: tuple(shape) for kind, shape in shapes.items()}
        if not _agree(found, wanted):
            faults.append(
                f"layer {number} ({name!r}) has {_shown(found)} instead of {_shown(wanted)}"
            )
    if faults:
        raise ModelError(f"{path}: {listed(faults, 5, '; ')} ({counts}): this is another network.")
    if len(layers) != len(expected):
        extra = [name for name, _ in layers[len(expected) :]]
        what = f"one too many is {extra[0]!r}" if extra else f"layer {len(layers)} is missing"
        raise ModelError(f"{path}: {counts}; {what}: this is another network.")


def _agree(found: Mapping[str, Shape | None], wanted: Mapping[str, Shape]) -> bool:
    def fits(shape: Shape | None, expected: Shape) -> bool:
        return len(shape or ()) == len(expected) and all(
            side == as_expected if as_expected is not None else side
            for side, as_expected in zip(shape or (), expected, strict=True)
        )

    return found.keys() == wanted.keys() and all(
        fits(found[kind], shape) for kind, shape in wanted.items()
    )


def _shown(shapes: Mapping[str, Shape | None]) -> str:
    words = (f"{kind} {shape}" for kind, shape in sorted(shapes.items(), reverse=True))
    return ", ".join(words).replace("None", "any")
