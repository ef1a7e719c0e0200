# SPDX-License-Identifier: Apache-2.0
"""`explain`: an ECG, a bundle, targets and methods in, explanations of the prediction as it is made out.

Preprocessing, windows, evaluation mode and the combination of windows happen here and nowhere else: an explainer
sees a network and a batch of windows. What is explained is the combined logit, the very number that `predict` turns
into a probability, or that probability.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from ecglens.bundle import Bundle, as_tensor, evaluating
from ecglens.cohort import Batch
from ecglens.ecg import ECG
from ecglens.explainers.gradient import IntegratedGradients
from ecglens.explainers.linter import refuse_unsuitable
from ecglens.explainers.methods import ALIKE, BEATS, EXPLAINERS, PATH, WAVES, Method, find_method
from ecglens.explainers.output import LOGIT, AsPredicted, WindowsTogether, refuse_output, slopes
from ecglens.explainers.perturbation import Hiding
from ecglens.explanation import NOT_TESTED, Attribution, Explanation
from ecglens.fiducials import MARKS, Fiducials
from ecglens.models.average import members_of
from ecglens.prediction.predict import predict_raw
from ecglens.shapes import Targets
from ecglens.waveform.delineate import delineate
from ecglens.waveform.rpeaks import detect_r_peaks

__all__ = ["EXPLAINERS", "AsPredicted", "Method", "attribute", "borrowed", "explain", "find_method", "refuse"]

_INCOMPLETE = 0.01  # of the difference that a map promises to sum to: above, it carries a warning
ALL = "all"


@dataclass(frozen=True)
class Question:
    """What is asked of a bundle.

    targets   names: outputs, or differences such as "MI - NORM"
    rows      the same as weights over the outputs [target, output]
    output    "logit" or "probability"
    verdict   of an audit of the method on these very weights
    """

    targets: tuple[str, ...]
    rows: np.ndarray
    output: str = LOGIT
    verdict: str = NOT_TESTED

    @classmethod
    def of(cls, bundle: Bundle, targets: Sequence[str], output: str = LOGIT, verdict: str = NOT_TESTED) -> Question:
        """Return the question; `all` stands for all outputs. Raises UsageError for an unknown target."""
        named = [name for target in targets for name in (bundle.classes if target == ALL else (target,))]
        names = tuple(dict.fromkeys(named))
        return cls(names, np.stack([bundle.target_row(name) for name in names]), output, verdict)


def explain(
    bundle: Bundle,
    ecg: ECG,
    targets: Sequence[str],
    method: str | Method | Sequence[str | Method] = "saliency",
    *,
    output: str = LOGIT,
    fiducials: Fiducials | None = None,
    verdict: str = NOT_TESTED,
) -> list[Explanation]:
    """Return one explanation per method and target, on the grid the network sees; the ECG is prepared once for all.

    targets    outputs by name, differences such as "MI - NORM", or "all"
    method     a name of `EXPLAINERS`, or one with other parameters: `Method(Occlusion(by="segment"), "logit", ...)`, or
               several
    output     "logit", or "probability" as calibrated, where the method has a rule for it
    fiducials  marks of the waves, for methods that need them; without them they are looked for
    verdict    of an audit of this method on these very weights

    Raises UsageError for an unknown target or method, ContractError where the linter refuses the method on this
    network, SignalError for an ECG without the beats a method needs, and whatever `predict` would raise for this ECG.
    """
    asked = [method] if isinstance(method, str | Method) else list(method)
    methods = [find_method(each) if isinstance(each, str) else each for each in asked]
    question = Question.of(bundle, targets, output, verdict)
    for each in methods:
        refuse(bundle, question, each)
    batch = bundle.preprocessing.apply([ecg])
    probabilities = bundle.activate(predict_raw(bundle, [np.asarray(batch.signal)[0]]))[0]
    marks = Marks([ecg], None if fiducials is None else (fiducials,))
    explanations: list[Explanation] = []
    for each in methods:
        own = replace(batch, fiducials=marks.for_method(each))
        found = attribute(bundle, own, question.rows, each, output)
        explanations += explanations_of(bundle, own, 0, question, each, found, probabilities)
    return explanations


def refuse(bundle: Bundle, question: Question, method: Method) -> None:
    """Raise ContractError where the method is wrong on this bundle, as the linter has it, or has no such output."""
    refuse_output(bundle, question.rows, method, question.output)
    if method.by_layers:
        window = torch.zeros(1, len(bundle.preprocessing.leads), bundle.preprocessing.windows.length)
        with borrowed(bundle.network) as network:
            for member in members_of(network):
                refuse_unsuitable(member, method.title, window)


class Marks:
    """Marks of the waves of some ECGs: those given, or else found when a method asks for them, each kind once."""

    def __init__(self, ecgs: Sequence[ECG], given: tuple[Fiducials, ...] | None = None) -> None:
        """`given`: one per ECG; they serve every method."""
        self.ecgs, self.given = ecgs, given
        self._found: dict[str, tuple[Fiducials, ...]] = {}

    def for_method(self, method: Method) -> tuple[Fiducials, ...] | None:
        """Return what the method needs, one per ECG, or None."""
        if self.given is not None or not method.marks:
            return self.given
        if method.marks not in self._found:
            find = {WAVES: delineate, BEATS: r_peaks_as_marks}[method.marks]
            self._found[method.marks] = tuple(find(ecg) for ecg in self.ecgs)
        return self._found[method.marks]


def r_peaks_as_marks(ecg: ECG) -> Fiducials:
    """Return R peaks, found in all leads together, as marks without waves."""
    peaks = detect_r_peaks(ecg)
    times = np.full((len(ecg.leads), len(peaks.times), len(MARKS)), np.nan)
    times[:, :, MARKS.index("R_peak")] = peaks.times
    why = "only R peaks were looked for"
    absent: dict[tuple[str, int | None, str], str] = {(lead, None, w): why for lead in ecg.leads for w in ("P", "T")}
    return Fiducials(times, ecg.leads, peaks.method, absent=absent)


def explanations_of(
    bundle: Bundle, batch: Batch, k: int, question: Question, method: Method, found: Attribution,
    probabilities: np.ndarray,
) -> list[Explanation]:  # fmt: skip
    """Return the explanations of record `k` of a batch, one per target, from the attribution of the whole batch.

    probabilities   of that record [output]
    """
    resolution, apart = _resolution(bundle, batch, k, method)
    parameters = {"output": question.output} | _windows(bundle, batch.signal.shape[-1], batch.fs) | method.parameters
    names = bundle.classes
    not_shown = method.not_shown(members_of(bundle.network)[0], batch.fs) if method.not_shown else ()
    return [
        Explanation(
            found.values[k, j],
            batch.fs,
            batch.leads,
            batch.record_ids[k],
            target,
            question.rows[j],
            names,
            method.title,
            start=batch.start[k] if batch.start else 0.0,
            parameters=parameters,
            unit=method.unit.replace(LOGIT, question.output),
            probability=float(probabilities[names.index(target)]) if target in names else None,
            baseline=method.absence,
            completeness_gap=None if found.gap is None else abs(float(found.gap[k, j])),
            error=None if found.error is None else found.error[k, j],
            resolution_ms=1000 * resolution,
            resolves_leads=apart,
            verdict=question.verdict,
            warnings=_warnings(method, found, k, j, question.output) + not_shown,
        )
        for j, target in enumerate(question.targets)
    ]


def _resolution(bundle: Bundle, batch: Batch, k: int, method: Method) -> tuple[float, bool]:
    """Return how finely in time the method can speak, in s, and whether it can tell leads apart."""
    member, length = members_of(bundle.network)[0], bundle.preprocessing.windows.length
    window = as_tensor(np.asarray(batch.signal)[k : k + 1, :, :length])
    apart = method.resolves_leads
    apart = apart(member, window) if callable(apart) else apart
    if isinstance(method.explainer, Hiding):
        return method.explainer.resolution(batch, k), apart
    samples = method.resolution(member, window) if callable(method.resolution) else method.resolution
    return samples / batch.fs, apart


def _warnings(method: Method, found: Attribution, k: int, j: int, output: str) -> tuple[str, ...]:
    """Say where a map that promises to add up does not."""
    if not method.complete or found.gap is None:
        return ()
    gap, total = abs(float(found.gap[k, j])), float(found.values[k, j].sum() + found.gap[k, j])
    if gap <= _INCOMPLETE * abs(total):
        return ()
    return (f"does not add up: {gap:.3g} of {total:.3g} {output} is missing",)


def _windows(bundle: Bundle, n_samples: int, fs: float) -> dict[str, object]:
    """Say how the prediction saw the record: what lies in one window only weighs less than what lies in two."""
    windows = bundle.preprocessing.windows
    return {
        "windows": len(windows.starts(n_samples)),
        "window_s": windows.length / fs,
        "stride_s": windows.stride / fs,
        "combine": windows.combine,
    }


# -------------------------------------------------------------------------------------------- from windows to records


def attribute(bundle: Bundle, batch: Batch, rows: Targets, method: Method, output: str = LOGIT) -> Attribution:
    """Return the attribution of the combined output, [record, target, lead, time] on the grid of the prepared records.

    Records of a batch go through the network together, and none can change another's map.
    """
    with borrowed(bundle.network) as network:
        if method.sees == "record":
            return method.explainer(AsPredicted(bundle, output), batch, rows)
        if output == LOGIT or method.probability == ALIKE:
            return _of_windows(bundle, network, batch, rows, method)
        each = [_of_probability(bundle, one, rows, method) for one in one_by_one(batch)]
    errors = [one.error for one in each if one.error is not None]
    gaps = [one.gap for one in each if one.gap is not None]
    return Attribution(
        np.concatenate([one.values for one in each]),
        np.concatenate(errors) if errors else None,
        np.concatenate(gaps) if gaps else None,
    )


def _of_probability(bundle: Bundle, one: Batch, rows: Targets, method: Method) -> Attribution:
    """Return the attribution of the probabilities of a batch of one record, see `output`."""
    if method.probability == PATH:
        explainer = method.explainer
        if isinstance(explainer, IntegratedGradients):  # windows share the path: none may get more points by itself
            explainer = replace(explainer, steps=explainer.steps * 2**explainer.doublings, doublings=0)
        return _of_windows(bundle, WindowsTogether(bundle), one, rows, replace(method, explainer=explainer))
    combined = predict_raw(bundle, [np.asarray(one.signal)[0]])[0]
    found = _of_windows(bundle, bundle.network, one, rows @ slopes(bundle, combined), method)
    return replace(found, gap=None)  # a slope times a signal sums to no probability


def _of_windows(bundle: Bundle, network: nn.Module, batch: Batch, rows: Targets, method: Method) -> Attribution:
    """Return the attribution of the mean over windows, for methods that see one window at a time."""
    windows = bundle.preprocessing.cut(np.asarray(batch.signal), batch.fs)
    ids = tuple(f"{record}/{k}" for record in batch.record_ids for k in range(windows.shape[1]))
    cut = Batch(windows.reshape(-1, *windows.shape[2:]), batch.fs, batch.leads, ids)
    n_samples = batch.signal.shape[-1]
    members = members_of(network) if method.by_layers else [network]
    each = [_joined(bundle, method.explainer(m, cut, rows), windows.shape[1], n_samples) for m in members]
    if len(each) == 1:
        return each[0]
    gaps = [one.gap for one in each if one.gap is not None]
    values = np.asarray(np.mean([one.values for one in each], axis=0), dtype=np.float32)
    return Attribution(values, gap=np.asarray(np.mean(gaps, axis=0)) if gaps else None)


def _joined(bundle: Bundle, each: Attribution, n_windows: int, n_samples: int) -> Attribution:
    """Return the attribution of the combined output from those of its windows: the mean, laid back on the records."""
    join = bundle.preprocessing.windows.join

    def by_record(values: np.ndarray) -> np.ndarray:
        return values.reshape(-1, n_windows, *values.shape[1:])

    error = None
    if each.error is not None:  # windows are drawn apart, so variances add up
        error = np.sqrt(join(by_record(each.error) ** 2, n_samples) / n_windows)
    gap = None if each.gap is None else by_record(each.gap).mean(axis=1)
    return Attribution(join(by_record(each.values), n_samples), error, gap)


def one_by_one(batch: Batch) -> Iterator[Batch]:
    """Yield the records of a batch as batches of one."""
    for k in range(len(batch.record_ids)):
        yield Batch(
            np.asarray(batch.signal)[k : k + 1], batch.fs, batch.leads, batch.record_ids[k : k + 1],
            batch.start[k : k + 1], None if batch.fiducials is None else batch.fiducials[k : k + 1],
        )  # fmt: skip


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
