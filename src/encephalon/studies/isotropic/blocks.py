# SPDX-License-Identifier: Apache-2.0
"""Large parts of heads, cut into thick slices and reconstructed once, and patches cut out of them.

The guided method fits its weights within the scan. In a patch of 32 voxels it sees a handful of
slices, fits badly and lets a network learn to mend what no prediction shows it; in a block of a
hundred voxels it is as good as on a whole head. A block also serves for many patches, which then
cost next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encephalon.io.atomic import content_of
from encephalon.studies.isotropic.data import (
    Patch,
    SubjectFiles,
    load_subject,
    sample_patch,
    subject_files,
)
from encephalon.studies.isotropic.reconstruction.network import CHANNELS
from encephalon.studies.isotropic.settings import IsotropicSettings
from encephalon.tables.schema import Table
from encephalon.training.dataset import prepare

Float = NDArray[np.float32]

#: Changes when the preparation changes, so that an old cache is not used.
PREPARATION = "1"
#: Stream number of the draws, beside those of training and validation.
BLOCKS = 2
#: Places that a patch is drawn from: the one where most detail is missing is taken, as elsewhere
#: there is little to learn.
PLACES = 3
#: Gain and level of a patch, and gain of its T1w: what a new scaling of both scans would make.
GAIN, LEVELS = 0.1, (-0.06, 0.02)


@dataclass(frozen=True)
class Blocks:
    """The blocks of one row, in a file (N, 11, B, B, B), float16: features, truth and weight."""

    path: Path
    real: bool

    @cached_property
    def volumes(self) -> NDArray[np.float16]:
        """All of them, read from the disk as they are needed."""
        found: NDArray[np.float16] = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return found

    def sample(self, rng: np.random.Generator, size: int) -> Patch:
        """A patch of `size` voxels, mirrored, turned about the slice axis and scaled at random."""
        volume = self.volumes[int(rng.integers(len(self.volumes)))]
        room = np.asarray(volume.shape[1:]) - size + 1
        places = [
            tuple(slice(first, first + size) for first in rng.integers(0, room).tolist())
            for _ in range(PLACES)
        ]
        patch = max((volume[(slice(None), *place)] for place in places), key=_lacking)
        patch = patch[:, *(slice(None, None, int(step)) for step in rng.choice([-1, 1], 3))]
        if rng.random() < 0.5:
            patch = patch.swapaxes(1, 2)
        return _rescaled(rng, np.array(patch, np.float32))


def _lacking(volume: NDArray[np.float16]) -> float:
    """The squared error of the guided estimate in all voxels that count fully."""
    truth, weight = np.asarray(volume[-2:], np.float32)
    start = np.asarray(volume[0], np.float32) + volume[1]
    return float(np.sum(np.square(start - truth) * (weight == 1)))


def _rescaled(rng: np.random.Generator, volume: Float) -> Patch:
    """Features (9, N, N, N) and target as if scan and T1w had other units and another darkest grey.

    The guided estimate of a rescaled scan is the rescaled estimate, so nothing is computed anew.
    """
    gains, level = np.exp(rng.normal(0, GAIN, 2)), rng.uniform(*LEVELS)
    features, target = volume[: len(CHANNELS)], volume[len(CHANNELS) :]
    features[:3] *= np.float32(gains[0])
    features[3:5] *= np.float32(gains[1])
    features[0] += np.float32(level)
    target[0] = target[0] * np.float32(gains[0]) + np.float32(level)
    return Patch(features, target)


def prepare_blocks(
    table: Table, settings: IsotropicSettings, seed: int, cache: Path, workers: int = 2
) -> list[Blocks]:
    """The blocks of every row of `table`, made once and kept in `cache`.

    What they show depends on the files, the settings and the seed alone. Raises TableError, naming
    the row, for a head that cannot be learnt from, and what reading raises.
    """
    rows = subject_files(table)
    asked = (settings.block, settings.blocks_per_head, settings.scanner, seed)
    version = f"blocks-{PREPARATION}-{sha256(repr(asked).encode()).hexdigest()[:16]}"
    make = partial(_write_blocks, settings, seed)
    paths = prepare(rows, make, cache, version, ".npy", workers)
    return [Blocks(path, row.labels is None) for path, row in zip(paths, rows, strict=True)]


def _write_blocks(settings: IsotropicSettings, seed: int, row: SubjectFiles, path: Path) -> None:
    subject, edge = load_subject(row), settings.block
    content = int(content_of(row.files[0])[:8], 16)  # two heads are never drawn alike
    blocks = np.empty((settings.blocks_per_head, len(CHANNELS) + 2, edge, edge, edge), np.float16)
    for number, block in enumerate(blocks):
        rng = np.random.default_rng([seed, BLOCKS, content, number])
        # A T1w of somebody else is of another place of the same head here.
        drawn = sample_patch(rng, subject, subject, edge, settings.scanner)
        block[:] = np.concatenate([drawn.features, drawn.target])
    with path.open("wb") as stream:
        np.save(stream, blocks, allow_pickle=False)
