# SPDX-License-Identifier: Apache-2.0
"""Small cohorts of people with several recordings, and tables of windows as the protocols take them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ecglens.cohort import Cohort
from ecglens.ecg import ECG
from ecglens.privacy.windows import age_group


def beats(person: int, seed: int, seconds: float = 20.0, fs: float = 250.0) -> np.ndarray:
    """One lead [time], in mV: a person has a shape of beat (R, T and their distance), a recording its rhythm."""
    own, random = np.random.default_rng(person), np.random.default_rng([person, seed])
    t = np.arange(round(seconds * fs)) / fs
    tall, wide, delay, late = own.uniform(0.7, 1.6), own.uniform(8, 16), own.uniform(0.22, 0.32), own.uniform(0.1, 0.5)
    signal = 0.01 * random.normal(size=t.size)
    at = 0.3 + 0.1 * random.random()
    while at < seconds:
        for centre, width, height in ((0, wide, tall), (0.035, 9, -0.5 * late), (delay, 40, late), (-0.15, 18, 0.12)):
            signal += height * np.exp(-(((t - at - centre) * 1000) ** 2) / (2 * width**2))
        at += 0.8 + 0.05 * random.normal()
    return signal.astype(np.float32)


def people_cohort(
    n_people: int = 12, n_recordings: int = 3, seconds: float = 20.0, name: str = "toy", first: int = 0
) -> Cohort:
    """`n_people` with `n_recordings` each, on different dates; ages and sexes known."""
    ecgs, rows = [], []
    for person in range(first, first + n_people):
        for k in range(n_recordings):
            ecgs.append(ECG(beats(person, k, seconds)[None], 250.0, ("I",), record_id=f"p{person}r{k}"))
            rows.append({"patient_id": str(person), "age": 20.0 + 20 * (person % 3), "date": f"2024-0{k + 1}-01",
                         "sex": "male" if person % 2 else "female"})  # fmt: skip
    ids = [ecg.record_id for ecg in ecgs]
    return Cohort(name, ecgs, pd.DataFrame(index=ids), pd.DataFrame(rows, index=ids))


@pytest.fixture(scope="session")
def toy() -> Cohort:
    return people_cohort()


def table_of(
    people: int = 12, recordings: int = 3, windows: int = 2, seconds: float = 20.0, database: str = "a", **changed
) -> pd.DataFrame:
    """A table of windows as `cut_windows` makes it, without any signal."""
    rows = []
    for p in range(people):
        for r in range(recordings):
            for start in np.linspace(0, seconds - 8, windows):
                age = 25.0 + 15 * (p % 3)
                rows.append({
                    "person": f"{database}:{p}", "database": database, "record": f"{database}:{p}/{r}",
                    "recording": f"{database}:{p}/{r}", "date": f"2024-01-{1 + r:02d}", "start": float(start),
                    "stop": float(start + 8), "lead": "I", "sex": ("male", "female")[p % 2], "age": age,
                    "age_group": age_group(age), "fingerprint": f"{database}{p}/{r}",
                })  # fmt: skip
    return pd.DataFrame(rows).assign(**changed)
