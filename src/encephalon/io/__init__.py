# SPDX-License-Identifier: Apache-2.0
"""Files in and out: images of every format, BIDS datasets, and writes that are whole or absent."""
