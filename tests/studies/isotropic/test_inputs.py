# SPDX-License-Identifier: Apache-2.0
"""From files to a problem, and every kind of bad input on the way."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from encephalon.errors import ContentError, GeometryError, InputError, MissingFileError
from encephalon.geometry.affine import Affine, Grid
from encephalon.geometry.resample import resample
from encephalon.io.image import Image
from encephalon.io.reading import write_image
from encephalon.studies.isotropic.acquisition.inputs import (
    Case,
    make_problem,
    read_case,
    unused_stacks,
)
from encephalon.studies.isotropic.settings import PredictOptions
from encephalon.tables.samples import Sample
from tests.studies.isotropic.scans import head, scan

NONE = PredictOptions()
# What the scan itself does not say.
TOLD = PredictOptions(gap=0.0)
STILL = Affine(np.eye(4))
INPUTS = "encephalon.studies.isotropic.acquisition.inputs"


@dataclass(frozen=True)
class Fit:
    """What the loading asks of a registration."""

    matrix: Affine = STILL
    overlap: float = 1.0
    relative_information: float = 0.9


@dataclass(frozen=True)
class Placed:
    """A stand-in for a T1w that was placed."""

    guide: Any
    coverage: Any
    trusted: bool = True
    reasons: tuple[str, ...] = ()


def saved(folder: Path, image: Image, name: str = "T2w.nii.gz") -> Path:
    return write_image(image.data, folder / name, image)


def read(folder: Path, image: Image, **options: Any) -> Case:
    return read_case(Sample("s", {"t2w": saved(folder, image)}), PredictOptions(**options))


def raw(folder: Path, data: np.ndarray[Any, Any], *, placed: bool = True) -> Sample:
    """A file that our own writer would not write; not `placed`, it has neither qform nor sform."""
    path = folder / "raw.nii"
    nibabel.save(nibabel.Nifti1Image(data, np.diag([1.0, 1.0, 4.0, 1.0])), path)
    if not placed:
        content = bytearray(path.read_bytes())
        content[252:256] = bytes(4)  # qform_code and sform_code
        path.write_bytes(content)
    return Sample("s", {"t2w": path})


def registered(monkeypatch: pytest.MonkeyPatch, fit: Fit) -> None:
    monkeypatch.setattr(f"{INPUTS}.register_rigid", lambda *_: fit)


def placing(monkeypatch: pytest.MonkeyPatch, trusted: bool) -> None:
    def register_t1w(t1w: Image, t2w: Image, grid: Any, mode: str) -> Placed:
        return Placed(
            np.full(grid.shape, len(mode), np.float32), np.ones(grid.shape, bool), trusted
        )

    monkeypatch.setattr(f"{INPUTS}.register_t1w", register_t1w)


def test_a_case_has_its_scan_and_how_it_was_cut(tmp_path: Path) -> None:
    """The sidecar beside the file tells the thickness."""
    path = saved(tmp_path, scan())
    (tmp_path / "T2w.json").write_text(json.dumps({"SliceThickness": 3.0}), encoding="utf-8")
    case = read_case(Sample("s", {"t2w": path}), NONE)
    assert case.acquisitions[0].thickness == 3.0
    assert case.t1w is None
    assert case.warnings == ()
    assert case.facts(NONE) == {
        "Pixels of the slices": "1 × 1 mm",
        "Slices without a measurement": None,
        "Slice profile": "box",
    }
    np.testing.assert_array_equal(case.images[0].data, head())


def test_a_problem_measures_what_the_file_holds(tmp_path: Path) -> None:
    """The kriged volume, cut again, has the very slices."""
    problem, registration = make_problem(read(tmp_path, scan(), gap=1.0), NONE)
    assert registration is None
    assert problem.grid.shape == (24, 20, 40)
    assert problem.stack.operator.thickness == 3.0
    volume = problem.stack.operator.interpolate(problem.stack.slices)
    again = problem.stack.operator.slice(volume)
    assert np.linalg.norm(again - head()) < 1e-3 * np.linalg.norm(head())


def test_a_tilted_scan_is_reconstructed_on_straight_axes(tmp_path: Path) -> None:
    """Its slices stay whole, as far apart as they are across, and lie where they lay."""
    straight = scan()
    matrix = straight.affine.matrix.copy()
    matrix[1, 2] = 4.0 * np.tan(np.radians(20.0))
    leaning = Affine(matrix)
    grid = Grid(straight.shape, leaning)
    tilted = Image(resample(straight.data, straight.affine, grid), leaning)
    case = read(tmp_path, tilted)
    (image,) = case.images
    assert image.affine.voxel_volume == pytest.approx(4.0)
    assert case.acquisitions[0].distance == pytest.approx(4.0)
    assert case.acquisitions[0].slices == straight.shape[2]
    assert "away from right angles" in case.warnings[0]
    back = resample(image.data, image.affine, straight.grid)
    bright = resample(np.ones(grid.shape, np.float32), leaning, straight.grid) > 0.99
    assert np.corrcoef(back[bright], straight.data[bright])[0, 1] > 0.97


def test_arrays_and_images_need_no_files() -> None:
    """As `Model.predict` hands them over."""
    case = read_case(Sample("s", {"t2w": scan(), "t1w": scan((1.0, 1.0, 1.0))}), NONE)  # type: ignore[dict-item]
    assert case.t1w is not None


def test_a_sample_at_fault_is_refused() -> None:
    """Its own sentence is the error."""
    with pytest.raises(InputError, match=r"^why$"):
        read_case(Sample("s", {"t2w": Path("x")}, fault="why"), NONE)


def test_what_was_missing_is_a_warning(tmp_path: Path) -> None:
    """The scan is reconstructed without, and says so."""
    sample = Sample("s", {"t2w": saved(tmp_path, scan())}, absent={"t1w": "No T1w of sub-01."})
    assert read_case(sample, TOLD).warnings == ("No T1w of sub-01.",)


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        (scan((1.0, 1.0, 1.0)), GeometryError, "nothing to reconstruct"),
        (scan(data=head()[..., :1].repeat(2, 2) * 0), ContentError, "the image is empty"),
        (scan(data=head() * 0 + 3), ContentError, "the image is constant"),
    ],
)
def test_a_scan_without_use_is_refused_by_name(
    tmp_path: Path, image: Image, error: type[Exception], words: str
) -> None:
    """One sentence that begins with the file."""
    with pytest.raises(error, match=words) as caught:
        read(tmp_path, image)
    assert str(caught.value).startswith(str(tmp_path / "T2w.nii.gz"))


def test_one_slice_and_several_volumes_are_refused(tmp_path: Path) -> None:
    """Neither is a scan of thick slices."""
    with pytest.raises(GeometryError, match="a single slice"):
        read_case(raw(tmp_path, head()[..., :1]), NONE)
    with pytest.raises(ContentError, match="2 volumes in one file"):
        read_case(raw(tmp_path, np.stack([head()] * 2, -1)), NONE)


def test_a_missing_orientation_is_a_warning(tmp_path: Path) -> None:
    """Left and right may be swapped; the voxels are reconstructed all the same."""
    case = read_case(raw(tmp_path, head(), placed=False), NONE)
    assert any("left and right are not known" in warning for warning in case.warnings)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_no_numbers_are_mended(tmp_path: Path, value: float) -> None:
    """The file is as it was, the case is finite."""
    data = head()
    data[data < 20] = value
    case = read_case(raw(tmp_path, data), NONE)
    assert np.isfinite(case.images[0].data).all()
    assert any("NaN or infinite" in warning for warning in case.warnings)


def test_negative_values_and_missing_slices_are_told(tmp_path: Path) -> None:
    """The one is a note, the other a warning."""
    data = head() - 50
    data[..., 5] = 0
    case = read(tmp_path, scan(data=data))
    assert any("negative values" in note for note in case.notes)
    assert any("slice 6 of 10 is nothing but zeros" in warning for warning in case.warnings)
    assert make_problem(case, NONE)[0].stack.slices.shape[2] == 9


def test_wide_gaps_are_a_warning(tmp_path: Path) -> None:
    """More was skipped than measured."""
    case = read(tmp_path, scan(), thickness=1.0)
    assert any("wider than the slices" in warning for warning in case.warnings)


def test_two_people_in_one_sample_are_told(tmp_path: Path) -> None:
    """By their BIDS names; nothing else can know."""
    inputs = {
        "t2w": saved(tmp_path, scan(), "sub-01_ses-a_T2w.nii.gz"),
        "t1w": saved(tmp_path, scan((1.0, 1.0, 1.0)), "sub-02_ses-a_T1w.nii.gz"),
    }
    (warning,) = read_case(Sample("s", inputs), TOLD).warnings
    assert "is of sub-02, but" in warning
    inputs["t1w"] = saved(tmp_path, scan((1.0, 1.0, 1.0)), "sub-01_ses-b_T1w.nii.gz")
    (warning,) = read_case(Sample("s", inputs), TOLD).warnings
    assert "is of ses-b, but" in warning


def test_a_coarse_guide_is_a_warning(tmp_path: Path) -> None:
    """It is as blind across the slices as they are."""
    inputs = {
        "t2w": saved(tmp_path, scan(), "a.nii"),
        "t1w": saved(tmp_path, scan((1.0, 1.0, 3.5)), "b.nii"),
    }
    (warning,) = read_case(Sample("s", inputs), TOLD).warnings
    assert "3.5 and 4 mm" in warning


def test_companions_of_no_use_are_left_out(tmp_path: Path) -> None:
    """The T2w is not lost for a T1w that is empty or a stack that is isotropic."""
    inputs = {
        "t2w": saved(tmp_path, scan(), "a.nii"),
        "stack2": saved(tmp_path, scan((1.0, 1.0, 1.0)), "b.nii"),
        "t1w": saved(tmp_path, scan(data=head() * 0), "c.nii"),
    }
    case = read_case(Sample("s", inputs), TOLD)
    assert (len(case.images), case.t1w) == (1, None)
    assert [warning[:10] for warning in case.warnings] == ["Left out: "] * 2
    with pytest.raises(MissingFileError, match="gone"):
        read_case(Sample("s", {**inputs, "t1w": tmp_path / "gone.nii"}), TOLD)


def test_a_guide_is_used_if_its_place_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the grid in work order, and with the registration that was asked for."""
    case = replace(read(tmp_path, scan()), t1w=scan((1.0, 1.0, 1.0)))
    placing(monkeypatch, trusted=True)
    problem, registration = make_problem(case, PredictOptions(registration="none"))
    assert problem.guide is not None
    assert problem.guide.shape == problem.grid.shape
    assert problem.guide.max() == len("none")
    assert registration is not None
    placing(monkeypatch, trusted=False)
    problem, registration = make_problem(case, NONE)
    assert problem.guide is None
    assert registration is not None


def same_head(monkeypatch: pytest.MonkeyPatch, *, told: bool = True) -> None:
    """Whether scans show one head is as `told`."""
    place = f"{INPUTS}.is_same_head"
    monkeypatch.setattr(place, lambda *_: told)


def further(folder: Path, **options: Any) -> Case:
    """The head cut twice, the second time across i and with wider slices."""
    cut = np.moveaxis(head(), 2, 0)
    inputs = {
        "t2w": saved(folder, scan(), "a.nii"),
        "stack2": saved(folder, scan((5.0, 1.0, 1.0), cut), "b.nii"),
        "stack3": saved(folder, scan((4.0, 1.0, 1.0), cut), "c.nii"),
    }
    return read_case(Sample("s", inputs), PredictOptions(**options))


def test_further_scans_are_cut_as_they_are(tmp_path: Path) -> None:
    """Each has its own axis; what is asked of thickness holds for slices as far apart."""
    case = further(tmp_path, axis="k", thickness=3.0)
    assert [found.axis for found in case.acquisitions] == [2, 0, 0]
    assert [found.thickness for found in case.acquisitions] == [3.0, 5.0, 3.0]


def test_further_scans_are_put_into_the_world_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fit maps the first world to theirs, so their grid is moved by its inverse."""
    motion = Affine.from_spacing(1.0, (3.0, -2.0, 1.0))
    registered(monkeypatch, Fit(motion))
    same_head(monkeypatch)
    case = further(tmp_path)
    trusting = make_problem(case, PredictOptions(registration="none"))[0]
    problem = make_problem(case, NONE)[0]
    assert len(problem.stacks) == 3
    for moved, still in zip(problem.stacks[1:], trusting.stacks[1:], strict=True):
        np.testing.assert_allclose(
            moved.grid.affine.matrix, (motion.inverse @ still.grid.affine).matrix
        )
        assert moved.grid.shape[2] == still.grid.shape[2]
    assert unused_stacks(case, problem) == ()
    same_head(monkeypatch, told=False)
    for registration in ("rigid", "none"):
        alone = make_problem(case, PredictOptions(registration=registration))[0]
        assert len(alone.stacks) == 1


def test_a_scan_that_is_given_twice_counts_once(tmp_path: Path) -> None:
    """Its copy measures nothing new, and would halve the uncertainty."""
    saved(tmp_path, scan(), "a.nii")
    saved(tmp_path, scan(), "b.nii")
    inputs = {"t2w": tmp_path / "a.nii", "stack2": tmp_path / "b.nii"}
    case = read_case(Sample("s", inputs), NONE)
    assert len(case.images) == 1
    assert [text for text in case.warnings if "holds the same slices" in text]


@pytest.mark.parametrize("fit", [Fit(overlap=0.2), Fit(relative_information=0.4)])
def test_further_scans_of_unknown_place_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fit: Fit
) -> None:
    """The first one is reconstructed without them, and says so."""
    registered(monkeypatch, fit)
    case = further(tmp_path)
    problem = make_problem(case, NONE)[0]
    assert len(problem.stacks) == 1
    (told,) = unused_stacks(case, problem)
    assert "b.nii" in told
    assert "--registration none" in told


@pytest.mark.data
def test_real_scans_are_read(data: Path) -> None:
    """5 mm slices of a research scan, 4 mm ones of a clinic, and the grids they ask for."""
    research = data / "heads/ds000011/sub-01/anat/sub-01_inplaneT2.nii.gz"
    case = read_case(Sample("s", {"t2w": research}), NONE)
    problem = make_problem(case, NONE)[0]
    assert case.acquisitions[0].distance == pytest.approx(5.0, abs=1e-3)
    assert problem.grid.shape == (128, 128, 96)
    clinic = data / "heads/openms-patient01/study1_T2W.nii.gz"
    case = read_case(Sample("s", {"t2w": clinic}), NONE)
    problem = make_problem(case, NONE)[0]
    assert case.acquisitions[0].distance == pytest.approx(4.0, abs=1e-3)
    assert problem.grid.affine.spacing == pytest.approx((0.7, 0.7, 0.7))
