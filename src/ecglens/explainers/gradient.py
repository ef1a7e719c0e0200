# SPDX-License-Identifier: Apache-2.0
"""Gradient methods."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ecglens.bundle import as_tensor
from ecglens.cohort import Batch
from ecglens.explanation import Attribution
from ecglens.shapes import Targets


def saliency(network: nn.Module, batch: Batch, targets: Targets) -> Attribution:
    """Return the gradient of each target by the input (Simonyan et al. 2014, arXiv 1312.6034), with its sign.

    It answers: by how much does the logit rise for a small rise of this sample? It is not multiplied by the
    signal and not made absolute, so positive means "a higher voltage here speaks for the target".

    batch     signal [batch, lead, time]
    targets   weights over the outputs [target, output]
    """
    signal = as_tensor(np.asarray(batch.signal)).requires_grad_(True)
    rows = torch.from_numpy(np.asarray(targets, dtype=np.float32))
    with torch.enable_grad():
        values = network(signal) @ rows.T
        # Records do not depend on each other in evaluation mode, so the sum over the batch has each one's gradient.
        gradients = [
            torch.autograd.grad(values[:, k].sum(), signal, retain_graph=k + 1 < len(rows))[0] for k in range(len(rows))
        ]
    return Attribution(torch.stack(gradients, dim=1).numpy())
