# SPDX-License-Identifier: Apache-2.0
"""Volumes in Neuroglancer's precomputed format, read by TensorStore, from folders and servers.

After its specification, github.com/google/neuroglancer: `info` says the resolutions, nm, the shape
and the offset, all x, y, z. Buckets that are public are read without credentials, by https.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from encephalon.errors import (
    EncephalonError,
    MissingFileError,
    UnreadableFileError,
    UsageError,
    require_extra,
)
from encephalon.io.http import PATIENCE, Patience, need_safe, public
from encephalon.io.text import parse_json
from encephalon.io.volumes.cache import Facts, Fetched
from encephalon.io.volumes.volume import (
    Box,
    box_slices,
    box_text,
    reason,
    volume_dtype,
    volume_size,
    volume_spacing,
)

SCHEME = "precomputed://"
_BUCKETS = {"s3": "https://{0}.s3.amazonaws.com", "gs": "https://storage.googleapis.com/{0}"}


@dataclass(frozen=True)
class Precomputed:
    """One channel of a volume, at one level.

    `address` begins with https://, http:// or file://.
    """

    address: str = field(repr=False)
    level: int = 0
    channel: int | None = None
    patience: Patience = PATIENCE

    @property
    def name(self) -> str:
        """The address, as messages say it: without user, password and query."""
        chosen = "" if self.channel is None else f" (channel {self.channel})"
        return f"{SCHEME}{public(self.address)}{chosen}"

    key = name

    @property
    def local(self) -> bool:
        """Whether it lies on this machine, so that nothing need be kept of it."""
        return self.address.startswith("file://")

    def facts(self) -> Facts:
        """Shape, type, spacing, origin and levels, from `info`.

        Raises MissingFileError where there is none, ContentError and UnreadableFileError.
        """
        info = parse_json(self._info(), self.name)
        try:
            scales = list(info["scales"])
            channels = int(info["num_channels"])
            if not 0 <= self.level < len(scales):
                raise ValueError(f"level {self.level} was asked for of {len(scales)}, from 0")
            if not 0 <= (self.channel or 0) < channels or (channels > 1 and self.channel is None):
                raise ValueError(f"choose one of the {channels} channels, from 0")
            scale = scales[self.level]
            shape = volume_size(scale["size"][::-1], self.name)
            spacing = volume_spacing(float(n) / 1000 for n in scale["resolution"][::-1])
            origin: Any = tuple(int(n) for n in scale.get("voxel_offset", [0, 0, 0])[::-1])
            dtype = volume_dtype(str(info["data_type"]).lower(), self.name)
        except EncephalonError:
            raise
        except Exception as error:  # a table of a stranger
            raise UnreadableFileError(
                f"{self.name}: its info makes no sense ({error}); check the address."
            ) from error
        return Facts(shape, dtype.str.lstrip("<>|="), spacing, origin, len(scales))

    def fetch(self, facts: Facts, box: Box, fill: bool = False) -> Fetched:
        """The voxels (z, y, x) of `box`, absolute; missing chunks are 0, and that is told.

        Raises UnreadableFileError, naming the volume and the box.
        """
        tensorstore: Any = import_module("tensorstore")
        spec = {
            "driver": "neuroglancer_precomputed",
            "kvstore": self._place,
            "scale_index": self.level,
            "fill_missing_data_reads": fill,
            "context": self._context,
        }
        wait = self.patience.answer
        z, y, x = box_slices(box)
        try:
            store = tensorstore.open(spec, read=True, open=True).result(timeout=wait)
            found = store[x, y, z, self.channel or 0].read().result(timeout=wait)
        except Exception as error:  # TensorStore has no classes of its own
            if not fill and "missing" in str(error):
                return self.fetch(facts, box, fill=True)
            raise UnreadableFileError(
                f"{self.name}, {box_text(box)}: the voxels could not be fetched ({reason(error)}); "
                "check the network, and run it again."
            ) from error
        return np.ascontiguousarray(np.asarray(found).T), fill

    def _info(self) -> str:
        require_extra("tensorstore", "precomputed", f"The volume {self.name}")
        tensorstore: Any = import_module("tensorstore")
        context, wait = tensorstore.Context(self._context), self.patience.answer
        try:
            opened = tensorstore.KvStore.open(self._place, context=context).result(timeout=wait)
            answer = opened.read("info").result(timeout=wait)
        except Exception as error:
            raise UnreadableFileError(
                f"{self.name}: its info could not be read ({reason(error)}); check the address and "
                "the network."
            ) from error
        if answer.state != "value":
            raise MissingFileError(
                f"{self.name}: there is no precomputed volume, as no info is there; check the "
                "address."
            )
        return bytes(answer.value).decode("utf-8", "replace")

    @property
    def _place(self) -> dict[str, Any]:
        if self.local:
            path = unquote(self.address.removeprefix("file://"))
            return {"driver": "file", "path": path.rstrip("/") + "/"}
        return {"driver": "http", "base_url": self.address.rstrip("/") + "/"}

    @property
    def _context(self) -> dict[str, Any]:
        retries = {
            "max_retries": self.patience.attempts - 1,
            "initial_delay": f"{self.patience.pause:g}s",
        }
        return {"http_request_retries": retries, "cache_pool": {"total_bytes_limit": 0}}


def precomputed(
    address: str, level: int, channel: int | None, patience: Patience = PATIENCE
) -> Precomputed:
    """The volume at precomputed://ADDRESS, s3://…, gs://… or https://…; no request is made.

    Raises UsageError for another address.
    """
    place = address.removeprefix(SCHEME)
    parts = urlsplit(place)
    if parts.scheme in _BUCKETS and parts.netloc:
        place = _BUCKETS[parts.scheme].format(parts.netloc) + parts.path
    elif parts.scheme != "file":
        need_safe(place)
    if place.rstrip("/").endswith((".zarr", ".n5")):
        raise UsageError(
            f"{public(place)}: expected a volume in Neuroglancer's precomputed format; fetch "
            "others first, and give the folder."
        )
    return Precomputed(place, level, channel, patience)
