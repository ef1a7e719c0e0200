# SPDX-License-Identifier: Apache-2.0
"""Where in the signal the steps of a block lie, and how much of it each has seen.

Strides alone do not tell: without padding the first step of LeNet's last block is centred 47 samples into the signal,
with padding that of ECGNet on its very first sample. Both are found by asking which samples have a gradient.

>>> from ecglens.models.lenet import LeNet
>>> field_of(LeNet(), 3, n_leads=12)
Field(centre=47.0, stride=32.0, width=95)
"""

from __future__ import annotations

import copy
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ecglens.models.activations import blocks_of, tapping
from ecglens.runs.draws import derived_seed

_PROBE = 2048  # samples in which the field is looked for
_LONGEST = 32_768
_TAP = "block"
_known: WeakKeyDictionary[nn.Module, dict[tuple[int, int], Field | None]] = WeakKeyDictionary()


class Field(NamedTuple):
    """Centre of step 0 and distance of steps, in samples, and how many samples a step has seen."""

    centre: float
    stride: float
    width: int

    def centres(self, n_steps: int) -> NDArray[np.float64]:
        """Return the centre of each step, in samples [step]."""
        return self.centre + self.stride * np.arange(n_steps, dtype=np.float64)


def even_field(n_steps: int, n_samples: int) -> Field:
    """Return the field of steps of which nothing is known: spread evenly, having seen nobody knows how much."""
    return Field(n_samples / n_steps / 2 - 0.5, n_samples / n_steps, 0)


def field_of(network: nn.Module, block: int, n_leads: int) -> Field | None:
    """Return the field of a block, counted from 1; None where no gradient comes through, or signals have one length.

    Found in signals so long that their ends do not matter, with positive weights, that silence nothing: it is what a
    step can see, whatever the weights, and looked for once per network.
    """
    fields = _known.setdefault(network, {})
    if (block, n_leads) not in fields:
        fields[block, n_leads] = _probed(network, block, n_leads, _PROBE)
    return fields[block, n_leads]


def _probed(network: nn.Module, block: int, n_leads: int, length: int) -> Field | None:
    generator = torch.Generator().manual_seed(derived_seed(0, "receptive field") % 2**63)
    probed = _open(network, generator)
    signal = torch.rand(1, n_leads, length, generator=generator, dtype=torch.float64).requires_grad_(True)
    spans = []
    with torch.enable_grad(), tapping({_TAP: blocks_of(probed)[block - 1]}) as seen:
        try:
            probed(signal)
        except RuntimeError:  # a head that takes signals of one length only
            return None
        held = seen[_TAP]
        middle = held.shape[-1] // 2
        for step in (middle, middle + 4):
            (slope,) = torch.autograd.grad(held[..., step].sum(), signal, retain_graph=True)
            at = torch.nonzero(slope.abs().sum(dim=(0, 1))).flatten()
            if not len(at):
                return None
            spans.append((float(at.min()), float(at.max())))
    if (min(first for first, _ in spans) == 0 or max(last for _, last in spans) == length - 1) and length < _LONGEST:
        return _probed(network, block, n_leads, 4 * length)
    (first, last), (later, latest) = spans
    stride = ((later + latest) - (first + last)) / 8
    return Field((first + last) / 2 - middle * stride, stride, int(last - first) + 1)


def _open(network: nn.Module, generator: torch.Generator) -> nn.Module:
    """Return a copy through which all goes: positive weights leave no ReLU silent, and means stand for maxima."""
    opened = copy.deepcopy(network).double().eval()  # gradients at the rim of the field are too small for float32
    with torch.no_grad():
        for weights in opened.parameters():
            fan_in = max(1, weights.numel() // weights.shape[0]) if weights.ndim > 1 else 1
            weights.uniform_(0.5, 1.0, generator=generator).div_(fan_in)
        for layer in list(opened.modules()):
            if isinstance(layer, nn.BatchNorm1d):
                layer.reset_running_stats()
            for name, part in layer.named_children():
                if isinstance(part, nn.MaxPool1d) and part.dilation == 1:
                    mean = nn.AvgPool1d(part.kernel_size, part.stride, part.padding, part.ceil_mode)
                    setattr(layer, name, mean)
    return opened
