# SPDX-License-Identifier: Apache-2.0
"""Learn brain masks: batches of synthetic and real heads, and how an epoch is judged."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encephalon.recipes.schema import Training
from encephalon.studies.extraction.data import (
    TRUNCATION,
    TrainingSample,
    count_scans,
    prepare_samples,
    table_rows,
)
from encephalon.studies.extraction.settings import LABELS, LOCATOR, ExtractionSettings, Size
from encephalon.tables.schema import Table
from encephalon.training.dataset import TRAINING, VALIDATION, Mixture
from encephalon.training.loop import Task
from encephalon.training.run import Expected, Learner, ModelFacts
from encephalon.transforms import synthesis
from encephalon.transforms.grey_levels import NORMALISING_PERCENTILES
from encephalon.transforms.head_scans import Head, synthesise_head
from encephalon.transforms.spatial import draw_placement, sample_linear, sampling_points

logger = logging.getLogger(__name__)

#: The brain fills the grid to 1 / (1 + x) along its longest axis: x is drawn between these.
FINE_MARGINS, COARSE_MARGINS = (0.05, 0.45), (0.25, 1.4)
#: Largest displacement of the brain from the grid's middle, as a share of the free room.
OFFSET = 0.6


class ExtractionTask:
    """Batches of heads, drawn from the seed and the batch number alone."""

    def __init__(
        self,
        train: Sequence[TrainingSample],
        validation: Sequence[TrainingSample],
        settings: ExtractionSettings,
        training: Training,
    ) -> None:
        self.settings, self.training = settings, training
        synthetic = [head for head in train if head.labels is not None]
        real = [head for head in train if head.labels is None]
        self.heads = Mixture(real, synthetic, settings.real_share)
        self.validation = list(validation)

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Images (B, 1, I, J, K) in [0, 1], distances (B, borders, I, J, K) in working voxels."""
        rng = np.random.default_rng([self.training.seed, TRAINING, number])
        settings = self.settings
        coarse = number < settings.coarse_steps or rng.random() < settings.coarse_share
        count = settings.coarse_batch if coarse else self.training.batch_size
        samples = [self.sample(rng, self.heads.draw(rng)[0], coarse) for _ in range(count)]
        return torch.stack([s[0] for s in samples]), torch.stack([s[1] for s in samples])

    def sample(
        self, rng: np.random.Generator, head: TrainingSample, coarse: bool
    ) -> tuple[Tensor, Tensor]:
        """One head on the coarse or fine grid: image (1, I, J, K), distances (borders, I, J, K)."""
        grids = self.settings.grids
        shape = grids.coarse if coarse else grids.fine
        centre, scale = _view(rng, head, shape, COARSE_MARGINS if coarse else FINE_MARGINS)
        image, distances, edge = draw_scan(rng, head, shape, centre, scale, self.settings)
        return image[None], distances / edge

    @torch.no_grad()
    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Mean Dice and absolute border error (working voxels) on fixed draws, both grids."""
        scores: dict[str, list[float]] = {}
        for coarse, name in ((False, "fine"), (True, "coarse")):
            for index in range(self.settings.validation_samples):
                rng = np.random.default_rng([self.training.seed, VALIDATION, coarse, index])
                head = self.validation[index % len(self.validation)]
                image, target = self.sample(rng, head, coarse)
                predicted = network(image[None].to(device))[0].cpu()
                scores.setdefault(f"dice_{name}", []).append(_dice(predicted[0], target[0]))
                scores.setdefault(f"border_{name}", []).extend(_error(predicted[0], target[0]))
        means = {name: float(np.mean(values or [0.0])) for name, values in scores.items()}
        means["dice"] = means["dice_fine"]
        means["loss"] = 1 - means["dice"]
        return means


def draw_scan(
    rng: np.random.Generator,
    head: TrainingSample,
    shape: Size,
    centre: NDArray[np.float64],
    scale: float,
    settings: ExtractionSettings,
) -> tuple[Tensor, Tensor, float]:
    """A scan of `head` on a grid of `shape` around the voxel `centre`, about `scale` mm a voxel.

    Returns the image (I, J, K), the distances to the borders (borders, I, J, K) in mm, and the
    edge of the grid's voxels, mm.
    """
    placement = draw_placement(rng, centre, scale, settings.placement)
    points = sampling_points(placement, shape)
    distances, edge = distances_at(head, points), placement.scale
    if head.labels is None or head.far is None:
        return _varied(rng, head, points, settings.unseen), distances, edge
    whole = Head(torch.as_tensor(head.labels), torch.as_tensor(head.far).float())
    image = synthesise_head(
        rng, whole, points, distances[0], settings.synthesis, edge, settings.unseen
    )
    return image, distances, edge


def distances_at(head: TrainingSample, points: Tensor) -> Tensor:
    """Distances (borders, I, J, K), mm, at `points` (I, J, K, 3), voxels of the head's own map."""
    corner = torch.as_tensor(head.corner, dtype=torch.float32)
    tenths = sample_linear(torch.as_tensor(head.distances), points - corner, -10 * TRUNCATION)
    return tenths / 10


def _varied(
    rng: np.random.Generator, head: TrainingSample, points: Tensor, unseen: float
) -> Tensor:
    """The real scan of `head` at `points`, changed mildly: bias field, noise, contrast."""
    scan = torch.as_tensor(head.image)
    ends = torch.tensor(scan.shape) - 1
    inside = ((points >= 0) & (points <= ends)).all(-1)
    image = synthesis.normalise_percentiles(sample_linear(scan[None], points, 0.0)[0])
    image = synthesis.bias_field(rng, image, float(rng.uniform(0, 0.3)))
    image = synthesis.rician_noise(rng, image, float(rng.uniform(0, 0.04)))
    image = synthesis.normalise_percentiles(image) ** float(np.exp(rng.normal(0, 0.2)))
    return torch.where(inside, image, torch.tensor(unseen)) if unseen else image


def _view(
    rng: np.random.Generator, head: TrainingSample, shape: Size, margins: tuple[float, float]
) -> tuple[NDArray[np.float64], float]:
    """Image voxel at the middle of the grid, and image voxels per grid voxel."""
    size = (head.box[:, 1] - head.box[:, 0] + 1).astype(np.float64)
    tight = float((size / np.array(shape)).max())
    scale = tight * (1 + rng.uniform(*margins))
    free = np.maximum(0, np.array(shape) * scale - size) / 2
    centre = head.box.mean(axis=1) + rng.uniform(-OFFSET, OFFSET, 3) * free
    return centre, scale


def _dice(predicted: Tensor, target: Tensor) -> float:
    """Dice of what is inside; 1 when both are empty, as a head without a lesion should be."""
    mine, truth = predicted > 0, target > 0
    total = mine.sum() + truth.sum()
    return float(2 * (mine & truth).sum() / total) if total else 1.0


def _error(predicted: Tensor, target: Tensor) -> list[float]:
    """Mean absolute error within a voxel of the border; nothing where there is no border."""
    near = target.abs() < 1
    return [float((predicted - target)[near].abs().mean())] if near.any() else []


class ExtractionLearner(Learner[ExtractionSettings]):
    """Trains a network for the borders of brains or lesions, by a recipe of mode "default"."""

    schema = ExtractionSettings

    @property
    def expected(self) -> list[Expected]:
        """As many borders as the target has, on both grids."""
        borders, grids = self.settings.borders, self.settings.grids
        return [
            Expected(
                ((1, 1, *shape),),
                (1, borders, *shape),
                f"draw {borders} borders for the target {self.settings.target!r}",
                f"set network.options.borders to {borders}, or change network",
                shape,
                f"the {name} grid is {list(shape)}",
                "change study.grids",
            )
            for name, shape in (("coarse", grids.coarse), ("fine", grids.fine))
        ]

    @property
    def models(self) -> dict[str, str | None]:
        """A lesion is looked for in the brain that another model finds."""
        return {"the brain model": LOCATOR if self.settings.target == "lesion" else None}

    def prepare(self, part: Table, cache: Path, workers: int) -> list[TrainingSample]:
        """One head a row."""
        rule = part.columns.labels
        if (
            isinstance(rule, dict)
            and len({*rule.values()} - {0}) > 1
            and any(row.scan for row in table_rows(part))
        ):
            logger.warning(
                "%s: mode 'default' learns one border, so that all labels of a row with a scan are "
                "one mask; several classes are learnt in mode 'published', with "
                "network.options.n_classes.",
                self.recipe.name,
            )
        return prepare_samples(part, cache, workers, self.settings)

    def task(self, train: Sequence[TrainingSample], validation: Sequence[TrainingSample]) -> Task:
        """Distances to borders."""
        return ExtractionTask(train, validation, self.settings, self.recipe.training)

    def facts(self, table: Table) -> ModelFacts:
        """The grids, and what scans were made of."""
        grids = self.settings.grids
        scaled = "percentiles {:g} and {:g} of the field of view become 0 and 1"
        return ModelFacts(
            labels={0: "background", 1: LABELS[self.settings.target]},
            preprocessing={
                "axes": "sorted to RAS, not turned",
                "intensity": scaled.format(*NORMALISING_PERCENTILES),
                "coarse_grid": list(grids.coarse),
                "fine_grid": list(grids.fine),
                "margin": grids.margin,
            },
            training_data=count_scans(table),
            example=(1, 1, *ExtractionSettings().grids.coarse),
        )
