# SPDX-License-Identifier: Apache-2.0
"""Files in and out: images of every format, BIDS datasets, and writes that are whole or absent.

Names resolve when they are first used: whoever only writes a file does not wait for NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from encephalon._lazy import lazy

if TYPE_CHECKING:
    from encephalon.io.atomic import (
        atomic_folder,
        atomic_path,
        locked,
        make_folder,
        refuse_existing,
        sha256,
        write_bytes,
        write_json,
        write_text,
    )
    from encephalon.io.bids import BidsFile, index_bids, is_bids
    from encephalon.io.derivatives import derivative_path, write_dataset_description
    from encephalon.io.image import (
        IMAGE_SUFFIXES,
        Image,
        content_check,
        from_array,
        image_stem,
        image_suffix,
        read_image,
        read_labels,
        write_image,
    )
    from encephalon.io.micrograph import (
        PICTURE_SUFFIXES,
        Micrograph,
        is_picture,
        picture_stem,
        read_micrograph,
        write_plane,
    )

__all__ = [
    "IMAGE_SUFFIXES",
    "PICTURE_SUFFIXES",
    "BidsFile",
    "Image",
    "Micrograph",
    "atomic_folder",
    "atomic_path",
    "content_check",
    "derivative_path",
    "from_array",
    "image_stem",
    "image_suffix",
    "index_bids",
    "is_bids",
    "is_picture",
    "locked",
    "make_folder",
    "picture_stem",
    "read_image",
    "read_labels",
    "read_micrograph",
    "refuse_existing",
    "sha256",
    "write_bytes",
    "write_dataset_description",
    "write_image",
    "write_json",
    "write_plane",
    "write_text",
]

__getattr__ = lazy(
    __name__,
    {
        "atomic": (
            "atomic_folder",
            "atomic_path",
            "locked",
            "make_folder",
            "refuse_existing",
            "sha256",
            "write_bytes",
            "write_json",
            "write_text",
        ),
        "bids": ("BidsFile", "index_bids", "is_bids"),
        "derivatives": ("derivative_path", "write_dataset_description"),
        "image": (
            "IMAGE_SUFFIXES",
            "Image",
            "content_check",
            "from_array",
            "image_stem",
            "image_suffix",
            "read_image",
            "read_labels",
            "write_image",
        ),
        "micrograph": (
            "PICTURE_SUFFIXES",
            "Micrograph",
            "is_picture",
            "picture_stem",
            "read_micrograph",
            "write_plane",
        ),
    },
)
