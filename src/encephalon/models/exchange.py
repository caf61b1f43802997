# SPDX-License-Identifier: Apache-2.0
"""Models in and out of this machine as plain files: folders, zips, published weights, bundles."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from encephalon.errors import (
    MissingFileError,
    ModelError,
    OutputError,
    UsageError,
)
from encephalon.io.atomic import (
    atomic_folder,
    atomic_path,
    explained,
    locked,
    make_folder,
    refuse_existing,
    refuse_foreign,
    sha256,
)
from encephalon.io.files import exists, expanded, is_file, is_folder, is_zip_bomb
from encephalon.models import bundle, files
from encephalon.models.catalogue import find_model
from encephalon.models.files import check_content, content
from encephalon.models.folder import DESCRIPTION, ModelFolder, open_model, read_description
from encephalon.models.published import PUBLISHED_SUFFIXES, PublishedFile, open_published
from encephalon.models.registry import RegistryEntry, published_path, registry_entries

_LARGEST_MODEL = 8 * 1024**3
"""Bytes that a zipped model may unpack to; above it, the file is a trap or a mistake."""
_SMALL_MODEL = 1 << 28
"""Bytes that it may unpack to, whatever its ratio of compression."""
_MOST_GROWTH = 20
"""Ratio of compression of a larger one: trained weights hardly grow at all."""
_LONGEST_NAME = 128
"""Bytes of a member's name; `model.toml` may name no longer one."""
_PIECE = 1 << 20
"""Bytes copied at a time."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest date a zip can hold: the same model always gives the same bytes."""


def import_model(source: str | Path, *, overwrite: bool = False) -> ModelFolder | PublishedFile:
    """Copy a model folder, a zipped one or a published file to where it is found by name.

    A folder may also be one for the Hugging Face Hub, or a bundle of MONAI that `export_model`
    wrote; either may be zipped. Importing the same model again changes nothing.
    Raises OutputExistsError when another model has the name and `overwrite` is not set; ModelError
    when the name belongs to a model that ships or is registered, the zip would write outside its
    folder, or a file is not what it should be.
    """
    path = expanded(source)
    if path.suffix.lower() in PUBLISHED_SUFFIXES:
        return _import_published(path)
    if is_folder(path):
        if bundle.is_bundle(path):
            return _install_bundle(path, overwrite)
        return _install(path, overwrite)
    check_content(path, "a model folder, a zipped one (.zip) or published weights (.h5, .pt, .pth)")
    return install_zip(path, overwrite)


Format = Literal["zip", "hub", "monai"]
"""One file; a folder that uploads to the Hugging Face Hub as it is; a bundle of MONAI."""


def export_model(
    name_or_path: str | Path,
    output: str | Path,
    *,
    format: Format = "zip",
    overwrite: bool = False,
) -> Path:
    """Write a model to what `import_model` takes, and return its path.

    "zip": a model folder becomes a `.zip` that is the same bytes each time, published weights are
    copied. `output` is the file, or a folder (one that exists, or a name without a suffix, which is
    made) to put it in under its usual name. "hub" and "monai" make the folder `output`, see
    `bundle.py`; the latter needs torch. Raises OutputExistsError, also with `overwrite` for a
    folder in which there is no model, UsageError for another suffix and
    for published weights in a folder, and the errors of `find_model`.
    """
    if format != "zip":
        return _export_folder(name_or_path, Path(output), format, overwrite)
    model = find_model(name_or_path)
    if isinstance(model, ModelFolder):
        suffix, usual = ".zip", f"{model.name}-{model.description.version}.zip"
    else:
        suffix, usual = model.path.suffix, model.entry.file if model.entry else model.path.name
    final = Path(output)
    if is_folder(final) or not (final.suffix or exists(final)):
        final = make_folder(final) / usual
    if final.suffix.lower() != suffix:
        raise UsageError(
            f"{final}: expected a name that ends in {suffix} for the model {model.name!r}."
        )
    refuse_existing(final, overwrite)
    with atomic_path(final) as work:
        if isinstance(model, ModelFolder):
            _write_zip(model, work)
        else:
            _copy(model.path, work)
    return final


def _export_folder(
    name_or_path: str | Path, final: Path, kind: Literal["hub", "monai"], overwrite: bool
) -> Path:
    model = find_model(name_or_path)
    if not isinstance(model, ModelFolder):
        raise UsageError(
            f"{model.name}: published weights are exported as the file that they are, not as a "
            "folder: leave --format out."
        )
    if final.suffix.lower() == ".zip":
        raise UsageError(f"{final}: --format {kind} makes a folder: give a name without .zip.")
    if overwrite:
        refuse_foreign(final, "model", (DESCRIPTION, bundle.METADATA))
    with atomic_folder(final, overwrite) as work:
        (bundle.write_hub_folder if kind == "hub" else bundle.write_bundle)(model, work)
    return final


def _install_bundle(folder: Path, overwrite: bool) -> ModelFolder:
    """Install what a bundle of MONAI says, as a model folder."""
    from tempfile import TemporaryDirectory

    home = make_folder(files.installed_folder())
    with explained(home), TemporaryDirectory(prefix=".import-", dir=home) as work:
        bundle.read_bundle(folder, Path(work) / "model")
        return _install(Path(work) / "model", overwrite)


def _import_published(path: Path) -> PublishedFile:
    entry = open_published(path).entry
    if entry is None:
        raise ModelError(
            f"{path}: these weights are not among the published ones, so they have no name: give "
            "the path of the file instead of importing it."
        )
    final = published_path(entry)
    if not exists(final) or sha256(final) != entry.sha256:
        with atomic_path(final) as work:
            _copy(path, work)
    return open_published(final, entry)


def install_zip(path: Path, overwrite: bool, entry: RegistryEntry | None = None) -> ModelFolder:
    """Unpack a zipped model to its place; that of a registered `entry` may have its name."""
    from tempfile import TemporaryDirectory

    home = make_folder(files.installed_folder())
    with explained(home), TemporaryDirectory(prefix=".import-", dir=home) as work:
        try:
            _unpack(path, Path(work))
            if bundle.is_bundle(Path(work)):
                return _install_bundle(Path(work), overwrite)
            return _install(Path(work), overwrite, entry)
        except (ModelError, MissingFileError) as error:
            # The reader knows the zip, not the folder that it was unpacked to.
            raise ModelError(str(error).replace(work, str(path))) from error


def _install(folder: Path, overwrite: bool, entry: RegistryEntry | None = None) -> ModelFolder:
    """Copy the listed files of a verified model folder to its place among the installed ones."""
    model = open_model(folder)
    is_known = model.name in registry_entries() or (files.packaged_folder() / model.name).exists()
    if is_known and (entry is None or entry.name != model.name):
        raise ModelError(
            f"The name {model.name!r} belongs to a model that Encephalon knows: change `name` in "
            f"{DESCRIPTION}, or use the model by its path."
        )
    final = files.installed_folder() / model.name
    with locked(final.with_name(f".{model.name}.import")):
        if is_file(final / DESCRIPTION) and sha256(final / DESCRIPTION) == model.sha256:
            return open_model(final)
        with atomic_folder(final, overwrite) as work:
            for name in (DESCRIPTION, *model.description.files):
                _copy(folder / name, work / name)
            open_model(work)
    return open_model(final)


def _unpack(path: Path, folder: Path) -> None:
    """Unpack the files of a zipped model, which lie at its top or in one folder, to `folder`."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [item for item in archive.infolist() if not item.is_dir()]
            names = _safe_names(members, path)
            packed, size = path.stat().st_size, sum(item.file_size for item in members)
            if is_zip_bomb(
                packed, size, harmless=_SMALL_MODEL, most=_LARGEST_MODEL, growth=_MOST_GROWTH
            ):
                raise ModelError(
                    f"{path}: {packed:,} bytes that unpack to {size:,} are not a model."
                )
            for item, name in zip(members, names, strict=True):
                # Reading stops at the size that was announced, and compares the checksum there.
                with archive.open(item) as stream:
                    _copy(stream, make_folder((folder / name).parent) / PurePosixPath(name).name)
    except (ModelError, OutputError):
        raise
    except Exception as error:  # damage makes zipfile and its unpackers raise a dozen
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(
            f"{path}: expected a zipped model, but it cannot be unpacked ({reason})."
        ) from error
    if not bundle.is_bundle(folder):
        read_description(folder)


def _copy(source: Path | IO[bytes], target: Path) -> None:
    """Write what is in `source` to `target`; raises OutputError where only that is at fault."""
    if isinstance(source, Path):
        with content(source, "a file of a model") as opened:
            _copy(opened, target)
        return
    with explained(target), target.open("wb") as file:
        while piece := _read(source):
            file.write(piece)


def _read(stream: IO[bytes]) -> bytes:
    try:
        return stream.read(_PIECE)
    except OSError as error:  # of a damaged member, as bzip2 says it, and not of the disk
        raise zipfile.BadZipFile(str(error)) from error


def _safe_names(members: list[zipfile.ZipInfo], path: Path) -> list[str]:
    """Return plain file names, the one common folder taken off; refuse anything that strays.

    The folders of a bundle may have files of their own.
    """
    parts = [PurePosixPath(item.filename).parts for item in members]
    depth = 1 if all(len(part) > 1 and part[0] == parts[0][0] for part in parts) else 0
    names: list[str] = []
    for item, part in zip(members, parts, strict=True):
        *folders, name = part[depth:] or [""]
        is_link = stat.S_ISLNK(item.external_attr >> 16)
        strays = set("/\\:") & set("".join(part)) or {"..", "."} & set(part)
        strays |= set() if len(name.encode()) <= _LONGEST_NAME else {name}
        strays |= set() if len(folders) <= 1 and set(folders) <= set(bundle.FOLDERS) else {name}
        plain = "/".join((*folders, name))
        if is_link or strays or not name or plain in names:
            raise ModelError(
                f"{path}: holds {item.filename!r}, which is not a plain file of one model folder: "
                "nothing was unpacked; get the model from its source again."
            )
        names.append(plain)
    return names


def _write_zip(model: ModelFolder, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted((DESCRIPTION, *model.description.files)):
            item = zipfile.ZipInfo(f"{model.name}/{name}", date_time=_EPOCH)
            item.compress_type = zipfile.ZIP_DEFLATED
            item.external_attr = 0o644 << 16
            archive.writestr(item, (model.path / name).read_bytes())
