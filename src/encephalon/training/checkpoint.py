# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a run: one safetensors file, written atomically, from which a run goes on exactly.

Any nesting of dictionaries, lists, numbers and tensors is stored: the tensors by their path, all
else as JSON in the file's header. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from encephalon.errors import RunError
from encephalon.io.atomic import write_bytes
from encephalon.io.files import exists, need_file

if TYPE_CHECKING:
    from encephalon.training.runs import RunFolder

#: What the parts of a checkpoint raise that is whole, but of another structure.
WRONG_STRUCTURE = (
    *(AttributeError, LookupError, OverflowError, RecursionError, RuntimeError, TypeError),
    ValueError,
)


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state` to `path`; a reader sees the old file or the whole new one."""
    tensors: dict[str, Tensor] = {}
    plain = _split(state, "", tensors)
    text = json.dumps(plain)
    metadata = {"state": text, "crc32": str(_crc32(text, tensors))}
    # Written by us, as safetensors gives a full disk a name of its own and leaves its parts behind.
    write_bytes(path, save(tensors, metadata=metadata))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote; raises RunError when the file is missing or damaged."""
    if not exists(path):
        raise RunError(
            f"{path} was expected to hold a checkpoint but is missing: start the run "
            "without --resume."
        )
    try:
        need_file(path)
        with safe_open(path, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            metadata = opened.metadata()
        if metadata["crc32"] != str(_crc32(metadata["state"], tensors)):
            raise ValueError("its checksum differs")
        state: dict[str, Any] = dict(_join(json.loads(metadata["state"]), tensors))
    except (SafetensorError, OSError, *WRONG_STRUCTURE) as error:
        raise RunError(
            f"{path} is not a checkpoint of this program, or damaged ({error}): put a copy of it "
            "back, or remove it, and this network is trained from its beginning."
        ) from error
    return state


def load_own_checkpoint(run: RunFolder) -> dict[str, Any]:
    """The checkpoint of `run`; raises RunError for one that is damaged, or another run's."""
    state = load_checkpoint(run.checkpoint)
    if state.get("run") != run.identity:
        raise RunError(
            f"{run.checkpoint} belongs to another run or another of its networks: put the right "
            "one back, or remove it, and this network is trained from its beginning."
        )
    return state


def _crc32(text: str, tensors: Mapping[str, Tensor]) -> int:
    """Checksum of all that is stored: safetensors itself does not see a flipped bit."""
    checksum = zlib.crc32(text.encode())
    for name, tensor in sorted(tensors.items()):
        about = f"{name} {tensor.dtype} {tuple(tensor.shape)}"
        flat = tensor.contiguous().reshape(-1).view(torch.uint8)
        checksum = zlib.crc32(flat.numpy().data, zlib.crc32(about.encode(), checksum))
    return checksum


def _split(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Replace every tensor in `value` by a reference, and collect the tensors by path."""
    if isinstance(value, Tensor):
        tensors[path] = value.detach().cpu().contiguous().clone()
        return {"tensor": path}
    if isinstance(value, Mapping):
        return {
            "items": [[key, _split(item, f"{path}/{key}", tensors)] for key, item in value.items()]
        }
    if isinstance(value, list | tuple):
        return {"list": [_split(v, f"{path}/{n}", tensors) for n, v in enumerate(value)]}
    return {"value": value}


def _join(value: dict[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "items" in value:
        return {key: _join(item, tensors) for key, item in value["items"]}
    if "list" in value:
        return [_join(item, tensors) for item in value["list"]]
    return value["value"]


def random_state() -> dict[str, Any]:
    """The state of every global random generator: Python, NumPy, torch and each CUDA device."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    version, words, cached = random.getstate()
    return {
        "python": [version, list(words), cached],
        "numpy": [kind, [int(k) for k in keys], int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Put every global random generator back to what `random_state` recorded."""
    version, words, cached = state["python"]
    random.setstate((version, tuple(words), cached))
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(list(state["cuda"]))
