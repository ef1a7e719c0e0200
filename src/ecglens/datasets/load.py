# SPDX-License-Identifier: Apache-2.0
"""`load_cohort`: say where the ECGs are, get the cohort."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ecglens.cohort import Cohort
from ecglens.datasets.folder import load_folder
from ecglens.datasets.ptbxl import TABLE, load_ptbxl
from ecglens.datasets.simulated import FACTS, load_simulated
from ecglens.errors import UsageError
from ecglens.simulation.cohort import simulate_cohort

SIMULATED = "simulated"
# Of the embedded default: from hardly visible to textbook, some with two findings, so that no network is perfect.
SEVERITY, COMORBIDITY = (0.05, 1.0), 0.2

# Named cohorts: one file and one line here adds another.
DATASETS: dict[str, Callable[..., Cohort]] = {
    "ptbxl": load_ptbxl,
    "folder": load_folder,
    SIMULATED: simulate_cohort,
}


def load_cohort(
    where: str | Path,
    *,
    task: str = "superdiagnostic",
    min_likelihood: float = 0,
    classes: Sequence[str] | None = None,
    seed: int = 0,
) -> Cohort:
    """Load the cohort at `where`: a PTB-XL copy, a folder with a table, or the word `simulated`.

    A folder that `ecglens data simulate` wrote comes back with its evidence and its exact marks.

    task, min_likelihood   label rule, for PTB-XL and (task only) the simulated cohort
    classes                classes to expect in a folder's table
    seed                   of the simulated cohort
    """
    if str(where) == SIMULATED and not Path(where).exists():
        if task not in ("superdiagnostic", "subdiagnostic"):
            raise UsageError(SIMULATED, "task", task, "superdiagnostic, subdiagnostic")
        return simulate_cohort(task=task, seed=seed, severity=SEVERITY, comorbidity=COMORBIDITY)
    folder = Path(where)
    if (folder / TABLE).exists():
        return load_ptbxl(folder, 500, task, min_likelihood)
    if (folder / FACTS).exists():
        return load_simulated(folder, classes)
    return load_folder(folder, classes)
