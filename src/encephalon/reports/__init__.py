# SPDX-License-Identifier: Apache-2.0
"""Reports: one HTML file that needs no network, with pictures, tables and charts inside it.

Build a `Page` from blocks and write it. Pictures of scans come from `slices`, their outlines and
maps from `images`, charts from `charts`. Nothing here needs matplotlib or a browser.
"""
