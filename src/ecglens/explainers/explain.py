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
from dataclasses import dataclass, is_dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ecglens.bundle import Bundle, as_tensor, evaluating
from ecglens.cohort import Batch
from ecglens.ecg import ECG
from ecglens.errors import UsageError
from ecglens.explainers.attention import attention, receptive_field
from ecglens.explainers.baselines import energy, r_distance, random, slope
from ecglens.explainers.deeplift import deeplift
from ecglens.explainers.gradcam import gradcam, guided_gradcam, keeps_leads_apart, step_length
from ecglens.explainers.gradient import IntegratedGradients, SmoothGrad, gradient_x_input, guided_backprop, saliency
from ecglens.explainers.linter import refuse_unsuitable
from ecglens.explainers.lrp import LRP
from ecglens.explainers.perturbation import Occlusion, Shapley
from ecglens.explanation import NOT_TESTED, Attribution, Explanation
from ecglens.fiducials import MARKS, Fiducials
from ecglens.models.average import Average
from ecglens.prediction.predict import predict_raw
from ecglens.shapes import Targets
from ecglens.waveform.rpeaks import detect_r_peaks

Explainer = Callable[[nn.Module, Batch, Targets], Attribution]
_INCOMPLETE = 0.01  # of the difference that a map promises to sum to: above, it carries a warning


@dataclass(frozen=True)
class Method:
    """An explainer and what has to be said of its maps.

    explainer       a function, or a frozen dataclass whose fields are its parameters
    unit            of its values
    resolution      samples of the network's grid below which it cannot tell instants apart, or a function of the
                    network and a window
    resolves_leads  whether it can tell leads apart, or such a function
    baseline        what absence means to it, None where it has none
    sees            "window": one window at a time, and the parts are added up; "record": the record as it is predicted
    by_layers       goes back by rules through layers: the linter looks at the network first, and of an average of
                    networks each member is explained by itself
    complete        promises to sum to f(x) - f(baseline)
    needs_beats     needs marks of the waves
    """

    explainer: Explainer
    unit: str
    resolution: int | Callable[[nn.Module, Tensor], int] = 1
    resolves_leads: bool | Callable[[nn.Module, Tensor], bool] = True
    baseline: str | None = None
    sees: str = "window"
    by_layers: bool = False
    complete: bool = False
    needs_beats: bool = False

    @property
    def parameters(self) -> dict[str, object]:
        """The explainer's parameters."""
        return dict(vars(self.explainer)) if is_dataclass(self.explainer) else {}


_GRADIENT, _LOGIT = "logit per unit of the prepared signal", "logit"
_OF_ITSELF = "nothing of the network"

# The methods by name: one file and one line here adds another.
EXPLAINERS: dict[str, Method] = {
    "saliency": Method(saliency, _GRADIENT),
    "smoothgrad": Method(SmoothGrad(), _GRADIENT),
    "gradient_x_input": Method(gradient_x_input, _LOGIT),
    "integrated_gradients": Method(IntegratedGradients(), _LOGIT, baseline="0", complete=True),
    "guided_backprop": Method(guided_backprop, _GRADIENT, by_layers=True),
    "gradcam": Method(gradcam, "weighted activation", step_length, keeps_leads_apart, by_layers=True),
    "guided_gradcam": Method(guided_gradcam, "weighted activation x gradient", by_layers=True),
    "deeplift": Method(deeplift, _LOGIT, baseline="0", by_layers=True, complete=True),
    "lrp": Method(LRP(), _LOGIT, by_layers=True),
    "lrp_z_plus": Method(LRP(z_plus=True), _LOGIT, by_layers=True),
    "occlusion": Method(Occlusion(), _LOGIT, 20, True, "line", "record"),
    "shapley": Method(Shapley(by="window"), _LOGIT, 50, True, "line", "record", complete=True),
    "attention": Method(attention, "share of attention", receptive_field, by_layers=True),
    "random": Method(random, _OF_ITSELF),
    "energy": Method(energy, _OF_ITSELF),
    "slope": Method(slope, _OF_ITSELF),
    "r_distance": Method(r_distance, _OF_ITSELF, 1, False, sees="record", needs_beats=True),
}


def explain(
    bundle: Bundle,
    ecg: ECG,
    targets: Sequence[str],
    method: str | Method = "saliency",
    *,
    fiducials: Fiducials | None = None,
    verdict: str = NOT_TESTED,
) -> list[Explanation]:
    """Return one explanation per target, on the grid the network sees.

    targets    outputs by name, or differences such as "MI - NORM"
    method     a name of `EXPLAINERS`, or one with other parameters: `Method(Occlusion(by="segment"), "logit", ...)`
    fiducials  marks of the waves, for methods that need them; R peaks are found where they suffice
    verdict    of an audit of this method on these very weights

    Raises UsageError for an unknown target or method, ContractError where the linter refuses the method on this
    network, SignalError for an ECG without the beats a method needs, and whatever `predict` would raise for this ECG.
    """
    name, chosen = (method, find_method(method)) if isinstance(method, str) else (_name_of(method), method)
    rows = np.stack([bundle.target_row(target) for target in targets])
    batch = bundle.preprocessing.apply([ecg])
    signal = np.asarray(batch.signal)
    if chosen.needs_beats or fiducials is not None:
        batch = replace(batch, fiducials=(fiducials or r_peaks_as_marks(ecg),))
    probabilities = bundle.activate(predict_raw(bundle, [signal[0]]))[0]
    found = _attribute(bundle, batch, rows, name, chosen)
    window = as_tensor(bundle.preprocessing.cut(signal, batch.fs)[0, :1])
    member = _members(bundle.network)[0]
    resolution, apart = chosen.resolution, chosen.resolves_leads
    resolution = resolution(member, window) if callable(resolution) else resolution
    apart = apart(member, window) if callable(apart) else apart
    return [
        Explanation(
            found.values[0, k],
            batch.fs,
            batch.leads,
            ecg.record_id,
            target,
            rows[k],
            bundle.classes,
            name,
            start=ecg.start,
            parameters=_windows(bundle, signal.shape[-1], batch.fs) | chosen.parameters,
            unit=chosen.unit,
            probability=float(probabilities[bundle.classes.index(target)]) if target in bundle.classes else None,
            baseline=chosen.baseline,
            completeness_gap=None if found.gap is None else abs(float(found.gap[0, k])),
            error=None if found.error is None else found.error[0, k],
            resolution_ms=1000 * resolution / batch.fs,
            resolves_leads=apart,
            verdict=verdict,
            warnings=_warnings(chosen, found, k),
        )
        for k, target in enumerate(targets)
    ]


def _warnings(method: Method, found: Attribution, k: int) -> tuple[str, ...]:
    """Say where a map that promises to add up does not."""
    if not method.complete or found.gap is None:
        return ()
    gap, total = abs(float(found.gap[0, k])), float(found.values[0, k].sum() + found.gap[0, k])
    if gap <= _INCOMPLETE * abs(total):
        return ()
    return (f"does not add up: {gap:.3g} of {total:.3g} logit is missing",)


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


def _name_of(method: Method) -> str:
    own = method.explainer
    return getattr(own, "__name__", type(own).__name__).lower()


def r_peaks_as_marks(ecg: ECG) -> Fiducials:
    """Return R peaks, found in all leads together, as marks without waves."""
    peaks = detect_r_peaks(ecg)
    times = np.full((len(ecg.leads), len(peaks.times), len(MARKS)), np.nan)
    times[:, :, MARKS.index("R_peak")] = peaks.times
    why = "only R peaks were looked for"
    absent: dict[tuple[str, int | None, str], str] = {(lead, None, w): why for lead in ecg.leads for w in ("P", "T")}
    return Fiducials(times, ecg.leads, peaks.method, absent=absent)


class AsPredicted(nn.Module):
    """A bundle's network on whole prepared records: cut into windows, answered, combined, as `predict` does.

    For methods that only ask what the answer would be; no gradients go through.
    """

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.network, self.preprocessing, self.fs = bundle.network, bundle.preprocessing, bundle.fs

    @torch.no_grad()
    def forward(self, signal: Tensor) -> Tensor:
        """Return combined logits [record, output] of prepared records [record, lead, time]."""
        windows = self.preprocessing.cut(signal.numpy(), self.fs)
        outputs = self.network(as_tensor(windows.reshape(-1, *windows.shape[2:]))).numpy()
        combined = self.preprocessing.windows.combined(outputs.reshape(*windows.shape[:2], -1).astype(np.float64))
        return torch.from_numpy(combined.astype(np.float32))


def _members(network: nn.Module) -> list[nn.Module]:
    """Return the networks behind an average, or the network itself."""
    return list(network.members) if isinstance(network, Average) else [network]


def _attribute(bundle: Bundle, batch: Batch, rows: Targets, name: str, method: Method) -> Attribution:
    """Return the attribution of the combined output, [1, target, lead, time] on the grid of the prepared record."""
    with borrowed(bundle.network) as network:
        if method.sees == "record":
            return method.explainer(AsPredicted(bundle), batch, rows)
        windows = bundle.preprocessing.cut(np.asarray(batch.signal), batch.fs)[0]
        ids = tuple(f"{batch.record_ids[0]}/{k}" for k in range(len(windows)))
        cut = Batch(windows, batch.fs, batch.leads, ids)
        if not method.by_layers:
            return _joined(bundle, method.explainer(network, cut, rows), batch.signal.shape[-1])
        members = _members(network)
        for member in members:
            refuse_unsuitable(member, name, as_tensor(windows[:1]))
        each = [_joined(bundle, method.explainer(m, cut, rows), batch.signal.shape[-1]) for m in members]
    gaps = [one.gap for one in each if one.gap is not None]
    values = np.asarray(np.mean([one.values for one in each], axis=0), dtype=np.float32)
    return Attribution(values, gap=np.asarray(np.mean(gaps, axis=0)) if gaps else None)


def _joined(bundle: Bundle, each: Attribution, n_samples: int) -> Attribution:
    """Return the attribution of the combined output from those of its windows: the mean, laid back on the record."""
    join = bundle.preprocessing.windows.join
    n_windows = len(each.values)
    error = None
    if each.error is not None:  # windows are drawn apart, so variances add up
        error = np.sqrt(join(each.error[None] ** 2, n_samples) / n_windows)
    gap = None if each.gap is None else each.gap.mean(axis=0, keepdims=True)
    return Attribution(join(each.values[None], n_samples), error, gap)


@contextlib.contextmanager
def borrowed(network: nn.Module) -> Iterator[nn.Module]:
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
