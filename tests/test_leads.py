# SPDX-License-Identifier: Apache-2.0
"""Lead names, and the algebra of the limb leads re-derived from electrode potentials."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from ecglens.leads import (
    LIMB_ALGEBRA,
    LIMB_LEADS,
    PRECORDIAL_LEADS,
    STANDARD_LEADS,
    canonical_lead,
    derivable,
    derive_limb_lead,
    limb_residual,
)


def limb_leads_of(ra: np.ndarray, la: np.ndarray, ll: np.ndarray) -> dict[str, np.ndarray]:
    """Each lead by its definition: a difference of electrodes, or a limb against the mean of the other two."""
    return {
        "I": la - ra, "II": ll - ra, "III": ll - la,
        "aVR": ra - (la + ll) / 2, "aVL": la - (ra + ll) / 2, "aVF": ll - (ra + la) / 2,
    }  # fmt: skip


@pytest.fixture
def truth() -> dict[str, np.ndarray]:
    return limb_leads_of(*np.random.default_rng(0).normal(size=(3, 50)))


def test_standard_leads_in_clinical_order():
    assert " ".join(STANDARD_LEADS) == "I II III aVR aVL aVF V1 V2 V3 V4 V5 V6"
    assert set(LIMB_LEADS).isdisjoint(PRECORDIAL_LEADS)


@pytest.mark.parametrize(
    ("name", "standard"),
    [("AVR", "aVR"), ("avl", "aVL"), (" V1 ", "V1"), ("v6", "V6"), ("DI", "I"), ("dII", "II"), ("D3", "III"),
     ("Lead II", "II"), ("LEAD V4", "V4"), ("C1", "V1"), ("c6", "V6"), ("MLII", "MLII"), ("V9", "V9"), ("C7", "C7")],
)  # fmt: skip
def test_names_and_aliases(name, standard):
    assert canonical_lead(name) == standard
    assert canonical_lead(canonical_lead(name)) == standard


def test_algebra_is_that_of_the_electrodes(truth):
    for name, (of_i, of_ii) in LIMB_ALGEBRA.items():
        np.testing.assert_allclose(of_i * truth["I"] + of_ii * truth["II"], truth[name], atol=1e-12)


@pytest.mark.parametrize("pair", list(combinations(LIMB_LEADS, 2)))
@pytest.mark.parametrize("wanted", LIMB_LEADS)
def test_any_two_limb_leads_give_any_other(truth, pair, wanted):
    signal = np.stack([truth[name] for name in pair]).astype(np.float32)
    derived = derive_limb_lead(signal, pair, wanted)
    assert derived.dtype == np.float32
    np.testing.assert_allclose(derived, truth[wanted], atol=2e-6)


def test_derivable_needs_two_limb_leads():
    assert derivable(("aVF", "aVL", "V1"), "I")
    assert not derivable(("I", "V1", "V2"), "II")
    assert not derivable(("I", "II"), "V1")
    with pytest.raises(KeyError):
        derive_limb_lead(np.zeros((1, 3), np.float32), ("I",), "II")
    with pytest.raises(KeyError):
        derive_limb_lead(np.zeros((2, 3), np.float32), ("I", "II"), "V1")


def test_gap_in_a_source_is_a_gap_in_the_derived_lead(truth):
    signal = np.stack([truth["I"], truth["II"]]).astype(np.float32)
    signal[1, 10:20] = np.nan
    assert np.flatnonzero(np.isnan(derive_limb_lead(signal, ("I", "II"), "III"))).tolist() == list(range(10, 20))


def test_residual_finds_the_planted_violation_and_passes_over_gaps(truth):
    signal = np.stack([truth[name] for name in LIMB_LEADS]).astype(np.float32)
    assert limb_residual(signal, LIMB_LEADS) < 2e-6
    signal[0, 3] = np.nan
    signal[4, 7] += 0.25
    assert limb_residual(signal, LIMB_LEADS) == pytest.approx(0.25, abs=1e-5)


def test_residual_of_too_few_or_all_missing():
    assert limb_residual(np.zeros((3, 5), np.float32), ("I", "II", "V1")) is None
    assert limb_residual(np.full((3, 5), np.nan, np.float32), ("I", "II", "III")) == 0.0
