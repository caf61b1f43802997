# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: what goes in comes out, and damage is always noticed."""

from __future__ import annotations

import errno
import json
import math
import os
import random
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor

from encephalon.errors import OutputError, RunError
from encephalon.training.checkpoint import (
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)


def equal(first: Any, second: Any) -> bool:
    """Deep equality where NaN equals itself and tensors agree in type, shape and every bit."""
    if isinstance(first, Tensor):
        kinds = isinstance(second, Tensor) and first.dtype == second.dtype
        return kinds and first.shape == second.shape and torch.equal(first, second)
    if isinstance(first, dict):
        keys = isinstance(second, dict) and list(first) == list(second)
        return keys and all(equal(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    if isinstance(first, float) and math.isnan(first):
        return isinstance(second, float) and math.isnan(second)
    return bool(first == second) and type(first) is type(second)


def state() -> dict[str, Any]:
    return {
        "weights": {"a/b": torch.randn(2, 3), "half": torch.randn(4).bfloat16()},
        "optimiser": {0: {"step": torch.tensor(7.0)}, 1: {"exp": torch.randn(5)[::2]}},
        "counts": torch.arange(3),
        "empty": torch.zeros(0, 2),
        "plain": [1, 0.1, None, True, "ä", [1.0, math.inf], {}],
        "best": math.nan,
    }


def test_every_kind_of_state_comes_back(tmp_path: Path) -> None:
    """Tensors of any type and shape, whole-number keys, NaN, infinity, empty things."""
    given = state()
    save_checkpoint(tmp_path / "deep" / "last", given)
    assert equal(load_checkpoint(tmp_path / "deep" / "last"), given)


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=40)
@given(st.dictionaries(st.text(), NESTED, max_size=4))
def test_any_plain_nesting_comes_back(
    tmp_path_factory: pytest.TempPathFactory, given: dict[str, Any]
) -> None:
    """Text with any character, numbers of any size, whole numbers as keys."""
    path = tmp_path_factory.mktemp("run") / "plain"
    save_checkpoint(path, given)
    assert equal(load_checkpoint(path), given)


def test_a_missing_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(RunError, match=r"absent .*missing: start the run without --resume"):
        load_checkpoint(tmp_path / "absent")


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_truncated_checkpoint_is_refused(tmp_path: Path, kept: int) -> None:
    """However much of it is left."""
    path = tmp_path / "last"
    save_checkpoint(path, state())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RunError, match="is not a checkpoint"):
        load_checkpoint(path)


@settings(max_examples=60)
@given(st.integers(min_value=0), st.integers(0, 7))
def test_a_flipped_bit_is_never_loaded(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    """Wherever it is: in the header, in a number, in a weight."""
    path = tmp_path_factory.mktemp("run") / "last"
    torch.manual_seed(0)
    whole = state()
    save_checkpoint(path, whole)
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)
    try:
        loaded = load_checkpoint(path)
    except RunError:
        return
    assert equal(loaded, whole)  # a blank of the header may be any blank


@pytest.mark.parametrize(
    ("written", "damaged"),
    [(b'"shape":[2,3]', b'"shape":[3,2]'), (b'"dtype":"F32"', b'"dtype":"I32"')],
    ids=["shape", "type"],
)
def test_the_same_bytes_in_another_shape_or_type_are_not_loaded(
    tmp_path: Path, written: bytes, damaged: bytes
) -> None:
    """The checksum knows what the bytes mean, too."""
    path = tmp_path / "last"
    save_checkpoint(path, {"weights": torch.ones(2, 3)})
    content = path.read_bytes()
    assert content.count(written) == 1
    path.write_bytes(content.replace(written, damaged))
    with pytest.raises(RunError, match="its checksum differs"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "text",
    [
        *("[1]", "null", "{}", '{"value": 3}', '{"items": 3}', '{"items": [[1]]}', '{"list": 3}'),
        *('{"tensor": "absent"}', '{"tensor": []}', '{"items": [[[], {"value": 1}]]}'),
        *("[" * 100_000, '{"value": ' + "9" * 5000 + "}"),
    ],
)
def test_a_whole_checkpoint_of_another_structure_is_refused(tmp_path: Path, text: str) -> None:
    """Its checksum may be right, and still it is none of this program."""
    content = save({}, metadata={"state": text, "crc32": str(zlib.crc32(text.encode()))})
    (tmp_path / "last").write_bytes(content)
    with pytest.raises(RunError, match="is not a checkpoint"):
        load_checkpoint(tmp_path / "last")


def test_a_full_disk_is_the_disks_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for every other file, and nothing half-written stays behind."""
    path = tmp_path / "last"
    save_checkpoint(path, {"step": 1})

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match=r"last could not be written: the disk is full"):
            save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path) == {"step": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["last"]


def test_a_failing_write_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    """A state that cannot be stored does not cost the run what it had."""
    path = tmp_path / "last"
    save_checkpoint(path, {"step": 1})
    with pytest.raises(TypeError):
        save_checkpoint(path, {"step": object()})
    assert load_checkpoint(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_pickled(tmp_path: Path) -> None:
    """The file is a safetensors header of JSON, then numbers."""
    path = tmp_path / "last"
    save_checkpoint(path, state())
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert set(header["__metadata__"]) == {"state", "crc32"}


def test_every_random_generator_goes_on_where_it_was(tmp_path: Path) -> None:
    """Python's, NumPy's and torch's, through a file."""

    def draw() -> tuple[Any, ...]:
        numpy = np.random.normal(), np.random.randint(100)
        return random.gauss(0, 1), *numpy, torch.randn(3).tolist()

    draw()
    save_checkpoint(tmp_path / "last", random_state())
    expected = draw()
    draw()
    restore_random_state(load_checkpoint(tmp_path / "last"))
    assert draw() == expected
