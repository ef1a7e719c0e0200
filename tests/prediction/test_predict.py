# SPDX-License-Identifier: Apache-2.0
"""`predict` is the arithmetic one would write by hand, whatever the order of leads and however records are grouped."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import butter, resample_poly, sosfiltfilt

from ecglens.bundle import Bundle, Output
from ecglens.cohort import Cohort
from ecglens.ecg import ECG
from ecglens.errors import ContractError, FormatError, InputError, SignalError, UnsafeError
from ecglens.formats.wfdb import write_wfdb
from ecglens.leads import STANDARD_LEADS
from ecglens.prediction.predict import predict, predict_files, predict_raw
from ecglens.preprocessing.pipeline import Preprocessing
from ecglens.preprocessing.prepare import prepare
from ecglens.simulation.cohort import simulate_ecg


def by_hand(bundle: Bundle, ecg: ECG) -> np.ndarray:
    """The pipeline written out in float64: 100 Hz, 0.5-40 Hz, z-score of the record, windows, mean logit, sigmoid."""
    signal = np.stack([ecg[lead] for lead in STANDARD_LEADS]).astype(np.float64)
    signal = resample_poly(signal, 100, round(ecg.fs), axis=1)
    signal = sosfiltfilt(butter(2, [0.5, 40.0], "bandpass", fs=100, output="sos"), signal, axis=1)
    signal = (signal - signal.mean()) / signal.std()
    last = signal.shape[1] - 250
    windows = [signal[:, start : start + 250] for start in sorted({*range(0, last + 1, 125), last})]
    network = copy.deepcopy(bundle.network).double().eval()
    with torch.no_grad():
        logits = network(torch.from_numpy(np.stack(windows))).mean(dim=0).numpy()
    temperature, offset = np.array([(output.temperature, output.offset) for output in bundle.outputs]).T
    return 1 / (1 + np.exp(-(logits / temperature + offset)))


@pytest.mark.parametrize(("fs", "duration"), [(500.0, 10.0), (500.0, 11.37), (1000.0, 10.0), (400.0, 30.0)])
def test_equals_the_pipeline_written_by_hand(tiny_bundle: Bundle, fs: float, duration: float) -> None:
    # so that they are tested, too
    assert any(abs(output.temperature - 1) > 0.01 and abs(output.offset) > 0.01 for output in tiny_bundle.outputs)
    for condition in ("NORM", "IMI", "CLBBB"):
        ecg = simulate_ecg(f"by-hand-{condition}", condition, fs=fs, duration=duration).ecg
        prediction = predict(tiny_bundle, ecg)
        np.testing.assert_allclose(list(prediction.probabilities.values()), by_hand(tiny_bundle, ecg), atol=1e-5)
        assert tuple(prediction.probabilities) == tiny_bundle.classes
        for name, threshold in zip(tiny_bundle.classes, tiny_bundle.thresholds, strict=True):
            assert prediction.decisions[name] == (prediction.probabilities[name] >= threshold)


def test_together_is_one_by_one(tiny_bundle: Bundle, small_cohort: Cohort) -> None:
    few = small_cohort.take(range(0, 66, 2))
    together = tiny_bundle.activate(predict_raw(tiny_bundle, prepare(few, tiny_bundle.preprocessing).signals))
    one_by_one = [list(predict(tiny_bundle, ecg).probabilities.values()) for ecg in few.records]
    np.testing.assert_allclose(together, one_by_one, rtol=0, atol=1e-6)


def test_records_of_different_lengths_together(tiny_bundle: Bundle) -> None:
    lengths = (10.0, 13.0, 10.0, 12.5)
    ecgs = [simulate_ecg(f"l{k}", "IMI", duration=duration).ecg for k, duration in enumerate(lengths)]
    signals = [np.asarray(tiny_bundle.preprocessing.apply([ecg]).signal)[0] for ecg in ecgs]
    together = predict_raw(tiny_bundle, signals)
    for row, signal in zip(together, signals, strict=True):
        np.testing.assert_allclose(row, predict_raw(tiny_bundle, [signal])[0], rtol=0, atol=1e-6)


def test_the_order_of_leads_does_not_matter(tiny_bundle: Bundle, small_cohort: Cohort) -> None:
    ecg = small_cohort[4]
    expected = predict(tiny_bundle, ecg).probabilities
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(12)
        shuffled = ECG(ecg.signal[order], ecg.fs, tuple(ecg.leads[k] for k in order), ecg.record_id)
        assert predict(tiny_bundle, shuffled).probabilities == expected
    swapped = ECG(ecg.signal, ecg.fs, (*ecg.leads[:6], "V2", "V1", *ecg.leads[8:]), ecg.record_id)
    assert predict(tiny_bundle, swapped).probabilities != expected  # names decide, so wrong names must show


def test_extra_leads_are_left_out_and_said(tiny_bundle: Bundle, small_cohort: Cohort) -> None:
    ecg = small_cohort[0]
    wide = ECG(np.vstack([ecg.signal[:1] * 3, ecg.signal]), ecg.fs, ("V7", *ecg.leads), ecg.record_id)
    prediction = predict(tiny_bundle, wide)
    assert prediction.probabilities == predict(tiny_bundle, ecg).probabilities
    assert [finding.kind for finding in prediction.flags] == ["extra_leads"]


def test_a_network_left_in_training_mode_predicts_the_same(tiny_bundle: Bundle, small_cohort: Cohort) -> None:
    expected = predict(tiny_bundle, small_cohort[0]).probabilities
    sha, network = tiny_bundle.weights_sha256, tiny_bundle.network
    network.train()
    try:
        assert predict(tiny_bundle, small_cohort[0]).probabilities == expected
        assert network.training
    finally:
        network.eval()
    assert tiny_bundle.weights_sha256 == sha  # batch norm has not learnt from the test


def test_no_threshold_no_decision(tiny_bundle: Bundle, small_cohort: Cohort) -> None:
    first, *rest = tiny_bundle.outputs
    undecided = replace(tiny_bundle, outputs=(replace(first, threshold=None), *rest))
    assert set(predict(undecided, small_cohort[0]).decisions) == {output.name for output in rest}


def test_the_rate_must_be_the_bundles(tiny_bundle: Bundle, small_cohort: Cohort) -> None:
    steps = tiny_bundle.preprocessing
    unresampled = replace(tiny_bundle, preprocessing=Preprocessing(steps.admission, (), steps.windows))
    with pytest.raises(ContractError) as caught:
        predict(unresampled, small_cohort[0])
    assert caught.value.kind == "sampling_rate"


def test_what_cannot_be_used_raises_its_reason(tiny_bundle: Bundle, small_cohort: Cohort) -> None:
    ecg = small_cohort[0]
    signal = ecg.signal.copy()
    signal[7] = 0.25
    for wrong, error, kind in [
        (ecg.crop(0, 3), ContractError, "too_short"), (ecg.select(("I", "II", "V1")), SignalError, "missing_lead"),
        (replace(ecg, signal=signal), SignalError, "flat_lead"),
        (replace(ecg, signal=ecg.signal * 1000), SignalError, "amplitude"),
    ]:  # fmt: skip
        with pytest.raises(error) as caught:
            predict(tiny_bundle, wrong)
        assert caught.value.kind == kind


def test_a_batch_of_files_goes_on_without_the_bad_ones(
    tiny_bundle: Bundle, small_cohort: Cohort, tmp_path: Path
) -> None:
    paths = [write_wfdb(small_cohort[k], tmp_path) for k in range(4)]
    paths[1].with_suffix(".dat").write_bytes(b"")
    (tmp_path / "link.hea").symlink_to(paths[0])
    paths = [*paths, tmp_path / "link.hea", tmp_path / "nothing.hea"]
    seen: list[tuple[int, int]] = []
    found = predict_files(tiny_bundle, paths, lambda stage, done, total, note: seen.append((done, total)))
    assert [type(p.rejected) for p in found] == [
        type(None), FormatError, type(None), type(None), UnsafeError, InputError,
    ]  # fmt: skip
    assert [bool(p.probabilities) for p in found] == [True, False, True, True, False, False]
    assert [p.record_id for p in found] == [path.stem for path in paths]
    assert seen == [(k + 1, 6) for k in range(6)]
    alone = predict_files(tiny_bundle, paths[3:4])[0]
    assert alone == found[3]


def test_regression_outputs_are_not_squeezed(small_cohort: Cohort, tiny_bundle: Bundle) -> None:
    outputs = tuple(Output(name, "regression", "years") for name in tiny_bundle.classes)
    found = predict(replace(tiny_bundle, outputs=outputs), small_cohort[0])
    logits = predict_raw(tiny_bundle, [np.asarray(tiny_bundle.preprocessing.apply([small_cohort[0]]).signal)[0]])[0]
    np.testing.assert_allclose(list(found.probabilities.values()), logits, rtol=0, atol=1e-12)
    assert found.decisions == {}
