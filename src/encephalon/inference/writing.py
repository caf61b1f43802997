# SPDX-License-Identifier: Apache-2.0
"""Put what was predicted for one sample on disk: all of its files, or none.

Beside every image lies a JSON that says what it is, from what, by what, how long that took, and
how good it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.inference.outputs import PlannedOutput
from encephalon.inference.predictor import OutputImage, OutputKind, Prediction, model_facts
from encephalon.io.atomic import (
    content_of,
    explained,
    flush,
    flush_folder,
    json_text,
    make_folder,
    put,
    remove,
    temporary_beside,
)
from encephalon.io.bids import generated_by
from encephalon.io.reading import image_writer

if TYPE_CHECKING:
    from encephalon.tables.samples import Sample


FINGERPRINT, BYTES = "Fingerprint", "Sha256"
"""What the result depends on, and the sha256 of the image: by these a later run knows its own."""

Pair = tuple[Path, Path]
"""A finished file under its temporary name, and its final place."""


def empty_masks(prediction: Prediction) -> list[str]:
    """Return the keys of the masks without a single voxel, whether they would be written or not.

    What else a prediction has (the brain inside the mask) means nothing without its mask.
    """
    return [key for key, image in prediction.images.items() if image.is_empty_mask]


def images_of(planned: PlannedOutput, prediction: Prediction) -> dict[str, Path]:
    """Where the images that a prediction says to write go.

    Raises ValueError for one that the predictor had not announced.
    """
    keys = [key for key, image in prediction.images.items() if image.written]
    for key in keys:
        if key not in planned.images:
            raise ValueError(f"The predictor made an image {key!r} that its `outputs` do not name.")
    return {key: planned.images[key] for key in keys}


def write_outputs(
    planned: PlannedOutput,
    prediction: Prediction,
    records: Mapping[str, Mapping[str, Any]],
    may_replace: Callable[[Mapping[str, str]], bool],
    alone: Callable[[], AbstractContextManager[None]],
) -> None:
    """Write the images that `prediction` says to save, each with its JSON.

    `records` is what each JSON says, by the key of its image. Everything is written beside its
    final place first and gets its name at the end, while `alone` keeps other processes away; then
    `may_replace`, called with the sha256 of each image, says whether what stands there by now may
    be replaced, or raises what forbids it.

    An error, a full disk or Ctrl-C leaves nothing of the sample. The JSON files come first and the
    images, when old ones are gone, last: whatever is killed in between leaves no image beside
    a JSON of another. Raises OutputError for what forbids writing.
    """
    with ExitStack() as stack:
        images, sidecars, made = list[Pair](), list[Pair](), dict[str, str]()
        for key, final in images_of(planned, prediction).items():
            image = prediction.images[key]
            if image.made is None:
                images.append(_written(stack, final, _writer(image, final)))
            else:
                images.append((image.made, final))
            made[key] = content_of(images[-1][0])
            text = partial(_write_text, json_text({**records[key], BYTES: made[key]}))
            sidecars.append(_written(stack, planned.sidecars[key], text))
        with alone():
            _put_all(sidecars, images, replace=may_replace(made))
        for image in prediction.images.values():
            if image.made is not None:
                remove(image.made.parent)
        for folder in {final.parent for _, final in images}:
            flush_folder(folder)


def _written(stack: ExitStack, final: Path, write: Callable[[Path], None]) -> Pair:
    with explained(final):
        make_folder(final.parent)
        temporary = stack.enter_context(temporary_beside(final))
        write(temporary)
        flush(temporary)
    return temporary, final


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, "utf-8", "backslashreplace", "\n")


def _put_all(sidecars: list[Pair], images: list[Pair], *, replace: bool) -> None:
    placed: list[Path] = []
    try:
        for _, final in images if replace else ():
            with explained(final):
                remove(final)
        for temporary, final in [*sidecars, *images]:
            with explained(final):
                put(temporary, final, replace)
            placed.append(final)
    except BaseException:
        for final in placed:
            with suppress(OSError):
                remove(final)
        raise


def _writer(image: OutputImage, final: Path) -> Callable[[Path], None]:
    if image.writer is not None:
        return partial(image.writer, image.data)
    if image.like is None:
        raise ValueError(
            "An output image needs `like`, the input whose grid it has, or a `writer`."
        )
    return image_writer(image.data, final, image.like)


def sidecar(
    sample: Sample,
    kind: OutputKind,
    prediction: Prediction,
    description: Mapping[str, Any],
    seconds: float,
) -> dict[str, Any]:
    """What the JSON beside one image says; keys as BIDS derivatives spell them.

    `description` is `Predictor.describe()`; `seconds` is reading and computing, wall time.
    """
    record: dict[str, Any] = {"Id": sample.id, "Sources": sources(sample)}
    if kind.description:
        record["Description"] = kind.description
    if kind.content:
        record["Type"] = kind.content
    quality = prediction.quality
    if kind.skull_stripped is not None:
        record["SkullStripped"] = kind.skull_stripped
    if sample.bids is not None:  # the world that the coordinates are of: that of the scan
        record["SpatialReference"] = record["Sources"][0]
    record |= {
        "Model": model_facts(description),
        "Settings": {key: value for key, value in description.items() if key != "model"},
        "Values": dict(prediction.values),
        "Quality": {
            "Status": quality.status if quality else "unknown",
            "Reasons": list(quality.reasons) if quality else [],
        },
        "Seconds": round(seconds, 3),
        "GeneratedBy": generated_by(),
    }
    return record


def sources(sample: Sample) -> list[str]:
    """The files that a sample was read from: BIDS addresses, or paths as they were given."""
    if sample.bids is None:
        return [Path(path).as_posix() for path in sample.inputs.values()]
    # From the subject's folder on; the folders above it are nobody else's business.
    subject, addresses = f"sub-{sample.bids.entities.get('sub', '')}", []
    for path in sample.inputs.values():
        parts = Path(path).parts
        first = max((n for n, part in enumerate(parts) if part == subject), default=-1)
        addresses.append("bids:raw:" + "/".join(parts[first:]))
    return addresses
