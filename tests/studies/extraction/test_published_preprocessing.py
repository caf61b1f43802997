# SPDX-License-Identifier: Apache-2.0
"""The steps of the published path, each against a computation of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from encephalon.errors import ContentError
from encephalon.geometry.affine import Affine
from encephalon.io.image import Image
from encephalon.studies.extraction.published import preprocessing as steps

Data = NDArray[Any]


def squash(batch: Data) -> Data:
    """A network without context: 0.5 where the standardised scan has its mean."""
    return (1 / (1 + np.exp(-2 * batch))).astype(np.float32)


def noise(*shape: int) -> Data:
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def test_intensities_become_bytes_and_the_brightest_saturate() -> None:
    """The smallest value is 0, one voxel in a thousand saturates, the rest is linear."""
    values = np.arange(10_000, dtype=np.float32).reshape(10, 10, 100) - 500
    bytes_ = steps.to_bytes(values)
    assert bytes_.dtype == np.uint8
    # 9 of the 9,999 voxels that are not zero may saturate; the bins are 9.999 wide.
    expected = np.clip(np.rint((values + 500) * 255 / 9_999), 0, 255)
    np.testing.assert_array_equal(bytes_, expected)
    values[0, 0, 0] = 1e6
    spoilt = steps.to_bytes(values).astype(int)
    assert spoilt[0, 0, 0] == 255
    # The outlier makes the bins a thousand wide, which is all that it costs.
    assert np.abs(spoilt - expected)[1:].max() <= 255 * 1_000 / 9_999 + 1


def test_an_outlier_in_a_thousand_does_not_darken_the_scan() -> None:
    """What is brighter than the 99.9th percentile becomes 255."""
    values = np.ones((20, 20, 20), np.int16)
    values[0, 0, :8] = 400
    values[5:15, 5:15, 5:15] = 100
    bytes_ = steps.to_bytes(values)
    assert bytes_[0, 0, 0] == 255
    assert bytes_[10, 10, 10] == pytest.approx(99 / (248 * 0.399) * 255, abs=3)


def test_bytes_stay_and_an_even_scan_is_refused_later() -> None:
    """Bytes are never rescaled; a constant scan does not divide by zero."""
    bytes_ = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)
    assert steps.to_bytes(bytes_) is bytes_
    assert not steps.to_bytes(np.full((3, 3, 3), 7.0)).any()


def test_a_scan_is_conformed_unless_it_has_256_voxels_a_side(head: Image) -> None:
    """To 1 mm, LIA, whole numbers; 256 voxels of another size pass as they are, as published."""
    work = steps.conformed(head)
    assert work.shape == (256, 256, 256)
    assert work.affine.codes == "LIA"
    np.testing.assert_allclose(work.spacing, 1.0)
    assert work.data.min() == 0
    assert work.data.max() == 255
    assert np.array_equal(work.data, np.rint(work.data))
    odd = Image(np.broadcast_to(np.int16(1), (256, 256, 256)), Affine.from_spacing(0.5))
    assert steps.conformed(odd) is odd


def test_standardising_takes_the_whole_scan_in_single_precision() -> None:
    """Mean 0 and deviation 1, background included; what cannot be scaled is refused by name."""
    scored = steps.z_score(noise(8, 8, 8) * 30 + 200, "x")
    assert scored.dtype == np.float32
    assert abs(float(scored.mean())) < 1e-5
    assert float(scored.std()) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ContentError, match=r"a\.nii: .* all voxels are equal"):
        steps.z_score(np.ones((2, 2, 2)), "a.nii")
    with pytest.raises(ContentError, match="not finite"):
        steps.z_score(np.array([[[1.0, np.nan]]]), "x")


def test_blocks_are_the_plain_reassembly_bit_for_bit() -> None:
    """Each block is predicted alone, in C order, and put back where it was."""
    volume, seen = noise(32, 32, 32), []

    def blockwise(batch: Data) -> Data:
        seen.extend(batch[:, 0].copy())
        return batch - batch.mean(axis=(1, 2, 3, 4), keepdims=True)

    cut = volume.reshape(2, 16, 2, 16, 2, 16).transpose(0, 2, 4, 1, 3, 5).reshape(8, 16, 16, 16)
    answers = blockwise(cut[:, None])[:, 0]
    pasted = answers.reshape(2, 2, 2, 16, 16, 16).transpose(0, 3, 1, 4, 2, 5).reshape(32, 32, 32)
    seen.clear()
    assert np.array_equal(steps.blocks(blockwise, volume, [16] * 3, batch_size=3)[0], pasted)
    assert np.array_equal(np.stack(seen), cut)


def test_rotation_is_about_i_then_j_then_k_around_the_middle() -> None:
    """The middle stays; quarter turns move the corners where they must go."""
    turn = steps.rotation((8, 8, 8), (np.pi / 2, 0, 0))
    np.testing.assert_allclose(turn @ [3.5, 3.5, 3.5, 1], [3.5, 3.5, 3.5, 1])
    np.testing.assert_allclose(turn @ [0, 0, 0, 1], [0, 7, 0, 1], atol=1e-12)
    both = steps.rotation((8, 8, 8), (np.pi / 2, np.pi / 2, 0))
    np.testing.assert_allclose(both @ [0, 7, 0, 1], [7, 7, 7, 1], atol=1e-12)


def test_the_rotated_pass_agrees_with_its_definition() -> None:
    """Trilinear with a continued edge there, nearest with 0 outside back: voxel by voxel.

    Half-way between two voxels is the upper one.
    """
    scored = steps.z_score(noise(8, 8, 8), "x")
    turn = steps.rotation((8, 8, 8), steps.ROTATION)

    def at(voxel: Data) -> float:
        place = turn @ [*voxel, 1]
        low = np.floor(place[:3]).astype(int)
        total = 0.0
        for corner in np.ndindex(2, 2, 2):
            weight = np.prod(1 - np.abs(place[:3] - low - corner))
            total += weight * scored[tuple(np.clip(low + corner, 0, 7))]
        return total

    turned = np.array([at(voxel) for voxel in np.ndindex(8, 8, 8)]).reshape(8, 8, 8)
    answer = squash(steps.z_score(turned, "x"))
    result = steps.rotated_blocks(squash, scored, "x", block=[8] * 3)
    inverse = np.linalg.inv(turn)
    for voxel in np.ndindex(8, 8, 8):
        back = np.floor(np.round((inverse @ [*voxel, 1])[:3], 9) + 0.5).astype(int)
        if (back < 0).any() or (back > 8).any():
            assert result[voxel] == 0
        elif (back < 8).all():
            assert result[voxel] == pytest.approx(answer[tuple(back)], abs=1e-5)


def test_turning_back_does_not_hang_on_the_last_digit_of_a_matrix() -> None:
    """A plane of voxels lies half-way between two; processors differ in the last digit there."""
    back = np.linalg.inv(steps.rotation((8, 8, 8), steps.ROTATION))
    low, high = (steps._nearest(noise(8, 8, 8), back + error) for error in (-1e-12, 1e-12))
    np.testing.assert_array_equal(low, high)


def test_a_halo_of_56_gives_the_whole_volume_and_smaller_ones_come_near() -> None:
    """The published seams vanish as the halo grows: less than 1e-5 is left from 56 voxels on."""
    pytest.importorskip("torch")
    from encephalon.networks.keras_unet import KerasUNet
    from encephalon.networks.torch_runtime import TorchRuntime

    runtime = TorchRuntime(KerasUNet(filters=2), "cpu", 1)

    def network(batch: Data) -> Data:
        return runtime.run(batch)[0]

    volume = noise(152, 16, 16)
    whole = steps.blocks(network, volume, [256] * 3)
    errors = {
        h: np.abs(steps.blocks(network, volume, [32] * 3, h) - whole).max() for h in (0, 8, 56)
    }
    assert errors[56] < 1e-6
    assert errors[56] < errors[8] < errors[0]
    assert steps.REACH == 56
