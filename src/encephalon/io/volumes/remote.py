# SPDX-License-Identifier: Apache-2.0
"""Volumes on servers, read through what is kept of them in `$ENCEPHALON_HOME/volumes`.

What is kept of a volume is used for ever; delete its folder to fetch it anew. Several processes may
fetch at once: each block is fetched once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, MissingFileError
from encephalon.io.home import encephalon_home, offline_by_environment
from encephalon.io.volumes import bossdb
from encephalon.io.volumes import precomputed as neuroglancer
from encephalon.io.volumes.cache import CachedSource, Facts, Fetched, cached_facts
from encephalon.io.volumes.http import PATIENCE, Patience
from encephalon.io.volumes.volume import Box, Source, Volume, shifted

__all__ = ["REMOTE", "kept_in", "open_remote"]

REMOTE = (bossdb.SCHEME, neuroglancer.SCHEME, "https://", "http://", "s3://", "gs://")
"""How the addresses of volumes elsewhere begin."""


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
    place: bossdb.BossChannel | neuroglancer.Precomputed
    if address.startswith(bossdb.SCHEME):
        if channel:
            raise ContentError(f"{address}: the channel is a part of the address; choose it there.")
        place = bossdb.boss_channel(address, level, token_file, patience)
    else:
        place = neuroglancer.precomputed(address, level, channel, patience)
        if place.local:
            facts = place.facts()
            return _volume(place.name, place.level, facts, _Direct(facts, _bound(place, facts)))
    offline = offline or offline_by_environment()
    folder = kept_in(place.key, place.level)
    facts = cached_facts(folder, partial(_refuse, place.name) if offline else place.facts)
    source = CachedSource(place.name, folder, facts, _bound(place, facts), offline)
    return _volume(place.name, place.level, facts, source)


def kept_in(key: str, level: int) -> Path:
    """The folder for what is kept of a volume."""
    digest = hashlib.sha256(f"{key}\n{level}".encode("utf-8", "surrogateescape")).hexdigest()
    return encephalon_home() / "volumes" / digest[:32]


@dataclass(frozen=True)
class _Direct:
    """Reads what lies on this machine, and keeps nothing."""

    facts: Facts
    fetch: Callable[[Box], Fetched] = field(repr=False)

    def read(self, box: Box) -> NDArray[Any]:
        return self.fetch(shifted(box, self.facts.origin)).data

    def missing(self, box: Box) -> int:
        return int(self.fetch(shifted(box, self.facts.origin)).missing)


def _bound(place: Any, facts: Facts) -> Callable[[Box], Fetched]:
    return partial(place.fetch, facts)


def _refuse(name: str) -> Facts:
    raise MissingFileError(
        f"{name}: nothing of it is on this machine, and the network is not to be used; fetch it "
        "once with it."
    )


def _volume(name: str, level: int, facts: Facts, source: Source) -> Volume:
    dtype = np.dtype(facts.dtype)
    return Volume(
        name, facts.shape, dtype, source, facts.spacing, facts.origin, level, facts.levels
    )
