# SPDX-License-Identifier: Apache-2.0
"""From the marks of a WFDB record's annotation files to `Fiducials`.

Two kinds of files are understood, also mixed: beats (one mark at each QRS, its symbol says what the beat is, `+` where
the rhythm changes: MIT-BIH and its kin) and waves (`(` onset, `p`, a beat or `t` at the peak, `)` offset: LUDB, one
file per lead, named after it).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ecglens.errors import FormatError, InputError
from ecglens.fiducials import MARKS, WAVES, Fiducials
from ecglens.formats.annotations import BEATS, Annotations, read_marks
from ecglens.formats.wfdb_header import Header, header_path, read_header
from ecglens.formats.wfdb_segments import segment_leads
from ecglens.leads import canonical_lead

MAX_APART = 0.1  # s; peaks of one QRS in different leads lie closer, those of two beats farther apart

# Wave -> its columns among the marks: onset, peak, offset.
_COLUMNS = {
    "P": tuple(map(MARKS.index, ("P_onset", "P_peak", "P_offset"))),
    "QRS": tuple(map(MARKS.index, ("QRS_onset", "R_peak", "QRS_offset"))),
    "T": tuple(map(MARKS.index, ("T_onset", "T_peak", "T_offset"))),
}
_R = MARKS.index("R_peak")


class _Wave(NamedTuple):
    """One wave: samples of onset, peak, offset (NaN: not marked) and the symbol at its peak."""

    name: str
    symbol: str
    times: tuple[float, float, float]


def read_annotations(path: str | Path, extension: str | None = None) -> Fiducials:
    """Read what was marked in a WFDB record as `Fiducials`, times in s on the record's clock.

    path       the record as for `read`, or one annotation file
    extension  which annotation files: `atr`, `qrs`, `ii`, ...; None: one file per lead (LUDB: `.i` to `.v6`) where
               there are such, else `.atr`

    Files named after leads give P, QRS and T of these leads, with their onsets and offsets; beats of the leads are
    matched by the time of their QRS. Any other file gives R_peak (where the QRS was marked) of all leads alike,
    `beat_labels`, `rhythms`, and P and T where it has them.

    Raises InputError where a file is missing, FormatError (kinds `annotations`, `truncated`, `content`, and those of
    the header) where it is damaged or marks samples that the record does not have, UnsafeError for links and pipes.
    """
    record, extension = _record(Path(path), extension)
    header = read_header(record)
    leads = _leads(header, record)
    files = _lead_files(record, leads, extension)
    if files:
        beats = {lead: _beats(_marks(file, header)) for lead, file in files.items()}
        return _merge(beats, ", ".join(sorted({file.suffix for file in files.values()})))
    file = _sibling(record, extension or "atr")
    marks = _marks(file, header)
    times, symbols, loose = _beats(marks)
    absent: dict[tuple[str, int | None, str], str] = {
        (lead, None, wave): f"not marked in {file.suffix}" for lead in leads for wave in WAVES if wave != "QRS"
    }
    method = f"marks of {file.suffix}, the QRS as R_peak, the same for all leads{_told(loose)}"
    everywhere = np.broadcast_to(times, (len(leads), *times.shape))
    return Fiducials(everywhere, leads, method, None, absent, symbols, _rhythms(marks))


class _Marks(NamedTuple):
    """Marks of a file with their times, in s on the record's clock, and the time at which the record ends."""

    found: Annotations
    times: np.ndarray
    end: float


def _record(path: Path, extension: str | None) -> tuple[Path, str | None]:
    """Return the path of the header, and the extension: of `path` where that is an annotation file itself."""
    if extension is not None and not extension.lstrip(".").isalnum():
        raise InputError(path, "extension", repr(extension), "letters and digits, as in atr", kind="path")
    header = header_path(path)
    if extension is None and path.suffix and not os.path.lexists(header) and os.path.lexists(path):
        return path.with_suffix(".hea"), path.suffix[1:]
    return header, extension and extension.lstrip(".")


def _leads(header: Header, record: Path) -> tuple[str, ...]:
    if header.segments:
        return segment_leads(record, header)
    leads = tuple(dict.fromkeys(canonical_lead(spec.lead) for spec in header.signals if spec.lead))
    if not leads:
        raise FormatError(record, "leads", "none named", "lead names in the header", kind="no_lead_name")
    return leads


def _sibling(record: Path, extension: str) -> Path:
    return record.with_suffix(f".{extension}")


def _lead_files(record: Path, leads: tuple[str, ...], extension: str | None) -> dict[str, Path]:
    """Return the annotation file of each lead that has one of its own; only that of `extension` where one is given."""
    wanted = [lead for lead in leads if extension is None or canonical_lead(extension) == lead]
    files = {lead: _sibling(record, extension or lead.lower()) for lead in wanted if lead.isalnum()}
    return {lead: file for lead, file in files.items() if os.path.lexists(file)}


def _marks(path: Path, header: Header) -> _Marks:
    """Read a file and turn samples into seconds. Raises FormatError for marks behind the record's end."""
    found = read_marks(path)
    times = found.sample / (found.fs or header.fs)
    length = np.inf if header.n_samples is None else header.n_samples / header.fs
    if len(times) and times[-1] > length:
        raise FormatError(
            path, "last mark", f"at {times[-1]:g} s", f"inside the record of {length:g} s",
            "copy or download the record and its annotations again", kind="annotations",
        )  # fmt: skip
    last = times[-1] if len(times) else 0.0
    return _Marks(found, times + header.start, header.start + (last if np.isinf(length) else length))


def _waves(marks: _Marks) -> list[_Wave]:
    """Return the waves in order of time: a `(` right before a peak is its onset, a `)` right behind it its offset."""
    waves: list[_Wave] = []
    onset, open_wave = np.nan, False
    for symbol, time in zip(marks.found.symbol, marks.times.tolist(), strict=True):
        if symbol == "(":
            onset, open_wave = time, False
        elif symbol == ")":
            if open_wave:
                waves[-1] = waves[-1]._replace(times=(*waves[-1].times[:2], time))
            onset, open_wave = np.nan, False
        elif symbol in BEATS or symbol in ("p", "t", "u"):
            name = {"p": "P", "t": "T", "u": "U"}.get(symbol, "QRS")
            waves.append(_Wave(name, symbol, (onset, time, np.nan)))
            onset, open_wave = np.nan, True
    return waves


def _beats(marks: _Marks) -> tuple[np.ndarray, tuple[str, ...], int]:
    """Return times [beat, mark] in s, the symbol of each beat, and how many P and T waves belong to none.

    To a QRS belong the last P since the QRS before it and the first T until the next.
    """
    waves = _waves(marks)
    qrs = [i for i, wave in enumerate(waves) if wave.name == "QRS"]
    times = np.full((len(qrs), len(MARKS)), np.nan)
    found: dict[str, list[tuple[int, tuple[float, float, float]]]] = {name: [] for name in _COLUMNS}
    for beat, at in enumerate(qrs):
        before = waves[qrs[beat - 1] + 1 if beat else 0 : at]
        behind = waves[at + 1 : qrs[beat + 1] if beat + 1 < len(qrs) else None]
        p = next((wave for wave in reversed(before) if wave.name == "P"), None)
        t = next((wave for wave in behind if wave.name == "T"), None)
        for wave in (p, waves[at], t):
            if wave is not None:
                found[wave.name].append((beat, wave.times))
    for name, columns in _COLUMNS.items():  # all at once: beat by beat, a day would take seconds
        if found[name]:
            beats, values = zip(*found[name], strict=True)
            times[np.ix_(beats, columns)] = values
    loose = sum(wave.name in ("P", "T") for wave in waves) - len(found["P"]) - len(found["T"])
    return times, tuple(waves[at].symbol for at in qrs), loose


def _merge(beats: dict[str, tuple[np.ndarray, tuple[str, ...], int]], suffixes: str) -> Fiducials:
    """Lay the beats of several leads side by side, matched by the time of their QRS."""
    leads = tuple(beats)
    peaks = sorted(
        (times[beat, _R], row, beat) for row, (times, _, _) in enumerate(beats.values()) for beat in range(len(times))
    )
    groups: list[dict[int, int]] = []
    previous = -np.inf
    for time, row, beat in peaks:
        if time - previous > MAX_APART or row in groups[-1]:
            groups.append({})
        groups[-1][row] = beat
        previous = time
    merged = np.full((len(leads), len(groups), len(MARKS)), np.nan)
    for column, group in enumerate(groups):
        for row, beat in group.items():
            merged[row, column] = beats[leads[row]][0][beat]
    absent: dict[tuple[str, int | None, str], str] = {
        (lead, None, wave): "not marked in this lead" for lead in leads for wave in WAVES
    }
    loose = sum(lost for _, _, lost in beats.values())
    return Fiducials(merged, leads, f"marks of {suffixes}, the QRS as R_peak{_told(loose)}", None, absent)


def _told(loose: int) -> str:
    return f"; {loose} P and T waves that belong to no beat left out" if loose else ""


def _rhythms(marks: _Marks) -> tuple[tuple[float, float, str], ...]:
    """Return the stretches between changes of rhythm, the last one to the end of the record."""
    begins = [
        (time, note[1:])
        for time, symbol, note in zip(marks.times.tolist(), marks.found.symbol, marks.found.aux, strict=True)
        if symbol == "+" and note.startswith("(")
    ]
    ends = [*(time for time, _ in begins[1:]), marks.end][: len(begins)]
    return tuple((begin, end, name) for (begin, name), end in zip(begins, ends, strict=True))
