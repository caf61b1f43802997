# SPDX-License-Identifier: Apache-2.0
"""Scans in MNI space: known maps are found, brains told from heads, and one bad scan holds up none.

The brain is the template's own, somewhere else and with other grey levels: where it must end up is
known to the voxel.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.errors import InputError
from encephalon.geometry.affine import Affine
from encephalon.geometry.resample import averaged
from encephalon.inference.workers import Workers
from encephalon.io.atomic import temporary_beside
from encephalon.io.image import Image
from encephalon.io.reading import read_image, write_image
from encephalon.studies.legibility import preprocessing
from encephalon.studies.legibility.preprocessing import (
    ImageRow,
    prepare_image,
    prepare_images,
)
from encephalon.synthetic.head import head_phantom
from encephalon.training.dataset import Prepared
from encephalon.transforms.conform import straightened
from encephalon.transforms.masks import reduced
from encephalon.transforms.registration import moved
from encephalon.transforms.template import brain_template, mni_grid

STRETCHED = Affine(np.diag([0.93, 0.88, 0.95, 1.0]))


def turned(degrees: float, shift: tuple[float, float, float]) -> Affine:
    """A nod of the head and a shift, mm."""
    angle = np.deg2rad(degrees)
    cosine, sine = np.cos(angle), np.sin(angle)
    return Affine.from_parts([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]], 1.0, shift)


def somewhere(world: Affine, inverted: bool = False) -> Image:
    """The template's brain on 3 mm voxels where `world` puts it; bright where it was dark."""
    brain = reduced(brain_template(), 3.0)
    inside = brain.data > 40
    levels = np.where(inside, 300 - brain.data if inverted else brain.data, 0).astype(np.float32)
    found = straightened(Image(levels, world @ brain.affine))
    return Image(np.round(found.data).astype(np.int16), found.affine)


def points() -> np.ndarray:
    """Places in the template's brain, MNI RAS mm."""
    template = brain_template()
    return template.affine.apply(np.argwhere(template.data > 40)[::200])


@pytest.fixture(scope="module")
def world() -> Affine:
    return turned(12, (9.0, -14.0, 20.0)) @ STRETCHED


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory, world: Affine) -> Path:
    image = somewhere(world)
    return write_image(image.data, tmp_path_factory.mktemp("scan") / "t1.nii.gz", image)


@pytest.fixture(scope="module")
def found(scan: Path) -> tuple[np.ndarray, dict[str, Any]]:
    return prepare_image(ImageRow(scan, "brain"), 128)


def test_a_known_affine_map_is_found(
    found: tuple[np.ndarray, dict[str, Any]], world: Affine
) -> None:
    facts = found[1]
    assert moved(Affine(facts["matrix"]), world, points()) < 1.0
    assert facts["scale"] == pytest.approx(0.93 * 0.88 * 0.95, rel=0.02)
    assert facts["overlap"] > 0.93
    assert facts["quality"] == "ok"


def test_the_volume_is_that_of_the_scan_itself(
    scan: Path, found: tuple[np.ndarray, dict[str, Any]]
) -> None:
    image = read_image(scan)
    assert found[1]["brain_ml"] == pytest.approx(
        np.count_nonzero(image.data) * image.volume_ml_per_voxel, rel=0.01
    )


def test_levels_are_scores_in_the_brain_and_nothing_else_is_tissue(
    found: tuple[np.ndarray, dict[str, Any]],
) -> None:
    voxels = found[0].astype(np.float32)
    assert voxels.shape == (128, 128, 128)
    assert found[0].dtype == np.float16
    deep = (brain_template().data > 40) & (voxels > -0.95)
    assert voxels[deep].mean() == pytest.approx(0, abs=0.1)
    assert voxels[deep].std() == pytest.approx(0.25, abs=0.08)
    assert (voxels[brain_template().data == 0] == -1).mean() > 0.97
    assert voxels.min() == -1
    assert voxels.max() <= 1


def test_smaller_images_are_averages_of_the_large_one(
    scan: Path, found: tuple[np.ndarray, dict[str, Any]]
) -> None:
    small, facts = prepare_image(ImageRow(scan, "brain"), 32, threads=2)
    mean = averaged(found[0].astype(np.float32), (32, 32, 32))
    assert np.abs(small.astype(np.float32) - mean).max() < 2e-3  # half precision
    assert facts == found[1]  # whatever the threads


def test_any_contrast_is_brought_to_the_same_place(tmp_path: Path, world: Affine) -> None:
    image = somewhere(world, inverted=True)
    path = write_image(image.data, tmp_path / "t2.nii.gz", image)
    facts = prepare_image(ImageRow(path, "brain"), 16)[1]
    assert moved(Affine(facts["matrix"]), world, points()) < 2.0


def test_a_scan_with_a_reference_takes_its_place(tmp_path: Path, scan: Path, world: Affine) -> None:
    apart = turned(-9, (-6.0, 4.0, 3.0))
    image = somewhere(apart @ world, inverted=True)
    path = write_image(image.data, tmp_path / "flair.nii.gz", image)
    facts = prepare_image(ImageRow(path, "brain", scan, "brain"), 16)[1]
    assert moved(Affine(facts["matrix"]), apart @ world, points()) < 2.0


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A head whose air is 0 to the last voxel, and its brain alone."""
    phantom = head_phantom((90, 110, 110), (2.0, 2.0, 2.0), detail=2.0)
    folder = tmp_path_factory.mktemp("head")
    data = np.where(phantom.image.data > 40, phantom.image.data, 0)
    stripped = np.where(phantom.mask, data, 0)
    return (
        write_image(data, folder / "head.nii.gz", phantom.image),
        write_image(stripped, folder / "brain.nii.gz", phantom.image),
    )


def test_heads_are_stripped_and_brains_recognised(head: tuple[Path, Path]) -> None:
    whole, brain = (prepare_image(ImageRow(path), 16)[1] for path in head)
    assert (whole["contents"], brain["contents"]) == ("head", "brain")
    assert whole["brain_ml"] == pytest.approx(brain["brain_ml"], rel=0.1)
    assert whole["scale"] == pytest.approx(brain["scale"], rel=0.1)


def broken(kind: str, scan: Path, folder: Path) -> Path:
    """A file that cannot be prepared."""
    image = read_image(scan)
    path = folder / f"{kind}.nii.gz"
    if kind == "truncated":
        whole = scan.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "no-bytes":
        path.write_bytes(b"")
    elif kind == "not-an-image":
        path.write_bytes(gzip.compress(b"these are no voxels"))
    elif kind == "series":
        import nibabel

        data = np.stack([image.data] * 3, axis=-1)
        nibabel.save(nibabel.Nifti1Image(data, image.affine.matrix), path)
    else:
        data = {
            "nan": np.full(image.shape, np.nan, np.float32),
            "zero": np.zeros(image.shape, np.float32),
            "noise": np.random.default_rng(0).normal(100, 10, image.shape).astype(np.float32),
        }[kind]
        write_image(data, path, image)
    return path


BROKEN = {
    "truncated": "truncated",
    "no-bytes": "empty",
    "not-an-image": "not-an-image",
    "series": "3 volumes",
    "nan": "NaN",
    "zero": "every voxel is 0",
    "noise": "expected the scan of a brain",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_brain_is_said_in_one_sentence(kind: str, scan: Path, tmp_path: Path) -> None:
    path = broken(kind, scan, tmp_path)
    with pytest.raises(InputError, match=BROKEN[kind]) as caught:
        prepare_image(ImageRow(path), 16)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Images are read and averaged, and no more; which were is told."""
    made: list[Path] = []

    def prepare(row: ImageRow, side: int) -> tuple[np.ndarray, dict[str, Any]]:
        made.append(row.path)
        mean = read_image(row.path).data.mean()
        return np.full((side,) * 3, mean, np.float16), {"of": row.path.name}

    monkeypatch.setattr(preprocessing, "prepare_image", prepare)
    return made


def test_one_bad_scan_holds_up_no_other_and_nothing_is_made_twice(
    scan: Path, tmp_path: Path, quick: list[Path]
) -> None:
    again = tmp_path / "again.nii.gz"
    again.write_bytes(scan.read_bytes())
    rows = [
        ImageRow(broken("zero", scan, tmp_path), "brain"),
        ImageRow(scan, "head"),
        ImageRow(tmp_path / "missing.nii.gz", "brain"),
        ImageRow(again, "head"),
    ]
    told: list[tuple[int, int]] = []
    kept = prepare_images(
        rows, tmp_path / "cache", 16, workers=Workers(), progress=lambda *n: told.append(n)
    )
    assert [isinstance(one, InputError) for one in kept] == [True, False, True, False]
    assert "no such file" in str(kept[2])
    first, last = kept[1], kept[3]
    assert isinstance(first, Prepared)
    assert isinstance(last, Prepared)
    assert first == last  # the same bytes
    assert first.notes == {"of": scan.name}
    assert told == [(n, 4) for n in (1, 2, 3, 4)]
    assert quick.count(scan) == 1
    assert prepare_images(rows[1:2], tmp_path / "cache", 16, workers=Workers()) == [first]
    assert quick.count(scan) == 1
    whole = first.path.read_bytes()
    first.path.write_bytes(whole[:100])  # as a disk that was full leaves it
    with temporary_beside(first.path) as left:
        assert left.name.endswith(".part.npy")
    left.write_bytes(b"half")  # as a run that is killed leaves it
    prepare_images(rows[1:2], tmp_path / "cache", 16, workers=Workers())
    assert first.path.read_bytes() == whole
    assert not left.exists()


def test_sides_and_contents_are_kept_apart(scan: Path, tmp_path: Path, quick: list[Path]) -> None:
    found = [
        prepare_images([ImageRow(scan, contents)], tmp_path, side, workers=Workers())[0]
        for side in (16, 32)
        for contents in ("brain", "head")
    ]
    assert len({one.path for one in found if isinstance(one, Prepared)}) == len(quick) == 4


def test_workers_of_dask_prepare_the_same(scan: Path, tmp_path: Path, quick: list[Path]) -> None:
    distributed = pytest.importorskip("distributed")
    rows = [ImageRow(scan, "brain"), ImageRow(broken("zero", scan, tmp_path))]
    here = prepare_images(rows, tmp_path / "here", 16, workers=Workers())
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        dashboard_address=None,
        protocol="tcp",
    ) as cluster:
        there = prepare_images(
            rows, tmp_path / "there", 16, workers=Workers(scheduler=cluster.scheduler_address)
        )
    assert isinstance(here[0], Prepared)
    assert isinstance(there[0], Prepared)
    assert here[0].path.read_bytes() == there[0].path.read_bytes()
    assert str(here[1]) == str(there[1])
    assert quick.count(scan) == 2


def test_another_process_prepares_the_same(
    scan: Path, tmp_path: Path, found: tuple[np.ndarray, dict[str, Any]]
) -> None:
    """As far as a registration repeats itself: it ends within hundredths of a millimetre."""
    (one,) = prepare_images([ImageRow(scan, "brain")], tmp_path, 128, workers=Workers(jobs=2))
    assert isinstance(one, Prepared)
    apart = np.abs(np.load(one.path).astype(np.float32) - found[0].astype(np.float32))
    assert apart.mean() < 0.005  # of values from -1 to 1
    assert set(one.notes) == set(found[1])
    assert one.notes["overlap"] == pytest.approx(found[1]["overlap"], abs=0.005)


def test_the_grid_is_a_cube_of_224_mm_around_the_brain() -> None:
    for side in (16, 32, 64, 128):
        grid = mni_grid(side)
        assert grid.extent == pytest.approx((224.0,) * 3)
        assert grid.centre == pytest.approx([0, -17, 5])
        assert grid.codes == "RAS"
    assert brain_template().affine.is_close(mni_grid(128).affine)
    edges = [brain_template().data.take([0, -1], axis=axis) for axis in range(3)]
    assert not any(edge.any() for edge in edges)


@pytest.mark.data
def test_a_real_brain_and_a_real_head_end_up_in_the_template(data: Path) -> None:
    paths = [
        data / "cohort/ds002748/sub-02/anat/sub-02_T1w.nii.gz",
        data / "heads/hippodeep/example_brain_t1.nii.gz",
    ]
    facts = [prepare_image(ImageRow(path), 64)[1] for path in paths]
    assert [one["contents"] for one in facts] == ["brain", "head"]
    assert all(one["overlap"] > 0.9 for one in facts)
    assert [one["quality"] for one in facts] == ["ok", "check"]
    assert ["ends within 6 mm of the mask" in reason for reason in facts[1]["reasons"]] == [True]
