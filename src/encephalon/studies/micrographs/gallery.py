# SPDX-License-Identifier: Apache-2.0
"""The files of explained images: maps as arrays, panels by certainty, pictures by themselves."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from encephalon.errors import OutputError
from encephalon.inference.outputs import OutputLayout
from encephalon.inference.predictor import OutputKind
from encephalon.io.atomic import explained, refuse_existing, write_bytes
from encephalon.studies.micrographs import panels

if TYPE_CHECKING:
    from encephalon.reports.pictures import Bytes
    from encephalon.studies.micrographs.explainer import Explained
    from encephalon.tables import Sample

__all__ = ["MAPS", "ORIGINALS", "Gallery"]

#: Folders of the published notebook (3BTRON, spec section 6), which left them empty.
ORIGINALS, MAPS = "original_images", "cam_images"


class Gallery:
    """The output folder of a batch of explanations.

    <certainty>/<id>_panel.png     image, heat map and overlay side by side
    cam_images/<id>_cam.tif        the map, float32, on the raw grid, NaN where nobody looked
    cam_images/<id>_cam.png        the same in colours
    original_images/<id>.png       the image
    """

    def __init__(
        self, folder: Path, samples: Sequence[Sample], certainties: Sequence[str], overwrite: bool
    ) -> None:
        self.folder, self._overwrite = folder, overwrite
        self._certainties = tuple(certainties)
        self._inputs = {path.resolve() for one in samples for path in one.inputs.values()}
        kinds = {"cam": OutputKind("", extension=".tif", description="map")}
        planned = OutputLayout(folder / MAPS).plan(samples, kinds)
        self._planned = {id(one.sample): one for one in planned}

    def check(self, sample: Sample) -> None:
        """Raise OutputError for a sample whose files may not be written."""
        planned = self._planned[id(sample)]
        if planned.problem is not None:
            raise planned.problem
        for path in planned.images.values():
            refuse_existing(path, self._overwrite)

    def write(self, sample: Sample, look: panels.Look, one: Explained) -> dict[str, str]:
        """Write the files of one image; returns the paths of map and panel, as the table has them.

        look  image and map at the size of a screen
        """
        from encephalon.io.micrograph import write_plane

        name = sample.id
        array, heat = (self.folder / MAPS / f"{name}_cam{end}" for end in (".tif", ".png"))
        original = self.folder / ORIGINALS / f"{name}.png"
        panel = self.folder / one.folder / f"{name}_panel.png"
        for path in (array, heat, original, panel):
            self._allow(path)
        self._drop_elsewhere(panel)
        write_plane(one.map, array)
        _write_png(heat, panels.heat_image(look))
        _write_png(original, look.grey)
        _write_png(panel, panels.panel(look, _caption(name, one)))
        return {"map": f"{MAPS}/{array.name}", "panel": f"{one.folder}/{panel.name}"}

    def _allow(self, path: Path) -> None:
        refuse_existing(path, self._overwrite)
        if path.resolve() in self._inputs:
            raise OutputError(f"{path} is an input and would be replaced: choose another folder.")

    def _drop_elsewhere(self, panel: Path) -> None:
        """An image whose certainty has changed must not be in two folders."""
        for certainty in self._certainties:
            stale = self.folder / certainty / panel.name
            if stale != panel:
                with explained(stale):
                    stale.unlink(missing_ok=True)


def _caption(name: str, one: Explained) -> str:
    words = f"{name}: {one.name}, probability {one.probability:.2f}"
    said = str(one.values.get("predicted", one.name))
    return words if said == one.name else f"{words} (predicted: {said})"


def _write_png(path: Path, pixels: Bytes) -> None:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=1)
    write_bytes(path, stream.getbuffer())
