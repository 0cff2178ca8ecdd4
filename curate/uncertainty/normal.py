"""The standard normal distribution for compiled kernels: the chance below a value, and the value below a chance."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from curate.compiled import compiled

Float = npt.NDArray[np.float64]

END, PARTS = 9.0, 32
"""The distribution is kept from −END to END at PARTS values a unit; beyond, chances are 0 and 1, right to 1e-19."""
_VALUES = np.arange(round(-END * PARTS), round(END * PARTS) + 1) / PARTS
CHANCE: Float = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in _VALUES])
SLOPE: Float = np.exp(-(_VALUES**2) / 2) / math.sqrt(2 * math.pi)
CHANCE[[0, -1]], SLOPE[[0, -1]] = (0.0, 1.0), 0.0


@compiled
def below(x: float) -> float:
    """Φ(x), the chance that a standard normal lies below x, to 1e-15; 0 or 1 where |x| is END or more.

    Six terms of Taylor's series at the nearest value that is kept: the derivatives of Φ are its slope times Hermite's
    polynomials. A quarter of the time that the C library's error function takes.
    """
    a = min(max(x, -END), END)
    k = int((a + END) * PARTS + 0.5)
    c = k * (1 / PARTS) - END
    d, s = a - c, c * c
    rest = (s - 6.0) * s + 3.0 - c * ((s - 10.0) * s + 15.0) * (d * (1 / 6))
    rest = (s - 1.0) + (rest * (d * (1 / 5)) - c * (s - 3.0)) * (d * (1 / 4))
    chance: float = CHANCE[k] + SLOPE[k] * (d * (1.0 + (rest * (d * (1 / 3)) - c) * (d * 0.5)))
    return chance


@compiled
def value_below(p: float) -> float:
    """Φ⁻¹(p), to 1e-15 of itself. p: above 0, below 1.

    Wichura, "Algorithm AS 241: the percentage points of the normal distribution", 1988, PPND16.
    """
    q = p - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        over = 2509.0809287301226727 * r + 33430.575583588128105
        over = ((over * r + 67265.770927008700853) * r + 45921.953931549871457) * r + 13731.693765509461125
        over = ((over * r + 1971.5909503065514427) * r + 133.14166789178437745) * r + 3.387132872796366608
        under = 5226.495278852545925 * r + 28729.085735721942674
        under = ((under * r + 39307.89580009271061) * r + 21213.794301586595867) * r + 5394.1960214247511077
        under = ((under * r + 687.1870074920579083) * r + 42.313330701600911252) * r + 1.0
        return q * over / under
    r = math.sqrt(-math.log(min(p, 1.0 - p)))
    if r <= 5.0:
        r -= 1.6
        over = 7.7454501427834140764e-4 * r + 0.0227238449892691845833
        over = ((over * r + 0.24178072517745061177) * r + 1.27045825245236838258) * r + 3.64784832476320460504
        over = ((over * r + 5.7694972214606914055) * r + 4.6303378461565452959) * r + 1.42343711074968357734
        under = 1.05075007164441684324e-9 * r + 5.475938084995344946e-4
        under = ((under * r + 0.0151986665636164571966) * r + 0.14810397642748007459) * r + 0.68976733498510000455
        under = ((under * r + 1.6763848301838038494) * r + 2.05319162663775882187) * r + 1.0
    else:
        r -= 5.0
        over = 2.01033439929228813265e-7 * r + 2.71155556874348757815e-5
        over = ((over * r + 0.0012426609473880784386) * r + 0.026532189526576123093) * r + 0.29656057182850489123
        over = ((over * r + 1.7848265399172913358) * r + 5.4637849111641143699) * r + 6.6579046435011037772
        under = 2.04426310338993978564e-15 * r + 1.4215117583164458887e-7
        under = ((under * r + 1.8463183175100546818e-5) * r + 7.868691311456132591e-4) * r + 0.0148753612908506148525
        under = ((under * r + 0.13692988092273580531) * r + 0.59983220655588793769) * r + 1.0
    return math.copysign(over / under, q)
