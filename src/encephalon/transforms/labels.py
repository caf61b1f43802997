# SPDX-License-Identifier: Apache-2.0
"""Names for the label values of FreeSurfer-style head label maps.

Inside the brain the values are those of FreeSurfer's colour table (FreeSurferColorLUT); 502-530
are clusters of extra-cerebral tissue as found in head label maps made for synthetic training.
"""

from __future__ import annotations

WHITE_MATTER = (2, 7, 16, 28, 41, 46, 60, 85, 251, 252, 253, 254, 255)
CORTEX = (3, 8, 42, 47)
DEEP_GREY = (10, 11, 12, 13, 17, 18, 26, 49, 50, 51, 52, 53, 54, 58)
VENTRICLES = (4, 5, 14, 15, 43, 44, 72)
CSF = (24,)
EYES = (508,)
SPINAL_CORD = (502, 512)
#: Clusters that lie mostly between CSF and scalp: bone, dark in every contrast.
SKULL = (514, 515, 516)
#: Values from here on are outside the brain.
LARGEST_BRAIN_LABEL = 500
#: Number of values that a table of tissue properties must hold.
LABEL_COUNT = 600
