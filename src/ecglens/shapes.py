# SPDX-License-Identifier: Apache-2.0
"""Array types with their axes written out, for signatures.

Axes are named once here and mean the same everywhere: `lead`, `time` (samples), `record`, `window`,
`target`, `output`, `beat`. Signals are float32, in millivolts unless a preprocessing says otherwise.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32

Signal = Float32[np.ndarray, "lead time"]
Signals = Float32[np.ndarray, "record lead time"]
Windows = Float32[np.ndarray, "window lead time"]
Outputs = Float[np.ndarray, "record output"]
Labels = Float[np.ndarray, "record output"]
Targets = Float[np.ndarray, "target output"]
Attributions = Float32[np.ndarray, "batch target lead time"]
RecordMask = Bool[np.ndarray, " record"]
