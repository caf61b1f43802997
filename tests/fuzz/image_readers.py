# SPDX-License-Identifier: Apache-2.0
"""Volumes and pictures for the fuzzer: small ones of every format that is read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.crafted_images import (
    crafted_pictures,
    crafted_series,
    crafted_volumes,
    large_pictures,
)
from tests.fuzz.reader import Reader, Seed, files_of


def _volume(path: Path) -> Any:
    from encephalon.io.reading import read_image

    return read_image(path)


def _picture(path: Path) -> Any:
    from encephalon.io.micrograph import read_micrograph

    return read_micrograph(path, colour="luminance")


def _head() -> np.ndarray:
    values = np.random.default_rng(0).integers(1, 900, (9, 10, 8))
    return values.astype(np.int16)


def _written(folder: Path, *names: str) -> list[Seed]:
    from encephalon.geometry.affine import Affine
    from encephalon.io.image import Image
    from encephalon.io.reading import write_image

    data = _head()
    like = Image(data, Affine.from_spacing((1.0, 1.5, 2.0)))
    return [Seed(write_image(data, folder / name, like)) for name in names]


def _nifti(folder: Path) -> Sequence[Seed]:
    import nibabel

    seeds = _written(folder, "a.nii", "b.nii.gz")
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    for name, kind in (("c.nii", nibabel.Nifti2Image), ("d.nii", nibabel.Nifti1Image)):
        image = kind(_head().astype(np.float32), affine)
        image.header.set_slope_inter(0.5, 3)
        image.to_filename(folder / name)
        seeds.append(Seed(folder / name))
    return seeds


def _mgh(folder: Path) -> Sequence[Seed]:
    return _written(folder, "a.mgh", "b.mgz")


def _arrays(folder: Path) -> Sequence[Seed]:
    return _written(folder, "a.npy", "b.npz")


def _dicom(folder: Path) -> Sequence[Seed]:
    from tests.io.test_dicom import written

    written(folder / "series", _head())
    return [Seed(folder / "series", victims=tuple(files_of(folder / "series")))]


def _tiff(folder: Path) -> Sequence[Seed]:
    import tifffile
    from PIL import Image

    from tests.io.tiff_writer import COMPRESSIONS, write_tiff

    grey = (_head()[..., 0] % 256).astype(np.uint8)
    seeds = []
    for n, name in enumerate(sorted(COMPRESSIONS)):
        tile = (16, 16) if n % 2 else None
        path = write_tiff(folder / f"{n}.tif", grey, name, tile=tile, photometric=n % 2)
        seeds.append(Seed(path))
    for name in ("jpeg", "group4"):
        mode = "1" if name == "group4" else "RGB"
        Image.fromarray(grey).convert(mode).save(folder / f"{name}.tif", compression=name)
        seeds.append(Seed(folder / f"{name}.tif"))
    for name, options in {"imagej": {"imagej": True}, "ome": {"ome": True}}.items():
        tifffile.imwrite(folder / f"{name}.tif", grey, resolution=(500, 500), **options)
        seeds.append(Seed(folder / f"{name}.tif"))
    return seeds


def _png_jpeg(folder: Path) -> Sequence[Seed]:
    from PIL import Image

    grey = Image.fromarray((_head()[..., 0] % 256).astype(np.uint8))
    names = []
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        grey.convert(mode).save(folder / f"{mode}.png", dpi=(30_000_000, 30_000_000))
        names.append(f"{mode}.png")
    for mode in ("L", "RGB", "CMYK"):
        for progressive in (False, True):
            names.append(f"{mode}{progressive}.jpg")
            grey.convert(mode).save(folder / names[-1], progressive=progressive)
    return [Seed(folder / name) for name in names]


def _others(folder: Path) -> Sequence[Seed]:
    from PIL import Image

    grey = Image.fromarray((_head()[..., 0] % 256).astype(np.uint8))
    for name in ("a.bmp", "a.gif", "a.webp", "a.jp2", "a.sgi", "a.pgm"):
        grey.save(folder / name)
    return [Seed(path) for path in sorted(folder.iterdir())]


def _microscopes(folder: Path) -> Sequence[Seed]:
    from tests.io.microscope_writer import ramp, write_dm, write_lif, write_mrc, write_nd2

    write_dm(folder / "a.dm3", ramp())
    write_dm(folder / "a.dm4", ramp(np.float32))
    write_mrc(folder / "a.mrc", ramp())
    write_lif(folder / "a.lif", [ramp(np.uint16, (1, 6, 8))])
    write_nd2(folder / "a.nd2", ramp(np.uint16, (1, 6, 8, 1)))
    return [Seed(path) for path in sorted(folder.iterdir())]


def _sidecar(folder: Path) -> Sequence[Seed]:
    from PIL import Image

    pair = folder / "pair"
    pair.mkdir()
    Image.fromarray((_head()[..., 0] % 256).astype(np.uint8)).save(pair / "a.png")
    record = {"PixelSize": [0.13, 0.26, 1], "PixelSizeUnits": "um", "Note": ["x", {"y": 1}]}
    (pair / "a.json").write_text(json.dumps(record), encoding="utf-8")
    return [Seed(pair, "a.png", victims=("a.json",))]


IMAGE_READERS = (
    Reader("NIfTI", _nifti, _volume, crafted_volumes),
    Reader("MGH", _mgh, _volume),
    Reader("NumPy", _arrays, _volume),
    Reader("DICOM", _dicom, _volume, crafted_series),
    Reader("TIFF", _tiff, _picture, crafted_pictures),
    Reader("PNG and JPEG", _png_jpeg, _picture, heavy=large_pictures),
    Reader("other pictures", _others, _picture),
    Reader(
        "microscopes",
        _microscopes,
        _picture,
        needs=("nionswift_plugin", "mrcfile", "liffile", "nd2"),
    ),
    Reader("sidecar of a picture", _sidecar, _picture),
)
