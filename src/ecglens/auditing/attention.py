# SPDX-License-Identifier: Apache-2.0
"""Attention: does the answer of the audited weights hang on where they attend?

uniform       the change of the target's logit when every attention is spread evenly, as a share of the spread of logits
permuted      the same when each attention's weights are dealt out to other positions (Jain & Wallace 2019)
adversarial   how far another attention may lie from the network's own (Jensen-Shannon divergence, at most ln 2 = 0.69)
              and leave the target's probability within 0.05; found by gradient ascent. Large: the attention shown is
              one of many that say the same (after Wiegreffe & Pinter 2019, per record instead of a trained adversary)
tau_occlusion, tau_saliency   Kendall's rank correlation of attention by region with the logit's fall when the region is
              hidden, and with the size of the gradient
violation     of the tenth of the regions most attended to, the share whose hiding raises the logit: attention has no
              sign (Liu et al. 2022, arXiv 2201.12114). Chance: that share among all regions
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor

from ecglens.auditing.estimate import estimate
from ecglens.auditing.faithfulness import grid_of
from ecglens.auditing.maps import Cases
from ecglens.auditing.work import Asked, Found, Test, Work
from ecglens.bundle import as_tensor
from ecglens.errors import ContractError
from ecglens.explainers.methods import EXPLAINERS, Method
from ecglens.models.average import members_of
from ecglens.models.ecgnet import ECGNet
from ecglens.runs.draws import derived_seed

STEPS, RATE, ALLOWED = 100, 0.3, 0.05  # of the search for another attention; allowed change of the probability
TOP = 0.1  # of the regions
Weights = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Attending:
    """A network with attentions, and the audited weights' cases."""

    work: Work
    asked: Asked
    network: ECGNet

    @property
    def facts(self) -> dict[str, Any]:
        """What the test rests on."""
        return self.asked.facts | {"allowed_change": ALLOWED, "members": len(members_of(self.work.bundle.network))}

    def run(self, name: str, method: Method) -> Found:
        """Return all figures of the attention."""
        cases = self.asked.cases.first(max(5, self.work.size.cases // 3))
        own = self._logits(cases, None)
        spread = max(float(own.std()), 1e-6)
        results = {}
        for figure, weights in (("uniform", uniform), ("permuted", permuted(self.work.seed))):
            moved = np.abs(self._logits(cases, weights) - own) / spread
            results[f"attention_{figure}"] = estimate(moved, cases.patients, "weights", 0.0)
        apart, changed = zip(*(self._adversary(cases, k) for k in range(len(cases))), strict=True)
        results["attention_adversarial"] = estimate(np.array(apart), cases.patients, "weights", None)
        results |= self._agreement(cases, method)
        return Found(results, {"changed_probability": round(float(np.mean(changed)), 4), "spread_of_logits": spread})

    def _windows(self, cases: Cases) -> Tensor:
        windows = self.work.bundle.preprocessing.cut(cases.signals, cases.fs)
        return as_tensor(windows.reshape(-1, *windows.shape[2:]))

    @torch.no_grad()
    def _logits(self, cases: Cases, weights: Weights | None) -> np.ndarray:
        """Return each case's target logit [case], with other attention weights where given."""
        with replaced(self.network, weights, weights):
            raw = self.network(self._windows(cases)).numpy()
        mean = raw.reshape(len(cases), -1, raw.shape[-1]).mean(axis=1)
        return np.asarray((mean * cases.rows).sum(axis=1))

    def _adversary(self, cases: Cases, k: int) -> tuple[float, float]:
        """Return the divergence of the most different attention found for a case, and the change of its probability."""
        windows, row = self._windows(cases.take([k])), torch.from_numpy(cases.rows[k]).float()
        with torch.no_grad():
            own = self.network.attend(windows)
        target = torch.sigmoid((own.logits @ row).mean())
        free = [torch.log(own.temporal.transpose(1, 2) + 1e-9), torch.log(own.lead + 1e-9)]
        generator = torch.Generator().manual_seed(derived_seed(self.work.seed, "adversary", cases.record_ids[k]))
        free = [(t + 0.1 * torch.randn(t.shape, generator=generator)).requires_grad_(True) for t in free]
        optimizer = torch.optim.Adam(free, lr=RATE)
        best = (0.0, 0.0)
        for _ in range(STEPS):
            with torch.enable_grad():
                chosen = [torch.softmax(t, dim=-1) for t in free]
                with replaced(self.network, lambda _: chosen[0], lambda _: chosen[1]):  # noqa: B023
                    change = (torch.sigmoid((self.network(windows) @ row).mean()) - target).abs()
                apart = 0.5 * (divergence(chosen[0], own.temporal.transpose(1, 2)) + divergence(chosen[1], own.lead))
                loss = -apart + 20.0 * torch.relu(change - 0.5 * ALLOWED)
            moved, far = float(change.detach()), float(apart.detach())
            if moved <= ALLOWED and far > best[0]:
                best = (far, moved)
            optimizer.zero_grad()
            gradients = torch.autograd.grad(loss, free)
            for t, gradient in zip(free, gradients, strict=True):
                t.grad = gradient
            optimizer.step()
        return best

    def _agreement(self, cases: Cases, method: Method) -> dict[str, Any]:
        """Return agreement with occlusion and gradient by region, and the violation rate."""
        grid = grid_of(cases)
        attended = grid.sums(self.work.maps("attention", method)[: len(cases)])
        falls = grid.sums(self.work.maps("occlusion", EXPLAINERS["occlusion"])[: len(cases)])
        steep = grid.sums(np.abs(self.work.maps("saliency", EXPLAINERS["saliency"])[: len(cases)]))
        n = min(len(attended), len(falls))
        people = cases.patients[:n]
        tau = {
            "attention_tau_occlusion": [float(kendalltau(attended[k], falls[k]).statistic) for k in range(n)],
            "attention_tau_saliency": [float(kendalltau(attended[k], steep[k]).statistic) for k in range(n)],
        }
        results = {name: estimate(np.array(values), people, "weights", 0.0) for name, values in tau.items()}
        count = max(1, round(TOP * grid.n_regions))
        top = np.argsort(-attended[:n], axis=1)[:, :count]
        rate = (np.take_along_axis(falls[:n], top, axis=1) < 0).mean(axis=1)
        results["attention_violation"] = estimate(rate, people, "weights", float((falls[:n] < 0).mean()))
        return results


def uniform(weights: Tensor) -> Tensor:
    """Return even weights."""
    return torch.full_like(weights, 1.0 / weights.shape[-1])


def permuted(seed: int) -> Weights:
    """Return a function that deals weights out to other positions, the same way for all records."""

    def deal(weights: Tensor) -> Tensor:
        order = np.random.default_rng(derived_seed(seed, "audit/attention", weights.shape[-1])).permutation(
            weights.shape[-1])  # fmt: skip
        return weights[..., torch.from_numpy(order)]

    return deal


def divergence(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean Jensen-Shannon divergence of distributions over the last axis, in nats: 0 to ln 2."""
    middle = 0.5 * (a + b)

    def relative(p: Tensor) -> Tensor:
        return (p * (torch.log(p + 1e-12) - torch.log(middle + 1e-12))).sum(dim=-1)

    return (0.5 * relative(a) + 0.5 * relative(b)).mean()


@contextlib.contextmanager
def replaced(network: ECGNet, temporal: Weights | None, lead: Weights | None) -> Iterator[None]:
    """Lend the network with other attention weights; leaving restores it."""
    hooks = []
    for attention, weights in ((network.temporal_attention, temporal), (network.lead_attention, lead)):
        if weights is not None:
            hooks.append(attention.softmax.register_forward_hook(lambda _, __, output, w=weights: w(output)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def prepare(work: Work) -> Attending:
    """Take the network, or one member of an average. Raises ContractError for a network that does not attend."""
    network = members_of(work.bundle.network)[0]
    if not isinstance(network, ECGNet):
        raise ContractError(type(network).__name__, "attention", "none", "a network that attends", kind="no_attention")
    return Attending(work, work.asked(), network)


_FIGURES = tuple(
    f"attention_{name}" for name in ("uniform", "permuted", "adversarial", "tau_occlusion", "tau_saliency", "violation")
)
TESTS = (Test("attention", _FIGURES, "weights", prepare, lambda name: name == "attention"),)
