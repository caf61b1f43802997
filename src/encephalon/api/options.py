# SPDX-License-Identifier: Apache-2.0
"""What models can be asked, by keyword, so that editors complete it and type checkers compare it.

It is what the studies say in their `PredictOptions`, written out: those are made when a program
runs, which is too late for an editor. A model takes the options of its own study and mode, and
refuses the others by name: of a model that has a name a type checker sees it, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

from encephalon.inference.workers import Workers

Plane = Literal["axial", "coronal", "sagittal"]
ExtractionImage = Literal["mask", "brain", "distance", "probability", "variance", "entropy"]
IsotropicImage = Literal["t2w", "uncertainty", "t1w", "transform"]
MicrotomographyImage = Literal["structures", "regions", "variance", "entropy"]

ExtractionModel = Literal["brain-extraction"]
PublishedExtractionModel = Literal["ams", "brainy"]
IsotropicModel = Literal["isotropic"]
PublishedIsotropicModel = Literal["baby-ai"]
MicrographModel = Literal["3btron"]
MicrotomographyModel = Literal[
    "axon-myelin",
    "mtneuro-byol",
    "mtneuro-fpn-3class",
    "mtneuro-fpn-4class",
    "mtneuro-highresnet-3class",
    "mtneuro-highresnet-4class",
    "mtneuro-manet-3class",
    "mtneuro-manet-4class",
    "mtneuro-pan-3class",
    "mtneuro-pan-4class",
    "mtneuro-pspnet-3class",
    "mtneuro-pspnet-4class",
    "mtneuro-region-supervised",
    "mtneuro-unet-2d-3class",
    "mtneuro-unet-2d-4class",
    "mtneuro-unet-3d-3class",
    "mtneuro-unet-3d-4class",
    "mtneuro-unetplusplus-3class",
    "mtneuro-unetplusplus-4class",
    "mtneuro-vnetlight-3class",
    "mtneuro-vnetlight-4class",
]
NamedModel = (
    ExtractionModel
    | PublishedExtractionModel
    | IsotropicModel
    | PublishedIsotropicModel
    | MicrographModel
    | MicrotomographyModel
)


class NoSuchOption:
    """What a type checker takes the result for where a named model does not have an option.

    It can do nothing that a model can, so that its next use is marked. In a program that runs, the
    call itself raises UsageError.
    """


class Loading(TypedDict, total=False):
    """How any model is loaded; see `api.load_model`."""

    device: str
    threads: int | None
    offline: bool
    workers: Workers


class _Series(TypedDict, total=False):
    series: str | int | None


class _Network(TypedDict, total=False):
    batch_size: int
    half: bool


class _Extraction(_Series, total=False):
    border: float
    csf: bool
    fast: bool


class ExtractionOptions(_Extraction, Loading, total=False):
    """What may be asked of brain extraction; the defaults are those of its study.

    border        mm by which the border is moved outwards, inwards below 0
    csf           whether the fluid around the brain belongs to it
    fast          predicts once, neither mirrored nor turned, and tells no agreement
    series        which DICOM series of a folder, or which volume of one ("3:2")
    save          images to write: mask, brain, distance, probability, variance, entropy
    """

    save: str | Sequence[ExtractionImage]


class _PublishedExtraction(_Series, total=False):
    threshold: float
    block: int | Sequence[int]
    halo: int
    batch_size: int
    conform: Literal["published", "always", "never"]
    resize: Sequence[int] | None
    rotate: bool
    largest: bool
    fill: bool


class PublishedExtractionOptions(_PublishedExtraction, Loading, total=False):
    """What may be asked of brain extraction and meningioma in mode "published".

    threshold     probability from which a voxel is in the mask
    block         voxels of a block, one edge or three
    halo          voxels that blocks overlap on each side
    batch_size    blocks that the network sees at once
    conform       "published", "always" or "never"
    resize        three edges that the scan is resized to instead
    rotate        averages over a second, turned pass
    largest       keeps the largest piece alone
    fill          fills the holes of the mask
    series, save  as of brain extraction, without the distance
    """

    save: str | Sequence[Literal["mask", "brain", "probability", "variance", "entropy"]]


class _Isotropic(_Series, _Network, total=False):
    method: Literal["network", "guided"]
    fast: bool
    spacing: float | None
    thickness: float | None
    gap: float | None
    axis: Literal["axial", "coronal", "sagittal", "i", "j", "k"] | None
    profile: str
    registration: Literal["rigid", "none"]


class IsotropicOptions(_Isotropic, Loading, total=False):
    """What may be asked of isotropic.

    method        "network", or "guided", which needs no weights
    fast          the guided method, whatever the model
    spacing       voxel edge of the result, mm
    thickness     of the slices, mm, where the header does not tell
    gap           between slices, mm, likewise
    axis          plane of the slices, or voxel axis
    profile       "box", "gaussian", or a text file of offsets in mm and sensitivity
    registration  "rigid", or "none" to trust the headers
    series        which DICOM series of a folder, or which volume of one ("3:2")
    batch_size    tiles that the network sees at once
    half          computes in half precision, by torch
    save          images to write: t2w, uncertainty, t1w, and the transform of the T1w
    """

    save: str | Sequence[IsotropicImage]


class _PublishedIsotropic(_Network, total=False):
    window: Literal["uniform", "gaussian"]
    atlas: str | None


class PublishedIsotropicOptions(_PublishedIsotropic, Loading, total=False):
    """What may be asked of isotropic in mode "published".

    window            what patches count where they overlap
    atlas             an image on the atlas grid, for native scans
    batch_size, half  as of isotropic, patches in place of tiles
    """


class _Micrographs(TypedDict, total=False):
    score: Literal["softmax", "sigmoid_logit1"] | None
    green: float | None
    amber: float | None
    page: int | None
    colour: Literal["refuse", "luminance"] | None
    clip_16_bit: bool | None
    silhouettes: bool | None
    cache: bool
    compare: str | None


class MicrographOptions(_Micrographs, Loading, total=False):
    """What may be asked of micrographs.

    score         "softmax", or "sigmoid_logit1" as published
    green, amber  thresholds of the traffic light
    page          page of a file with several, from 1
    colour        "refuse" colour images, or take their "luminance"
    clip_16_bit   mode "published": cuts 16-bit grey levels at 255
    silhouettes   mode "published": the images are silhouettes already
    cache         keeps preprocessed pictures for the next time
    compare       for an evaluation: predictions.csv of another model
    """


class _Microtomography(TypedDict, total=False):
    tile: int | None
    blend: bool


class MicrotomographyOptions(_Microtomography, Loading, total=False):
    """What may be asked of microtomography, and of axons and myelin.

    tile   side of the tiles whose regions are told, voxels
    blend  lets the tiles of a volume fade into each other
    save   maps beside those of structures and regions, which are written always: variance, entropy
    """

    save: str | Sequence[MicrotomographyImage]


class _Legibility(TypedDict, total=False):
    use: str | Sequence[str] | None


class Options(
    _Extraction,
    _PublishedExtraction,
    _Isotropic,
    _PublishedIsotropic,
    _Micrographs,
    _Microtomography,
    _Legibility,
    total=False,
):
    """What may be asked of a model of one's own: all that studies know, explained with each.

    See `ExtractionOptions`, `IsotropicOptions`, `MicrographOptions` and `MicrotomographyOptions`,
    and those of mode "published". Of legibility:

    use   inputs that are used, as if there were no others

    Of all that write images:

    save  which of them
    """

    save: str | Sequence[ExtractionImage | IsotropicImage | MicrotomographyImage]


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
