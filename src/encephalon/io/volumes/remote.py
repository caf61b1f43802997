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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, MissingFileError
from encephalon.io.home import encephalon_home, offline_by_environment
from encephalon.io.volumes import bossdb, precomputed
from encephalon.io.volumes.cache import CachedSource, Facts, Fetched, cached_facts
from encephalon.io.volumes.http import PATIENCE, Patience
from encephalon.io.volumes.volume import Box, Source, Volume, shifted

REMOTE = (bossdb.SCHEME, precomputed.SCHEME, "https://", "http://", "s3://", "gs://")
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
        folder = encephalon_home() / "volumes" / hashlib.sha256(key).hexdigest()[:32]
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
