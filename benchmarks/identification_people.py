# SPDX-License-Identifier: Apache-2.0
"""Count whom the runs of `benchmarks/identification.py` ask about: recordings, dates, and pairs of recordings.

    python benchmarks/identification_people.py --data ECGIDDB --data LUDB --data PTBXL

Writes counts, and nobody's name, to `benchmarks/identification_people.json`, to which the words of
docs/methods/identification.md are tied. A minute for PTB-XL, seconds for the others.
"""

from __future__ import annotations

import argparse
from collections import Counter
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from identification import RUNS

from ecglens.cohort import Cohort
from ecglens.datasets.load import load_cohort
from ecglens.privacy.protocols import make_splits
from ecglens.privacy.windows import count_age_groups, cut_windows
from ecglens.runs.files import read_json, write_json

COUNTS = Path(__file__).with_suffix(".json")
RUN_OF = {"ecgiddb": "ecgid", "ptbxl": "repeats"}  # strangers are compared in these, in so many folds, seed 0


def counted(cohort: Cohort) -> dict[str, Any]:
    """Return how many people, recordings, dates and pairs of one person there are, as windows are cut.

    absent, excluded   records whose files this copy lacks, or that give no window, by reason
    most_recordings    of one person; `most_used` of them give windows
    pairs              of recordings of one person; `pairs_of_one_date`, and `folds` those of each fold and how many of
                       them are of the person who has most
    """
    windowed = cut_windows([cohort])
    recordings = windowed.table.drop_duplicates("recording")
    used, dates = recordings.groupby("person").size(), recordings.groupby("person")["date"].nunique()
    told: dict[str, Any] = {
        "n_people": windowed.n_people, "n_recordings": windowed.n_records,
        "absent": sum(each.kind == "absent" for each in cohort.excluded),
        "excluded": dict(Counter(each.kind for each in windowed.excluded)),
        "age_groups": count_age_groups(windowed.table),
        "most_recordings": max(Counter(filter(None, cohort.patient_keys)).values()), "most_used": int(used.max()),
        "people_of_most_used": int((used == used.max()).sum()),
        "with_two_recordings": int((used > 1).sum()), "with_two_dates": int((dates > 1).sum()),
        "of_one_date": int((dates == 1).sum()), "pairs": _pairs(used),
        "pairs_of_one_date": _pairs(recordings.groupby(["person", "date"]).size()), "folds": None,
    }  # fmt: skip
    if cohort.name in RUN_OF:
        told["folds"] = []
        for split in make_splits(windowed.table, "verification", n_folds=RUNS[RUN_OF[cohort.name]]["n_folds"], seed=0):
            asked = windowed.table.iloc[np.concatenate([split.enrol, split.probe])].drop_duplicates("recording")
            own = asked.groupby("person").size()
            told["folds"].append({"pairs": _pairs(own), "of_the_largest": comb(int(own.max()), 2)})
    return told


def _pairs(sizes: pd.Series) -> int:
    return sum(comb(int(n), 2) for n in sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, action="append", help="folder of a data set")
    told = read_json(COUNTS) if COUNTS.exists() else {}
    for folder in parser.parse_args().data:
        cohort = load_cohort(folder, keep_unlabelled=True)
        told[cohort.name] = counted(cohort)
    write_json(COUNTS, told)


if __name__ == "__main__":
    main()
