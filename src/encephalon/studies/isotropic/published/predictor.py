# SPDX-License-Identifier: Apache-2.0
"""The published reconstruction of BABY-AI, repeated, with the defects that are part of its result.

Two volumes on the atlas grid are padded, normalised each by itself, cut into patches, and what the
network says of the patches is averaged. Kept on purpose:

- the result stays padded, 192 x 224 x 192 voxels, unless an atlas was given, and in normalised
  units: nothing brings the intensities of the T2w back;
- affines are not looked at, beyond a warning here: a volume that is flipped or not registered
  passes, if it has the right shape;
- every patch counts the same up to its edge, so seams can show, unless another window is asked for;
- acquired slices are not kept: in-plane detail is made up again, from the T1w too;
- there is no uncertainty, and no check of the result.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import InputError, ModelError
from encephalon.inference.predictor import (
    NetworkPredictor,
    OutputImage,
    OutputKind,
    Prediction,
    Quality,
)
from encephalon.io.image import Image
from encephalon.io.reading import read_image
from encephalon.networks.registry import meta_network
from encephalon.networks.torch_runtime import TorchRuntime, load_network
from encephalon.studies.base import OpenModel
from encephalon.studies.isotropic.published import preprocessing as steps
from encephalon.studies.isotropic.published.atlas import AtlasPlacement, bring_to_atlas
from encephalon.studies.isotropic.published.preprocessing import read_published
from encephalon.studies.isotropic.published.settings import (
    ROLES,
    PublishedOptions,
    PublishedSettings,
)
from encephalon.transforms.conform import straightened
from encephalon.transforms.masks import require_head_size

if TYPE_CHECKING:
    from encephalon.tables.samples import Sample

NOTICE = (
    "For research only. As published, the result is in normalised units between about 0 and 1, "
    "padded unless an atlas was given, and the acquired slices are not kept."
)
"""Kept with every result."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedCase:
    """A T1w and a T2w on the atlas grid, the T2w interpolated from its thick slices.

    `placement` says how they were brought there, None where they came so.
    """

    t1w: Image
    t2w: Image
    placement: AtlasPlacement | None = None


@dataclass(frozen=True)
class PublishedPredictor(NetworkPredictor[PublishedOptions]):
    """A published model, loaded: `predict` repeats the published program on one pair of volumes."""

    settings: PublishedSettings

    notice = NOTICE
    kinds = MappingProxyType(
        {"t2w": OutputKind("T2w", "isotropic", ".nii.gz", f"Isotropic T2w. {NOTICE}", False)}
    )

    @cached_property
    def atlas(self) -> Image | None:
        """What native scans are brought to; raises InputError for a file that cannot be used."""
        if self.options.atlas is None:
            return None
        image = read_image(self.options.atlas)
        steps.check_atlas_grid(image.grid, self.settings.shape, image.name)
        return image

    def read(self, sample: Sample) -> PublishedCase:
        """Read both volumes of `sample`.

        Raises InputError for a sample without one of them, ContentError for one that is not on the
        atlas grid, and what `read_image` raises; each names the file.
        """
        sample.require_faultless()
        if set(ROLES) - set(sample.inputs):
            raise InputError(
                f"{sample.id}: BABY-AI needs a T1w and a T2w, both on its atlas grid, but got "
                f"{', '.join(sample.inputs) or 'nothing'}: give both, or use the model 'isotropic'."
            )
        if self.atlas is not None:
            scans = (read_image(sample.file(role)) for role in ROLES)
            t1w, t2w = (straightened(require_head_size(scan)) for scan in scans)
            return PublishedCase(*bring_to_atlas(t1w, t2w, self.atlas))
        images = {}
        for role in ROLES:
            image = read_image(sample.file(role))
            steps.check_atlas_grid(image.grid, self.settings.shape, image.name)
            images[role] = replace(image, data=read_published(image))
        return PublishedCase(images["t1w"], images["t2w"])

    def predict(self, loaded: PublishedCase) -> Prediction:
        """Return the T2w (192, 224, 192), float64, normalised, on the padded grid.

        Of scans that were brought there it is back in the frame of the T2w, float32.

        Raises ContentError, naming the file, for a volume without a value above 0.
        """
        settings, padded = self.settings, self.settings.padded
        pair = [
            steps.normalise(steps.pad(image.data, padded), image.name)
            for image in (loaded.t1w, loaded.t2w)
        ]
        starts = steps.patch_starts(padded, settings.patch, settings.stride)
        batch_size = self.options.batch_size

        def tell(done: int, total: int) -> None:
            # Of each tenth of a volume, which takes minutes without a GPU.
            if 10 * done // total > 10 * (done - batch_size) // total:
                logger.info("%s: %d of %d patches", loaded.t2w.name, done, total)

        result = steps.predict_patches(
            np.stack(pair),
            lambda batch: self.runtime.run(batch)[0],
            starts,
            patch=settings.patch,
            batch_size=batch_size,
            window=self.options.window,
            tell=tell,
        )
        before = [count for count, _ in steps.padding(settings.shape, padded)]
        place = loaded.t2w.affine.shifted([-count for count in before])
        like = Image(result, place, loaded.t2w.source)
        if loaded.placement is not None:
            like = replace(loaded.placement.native(result, place), source=loaded.t2w.source)
        image = OutputImage(like.data, like, "isotropic", "T2w", writer=partial(_write, like))
        return Prediction({"t2w": image}, {"patches": len(starts)}, _verdict(loaded))


def make_published_predictor(model: OpenModel) -> PublishedPredictor:
    """Load the published weights, or a model folder of mode "published".

    Raises UsageError for an unknown or impossible option, ModelError for weights that do not fit,
    and MissingExtraError without torch or MONAI.
    """
    asked, recipe = model.asked(PublishedOptions), model.recipe
    settings = model.settings(PublishedSettings)
    # Without memory for weights that would only be drawn to be replaced.
    network: Any = load_network(model.files, lambda: meta_network(recipe.network))
    if settings.patch % network.multiple:
        raise ModelError(
            f"{model.files.path}: the network takes patches of multiples of {network.multiple} "
            f"voxels, but those of the recipe have {settings.patch}: use the recipe that it was "
            "trained with."
        )
    runtime = TorchRuntime(network, model.device, model.threads, asked.half)
    logger.warning("%s: %s", model.name, NOTICE)
    return PublishedPredictor(model.files.describe(), runtime, asked, settings)


def _verdict(case: PublishedCase) -> Quality | None:
    """What the headers say against the pair; the published program did not look."""
    reasons = list(case.placement.doubts) if case.placement else []
    if not case.t1w.affine.is_close(case.t2w.affine):
        reasons.append("the headers put T1w and T2w at different places")
    if not case.t2w.affine.is_close(steps.ATLAS):
        reasons.append("the T2w does not lie where the published atlas does")
    for reason in reasons:
        logger.warning(
            "%s: %s; the published program takes it all the same.", case.t2w.name, reason
        )
    return Quality("check", tuple(reasons)) if reasons else None


def _write(like: Image, data: NDArray[Any], path: Path) -> None:
    """Write double precision as NIfTI, as the published program did; single in other formats."""
    from encephalon.io import nifti
    from encephalon.io.image import image_suffix
    from encephalon.io.reading import image_writer

    if image_suffix(path) in {".nii", ".nii.gz"}:
        nifti.write(path, data, like)
    else:
        image_writer(data, path, like)(path)
