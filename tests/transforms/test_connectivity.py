# SPDX-License-Identifier: Apache-2.0
"""Connectivity is checked person by person, flat in a known order, and 0 at its own mean."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from encephalon.errors import ContentError, UsageError
from encephalon.transforms.connectivity import (
    TangentSpace,
    fisher_z,
    geometric_mean,
    matrices_of,
    tangents,
    vectorise,
)

Values = NDArray[np.float64]


def correlations(rng: np.random.Generator, people: int, regions: int) -> Values:
    """Matrices (people, regions, regions) of noise with a shared signal."""
    series = rng.normal(size=(people, regions, 6 * regions)) + rng.normal(size=6 * regions)
    return np.stack([np.corrcoef(each) for each in series])


def names(count: int) -> list[str]:
    return [f"sub-{place:02d}" for place in range(count)]


def test_the_upper_triangle_is_flat_row_by_row() -> None:
    """Pairs (0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)."""
    matrix = np.eye(4)
    for place, (first, second) in enumerate([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]):
        matrix[first, second] = matrix[second, first] = place / 10
    assert vectorise([matrix], ["sub-01"])[0] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_360_regions_have_64620_pairs() -> None:
    """As in the published study."""
    matrix = np.eye(360, dtype=np.float32)
    flat = vectorise(matrix[None], ["sub-01"])
    assert (flat.shape, flat.dtype) == ((1, 64_620), np.float32)


@pytest.mark.parametrize("regions", [2, 3, 7])
def test_there_and_back_is_the_same(rng: np.random.Generator, regions: int) -> None:
    """Bit by bit, in the precision that came; a blanked diagonal becomes 1."""
    matrices = matrices_of(vectorise(correlations(rng, 3, regions), names(3)))
    blank = matrices.copy()
    blank[:, range(regions), range(regions)] = 0
    for dtype in (np.float32, np.float64):
        for each in (matrices, blank):
            flat = vectorise(each.astype(dtype), names(3))
            assert flat.dtype == dtype
            assert np.array_equal(matrices_of(flat), matrices.astype(dtype))


def test_the_lower_triangle_is_another_order(rng: np.random.Generator) -> None:
    """Written row by row it is read as what it is, when the reader says so."""
    matrices = correlations(rng, 2, 5)
    lower = matrices[:, *np.tril_indices(5, -1)]
    assert matrices_of(lower, "lower") == pytest.approx(matrices)
    assert matrices_of(lower) != pytest.approx(matrices)


def spoilt(row: int, column: int, value: float) -> Values:
    matrix = np.eye(3)
    matrix[row, column] = value
    return matrix


@pytest.mark.parametrize(
    ("matrix", "fault"),
    [
        (np.eye(4), "has 4 regions, but that of the first person has 3"),
        (np.ones((3, 2)), r"square matrix, but its shape is \(3, 2\)"),
        (spoilt(1, 2, math.nan), "not finite in region 1"),
        (spoilt(0, 2, 0.5), "not symmetric: regions 0 and 2, counted from 0, have 0.5 above"),
        (spoilt(1, 1, 2.0), "diagonal of 1, or of 0 throughout, but it reaches from 1 to 2"),
        (spoilt(1, 1, 0.0), "diagonal of 1, or of 0 throughout"),
        (np.full((3, 3), 1.5) - 0.5 * np.eye(3), "reaches 1.5, which no correlation does"),
    ],
)
def test_each_fault_names_the_person(matrix: Values, fault: str) -> None:
    """The second of three people is the one."""
    with pytest.raises(ContentError, match=f"connectivity of sub-01 .*{fault}"):
        vectorise([np.eye(3), matrix, np.eye(3)], names(3))


def test_rounding_of_a_text_file_is_no_asymmetry() -> None:
    """Six digits are enough."""
    matrix = spoilt(0, 1, 0.333333)
    matrix[1, 0] = 1 / 3
    assert vectorise([matrix], ["sub-01"])[0, 0] == 0.333333


def test_names_and_columns_must_fit() -> None:
    """5 is no number of pairs, and neither is 2081, one more than that of 65 regions."""
    with pytest.raises(UsageError, match="2 names for 1"):
        vectorise([np.eye(3)], names(2))
    for shape in ((1, 5), (1, 2081), (1, 0), (3,)):
        with pytest.raises(ContentError, match="pairs of R regions"):
            matrices_of(np.zeros(shape))


def test_fisher_z_is_clipped_and_undone_by_the_hyperbolic_tangent() -> None:
    """A correlation of 1 is 7.25 and not infinite, in either precision."""
    values = np.array([-0.9, 0.0, 0.5])
    assert np.tanh(fisher_z(values)) == pytest.approx(values)
    for dtype in (np.float32, np.float64):
        z = fisher_z(np.array([-1.0, 1.0], dtype=dtype))
        assert z.dtype == dtype
        assert z == pytest.approx([-7.254, 7.254], abs=0.01)
    assert fisher_z([1.0], epsilon=0.1)[0] == pytest.approx(math.atanh(0.9))
    for broken in (1.2, math.nan):
        with pytest.raises(ContentError, match="taken already"):
            fisher_z([broken])


def positive(rng: np.random.Generator, count: int, regions: int) -> Values:
    """Positive definite matrices of any diagonal."""
    roots = rng.normal(size=(count, regions, 3 * regions))
    return np.asarray(roots @ roots.transpose(0, 2, 1) / regions)


def test_the_mean_of_matrices_that_commute_is_that_of_their_logarithms() -> None:
    """Of diagonal matrices it is the geometric mean of each number."""
    diagonals = np.array([[1.0, 4.0, 2.0], [9.0, 1.0, 2.0], [3.0, 2.0, 2.0]])
    mean = geometric_mean(np.stack([np.diag(each) for each in diagonals]))
    assert mean == pytest.approx(np.diag([3.0, 2.0, 2.0]), abs=1e-7)


def test_the_mean_of_two_is_half_way(rng: np.random.Generator) -> None:
    """A # B solves X inv(A) X = B."""
    one, two = positive(rng, 2, 4)
    mean = geometric_mean(np.stack([one, two]))
    assert mean @ np.linalg.inv(one) @ mean == pytest.approx(two)


def test_the_tangent_of_the_reference_is_zero(rng: np.random.Generator) -> None:
    """And those of the people of a mean cancel out."""
    matrices = positive(rng, 70, 5)
    mean = geometric_mean(matrices)
    assert tangents(mean[None], mean) == pytest.approx(np.zeros((1, 15)), abs=1e-12)
    assert tangents(matrices, mean).mean(axis=0) == pytest.approx(np.zeros(15), abs=1e-7)


def test_congruence_changes_no_distance(rng: np.random.Generator) -> None:
    """Mixing the regions by any A mixes the mean, and leaves all lengths and angles."""
    matrices, mixing = positive(rng, 6, 4), rng.normal(size=(4, 4))
    mixed = mixing @ matrices @ mixing.T
    mean, of_mixed = geometric_mean(matrices), geometric_mean(mixed)
    assert of_mixed == pytest.approx(mixing @ mean @ mixing.T, rel=1e-6)
    before, after = tangents(matrices, mean), tangents(mixed, of_mixed)
    assert after @ after.T == pytest.approx(before @ before.T, abs=1e-6)


def test_the_length_of_a_tangent_is_the_distance_of_its_matrix(rng: np.random.Generator) -> None:
    """The root of the summed squares of the logarithms of the generalised eigenvalues."""
    from scipy.linalg import eigvalsh

    matrix, reference = positive(rng, 2, 5)
    distance = np.linalg.norm(np.log(eigvalsh(matrix, reference)))
    assert np.linalg.norm(tangents(matrix[None], reference)) == pytest.approx(distance)


def test_new_people_do_not_move_the_reference(rng: np.random.Generator) -> None:
    """What was fitted is saved as plain arrays and gives the same tangents."""
    flat = vectorise(correlations(rng, 30, 6), names(30))
    space = TangentSpace(shrinkage=0.1)
    known = space.fit_transform(flat[:20])
    assert known.shape == (20, 21)
    kept = {name: each.copy() for name, each in space.arrays().items()}
    new = space.transform(flat[20:])
    file = io.BytesIO()
    np.savez(file, **kept)
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        again = TangentSpace.from_arrays(arrays)
    assert np.array_equal(again.transform(flat[20:]), new)
    assert np.array_equal(again.transform(matrices_of(flat[20:])), new)
    assert np.array_equal(space.arrays()["reference"], kept["reference"])


def test_scikit_learn_fits_it_in_a_pipeline(rng: np.random.Generator) -> None:
    """The target in second place is no list of names."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    flat = vectorise(correlations(rng, 20, 4), names(20))
    model = make_pipeline(TangentSpace(), Ridge()).fit(flat, np.arange(20.0))
    assert model.predict(flat).shape == (20,)


def test_a_singular_matrix_is_named_and_can_be_shrunk(rng: np.random.Generator) -> None:
    """Four points in time do not tell six regions apart."""
    matrices = correlations(rng, 3, 6)
    matrices[1] = np.corrcoef(rng.normal(size=(6, 4)))
    flat = vectorise(matrices, names(3))
    with pytest.raises(ContentError, match="of sub-01 is not positive definite"):
        TangentSpace().fit(flat, people=names(3))
    with pytest.raises(ContentError, match="of row 1, counted from 0, is not positive"):
        TangentSpace().fit(flat)
    assert np.isfinite(TangentSpace(shrinkage=0.05).fit_transform(flat)).all()


def test_what_a_tangent_space_cannot_use_is_refused(rng: np.random.Generator) -> None:
    """Before the fit, without people, with other regions, and with gaps."""
    flat = vectorise(correlations(rng, 4, 4), names(4))
    for call in (lambda: TangentSpace().transform(flat), TangentSpace().arrays):
        with pytest.raises(UsageError, match="fit it to the training set"):
            call()
    with pytest.raises(UsageError, match="there are none"):
        TangentSpace().fit(flat[:0])
    with pytest.raises(UsageError, match="between 0 and 1"):
        TangentSpace(shrinkage=2)
    space = TangentSpace().fit(flat)
    with pytest.raises(ContentError, match="of 4 regions, but row 0, counted from 0, has 3"):
        space.transform(flat[:, :3])
    flat[2, 0] = np.nan
    with pytest.raises(ContentError, match="sub-02 has values that are not finite"):
        space.transform(flat, people=names(4))


@pytest.mark.data
def test_the_correlations_of_real_people_have_a_tangent_space(data: Path) -> None:
    """Sixty-four regions of ds000228, which nilearn wrote as lower triangles."""
    file = data / "cohort" / "ds000228" / "BASC064_features.npz"
    if not file.exists():
        pytest.skip(f"needs the cohort ds000228 ({file} is not there)")
    with np.load(file, allow_pickle=False) as arrays:
        flat = arrays["a"][:12]
    people = names(12)
    with pytest.raises(ContentError, match=r"not positive definite .*lower triangle"):
        TangentSpace().fit(flat, people=people)
    upper = vectorise(matrices_of(flat, "lower"), people)
    found = TangentSpace().fit_transform(upper, people=people)
    assert found.shape == (12, 64 * 65 // 2)
    assert np.abs(found.mean(axis=0)).max() < 1e-6
