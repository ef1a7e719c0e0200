# SPDX-License-Identifier: Apache-2.0
"""How many digits a forward pass has in training: float32, or bfloat16 where a processor multiplies these faster.

Mixed precision (Micikevicius et al., ICLR 2018; bfloat16: Kalamkar et al. 2019): products of 8-bit mantissas, while
weights, their updates and the loss stay in float32. Bundles answer in float32 whatever they learnt in.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ecglens.errors import UsageError

FLOAT32 = "float32"
PRECISIONS: Mapping[str, torch.dtype] = {FLOAT32: torch.float32, "bfloat16": torch.bfloat16}


def check_precision(name: str) -> None:
    """Raise UsageError for a precision that does not exist."""
    if name not in PRECISIONS:
        raise UsageError("recipe", "precision", name, ", ".join(PRECISIONS))


def at_precision(name: str, network: nn.Module, signal: Tensor) -> Tensor:
    """Return what `network` says of `signal`, computed at the precision `name`, in float32."""
    with torch.autocast("cpu", dtype=PRECISIONS[name], enabled=name != FLOAT32):
        outputs: Tensor = network(signal)
    return outputs.float()
