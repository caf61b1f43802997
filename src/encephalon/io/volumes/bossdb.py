# SPDX-License-Identifier: Apache-2.0
"""Channels of BossDB, an archive of volumes of brain tissue, by its public interface (version 1).

After the client of its makers, github.com/jhuapl-boss/intern: `/v1/collection/…` says the type,
`/v1/coord/…` the extent, `/v1/downsample/…` the coarser levels, `/v1/cutout/…` gives voxels. Ranges
in an address are x, y, z; the voxels come back as blosc, in C order of z, y, x.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar
from urllib.parse import quote

import numpy as np

from encephalon.errors import InputError, UnreadableFileError, UsageError
from encephalon.io.files import expanded
from encephalon.io.http import (
    PATIENCE,
    PassingError,
    Patience,
    RefusedError,
    get,
    need_safe,
    public,
)
from encephalon.io.text import parse_json, read_text
from encephalon.io.volumes.cache import Facts, Fetched
from encephalon.io.volumes.volume import (
    Box,
    box_size,
    box_text,
    micrometres,
    volume_size,
    volume_spacing,
)

SCHEME = "bossdb://"
SERVER = "https://api.bossdb.io"
SERVER_VARIABLE = "ENCEPHALON_BOSS_SERVER"
TOKEN_VARIABLES = ("ENCEPHALON_BOSS_TOKEN", "BOSS_TOKEN")

_ANONYMOUS = "public"  # the word by which BossDB knows those who have no token
_TYPES = {"uint8", "uint16", "uint64"}  # of its channels
_MOST_JSON = 1 << 22
_HEADER = 16  # bytes, of blosc
_PART = re.compile(r"[^/?#\s]+")


@dataclass(frozen=True)
class BossChannel:
    """One channel at one level of resolution.

    `server` begins with https://, or http:// where the user says so; `token` is in no text.
    """

    parts: tuple[str, str, str]
    level: int = 0
    server: str = SERVER
    token: str = field(default=_ANONYMOUS, repr=False)
    patience: Patience = PATIENCE
    local: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The address, as messages say it."""
        return SCHEME + "/".join(self.parts)

    @property
    def key(self) -> str:
        """What the voxels depend on beside the level: server and channel, without credentials."""
        return f"{public(self.server)} {self.name}"

    def facts(self) -> Facts:
        """Shape, type, spacing, origin and levels, asked of the server.

        Raises UnreadableFileError, naming the channel, where it does not answer or makes no sense.
        """
        collection, experiment, channel = self._quoted
        study = f"collection/{collection}/experiment/{experiment}/"
        said, around = self._json(f"{study}channel/{channel}/"), self._json(study)
        try:
            frame = self._json(f"coord/{quote(str(around['coord_frame']), '')}/")
            coarser = said.get("downsample_status") == "DOWNSAMPLED"
            levels = int(around["num_hierarchy_levels"]) if coarser else 1
            if said["datatype"] not in _TYPES:
                raise ValueError(f"its type is {said['datatype']!r}")
            if not 0 <= self.level < levels:
                raise ValueError(
                    f"level {self.level} was asked for, and there are {levels}, from 0"
                )
            return self._placed(frame, str(said["datatype"]), levels)
        except InputError:
            raise
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise UnreadableFileError(
                f"{self.name}: what the server says of it makes no sense ({error}); check the "
                "address."
            ) from error

    def fetch(self, facts: Facts, box: Box) -> Fetched:
        """The voxels (z, y, x) of `box`, absolute, asked with patience.

        The server fills what it lacks, which nobody sees. Raises UnreadableFileError, naming the
        channel and the box, when they cannot be had.
        """
        ranges = "/".join(f"{start}:{stop}" for start, stop in reversed(box))
        kind = np.dtype(facts.dtype).newbyteorder("<")
        needed = math.prod(box_size(box)) * kind.itemsize
        # What does not shrink grows by a header and the places of its blocks.
        most = needed + needed // 16 + 4096
        where = f"cutout/{'/'.join(self._quoted)}/{self.level}/{ranges}/"
        try:
            content = self._asked(where, "application/blosc", most, partial(_unpacked, needed))
        except RefusedError as error:
            raise UnreadableFileError(
                f"{self.name}, {box_text(box)}: the voxels could not be fetched ({error}); check "
                "the network and the channel, and run it again."
            ) from error
        return np.frombuffer(content, kind).reshape(box_size(box)), False

    @property
    def _quoted(self) -> list[str]:
        return [quote(part, "") for part in self.parts]

    def _asked(self, path: str, kind: str, most: int, use: Callable[[bytes], bytes]) -> bytes:
        headers = {"Accept": kind, "Content-Type": kind}
        return get(f"{self.server}/v1/{path}", headers, most, self.patience, self.token, use)

    def _json(self, path: str) -> dict[str, Any]:
        try:
            content = self._asked(path, "application/json", _MOST_JSON, bytes)
        except RefusedError as error:
            raise UnreadableFileError(
                f"{self.name}: the server {public(self.server)} could not be asked about it "
                f"({error}); check the address, the network and the token "
                f"(${TOKEN_VARIABLES[0]})."
            ) from error
        found = parse_json(content.decode("utf-8", "replace"), self.name)
        if not isinstance(found, dict):
            raise UnreadableFileError(f"{self.name}: what the server says of it is no table.")
        return found

    def _placed(self, frame: dict[str, Any], dtype: str, levels: int) -> Facts:
        """What the coordinate frame says, and of a coarser level the record of its making."""
        start: Any = tuple(int(frame[f"{axis}_start"]) for axis in "zyx")
        stop = [int(frame[f"{axis}_stop"]) for axis in "zyx"]
        edges = [float(frame[f"{axis}_voxel_size"]) for axis in "zyx"]
        if self.level:
            made = self._json(f"downsample/{'/'.join(self._quoted)}")
            coarse = [float(n) for n in reversed(made["voxel_size"][str(self.level)])]
            stop = [int(n) for n in reversed(made["extent"][str(self.level)])]
            start = tuple(round(n * a / b) for n, a, b in zip(start, edges, coarse, strict=True))
            edges = coarse
        shape = volume_size([b - a for a, b in zip(start, stop, strict=True)], self.name)
        unit = str(frame.get("voxel_unit", "")).removesuffix("s")
        spacing = volume_spacing(micrometres(edge, unit) for edge in edges)
        return Facts(shape, dtype, spacing, start, levels)


def _unpacked(needed: int, packed: bytes) -> bytes:
    """The bytes of a cut-out that came as blosc, which must be as many as needed."""
    import imagecodecs

    if len(packed) < _HEADER:
        raise PassingError(f"the answer has {len(packed)} bytes")
    unpacked = int.from_bytes(packed[4:8], "little")
    if int.from_bytes(packed[12:16], "little") != len(packed):
        raise PassingError("the answer is cut, or no blosc")
    if unpacked != needed:
        raise RefusedError(f"{unpacked:,} bytes came instead of {needed:,}")
    try:
        content = bytes(imagecodecs.blosc_decode(packed))
    except Exception as error:  # its own class, and others for headers that lie
        raise PassingError(f"the answer is damaged ({error})") from error
    if len(content) != needed:
        raise PassingError("the answer is damaged")
    return content


def boss_channel(
    address: str,
    level: int,
    token_file: str | os.PathLike[str] | None = None,
    patience: Patience = PATIENCE,
) -> BossChannel:
    """The channel at bossdb://COLLECTION/EXPERIMENT/CHANNEL[/LEVEL]; no request is made.

    The token is that of the file, of `$ENCEPHALON_BOSS_TOKEN` or of `$BOSS_TOKEN`, or none, for
    what is public. `$ENCEPHALON_BOSS_SERVER` is another server. Raises UsageError for another
    address, and what reading the token file raises.
    """
    parts = address.removeprefix(SCHEME).rstrip("/").split("/")
    if len(parts) == 4 and parts[3].isdecimal() and level in {0, int(parts[3])}:
        level = int(parts.pop())
    if len(parts) != 3 or not all(map(_PART.fullmatch, parts)):
        raise UsageError(
            f"{public(address)}: expected bossdb://COLLECTION/EXPERIMENT/CHANNEL; correct it."
        )
    server = os.environ.get(SERVER_VARIABLE, "").strip().rstrip("/") or SERVER
    need_safe(server)
    given = (os.environ.get(name, "").strip() for name in TOKEN_VARIABLES)
    token = next(filter(None, given), _ANONYMOUS)
    if token_file is not None:
        path = expanded(token_file)
        token = read_text(path, 1 << 16, "a token").strip()
        # The file may also be JSON, or INI as `intern` keeps it.
        if token.startswith("{"):
            record = parse_json(token, path)
            token = str(record.get("token", "")).strip() if isinstance(record, dict) else ""
        elif found := re.search(r"^\s*token\s*=\s*(\S+)\s*$", token, re.MULTILINE):
            token = found[1]
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError("The token for BossDB is expected to be one word; correct it.")
    collection, experiment, channel = parts
    return BossChannel((collection, experiment, channel), level, server, token, patience)
