# SPDX-License-Identifier: Apache-2.0
"""Put what was predicted for one sample on disk: all of its files, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from encephalon.inference.outputs import PlannedOutput
from encephalon.inference.predictor import OutputImage, Prediction
from encephalon.io.atomic import atomic_path, json_text, refuse_existing

__all__ = ["empty_masks", "publish"]


def empty_masks(prediction: Prediction) -> list[str]:
    """Return the keys of the masks without a single voxel, whether they would be written or not.

    What else a prediction has (the brain inside the mask) means nothing without its mask.
    """
    return [key for key, image in prediction.images.items() if image.is_empty_mask]


def publish(
    planned: PlannedOutput,
    prediction: Prediction,
    records: Mapping[str, Mapping[str, Any]],
    overwrite: bool = False,
) -> dict[str, Path]:
    """Write the images that `prediction` says to save, each with its JSON; return their paths.

    `records` is what each JSON says, by the key of its image.

    Everything is written beside its final place first and renamed at the end, so that an error,
    a full disk or Ctrl-C leaves nothing of the sample. Raises OutputExistsError for a file that
    has appeared since the plan was made, OutputError for everything else that forbids writing, and
    ValueError for an image that the predictor had not announced.
    """
    images = {key: image for key, image in prediction.images.items() if image.save}
    for key in images:
        if key not in planned.images:
            message = f"The predictor made an image {key!r} that its `outputs` do not name."
            raise ValueError(message)
        refuse_existing(planned.images[key], overwrite)
        refuse_existing(planned.sidecars[key], overwrite)
    with ExitStack() as stack:
        for key, image in images.items():
            write = _writer(image, planned.images[key])
            write(stack.enter_context(atomic_path(planned.images[key], overwrite)))
            sidecar = stack.enter_context(atomic_path(planned.sidecars[key], overwrite))
            sidecar.write_text(json_text(records[key]), "utf-8", "backslashreplace", "\n")
    return {key: planned.images[key] for key in images}


def _writer(image: OutputImage, final: Path) -> Callable[[Path], None]:
    from encephalon.io.image import image_writer

    if image.writer is not None:
        return partial(image.writer, image.data)
    if image.like is None:
        message = "An output image needs `like`, the input whose grid it has, or a `writer`."
        raise ValueError(message)
    return image_writer(image.data, final, image.like)
