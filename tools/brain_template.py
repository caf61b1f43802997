# SPDX-License-Identifier: Apache-2.0
"""Make the packaged brain template from the T1-weighted MNI152 brain that nilearn ships.

    pip download nilearn==0.14.1 --no-deps
    python tools/brain_template.py nilearn-0.14.1-py3-none-any.whl

The result is src/encephalon/transforms/templates/mni152.nii.gz. The notice that its authors ask to
keep lies beside it.
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from encephalon.geometry.resample import resample_aligned
from encephalon.io.image import Image
from encephalon.io.reading import read_image, write_image
from encephalon.transforms import template

#: The template within the wheel: without skull, uint8, voxels of 1 mm.
MEMBER = "nilearn/datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"


def main() -> None:
    """Read the arguments, and write the template."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wheel", type=Path)
    place = Path(template.__file__).with_name("templates") / "mni152.nii.gz"
    print(make_template(parser.parse_args().wheel, place))


def make_template(wheel: Path, place: Path) -> Path:
    """Write the template of the wheel to `place`, and return that."""
    with zipfile.ZipFile(wheel) as archive, TemporaryDirectory() as folder:
        brain = read_image(archive.extract(MEMBER, folder))
        grid = template.mni_grid()
        values = resample_aligned(brain.data, brain.affine, grid)
        # What a voxel in twenty of the brain adds to one outside is not worth its bytes.
        voxels = np.where(values < 12, 0, np.round(values)).astype(np.uint8)
        return write_image(voxels, place, Image(voxels, grid.affine), overwrite=True)


if __name__ == "__main__":
    main()
