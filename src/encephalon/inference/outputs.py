# SPDX-License-Identifier: Apache-2.0
"""Where the results of a batch go: decided, and every clash found, before any work begins."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encephalon.errors import OutputError, UsageError
from encephalon.inference.predictor import OutputKind, kinds_of, model_facts
from encephalon.io.atomic import locked, prove_writable, refuse_existing, sweep
from encephalon.io.bids import derivative_path, generated_by, write_dataset_description
from encephalon.io.files import Inputs, composed, exists, expanded
from encephalon.io.image import IMAGE_SUFFIXES, SLICE_SUFFIXES

if TYPE_CHECKING:
    from encephalon.io.bids import BidsFile
    from encephalon.tables.samples import Sample


TABLE = "predictions.csv"
ZARR = ".zarr"
"""The ending of an image that is a folder."""

# Endings that are surely meant as a file, although no image of ours is written so.
_FOREIGN = (
    *(".nhdr", ".mhd", ".img", ".hdr", ".dcm", ".ima", ".gz"),
    *(".json", ".html", ".txt", ".csv", ".tsv", ".tif", ".tiff", ".png", ".jpg", ".jpeg"),
)


@dataclass(frozen=True)
class PlannedOutput:
    """The files that one sample will have, or the reason why it may not have them.

    images    final path of each image, by its key
    sidecars  final path of the JSON beside each: `x_mask.nii.gz` has `x_mask.json`
    problem   what forbids the work, such as an id that cannot name a file
    """

    sample: Sample
    images: Mapping[str, Path]
    sidecars: Mapping[str, Path]
    problem: OutputError | None = None

    def require_free(self, overwrite: bool) -> None:
        """Raise the problem, or OutputExistsError for an image that is there unless `overwrite`."""
        if self.problem is not None:
            raise self.problem
        for path in self.images.values():
            refuse_existing(path, overwrite)


@dataclass(frozen=True)
class OutputLayout:
    """How results are named.

    folder  everything goes here; a plain name is `<id>_<key><extension>`
    files   images of the only sample, by key, that go exactly there, the others beside the first
    bids    names are those of a BIDS derivative of each sample's file
    raw     the BIDS dataset of all samples, which sidecars call bids:raw; None if there are several
    table   where the row of every sample goes; None for no table
    """

    folder: Path
    files: Mapping[str, Path] = field(default_factory=dict)
    bids: bool = False
    raw: Path | None = None
    table: Path | None = None

    def plan(
        self,
        samples: Sequence[Sample],
        kinds: Mapping[str, OutputKind],
    ) -> list[PlannedOutput]:
        """Return the files of each sample; what clashes has its `problem` set, nothing is raised.

        A problem is an output that is an input of any sample, one that another sample of the batch
        already has, or an id that cannot name a file. What stands there already is looked at when
        the sample is read, see `inference.resume`.
        """
        inputs = Inputs(path for sample in samples for path in sample.inputs.values())
        taken: dict[str, Sample] = {}
        planned = []
        for sample in samples:
            problem = _bad_id(sample.id)
            own = kinds_of(kinds, sample)
            images = {} if problem else self._paths(sample, own)
            sidecars = {key: _sidecar(path, own) for key, path in images.items()}
            problem = problem or _twice([*images.values(), *sidecars.values()])
            for path in (*images.values(), *sidecars.values()):
                problem = problem or _clash(path, sample, inputs, taken)
            planned.append(PlannedOutput(sample, images, sidecars, problem))
        return planned

    @property
    def file(self) -> Path | None:
        """The first of the files, where there are any."""
        return next(iter(self.files.values()), None)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from naming files or writing the table and the report meanwhile."""
        with locked(self.folder / f".{self.table.name}") if self.table else nullcontext():
            yield

    def relative(self, path: Path) -> str:
        """The path as a row of the table names it: from the folder, with forward slashes."""
        return Path(os.path.relpath(path, self.folder)).as_posix()

    def _paths(self, sample: Sample, kinds: Mapping[str, OutputKind]) -> dict[str, Path]:
        if self.files:
            return _beside(self.files, kinds)
        if self.bids and sample.bids is not None:
            return {key: _derivative(self.folder, sample.bids, kinds[key]) for key in kinds}
        stem = self.folder / sample.id
        return {key: Path(f"{stem}_{key}{kind.extension}") for key, kind in kinds.items()}


@dataclass(frozen=True)
class Work:
    """What a batch will do: where results go, the files of each sample, what may be replaced."""

    layout: OutputLayout
    planned: list[PlannedOutput]
    overwrite: bool = False

    @property
    def samples(self) -> list[Sample]:
        """The samples, in the order in which they are done."""
        return [one.sample for one in self.planned]

    def prepare(self, description: Mapping[str, Any]) -> None:
        """Make the folder and prove that it can be written to; raises OutputError if not.

        What killed processes left half written in the folders of the outputs is swept. A BIDS
        layout also gets its dataset_description.json, which names what `description` (see
        `Predictor.describe`) says of the model.
        """
        layout = self.layout
        prove_writable(layout.folder)
        for folder in {path.parent for one in self.planned for path in one.images.values()}:
            sweep(folder)
        if layout.bids:
            about = model_facts(description)
            model = {key.title(): str(about[key]) for key in ("name", "version") if key in about}
            makers = [*generated_by(), model] if model else generated_by()
            links = {"raw": layout.relative(layout.raw)} if layout.raw is not None else None
            write_dataset_description(layout.folder, "Encephalon predictions", makers, links)


Place = str | os.PathLike[str]


def choose_layout(
    output: Place | Mapping[str, Place],
    samples: Sequence[Sample],
    kinds: Mapping[str, OutputKind],
) -> OutputLayout:
    """Return the layout that `-o output` means, or the place of each image by its key.

    A name that ends as an image does is the file of a single sample's main image; one that ends
    in .csv is the table of a predictor without images; everything else is a folder, in BIDS order
    when every sample comes from a BIDS dataset. Raises UsageError for a file name with several
    samples, with an ending that cannot be written, or where a file stands in the folder's place,
    and OutputError for derivatives inside of their raw dataset.
    """
    if isinstance(output, Mapping):
        return _by_image(output, samples, kinds)
    path = _full_path(output)
    kinds = {key: kind for one in samples for key, kind in kinds_of(kinds, one).items()} or {
        key: kind for key, kind in kinds.items() if kind.extension_of is None
    }
    if not path.is_dir() or path.suffix.lower() == ZARR:
        if not kinds and path.suffix.lower() == ".csv":
            return OutputLayout(path.parent, table=path)
        if _image_suffix(path, kinds):
            return _single_file(path, samples, kinds)
        if path.is_file():
            raise UsageError(
                f"The output {path} is a file: give a folder, or a new name for the image."
            )
        if path.suffix.lower() in _FOREIGN:
            raise UsageError(
                f"The output {path} cannot be written as {path.suffix}: give a folder, or a name "
                f"that ends in one of {', '.join(_endings(kinds))}."
            )
    bids = bool(samples) and all(sample.bids is not None for sample in samples)
    roots = {sample.bids.root for sample in samples if sample.bids is not None}
    for root in roots if bids else ():
        _refuse_within(path, root)
    raw = roots.pop() if len(roots) == 1 else None
    return OutputLayout(path, bids=bids, raw=raw, table=path / TABLE)


def _by_image(
    places: Mapping[str, Place], samples: Sequence[Sample], kinds: Mapping[str, OutputKind]
) -> OutputLayout:
    """The files of single images; or one folder, in which all of them have their usual names."""
    if unknown := places.keys() - kinds.keys():
        raise UsageError(
            f"No image {min(unknown)!r} will be written, but {', '.join(kinds) or 'none'}: name "
            "it in `save`, or leave its place out."
        )
    found = {key: choose_layout(place, samples, kinds) for key, place in places.items()}
    layout, *others = found.values()
    if any(one.folder != layout.folder or one.files for one in others) and not all(
        one.files for one in found.values()
    ):
        raise UsageError(
            f"{' and '.join(map(str, places.values()))} are not one folder: give a file for each "
            "image of a single scan, or the same folder for all."
        )
    files = {key: one.file for key, one in found.items() if one.file is not None}
    return replace(layout, files=files)


def _full_path(output: Place) -> Path:
    if not str(output):
        raise UsageError("The output is empty: give a folder, or a name for the image.")
    path = expanded(output)
    if path.parts[:1] and path.parts[0].startswith("~") and not exists(path.parts[0]):
        raise UsageError(
            f"The output {output}: that home folder is not known; write the path in full."
        )
    return path


def _refuse_within(path: Path, dataset: Path) -> None:
    """Derivatives go beside a dataset or into its folder `derivatives`, and nowhere else."""
    try:
        first, *_ = Path(os.path.realpath(path)).relative_to(os.path.realpath(dataset)).parts
    except ValueError:  # it lies outside, or is the dataset itself, which `prepare` looks at
        return
    if first != "derivatives":
        raise OutputError(
            f"{path} is inside the BIDS dataset {dataset}: choose a folder outside of it, or "
            f"{dataset / 'derivatives'}."
        )


def _single_file(
    path: Path, samples: Sequence[Sample], kinds: Mapping[str, OutputKind]
) -> OutputLayout:
    if len(samples) != 1:
        raise UsageError(
            f"The output {path} is one file, but there are {len(samples)} inputs: "
            "give a folder with -o."
        )
    if not kinds:
        raise UsageError(
            f"The output {path} is an image, but this model writes none: give a folder."
        )
    return OutputLayout(path.parent, {next(iter(kinds)): path})


def _endings(kinds: Mapping[str, OutputKind]) -> list[str]:
    """Return the endings that images can be written with, longest first: .nii.gz before .gz."""
    known = {*IMAGE_SUFFIXES, *(kind.extension for kind in kinds.values())} - set(SLICE_SUFFIXES)
    return sorted(known, key=lambda suffix: (-len(suffix), suffix))


def _image_suffix(path: Path, kinds: Mapping[str, OutputKind]) -> str:
    """Return the image ending of a name as it is written there, or an empty string."""
    for suffix in _endings(kinds):
        if path.name.lower().endswith(suffix) and len(path.name) > len(suffix):
            return path.name[-len(suffix) :]
    return ""


def _sidecar(path: Path, kinds: Mapping[str, OutputKind]) -> Path:
    suffix = _image_suffix(path, kinds) or path.suffix
    return path.with_name(path.name.removesuffix(suffix) + ".json")


def _derivative(folder: Path, file: BidsFile, kind: OutputKind) -> Path:
    desc, suffix = kind.desc or "", kind.suffix or file.suffix
    return derivative_path(folder, file, desc=desc, suffix=suffix, ext=kind.extension)


def _beside(files: Mapping[str, Path], kinds: Mapping[str, OutputKind]) -> dict[str, Path]:
    """Return `files`, and names made from the first of them for the other images."""
    main, file = next(iter(files.items()))
    suffix = _image_suffix(file, kinds)
    stem = file.name.removesuffix(suffix).removesuffix(f"_{main}")
    paths = {}
    for key, kind in kinds.items():
        same = kind.extension == kinds[main].extension
        ending = suffix if same else kind.extension
        paths[key] = files.get(key, file.with_name(f"{stem}_{key}{ending}"))
    return paths


def _bad_id(name: str) -> OutputError | None:
    if name and Path(name).name == name and name not in {".", ".."} and "\0" not in name:
        return None
    return OutputError(f"The id {name!r} cannot be part of a file name: change it in the table.")


def _twice(paths: Sequence[Path]) -> OutputError | None:
    """What is wrong with the places of one sample: two images would have one sidecar."""
    counts = Counter(composed(str(path)).casefold() for path in paths)
    (path, count), *_ = counts.most_common(1) or [("", 0)]
    if count < 2:
        return None
    return OutputError(f"{path} would be written for two images: give them different names.")


def _clash(
    path: Path, sample: Sample, inputs: Inputs, taken: dict[str, Sample]
) -> OutputError | None:
    """Return what is wrong with writing `path`, and note that `sample` will."""
    if clash := inputs.clash(path, "choose another folder or name"):
        return clash
    # Some file systems take Scan and scan, or two spellings of an accent, for the same name.
    owner = taken.setdefault(composed(str(path)).casefold(), sample)
    if owner is sample:
        return None
    if sample.bids is None:
        return OutputError(
            f"{path} would be written for two samples of the batch, {owner.id!r} and "
            f"{sample.id!r}: make their ids differ."
        )
    one, other = ("; ".join(map(str, each.inputs.values())) for each in (owner, sample))
    return OutputError(
        f"{other}: its result would be {path}, which is that of {one}, since their names differ in "
        "nothing that the name of a derivative keeps: give this file by itself, with another "
        "output folder."
    )
