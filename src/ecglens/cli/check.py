# SPDX-License-Identifier: Apache-2.0
"""`ecglens check`: can this be read and used? If not, why?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ecglens.cli.arguments import BundleOption, Files, Json, ecg_files
from ecglens.cli.console import Outcome, conclude, exit_code_for

if TYPE_CHECKING:
    from ecglens.ecg import ECG
    from ecglens.errors import EcglensError
    from ecglens.preprocessing.pipeline import Admission


def check(files: Files, bundle: BundleOption = "pretrained", as_json: Json = False) -> None:
    """Say for each ECG file whether it can be read and used by a bundle, and if not, why.

    Example: ecglens check my-ecg.hea
    """
    raise typer.Exit(conclude(lambda: _check(files, bundle), as_json))


def _check(paths: list[Path], bundle: str) -> Outcome:
    from ecglens.bundle import Bundle
    from ecglens.errors import EcglensError, FormatError
    from ecglens.formats.read import read

    admission = Bundle.load(bundle).preprocessing.admission
    records, errors, lines = [], [], []
    for path in ecg_files(paths):
        try:
            findings = admission.findings(read(path))
            grave = [finding for finding in findings if finding.severity == "error"]
            if grave:
                errors.append(_first_fault(admission, read(path)) or FormatError(path, "signal", grave[0].reason))
        except EcglensError as error:
            findings, grave = (error.finding(),), [error.finding()]
            errors.append(error)
        records.append({"file": str(path), "ok": not grave, "findings": [finding.as_dict() for finding in findings]})
        lines.append(f"{path}: {'cannot be used' if grave else 'can be used'}")
        lines += [f"  {finding.severity}: {finding.reason}" for finding in findings]
    n_ok = sum(bool(record["ok"]) for record in records)
    lines.append(f"{n_ok} of {len(records)} can be used by {bundle}.")
    next_step = f"ecglens predict {paths[0]}" if n_ok else ""
    return Outcome({"records": records}, "\n".join(lines), next_step, exit_code_for(n_ok, errors))


def _first_fault(admission: Admission, ecg: ECG) -> EcglensError | None:
    from ecglens.errors import EcglensError

    try:
        admission.admit(ecg)
    except EcglensError as error:
        return error
    return None
