# SPDX-License-Identifier: Apache-2.0
"""Doubt by dropout: a network asked again and again while it loses other units (Gal and Ghahramani, ICML 2016).

Dropout stays on, everything else (batch norm above all) as in use. With p the probability of a class in one pass and H
the entropy of yes or no in bits:

entropy       H(mean of p): all that is uncertain
information   H(mean of p) - mean of H(p): the part that comes from the network's units disagreeing

Each window of each pass draws its own units; the passes of a record hang on its name and the seed alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import entr
from torch import nn

from ecglens.bundle import Bundle, as_tensor, evaluating
from ecglens.runs.draws import derived_seed
from ecglens.runs.progress import Progress, silent

N_PASSES = 20
ENTROPY, INFORMATION = "dropout_entropy", "dropout_information"

Floats = NDArray[np.float64]


def dropouts_of(network: nn.Module) -> list[nn.Module]:
    """Return the layers that lose units in training, where they lose any."""
    kinds = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout)
    return [module for module in network.modules() if isinstance(module, kinds) and module.p > 0]


def by_dropout(
    bundle: Bundle, signals: Sequence[np.ndarray], record_ids: Sequence[str], seed: int = 0, progress: Progress = silent
) -> dict[str, Floats] | None:
    """Return `dropout_entropy` and `dropout_information` [record, output] of prepared signals; None without dropout."""
    layers = dropouts_of(bundle.network)
    if not layers:
        return None
    found: dict[str, Floats] = {name: np.zeros((len(signals), len(bundle.outputs))) for name in (ENTROPY, INFORMATION)}
    for i, (name, signal) in enumerate(zip(record_ids, signals, strict=True)):
        drawn = _passes(bundle, layers, signal, derived_seed(seed, "dropout", name))
        found[ENTROPY][i], found[INFORMATION][i] = disagreement(drawn)
        progress("dropout", i + 1, len(signals), "")
    return found


def disagreement(answers: np.ndarray) -> tuple[Floats, Floats]:
    """Return the entropy of the mean of `answers` [answer, ...], and the part that comes from answers that differ."""
    total = entropy(answers.mean(axis=0))
    return total, total - entropy(answers).mean(axis=0)


def entropy(probability: np.ndarray) -> Floats:
    """Return the entropy of yes or no, in bits.

    >>> entropy(np.array([0.0, 0.5, 1.0])).tolist()
    [0.0, 1.0, 0.0]
    """
    return np.asarray((entr(probability) + entr(1 - probability)) / np.log(2))


@torch.no_grad()
def _passes(bundle: Bundle, layers: Sequence[nn.Module], signal: np.ndarray, seed: int) -> Floats:
    """Return probabilities [pass, output] of one record."""
    windows = bundle.preprocessing.cut(signal[None], bundle.fs)[0]
    with evaluating(bundle.network) as network, torch.random.fork_rng(devices=[]):
        for layer in layers:
            layer.train()
        torch.manual_seed(seed % 2**63)
        outputs = network(as_tensor(np.tile(windows, (N_PASSES, 1, 1))))
    each = outputs.numpy().astype(np.float64).reshape(N_PASSES, len(windows), -1)
    return np.asarray(bundle.activate(bundle.preprocessing.windows.combined(each)))
