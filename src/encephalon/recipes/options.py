# SPDX-License-Identifier: Apache-2.0
"""What a user asks of a model when it predicts, checked like a recipe's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from encephalon.errors import UsageError
from encephalon.recipes.faults import describe, full_stop
from encephalon.recipes.schema import Section

__all__ = ["ask", "listed"]

Options = TypeVar("Options", bound=Section)


def ask(schema: type[Options], given: Mapping[str, Any], model: str) -> Options:
    """What the user asked of `model`, checked; raises UsageError for what cannot be asked of it."""
    try:
        return schema(**given)
    except ValidationError as error:
        message = f"Options of the model {model!r}: {describe(error, schema)}"
        raise UsageError(full_stop(message)) from error


def listed(value: Any) -> Any:
    """One word, or several between commas or blanks, as a tuple of words; anything else as it is.

    For the fields of options that take several names, before they are checked.
    """
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value
