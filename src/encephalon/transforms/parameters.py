# SPDX-License-Identifier: Apache-2.0
"""How far random transforms may go: plain numbers that recipes set, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

#: Voxels of a label map, of 1 mm, from one to the next of the distances kept of a whole head.
FAR_SPACING = 4

_Share = Annotated[float, Field(ge=0, le=1)]
_Probability = _Share
_Degrees = Annotated[float, Field(ge=0, le=180)]
_Length = Annotated[float, Field(gt=0, le=100)]
# Beyond 1 a step along one axis moves further along another.
_Shear = Annotated[float, Field(ge=0, le=1)]
# A logarithm of a factor: of more than 1, little of an image is left to see.
_Logarithm = Annotated[float, Field(ge=0, le=1)]
# Distances from the brain are known up to 12.7 mm; a layer of 1 mm lies beyond the fluid.
_Fluid = Annotated[float, Field(gt=0, le=11)]
# Something of the brain stays between two faces.
_Cut = Annotated[float, Field(ge=0, le=0.45)]
# Shares of the brightest tissue: of twice as much, nothing else is left to see.
_Deviation = Annotated[float, Field(ge=0, le=2)]
# Displacements: moved further, little of a head is left in its image.
_Voxels = Annotated[float, Field(ge=0, le=100)]
# Widths of a filter, whose cost grows with their cube.
_Width = Annotated[float, Field(gt=0, le=10)]
# Of thicker slices, and of such as lie further apart, a brain has two or three.
_Thickness = Annotated[float, Field(gt=0, le=50)]
_Gap = Annotated[float, Field(ge=0, le=10)]
# The least blur that is drawn, voxels, and one that leaves nothing of a head on a coarse grid.
_Blur = Annotated[float, Field(ge=0.2, le=10)]
# A curve has two ends.
_Points = Annotated[int, Field(ge=2, le=100)]
# Slices nearer to each other than their voxels are large are none; and the smallest patch, with its
# margins 32 voxels wide, holds one at least.
_Ratio = Annotated[float, Field(ge=1, le=32)]
# Beyond a factor of ten nothing of a picture is left to learn from.
_Magnification = Annotated[float, Field(ge=0.1, le=10)]


def _rising(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError("must name the least first")
    return ends


_Rising = AfterValidator(_rising)


class _Ranges:
    # Recipes are read through pydantic, which finds here that unknown keys are refused.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}


@dataclass(frozen=True)
class SpatialRanges(_Ranges):
    """How far `encephalon.transforms.spatial.draw_placement` may go.

    rotation         Largest rotation about each axis, degrees.
    scaling          Largest logarithm of the scale factor, one for each axis.
    shear            Largest off-diagonal term.
    warp             Largest standard deviation of the smooth displacement, in units of the image's
                     voxels.
    flip             Probability of a left-right mirror.
    any_orientation  Probability of one of the 48 axis permutations and mirrors, for scans whose
                     header lies.
    """

    rotation: _Degrees = 20.0
    scaling: _Logarithm = 0.12
    shear: _Shear = 0.08
    warp: _Voxels = 3.0
    flip: _Probability = 0.5
    any_orientation: _Probability = 0.1


@dataclass(frozen=True)
class SynthesisRanges(_Ranges):
    """How scans of a head are made up from a label map; every probability is in [0, 1].

    familiar     Probability of a contrast that resembles T1w, T2w, FLAIR or proton density.
    texture      Largest standard deviation within a tissue; intensities are those of the brightest
                 tissue, about 1.
    dark_fluid   Probability of fluid around the brain that is as dark as bone.
    marrow       Probability of bright marrow.
    dura         Probability of a bright rim around the brain, as contrast agent makes it.
    lesion       Probability of something of another intensity within the brain.
    patches      Probability of the same around it.
    strip        Probability of a brain without its head.
    deface       Probability of a face that was taken away.
    reshape      Probability of another depth of the skin above the brain than that of the map.
    scalp        Least and greatest such depth, mm, up to 100: from an infant's to a large adult's.
    uneven       Standard deviation of the logarithm of that depth over one head.
    atrophy      Probability of more fluid between brain and skull, over a part of the brain.
    fluid        Least and greatest depth of that, mm, up to 11.
    thick        Probability of thick slices.
    thickness    Least and greatest thickness, mm, up to 50.
    gap          Largest gap between slices, as a share of their thickness.
    crop         Probability, of each of the six faces, of a field of view that ends near the brain.
    cut          Largest share of the brain's length beyond such a face, up to 0.45.
    oblique      Probability of a scan that ends at a tilted plane, as after it was turned.
    padded       Probability of a field of view that was filled up later, so that nothing tells
                 where it ended.
    blur         Largest standard deviation, voxels of the working grid, of a blur that is drawn for
                 each axis, from 0.2 on; half of the scans have one width for all, 0.2 to 0.8.
    bias         Largest standard deviation of the logarithm of the bias field.
    falloff      Probability of a signal that falls off to one side.
    noise        Largest standard deviation of the noise, relative to the brightest tissue.
    gamma        Standard deviation of the logarithm of the exponent of the intensities.
    """

    familiar: _Probability = 0.5
    texture: _Deviation = 0.08
    dark_fluid: _Probability = 0.1
    marrow: _Probability = 0.3
    dura: _Probability = 0.15
    lesion: _Probability = 0.2
    patches: _Probability = 0.4
    strip: _Probability = 0.05
    deface: _Probability = 0.2
    reshape: _Probability = 0.5
    scalp: Annotated[tuple[_Length, _Length], _Rising] = (4.0, 20.0)
    uneven: _Logarithm = 0.15
    atrophy: _Probability = 0.0
    fluid: Annotated[tuple[_Fluid, _Fluid], _Rising] = (2.0, 10.0)
    thick: _Probability = 0.35
    thickness: Annotated[tuple[_Thickness, _Thickness], _Rising] = (2.0, 7.0)
    gap: _Gap = 0.5
    crop: _Probability = 0.2
    cut: _Cut = 0.35
    oblique: _Probability = 0.1
    padded: _Probability = 0.3
    blur: _Blur = 0.9
    bias: _Logarithm = 0.5
    falloff: _Probability = 0.2
    noise: _Deviation = 0.08
    gamma: _Logarithm = 0.3


@dataclass(frozen=True)
class PlanarRanges(_Ranges):
    """How a training picture is varied; each strength is drawn uniformly from its range.

    flip_columns, flip_rows
                          Mirror left-right, and top-bottom, in half of the draws.
    quarter_turns         Turn by a multiple of 90 degrees.
    rotation              Largest turn, degrees.
    scale                 Range of magnification.
    shift                 Largest displacement, as a share of the image.
    gamma, contrast       Largest change of each, as factors exp(±x).
    brightness            Largest level added or taken away, in standard deviations of the image.
    noise                 Largest standard deviation of added Gaussian noise, in standard deviations
                          of the image.
    blur                  Largest standard deviation of a Gaussian blur, pixels.
    cutout                Largest side of an erased square, as a share of the image.
    mixup                 Parameter of the beta distribution that mixes pairs of images; 0 mixes
                          none.
    """

    flip_columns: bool = True
    flip_rows: bool = True
    quarter_turns: bool = True
    rotation: _Degrees = 15.0
    scale: Annotated[tuple[_Magnification, _Magnification], _Rising] = (0.85, 1.2)
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.08
    gamma: Annotated[float, Field(ge=0, le=2)] = 0.25
    contrast: Annotated[float, Field(ge=0, le=2)] = 0.2
    brightness: Annotated[float, Field(ge=0, le=2)] = 0.1
    noise: Annotated[float, Field(ge=0, le=2)] = 0.15
    blur: Annotated[float, Field(ge=0, le=10)] = 1.0
    cutout: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    mixup: Annotated[float, Field(ge=0, le=5)] = 0.0


@dataclass(frozen=True)
class ScannerRanges(_Ranges):
    """How a training pair of a thick-slice scan and its guide is made; probabilities in [0, 1].

    ratio                Voxels from one slice to the next, 1 to 32, drawn log-uniformly.
    gap                  Probability of a gap, of up to half the distance between slices.
    gaussian             Probability of a Gaussian slice profile in place of a box.
    decimated            Probability of slices that are single planes of the truth, as in published
                         figures, and of no scanner.
    noise, guide_noise   Largest standard deviation of the noise of either scan, in units of its
                         bright tissue.
    bias                 Largest standard deviation of the logarithm of the guide's bias field.
    rotation, shift      Standard deviation of the guide's misregistration: degrees about each axis,
                         voxels.
    missing, wrong, cut  Probability of no guide, of one that shows something else, of one that ends
                         within the cube.
    lesion               Probability of something that only one of the two scans shows.
    infant               Probability that a synthetic head has the contrasts of an infant, before
                         white matter is myelinated; otherwise they are drawn as ever.
    resampled            Probability that both scans were acquired with thick slices, and resampled,
                         before: then there is no detail across the slices to bring back, and the
                         guide shows that.
    swapped              Probability that the T1w of a scanned head is cut into thick slices, and
                         the T2w guides: twice as many images to learn from.
    """

    ratio: Annotated[tuple[_Ratio, _Ratio], _Rising] = (1.6, 6.5)
    gap: _Probability = 0.2
    gaussian: _Probability = 0.25
    noise: _Deviation = 0.03
    guide_noise: _Deviation = 0.04
    bias: _Logarithm = 0.2
    rotation: _Degrees = 0.4
    shift: _Voxels = 0.3
    missing: _Probability = 0.15
    wrong: _Probability = 0.06
    cut: _Probability = 0.08
    lesion: _Probability = 0.3
    infant: _Probability = 0.0
    resampled: _Probability = 0.0
    swapped: _Probability = 0.0
    decimated: _Probability = 0.0


@dataclass(frozen=True)
class RigidRanges(_Ranges):
    """How often and how far pairs are moved; the defaults are the published ones.

    probability           Of moving a pair at all.
    rotation_degrees      Largest rotation about each of the three axes, either way.
    translation_fraction  Largest shift along each axis, either way, as a fraction of the volume's
                          size.
    """

    probability: _Probability = 0.5
    rotation_degrees: _Degrees = 180.0
    translation_fraction: _Share = 0.05


@dataclass(frozen=True)
class VolumeRanges(_Ranges):
    """How training images of a whole brain are varied; defaults are those of Ruffle et al. 2024.

    Each effect is drawn with `probability` on its own.

    probability     Of each effect.
    control_points  Least and greatest number of points of the grey-level curve that is bent, 2 to
                    100.
    elastic         Least and greatest displacement of each voxel, along each axis, before an
                    elastic deformation is smoothed, voxels.
    smoothness      Least and greatest standard deviation of that smoothing, voxels, up to 10.
    scale           Largest relative change of size.
    shift           Largest displacement, voxels.
    shear, rotation Largest of each, degrees.
    crop            Least share of each side that is kept, the rest being cut off.
    inflation       Largest relative change of size around a random point, fading with distance.
    """

    probability: _Probability = 0.05
    control_points: Annotated[tuple[_Points, _Points], _Rising] = (3, 6)
    elastic: Annotated[tuple[_Voxels, _Voxels], _Rising] = (3.0, 5.0)
    smoothness: Annotated[tuple[_Width, _Width], _Rising] = (1.0, 3.0)
    scale: Annotated[float, Field(ge=0, le=0.5)] = 0.01
    shift: Annotated[float, Field(ge=0, le=20)] = 2.0
    shear: Annotated[float, Field(ge=0, le=30)] = 2.0
    rotation: _Degrees = 2.0
    crop: Annotated[float, Field(gt=0.5, le=1)] = 0.99
    inflation: Annotated[float, Field(ge=0, le=0.5)] = 0.05
