# SPDX-License-Identifier: Apache-2.0
"""Reports: one HTML file that needs no network, with pictures, tables and charts inside it.

Build a `Page` from blocks and write it. Pictures of scans come from `slices`, their outlines and
maps from `layers`, charts from `charts`. Nothing here needs matplotlib or a browser.
"""

from __future__ import annotations

from encephalon.reports.blocks import (
    Tile,
    badge,
    card,
    details,
    facts,
    figure,
    gallery,
    grid,
    matrix,
    note,
    paragraph,
    skipped,
    status_badge,
    table,
    tiles,
)
from encephalon.reports.charts import (
    DotGroup,
    Point,
    Series,
    dot_chart,
    line_chart,
    point_chart,
    scatter_chart,
)
from encephalon.reports.layers import Layer, heat, outline
from encephalon.reports.markup import Html, tag
from encephalon.reports.page import Page
from encephalon.reports.pictures import Picture
from encephalon.reports.slices import Overlay, axial_series, flat_picture, three_planes
from encephalon.reports.training import training_page

__all__ = [
    "DotGroup",
    "Html",
    "Layer",
    "Overlay",
    "Page",
    "Picture",
    "Point",
    "Series",
    "Tile",
    "axial_series",
    "badge",
    "card",
    "details",
    "dot_chart",
    "facts",
    "figure",
    "flat_picture",
    "gallery",
    "grid",
    "heat",
    "line_chart",
    "matrix",
    "note",
    "outline",
    "paragraph",
    "point_chart",
    "scatter_chart",
    "skipped",
    "status_badge",
    "table",
    "tag",
    "three_planes",
    "tiles",
    "training_page",
]
