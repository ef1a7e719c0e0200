# SPDX-License-Identifier: Apache-2.0
"""PTB-XL+ (Strodthoff et al. 2023): what three programs measured on PTB-XL's records, to be joined by record id.

It holds no ECGs of its own: 12SL and the University of Glasgow's program give features, ECGdeli features and the
fiducial points of every lead. All are a program's output, not truth. Written to the published layout (1.0.1), without
the release itself at hand. Its median beats are not read: 12SL's headers do not name their own files, and Glasgow's
amplitudes are a thousand times too large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ecglens.cohort import Lazy
from ecglens.datasets.events import Event, read_events
from ecglens.datasets.records import credit
from ecglens.datasets.tables import read_table
from ecglens.errors import FormatError, InputError, UsageError
from ecglens.fiducials import MARKS, WAVES, Fiducials
from ecglens.leads import STANDARD_LEADS

FEATURES = {name: f"features/{name}_features.csv" for name in ("12sl", "unig", "ecgdeli")}
POINTS = "fiducial_points/ecgdeli"
FS = 500.0
# The note of each point in ECGdeli's annotation files -> mark.
NOTES = {
    "p-wave onset": "P_onset", "p-wave peak": "P_peak", "p-wave offset": "P_offset",
    "QRS onset": "QRS_onset", "Q peak": "Q_peak", "R peak": "R_peak", "S peak": "S_peak", "QRS offset": "QRS_offset",
    "t-wave onset": "T_onset", "t-wave peak": "T_peak", "t-wave offset": "T_offset",
}  # fmt: skip
_SAME_BEAT = 0.2  # s: R peaks of several leads this close are of one beat, for no heart beats again within it
_BEFORE, _AFTER = 0.5, 0.8  # s: how far from its R peak a mark can stand; further away, its own R peak is not marked
_NOT_MARKED = "not marked by ECGdeli"


@dataclass(frozen=True, eq=False)
class PtbxlPlus:
    """What PTB-XL+ says of PTB-XL's records.

    features   one row per record, one column per measured quantity, as published; index = record ids of PTB-XL
    fiducials  one per row, read when indexed; InputError where a record has no points
    source     the program that measured the features
    citation   whom to credit, and the licence
    """

    features: pd.DataFrame
    fiducials: Sequence[Fiducials]
    source: str
    citation: str

    @property
    def record_ids(self) -> tuple[str, ...]:
        """PTB-XL's record ids, in the order of the rows."""
        return tuple(str(name) for name in self.features.index)


def load_ptbxl_plus(root: str | Path, source: str = "12sl") -> PtbxlPlus:
    """Load PTB-XL+, or as much of it as lies under `root`.

    source  whose features: 12sl (GE), unig (Glasgow) or ecgdeli. Times are in ms, amplitudes in mV, angles in degrees

    Rows go by `ecg_id`, wherever that column stands: 12SL's table hides it in the middle and is not sorted.
    `features.reindex(cohort.record_ids)` lines them up with a cohort. Raises UsageError for an unknown source,
    TableError for a table without record ids or with one twice.
    """
    root = Path(root)
    if source not in FEATURES:
        raise UsageError("load_ptbxl_plus", "source", source, ", ".join(FEATURES))
    features = read_table(root / FEATURES[source], index="ecg_id", needed=())
    ids = [str(int(number)) for number in features.index]
    return PtbxlPlus(features.set_axis(ids), Lazy(partial(read_points, root), ids), source, credit("ptbxl-plus"))


def read_points(root: Path, record_id: str) -> Fiducials:
    """Return ECGdeli's fiducial points of one record of PTB-XL, in every lead that has a file.

    Leads are marked one by one; their beats are matched by their R peaks. Raises InputError where no lead has a file.
    """
    number = int(record_id)
    folder = root / POINTS / f"{number // 1000 * 1000:05d}"
    paths = {lead: folder / f"{number:05d}_points_lead_{lead}.atr" for lead in STANDARD_LEADS}
    beats = {lead: _beats(read_events(path), path) for lead, path in paths.items() if path.exists()}
    if not beats:
        raise InputError(folder, f"record {record_id}", "no points of any lead", f"{number:05d}_points_lead_*.atr",
                         kind="missing_file")  # fmt: skip
    starts = _shared_beats([beat["R_peak"] for found in beats.values() for beat in found])
    times = np.full((len(beats), len(starts), len(MARKS)), np.nan)
    for row, found in enumerate(beats.values()):
        for beat in found:
            column = int(np.searchsorted(starts, beat["R_peak"], side="right")) - 1
            times[row, column] = [beat.get(mark, np.nan) for mark in MARKS]
    return Fiducials(times, tuple(beats), "ECGdeli (PTB-XL+)", absent=_absences(times, tuple(beats)))


def _beats(events: Sequence[Event], path: Path) -> list[dict[str, float]]:
    """Return the marks of each beat of one lead, in s: of two R peaks, a P and a QRS onset go to the later one."""
    points = [(event.sample / FS, NOTES[event.note]) for event in events if event.note in NOTES]
    peaks = sorted(time for time, mark in points if mark == "R_peak")
    if events and not peaks:
        raise FormatError(path, "points", "no R peak", "one a beat, noted 'R peak'", kind="content")
    beats: list[dict[str, float]] = [{"R_peak": peak} for peak in peaks]
    for time, mark in points:
        before = MARKS.index(mark) < MARKS.index("R_peak")
        index = int(np.searchsorted(peaks, time, "left" if before else "right")) - (0 if before else 1)
        if mark == "R_peak" or not 0 <= index < len(beats):
            continue
        if not -_BEFORE <= time - peaks[index] <= _AFTER:
            continue
        # Of two of a kind beside one R peak, the nearer belongs to it.
        other = beats[index].get(mark)
        if other is None or abs(time - peaks[index]) < abs(other - peaks[index]):
            beats[index][mark] = time
    return [_in_order(beat) for beat in beats]


def _in_order(beat: dict[str, float]) -> dict[str, float]:
    """Return the marks without those that stand on the wrong side of their neighbours: their wave is not told."""
    kept: dict[str, float] = {}
    for mark in MARKS:
        if mark in beat and all(beat[mark] >= time for time in kept.values()):
            kept[mark] = beat[mark]
    return kept if "R_peak" in kept else {"R_peak": beat["R_peak"]}


def _shared_beats(peaks: Sequence[float]) -> np.ndarray:
    """Return the earliest R peak of each beat, from the R peaks of all leads."""
    starts: list[float] = []
    for peak in sorted(peaks):
        if not starts or peak - starts[-1] > _SAME_BEAT:
            starts.append(peak)
    return np.array(starts)


def _absences(times: np.ndarray, leads: tuple[str, ...]) -> dict[tuple[str, int | None, str], str]:
    absent: dict[tuple[str, int | None, str], str] = {}
    for wave, marks in WAVES.items():
        missing = np.isnan(times[:, :, [MARKS.index(mark) for mark in marks]]).all(axis=2)
        absent |= {(leads[row], int(beat), wave): _NOT_MARKED for row, beat in np.argwhere(missing)}
    return absent
