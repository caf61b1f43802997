# SPDX-License-Identifier: Apache-2.0
"""What scanners do to intensities: each effect against what physics says of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from encephalon.transforms import synthesis
from encephalon.transforms.grey_levels import normalise_percentiles


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def test_blur_keeps_a_constant_and_spreads_a_point_by_its_width() -> None:
    """The variance of a blurred point is sigma squared, along each axis on its own."""
    assert torch.allclose(
        synthesis.gaussian_blur(torch.full((9, 9, 9), 2.0), (1, 2, 0)), torch.tensor(2.0)
    )
    point = torch.zeros(33, 33, 33)
    point[16, 16, 16] = 1
    spread = synthesis.gaussian_blur(point, (1.0, 2.0, 0.0))
    positions = torch.arange(33.0) - 16
    for axis, sigma in enumerate((1.0, 2.0, 0.0)):
        profile = spread.sum(tuple({0, 1, 2} - {axis}))
        assert profile.sum().item() == pytest.approx(1, abs=1e-5)
        assert (profile * positions**2).sum().item() == pytest.approx(sigma**2, rel=0.05)


def test_a_bias_field_is_smooth_and_multiplies() -> None:
    """Its logarithm has about the strength asked for, and neighbours hardly differ."""
    rng = np.random.default_rng(0)
    fields = [synthesis.bias_field(rng, torch.ones(16, 16, 16), 0.5).log() for _ in range(40)]
    assert 0.2 < torch.stack(fields).std().item() < 0.6
    assert max(field.diff(dim=0).abs().max().item() for field in fields) < 0.8
    assert torch.equal(synthesis.bias_field(rng, torch.zeros(4, 4, 4), 1.0), torch.zeros(4, 4, 4))


def test_noise_in_air_has_the_mean_of_rayleigh() -> None:
    """sigma sqrt(pi / 2) where there is no signal; none without sigma."""
    rng = np.random.default_rng(0)
    air = synthesis.rician_noise(rng, torch.zeros(40, 40, 40), 0.1)
    assert air.mean().item() == pytest.approx(0.1 * np.sqrt(np.pi / 2), rel=0.01)
    image = noise(5, 5, 5)
    assert torch.allclose(synthesis.rician_noise(rng, image, 0.0), image)


def test_percentiles_become_0_and_1() -> None:
    """Of 1001 even steps the 1st and the 99th percentile, the rest is clipped."""
    ramp = np.linspace(0, 1000, 1001, dtype=np.float32).reshape(7, 11, 13)
    scaled = normalise_percentiles(ramp).ravel()
    assert scaled[10] == pytest.approx(0, abs=1e-6)
    assert scaled[500] == pytest.approx(0.5, abs=1e-6)
    assert scaled[990] == pytest.approx(1, abs=1e-6)
    assert scaled.min() == 0
    assert scaled.max() == 1


def test_percentiles_are_those_of_the_field_of_view() -> None:
    """Voxels outside count for nothing and become 0."""
    ramp = np.linspace(5, 6, 500, dtype=np.float32).reshape(5, 10, 10)
    padded = np.concatenate([ramp, np.full((5, 10, 10), 900, np.float32)])
    inside = np.arange(10)[:, None, None] < np.full((1, 10, 10), 5)
    scaled = normalise_percentiles(padded, inside)
    assert np.allclose(scaled[:5], normalise_percentiles(ramp))
    assert not scaled[5:].any()


@given(
    arrays(np.float32, (4, 5, 6), elements=st.floats(-1e4, 1e4, width=32)),
    st.floats(0.1, 50),
    st.floats(-100, 100),
)
def test_normalising_gives_0_to_1_whatever_comes(
    image: np.ndarray, gain: float, offset: float
) -> None:
    """Finite, within [0, 1], and the same for tensors; a constant image becomes 0."""
    scaled = normalise_percentiles(image)
    assert np.isfinite(scaled).all()
    assert scaled.min() >= 0
    assert scaled.max() <= 1
    again = synthesis.normalise_percentiles(torch.from_numpy(image)).numpy()
    assert np.array_equal(scaled, again)
    assert not normalise_percentiles(np.full((3, 3, 3), offset, np.float32)).any()


def test_gain_and_offset_of_the_scanner_do_not_matter() -> None:
    """The same head at any scale gives the same image."""
    image = noise(6, 7, 8).numpy()
    expected = normalise_percentiles(image)
    assert np.allclose(normalise_percentiles(image * 37 - 5), expected, atol=1e-4)


def test_the_unit_of_an_image_does_not_matter() -> None:
    """A diffusivity map in square metres a second is normalised like one in micrometres."""
    image = torch.rand(8, 9, 10, generator=torch.Generator().manual_seed(0))
    plain = synthesis.normalise_percentiles(image)
    tiny = synthesis.normalise_percentiles(image * 1e-12)
    assert torch.allclose(plain, tiny, atol=1e-4)
