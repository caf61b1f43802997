# SPDX-License-Identifier: Apache-2.0
"""Fixtures for every test: the folder of real scans, and small volumes made on the spot."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from encephalon.geometry.affine import Affine
from encephalon.io.image import Image
from tests.reports.browser import Browser

# How long an example takes says nothing of whether it is right, least of all on a busy machine; and
# what was found there before, or a checkout that nobody may write to, must not change the result.
# Examples are the same in every run, so that a test which fails tells of the change; other ones
# come with  pytest --hypothesis-profile=random.
for _name, _same in (("encephalon", True), ("random", False)):
    hypothesis.settings.register_profile(
        _name,
        deadline=None,
        database=None,
        derandomize=_same,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
hypothesis.settings.load_profile("encephalon")

_SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"


_LOGGER = logging.getLogger("encephalon")
_AS_IMPORTED = (_LOGGER.level, tuple(_LOGGER.handlers), _LOGGER.propagate)


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    """What a console does to the log ends with the test, or before it, where a module used one."""
    _reset_log()
    yield
    _reset_log()


def _reset_log() -> None:
    level, handlers, propagate = _AS_IMPORTED
    _LOGGER.setLevel(level)
    _LOGGER.handlers[:], _LOGGER.propagate = handlers, propagate
    logging.captureWarnings(False)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser without a network, one for the tests of each kind of page."""
    with Browser.started(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real scans: $ENCEPHALON_TEST_DATA, or ../shared/data beside the checkout."""
    folder = Path(os.environ.get("ENCEPHALON_TEST_DATA") or _SHARED)
    if not folder.is_dir():
        pytest.skip(f"needs real scans: set ENCEPHALON_TEST_DATA ({folder} is not there)")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that gives the same numbers in every test."""
    return np.random.default_rng(20240229)


@pytest.fixture
def oblique() -> Affine:
    """Axes swapped and flipped, 12° off the world's, with three different voxel edges."""
    turn = np.deg2rad(12.0)
    about_s = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    swapped = np.asarray([[0, -1, 0], [0, 0, 1], [-1, 0, 0]], float)
    return Affine.from_parts(about_s @ swapped, (0.9, 1.2, 3.0), (-20.0, 31.0, 12.5))


@pytest.fixture
def head(rng: np.random.Generator) -> Image:
    """A smooth head of 24 x 28 x 20 voxels, float32: bright brain, dark skull, skin, noise."""
    shape = (24, 28, 20)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    values = np.select([radius < 0.6, radius < 0.7, radius < 0.85], [800.0, 80.0, 400.0], 5.0)
    noisy = values + rng.normal(0, 4, shape)
    return Image(noisy.astype(np.float32), Affine.from_spacing((2.0, 1.5, 2.5), (-23, -20, -24)))


@pytest.fixture
def brain(head: Image) -> np.ndarray:
    """The brain of `head` as a truth-value mask of the same shape."""
    return np.asarray(head.data > 600)
