# SPDX-License-Identifier: Apache-2.0
"""The 412 published images of 3BTRON, counted: all images of a tissue are alike but for their id.

Class, mouse, sample, sex, region and images of each tissue, in the order of the published table
(its source data, CC0).
"""

from __future__ import annotations

_TISSUES = """
Aged AP23 3 F PFC 9, Aged AP23 4 F CC 14, Aged AP24 5 F CC 14, Aged AP24 6 F PFC 11,
Aged AP25 7 F PFC 9, Aged AP25 8 F CC 10, Middle AP20 9 F PFC 8, Young AP18 10 F PFC 7,
Middle AP21 11 F PFC 8, Young AP19 12 F PFC 12, Middle AP22 13 F PFC 7, Middle AP22 14 F CC 6,
Young AP18 16 F CC 8, Middle AP20 17 F CC 23, Young AP17 18 F CC 11, Young AP17 19 F PFC 11,
Young AP19 20 F CC 19, Young AP205 21 M CC 23, Aged AP207 22 M PFC 9, Young AP206 25 M PFC 17,
Young AP206 26 M CC 14, Young AP204 27 M PFC 9, Aged AP208 28 M PFC 5, Aged AP207 30 M CC 17,
Aged AP209 33 M CC 6, Young AP204 34 M CC 9, Aged AP208 39 M CC 17, Young AP316 40 F HC 7,
Young AP317 41 F HC 7, Aged AP318 42 F HC 7, Aged AP319 43 F HC 6, Young AP320 44 M HC 5,
Young AP321 45 M HC 7, Young AP322 46 M HC 6, Aged AP323 47 M HC 8, Aged AP324 48 M HC 7,
Aged AP325 49 M HC 7, Young AP315 50 F HC 6, Young AP205 205 M PFC 21, Aged AP209 33gm M PFC 5
"""


def demographics() -> list[dict[str, str]]:
    """A row an image, with the columns of the published table that matter here."""
    rows = []
    for tissue in _TISSUES.replace("\n", " ").split(","):
        kind, mouse, sample, sex, region, images = tissue.split()
        about = {
            "Class": "Middle age" if kind == "Middle" else kind,
            "Mouse ID": mouse,
            "Sample": sample,
            "Sex": sex,
            "Region": region,
        }
        rows += [
            {"Image ID": f"S{sample}V{vessel}", **about} for vessel in range(1, int(images) + 1)
        ]
    return rows


#: Lights of the 52 middle-aged images, all female: green, amber, red by region.
MIDDLE_AGED = {"CC": (4, 9, 16), "PFC": (2, 15, 6)}


def middle_aged() -> list[dict[str, str]]:
    """A row an image, as the published table of lights has them."""
    return [
        {"Traffic Lights": light, "Sex": "Female", "Brain Region": region}
        for region, counts in MIDDLE_AGED.items()
        for light, count in zip(("Green", "Amber", "Red"), counts, strict=True)
        for _ in range(count)
    ]
