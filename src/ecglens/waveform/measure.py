# SPDX-License-Identifier: Apache-2.0
"""What an ECG measures: rate, intervals, axes, and the waves of each lead, from the median beat.

Every value carries its unit in its name, the number of beats behind it and a standard error (from leaving out a fifth
of the beats at a time; it tells how far the beats scatter, not whether the marks are right). What cannot be measured
is None with a reason; a Q, R or S that was looked for and is not there is None with status "none".

Definitions: docs/methods/measurements.md. Amplitudes are signed, as on paper: Q and S are negative.

>>> from ecglens import simulate_ecg
>>> flat = ECG(np.zeros((1, 500)), 500, ("II",))
>>> nothing = measure(flat, Fiducials(np.empty((1, 0, 11)), ("II",), "none"))
>>> nothing["qrs_ms"].value, nothing["qrs_ms"].reason
(None, 'no beat is marked')
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from ecglens.ecg import ECG
from ecglens.fiducials import MARKS, Fiducials
from ecglens.leads import derivable, derive_limb_lead
from ecglens.waveform.beats import MedianBeats, agreed, beat_times, median, median_beats
from ecglens.waveform.deflections import Deflection, deflections
from ecglens.waveform.measurements import LEAD, WHOLE, Measured, Measurements, none, unit_of, unknown
from ecglens.waveform.rate import corrected_qt, rhythm_of

Floats = NDArray[np.float64]

# How near two other leads must be to confirm an outermost mark, in s.
WITHIN = {"P": 0.012, "QRS": 0.04, "T": 0.016}
# Ends of P and QRS: speed of all leads together (root of the summed squares of slopes, over 14 ms) above its level
# before the wave, as a share of the fastest; and how far a mark is moved at most, in s.
_SMOOTH, _LASTS, _MOVES, _MOST_TRIM = 0.014, 0.024, {"P": 0.25, "QRS": 0.04}, 0.025
_LOOSE_P = 0.03  # s of spread of P before QRS, beyond which P and QRS are not linked
_SHORTEST_P, _UNSTEADY_P = 0.06, 0.025  # s; the second: standard error of its onset before QRS
_SURE_AXIS = 30.0  # degrees of standard error, beyond which there is no axis to speak of
_COLUMN = {mark: k for k, mark in enumerate(MARKS)}
_QRS_PARTS = ("q", "r", "s", "r2", "qs")


def measure(ecg: ECG, fiducials: Fiducials) -> Measurements:
    """Measure an ECG at its marks: every name of `WHOLE`, and of `LEAD` for each lead of the ECG.

    fiducials  marks of the same recording; leads that are not marked are not measured, and say so

    Nothing is raised for a poor signal: what cannot be measured has a reason.
    """
    beats = median_beats(ecg, fiducials)
    rhythm = rhythm_of(ecg, beats.times if isinstance(beats, MedianBeats) else beat_times(fiducials))
    if isinstance(beats, str):
        whole = {name: rhythm.get(name) or unknown(name, beats) for name in WHOLE}
        return Measurements(whole, {lead: {name: unknown(name, beats) for name in LEAD} for lead in ecg.leads}, None)
    found = _Median(ecg, fiducials, beats)
    whole = {**rhythm, **found.intervals(), **found.axes(), "p_terminal_force_mvms": found.terminal_force()}
    whole |= corrected_qt(whole["qt_ms"], whole["rr_ms"])
    measured = found.lead_tables()
    missing = {name: unknown(name, "this lead is not marked") for name in LEAD}
    return Measurements(
        {name: whole[name] for name in WHOLE},
        {lead: measured.get(lead, missing) for lead in ecg.leads},
        beats,
        found.ends(),
    )


# ------------------------------------------------------------------------------------------------------ the median beat


class _Median:
    """The median beats of one ECG, row 0 of each array from all beats, the others from all but one group."""

    def __init__(self, ecg: ECG, fiducials: Fiducials, beats: MedianBeats) -> None:
        self.ecg, self.fiducials, self.beats = ecg, fiducials, beats
        self.n = int(beats.used.sum())
        self.at = beats.start + np.arange(beats.signal.shape[2]) / beats.fs
        slope = np.gradient(np.nan_to_num(beats.signal), axis=2)
        kernel = np.full(max(round(_SMOOTH * beats.fs), 1), 1.0)
        total = np.sqrt((slope**2).sum(axis=1))
        self.speed = np.array([np.convolve(row, kernel / kernel.size, "same") for row in total])  # [1 + group, time]
        self.qrs_on, self.qrs_off = self._trimmed("QRS")
        self.t_on, self.t_off = self._ends("T")
        self.p_on, self.p_off = self._trimmed("P")
        self.no_p = self._why_no_p()
        if self.no_p:
            self.p_on = self.p_off = np.full_like(self.p_on, np.nan)

    def mark(self, name: str) -> Floats:
        """Return a mark of the median beats [1 + group, lead], in s from the beat's time."""
        return self.beats.marks[:, :, _COLUMN[name]]

    def _ends(self, wave: str) -> tuple[Floats, Floats]:
        """Return global onset and offset [1 + group]."""
        within = WITHIN[wave]
        return agreed(self.mark(f"{wave}_onset"), within), agreed(self.mark(f"{wave}_offset"), within, latest=True)

    def _trimmed(self, wave: str) -> tuple[Floats, Floats]:
        """Return the global ends of a wave, moved inwards to where the leads together begin and cease to move.

        Who marks by eye marks generously: docs/methods/measurements.md says what this changes.
        """
        on, off = self._ends(wave)
        if np.isnan(on + off).all():
            return on, off
        speed = self.speed
        before = (self.at >= on[:, None] - 0.04) & (self.at <= on[:, None] - 0.008)
        quiet = median(np.where(before, speed, np.nan), axis=1)
        inside = (self.at >= on[:, None]) & (self.at <= off[:, None])
        # What is exceeded for 24 ms: a pacemaker's spike is shorter, and must not make the QRS behind it look slow.
        fastest = -np.sort(-np.where(inside, speed, 0.0), axis=1)[
            :, min(round(_LASTS * self.beats.fs), speed.shape[1] - 1)
        ]
        moving = inside & (speed >= (quiet + _MOVES[wave] * (fastest - quiet))[:, None])
        first, last = self.at[moving.argmax(axis=1)], self.at[moving.shape[1] - 1 - moving[:, ::-1].argmax(axis=1)]
        some = moving.any(axis=1)
        step = 1.0 / self.beats.fs  # ends between samples stay where they are
        start = np.where(some & (first > on + step), np.minimum(first, on + _MOST_TRIM), on)
        stop = np.where(some & (last < off - step), np.maximum(last, off - _MOST_TRIM), off)
        return start, stop

    def ends(self) -> dict[str, tuple[float, float]]:
        """Return the global ends of the waves whose ends are both known."""
        pairs = {"P": (self.p_on, self.p_off), "QRS": (self.qrs_on, self.qrs_off), "T": (self.t_on, self.t_off)}
        return {wave: (float(a[0]), float(b[0])) for wave, (a, b) in pairs.items() if not np.isnan(a[0] + b[0])}

    def _why_no_p(self) -> str:
        here = np.isfinite(self.mark("P_onset")[0])
        if here.sum() < min(3, here.size):
            return self._absence(None, "P")
        used = np.flatnonzero(self.beats.used)
        rows = [self.fiducials.leads.index(lead) for lead in self.beats.leads]
        onset = median(self.fiducials.times[rows][:, used, _COLUMN["P_onset"]]) - self.beats.times[used]
        spread = 1.4826 * float(np.nan_to_num(median(np.abs(onset - median(onset)))))
        if spread > _LOOSE_P:
            return f"P waves are not linked with QRS (PR varies by {1000 * spread:.0f} ms)"
        length = self.p_off[0] - self.p_on[0]
        if length < _SHORTEST_P:
            return f"what is marked as P is too short for one ({1000 * length:.0f} ms)"
        error = _jackknife(self.qrs_on - self.p_on)
        if error is not None and error > _UNSTEADY_P:
            return f"what is marked as P has no steady onset (\u00b1 {1000 * error:.0f} ms)"
        return ""

    def _absence(self, lead: str | None, wave: str) -> str:
        """Return why a wave is not there: what the marker said most often."""
        given = [
            reason for (name, _, what), reason in self.fiducials.absent.items() if what == wave and lead in (None, name)
        ]
        return Counter(given).most_common(1)[0][0] if given else f"{wave} in fewer than half of the beats"

    # ------------------------------------------------------------------------------------------------------ intervals

    def intervals(self) -> dict[str, Measured]:
        """Return P, PR, QRS and QT."""
        no_p = self.no_p or "the ends of P are not marked"
        return {
            "p_ms": self._interval("p_ms", self.p_on, self.p_off, no_p),
            "pr_ms": self._interval("pr_ms", self.p_on, self.qrs_on, no_p),
            "qrs_ms": self._interval("qrs_ms", self.qrs_on, self.qrs_off, "the offset of QRS is not marked"),
            "qt_ms": self._interval("qt_ms", self.qrs_on, self.t_off, self._absence(None, "T")),
        }

    def _interval(self, name: str, first: Floats, last: Floats, reason: str) -> Measured:
        values = 1000.0 * (last - first)
        return self._measured(name, values, self.n, reason, least_error=1000.0 / self.ecg.fs / np.sqrt(6.0))

    def _measured(self, name: str, values: Floats, n: int, reason: str, least_error: float = 0.0) -> Measured:
        """Return values [1 + group] as one with its standard error; `least_error` is that of the marks' grid."""
        if np.isnan(values[0]):
            return unknown(name, reason)
        error = _jackknife(values)
        return Measured(float(values[0]), unit_of(name), None if error is None else math.hypot(error, least_error), n)

    # ----------------------------------------------------------------------------------------------------------- axes

    def axes(self) -> dict[str, Measured]:
        """Return the frontal axes of P, QRS and T, from the areas under them in I and aVF."""
        names = {"P": "p_axis_deg", "QRS": "qrs_axis_deg", "T": "t_axis_deg"}
        if not (derivable(self.beats.leads, "I") or {"I", "aVF"} <= set(self.beats.leads)):
            return {name: unknown(name, "two limb leads are needed") for name in names.values()}
        pair = [self._limb(lead) for lead in ("I", "aVF")]
        n = int(min(self.beats.n_beats[[k for k, lead in enumerate(self.beats.leads) if lead[:1] in "Ia"]]))
        ends = {
            "P": (self.p_on, self.p_off), "QRS": (self.qrs_on, self.qrs_off),
            "T": (median(self.mark("T_onset"), axis=1), median(self.mark("T_offset"), axis=1)),
        }  # fmt: skip
        made = {}
        for wave, name in names.items():
            areas = [self._area(signal, *ends[wave], over_chord=wave == "P") for signal in pair]
            reason = self.no_p or "no P" if wave == "P" else f"the ends of {wave} are not marked"
            made[name] = self._axis(name, areas[0], areas[1], n, reason)
        return made

    def _limb(self, lead: str) -> Floats:
        """Return a limb lead of the median beats [1 + group, time]."""
        signal = self.beats.signal
        if lead in self.beats.leads:
            return signal[:, self.beats.leads.index(lead)]
        flat = signal.transpose(1, 0, 2).reshape(signal.shape[1], -1)
        return derive_limb_lead(flat, self.beats.leads, lead).astype(np.float64).reshape(len(signal), -1)

    def _area(self, signal: Floats, first: Floats, last: Floats, over_chord: bool) -> Floats:
        inside = (self.at >= first[:, None]) & (self.at <= last[:, None])
        if over_chord:
            signal = signal - self._chord(signal, first, last)
        area = np.where(inside, signal, 0.0).sum(axis=1) / self.beats.fs
        return np.where(inside.any(axis=1), area, np.nan)

    def _chord(self, signal: Floats, first: Floats, last: Floats) -> Floats:
        """Return the straight line from the signal [row, time] at `first` to that at `last` [row]."""
        a, b = (_at(signal, (ends - self.beats.start) * self.beats.fs) for ends in (first, last))
        length = np.where(last > first, last - first, np.nan)
        return a[:, None] + ((b - a) / length)[:, None] * (self.at - first[:, None])

    def _axis(self, name: str, one: Floats, foot: Floats, n: int, reason: str) -> Measured:
        # aVF is a mean of two leads: its unit is 2/sqrt(3) of lead I's
        angle = np.degrees(np.arctan2(foot * 2.0 / np.sqrt(3.0), one))
        near = angle[0] + (angle - angle[0] + 180.0) % 360.0 - 180.0
        made = self._measured(name, near, n, reason)
        if made.uncertainty is not None and made.uncertainty > _SURE_AXIS:
            return unknown(name, f"too small in the frontal plane to have an axis (\u00b1 {made.uncertainty:.0f} deg)")
        return made

    def terminal_force(self) -> Measured:
        """Return depth times duration, as a positive number, of what is negative in the later half of P in V1."""
        name = "p_terminal_force_mvms"
        if "V1" not in self.beats.leads:
            return unknown(name, "V1 is not there")
        row = self.beats.leads.index("V1")
        first, last = self.mark("P_onset")[:, row], self.mark("P_offset")[:, row]
        signal = self.beats.signal[:, row]
        late = (self.at >= (first + last)[:, None] / 2) & (self.at <= last[:, None])
        depth = np.where(late, self._chord(signal, first, last) - signal, 0.0)
        below = depth > 0.01  # mV
        force = depth.max(axis=1) * below.sum(axis=1) * 1000.0 / self.beats.fs
        force = np.where(np.isfinite(first + last) & (not self.no_p), np.maximum(force, 0.0), np.nan)
        return self._measured(name, force, int(self.beats.n_beats[row]), self.no_p or "no P in V1")

    # ---------------------------------------------------------------------------------------------------------- leads

    def lead_tables(self) -> dict[str, dict[str, Measured]]:
        """Return every name of `LEAD` for each marked lead."""
        p_at, t_at = self._summits("P"), self._summits("T")
        levels = {name: self._levels(after) for name, after in (("st_j_mv", 0.0), ("st_60_mv", 0.06))}
        tables = {}
        for row, lead in enumerate(self.beats.leads):
            n = int(self.beats.n_beats[row])
            if n == 0:
                why = _why_silent(self.ecg[lead])
                tables[lead] = {name: unknown(name, why) for name in LEAD}
                continue
            table = self._waves(row, lead, n, p_at, t_at) | self._parts(row, n)
            table |= {name: self._measured(name, values[:, row], n, "no QRS") for name, values in levels.items()}
            clipped = _why_clipped(self.ecg[lead], self.ecg.fs)
            tables[lead] = {
                name: unknown(name, clipped) if clipped and name.endswith("_mv") else table[name] for name in LEAD
            }
        return tables

    def _waves(self, row: int, lead: str, n: int, p_at: Floats, t_at: Floats) -> dict[str, Measured]:
        no_p, no_t = self.no_p or self._absence(lead, "P"), self._absence(lead, "T")
        table = {
            "p_mv": self._measured("p_mv", p_at[:, row] if not self.no_p else p_at[:, row] * np.nan, n, no_p),
            "t_mv": self._measured("t_mv", t_at[:, row], n, no_t),
        }
        for wave, name, why in (("P", "p_ms", no_p), ("QRS", "qrs_ms", "QRS is not marked"), ("T", "t_ms", no_t)):
            first, last = self.mark(f"{wave}_onset")[:, row], self.mark(f"{wave}_offset")[:, row]
            if wave == "QRS":
                first, last = self._qrs_of(row)
            if wave == "P":
                first, last = np.maximum(first, self.p_on), np.minimum(last, self.p_off)
            gone = wave == "P" and self.no_p
            table[name] = self._interval(name, first, last * np.nan if gone else last, why)
        return table

    def _summits(self, wave: str) -> Floats:
        """Return P or T [1 + group, lead] in mV, signed: where it is farthest from its chord.

        P is measured over its chord, T over the level before the QRS, which is 0.
        """
        signal = self.beats.signal
        shape = signal.shape[:2]
        flat = signal.reshape(-1, signal.shape[2])
        first, last = (self.mark(f"{wave}_{end}").reshape(-1) for end in ("onset", "offset"))
        over = flat - self._chord(flat, first, last)
        inside = (self.at >= first[:, None]) & (self.at <= last[:, None]) & np.isfinite(over)
        top = np.where(inside, np.abs(over), -1.0).argmax(axis=1)
        source = over if wave == "P" else flat
        value = np.take_along_axis(source, top[:, None], axis=1)[:, 0]
        return np.where(inside.any(axis=1), value, np.nan).reshape(shape)

    def _levels(self, after: float) -> Floats:
        """Return the mean level within 4 ms of the J point plus `after` s [1 + group, lead], in mV."""
        offsets = np.arange(-2, 3) * 0.002 + after
        at = (self.qrs_off[:, None] + offsets - self.beats.start) * self.beats.fs  # [1 + group, 5]
        n_lead, n_time = self.beats.signal.shape[1:]
        flat = self.beats.signal.reshape(-1, n_time)
        found = [_at(flat, np.repeat(column, n_lead)) for column in at.T]
        return np.mean(found, axis=0).reshape(-1, n_lead)

    def _parts(self, row: int, n: int) -> dict[str, Measured]:
        """Return Q, R, S, R' and QS of a lead, within its own marks, else the global ones."""
        first, last = self._qrs_of(row)
        noise = float(self.beats.noise[row])
        start, fs = self.beats.start, self.beats.fs
        found: list[dict[str, Deflection]] = []
        for group in range(len(first)):
            if np.isnan(first[group] + last[group]):
                found.append({})
                continue
            values = self.beats.signal[group, row]
            found.append(deflections(values, fs, first[group] - start, last[group] - start, noise))
        if np.isnan(first[0] + last[0]):
            return _all_parts("unknown", "QRS is not marked", n)
        if not found[0]:
            return _all_parts("unknown", f"QRS does not stand out of the noise ({noise:.3f} mV)", n)
        return self._part_table(found, n)

    def _qrs_of(self, row: int) -> tuple[Floats, Floats]:
        """Return the ends of QRS in one lead [1 + group]: its own marks, inside the global ends."""
        first, last = self.mark("QRS_onset")[:, row], self.mark("QRS_offset")[:, row]
        return np.fmax(first, self.qrs_on), np.fmin(last, self.qrs_off)

    def _part_table(self, found: list[dict[str, Deflection]], n: int) -> dict[str, Measured]:
        table: dict[str, Measured] = {}
        for part in _QRS_PARTS:
            if part not in found[0]:
                shape = "QS complex" if "qs" in found[0] else "".join(_letter(name) for name in found[0]) + " complex"
                table |= {f"{part}_{unit}": none(f"{part}_{unit}", shape, n) for unit in ("mv", "ms")}
                continue
            for k, unit in enumerate(("mv", "ms")):
                values = np.array([lead[part][k] if part in lead else np.nan for lead in found])
                table[f"{part}_{unit}"] = self._measured(f"{part}_{unit}", values, n, "")
        return table


def _letter(part: str) -> str:
    return {"q": "q", "r": "R", "s": "s", "r2": "R'", "qs": "QS"}[part]


def _all_parts(status: str, reason: str, n: int) -> dict[str, Measured]:
    names = [f"{part}_{unit}" for part in _QRS_PARTS for unit in ("mv", "ms")]
    return {name: Measured(None, unit_of(name), None, n, reason, status) for name in names}


def _jackknife(values: Floats) -> float | None:
    """Return the standard error of values[0] from those with one group left out each; None where there are none."""
    left = [value for value in values[1:].tolist() if value == value]  # numpy takes longer for five numbers
    if len(left) < 2:
        return None
    mean = sum(left) / len(left)
    return math.sqrt((len(left) - 1) / len(left) * sum((value - mean) ** 2 for value in left))


def _at(signal: Floats, samples: Floats) -> Floats:
    """Return `signal` [row, time] at a fractional sample of each row [row]; NaN outside."""
    last = signal.shape[1] - 1
    inside = (samples >= 0) & (samples <= last)  # NaN compares as outside
    below = np.floor(np.where(inside, samples, 0.0)).astype(int).clip(0, max(last - 1, 0))
    share = np.where(inside, samples, np.nan) - below
    rows = np.arange(len(signal))
    return signal[rows, below] * (1 - share) + signal[rows, np.minimum(below + 1, last)] * share


def _why_silent(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    return "all samples are missing" if not known.size else "flat" if np.ptp(known) == 0 else "cut off or in gaps"


def _why_clipped(values: np.ndarray, fs: float) -> str:
    """Say so where the lead stays at its highest or lowest value again and again."""
    least = max(4, round(0.008 * fs))
    for limit in (np.nanmax(values), np.nanmin(values)):
        held = np.concatenate([[0], (values == limit).astype(np.int8), [0]])
        edges = np.flatnonzero(np.diff(held))
        if ((edges[1::2] - edges[::2]) >= least).sum() >= 2:
            return f"clipped at {limit:.2f} mV"
    return ""
