# SPDX-License-Identifier: Apache-2.0
"""`explain`: an ECG, a bundle, targets and a method in, explanations of the prediction as it is made out.

Preprocessing, windows, evaluation mode and the combination of windows happen here and nowhere else: an explainer
sees a network and a batch of windows. What is explained is the combined logit, the very number that `predict` turns
into a probability.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from ecglens.bundle import Bundle, evaluating
from ecglens.cohort import Batch
from ecglens.ecg import ECG
from ecglens.errors import UsageError
from ecglens.explainers.gradient import saliency
from ecglens.explanation import NOT_TESTED, Attribution, Explanation
from ecglens.prediction.predict import predict_raw
from ecglens.shapes import Targets

Explainer = Callable[[nn.Module, Batch, Targets], Attribution]


@dataclass(frozen=True)
class Method:
    """An explainer and what has to be said of its maps.

    unit            of its values
    resolution      samples of the network's grid below which it cannot tell instants apart
    resolves_leads  whether it can tell leads apart
    baseline        what absence means to it, None where it has none
    """

    explainer: Explainer
    unit: str
    resolution: int = 1
    resolves_leads: bool = True
    baseline: str | None = None


# The methods by name: one file and one line here adds another.
EXPLAINERS: dict[str, Method] = {
    "saliency": Method(saliency, unit="logit per unit of the prepared signal"),
}


def explain(
    bundle: Bundle, ecg: ECG, targets: Sequence[str], method: str = "saliency", *, verdict: str = NOT_TESTED
) -> list[Explanation]:
    """Return one explanation per target, on the grid the network sees.

    targets   outputs by name, or differences such as "MI - NORM"
    verdict   of an audit of this method on these very weights

    Raises UsageError for an unknown target or method, and whatever `predict` would raise for this ECG.
    """
    chosen = find_method(method)
    rows = np.stack([bundle.target_row(target) for target in targets])
    batch = bundle.preprocessing.apply([ecg])
    signal = np.asarray(batch.signal)
    probabilities = bundle.activate(predict_raw(bundle, [signal[0]]))[0]
    values = _attribute(bundle, batch, rows, chosen)
    return [
        Explanation(
            values[k],
            batch.fs,
            batch.leads,
            ecg.record_id,
            target,
            rows[k],
            bundle.classes,
            method,
            start=ecg.start,
            parameters=_windows(bundle, signal.shape[-1], batch.fs),
            unit=chosen.unit,
            probability=float(probabilities[bundle.classes.index(target)]) if target in bundle.classes else None,
            baseline=chosen.baseline,
            resolution_ms=1000 * chosen.resolution / batch.fs,
            resolves_leads=chosen.resolves_leads,
            verdict=verdict,
        )
        for k, target in enumerate(targets)
    ]


def _windows(bundle: Bundle, n_samples: int, fs: float) -> dict[str, object]:
    """Say how the prediction saw the record: what lies in one window only weighs less than what lies in two."""
    windows = bundle.preprocessing.windows
    return {
        "windows": len(windows.starts(n_samples)),
        "window_s": windows.length / fs,
        "stride_s": windows.stride / fs,
        "combine": windows.combine,
    }


def find_method(name: str) -> Method:
    """Return a method by name. Raises UsageError for an unknown one, with the nearest known one."""
    if name not in EXPLAINERS:
        near = difflib.get_close_matches(name, EXPLAINERS, 1)
        raise UsageError("explain", "method", name, ", ".join(EXPLAINERS), f"did you mean {near[0]}?" if near else "")
    return EXPLAINERS[name]


def _attribute(bundle: Bundle, batch: Batch, rows: Targets, method: Method) -> np.ndarray:
    """Return the attributions of the combined output, [target, lead, time] on the grid of the prepared record."""
    signal = np.asarray(batch.signal)
    windows = bundle.preprocessing.cut(signal, batch.fs)[0]
    with _borrowed(bundle.network) as network:
        each = method.explainer(network, Batch(windows, batch.fs, batch.leads, batch.record_ids * len(windows)), rows)
    return bundle.preprocessing.windows.join(each.values[None], signal.shape[-1])[0]


@contextlib.contextmanager
def _borrowed(network: nn.Module) -> Iterator[nn.Module]:
    """Lend a network to an explainer; leaving restores its modes, which weights learn, and its hooks."""
    learns = [(weight, weight.requires_grad) for weight in network.parameters()]
    hooks = [(place, dict(place)) for module in network.modules() for place in _hooks(module)]
    try:
        with evaluating(network):
            yield network
    finally:
        for weight, needs in learns:
            weight.requires_grad_(needs)
        for place, before in hooks:
            place.clear()
            place.update(before)


def _hooks(module: nn.Module) -> list[dict[int, Callable]]:
    return [
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    ]
