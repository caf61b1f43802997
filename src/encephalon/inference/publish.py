# SPDX-License-Identifier: Apache-2.0
"""Put what was predicted for one sample on disk: all of its files, or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from encephalon.errors import OutputError
from encephalon.inference.outputs import PlannedOutput
from encephalon.inference.predictor import OutputImage, Prediction

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
    from encephalon.io.atomic import atomic_path, refuse_existing, write_json

    images = {key: image for key, image in prediction.images.items() if image.save}
    for key in images:
        if key not in planned.images:
            message = f"The predictor made an image {key!r} that its `outputs` do not name."
            raise ValueError(message)
        refuse_existing(planned.images[key], overwrite)
        refuse_existing(planned.sidecars[key], overwrite)
    with ExitStack() as stack:
        for key, image in images.items():
            final = planned.images[key]
            with _named(stack.enter_context(atomic_path(final)), final) as temporary:
                _write(image, temporary)
            final = planned.sidecars[key]
            with _named(stack.enter_context(atomic_path(final)), final) as temporary:
                write_json(temporary, dict(records[key]))
    return {key: planned.images[key] for key in images}


def _write(image: OutputImage, path: Path) -> None:
    from encephalon.io.image import write_image

    if image.writer is not None:
        image.writer(image.data, path)
    elif image.like is None:
        message = "An output image needs `like`, the input whose grid it has, or a `writer`."
        raise ValueError(message)
    else:
        write_image(image.data, path, image.like, overwrite=True)


@contextmanager
def _named(temporary: Path, final: Path) -> Iterator[Path]:
    """Let errors speak of the file that the user knows."""
    try:
        yield temporary
    except OutputError as error:
        message = str(error).replace(str(temporary), str(final))
        raise OutputError(message) from error
