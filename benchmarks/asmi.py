# SPDX-License-Identifier: Apache-2.0
"""Clusters inside anteroseptal infarction (ASMI): told apart by an R wave in V1 to V3, and by sex, as xai4ecg reports?

    ecglens find-subtypes FAMILY --data PTBXL --group ASMI --task diagnostic --by signals --out DIR
    python benchmarks/asmi.py PTBXL NAME=DIR ...

The R waves are measured on the records, not by the network. Means over records with 95 % intervals over patients. Adds
to `benchmarks/asmi.json`; no record's name or figure is kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort
from ecglens.concepts.subtype_study import Subtyped
from ecglens.datasets.load import load_cohort
from ecglens.runs.files import read_json, write_json
from ecglens.statistics.bootstrap import drawn_figure, patient_weights
from ecglens.waveform.delineate import delineate
from ecglens.waveform.measure import measure

OUT = Path(__file__).with_suffix(".json")
LEADS = ("V1", "V2", "V3")
QS = 0.05  # mV; a complex with less has no R


def r_waves(cohort: Cohort, records: list[str]) -> np.ndarray:
    """Return the height of R in LEADS, in mV [record, lead]: 0 where the lead shows none, NaN where it was not seen."""
    place = {record: i for i, record in enumerate(cohort.record_ids)}
    out = np.full((len(records), len(LEADS)), np.nan)
    for k, record in enumerate(records):
        ecg = cohort[place[record]]
        found = measure(ecg, delineate(ecg)).leads
        for j, lead in enumerate(LEADS):
            one = found[lead]["r_mv"]
            if one.value is not None or one.status == "none":
                out[k, j] = one.value or 0.0
    return out


def clusters(table: pd.DataFrame, heights: np.ndarray, people: list[str]) -> list[dict[str, Any]]:
    """Return of each cluster how many records it has, its mean R waves, and how often all three leads lack one."""
    drawn = np.concatenate([np.ones((1, len(people))), patient_weights(people, 2000, 0)])
    figures = {f"R in {lead}, mV": heights[:, j] for j, lead in enumerate(LEADS)}
    figures["no R in V1 to V3"] = np.where(np.isnan(heights).any(axis=1), np.nan, (heights < QS).all(axis=1))
    told = []
    for cluster in sorted(set(table["cluster"])):
        of = (table["cluster"] == cluster).to_numpy()
        row: dict[str, Any] = {"cluster": int(cluster), "n": int(of.sum())}
        for name, values in figures.items():
            here = of & ~np.isnan(values)
            row[name] = drawn_figure(drawn[:, here] @ values[here] / np.maximum(drawn[:, here].sum(axis=1), 1e-12))
        told.append(row)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("runs", nargs="+", metavar="NAME=DIR")
    asked = parser.parse_args()
    cohort = load_cohort(asked.data, keep_unlabelled=True)
    owner = dict(zip(cohort.record_ids, cohort.patient_keys, strict=True))
    known, heights = read_json(OUT) if OUT.exists() else {}, dict[str, np.ndarray]()
    for text in asked.runs:
        name, _, folder = text.partition("=")
        found = Subtyped.open(Path(folder))
        table = found.run.read_table("records").astype({"record_id": str})
        new = [record for record in table["record_id"] if record not in heights]
        heights |= dict(zip(new, r_waves(cohort, new), strict=True))
        measured = np.stack([heights[record] for record in table["record_id"]])
        people = [str(owner[record]) for record in table["record_id"]]
        about = found.about
        row = {key: about[key] for key in ("by", "group", "target", "chosen", "n", "n_patients", "label_rule")}
        known |= {name: row | {"clusters": [
            told | {key: one[key] for key in ("share_female", "age", "probabilities")}
            for told, one in zip(clusters(table, measured, people), about["clusters"], strict=True)
        ], "differences": about["differences"]}}  # fmt: skip
    write_json(OUT, known)


if __name__ == "__main__":
    main()
