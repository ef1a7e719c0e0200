# SPDX-License-Identifier: Apache-2.0
"""`ecglens check`: can this be read and used? If not, why?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ecglens.cli.arguments import BundleOption, Files, Json, Start, Stop, ecg_files, stretch_options
from ecglens.cli.console import Outcome, conclude, exit_code_for

if TYPE_CHECKING:
    from ecglens.errors import EcglensError, Finding
    from ecglens.preprocessing.pipeline import Preprocessing


def check(
    files: Files, bundle: BundleOption = "pretrained", start: Start = None, stop: Stop = None, as_json: Json = False
) -> None:
    """Say for each ECG file whether it can be read and used by a bundle, and if not, why.

    Example: ecglens check my-ecg.hea
    """
    raise typer.Exit(conclude(lambda: _check(files, bundle, start, stop), as_json))


def _check(paths: list[Path], bundle: str, start: float | None, stop: float | None) -> Outcome:
    from ecglens.bundle import Bundle

    preprocessing = Bundle.load(bundle).preprocessing
    records, errors, lines = [], [], []
    for path in ecg_files(paths):
        findings, fault = _examine(path, start, stop, preprocessing)
        if fault is not None:
            errors.append(fault)
        told = [finding.as_dict() for finding in findings]
        records.append({"file": str(path), "ok": fault is None, "findings": told})
        lines.append(f"{path}: {'can be used' if fault is None else 'cannot be used'}")
        lines += [f"  {finding.severity}: {finding.reason}" for finding in findings]
    n_ok = len(records) - len(errors)
    lines.append(f"{n_ok} of {len(records)} can be used by {bundle}.")
    with_bundle = "" if bundle == "pretrained" else f" --bundle {bundle}"
    next_step = f"ecglens predict {paths[0]}{with_bundle}{stretch_options(start, stop)}" if n_ok else ""
    return Outcome({"records": records}, "\n".join(lines), next_step, exit_code_for(n_ok, errors))


def _examine(
    path: Path, start: float | None, stop: float | None, preprocessing: Preprocessing
) -> tuple[tuple[Finding, ...], EcglensError | None]:
    """Return all that is noticed about a file, and the first thing that forbids its use."""
    from ecglens.errors import ContractError, InputError, UnsafeError
    from ecglens.formats.read import read

    findings: tuple[Finding, ...] = ()
    try:
        ecg = read(path, start, stop)
        findings = preprocessing.admission.findings(ecg)
        preprocessing.apply([ecg])
    except (InputError, UnsafeError, ContractError) as fault:
        told = any(finding.severity == "error" for finding in findings)
        return (findings if told else (*findings, fault.finding())), fault
    return findings, None
