# SPDX-License-Identifier: Apache-2.0
"""Model folders of the Hugging Face Hub, as `models export --format hub` writes them."""

from __future__ import annotations

import re
import shutil

from encephalon.errors import InputError, ModelError
from encephalon.io.atomic import locked, make_folder, sha256
from encephalon.io.fetch import HUB, Places, Remote, fetch
from encephalon.io.files import is_file
from encephalon.io.http import PATIENCE
from encephalon.models import files
from encephalon.models.exchange import import_model
from encephalon.models.folder import DESCRIPTION, ModelFolder, read_description

SCHEME = "hf://"
_PLACE = re.compile(r"hf://(\w[\w.-]*/\w[\w.-]*)(?:@(\w[\w./-]*))?", re.ASCII)


def get_from_hub(
    place: str, *, offline: bool = False, mirror: Places = None, limit: float | None = None
) -> ModelFolder:
    """Fetch the model folder `hf://OWNER/NAME[@REVISION]`, and install it under its own name.

    `model.toml` is compared with that of the first fetch of this revision, and every file with the
    sha256 there; files that nobody lists are not fetched. What has come stays until all is there,
    so that a second try goes on. A mirror has the files in a folder OWNER/NAME; the others are
    those of `fetch`. Raises ModelError where the model cannot be had or is not what it should be.
    """
    found = _PLACE.fullmatch(place)
    if found is None:
        raise ModelError(
            f"{place}: expected hf://OWNER/NAME of the Hugging Face Hub, or hf://OWNER/NAME@REVISION."
        )
    repository, revision = found[1], found[2] or "main"
    slug = re.sub(r"[^\w.-]", "-", f"{repository}-{revision}")
    work = make_folder(files.installed_folder() / f".hub-{slug}")
    with locked(files.installed_folder() / f".hub-{slug}", limit or PATIENCE.file):
        make_folder(work)  # another process may have been done with it

        def bring(name: str, digest: str = "") -> None:
            path = work / name
            if digest and is_file(path) and sha256(path) == digest:
                return
            remote = Remote(
                f"the file {name} of the model {repository}",
                f"{HUB}/{repository}/resolve/{revision}/{name}",
                f"{repository}/{name}",
                sha256=digest,
                obtain="Nothing else is fetched from there.",
                at_hand="import the folder that has it with  encephalon models import",
            )
            fetch(remote, path, offline=offline, mirror=mirror, limit=limit)

        try:
            bring(DESCRIPTION)
            for name, digest in read_description(work).files.items():
                bring(name, digest)
        except InputError as error:
            raise ModelError(str(error)) from error
        model = import_model(work)
        shutil.rmtree(work)
    assert isinstance(model, ModelFolder)  # as a folder was given
    return model
