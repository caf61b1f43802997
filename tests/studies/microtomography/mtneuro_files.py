# SPDX-License-Identifier: Apache-2.0
"""Files of weights as MTNeuro writes them: its names and shapes, and numbers of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def _norm(name: str, width: int) -> Shapes:
    yield from ((f"{name}.{part}", (width,)) for part in ("weight", "bias"))
    yield from ((f"{name}.running_{part}", (width,)) for part in ("mean", "var"))
    yield f"{name}.num_batches_tracked", ()


def encoder(prefix: str, width: int = 64) -> Shapes:
    """A ResNet-18 in a sequence, without its pooling and classes: f.2 is the activation."""
    yield f"{prefix}.f.0.weight", (width, 1, 3, 3)
    yield from _norm(f"{prefix}.f.1", width)
    inputs = width
    for stage in range(4):
        outputs = width * 2**stage
        for block in range(2):
            name = f"{prefix}.f.{3 + stage}.{block}"
            yield f"{name}.conv1.weight", (outputs, inputs, 3, 3)
            yield from _norm(f"{name}.bn1", outputs)
            yield f"{name}.conv2.weight", (outputs, outputs, 3, 3)
            yield from _norm(f"{name}.bn2", outputs)
            if inputs != outputs:
                yield f"{name}.downsample.0.weight", (outputs, inputs, 1, 1)
                yield from _norm(f"{name}.downsample.1", outputs)
            inputs = outputs


def classifier(width: int = 64, classes: int = 4) -> Shapes:
    """A supervised encoder and its classes, or those of a probe."""
    yield from encoder("encoder", width)
    yield from (("classifier.weight", (classes, 8 * width)), ("classifier.bias", (classes,)))


def self_supervised(width: int = 64) -> Shapes:
    """All that one learns with: encoders, projectors and a predictor."""
    yield from encoder("online_encoder", width)
    yield from encoder("target_encoder", width)
    for name, inputs in (("online_projector", 8 * width), ("target_projector", 8 * width)):
        yield f"{name}.net.0.weight", (4, inputs)
    yield "predictor.net.0.weight", (4, 4)


def u_net(dims: int = 2, classes: int = 4, width: int = 32) -> Shapes:
    """Four levels, raised by transposed convolutions; conv0 is there and never used."""
    kernel = (3,) * dims
    inputs = 1
    for level in range(4):
        wide = width * 2**level
        yield from _convolutions(f"down_blocks.{level}", inputs, wide, kernel)
        inputs = wide
    for place, level in enumerate((2, 1, 0)):
        fine, name = width * 2**level, f"up_blocks.{place}"
        yield f"{name}.up.weight", (2 * fine, fine, *(2,) * dims)
        yield f"{name}.up.bias", (fine,)
        yield f"{name}.conv0.weight", (fine, 2 * fine, *(1,) * dims)
        yield f"{name}.conv0.bias", (fine,)
        yield from _norm(f"{name}.norm0", fine)
        yield from _convolutions(name, 2 * fine, fine, kernel)
    yield "conv_final.weight", (classes, width, *(1,) * dims)
    yield "conv_final.bias", (classes,)


def _convolutions(name: str, inputs: int, outputs: int, kernel: tuple[int, ...]) -> Shapes:
    for number, taken in ((1, inputs), (2, outputs)):
        yield f"{name}.conv{number}.weight", (outputs, taken, *kernel)
        yield f"{name}.conv{number}.bias", (outputs,)
        yield from _norm(f"{name}.norm{number}", outputs)


def save(shapes: Shapes, path: Path, **beside: Any) -> Path:
    """A file of small numbers; a checkpoint, whose weights are under "model", with `beside`."""
    generator = torch.Generator().manual_seed(0)
    state: Mapping[str, Any] = {
        name: torch.tensor(1)
        if name.endswith("tracked")
        else torch.rand(shape, generator=generator) * 0.1 + ("running_var" in name)
        for name, shape in shapes
    }
    torch.save({"model": state, **beside} if beside else state, path)
    return path
