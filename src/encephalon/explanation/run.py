# SPDX-License-Identifier: Apache-2.0
"""Explain a batch, sample by sample: what the study says of each, and the checks of them all."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from encephalon.errors import require_extra
from encephalon.explanation.explainable import Asked
from encephalon.explanation.report import REPORT, TABLE, Explanations, source_of
from encephalon.inference.batch import prefetch
from encephalon.inference.one_sample import Failure, failure_sentence, without_traceback
from encephalon.io.atomic import prove_writable, refuse_existing

if TYPE_CHECKING:
    from encephalon.explanation.explainable import Explains
    from encephalon.inference.batch import Progress
    from encephalon.tables.samples import Sample

__all__ = ["explain"]

logger = logging.getLogger(__name__)


def explain(
    model: Explains,
    samples: Sequence[Sample],
    output: Path,
    *,
    target: str | None = None,
    target_class: str | None = None,
    layer: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Explanations:
    """Explain every sample and write explanations.csv, a report, and what else the study writes.

    What may be asked is said in `Asked`. A sample that cannot be read or written is a failure, and
    the others are done. Raises OutputExistsError and UsageError before any work, what the
    predictor's `check` raises, and MissingExtraError without torch.
    """
    require_extra("torch", "train", "Explaining")
    for name in (TABLE, REPORT):
        refuse_existing(output / name, overwrite)
    predictor = model.predictor
    getattr(predictor, "check", lambda _: None)(samples)
    asked = Asked(target, target_class, layer, device, threads, overwrite)
    work = model.begin(samples, output, asked)
    prove_writable(output)
    result = work.result
    readers = getattr(predictor, "readers", 1)
    reading = prefetch(model.look, samples, lambda _: False, readers)
    with closing(reading):
        for done, (sample, future) in enumerate(reading, start=1):
            try:
                assert future is not None
                work.explain(sample, future.result().content)
            except Exception as error:  # the others must be done
                logger.debug("%s failed", sample.id, exc_info=error)
                message = failure_sentence(sample, error)
                result.rows.append({"id": sample.id, "source": source_of(sample), "error": message})
                result.failures.append(Failure(sample.id, message, without_traceback(error)))
            if progress is not None:
                progress(done, len(samples), sample.id)
    return work.finish()
