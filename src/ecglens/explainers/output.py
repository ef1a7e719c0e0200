# SPDX-License-Identifier: Apache-2.0
"""What number is explained: the combined logit, or the calibrated probability that `predict` makes of it.

A probability is a function of the combined logits, p(z). How a method explains it depends on what the method is:

at the point   a slope: the chain rule, dp/dz times the map of the logits, exact
along a path   integrated gradients: the path goes through p, all windows of the record together, so that the map adds
               up to the difference of probabilities
by asking      a difference of answers: probabilities are asked for
alike          knows nothing of the network

Rules that share a logit out among layers (LRP, DeepLIFT), a mean over noisy copies whose windows are drawn apart
(SmoothGrad) and what is attended to have no such rule for p here, and are refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ecglens.bundle import Bundle, Output, as_tensor
from ecglens.errors import ContractError, UsageError
from ecglens.explainers.methods import EXPLAINERS, Method
from ecglens.models.repeats import different, leads_repeat
from ecglens.shapes import Targets

LOGIT, PROBABILITY = "logit", "probability"
OUTPUTS = (LOGIT, PROBABILITY)
_WITH_PROBABILITY = ("multilabel", "multiclass")


def refuse_output(bundle: Bundle, rows: Targets, method: Method, output: str) -> None:
    """Raise UsageError for an unknown output, ContractError for a probability that is not there or has no rule."""
    if output not in OUTPUTS:
        raise UsageError("explain", "output", output, ", ".join(OUTPUTS))
    if output == LOGIT:
        return
    if not method.probability:
        able = ", ".join(name for name, known in EXPLAINERS.items() if known.probability)
        raise ContractError(
            "explain", f"method {method.title}", "no rule for probabilities", able, "explain the logit: --output logit",
            kind="method",
        )  # fmt: skip
    used = np.abs(np.asarray(rows)).sum(axis=0) > 0
    without = [
        o.name for o, asked in zip(bundle.outputs, used, strict=True) if asked and o.kind not in _WITH_PROBABILITY
    ]
    if without:
        raise ContractError(
            bundle.name, "output", f"no probability of {', '.join(without)}", "multilabel or multiclass outputs",
            "explain the value itself: --output logit", kind="outputs",
        )  # fmt: skip


def activated(outputs: Sequence[Output], logits: Tensor) -> Tensor:
    """Return probabilities [..., output] of combined logits, as `Bundle.activate` does, with gradients."""
    columns: list[Tensor] = []
    scaled = [logits[..., k] / output.temperature + output.offset for k, output in enumerate(outputs)]
    together = [k for k, output in enumerate(outputs) if output.kind == "multiclass"]
    shared = torch.softmax(torch.stack([scaled[k] for k in together], dim=-1), dim=-1) if together else None
    for k, output in enumerate(outputs):
        if output.kind == "multiclass":
            assert shared is not None
            columns.append(shared[..., together.index(k)])
        else:
            columns.append(torch.sigmoid(scaled[k]) if output.kind == "multilabel" else logits[..., k])
    return torch.stack(columns, dim=-1)


def slopes(bundle: Bundle, combined: np.ndarray) -> np.ndarray:
    """Return how each probability changes with each combined logit [output, output] at `combined` [output]."""
    point = torch.from_numpy(np.asarray(combined, np.float64))
    point.requires_grad_(True)
    probabilities = activated(bundle.outputs, point)
    rows = [torch.autograd.grad(p, point, retain_graph=True)[0] for p in probabilities]
    return torch.stack(rows).numpy()


class WindowsTogether(nn.Module):
    """The probabilities of one record, from all of its windows.

    Every window gets the same answer, so that the mean over windows, which is what a window's map is weighted by, is
    that answer, and its gradient that of the record.
    """

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.network, self.outputs = bundle.network, bundle.outputs

    def forward(self, windows: Tensor) -> Tensor:
        """Return [window, output] of all windows [window, lead, time] of one record."""
        together = activated(self.outputs, self.network(windows).mean(dim=0))
        return together.expand(len(windows), -1)


class AsPredicted(nn.Module):
    """A bundle's network on whole prepared records: cut into windows, answered, combined, as `predict` does.

    For methods that only ask what the answer would be; no gradients go through. Copies of a record with something
    hidden share the windows in which nothing is, and windows their leads: each is answered once.
    """

    def __init__(self, bundle: Bundle, output: str = LOGIT) -> None:
        super().__init__()
        self.network, self.preprocessing, self.fs = bundle.network, bundle.preprocessing, bundle.fs
        self.activate = bundle.activate if output == PROBABILITY else None

    @torch.no_grad()
    def forward(self, signal: Tensor) -> Tensor:
        """Return combined logits or probabilities [record, output] of prepared records [record, lead, time]."""
        windows = self.preprocessing.cut(signal.numpy(), self.fs)
        flat = windows.reshape(-1, *windows.shape[2:])
        first, which = different(flat)
        with leads_repeat(self.network):
            outputs = self.network(as_tensor(flat[first])).numpy()[which]
        combined = self.preprocessing.windows.combined(outputs.reshape(*windows.shape[:2], -1).astype(np.float64))
        answers = combined if self.activate is None else self.activate(combined)
        return torch.from_numpy(answers.astype(np.float32))
