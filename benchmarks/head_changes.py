# SPDX-License-Identifier: Apache-2.0
"""Changes of a head scan that are met in practice, its brain mask changed alike.

`CHANGES` has every one by name. They take the scan, the brain mask (uint8, on its grid) and a
generator, and raise an EncephalonError for a scan that cannot be changed so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch

from encephalon.geometry.affine import Affine, bounding_box, orient
from encephalon.io.image import Image
from encephalon.studies.isotropic.simulation import SliceSettings, simulate_slices
from encephalon.transforms.synthesis import bias_field, rician_noise

__all__ = ["CHANGES", "Pair"]

Pair = tuple[Image, Image]
Change = Callable[[Image, Image, np.random.Generator], Pair]

#: Per cent of the intensities that are taken for the brightest tissue.
BRIGHT = 99
#: Share of the brightest below which an intensity is nearly black.
BLACK = 0.1
#: Standard deviation of the logarithm of the bias field: the strongest that training draws.
BIAS = 0.5


def noisy(share: float, scan: Image, brain: Image, rng: np.random.Generator) -> Pair:
    """Rician noise whose standard deviation is a `share` of the brightest tissue."""
    level = share * float(np.percentile(scan.data[scan.data > 0], BRIGHT))
    noise = rician_noise(rng, torch.as_tensor(scan.data, dtype=torch.float32), level)
    return Image(noise.numpy(), scan.affine), brain


def biased(scan: Image, brain: Image, rng: np.random.Generator) -> Pair:
    """A bias field."""
    field = bias_field(rng, torch.as_tensor(scan.data, dtype=torch.float32), BIAS)
    return Image(field.numpy(), scan.affine), brain


def inverted(everywhere: bool, scan: Image, brain: Image, rng: np.random.Generator) -> Pair:
    """Bright is dark; what is nearly black, air and bone, becomes so only `everywhere`."""
    del rng
    data = scan.data.astype(np.float32)
    top = np.percentile(data, 99.9)
    kept = 1 if everywhere else np.clip(data / (BLACK * top), 0, 1)
    return Image(np.clip(top - data, 0, None) * kept, scan.affine), brain


def thick(mm: float, letters: str, scan: Image, brain: Image, rng: np.random.Generator) -> Pair:
    """Slices `mm` thick along the axis of `letters`, averaged."""
    del rng
    settings = SliceSettings(_axis(scan, letters)[0], mm)
    share = simulate_slices(Image(brain.data.astype(np.float32), brain.affine), settings)
    whole = Image((share.data > 0.5).astype(np.uint8), share.affine)
    return simulate_slices(scan, settings), whole


def cut(share: float, letters: str, scan: Image, brain: Image, rng: np.random.Generator) -> Pair:
    """The volume ends where a `share` of the brain's length is out of it, at the first letter."""
    del rng
    axis, first = _axis(scan, letters)
    box = bounding_box(brain.data > 0)[axis]
    lost = round(share * (box.stop - box.start))
    kept = [slice(0, size) for size in scan.shape]
    kept[axis] = slice(box.start + lost, None) if first else slice(0, box.stop - lost)
    place = scan.affine.shifted([edge.start for edge in kept])
    data = (np.ascontiguousarray(image.data[tuple(kept)]) for image in (scan, brain))
    return Image(next(data), place), Image(next(data), place)


def lying(swapped: bool, scan: Image, brain: Image, rng: np.random.Generator) -> Pair:
    """Axes `swapped`, or upside down, and a header that says RAS."""
    del rng
    both = []
    for image in (scan, brain):
        data, affine = orient(image.data, image.affine, "RAS")
        order = (2, 0, 1) if swapped else (0, 1, 2)
        turned = data.transpose(order) if swapped else data[:, :, ::-1]
        place = Affine.from_spacing([affine.spacing[axis] for axis in order])
        both.append(Image(np.ascontiguousarray(turned), place))
    return both[0], both[1]


def scaled(
    factors: Mapping[str, float], scan: Image, brain: Image, rng: np.random.Generator
) -> Pair:
    """Voxels, and so the head and the depth of its scalp, longer along the axes of the letters."""
    del rng
    matrix = scan.affine.matrix.copy()
    for letters, factor in factors.items():
        matrix[:3, _axis(scan, letters)[0]] *= factor
    return Image(scan.data, Affine(matrix)), Image(brain.data, Affine(matrix))


def bare(scan: Image, brain: Image, rng: np.random.Generator) -> Pair:
    """The brain alone."""
    del rng
    return Image(np.where(brain.data > 0, scan.data, 0), scan.affine), brain


def _axis(scan: Image, letters: str) -> tuple[int, bool]:
    """The voxel axis along two letters such as SI, and whether it begins at the first of them."""
    codes = scan.affine.codes
    axis = next(axis for axis, letter in enumerate(codes) if letter in letters)
    return axis, codes[axis] != letters[0]


AXES = {"across the height": "SI", "across the length": "AP", "across the breadth": "LR"}
FACES = {"top": "SI", "bottom": "IS", "front": "AP", "side": "LR"}
#: By name, which is the kind and, behind a comma, what of it.
CHANGES: dict[str, Change] = {
    "noise 5 %": partial(noisy, 0.05),
    "noise 10 %": partial(noisy, 0.10),
    "bias field": biased,
    "inverted head": partial(inverted, False),
    "negative": partial(inverted, True),
    **{
        f"slices {mm} mm, {name}": partial(thick, mm, letters)
        for mm in (4, 6)
        for name, letters in AXES.items()
    },
    **{
        f"cut {share} %, {name}": partial(cut, share / 100, letters)
        for share in (10, 20, 35)
        for name, letters in FACES.items()
    },
    "header lies, axes swapped": partial(lying, True),
    "header lies, upside down": partial(lying, False),
    **{
        f"scaled to {share} %": partial(scaled, dict.fromkeys(AXES.values(), share / 100))
        for share in (70, 85, 115)
    },
    "flat, 80 % of the height": partial(scaled, {"SI": 0.8}),
    "long, 120 % of the length": partial(scaled, {"AP": 1.2}),
    "brain only": bare,
}
