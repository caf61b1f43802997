# SPDX-License-Identifier: Apache-2.0
"""What there is to say about one image, gathered while it is looked at."""

from __future__ import annotations

__all__ = ["Remarks"]


class Remarks:
    """Sentences about the image `name`.

    Attributes
    ----------
    notes
        What is worth knowing.
    warnings
        What deserves a look before the result is used.
    """

    def __init__(self, name: str) -> None:
        """Begin with nothing said."""
        self.name = name
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, text: str) -> None:
        """Add what is worth knowing; the name and the full stop come by themselves."""
        self.notes.append(f"{self.name}: {text}.")

    def warn(self, text: str) -> None:
        """Add what deserves a look."""
        self.warnings.append(f"{self.name}: {text}.")
