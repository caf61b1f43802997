# SPDX-License-Identifier: Apache-2.0
"""Networks: torch modules and nothing else, found by name.

Importing this package does not import torch; building a network does.
"""

from __future__ import annotations

from encephalon.networks.registry import build_network, list_networks, register

__all__ = ["build_network", "list_networks", "register"]
