# SPDX-License-Identifier: Apache-2.0
"""Open a volume of any kind by its address; the voxels stay where they are until they are read.

What a file holds decides how it is read, not its name. Volumes on servers are read through what is
kept of them in `$ENCEPHALON_HOME/volumes`, in a folder that bears the volume's name, and that is
used for ever; delete it to fetch the volume anew. Several processes may fetch at once: each block
is fetched once.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, MissingFileError, UnreadableFileError
from encephalon.io.files import exists, expanded, is_file, is_folder, opened, refuse_foreign
from encephalon.io.home import encephalon_home, offline_by_environment
from encephalon.io.http import PATIENCE, Patience
from encephalon.io.png_jpeg import JPEG, PNG
from encephalon.io.volumes import bossdb, precomputed
from encephalon.io.volumes.arrays import open_hdf5, open_npy, open_picture, open_tiff
from encephalon.io.volumes.cache import CachedSource, Facts, Fetched, cached_facts
from encephalon.io.volumes.ome_zarr import open_zarr
from encephalon.io.volumes.volume import Box, Source, Volume, shifted

_REMOTE = (bossdb.SCHEME, precomputed.SCHEME, "https://", "http://", "s3://", "gs://")
"""How the addresses of volumes elsewhere begin."""
_NPY = b"\x93NUMPY"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5", ".nwb", ".ims")


def open_volume(
    address: str | os.PathLike[str],
    *,
    level: int = 0,
    channel: int | None = None,
    time: int | None = None,
    offline: bool = False,
    token_file: str | os.PathLike[str] | None = None,
) -> Volume:
    """The volume at `address`, its axes z, y, x; no voxel is read yet.

    FILE.npy, FILE.tif (its pages are planes), FILE.png, FILE.jpg
    FILE.h5:/DATASET                  or FILE.h5 with one dataset of three axes
    FOLDER.zarr                       a Zarr array (2, 3), or OME-Zarr (0.4, 0.5)
    FOLDER.zarr/labels/NAME           labels of an OME-Zarr
    bossdb://COLLECTION/EXPERIMENT/CHANNEL
    precomputed://https://HOST/PATH   of Neuroglancer; also s3://, gs://, file://, and without the
                                      first word https:// and s3://

    `level` is the resolution, 0 the finest. `channel` and `time`, from 0, choose where there are
    several. What comes from elsewhere is kept on this machine, and with `offline`, or
    `$ENCEPHALON_OFFLINE`, nothing else is used. `token_file` holds the token for BossDB, before
    `$ENCEPHALON_BOSS_TOKEN` and `$BOSS_TOKEN`.

    Raises InputError (MissingFileError, UnreadableFileError, ContentError) naming the volume, and
    MissingExtraError where a package is needed that is not installed.
    """
    text = os.fspath(address)
    if text.startswith(_REMOTE):
        return open_remote(text, level, channel, offline=offline, token_file=token_file)
    path = expanded(text)
    if is_folder(path):
        return open_zarr(path, level, channel, time)
    file, _, dataset = text.rpartition(":/")
    if file and not is_file(path) and expanded(file).suffix.lower() in _HDF5_SUFFIXES:
        path = expanded(file)
    else:
        dataset = ""
    # Below a Zarr group, which knows what it has.
    within = (one for one in path.parents if one.suffix.lower() == ".zarr" and is_folder(one))
    if not exists(path) and any(within):
        return open_zarr(path, level, channel, time)
    return _in_file(path, dataset, level, channel, time)


def _in_file(path: Path, dataset: str, level: int, channel: int | None, time: int | None) -> Volume:
    with opened(path) as stream:
        start = stream.read(8)
    if level:
        raise UnreadableFileError(
            f"{path}: level {level} was asked for, but such a file has one resolution, level 0."
        )
    if start.startswith(_NPY):
        return open_npy(path, channel, time)
    if start[:4] in _TIFF:
        return open_tiff(path, channel, time)
    if start.startswith((PNG, JPEG)):
        return open_picture(path, channel, time)
    if start == _HDF5 or path.suffix.lower() in _HDF5_SUFFIXES:
        return open_hdf5(path, dataset, channel, time)
    refuse_foreign(path)
    raise UnreadableFileError(
        f"{path}: expected a volume as NumPy (.npy), TIFF, HDF5, Zarr, PNG or JPEG, but its "
        "content is none of them; convert it."
    )


def open_remote(
    address: str,
    level: int = 0,
    channel: int | None = None,
    *,
    offline: bool = False,
    token_file: str | os.PathLike[str] | None = None,
    patience: Patience = PATIENCE,
) -> Volume:
    """The volume at an address of BossDB, or of a precomputed volume; see `open_volume`.

    Raises MissingFileError where offline and nothing is kept of it, UsageError for an address that
    is none, and what its server makes of it as UnreadableFileError.
    """
    place: bossdb.BossChannel | precomputed.Precomputed
    if address.startswith(bossdb.SCHEME):
        if channel:
            raise ContentError(f"{address}: the channel is a part of the address; choose it there.")
        place = bossdb.boss_channel(address, level, token_file, patience)
    else:
        place = precomputed.precomputed(address, level, channel, patience)
    name, offline = place.name, offline or offline_by_environment()

    def ask() -> Facts:
        if offline:
            raise MissingFileError(
                f"{name}: nothing of it is on this machine, and the network is not to be used; "
                "fetch it once with it."
            )
        return place.facts()

    source: Source
    if place.local:
        facts = place.facts()
        source = _Direct(facts, partial(place.fetch, facts))
    else:
        key = f"{place.key}\n{place.level}".encode("utf-8", "surrogateescape")
        words = re.sub("[^A-Za-z0-9]+", "-", name).strip("-")[-80:]
        kept = f"{words}-{place.level}-{hashlib.sha256(key).hexdigest()[:16]}"
        folder = encephalon_home() / "volumes" / kept
        facts = cached_facts(folder, ask)
        source = CachedSource(name, folder, facts, partial(place.fetch, facts), offline)
    kind, edges, origin = np.dtype(facts.dtype), facts.spacing, facts.origin
    return Volume(name, facts.shape, kind, source, edges, origin, place.level, facts.levels)


@dataclass(frozen=True)
class _Direct:
    """Reads what lies on this machine, and keeps nothing."""

    facts: Facts
    fetch: Callable[[Box], Fetched] = field(repr=False)

    def read(self, box: Box) -> NDArray[Any]:
        return self.fetch(shifted(box, self.facts.origin))[0]

    def missing(self, box: Box) -> int:
        return int(self.fetch(shifted(box, self.facts.origin))[1])
