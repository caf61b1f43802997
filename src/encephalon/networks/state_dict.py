# SPDX-License-Identifier: Apache-2.0
"""Weights out of a file that `torch.save` wrote: tensors by name, and nothing else is let in."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from encephalon.errors import ModelError
from encephalon.models.content import check_content

__all__ = ["read_state_dict"]


def read_state_dict(path: str | Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a state dictionary (.pt, .pth) as arrays, by name.

    torch's own reader for tensors alone is used, which refuses whatever could run code. Raises
    MissingFileError, or ModelError for a pointer to data elsewhere, a damaged file, and anything
    but a flat dictionary of tensors whose values are in the file and finite.
    """
    file_path = Path(path)
    check_content(file_path, "weights that torch.save wrote (.pt, .pth)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch to those who wrote the file
            state = torch.load(file_path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in as many ways as there are bytes
        reason = str(error).strip().partition("\n")[0].partition(". ")[0][:200]
        message = (
            f"{file_path}: expected weights that torch.save wrote, but it cannot be read as "
            f"tensors alone ({reason or type(error).__name__}): save model.state_dict()."
        )
        raise ModelError(message) from error
    if not isinstance(state, Mapping) or not state:
        message = (
            f"{file_path}: expected a dictionary of tensors, but it holds {type(state).__name__} "
            f"of {len(state) if isinstance(state, Mapping) else 'another kind'}: save "
            "model.state_dict()."
        )
        raise ModelError(message)
    return {str(name): _array(file_path, str(name), value) for name, value in state.items()}


def _array(path: Path, name: str, value: Any) -> NDArray[Any]:
    if not isinstance(value, Tensor) or value.is_sparse or value.is_quantized:
        message = (
            f"{path}: expected tensors alone, but {name!r} is {type(value).__name__}: save "
            "model.state_dict() by itself."
        )
        raise ModelError(message)
    # One stored number can be spread over any shape, and would fill the memory when it is used.
    if value.untyped_storage().nbytes() < value.numel() * value.element_size():
        raise ModelError(f"{path}: the file holds fewer values of {name!r} than its shape says.")
    if not value.isfinite().all():
        message = (
            f"{path}: the weights {name!r} are not finite: the file is damaged or its training "
            "diverged; fetch it again."
        )
        raise ModelError(message)
    plain = value.detach().float() if value.dtype == torch.bfloat16 else value.detach()
    array: NDArray[Any] = plain.contiguous().numpy()
    return array
