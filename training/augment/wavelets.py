"""Low-pass filters of the symlets of order 2 and 6 (Daubechies, Ten Lectures on Wavelets, 1992).

The symlet of order n is the most symmetric of the orthogonal wavelets with 2 n taps and n vanishing
moments.
"""

from __future__ import annotations

import math

SYM2 = (
    (1 - math.sqrt(3)) / (4 * math.sqrt(2)),
    (3 - math.sqrt(3)) / (4 * math.sqrt(2)),
    (3 + math.sqrt(3)) / (4 * math.sqrt(2)),
    (1 + math.sqrt(3)) / (4 * math.sqrt(2)),
)

SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
