# SPDX-License-Identifier: Apache-2.0
"""What every predictor promises, and what it hands back for one sample.

The batch runner knows nothing of heads, micrographs or cohorts: it asks a `Predictor` which images
it will write, gives it one sample after another, and puts what comes back on disk. A predictor of
rows only (a classifier) names no images; one of 2-D images brings its own writer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

from numpy.typing import NDArray

from encephalon.errors import UsageError

if TYPE_CHECKING:
    from encephalon.inference.runtimes import Runtime
    from encephalon.io.image import Image
    from encephalon.recipes.schema import Section
    from encephalon.tables.samples import Sample


Options = TypeVar("Options", bound="Section")
Status = Literal["ok", "check", "fail"]
Value = float | int | str | bool | None
_SEVERITY: dict[Status, int] = {"ok": 0, "check": 1, "fail": 2}


@dataclass(frozen=True)
class Quality:
    """How far a prediction can be trusted: "ok", "check" (look at it) or "fail", and why."""

    status: Status
    reasons: tuple[str, ...] = ()

    def worse_of(self, other: Quality) -> Quality:
        """The more severe status of the two, with the reasons of both."""
        status = max(self.status, other.status, key=_SEVERITY.__getitem__)
        return Quality(status, (*self.reasons, *other.reasons))


def told_apart(value: float, limit: float, places: int = 2, kind: Literal["f", "%"] = "f") -> str:
    """`value` with `places` decimals, or as many as tell it from the `limit` that it passed."""
    for more in range(places, 9):
        written = f"{value:.{more}{kind}}"
        if written != f"{limit:.{more}{kind}}":
            break
    return written


@dataclass(frozen=True)
class OutputKind:
    """One image that a predictor writes for every sample, told before any work begins.

    suffix       the BIDS suffix, for example "mask" or "probseg"; "" for that of the source
    desc         the BIDS label of `desc-`, for example "brain"; None for none
    extension    the ending of the file, with its dots
    description  one sentence for the sidecar
    skull_stripped  of an image that still looks like a scan: whether the rest of the head is gone;
                 None for masks, maps and whatever else is no scan
    content      of a mask, what BIDS calls what lies in it ("Type"), such as "Brain"; "" for none
    extension_of  the ending where it depends on the sample, "" where that gets no such image
    """

    suffix: str
    desc: str | None = None
    extension: str = ".nii.gz"
    description: str = ""
    skull_stripped: bool | None = None
    content: str = ""
    extension_of: Callable[[Sample], str] | None = field(default=None, compare=False)


def kinds_of(kinds: Mapping[str, OutputKind], sample: Sample) -> dict[str, OutputKind]:
    """The images that a sample will have, with the endings of their files."""
    found = {
        key: kind
        if kind.extension_of is None
        else replace(kind, extension=kind.extension_of(sample))
        for key, kind in kinds.items()
    }
    return {key: kind for key, kind in found.items() if kind.extension}


@dataclass(frozen=True, repr=False)
class OutputImage:
    """One image of a prediction.

    data          the voxels, on the grid of `like` (shape, affine): written as io.write_image does
    like          the input whose grid it has; not needed with a `writer`
    desc, suffix  what it is, as in the `OutputKind` of the same key
    written       False keeps it out of the output folder (a report may still show it)
    may_be_empty  an all-zero mask is a failure unless this says that it is an answer
    writer        writes `data` to a path by itself: for images that are not on a grid in mm
    made          a finished folder that becomes the image, instead of `data`; it lies in a working
                  folder of its own, which goes once the image has its place
    """

    data: NDArray[Any] = field(repr=False)
    like: Image | None
    desc: str | None = None
    suffix: str = "mask"
    written: bool = True
    may_be_empty: bool = False
    writer: Callable[[NDArray[Any], Path], None] | None = None
    made: Path | None = None

    def __repr__(self) -> str:
        words = "_".join(word for word in (self.desc, self.suffix) if word)
        return f"OutputImage({words!r}, {'x'.join(map(str, self.data.shape))} {self.data.dtype})"

    @property
    def is_empty_mask(self) -> bool:
        """Whether this is a mask without one voxel that had to have some."""
        return self.suffix == "mask" and not self.may_be_empty and not self.data.any()

    def to_nibabel(self) -> Any:
        """The same as an image of nibabel, with the affine, qform and sform of the input.

        Raises UsageError for an image that is not on a grid in mm.
        """
        from encephalon.io.nifti import as_nibabel

        if self.like is None:
            raise UsageError("This image has no place in mm, and so is no NIfTI: take its data.")
        return as_nibabel(self.data, self.like)

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write it to `path` in the format of its ending, such as mask.nii.gz, and return that.

        Raises UsageError for an image that is not on a grid in mm, and what `io.write_image` does.
        """
        from encephalon.io.atomic import atomic_path, refuse_existing
        from encephalon.io.reading import write_image

        if self.writer is None and self.like is not None:
            return write_image(self.data, path, self.like, overwrite)
        if self.writer is None:
            raise UsageError("This image has no place in mm: write its data as a picture.")
        refuse_existing(path, overwrite)
        with atomic_path(path, overwrite) as temporary:
            self.writer(self.data, temporary)
        return Path(path)


@dataclass(frozen=True, repr=False)
class Prediction:
    """What a predictor says of one sample.

    images    by key ("mask", "brain"): the key names the plain file, <id>_<key>.nii.gz
    values    one number or word a column of predictions.csv; units belong in the name (volume_ml)
    quality   None where the predictor has no way to judge itself
    pictures  whatever the study's report draws from; the batch hands it on and forgets it
    """

    images: Mapping[str, OutputImage] = field(default_factory=dict)
    values: Mapping[str, Value] = field(default_factory=dict)
    quality: Quality | None = None
    pictures: Any = None

    def __repr__(self) -> str:
        quality = f"quality {self.quality.status!r}" if self.quality else ""
        values = ", ".join(f"{name} {value}" for name, value in self.values.items())
        told = "; ".join(part for part in (", ".join(self.images), values, quality) if part)
        return f"Prediction({told})"

    def __getitem__(self, key: str) -> OutputImage:
        """The image of that key; raises UsageError with those that there are."""
        if key not in self.images:
            meant = ", ".join(self.images) or "none"
            raise UsageError(f"This prediction has no image {key!r}; its images are {meant}.")
        return self.images[key]

    @property
    def mask(self) -> OutputImage:
        """The mask: `prediction["mask"]`."""
        return self["mask"]

    def plot(self) -> Any:
        """Three planes as a Pillow image, which notebooks show; a mask is outlined in its scan."""
        from encephalon.inference.notebooks import drawn

        return drawn(self)

    def _repr_html_(self) -> str:
        from encephalon.inference.notebooks import as_html

        return as_html(self)


@runtime_checkable
class Predictor(Protocol):
    """A loaded model: reads samples, predicts, and can say what it is.

    `read` runs in a second thread while `predict` works on the sample before, so the two must not
    share state that either of them changes.

    A predictor may offer more: `readers`, the number of samples that may be read at once, each in a
    thread of its own (1 where it does not say); `check(samples)`, which raises what forbids a whole
    batch before any of it is done; `also_reads(sample)`, the paths of files that its result
    depends on beside those of the sample, whether they are there or not; and `predict_to(loaded,
    places)`, which is asked instead of `predict` and told where each image will go, so that one
    larger than memory can be made beside its place.
    """

    @property
    def name(self) -> str:
        """The model's name, as in the column `model` of predictions.csv."""
        ...

    @property
    def outputs(self) -> Mapping[str, OutputKind]:
        """The images that will be written for each sample, the main one first; may be empty."""
        ...

    def describe(self) -> dict[str, Any]:
        """Provenance for sidecars.

        `model` holds what is known of the model (name, version, sha256, study, task, mode); the
        other keys say how it is run: runtime, device, options, notices.
        """
        ...

    def read(self, sample: Sample) -> Any:
        """Read and check the files of one sample; raises InputError, naming the file."""
        ...

    def predict(self, loaded: Any) -> Prediction:
        """Compute what the model says of what `read` returned."""
        ...


@dataclass(frozen=True)
class NetworkPredictor(Generic[Options]):
    """What predictors of one opened network say alike; `read` and `predict` are their own.

    model    what sidecars say of the model
    runtime  the opened network
    options  what the user asked for; images are written where it has `save`, and names them there
    """

    model: Mapping[str, Any]
    runtime: Runtime
    options: Options

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self.model["name"])

    @property
    def notice(self) -> str:
        """What is said with every prediction, such as that it is for research only; "" for none."""
        return ""

    @property
    def kinds(self) -> Mapping[str, OutputKind]:
        """Every image that can be written, by the word that asks for it, the main one first."""
        raise NotImplementedError

    @property
    def outputs(self) -> Mapping[str, OutputKind]:
        """The images that were asked for."""
        save = getattr(self.options, "save", self.kinds)
        return {key: kind for key, kind in self.kinds.items() if key in save}

    def describe(self) -> dict[str, Any]:
        """Model, runtime, device, options and any notice: for sidecars."""
        asked = self.options.model_dump(
            mode="json", by_alias=True, exclude={"save"}, exclude_none=True
        )
        return {
            "model": dict(self.model),
            "runtime": self.runtime.name,
            "device": self.runtime.device,
            **asked,
            **({"notice": self.notice} if self.notice else {}),
        }


def model_facts(description: Mapping[str, Any]) -> dict[str, Any]:
    """What `Predictor.describe` says of the model itself."""
    return dict(description.get("model") or {})


_TELL: ContextVar[Callable[[str], None] | None] = ContextVar("stage", default=None)


def stage(words: str) -> None:
    """Say that a stage of a prediction begins, such as "registering"; nobody need listen."""
    if (tell := _TELL.get()) is not None:
        tell(words)


@contextmanager
def stages_told(tell: Callable[[str], None]) -> Iterator[None]:
    """Have `tell` called with each stage that begins meanwhile, in this thread."""
    before = _TELL.set(tell)
    try:
        yield
    finally:
        _TELL.reset(before)
