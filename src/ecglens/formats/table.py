# SPDX-License-Identifier: Apache-2.0
"""CSV and TSV with lead names in the first line: one column per lead, one line per sample, nothing guessed.

    # fs = 500 Hz                    # fs = 500 Hz            time (s),I (mV),II (mV)
    I (mV),II (mV)                   # unit = uV              0.000,0.012,0.034
    0.012,0.034                      I;II                     0.002,0.015,0.031
    0.015,0.031                      12,5;34

The rate comes from a time column (then it must be uniform), a comment or the sidecar; the unit from the column
names, a comment or the sidecar. Without either the file is refused, and told how to say it. A cell is a number or
empty (a gap); text, formulas, quotes, missing or extra cells are refused with their line. Comments are dropped.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ecglens.ecg import ECG, MAX_FS, MIN_FS
from ecglens.errors import Finding, FormatError
from ecglens.formats.channels import (
    LONGEST_NAME,
    MAX_LEADS,
    Scale,
    frozen,
    known_lead,
    millivolts,
    per_millivolt,
    refuse_doubled,
    refuse_rate,
)
from ecglens.formats.checks import lead_findings, odd_scales, rate_findings, signal_findings
from ecglens.formats.sidecar import Sidecar, read_sidecar, verify
from ecglens.formats.wfdb import refuse_other_content
from ecglens.leads import STANDARD_LEADS
from ecglens.runs.files import read_bytes

MAX_BYTES = 2**23  # 8 MiB of text: 4 minutes of 12 leads at 500 Hz
MAX_LINE = 2**14
DELIMITERS = (",", ";", "\t")
_TIME = re.compile(r"(?:time|t|seconds|sec|s|ms)(?:[\s_]*[(\[]?(s|sec|seconds|ms|milliseconds)?[)\]]?)", re.IGNORECASE)
_COLUMN = re.compile(r"(?P<name>.*?)\s*(?:[(\[]\s*(?P<unit>[^)\]]*?)\s*[)\]])?")
_RATE = re.compile(r"#\s*(?:fs|sampling[ _](?:rate|frequency))\s*[=:]\s*(\d+(?:\.\d+)?)\s*(?:Hz)?\s*", re.IGNORECASE)
_UNIT = re.compile(r"#\s*units?\s*[=:]\s*(\S+)\s*", re.IGNORECASE)
_CELL = rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?"
_NOT_A_NUMBER = re.compile(rb"(?<![^\s,;])nan(?![^\s,;])", re.IGNORECASE)
_ALLOWED = b"0123456789+-.eE \n"
_UNSURE = 0.2  # samples that a written time may be off the grid: times are rounded to few digits


@dataclass(frozen=True)
class _Layout:
    """What the lines before the numbers say.

    delimiter, n_columns       of each line
    time, time_unit            the column of time (None: none) and its unit in s (None: not said)
    columns, leads, units      the columns that are leads, their names, the units beside the names
    others                     names of columns that are no leads
    fs, unit                   from comments
    first_line                 number of the first line of numbers
    """

    delimiter: str
    n_columns: int
    time: int | None
    time_unit: float | None
    columns: tuple[int, ...]
    leads: tuple[str, ...]
    units: tuple[str | None, ...]
    others: tuple[str, ...]
    fs: float | None
    unit: str | None
    first_line: int


def recognises_table(head: bytes, path: Path) -> bool:
    """Tell whether a file is a table: by its suffix, or because its first line names leads."""
    return path.suffix.lower() in (".csv", ".tsv") or is_listed_table(head, path)


def is_listed_table(head: bytes, path: Path) -> bool:
    """Tell whether a table found in a folder is an ECG: its first line names leads. Other tables lie there too."""
    if b"\x00" in head:
        return False
    lines = head.decode("utf-8-sig", errors="replace").splitlines()
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    names = [_name_of(cell) for cell in re.split("[,;\t]", first)]
    return any(name in STANDARD_LEADS or name in ("MLII", "ECG") for name in names) and 2 * sum(
        name is not None for name in names
    ) >= len(names)


def read_table(path: str | Path) -> ECG:
    """Read a CSV or TSV as an ECG, float32 [lead, time] in mV; an empty cell is a gap.

    Raises FormatError: `table` (no lead names, ambiguous delimiter or decimal sign, a cell that is no number, ragged
    lines; the line is named), `sampling_rate` (none, or times that are not uniform), `units` (none),
    `duplicate_lead`, `sidecar`, `checksum`, `too_large`.
    """
    path = Path(path)
    raw = read_bytes(path, MAX_BYTES)
    refuse_other_content(path, raw[:512], "a table with lead names in its first line")
    sidecar = read_sidecar(path) or Sidecar(path)
    verify(path, raw, sidecar)
    layout, body = _layout(path, raw.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n"))
    refuse_doubled(path, layout.leads)
    if sidecar.leads is not None and sidecar.leads != layout.leads:
        raise sidecar.fault("leads", ", ".join(sidecar.leads), f"{', '.join(layout.leads)}, as in {path.name}")
    scales = _scales(path, layout, sidecar)
    values = _numbers(path, layout, body)
    fs, start, findings = _clock(path, layout, values, sidecar)
    refuse_rate(path, fs)
    signal = millivolts(values[:, layout.columns], scales)
    findings += [*rate_findings(fs), *odd_scales(layout.leads, scales), *lead_findings(layout.leads), *_unread(layout)]
    findings += signal_findings(signal, layout.leads)
    return ECG(
        frozen(signal), fs, layout.leads, path.stem, start, {"format": "table"} | sidecar.metadata, tuple(findings)
    )


def _fault(path: Path, line: int, found: object, allowed: str, fix: str = "correct the line",
           kind: str = "table", lead: str | None = None) -> FormatError:  # fmt: skip
    return FormatError(path, f"line {line}", found, allowed, fix, kind=kind, lead=lead)


def _layout(path: Path, raw: bytes) -> tuple[_Layout, bytes]:
    """Return what the comments and the line of names say, and the bytes behind them."""
    fs = unit = None
    for number in range(1, 200):
        end = raw.find(b"\n")
        line, rest = (raw, b"") if end < 0 else (raw[:end], raw[end + 1 :])
        if len(line) > MAX_LINE:
            raise _fault(path, number, f"{len(line)} bytes", f"at most {MAX_LINE}", kind="too_large")
        text = _text(path, number, line)
        if text.strip() and not text.startswith("#"):
            return _named(path, number, text, fs, unit), rest
        if end < 0:
            break
        if told := _RATE.fullmatch(text):
            fs = float(told[1])
        elif told := _UNIT.fullmatch(text):
            unit = told[1]
        raw = rest
    raise _fault(path, 1, "only comments or blank lines", "a line of lead names, then numbers")


def _text(path: Path, number: int, line: bytes) -> str:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        text = line.decode("latin-1")
    if not text.replace("\t", " ").isprintable():
        raise _fault(path, number, "control characters", "a text", "export the table again, as UTF-8")
    return text


def _named(path: Path, number: int, text: str, fs: float | None, unit: str | None) -> _Layout:
    found = [sign for sign in DELIMITERS if sign in text]
    if len(found) > 1:
        raise _fault(path, number, f"several of {' '.join(map(repr, found))}", "one delimiter, in names none")
    delimiter = found[0] if found else ","
    cells = [cell.strip().strip('"').strip() for cell in text.split(delimiter)]
    times = [k for k, cell in enumerate(cells) if _TIME.fullmatch(cell)]
    if len(times) > 1 or len(cells) - len(times) > MAX_LEADS:
        counted = f"{len(times)} columns of time, {len(cells) - len(times)} others"
        raise _fault(path, number, counted, f"at most one of time and {MAX_LEADS} others", "keep the ECG only")
    columns, leads, units, others = [], [], [], []
    for k, cell in enumerate(cells):
        parts = _column(cell)
        name, own_unit = (parts["name"], parts["unit"]) if parts else (cell, None)
        if known_lead(name) or (name and per_millivolt(own_unit or "") is not None and k not in times):
            columns.append(k)
            leads.append(known_lead(name) or name)
            units.append(own_unit)
        elif k not in times:
            others.append(cell)
    if not any(known_lead(lead) for lead in leads):
        raise _fault(
            path, number, ", ".join(others)[:80], "the names of leads, as in I,II,V1",
            "write the lead names into the first line", kind="no_lead_name",
        )  # fmt: skip
    time = times[0] if times else None
    time_unit = None if time is None else _time_unit(cells[time])
    return _Layout(delimiter, len(cells), time, time_unit, tuple(columns), tuple(leads), tuple(units), tuple(others),
                   fs, unit, number + 1)  # fmt: skip


def _column(cell: str) -> re.Match[str] | None:
    """Return name and unit of a column. A longer cell is no name, and would keep the pattern busy for seconds."""
    return _COLUMN.fullmatch(cell) if len(cell) <= LONGEST_NAME else None


def _name_of(cell: str) -> str | None:
    """Return the lead that a column is named after, or None."""
    match = _column(cell.strip().strip('"').strip())
    return known_lead(match["name"]) if match and match["name"] else None


def _time_unit(cell: str) -> float | None:
    """Return how many s the unit of a time column is, None where it does not say."""
    told = _TIME.fullmatch(cell)
    word = (told[1] or cell if told else cell).lower()
    if word.startswith("ms") or word.startswith("milli"):
        return 1e-3
    return 1.0 if word in ("s", "sec", "seconds") else None


def _scales(path: Path, layout: _Layout, sidecar: Sidecar) -> list[Scale]:
    scales = []
    for lead, unit in zip(layout.leads, layout.units, strict=True):
        written = unit or layout.unit
        if sidecar.scale is not None and written is None:
            scales.append(sidecar.scale)
            continue
        parts = per_millivolt(written or "")
        if parts is None or sidecar.scale not in (None, Scale(1.0, -0.0, parts)):
            raise FormatError(
                path, f"lead {lead}, unit", written or "nothing", "mV, uV or V, in one place",
                f"name the column '{lead} (mV)', or put the line '# unit = mV' first", kind="units", lead=lead,
            )  # fmt: skip
        scales.append(Scale(1.0, 0.0, parts))
    return scales


def _numbers(path: Path, layout: _Layout, body: bytes) -> np.ndarray:
    """Return the numbers, float64 [line, column]; empty cells are NaN."""
    body = body.rstrip(b" \n\r")
    if not body:
        raise _fault(path, layout.first_line, "no numbers", "one line per sample")
    body = _decimal_points(path, layout, body)
    _refuse_ragged(path, layout, body)
    body = _NOT_A_NUMBER.sub(b"", body)
    _refuse_text(path, layout, body)
    try:
        table = pd.read_csv(
            io.BytesIO(body + b"\n"), sep=layout.delimiter, header=None, dtype=np.float64,
            skip_blank_lines=False, keep_default_na=False, na_values=[""], skipinitialspace=True, engine="c",
        )  # fmt: skip
    except (ValueError, OverflowError):
        raise _bad_cell(path, layout, body) from None
    values = table.to_numpy()
    infinite = np.isinf(values).any(axis=1)
    if infinite.any():
        raise _fault(path, layout.first_line + int(np.argmax(infinite)), "a number beyond 1e308", "finite numbers")
    return values


def _decimal_points(path: Path, layout: _Layout, body: bytes) -> bytes:
    if layout.delimiter == "," or b"," not in body:
        return body
    if b"." in body:
        line = layout.first_line + body[: body.index(b",")].count(b"\n")
        raise _fault(path, line, "commas and points in numbers", "one decimal sign, no thousands", "export again")
    return body.replace(b",", b".")


def _refuse_text(path: Path, layout: _Layout, body: bytes) -> None:
    left = body.translate(None, _ALLOWED + layout.delimiter.encode())
    if left:
        line = layout.first_line + body[: body.index(left[:1])].count(b"\n")
        what = _line(layout, body, line)[:60]
        raise _fault(path, line, repr(what), "numbers or nothing in each cell")


def _refuse_ragged(path: Path, layout: _Layout, body: bytes) -> None:
    """Raise FormatError where a line has more or fewer cells than there are names, or is blank."""
    if layout.n_columns == 1:
        blank = re.search(rb"^ *$", body, re.MULTILINE)
        if blank:
            line = layout.first_line + body[: blank.start()].count(b"\n")
            raise _fault(path, line, "a blank line", "a number; nan where a sample is missing")
        return
    letters = np.frombuffer(body, np.uint8)
    ends = np.append(np.flatnonzero(letters == ord("\n")), len(letters))
    before = np.searchsorted(np.flatnonzero(letters == ord(layout.delimiter)), ends)
    cells = np.diff(before, prepend=0) + 1
    if (cells != layout.n_columns).any():
        at = int(np.argmax(cells != layout.n_columns))
        raise _fault(path, layout.first_line + at, f"{int(cells[at])} cells", f"{layout.n_columns}, as many as names",
                     "correct the line; decimal commas need ; between the cells")  # fmt: skip


def _bad_cell(path: Path, layout: _Layout, body: bytes) -> FormatError:
    sign = re.escape(layout.delimiter.encode())
    bad = re.search(rb"(?:^|%s)(?! *(?:%s)? *(?:%s|$))" % (sign, _CELL, sign), body, re.MULTILINE)
    line = layout.first_line + (body[: bad.end()].count(b"\n") if bad else 0)
    cell = re.split(sign, body[bad.end() : bad.end() + 60])[0].split(b"\n")[0] if bad else b"a cell"
    return _fault(path, line, repr(cell.decode()), "a number, or nothing")


def _line(layout: _Layout, body: bytes, line: int) -> str:
    return body.split(b"\n")[line - layout.first_line].decode("latin-1")


def _clock(path: Path, layout: _Layout, values: np.ndarray, sidecar: Sidecar) -> tuple[float, float, list[Finding]]:
    """Return fs in Hz, the time of sample 0 in s, and findings."""
    told = {value for value in (layout.fs, sidecar.fs) if value is not None}
    if len(told) > 1:
        raise FormatError(path, "sampling rate", f"{sorted(told)} Hz", "one rate", kind="sampling_rate")
    declared = told.pop() if told else None
    if layout.time is None:
        if declared is None:
            raise FormatError(
                path, "sampling rate", "nothing", "a time column, or a rate",
                "put the line '# fs = 500 Hz' first, or add a column 'time (s)'", kind="sampling_rate",
            )  # fmt: skip
        return declared, sidecar.start, []
    times = values[:, layout.time]
    if len(times) < 3 or np.isnan(times).any():
        line = layout.first_line + int(np.argmax(np.isnan(times)))
        raise _fault(path, line, "no time", "a time in each line, at least three lines", kind="sampling_rate")
    unit, findings = layout.time_unit, []
    step = float(times[-1] - times[0]) / (len(times) - 1)
    if unit is None:
        # 50 to 4000 Hz are 0.25 to 20 ms, so seconds and milliseconds cannot be taken for each other.
        unit = 1.0 if step <= 1 / MIN_FS else 1e-3
        findings.append(Finding("time_unit", "note", f"times taken for {'s' if unit == 1 else 'ms'}"))
    fs = _uniform_rate(path, layout, (times - times[0]) * unit, declared)
    return fs, float(times[0]) * unit, findings


def _uniform_rate(path: Path, layout: _Layout, times: np.ndarray, declared: float | None) -> float:
    """Return the rate that the times, in s from the first, follow: the declared, a whole or the measured one."""
    grid = np.arange(len(times))
    measured = (len(times) - 1) / float(times[-1]) if times[-1] > 0 else 0.0
    if not MIN_FS / 1.001 <= measured <= MAX_FS * 1.001:
        raise FormatError(path, "sampling rate", f"{measured:g} Hz by the times", f"{MIN_FS:g} to {MAX_FS:g} Hz",
                          "correct the times or their unit", kind="sampling_rate")  # fmt: skip
    for fs in [declared] if declared is not None else [float(round(measured)), measured]:
        off = np.abs(times * fs - grid)
        if off.max() <= _UNSURE:
            return fs
    line = layout.first_line + int(np.argmax(off > _UNSURE))
    raise _fault(path, line, f"a time {float(off.max()):.3g} samples off a uniform grid of {fs:g} Hz",
                 "uniform times that fit the rate", "export the recording without breaks", "sampling_rate")  # fmt: skip


def _unread(layout: _Layout) -> list[Finding]:
    if not layout.others:
        return []
    reason = f"columns {', '.join(map(repr, layout.others))} are no leads; not read"
    return [Finding("other_channel", "warning", reason)]
