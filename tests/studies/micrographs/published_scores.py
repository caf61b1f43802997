# SPDX-License-Identifier: Apache-2.0
"""The 35 published test likelihoods of 3BTRON, of `ResNet50_deep_look.csv`, to 4 places."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_TABLE = {
    (0, "CC"): (".2225 .5199 .5644 .7351", ".2237 .5700 .5920 .6906 .7240 .9880"),
    (0, "HC"): (".1471 .1878 .8603", ".2635"),
    (0, "PFC"): (".0719 .3012", ".1060 .1538 .2115"),
    (1, "CC"): (".2338 .6069 .6249 .9090 .9403", ".8504 .9417"),
    (1, "HC"): ("", ".2844 .3434 .8072"),
    (1, "PFC"): (".3867 .5111 .8313", ".0832 .6632 .9175"),
}
_ENTRIES = [
    (truth, float(word), sex, region)
    for (truth, region), cells in _TABLE.items()
    for sex, words in zip(("Female", "Male"), cells, strict=True)
    for word in words.split()
]

TRUTH: NDArray[np.int64] = np.array([entry[0] for entry in _ENTRIES])
LIKELIHOOD: NDArray[np.float64] = np.array([entry[1] for entry in _ENTRIES])
ROWS = [{"Sex": entry[2], "Brain Region": entry[3]} for entry in _ENTRIES]
GREEN, AMBER = 0.25, 0.75
