# SPDX-License-Identifier: Apache-2.0
"""Weights out of a file that `torch.save` wrote: tensors by name, and nothing else is let in.

torch is imported when a file is read, and not before.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from encephalon.errors import ModelError
from encephalon.models.files import content

_LARGEST = 800 * 1024**2
"""Bytes; the published ones have 5 to 350 MB."""
_PART, _NO_WEIGHTS = "state_dict", ("optim", "scaler", "scheduler")
"""How the key of a part of a checkpoint ends, and how those begin that are no network's."""


def read_state_dict(path: str | Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a state dictionary (.pt, .pth) as arrays, by name.

    torch's own reader for tensors alone is used, which refuses whatever could run code. Of a
    checkpoint it is the dictionary under "model" or under the one key that ends in "state_dict"; of
    several networks, each under such a key, the key comes before the names. Raises
    MissingFileError, or ModelError for a pointer to data elsewhere, a damaged file, and anything
    but a flat dictionary of tensors whose values are in the file and finite.
    """
    from torch import Tensor

    file_path = Path(path)
    with content(file_path, "weights that torch.save wrote (.pt, .pth)", _LARGEST) as stream:
        _refuse_packed(file_path, stream)
        state = _loaded(file_path, stream)
    if isinstance(state, Mapping) and isinstance(state.get("model"), Mapping):
        state = state["model"]  # of a checkpoint, which has the optimiser beside it
    elif isinstance(state, Mapping):
        state = _parts_of(state) or state
    if not isinstance(state, Mapping) or not state:
        raise ModelError(
            f"{file_path}: expected a dictionary of tensors, but it holds {type(state).__name__} "
            f"of {len(state) if isinstance(state, Mapping) else 'another kind'}: save "
            "model.state_dict()."
        )
    # Views of one storage are as many arrays.
    tensors = (one for one in state.values() if isinstance(one, Tensor))
    if sum(one.numel() * one.element_size() for one in tensors) > _LARGEST:
        raise ModelError(f"{file_path}: its tensors have more than {_LARGEST:,} bytes in all.")
    # 1 and "1" would be one name, and one of their tensors lost.
    if strange := [name for name in state if not isinstance(name, str)]:
        raise ModelError(f"{path}: expected names of tensors, but {strange[0]!r} is none.")
    return {name: _array(file_path, name, one) for name, one in state.items()}


def _parts_of(state: Mapping[Any, Any]) -> dict[str, Any]:
    """The weights of a checkpoint: of its one network, or of several under the keys of each."""
    parts = {
        key: inner
        for key, inner in state.items()
        if isinstance(key, str) and key.endswith(_PART) and isinstance(inner, Mapping)
    }
    networks = {k: v for k, v in parts.items() if not k.startswith(_NO_WEIGHTS)}
    if len(networks) == 1:
        return dict(*networks.values())
    return {f"{key}.{name}": one for key, inner in networks.items() for name, one in inner.items()}


def _refuse_packed(path: Path, stream: BufferedReader) -> None:
    """Raise ModelError for a zip whose members are packed: torch stores them as they are."""
    try:
        members = zipfile.ZipFile(stream).infolist() if zipfile.is_zipfile(stream) else []
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        members = []  # torch will say what is wrong with it
    size = stream.seek(0, 2)
    is_packed = any(item.compress_type != zipfile.ZIP_STORED for item in members)
    if is_packed or sum(item.file_size for item in members) > size:
        raise ModelError(f"{path}: packed, as torch.save packs nothing: save the weights anew.")
    stream.seek(0)


def _loaded(path: Path, stream: BufferedReader) -> Any:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch to those who wrote the file
            return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in as many ways as there are bytes
        reason = str(error).strip().partition("\n")[0].partition(". ")[0][:200]
        raise ModelError(
            f"{path}: expected weights that torch.save wrote, but it cannot be read as "
            f"tensors alone ({reason or type(error).__name__}): save model.state_dict()."
        ) from error


def _array(path: Path, name: str, value: Any) -> NDArray[Any]:
    import torch

    if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_quantized:
        raise ModelError(
            f"{path}: expected tensors alone, but {name!r} is {type(value).__name__}: save "
            "model.state_dict() by itself."
        )
    try:
        # One stored number can be spread over any shape, and would fill the memory when it is used.
        if value.untyped_storage().nbytes() < value.numel() * value.element_size():
            raise ModelError(
                f"{path}: the file holds fewer values of {name!r} than its shape says."
            )
        if not value.isfinite().all():
            raise ModelError(
                f"{path}: the weights {name!r} are not finite: the file is damaged or its training "
                "diverged; fetch it again."
            )
        plain = value.detach().float() if value.dtype == torch.bfloat16 else value.detach()
        array: NDArray[Any] = plain.resolve_conj().resolve_neg().contiguous().numpy()
    except (NotImplementedError, RuntimeError, TypeError) as error:
        raise ModelError(
            f"{path}: {name!r} is a {value.dtype} on the device {value.device}, which cannot be "
            "used: save model.float().state_dict()."
        ) from error
    return array
