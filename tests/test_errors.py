# SPDX-License-Identifier: Apache-2.0
"""One error tree: every class is ours, also a builtin, and has an exit code."""

from __future__ import annotations

import inspect

import pytest

from encephalon import errors

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, Exception)
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_is_in_the_tree_and_the_drawing(kind: type[errors.EncephalonError]) -> None:
    """The drawing at the top of the module shows every class, and all share one root."""
    assert issubclass(kind, errors.EncephalonError)
    assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", CLASSES[1:], ids=lambda kind: kind.__name__)
def test_every_error_is_also_a_builtin(kind: type[errors.EncephalonError]) -> None:
    """Callers who know nothing of us can catch what they would think of."""
    builtin = (ValueError, OSError, RuntimeError, ImportError)
    assert issubclass(kind, builtin)


def test_only_wrong_arguments_exit_with_two() -> None:
    """Exit code 2 is for usage, 1 for everything that failed."""
    codes = {kind.__name__: kind.exit_code for kind in CLASSES}
    assert codes.pop("UsageError") == 2
    assert set(codes.values()) == {1}


def test_a_missing_extra_names_the_command_that_installs_it() -> None:
    """The sentence can be pasted into a terminal."""
    with pytest.raises(errors.MissingExtraError, match=r"pip install 'encephalon\[fast\]'"):
        errors.require_extra("no_such_module_here.part", "fast", "Fast inference")
    errors.require_extra("json.decoder", "fast", "Fast inference")
