# SPDX-License-Identifier: Apache-2.0
"""Transforms: what training and prediction do to images, each as a function of its arguments."""
