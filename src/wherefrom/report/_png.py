"""The colours of a heat map, and its image."""

from __future__ import annotations

import base64
import io

import numpy as np
from markupsafe import Markup
from PIL import Image

# Standard deviations at which the colour is full.
FULL = 3.0
# 15 shades to each side and one between them: enough to the eye, and PNG packs them well.
SHADES = 15
# Blue and orange stay apart under every common colour blindness. The strength of a score is the
# opacity, so that an average score has the colour of the page, by day and by night.
LOW = (47, 116, 196)
HIGH = (226, 105, 18)


def legend() -> tuple[str, str]:
    """The colours of the lowest and the highest score, as CSS writes them."""
    low, high = ("#{:02x}{:02x}{:02x}".format(*colour) for colour in (LOW, HIGH))
    return low, high


def png_address(values: np.ndarray) -> Markup:
    """A PNG of normalised scores as a data address; safe as it is, being base64."""
    shades = np.clip(np.rint(values / FULL * SHADES), -SHADES, SHADES).astype(np.int64) + SHADES
    image = Image.fromarray(shades.astype(np.uint8), mode="P")
    steps = range(-SHADES, SHADES + 1)
    image.putpalette([channel for step in steps for channel in (HIGH if step > 0 else LOW)])
    file = io.BytesIO()
    opacity = bytes(round(255 * abs(step) / SHADES) for step in steps)
    image.save(file, "PNG", optimize=True, transparency=opacity)
    return Markup("data:image/png;base64," + base64.b64encode(file.getvalue()).decode())  # noqa: S704
