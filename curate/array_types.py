"""Types of numpy arrays. What has one states its shape, in a docstring or a comment."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Images = npt.NDArray[np.uint8]
"""Pictures of 8 bits per channel."""
Index = npt.NDArray[np.int64]
Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]
