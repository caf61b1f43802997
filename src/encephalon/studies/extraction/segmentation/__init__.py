# SPDX-License-Identifier: Apache-2.0
"""From a scan to its mask: localisation, orientation, and the boundary."""
