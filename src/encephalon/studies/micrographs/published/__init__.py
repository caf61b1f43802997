# SPDX-License-Identifier: Apache-2.0
"""3BTRON, reproduced as published."""
