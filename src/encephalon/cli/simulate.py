# SPDX-License-Identifier: Apache-2.0
"""`encephalon simulate NAME`: images whose answer is known, as the studies make them."""

from __future__ import annotations

from encephalon.cli.register import study_commands

COMMANDS = study_commands("simulators")
