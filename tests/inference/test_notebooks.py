# SPDX-License-Identifier: Apache-2.0
"""A prediction in the forms that notebooks know."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from encephalon.api import Model, Predictions
from encephalon.errors import ContentError, OutputExistsError, UsageError
from encephalon.inference.predictor import OutputImage, Prediction
from encephalon.io.image import Image
from encephalon.io.reading import read_image, write_image
from encephalon.tables.schema import Columns
from tests.cli.conftest import Threshold
from tests.studies.calls import plain_study


class InMemory(Threshold):
    """The same of an array."""

    def read(self, sample: object) -> tuple[str, Image]:
        return "sample", read_image(sample.inputs["image"])  # type: ignore[attr-defined]


@pytest.fixture
def model() -> Model:
    return Model(InMemory(), plain_study(), Columns())


def test_an_array_and_its_affine_give_a_nibabel_image(model: Model, head: Image) -> None:
    """In the same place."""
    mask = model.predict(head.data, affine=head.affine.matrix).mask.to_nibabel()
    assert isinstance(mask, nibabel.Nifti1Image)
    np.testing.assert_array_equal(mask.affine, head.affine.matrix)
    np.testing.assert_array_equal(np.asarray(mask.dataobj), head.data > 600)


def test_the_forms_of_a_file_are_kept(model: Model, head: Image, tmp_path: Path) -> None:
    """Its qform and sform with their codes, as in the mask that is written."""
    scan = nibabel.Nifti1Image(head.data, head.affine.matrix)
    scan.set_qform(head.affine.matrix, 1)
    scan.set_sform(head.affine.matrix, 4)
    mask = model.predict(scan)["mask"].to_nibabel()
    assert (int(mask.header["qform_code"]), int(mask.header["sform_code"])) == (1, 4)
    nibabel.save(mask, tmp_path / "mask.nii.gz")
    written = read_image(write_image(mask.get_fdata() > 0, tmp_path / "m.nii.gz", head))
    np.testing.assert_array_equal(written.data, read_image(tmp_path / "mask.nii.gz").data)


def test_an_image_saves_itself(model: Model, head: Image, tmp_path: Path) -> None:
    """In the format of the ending, and over no other file."""
    mask = model.predict(Image(head.data, head.affine.matrix)).mask  # type: ignore[arg-type]
    written = read_image(mask.save(tmp_path / "mask.nrrd"))
    np.testing.assert_array_equal(written.data, mask.data)
    np.testing.assert_allclose(written.affine.matrix, head.affine.matrix)
    with pytest.raises(OutputExistsError):
        mask.save(tmp_path / "mask.nrrd")
    with pytest.raises(UsageError, match="no place in mm"):
        OutputImage(head.data, None).save(tmp_path / "b.nii")


def test_a_prediction_shows_itself(model: Model, head: Image) -> None:
    """Its picture, with the outline of the mask in colour, its quality and its values."""
    prediction = model.predict(head)
    pixels = np.asarray(prediction.plot())
    assert pixels.ndim == 3
    assert (pixels[..., 0] != pixels[..., 2]).any()
    html = prediction._repr_html_()
    assert 'src="data:image/png;base64,' in html
    assert "<td>12.5</td>" in html
    assert Prediction(values={"<b>": "<i>"})._repr_html_().count("&lt;") == 2


def test_what_is_not_there_is_said(model: Model, head: Image) -> None:
    """An unknown image, a prediction without any, and an affine for what has its own."""
    prediction = model.predict(head)
    with pytest.raises(UsageError, match="its images are mask"):
        prediction["brain"]
    with pytest.raises(UsageError, match="look at its values"):
        Prediction().plot()
    with pytest.raises(ContentError, match="leave the affine out"):
        model.predict(head, affine=np.eye(4))
    with pytest.raises(ContentError, match=r"a list: convert it with numpy\.asarray"):
        model.predict(np.ones((4, 4, 4)).tolist(), affine=np.eye(4))
    with pytest.raises(ContentError, match=r"type object; convert them to numbers"):
        model.predict(np.ones((4, 4, 4), dtype=object), affine=np.eye(4))


def test_a_batch_is_a_data_frame() -> None:
    """A row a sample."""
    frame = Predictions(rows=[{"id": "a", "volume_ml": 1.5}, {"id": "b"}]).to_dataframe()
    assert list(frame["id"]) == ["a", "b"]
    assert frame["volume_ml"][0] == 1.5


def test_a_batch_shows_itself() -> None:
    """As a table in which names are no mark-up."""
    html = Predictions(rows=[{"id": "<b>", "volume_ml": None}])._repr_html_()
    assert "<td>&lt;b&gt;</td>" in html
    assert "volume_ml" in html
