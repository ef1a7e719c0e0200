# SPDX-License-Identifier: Apache-2.0
"""What `segment_states` found, put together; and read back."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.concepts.state_alignment import PARTS, Alignment
from ecglens.concepts.state_network import Read
from ecglens.concepts.states import runs_of
from ecglens.runs.files import read_bytes, read_json, write_bytes
from ecglens.runs.journal import Journal
from ecglens.runs.run import Run
from ecglens.statistics.bootstrap import interval, patient_weights
from ecglens.statistics.figures import json_number
from ecglens.statistics.multiplicity import holm

RESULT = "states.json"
RECORDS, SEQUENCES = "records", "sequences"
N_RESAMPLES = 1000
_MAX_ARRAYS = 2**31  # bytes


@dataclass(frozen=True, eq=False)
class Segmented:
    """A finished run of `segment-states`: the folder, and what its `states.json` holds."""

    run: Run
    about: dict[str, Any]

    @classmethod
    def open(cls, folder: str | Path) -> Segmented:
        """Open a finished run. Raises InputError where it is another one, or is not finished."""
        run = Run.finished(folder, "segment-states")
        return cls(run, read_json(run.folder / RESULT))

    @property
    def sequences(self) -> pd.DataFrame:
        """Each record as a sequence of states: record_id, start_s, stop_s, state, uncertainty."""
        table = self.run.read_table(SEQUENCES)
        return pd.DataFrame() if table is None else table

    def as_dict(self) -> dict[str, Any]:
        """Return the result as it stands in JSON output."""
        return self.about


def joined(reads: Sequence[Read]) -> Read:
    """Put the records of several networks behind each other; strips of unlike length are filled up."""
    parts = {}
    for field in fields(Read):
        values = [getattr(read, field.name) for read in reads]
        if field.name in ("strips", "doubts"):
            longest = max(value.shape[1] for value in values)
            empty = -1 if field.name == "strips" else np.nan
            values = [np.pad(v, ((0, 0), (0, longest - v.shape[1])), constant_values=empty) for v in values]
        parts[field.name] = np.concatenate(values)
    return Read(**parts)


def undecided(read: Read) -> dict[str, float]:
    """Return quartiles of the uncertainty of samples, and the share that is nearly certain (below 0.01)."""
    values = read.doubts[np.isfinite(read.doubts)]
    q25, median, q75 = np.quantile(values, [0.25, 0.5, 0.75])
    return {"q25": float(q25), "median": float(median), "q75": float(q75), "certain": float((values < 0.01).mean())}


def states_of(
    read: Read,
    alignment: Alignment,
    labels: np.ndarray,
    classes: Sequence[str],
    people: Sequence[str],
    seed: int,
) -> list[dict[str, Any]]:
    """Return what is known of each state: JSON-ready.

    labels   [record, class] 1, 0, NaN

    `contribution` is the mean over the records that have the class; `share_by_class` likewise. What a state speaks for
    is its `strength`: what it would add to the logit of a record that were wholly in it, from all records.
    """
    weights = patient_weights(people, N_RESAMPLES, seed).astype(np.float64)
    corrected = holm(alignment.p_values)
    out = []
    for k in range(read.shares.shape[1]):
        total = read.shares[:, k].sum()
        contribution, held, strength = {}, {}, {}
        for j, name in enumerate(classes):
            has = labels[:, j] == 1
            contribution[name] = mean_figure(read.contributions[:, k, j], has, weights)
            held[name] = mean_figure(read.shares[:, k], has, weights)
            strength[name] = ratio_figure(read.contributions[:, k, j], read.shares[:, k], weights)
        out.append({
            "id": k + 1, "share": json_number(float(read.shares[:, k].mean())),
            "entropy": json_number(float(read.undecided[:, k].sum() / total)) if total > 0 else None,
            "segments": _segments(alignment, corrected, k), "contribution": contribution, "strength": strength,
            "share_by_class": held,
        })  # fmt: skip
    return out


def uncertainty_by_class(
    read: Read, labels: np.ndarray, classes: Sequence[str], people: Sequence[str], seed: int
) -> dict[str, dict[str, Any]]:
    """Return the mean uncertainty of the records that have each class, and of all, with intervals over patients."""
    weights = patient_weights(people, N_RESAMPLES, seed).astype(np.float64)
    whom = {name: labels[:, j] == 1 for j, name in enumerate(classes)} | {"all": np.ones(len(labels), bool)}
    return {name: mean_figure(read.uncertainty, here, weights) for name, here in whom.items()}


def ratio_figure(values: np.ndarray, shares: np.ndarray, weights: NDArray[np.float64]) -> dict[str, Any]:
    """Return sum of values over sum of shares [record], with its interval over patients; None without any share."""
    if shares.sum() <= 0:
        return {"value": None, "low": None, "high": None, "n": len(values)}
    mass = weights @ shares
    low, high, _ = interval(np.where(mass > 0, weights @ values / np.maximum(mass, 1e-12), np.nan))
    value = float(values.sum() / shares.sum())
    return {"value": value, "low": json_number(low), "high": json_number(high), "n": len(values)}


def mean_figure(values: np.ndarray, here: np.ndarray, weights: NDArray[np.float64]) -> dict[str, Any]:
    """Return the mean of values [record] over the records that are `here`, with its interval over patients."""
    return ratio_figure(np.where(here, values, 0.0), here.astype(float), weights) | {"n": int(here.sum())}


def _segments(alignment: Alignment, corrected: np.ndarray, k: int) -> dict[str, Any]:
    share, lift = alignment.share, alignment.lift
    return {
        part: {"share": json_number(share[k, j]), "lift": json_number(lift[k, j]), "p": json_number(corrected[k, j])}
        for j, part in enumerate(PARTS)
    }


def record_table(
    record_ids: Sequence[str], networks: Sequence[str], read: Read, probabilities: np.ndarray, decided: np.ndarray,
    classes: Sequence[str],
) -> pd.DataFrame:  # fmt: skip
    """Return one row per record: network, share of each state, uncertainty, and per class probability, call, logit,
    certainty and what each state adds."""
    table: dict[str, Any] = {"record_id": list(record_ids), "network": list(networks), "uncertainty": read.uncertainty}
    table |= {f"share_{k + 1}": read.shares[:, k] for k in range(read.shares.shape[1])}
    for j, name in enumerate(classes):
        table |= {
            f"probability_{name}": probabilities[:, j], f"called_{name}": decided[:, j].astype(int),
            f"logit_{name}": read.logits[:, j], f"certainty_{name}": 1 - read.doubt[:, j],
        }  # fmt: skip
        table |= {f"adds_{k + 1}_{name}": read.contributions[:, k, j] for k in range(read.shares.shape[1])}
    return pd.DataFrame(table)


def sequence_table(record_ids: Sequence[str], read: Read, lengths: Sequence[int], fs: float) -> pd.DataFrame:
    """Return each record as a sequence: record_id, start_s, stop_s (from its beginning), state, uncertainty."""
    rows = []
    for name, strip, doubt, length in zip(record_ids, read.strips, read.doubts, lengths, strict=True):
        for first, last, state in runs_of(strip[:length]):
            rows.append((name, first / fs, last / fs, state + 1, round(float(doubt[first:last].mean()), 4)))
    return pd.DataFrame(rows, columns=["record_id", "start_s", "stop_s", "state", "uncertainty"])


def told_in_states(
    record: str, target: str, logit: float, reference: float, adds: np.ndarray, shares: np.ndarray,
    mostly: Sequence[str],
) -> str:  # fmt: skip
    """Say one record in states: what an average ECG gets, and what each state adds to it.

    adds, shares   [state]; mostly: the part of the beat that each state is more often in, "" for none
    """
    order = [int(k) for k in np.argsort(-np.abs(adds))]
    named = [k for k in order if abs(adds[k]) >= 0.1 * np.abs(adds).sum()][:4] or order[:1]
    parts = [
        f"state {k + 1}{f' (more often in {mostly[k]})' if mostly[k] else ''} adds {_signed(adds[k])} "
        f"with a membership of {shares[k]:.0%}"
        for k in named
    ]
    rest = float(sum(adds[k] for k in order if k not in named))
    others = f", all others {_signed(rest)}" if len(named) < len(adds) else ""
    return (
        f"Record {record}: average features get a logit of {_signed(reference)} for {target}; "
        f"{'; '.join(parts)}{others}. Together {_signed(logit)}."
    )


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\u2212")


def preferred_parts(states: Sequence[dict[str, Any]], level: float = 0.05, lift: float = 1.5) -> list[str]:
    """Return for each state the part that it is most often in beyond its share of time (at least 1.5 times), or ""."""
    out = []
    for one in states:
        found = {
            part: cell["lift"] for part, cell in one["segments"].items()
            if cell["lift"] is not None and cell["lift"] >= lift and cell["p"] is not None and cell["p"] < level
        }  # fmt: skip
        out.append(max(found, key=lambda part: found[part]) if found else "")
    return out


def kept(run: Run, journal: Journal, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return arrays by name: made once, then read back from `arrays/NAME.npz`."""
    path = run.folder / "arrays" / f"{name}.npz"
    if name not in journal.keys("arrays"):
        buffer = io.BytesIO()
        np.savez(buffer, **make())  # type: ignore[arg-type]
        write_bytes(path, buffer.getvalue())
        journal.record("arrays", name, True)
    with np.load(io.BytesIO(read_bytes(path, _MAX_ARRAYS)), allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}
