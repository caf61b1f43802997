# SPDX-License-Identifier: Apache-2.0
"""Heads from files: any orientation, prepared once, and refused with the row that is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encephalon.errors import ContentError, RunError, TableError
from encephalon.geometry.affine import Affine
from encephalon.io.home import HOME_VARIABLE
from encephalon.io.image import Image
from encephalon.io.reading import read_labels
from encephalon.models import files
from encephalon.studies.extraction.data import count_scans, millimetre_grid, prepare_samples
from encephalon.studies.extraction.segmentation.localisation import box_on
from encephalon.studies.extraction.settings import ExtractionSettings, Grids
from encephalon.tables.schema import Columns
from tests.studies.extraction.tiny_heads import (
    install_brain_model,
    label_map,
    radius,
    scan_of,
    write,
    write_table,
)

COLUMNS = Columns(inputs={"image": "image"}, optional=("image",), target="labels")
LESION = ExtractionSettings(target="lesion", grids=Grids(coarse=(24, 24, 24), fine=(32, 32, 32)))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing installed but what a test installs."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.setattr(files, "packaged_folder", lambda: tmp_path / "packaged")
    return tmp_path / "home" / "models"


def test_rows_without_a_scan_are_label_maps(tmp_path: Path) -> None:
    """With a scan they are pairs; the order of the table is kept, also from several processes."""
    labels = label_map()
    write(labels, tmp_path / "map.nii.gz")
    write(scan_of(labels), tmp_path / "scan.nii.gz")
    rows = [
        {"id": "a", "image": "scan.nii.gz", "labels": "map.nii.gz"},
        {"id": "b", "image": "", "labels": "map.nii.gz"},
    ]
    table = write_table(tmp_path, rows, COLUMNS)
    pair, synthetic = prepare_samples(table, tmp_path / "cache", workers=2)
    assert pair.labels is None
    assert synthetic.image is None
    assert np.array_equal(synthetic.labels, labels)  # type: ignore[arg-type]
    assert np.allclose(pair.image, scan_of(labels))  # type: ignore[arg-type]


@pytest.mark.parametrize("column", ["image", "scan"])
def test_scans_are_counted_in_the_column_that_has_them(tmp_path: Path, column: str) -> None:
    """Whatever it is called; a table without it has label maps alone."""
    columns = Columns(inputs={"image": column}, optional=("image",), target="labels")
    rows = [{"id": name, column: scan, "labels": "m"} for name, scan in (("a", "s"), ("b", ""))]
    table = write_table(tmp_path, rows, columns)
    assert count_scans(table) == {"real_scans": 1, "label_maps": 1}
    table = write_table(tmp_path, [{"id": "a", "labels": "m"}], columns)
    assert count_scans(table) == {"real_scans": 0, "label_maps": 1}


def test_a_head_is_prepared_once_for_the_content_of_its_files(tmp_path: Path) -> None:
    """The same files again cost nothing; another file is another head."""
    write(label_map(), tmp_path / "map.nii.gz")
    table = write_table(tmp_path, [{"id": "a", "labels": "map.nii.gz"}], COLUMNS)
    prepare_samples(table, tmp_path / "cache", workers=1)
    (kept,) = (tmp_path / "cache").glob("*.npz")
    before = kept.stat().st_mtime_ns
    prepare_samples(table, tmp_path / "cache", workers=1)
    assert kept.stat().st_mtime_ns == before
    (tmp_path / "map.nii.gz").unlink()
    write(label_map(shift=2), tmp_path / "map.nii.gz")
    prepare_samples(table, tmp_path / "cache", workers=1)
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_damaged_head_of_the_cache_is_prepared_again(tmp_path: Path, workers: int) -> None:
    """A flipped bit, or a file cut short, is no head to learn from and no traceback."""
    write(label_map(), tmp_path / "map.nii.gz")
    table = write_table(tmp_path, [{"id": "a", "labels": "map.nii.gz"}], COLUMNS)
    prepare_samples(table, tmp_path / "cache", workers=1)
    (kept,) = (tmp_path / "cache").glob("*.npz")
    whole = kept.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (bytes(flipped), whole[:100], b""):
        kept.write_bytes(damaged)
        (head,) = prepare_samples(table, tmp_path / "cache", workers=workers)
        assert np.array_equal(label_map(), head.labels)  # type: ignore[arg-type]
        assert kept.read_bytes() == whole


def test_any_orientation_and_voxel_size_becomes_the_same_head(tmp_path: Path) -> None:
    """Stored along other axes with voxels of 2 mm, the brain has the same size and place."""
    labels = label_map()
    write(labels, tmp_path / "plain.nii.gz")
    turned = np.ascontiguousarray(labels[::2, ::-2, ::2].transpose(2, 0, 1))
    matrix = np.array([[0, 2, 0, 0], [0, 0, -2, 51], [2, 0, 0, 0], [0, 0, 0, 1.0]])
    write(turned, tmp_path / "turned.nii.gz", Affine(matrix))
    rows = [{"id": name, "labels": f"{name}.nii.gz"} for name in ("plain", "turned")]
    plain, other = prepare_samples(write_table(tmp_path, rows, COLUMNS), tmp_path / "c", workers=1)
    assert other.labels is not None
    size = [head.box[:, 1] - head.box[:, 0] for head in (plain, other)]
    assert np.abs(size[0] - size[1]).max() <= 2
    assert (np.isin(other.labels, (2, 3)).sum() / np.isin(labels, (2, 3)).sum()) == pytest.approx(
        1, abs=0.05
    )


def test_the_millimetre_grid_covers_the_field_of_view() -> None:
    """1 mm voxels along the scan's own axes, sorted to RAS, around the same centre."""
    affine = Affine.from_parts(np.diag([-1, -1, 1]), (0.8, 1.5, 3.0), (90, 80, -20))
    image = Image(np.zeros((200, 100, 40), np.uint8), affine)
    grid = millimetre_grid(image)
    assert grid.shape == (160, 150, 120)
    assert grid.affine.codes == "RAS"
    assert grid.affine.spacing == pytest.approx((1, 1, 1))
    centre = affine.apply((np.array(image.shape)[None] - 1) / 2)
    assert np.allclose(grid.affine.apply((np.array(grid.shape)[None] - 1) / 2), centre)


def test_a_row_without_brain_is_named(tmp_path: Path) -> None:
    """As a spreadsheet counts rows, with its file."""
    write(label_map(), tmp_path / "good.nii.gz")
    write(np.full((20, 20, 20), 510, np.int16), tmp_path / "bad.nii.gz")
    rows = [{"id": "a", "labels": "good.nii.gz"}, {"id": "b", "labels": "bad.nii.gz"}]
    table = write_table(tmp_path, rows, COLUMNS)
    with pytest.raises(TableError, match=r"Row 3: .*bad.nii.gz holds no brain voxel: give a whole"):
        prepare_samples(table, tmp_path / "cache", workers=1)


def test_a_file_that_is_no_label_map_keeps_its_own_error(tmp_path: Path) -> None:
    """Fractions are refused by the reader, whose sentence says more."""
    write(scan_of(label_map()), tmp_path / "scan.nii.gz")
    table = write_table(tmp_path, [{"id": "a", "labels": "scan.nii.gz"}], COLUMNS)
    with pytest.raises(ContentError, match="expected labels"):
        prepare_samples(table, tmp_path / "cache", workers=1)


def test_labels_beyond_the_known_ones_are_refused_unless_they_are_mapped(tmp_path: Path) -> None:
    """Cortical parcels from 1000 on would be taken for skin; a mapping makes them cortex."""
    labels = np.where(label_map() == 3, 1035, label_map())
    write(labels.astype(np.int16), tmp_path / "map.nii.gz")
    rows = [{"id": "a", "labels": "map.nii.gz"}]
    table = write_table(tmp_path, rows, COLUMNS)
    with pytest.raises(TableError, match=r"Row 2: .*label 1035.*below 600.*map the labels"):
        prepare_samples(table, tmp_path / "cache", workers=1)
    mapping = {str(label): label for label in (2, 24, 515, 510)} | {"1035": 3}
    columns = Columns(optional=("image",), target="labels", labels=mapping)
    (head,) = prepare_samples(write_table(tmp_path, rows, columns), tmp_path / "cache", workers=1)
    assert np.array_equal(head.labels, label_map())  # type: ignore[arg-type]


def test_a_mask_of_any_value_is_a_mask(tmp_path: Path) -> None:
    """65535 is as good as 1."""
    labels = label_map()
    write(scan_of(labels), tmp_path / "scan.nii.gz")
    write(np.where(np.isin(labels, (2, 3)), 65535, 0).astype(np.uint16), tmp_path / "mask.nii.gz")
    rows = [{"id": "a", "image": "scan.nii.gz", "labels": "mask.nii.gz"}]
    (head,) = prepare_samples(write_table(tmp_path, rows, COLUMNS), tmp_path / "cache", workers=1)
    assert (head.box[:, 1] - head.box[:, 0]).min() >= 25


def lesion_row(folder: Path, lesion: np.ndarray, spacing: float = 1.0) -> list[dict[str, str]]:
    labels = label_map()
    affine = Affine.from_spacing(spacing)
    write(
        np.where(np.isin(labels, (2, 3)), 900, 50).astype(np.float32) + scan_of(labels) / 9,
        folder / "scan.nii.gz",
        affine,
    )
    write(lesion.astype(np.uint8), folder / "lesion.nii.gz", affine)
    return [{"id": "a", "image": "scan.nii.gz", "labels": "lesion.nii.gz"}]


@pytest.mark.parametrize("spacing", [1.0, 3.0])
def test_the_grid_of_a_lesion_is_laid_around_the_brain(
    tmp_path: Path, home: Path, spacing: float
) -> None:
    """The shipped model's box in millimetres, whatever the voxel size; one border."""
    install_brain_model(home)
    lesion = radius((48, 52, 46), (20, 26, 23)) < 4
    table = write_table(tmp_path, lesion_row(tmp_path, lesion, spacing), COLUMNS)
    (head,) = prepare_samples(table, tmp_path / "cache", 1, LESION)
    assert head.distances.shape[0] == 1
    brain = np.argwhere(np.isin(label_map(), (2, 3)))
    expected = np.stack([brain.min(0) * spacing, (brain.max(0) + 1) * spacing - 1], axis=1)
    assert np.abs(head.box - expected).max() <= 2 * spacing
    assert (head.distances > 0).sum() == pytest.approx(lesion.sum() * spacing**3, rel=0.1)


def test_a_head_without_a_lesion_can_be_learnt_from(tmp_path: Path, home: Path) -> None:
    """An empty mask is no fault for a lesion."""
    install_brain_model(home)
    table = write_table(tmp_path, lesion_row(tmp_path, np.zeros((48, 52, 46))), COLUMNS)
    (head,) = prepare_samples(table, tmp_path / "cache", 1, LESION)
    assert (head.distances < 0).all()


def test_lesions_need_the_brain_model(tmp_path: Path) -> None:
    """The error says which, and why."""
    table = write_table(tmp_path, lesion_row(tmp_path, np.ones((48, 52, 46))), COLUMNS)
    with pytest.raises(RunError, match=r"'brain-extraction' to find the brain.*not installed"):
        prepare_samples(table, tmp_path / "cache", 1, LESION)


def test_lesions_need_a_scan(tmp_path: Path, home: Path) -> None:
    """Nothing can be synthesised from a lesion's mask alone."""
    install_brain_model(home)
    write(label_map(), tmp_path / "map.nii.gz")
    table = write_table(tmp_path, [{"id": "a", "labels": "map.nii.gz"}], COLUMNS)
    with pytest.raises(TableError, match=r"Row 2: .*no scan, which a lesion needs"):
        prepare_samples(table, tmp_path / "cache", 1, LESION)


def test_a_scan_in_which_no_brain_is_found_is_named(tmp_path: Path, home: Path) -> None:
    """Instead of a grid laid around nothing."""
    install_brain_model(home, threshold=2.0)
    table = write_table(tmp_path, lesion_row(tmp_path, np.ones((48, 52, 46))), COLUMNS)
    with pytest.raises(TableError, match=r"Row 2: no brain was found in .*scan.nii.gz"):
        prepare_samples(table, tmp_path / "cache", 1, LESION)


def test_a_box_goes_from_grid_to_grid() -> None:
    """Twelve voxels of 2 mm are 24 of 1 mm, wherever the grids begin and however they point."""
    labels = Image(np.zeros((60, 60, 60), np.uint8), Affine.from_spacing(1.0, (-10, 0, 0)))
    coarse = Image(
        np.zeros((30, 30, 30), np.uint8),
        Affine.from_parts(np.diag([-1, 1, 1]), 2.0, (49 - 0.5, 0.5, 0.5)),
    )
    mask = np.zeros((30, 30, 30), bool)
    mask[4:16, 5:17, 10:11] = True
    box = box_on(mask, coarse.grid, labels.grid)
    assert box.tolist() == [[28, 51], [10, 33], [20, 21]]


def test_the_cache_holds_what_the_reader_read(tmp_path: Path) -> None:
    """Labels go through the cache unchanged."""
    write(label_map(), tmp_path / "map.nii.gz")
    table = write_table(tmp_path, [{"id": "a", "labels": "map.nii.gz"}], COLUMNS)
    (head,) = prepare_samples(table, tmp_path / "cache", workers=1)
    assert np.array_equal(read_labels(tmp_path / "map.nii.gz").data, head.labels)  # type: ignore[arg-type]


def test_the_millimetre_grid_of_a_tilted_map_is_straight() -> None:
    """And covers all of the map."""
    matrix = np.diag([1.0, 1.5, 4.0, 1.0])
    matrix[1, 2] = 1.5
    image = Image(np.ones((40, 30, 12), np.uint8), Affine(matrix))
    grid = millimetre_grid(image)
    assert np.allclose(grid.affine.matrix[:3, :3], np.eye(3))
    corners = np.argwhere(np.ones((2, 2, 2))) * (np.array(image.shape) - 1)
    reached = grid.affine.inverse.apply(image.affine.apply(corners))
    assert reached.min() > -0.51
    assert (reached < np.array(grid.shape) - 0.49).all()
