# SPDX-License-Identifier: Apache-2.0
"""Layers of networks written out in NumPy, float64, to compare imported weights with.

One sample without a batch, (channels, *sides), of two or three dimensions. Kernels lie as in files
of torch: (out, in, *sides), of transposed convolutions (in, out, *sides).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import erf

Array = np.ndarray[Any, Any]
State = Mapping[str, Array]


def lively(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Array]:
    """Weights of these names and shapes through which a signal neither dies nor explodes."""
    rng = np.random.default_rng(seed)
    state: dict[str, Array] = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            state[name] = np.array(1)
        elif len(shape) > 1:
            scale = np.sqrt(2 / np.prod(shape[1:]))
            state[name] = rng.normal(0, scale, shape).astype(np.float32)
        elif name.endswith(("running_mean", "bias")):
            state[name] = rng.normal(0, 0.2, shape).astype(np.float32)
        else:  # variances, scales of norms, slopes
            state[name] = rng.uniform(0.3, 1.3, shape).astype(np.float32)
    return state


def windows(x: Array, sides: tuple[int, ...], stride: int, dilation: int = 1) -> Array:
    """(channels, *places, *sides): what a kernel of these sides sees at each place."""
    reach = tuple(dilation * (side - 1) + 1 for side in sides)
    seen = sliding_window_view(x, reach, axis=tuple(range(1, x.ndim)))
    steps = (stride, dilation)
    return seen[(slice(None), *[slice(None, None, n) for n in steps for _ in sides])]


def padded(x: Array, padding: int, value: float = 0.0) -> Array:
    """The image with a border."""
    return np.pad(x, [(0, 0), *[(padding, padding)] * (x.ndim - 1)], constant_values=value)


def convolved(
    state: State, name: str, x: Array, stride: int = 1, padding: int = 0, dilation: int = 1
) -> Array:
    """A convolution by `name`.weight, with `name`.bias if there is one."""
    kernel = state[f"{name}.weight"].astype(np.float64)
    dims = x.ndim - 1
    seen = windows(padded(x, padding), kernel.shape[2:], stride, dilation)
    inside = [0, *range(dims + 1, 2 * dims + 1)]
    out = np.tensordot(kernel, seen, axes=(list(range(1, dims + 2)), inside))
    return _biased(state, name, out)


def transposed(
    state: State, name: str, x: Array, stride: int = 2, padding: int = 0, beyond: int = 0
) -> Array:
    """A transposed convolution: each voxel spreads its kernel; `beyond` voxels more at the end."""
    kernel = state[f"{name}.weight"].astype(np.float64)
    sides = kernel.shape[2:]
    whole = [(n - 1) * stride + k + beyond for n, k in zip(x.shape[1:], sides, strict=True)]
    out = np.zeros((kernel.shape[1], *whole))
    for place in product(*map(range, sides)):
        there = tuple(
            slice(at, at + stride * (n - 1) + 1, stride)
            for at, n in zip(place, x.shape[1:], strict=True)
        )
        out[(slice(None), *there)] += np.tensordot(
            kernel[(slice(None), slice(None), *place)], x, axes=(0, 0)
        )
    return _biased(state, name, out[(slice(None), *(slice(padding, n - padding) for n in whole))])


def _biased(state: State, name: str, x: Array) -> Array:
    bias = state.get(f"{name}.bias")
    return x if bias is None else x + bias.reshape(-1, *[1] * (x.ndim - 1))


def linear(state: State, name: str, x: Array) -> Array:
    """A linear layer over (features,)."""
    return state[f"{name}.weight"].astype(np.float64) @ x + state[f"{name}.bias"]


def normalised(state: State, name: str, x: Array) -> Array:
    """Batch normalisation by what was counted in training."""
    parts = (state[f"{name}.{n}"] for n in ("running_mean", "running_var", "weight", "bias"))
    mean, var, scale, shift = (part.reshape(-1, *[1] * (x.ndim - 1)) for part in parts)
    return (x - mean) / np.sqrt(var + 1e-5) * scale + shift


def largest(x: Array, side: int = 2, stride: int = 2, padding: int = 0) -> Array:
    """The largest of each cube or square of `side` voxels."""
    dims = x.ndim - 1
    seen = windows(padded(x, padding, -np.inf), (side,) * dims, stride)
    return seen.max(axis=tuple(range(-dims, 0)))


def relu(x: Array) -> Array:
    """What lies above 0."""
    return np.maximum(x, 0)


def gelu(x: Array) -> Array:
    """x times the share of the normal distribution below it."""
    return x * (1 + erf(x / np.sqrt(2))) / 2


def prelu(state: State, name: str, x: Array) -> Array:
    """x, below 0 times a slope that was learnt, of all channels or of each."""
    slopes = state[f"{name}.weight"].reshape(-1, *[1] * (x.ndim - 1))
    return np.where(x > 0, x, slopes * x)


def sigmoid(x: Array) -> Array:
    """Between 0 and 1."""
    return 1 / (1 + np.exp(-x))


def mean(x: Array) -> Array:
    """The mean of each channel over its places, with sides of 1."""
    return x.mean(axis=tuple(range(1, x.ndim)), keepdims=True)


def doubled(x: Array) -> Array:
    """Each pixel of (channels, rows, columns) four times."""
    return x.repeat(2, axis=1).repeat(2, axis=2)


def between_corners(x: Array, rows: int, columns: int) -> Array:
    """(channels, rows, columns) with other sides, linear, the corners kept where they are."""
    for axis, side in ((1, rows), (2, columns)):
        places = np.linspace(0, x.shape[axis] - 1, side)
        low = np.minimum(places.astype(int), x.shape[axis] - 1)
        high = np.minimum(low + 1, x.shape[axis] - 1)
        share = (places - low).reshape(-1, *[1] * (2 - axis))
        x = x.take(low, axis) * (1 - share) + x.take(high, axis) * share
    return x


def part_means(x: Array, parts: int) -> Array:
    """(channels, parts, parts): means over parts of each side, which share what lies between."""
    rows, columns = (
        [slice(n * side // parts, -(-(n + 1) * side // parts)) for n in range(parts)]
        for side in x.shape[1:]
    )
    means = [[x[:, row, column].mean(axis=(1, 2)) for column in columns] for row in rows]
    return np.moveaxis(np.array(means), -1, 0)
