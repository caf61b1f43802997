# SPDX-License-Identifier: Apache-2.0
"""Voxels in the world: affines in RAS+ millimetres, orientation, resampling."""
