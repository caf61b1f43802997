# SPDX-License-Identifier: Apache-2.0
"""Learn classes: batches of varied pictures, and how an epoch is judged."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encephalon.evaluation.classification import classification_scores
from encephalon.recipes.schema import Training
from encephalon.studies.micrographs.guidance import Guidance
from encephalon.studies.micrographs.preparing import Cohort, Pictures, Rows
from encephalon.transforms.planar import draw_variation, vary
from encephalon.transforms.ranges import PlanarRanges

__all__ = ["Examples", "MicrographTask", "class_weights", "compute_logits"]

#: Stream numbers that keep the order of the samples and their variation apart for every seed.
ORDER, VARIATION = 0, 1
#: Pictures that go through the network at once when nothing is learnt from them.
AT_ONCE = 32

Logits = NDArray[np.float32]


class Examples:
    """What a network is shown of a cohort: pictures (N, ...), covariates (N, W), classes (N,)."""

    def __init__(self, cohort: Cohort, covariates: NDArray[np.float32]) -> None:
        self.pictures: Pictures = cohort.pictures
        self.covariates = torch.from_numpy(covariates)
        self.truth = cohort.truth

    def inputs(self, rows: Rows, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Pictures (B, C, S, S) and covariates (B, W) of these rows."""
        pictures = torch.from_numpy(self.pictures.read(rows))
        return pictures.to(device), self.covariates[torch.from_numpy(rows)].to(device)


class MicrographTask:
    """Batches drawn from the seed and the batch number alone; every row once, then all anew.

    `validation` may be empty: then nothing is judged, and the last epoch is the result.
    """

    def __init__(
        self,
        examples: Examples,
        train: Rows,
        validation: Rows,
        training: Training,
        augmentation: PlanarRanges,
        classes: int,
        repeats: int = 1,
        guidance: Guidance | None = None,
    ) -> None:
        self.examples, self.train, self.validation = examples, train, validation
        self.training, self.augmentation = training, augmentation
        self.classes, self.repeats, self.guidance = classes, repeats, guidance

    def batch(self, number: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Pictures (B, C, S, S) and covariates (B, W); shares of each class (B, classes).

        With guidance the wished attention (B, places) stands behind the classes.
        """
        rng = np.random.default_rng([self.training.seed, VARIATION, number])
        rows = self._rows(number)
        images, covariates = self.examples.inputs(rows)
        variations = [draw_variation(rng, self.augmentation) for _ in rows]
        images = torch.stack([vary(*pair) for pair in zip(images, variations, strict=True)])
        target = torch.eye(self.classes)[torch.from_numpy(self.examples.truth[rows])]
        if self.guidance is not None:
            target = torch.cat([target, self.guidance.wishes(rows, variations)], dim=1)
        if self.augmentation.mixup == 0:
            return (images, covariates), target
        kept = float(rng.beta(self.augmentation.mixup, self.augmentation.mixup))
        partner = torch.from_numpy(rng.permutation(len(rows)))
        mixed = [one.lerp(one[partner], 1 - kept) for one in (images, covariates, target)]
        return (mixed[0], mixed[1]), mixed[2]

    def _rows(self, number: int) -> Rows:
        """The rows of a batch: the stream is one permutation of all rows after another."""
        size, count = self.training.batch_size, len(self.train)
        places = np.arange(number * size, (number + 1) * size)
        orders = {
            cycle: np.random.default_rng([self.training.seed, ORDER, cycle]).permutation(count)
            for cycle in np.unique(places // count).tolist()
        }
        return np.array([self.train[orders[place // count][place % count]] for place in places])

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Scores of the validation rows; "loss" is the log loss, unweighted."""
        if not len(self.validation):
            return {}
        found = compute_logits(network, self.examples, self.validation, device, self.repeats)
        logits = found[:, : self.classes]  # behind them stands the attention, if it is shown
        probabilities = torch.from_numpy(logits).double().softmax(dim=1).numpy()
        return classification_scores(self.examples.truth[self.validation], probabilities)


@torch.no_grad()
def compute_logits(
    network: nn.Module, examples: Examples, rows: Rows, device: torch.device, repeats: int = 1
) -> Logits:
    """What comes out of the network for these rows, (B, classes), and attention if it is shown.

    With 2 `repeats` the mean with that of the mirror images. The network must be in evaluation
    mode, and there must be a row.
    """
    found = []
    for start in range(0, len(rows), AT_ONCE):
        images, covariates = examples.inputs(rows[start : start + AT_ONCE], device)
        logits = network(images, covariates).float()
        if repeats == 2:
            logits = (logits + network(images.flip(-1), covariates).float()) / 2
        found.append(logits.cpu().numpy())
    return np.concatenate(found)


def class_weights(truth: NDArray[np.int64], classes: int) -> list[float]:
    """What each class weighs: n / (classes * its own n), as in scikit-learn's "balanced".

    0 for a class that does not occur, whose weight nothing is multiplied with.
    """
    counts = np.bincount(truth, minlength=classes)
    return [float(len(truth) / (classes * count)) if count else 0.0 for count in counts]
