# SPDX-License-Identifier: Apache-2.0
"""What `explain` asks of a model: what only its study knows of where its network looks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from encephalon.explanation.importance import Probabilities
    from encephalon.explanation.location import Box
    from encephalon.explanation.report import Explanations
    from encephalon.inference.predictor import Predictor
    from encephalon.tables.samples import Sample
    from encephalon.tables.schema import Columns

__all__ = [
    "CERTAIN",
    "MOST_SHOWN",
    "Asked",
    "ConfidenceBins",
    "Explainable",
    "Explains",
    "ExplanationWork",
    "Look",
]

#: A probability above this is certain where the model has no thresholds, as for 3BTRON.
CERTAIN = 0.75
#: Pixels or voxels of a sample that a network should be shown for a map: torch keeps some gigabytes
#: for a layer of more. Our choice, as large as pictures of micrographs may be.
MOST_SHOWN = 2048**2


@dataclass(frozen=True)
class Asked:
    """What the user asks of explanations.

    target        name of what is explained, of a model that tells several things; None is its first
    target_class  name of the class that is explained; None is what the study chooses
    layer         dotted path of the layer that maps are taken from; None is the model's own
    overwrite     whether results that exist are replaced
    """

    target: str | None = None
    target_class: str | None = None
    layer: str | None = None
    device: str = "auto"
    threads: int | None = None
    overwrite: bool = False


class ExplanationWork(Protocol):
    """The work on one batch, whose rows and failures gather in `result`."""

    result: Explanations

    def explain(self, sample: Sample, look: Any) -> None:
        """Explain a sample, as the study's `look` gave it, add its row, and write its files."""
        ...

    def finish(self) -> Explanations:
        """Compute the checks over all samples, and write table and report."""
        ...


class Explains(Protocol):
    """What a study gives of a model that can be explained."""

    @property
    def predictor(self) -> Predictor:
        """What predicts."""
        ...

    @property
    def look(self) -> Callable[[Sample], Any]:
        """Reads a sample, as several threads may at once; raises InputError, naming its file."""
        ...

    def begin(self, samples: Sequence[Sample], output: Path, asked: Asked) -> ExplanationWork:
        """The work on a batch; raises UsageError for what is asked and not there."""
        ...


@dataclass(frozen=True, eq=False)
class Look:
    """One sample as a network is shown it.

    loaded  what the predictor's `predict` takes
    inputs  what the network takes, each with one sample first: the image, then what else it sees
    raw     gives the image that the map is drawn on, (rows, columns) or (z, y, x)
    to_raw  brings a map of the network, (h, w) or (d, h, w), onto the grid of that image, NaN where
            the network did not look
    box     in which the answer lies; None where nobody says
    """

    loaded: Any
    inputs: tuple[NDArray[np.float32], ...]
    raw: Callable[[], NDArray[Any]]
    to_raw: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    box: Box | None = None


@dataclass(frozen=True)
class ConfidenceBins:
    """Samples by how certain a model of `classes` is of them; a bin names a folder.

    They are "certain_<class>" and "uncertain_<class>" of the predicted class: uncertain is what a
    traffic light calls Amber or, without thresholds, a probability up to 0.75. A sample unlike
    those of the training, which has an empty light, is never certain.
    """

    classes: Sequence[str]

    @property
    def names(self) -> list[str]:
        """All bins that there may be."""
        return [_named(word, name) for name in self.classes for word in ("certain", "uncertain")]

    def __call__(self, values: Mapping[str, Any]) -> str:
        """The bin of a prediction.

        `values` are those of predictions.csv: `predicted`, `p_<class>`, and perhaps `light`.
        """
        said, light = str(values["predicted"]), values.get("light")
        certain = (
            light in {"Green", "Red"} if light is not None else float(values[f"p_{said}"]) > CERTAIN
        )
        return _named("certain" if certain else "uncertain", said)


def _named(word: str, name: str) -> str:
    return f"{word}_{re.sub(r'[^0-9A-Za-z._+-]+', '-', name)}"


@dataclass(frozen=True)
class Explainable:
    """A classifier that can be asked where it looked.

    predictor      whose values have the class as `predicted` and the probability of each as
                   `p_<class>`
    classes        their names, in the order of the logits
    columns        what the columns of a table mean to it
    look           reads a sample, as several threads may at once; raises InputError, naming the
                   file or the row
    network        opens its torch network, whose last layers are its `head`
    layer          dotted path of the layer that maps are taken from where nobody names another
    bins           tell the folder of a sample from its values
    by_logit       whether it is the class of the largest logit that is explained where nobody names
                   another, and not the predicted one
    probabilities  from logits (N, C) to (N, C), of a model that sees covariates
    """

    predictor: Predictor
    classes: Sequence[str]
    columns: Columns
    look: Callable[[Sample], Look] = field(repr=False)
    network: Callable[[], nn.Module] = field(repr=False)
    layer: str
    bins: ConfidenceBins
    by_logit: bool = False
    probabilities: Probabilities | None = field(default=None, repr=False)

    def begin(self, samples: Sequence[Sample], output: Path, asked: Asked) -> ExplanationWork:
        """The work on a batch of images, see `Explains`."""
        from encephalon.explanation.images import ImageWork

        return ImageWork.begin(self, samples, output, asked)
