# SPDX-License-Identifier: Apache-2.0
"""A sample as a reconstruction to be made: read, checked, repaired, and put on one grid.

So are the isotropic T2w files that thick slices are made of: which, whose, beside which T1w, and
under which new names.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from encephalon.errors import ContentError, InputError, MissingFileError
from encephalon.geometry.affine import Affine
from encephalon.io.bids import BidsFile, derivative_path, parse_name
from encephalon.io.image import Image, image_stem, image_suffix
from encephalon.io.reading import read_image
from encephalon.studies.isotropic.acquisition.registration import (
    Registration,
    is_same_head,
    make_stack,
    register_t1w,
)
from encephalon.studies.isotropic.acquisition.slices import (
    TOLERANCE,
    Acquisition,
    acquisition_metadata,
    find_acquisition,
    output_spacing,
    subject_and_session,
)
from encephalon.studies.isotropic.reconstruction.problem import Problem, Stack
from encephalon.studies.isotropic.settings import PredictOptions
from encephalon.tables.pairing import name_file, pair_images
from encephalon.tables.samples import Sample, collect_samples
from encephalon.tables.schema import Columns
from encephalon.transforms.conform import straightened
from encephalon.transforms.masks import require_head_size
from encephalon.transforms.registration import register_rigid
from encephalon.transforms.slices import make_profile

#: The roles of the scans of thick slices; the result lies on the grid of the first.
STACKS = ("t2w", "stack2", "stack3")
GUIDE = "t1w"
#: A further scan is used that tells this much of the first one beyond chance (of a real T2w cut
#: across and along, at any noise, 0.92 to 0.94; mirrored, so that no place is right, 0.43), and
#: that shows this share of its head.
ALIKE, OVERLAP = 0.6, 0.3
#: A T1w whose voxels reach this share of the distance between slices has little to add there.
COARSE = 0.75

COLUMNS = Columns(
    inputs={"t2w": "t2w", "t1w": "t1w"},
    suffixes={"t2w": ("T2w",), "t1w": ("T1w",)},
    optional=("t1w",),
)


@dataclass(frozen=True)
class Case:
    """What was read for one reconstruction.

    images           The scans of thick slices, finite, the one whose grid the result lies on first.
    t1w              The T1w as it was acquired, or None.
    notes, warnings  What is worth knowing of all of them, and what deserves a look: a sentence
                     each.
    acquisitions     How each scan was cut.
    """

    images: tuple[Image, ...]
    t1w: Image | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    acquisitions: tuple[Acquisition, ...] = ()

    def facts(self, options: PredictOptions) -> dict[str, Any]:
        """What a report says of the first scan beyond its operator, by name; None for nothing."""
        found = self.acquisitions[0]
        missing = found.slices - len(found.measured)
        return {
            "Pixels of the slices": f"{found.in_plane[0]:.3g} × {found.in_plane[1]:.3g} mm",
            "Slices without a measurement": missing or None,
            "Slice profile": Path(options.profile).name,
        }


def read_case(sample: Sample, options: PredictOptions) -> Case:
    """The scans of a sample: "t2w", and "stack2", "stack3" and "t1w" where it has them.

    A further scan or a T1w that is there but cannot be used is left out with a warning. Raises
    InputError, in one sentence, for a T2w that cannot be used and for a file that is not there.
    """
    first, acquisition = _read_stack(sample.file(STACKS[0]), options)
    images, acquisitions = [first], [acquisition]
    notes, warnings = [*acquisition.notes], [*acquisition.warnings, *sample.absent.values()]
    for role in (role for role in STACKS[1:] if role in sample.inputs):
        try:
            image, found = _read_stack(sample.inputs[role], options, acquisition)
        except InputError as error:
            warnings.append(_left_out(error))
            continue
        if any(
            np.allclose(image.affine.matrix, other.affine.matrix, atol=1e-3)
            and np.array_equal(image.data, other.data)
            for other in images
        ):
            warnings.append(f"Left out: {image.name} holds the same slices as a scan before it.")
            continue
        images.append(image)
        acquisitions.append(found)
        notes += found.notes
        warnings += found.warnings
    t1w = None
    if GUIDE in sample.inputs:
        try:
            t1w, noted, warned = _read_guide(sample.inputs[GUIDE], first, acquisition)
        except InputError as error:
            warnings.append(_left_out(error))
        else:
            notes += noted
            warnings += warned
    warnings += _other_subjects(first, [*images[1:], *([t1w] if t1w is not None else [])])
    return Case(tuple(images), t1w, tuple(notes), tuple(warnings), tuple(acquisitions))


def make_problem(case: Case, options: PredictOptions) -> tuple[Problem, Registration | None]:
    """The reconstruction that a case asks for, and how the T1w was placed, if there is one.

    The further scans are registered to the first one; those that cannot be, or that show another
    head, are left out; see `unused_stacks`. A T1w whose place is not to be trusted guides nothing.
    Raises what the profile asked for raises.
    """
    image, acquisition = case.images[0], case.acquisitions[0]
    spacing = output_spacing(acquisition.in_plane, options)
    profile = make_profile(options.profile, acquisition.thickness)
    first = make_stack(image, acquisition, spacing, profile)
    others = [
        _register_stack(image, other, found, spacing, options)
        for other, found in zip(case.images[1:], case.acquisitions[1:], strict=True)
    ]
    stacks = (first, *(stack for stack in others if stack is not None))
    problem = Problem(stacks, acquisition.axis)
    if case.t1w is None:
        return problem, None
    return with_t1w(problem, case.t1w, image, options.registration)


def with_t1w(
    problem: Problem, t1w: Image, t2w: Image, mode: Literal["rigid", "none"]
) -> tuple[Problem, Registration]:
    """The problem of `t2w` guided by `t1w`, if its place is to be trusted; see `register_t1w`."""
    registration = register_t1w(t1w, t2w, problem.grid, mode)
    if not registration.trusted:
        return problem, registration
    guided = replace(problem, guide=registration.guide, coverage=registration.coverage)
    return guided, registration


def unused_stacks(case: Case, problem: Problem) -> tuple[str, ...]:
    """A sentence on further scans that could not be registered; none where all were used."""
    lost = len(case.images) - len(problem.stacks)
    if lost <= 0:
        return ()
    names = " or ".join(image.name for image in case.images[1:])
    return (
        f"{lost} further scan was not used, as it does not seem to show the same head in the same "
        f"place as the first: look at {names}, or, where the headers are right, try --registration "
        "none.",
    )


def _read_stack(
    source: Any, options: PredictOptions, first: Acquisition | None = None
) -> tuple[Image, Acquisition]:
    """A scan and how it was cut, with notes on its voxels, too.

    Of a scan beside the `first` one nothing is asked that only that one need have, but what was
    asked of its thickness holds for one whose slices lie as far apart.
    """
    asked = options
    if first is not None:
        only = dict.fromkeys(("axis", "thickness", "gap", "series"))
        asked = options.model_copy(update=only)
    image = straightened(require_head_size(read_image(source, series=asked.series)))
    notes = voxel_notes(image)
    facts = acquisition_metadata(image.source, image.header)
    found = find_acquisition(image, asked, facts)
    if first is not None and abs(found.distance - first.distance) <= TOLERANCE * found.distance:
        found = find_acquisition(image, options.model_copy(update={"axis": None}), facts)
    return image, replace(found, notes=(*notes, *found.notes))


def voxel_notes(image: Image) -> tuple[str, ...]:
    """Notes on the voxels (I, J, K) of a scan; raises ContentError for a mask."""
    low, high = image.data.min(), image.data.max()
    if bool(((image.data == low) | (image.data == high)).all()):
        raise ContentError(
            f"{image.name}: every voxel is {low:g} or {high:g}, as in a mask, but a scan is "
            "needed; give the scan."
        )
    if low < 0:
        return (f"{image.name}: it has negative values, down to {low:.4g}, which were kept.",)
    return ()


def _read_guide(
    source: Any, first: Image, acquisition: Acquisition
) -> tuple[Image, tuple[str, ...], tuple[str, ...]]:
    """The T1w, and its notes and warnings."""
    image = straightened(require_head_size(read_image(source)))
    notes, warnings = voxel_notes(image), image.warnings
    across = first.affine.direction[:, acquisition.axis]
    # How long a voxel of the T1w is in the direction across the slices.
    length = float(np.linalg.norm(image.affine.matrix[:3, :3].T @ across))
    if length > COARSE * acquisition.distance:
        told = (
            f"{image.name}: this T1w is as coarse across the slices as they are apart "
            f"({length:.3g} and {acquisition.distance:.3g} mm), so that it adds little there."
        )
        warnings = (*warnings, told)
    return image, notes, warnings


def _left_out(error: InputError) -> str:
    """The error as a warning; one that the user must mend is raised again."""
    if isinstance(error, MissingFileError):
        raise error
    return f"Left out: {error}"


def _other_subjects(first: Image, others: Sequence[Image]) -> list[str]:
    """A sentence for each image whose name is that of another subject or session."""
    told, mine = [], subject_and_session(first.source)
    for image in others:
        for one, other in zip(mine, subject_and_session(image.source), strict=True):
            if one and other and one != other:
                told.append(
                    f"{image.name} is of {other}, but {first.name} of {one}: make sure that they "
                    "show the same head."
                )
                break
    return told


def _register_stack(
    first: Image, image: Image, acquisition: Acquisition, spacing: float, options: PredictOptions
) -> Stack | None:
    """A further scan in the world of the first; None where its place cannot be trusted."""
    matrix, motion = Affine(np.eye(4)), None
    try:
        if options.registration == "rigid":
            fit = register_rigid(first, image)
            if not (fit.relative_information >= ALIKE and fit.overlap >= OVERLAP):
                return None
            matrix, motion = fit.matrix, fit.matrix.inverse
        if not is_same_head(first, image, matrix):
            return None
    except ContentError:  # no head in one of them
        return None
    profile = make_profile(options.profile, acquisition.thickness)
    return make_stack(image, acquisition, spacing, profile, motion)


@dataclass(frozen=True)
class ScanFile:
    """One scan, and what its name says.

    `t1w` is the T1w of the same subject and session beside it, `fault` why it is no T2w; `id`
    names it, `group` says whose it is and `bids` has the entities of a BIDS name.
    """

    id: str
    path: Path
    group: str
    t1w: Path | None = None
    bids: BidsFile | None = None
    fault: str = ""

    def path_in(self, folder: Path, label: str) -> Path:
        """Where an image of this scan goes: sub-01/anat/sub-01_acq-<label>_T2w.nii.gz in `folder`.

        Without a BIDS name it is <id>_<label>.nii.gz. `label` has letters and digits alone.
        """
        if self.bids is None:
            return folder / f"{self.id}_{label}.nii.gz"
        entities = dict(self.bids.entities)
        entities["acq"] = entities.get("acq", "") + label
        # Some keep scans of BIDS names outside of anat.
        file = replace(self.bids, path=Path("anat", self.path.name), entities=entities)
        return derivative_path(folder, file, desc="", suffix=file.suffix)


def find_scans(inputs: Sequence[str | os.PathLike[str]]) -> list[ScanFile]:
    """The T2w files that `inputs` mean: image files, folders of them, tables, BIDS datasets.

    A file that is not there, while others are, fails when it is read. Raises MissingFileError for
    an input that is not there, InputError for one without T2w images.
    """
    scans = []
    for sample in collect_samples(inputs, COLUMNS, role="t2w", keep_absent=True):
        path = sample.inputs.get("t2w") or next(iter(sample.inputs.values()), Path(sample.id))
        t1w = sample.inputs.get("t1w")
        if t1w is None and sample.bids is None and not sample.row and not sample.fault:
            t1w = _beside(path)
        bids = sample.bids or parse_name(path)
        if bids is not None:
            group = f"sub-{bids.entities['sub']}"
        else:  # what the name says beside the kind of image
            folder, *words = name_file(path, COLUMNS).owner
            group = "_".join(filter(None, words)) or Path(folder).name or image_stem(path)
        scans.append(ScanFile(sample.id, path, group, t1w, bids, sample.fault))
    return scans


def _beside(path: Path) -> Path | None:
    """The T1w in the folder of a T2w that belongs to it, if there is exactly one."""
    if not path.is_file():
        return None
    images = [one for one in sorted(path.parent.iterdir()) if image_suffix(one) and one.is_file()]
    together, _ = pair_images([name_file(one, COLUMNS) for one in images], COLUMNS)
    return next((one.inputs.get("t1w") for one in together if one.main.path == path), None)
