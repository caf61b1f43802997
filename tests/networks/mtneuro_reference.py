# SPDX-License-Identifier: Apache-2.0
"""The networks that MTNeuro took from two libraries, in NumPy, by the names of their weights.

One sample without a batch; written from segmentation_models_pytorch 0.3.0 and MedicalZooPytorch,
and knowing nothing of the networks here.
"""

from __future__ import annotations

import numpy as np

from tests.networks.reference import (
    Array,
    State,
    between_corners,
    convolved,
    doubled,
    largest,
    mean,
    normalised,
    part_means,
    prelu,
    relu,
    sigmoid,
    transposed,
)


def encoded(state: State, x: Array, dilated: bool = False) -> list[Array]:
    """The maps of a ResNet-18, fine to coarse; the last stage keeps its grid if `dilated`."""
    maps = [relu(normalised(state, "encoder.bn1", convolved(state, "encoder.conv1", x, 2, 3)))]
    x = largest(maps[0], 3, 2, 1)
    for stage in (1, 2, 3, 4):
        wide = dilated and stage == 4
        for block in (0, 1):
            name = f"encoder.layer{stage}.{block}"
            stride = 2 if stage > 1 and not block and not wide else 1
            reach = 2 if wide else 1
            out = convolved(state, f"{name}.conv1", x, stride, reach, reach)
            out = relu(normalised(state, f"{name}.bn1", out))
            out = convolved(state, f"{name}.conv2", out, 1, reach, reach)
            out = normalised(state, f"{name}.bn2", out)
            if f"{name}.downsample.0.weight" in state:
                x = convolved(state, f"{name}.downsample.0", x, stride)
                x = normalised(state, f"{name}.downsample.1", x)
            x = relu(out + x)
        maps.append(x)
    return maps


def layer(state: State, name: str, x: Array, padding: int = 1) -> Array:
    """A convolution, its normalisation if it has one, and ReLU."""
    x = convolved(state, f"{name}.0", x, 1, padding)
    return relu(normalised(state, f"{name}.1", x) if f"{name}.1.weight" in state else x)


def twice(state: State, name: str, *joined: Array) -> Array:
    """Two such layers over what is joined."""
    return layer(state, f"{name}.conv2", layer(state, f"{name}.conv1", np.concatenate(joined)))


def unet_plus_plus(state: State, x: Array) -> Array:
    """U-Net++."""
    features = encoded(state, x)[::-1]
    found = {}
    for number in range(4):
        name = f"x_{number}_{number}"
        joined = (doubled(features[number]), features[number + 1])
        found[name] = twice(state, f"decoder.blocks.{name}", *joined)
    for column in (1, 2, 3):
        for first in range(4 - column):
            last = first + column
            beside = [found[f"x_{n}_{last}"] for n in range(first + 1, last + 1)]
            coarse = doubled(found[f"x_{first}_{last - 1}"])
            block = f"decoder.blocks.x_{first}_{last}"
            found[f"x_{first}_{last}"] = twice(state, block, coarse, *beside, features[last + 1])
    x = twice(state, "decoder.blocks.x_0_4", doubled(found["x_0_3"]))
    return convolved(state, "segmentation_head.0", x, 1, 1)


def manet(state: State, x: Array) -> Array:
    """MAnet, with its attention as it was coded."""
    features = encoded(state, x)[::-1]
    x, name = features[0], "decoder.center"
    top, center, bottom = (
        convolved(state, f"{name}.{part}_conv", x, 1, padding).reshape(-1, x[0].size)
        for part, padding in (("top", 0), ("center", 0), ("bottom", 1))
    )
    shares = np.exp(center.T @ top)
    gathered = (shares / shares.sum()) @ bottom.T
    x = convolved(state, f"{name}.out_conv", x + gathered.reshape(x.shape), 1, 1)
    for number, skip in enumerate(features[1:]):
        name = f"decoder.blocks.{number}"
        x = layer(state, f"{name}.hl_conv.1", layer(state, f"{name}.hl_conv.0", x), 0)
        x = doubled(x)
        gates = 0
        for gate, seen in (("SE_hl", x), ("SE_ll", skip)):
            inner = relu(convolved(state, f"{name}.{gate}.1", mean(seen)))
            gates = gates + sigmoid(convolved(state, f"{name}.{gate}.3", inner))
        x = twice(state, name, x * gates, skip)
    x = twice(state, "decoder.blocks.4", doubled(x))
    return convolved(state, "segmentation_head.0", x, 1, 1)


def fpn(state: State, x: Array) -> Array:
    """FPN."""
    maps = encoded(state, x)
    levels = [convolved(state, "decoder.p5", maps[4])]
    for name, skip in (("p4", maps[3]), ("p3", maps[2]), ("p2", maps[1])):
        side = convolved(state, f"decoder.{name}.skip_conv", skip)
        levels.append(doubled(levels[-1]) + side)
    total = sum(smoothed(state, number, level) for number, level in enumerate(levels))
    return _raised(convolved(state, "segmentation_head.0", total), 4)


def smoothed(state: State, number: int, x: Array) -> Array:
    """A level of the pyramid of FPN, convolved and raised to the finest grid."""
    for step in range(max(1, 3 - number)):
        name = f"decoder.seg_blocks.{number}.block.{step}.block"
        x = convolved(state, f"{name}.0", x, 1, 1)
        groups = x.reshape(32, -1)
        spread = np.sqrt(groups.var(axis=1, keepdims=True) + 1e-5)
        x = ((groups - groups.mean(axis=1, keepdims=True)) / spread).reshape(x.shape)
        scale, shift = (state[f"{name}.1.{part}"][:, None, None] for part in ("weight", "bias"))
        x = relu(x * scale + shift)
        x = _raised(x, 2) if number < 3 else x
    return x


def pan(state: State, x: Array) -> Array:
    """PAN, whose encoder is dilated."""
    maps = encoded(state, x, dilated=True)

    def normed(name: str, x: Array, active: bool = True) -> Array:
        padding = state[f"{name}.conv.weight"].shape[-1] // 2
        x = normalised(state, f"{name}.bn", convolved(state, f"{name}.conv", x, 1, padding))
        return relu(x) if active else x

    deep, name = maps[4], "decoder.fpa"
    first = normed(f"{name}.down1.1", largest(deep))
    second = normed(f"{name}.down2.1", largest(first))
    third = normed(f"{name}.down3.2", normed(f"{name}.down3.1", largest(second)))
    third = between_corners(third, deep.shape[1] // 4, deep.shape[2] // 4)
    second = normed(f"{name}.conv2", second) + third
    second = between_corners(second, deep.shape[1] // 2, deep.shape[2] // 2)
    weights = between_corners(normed(f"{name}.conv1", first) + second, *deep.shape[1:])
    x = weights * normed(f"{name}.mid.0", deep) + normed(f"{name}.branch1.1", mean(deep))
    for number, skip in ((3, maps[3]), (2, maps[2]), (1, maps[1])):
        name = f"decoder.gau{number}"
        gate = sigmoid(normed(f"{name}.conv1.1", mean(x), active=False))
        x = between_corners(x, *skip.shape[1:]) + normed(f"{name}.conv2", skip) * gate
    return _raised(convolved(state, "segmentation_head.0", x, 1, 1), 4)


def pspnet(state: State, x: Array) -> Array:
    """PSPNet, which uses half of its encoder."""
    x = encoded(state, x)[2]
    seen = []
    for number, parts in enumerate((1, 2, 3, 6)):
        name = f"decoder.psp.blocks.{number}.pool.1"
        seen.append(between_corners(layer(state, name, part_means(x, parts), 0), *x.shape[1:]))
    x = layer(state, "decoder.conv", np.concatenate([*seen, x]), 0)
    return _raised(convolved(state, "segmentation_head.0", x, 1, 1), 8)


def _raised(x: Array, factor: int) -> Array:
    return between_corners(x, factor * x.shape[1], factor * x.shape[2])


def vnet_light(state: State, x: Array) -> Array:
    """VNetLight, with slopes that were learnt or, where there are none, exponential ones."""

    def active(name: str, x: Array) -> Array:
        if f"{name}.weight" in state:
            return prelu(state, name, x)
        return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))

    def convolution(name: str, x: Array) -> Array:
        return normalised(state, f"{name}.bn1", convolved(state, f"{name}.conv1", x, 1, 2))

    def operations(name: str, x: Array) -> Array:
        out, number = x, 0
        while (inner := f"{name}.ops.{number}") + ".conv1.weight" in state:
            out = active(f"{inner}.relu1", convolution(inner, out))
            number += 1
        return active(f"{name}.relu2", out + x)

    first = convolution("in_tr", x)
    maps = [active("in_tr.relu1", first + np.concatenate([x] * len(first)))]
    for name in ("down_tr32", "down_tr64", "down_tr128"):
        down = normalised(state, f"{name}.bn1", convolved(state, f"{name}.down_conv", maps[-1], 2))
        maps.append(operations(name, active(f"{name}.relu1", down)))
    x = maps.pop()
    for name in ("up_tr128", "up_tr64", "up_tr32"):
        raised = normalised(state, f"{name}.bn1", transposed(state, f"{name}.up_conv", x))
        x = operations(name, np.concatenate([active(f"{name}.relu1", raised), maps.pop()]))
    return convolved(state, "out_tr.conv2", active("out_tr.relu1", convolution("out_tr", x)))


def highresnet(state: State, x: Array) -> Array:
    """HighResNet, whose shortcuts are padded with zeros."""

    def before(name: str, x: Array, reach: int = 0) -> Array:
        x = relu(normalised(state, f"{name}.0", x))
        return convolved(state, f"{name}.2", x, 1, reach, max(1, reach))

    def block(name: str, inner: str, x: Array, reach: int) -> Array:
        return before(f"{name}.1.{inner}", before(f"{name}.0.{inner}", x, reach), reach)

    def padded(x: Array) -> Array:
        zeros = np.zeros((len(x) // 2, *x.shape[1:]))
        return np.concatenate([zeros, x, zeros])

    first = convolved(state, "conv_init.conv1", x, 1, 1)
    entered = relu(normalised(state, "conv_init.norm.0", first))
    one = block("red_blocks1", "conv_red", first, 1)
    two = block("red_blocks2", "conv_red", one + entered, 1)
    three = block("red_blocks3", "conv_red", two + one, 1)
    four = block("dil2block1", "conv_dil", three + two, 2)
    five = block("dil2block2", "conv_dil", four + padded(three), 2)
    six = block("dil2block3", "conv_dil", five + four, 2)
    seven = block("dil4block1", "conv_dil", six + five, 4)
    eight = block("dil4block2", "conv_dil", seven + padded(six), 4)
    nine = block("dil4block3", "conv_dil", eight + seven, 4)
    return before("conv_out.2.conv_dil", convolved(state, "conv_out.0", nine + eight))
