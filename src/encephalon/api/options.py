# SPDX-License-Identifier: Apache-2.0
"""What models can be asked, by keyword, so that editors complete it and type checkers compare it.

It is what the studies say in their `PredictOptions`, written out: those are made when a program
runs, which is too late for an editor. A model takes the options of its own study and mode, and
refuses the others by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

Output = Literal[
    "mask",
    "brain",
    "distance",
    "probability",
    "variance",
    "entropy",
    "t2w",
    "uncertainty",
    "t1w",
    "structures",
    "regions",
]
Plane = Literal["axial", "coronal", "sagittal"]


class Options(TypedDict, total=False):
    """What may be asked of a model that predicts; the default is that of its study.

    Of volumes:

    save          images to write. Brain extraction: mask, brain, distance, probability, variance,
                  entropy; isotropic: t2w, uncertainty, t1w. Maps of structures and of regions are
                  written always
    series        which DICOM series of a folder, or which volume of one ("3:2")
    batch_size    blocks, tiles or patches that the network sees at once
    half          isotropic: computes in half precision, by torch

    Of brain extraction:

    border        mm by which the border is moved outwards, inwards below 0
    csf           whether the fluid around the brain belongs to it
    fast          predicts once, neither mirrored nor turned, and tells no agreement

    Of brain extraction and meningioma in mode "published":

    threshold     probability from which a voxel is in the mask
    block         voxels of a block, one edge or three
    halo          voxels that blocks overlap on each side
    conform       "published", "always" or "never"
    resize        three edges that the scan is resized to instead
    rotate        averages over a second, turned pass
    largest       keeps the largest piece alone
    fill          fills the holes of the mask

    Of isotropic:

    method        "network", or "guided", which needs no weights
    spacing       voxel edge of the result, mm
    thickness     of the slices, mm, where the header does not tell
    gap           between slices, mm, likewise
    axis          plane of the slices, or voxel axis
    profile       "box", "gaussian", or a text file of offsets in mm and sensitivity
    registration  "rigid", or "none" to trust the headers
    window        mode "published": what patches count where they overlap
    atlas         mode "published": an image on the atlas grid, for native scans

    Of micrographs:

    score         "softmax", or "sigmoid_logit1" as published
    green, amber  thresholds of the traffic light
    page          page of a file with several, from 1
    colour        "refuse" colour images, or take their "luminance"
    clip_16_bit   mode "published": cuts 16-bit grey levels at 255
    silhouettes   mode "published": the images are silhouettes already
    cache         keeps preprocessed pictures for the next time
    compare       for an evaluation: predictions.csv of another model

    Of microtomography:

    tile          side of the tiles whose regions are told, voxels
    blend         lets the tiles of a volume fade into each other

    Of legibility:

    use           inputs that are used, as if there were no others
    """

    save: str | Sequence[Output]
    series: str | int | None
    batch_size: int
    half: bool
    border: float
    csf: bool
    fast: bool
    threshold: float
    block: int | Sequence[int]
    halo: int
    conform: Literal["published", "always", "never"]
    resize: Sequence[int] | None
    rotate: bool
    largest: bool
    fill: bool
    method: Literal["network", "guided"]
    spacing: float | None
    thickness: float | None
    gap: float | None
    axis: Literal["axial", "coronal", "sagittal", "i", "j", "k"] | None
    profile: str
    registration: Literal["rigid", "none"]
    window: Literal["uniform", "gaussian"]
    atlas: str | None
    score: Literal["softmax", "sigmoid_logit1"] | None
    green: float | None
    amber: float | None
    page: int | None
    colour: Literal["refuse", "luminance"] | None
    clip_16_bit: bool | None
    silhouettes: bool | None
    cache: bool
    compare: str | None
    tile: int | None
    blend: bool
    use: str | Sequence[str] | None


class EvaluationOptions(Options, total=False):
    """What may be asked of an evaluation, beside what may be asked of the model.

    Of isotropic, how slices are simulated and what is made worse:

    axes        planes of the slices
    thicknesses theirs in mm: every pair of both is simulated
    noise       its standard deviation, as a share of the truth's range
    stress      what is tested besides: "wrong", "misaligned" or "missing" T1w, a "lesion"
    bare        the method alone: a T1w lies where its header says
    seed        of noise, lesions and misalignments

    Of a file of predicted classes in place of a model, what its columns and those of the table are:

    classes     in order, of two the positive one second
    target      the column of the known class
    id          the column of ids
    prediction  the column of the class, or of the probability
    light       the column with Green, Amber or Red
    group       the column whose values are drawn whole for intervals
    strata      the columns to cut the scores by
    """

    axes: str | Sequence[Plane]
    thicknesses: float | Sequence[float]
    noise: float
    stress: str | Sequence[Literal["wrong", "misaligned", "missing", "lesion"]]
    bare: bool
    seed: int
    classes: str | Sequence[str]
    target: str
    id: str
    prediction: str | None
    light: str | None
    group: str | None
    strata: str | Sequence[str]
