# SPDX-License-Identifier: Apache-2.0
"""How well reconstructions agree with the truth, under conditions that are simulated."""
