# SPDX-License-Identifier: Apache-2.0
"""`predict`: probabilities and decisions of a bundle for ECGs, through its own preprocessing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ecglens.bundle import Bundle, as_tensor, evaluating
from ecglens.ecg import ECG
from ecglens.errors import ContractError, EcglensError, Finding, InputError, UnsafeError
from ecglens.formats.read import read
from ecglens.preprocessing.windows import group_by_length
from ecglens.runs.progress import Progress, silent

_GROUP = 64  # records predicted together; the last digits may depend on it (1e-7), so it is fixed


@dataclass(frozen=True)
class Prediction:
    """What a bundle says of one ECG.

    probabilities, decisions   by output; empty where the ECG was rejected
    flags                      what was noticed and did not hinder
    rejected                   why the ECG was not used, or None
    """

    record_id: str
    probabilities: dict[str, float] = field(default_factory=dict)
    decisions: dict[str, bool] = field(default_factory=dict)
    flags: tuple[Finding, ...] = ()
    rejected: EcglensError | None = None


def predict(bundle: Bundle, ecg: ECG) -> Prediction:
    """Return what `bundle` says of `ecg`. Raises where the ECG cannot be used (see `Admission`)."""
    admitted = bundle.preprocessing.admission.admit(ecg)
    batch = bundle.preprocessing.transform([admitted])
    if abs(batch.fs - bundle.fs) > 1e-9:
        raise ContractError(
            ecg.record_id, "sampling rate", f"{batch.fs:g} Hz", f"{bundle.fs:g} Hz", kind="sampling_rate"
        )
    probabilities = bundle.activate(predict_raw(bundle, [np.asarray(batch.signal)[0]]))[0]
    return _prediction(bundle, ecg.record_id, probabilities, admitted.findings)


def predict_files(
    bundle: Bundle,
    paths: Sequence[Path],
    progress: Progress = silent,
    start: float | None = None,
    stop: float | None = None,
) -> list[Prediction]:
    """Return a prediction per file; a file that cannot be used is rejected with the reason, the rest goes on.

    start, stop  the stretch of each recording that is used, in s on its clock, as in `read`
    """
    predictions = []
    for done, path in enumerate(paths, 1):
        try:
            predictions.append(predict(bundle, read(path, start, stop)))
        except (InputError, UnsafeError, ContractError) as error:
            predictions.append(Prediction(Path(path).stem, rejected=error))
        progress("predicting", done, len(paths), "")
    return predictions


def predict_raw(bundle: Bundle, signals: Sequence[np.ndarray], progress: Progress = silent) -> np.ndarray:
    """Return the network's outputs before activation, combined over windows, float64 [record, output].

    signals   prepared signals [lead, time], as `preprocessing` leaves them

    Raises ContractError for a segmentation bundle, which says something of each instant, not of a record.
    """
    if any(output.kind == "segmentation" for output in bundle.outputs):
        raise ContractError(bundle.name, "outputs", "one value per instant", "one value per record", kind="outputs")
    raw = np.empty((len(signals), len(bundle.outputs)))
    done = 0
    for indices in group_by_length([signal.shape[1] for signal in signals]).values():
        for chunk in (indices[i : i + _GROUP] for i in range(0, len(indices), _GROUP)):
            raw[chunk] = _forward(bundle, np.stack([signals[i] for i in chunk]))
            done += len(chunk)
            progress("predicting", done, len(signals), "")
    return raw


@torch.no_grad()
def _forward(bundle: Bundle, signal: np.ndarray) -> np.ndarray:
    windows = bundle.preprocessing.cut(signal, bundle.fs)
    with evaluating(bundle.network) as network:
        outputs = network(as_tensor(windows.reshape(-1, *windows.shape[2:])))
    per_window = outputs.numpy().astype(np.float64).reshape(*windows.shape[:2], -1)
    return bundle.preprocessing.windows.combined(per_window)


def _prediction(bundle: Bundle, record_id: str, values: np.ndarray, flags: Iterable[Finding]) -> Prediction:
    named = dict(zip(bundle.classes, map(float, values), strict=True))
    decisions = {o.name: named[o.name] >= o.threshold for o in bundle.outputs if o.threshold is not None}
    return Prediction(record_id, named, decisions, tuple(flags))
