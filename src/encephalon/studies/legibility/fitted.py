# SPDX-License-Identifier: Apache-2.0
"""What training leaves in `model.toml` beside the weights, under `preprocessing`.

That is what was fitted to the people who train, how the answer to each set of inputs is read, what
the targets are among those people, and how far they lie from their mean, by which it is told how
unlike them somebody else is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ModelError
from encephalon.statistics.novelty import Usual
from encephalon.studies.legibility.data import Encoding, People, known_rows, load_image
from encephalon.studies.legibility.input_sets import InputSet, visible_sets
from encephalon.studies.legibility.reading import Reading
from encephalon.studies.legibility.settings import Cohort

__all__ = ["FittedState", "Spread", "coarse", "standardised"]

Values = NDArray[np.float64]
Float = NDArray[np.float32]

#: Voxels along each side of the images that are compared: of 28 mm, as it is whole lobes and the
#: contrast that tell an image of another kind (our choice).
COARSE = 8
#: Bars of the picture of a continuous target.
BARS = 20


@dataclass(frozen=True)
class Spread:
    """What a target is among the people who train.

    counts     of each class, or of each of BARS parts of what lies between
    low, high  the smallest and the largest number; 0 for classes
    """

    counts: tuple[int, ...]
    low: float = 0.0
    high: float = 0.0

    @classmethod
    def fit(cls, truth: Values, classes: int) -> Spread:
        """Of what is known of people (N,): a number, or that of one of `classes`."""
        known = truth[np.isfinite(truth)]
        if classes > 1:
            return cls(tuple(np.bincount(known.astype(np.int64), minlength=classes).tolist()))
        counts, edges = np.histogram(known, BARS)
        return cls(tuple(counts.tolist()), float(edges[0]), float(edges[-1]))


@dataclass(frozen=True, eq=False)
class FittedState:
    """What a trained model needs to know beside its weights and its recipe.

    encoding  what was fitted to the people who train
    readings  of each target how the answer to each of its `visible_sets` is read
    usual     of each input what is usual among the people who train; not of connectivity that the
              network does not centre, as the published one does not
    truths    of each target what it is among them
    pairs     of each connectivity the pairs of regions that it is of
    """

    encoding: Encoding
    readings: Mapping[str, Mapping[InputSet, Reading]]
    usual: Mapping[str, Usual]
    truths: Mapping[str, Spread]
    pairs: Mapping[str, int]

    @classmethod
    def fit(
        cls,
        people: People,
        rows: NDArray[np.int64],
        encoding: Encoding,
        readings: Mapping[str, Mapping[InputSet, Reading]],
    ) -> FittedState:
        """What the people of these rows say, from whom the network that ships has learnt."""
        here, usual = people.select(rows), {}
        for name, files in here.images.items():
            images = [coarse(load_image(path, COARSE)) for path in files if path is not None]
            usual[name] = Usual.fit(np.array(images), standardised=False)
        for name in encoding.centres:
            flat = here.connectivity[name]
            seen = standardised(encoding, name, encoding.features(name, flat))
            usual[name] = Usual.fit(seen[known_rows(seen)], standardised=True)
        for name, values in here.values.items():
            seen = np.asarray(encoding.block(name, values), np.float64)
            usual[name] = Usual.fit(seen[known_rows(seen)], standardised=True)
        targets = people.cohort.targets.items()
        truths = {name: Spread.fit(here.truth[name], target.count) for name, target in targets}
        pairs = {name: flat.shape[1] for name, flat in here.connectivity.items()}
        return cls(encoding, readings, usual, truths, pairs)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for `model.toml`; what is fitted to connectivity lies with the weights."""
        return {
            **self.encoding.as_dict(),
            "readings": {
                name: [one.as_dict() for one in some.values()]
                for name, some in self.readings.items()
            },
            "usual": {name: asdict(one) for name, one in self.usual.items()},
            "truths": {name: asdict(one) for name, one in self.truths.items()},
            "pairs": dict(self.pairs),
        }

    @classmethod
    def from_dict(
        cls,
        cohort: Cohort,
        record: Mapping[str, Any],
        weights: Mapping[str, NDArray[Any]],
        source: str,
    ) -> FittedState:
        """What `as_dict` gave, and the weights of the network; raises ModelError for all else."""
        try:
            readings = {
                name: dict(
                    zip(
                        visible_sets(cohort, name),
                        map(Reading.from_dict, record["readings"][name]),
                        strict=True,
                    )
                )
                for name in cohort.targets
            }
            return cls(
                Encoding.from_dict(cohort, record, weights),
                readings,
                {name: Usual(**_tuples(one)) for name, one in record["usual"].items()},
                {name: Spread(**_tuples(record["truths"][name])) for name in cohort.targets},
                {name: int(pairs) for name, pairs in record["pairs"].items()},
            )
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise ModelError(
                f"{source}: its [preprocessing] is not that of a model of people "
                f"({type(error).__name__}: {error}): train or get the model again."
            ) from error


def coarse(image: Float) -> Values:
    """An image (side, side, side) with COARSE voxels along each side, flat."""
    factor = len(image) // COARSE
    parts = image.reshape(COARSE, factor, COARSE, factor, COARSE, factor)
    return np.asarray(parts.mean((1, 3, 5), np.float64).ravel())


def standardised(encoding: Encoding, name: str, features: Float) -> Values:
    """Features (..., F) of connectivity, 0 where they are those of the mean."""
    return np.asarray((features - encoding.centres[name]) / encoding.spreads[name], np.float64)


def _tuples(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(one) if isinstance(one, list) else one for key, one in record.items()}
