# SPDX-License-Identifier: Apache-2.0
"""From thick slices to an isotropic volume: methods, and agreement with what was measured."""
