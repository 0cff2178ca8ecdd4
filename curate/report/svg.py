"""Elements of inline SVG with escaped text and attributes, and tick marks."""

from __future__ import annotations

import math

from markupsafe import Markup, escape


def element(name: str, *children: str | Markup, **attributes: str | float) -> Markup:
    """Return one element. Children that are not Markup are escaped. In names ``class_`` is class and ``_`` is ``-``.

    >>> element("text", "a < b", x=1.50001, class_="label")
    Markup('<text x="1.5" class="label">a &lt; b</text>')
    """
    pairs = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _plain(value)) for key, value in attributes.items()
    )
    inside = Markup("").join(escape(child) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), pairs, inside)


def picture(width: float, height: float, *children: Markup, label: str, class_: str = "chart") -> Markup:
    """Return a scalable chart with an accessible name. width, height: SVG units."""
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {_plain(width)} {_plain(height)}",
        width=width,
        height=height,
        class_=class_,
        role="img",
        aria_label=label,
    )


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return about ``about`` round numbers from ``low`` to ``high``: multiples of 1, 2 or 5 times a power of ten.

    >>> ticks(-1.3, 1.1)
    [-1.0, -0.5, 0.0, 0.5, 1.0]
    """
    if not high > low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough * 0.75)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12) + 0.0 for k in range(first, last + 1)]


def signed(value: float, digits: int = 2) -> str:
    """Return the number with a minus sign (U+2212), and zero without a sign.

    >>> signed(-0.001), signed(-1.5, 1)
    ('0.00', '−1.5')
    """
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def _plain(value: str | float) -> str:
    """Numbers with at most two decimals."""
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
