# SPDX-License-Identifier: Apache-2.0
"""PhysioNet/CinC Challenge 2021 (Reyna et al.): 12-lead ECGs of eight sources, diagnoses as SNOMED-CT codes.

CPSC and CPSC-Extra, St Petersburg, PTB, PTB-XL, Georgia, Chapman-Shaoxing and Ningbo, as `.hea` and `.mat`, the whole
of them or any folder of one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort, Excluded
from ecglens.datasets.records import (
    Part,
    Recording,
    age_and_sex,
    cohort_of_parts,
    comments,
    first_headers,
    left_out,
)
from ecglens.errors import InputError, UnsafeError, UsageError
from ecglens.formats.read import record_paths

# The organisers' 26 scored classes, by their abbreviation; two codes where they count two as one.
SCORED: dict[str, tuple[str, ...]] = {
    "AF": ("164889003",), "AFL": ("164890007",), "BBB": ("6374002",), "Brady": ("426627000",),
    "CLBBB|LBBB": ("733534002", "164909002"), "CRBBB|RBBB": ("713427006", "59118001"), "IAVB": ("270492004",),
    "IRBBB": ("713426002",), "LAD": ("39732003",), "LAnFB": ("445118002",), "LPR": ("164947007",),
    "LQRSV": ("251146004",), "LQT": ("111975006",), "NSIVCB": ("698252002",), "NSR": ("426783006",),
    "PAC|SVPB": ("284470004", "63593006"), "PR": ("10370003",), "PRWP": ("365413008",),
    "PVC|VPB": ("427172004", "17338001"), "QAb": ("164917005",), "RAD": ("47665007",), "SA": ("427393009",),
    "SB": ("426177001",), "STach": ("427084000",), "TAb": ("164934002",), "TInv": ("59931005",),
}  # fmt: skip
TASKS = ("scored", "all")
# How the organisers named the records of each source; Chapman-Shaoxing and Ningbo share JS.
SOURCES_BY_PREFIX = {
    "A": "CPSC", "Q": "CPSC-Extra", "I": "St Petersburg", "S": "PTB", "HR": "PTB-XL", "E": "Georgia",
    "JS": "Chapman-Shaoxing or Ningbo",
}  # fmt: skip
_DX = re.compile(r"Dx\s*:\s*(.*)")
_PREFIX = re.compile(r"([A-Z]+)\d+")


def recognises(folder: Path) -> bool:
    """Tell whether the first header in a folder has the Challenge's comment of diagnoses."""
    try:
        return any(_DX.fullmatch(line) for path in first_headers(folder) for line in comments(path))
    except (InputError, UnsafeError):
        return False


def load_challenge2021(root: str | Path, task: str = "scored") -> Cohort:
    """Load every record in `root` and below.

    task  scored: the organisers' 26 classes; all: every SNOMED-CT code that occurs, by its number

    Nobody is known: the Challenge publishes no patient ids, and PTB, PTB-XL and CPSC-Extra have several records of
    some people. `site` tells the source. A header without a diagnosis has unknown labels.

    Raises UsageError for an unknown task, InputError where there are no records.
    """
    root = Path(root)
    if task not in TASKS:
        raise UsageError("load_challenge2021", "task", task, ", ".join(TASKS))
    recordings: dict[str, Recording] = {}
    codes: dict[str, frozenset[str]] = {}
    excluded = []
    for path in record_paths(root):
        if path.suffix != ".hea":  # the `.mat` beside it
            continue
        if path.stem in recordings:
            excluded.append(Excluded(path.stem, "duplicate_id", f"{path.relative_to(root)}: this id was there before"))
            continue
        try:
            lines = comments(path)
        except (InputError, UnsafeError) as error:
            excluded.append(left_out(path.stem, error))
            continue
        recordings[path.stem] = Recording(path.stem, path, _person(path.stem, lines))
        codes[path.stem] = _codes(lines)
    # Headers are not parsed now: that would take half a minute for the whole of it, and reading does it anyway.
    parts = [(recording, Part(recording.record_id, recording.path)) for recording in recordings.values()]
    classes = SCORED if task == "scored" else {code: (code,) for code in sorted(set().union(*codes.values()))}
    ids = [part.record_id for _, part in parts]
    labels = pd.DataFrame([_row(codes[i], classes) for i in ids], index=ids, columns=list(classes), dtype=float)
    return cohort_of_parts(
        "challenge2021", parts, labels,
        f"Challenge 2021 {task}: 1 where the header's Dx has a SNOMED-CT code of the class, 0 where only others, "
        "unknown where it has none",
        excluded=excluded,
    )  # fmt: skip


def _person(record: str, lines: list[str]) -> dict[str, object]:
    age, sex = age_and_sex(lines)
    prefix = _PREFIX.fullmatch(record)
    return {"patient_id": None, "age": age, "sex": sex, "site": SOURCES_BY_PREFIX.get(prefix[1]) if prefix else None}


def _codes(lines: list[str]) -> frozenset[str]:
    found = [match[1] for line in lines if (match := _DX.fullmatch(line))]
    return frozenset(code for text in found for code in re.split(r"[,\s]+", text) if code.isdecimal())


def _row(codes: frozenset[str], classes: Mapping[str, tuple[str, ...]]) -> list[float]:
    return [float(not codes.isdisjoint(members)) if codes else np.nan for members in classes.values()]
