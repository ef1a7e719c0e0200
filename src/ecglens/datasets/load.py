# SPDX-License-Identifier: Apache-2.0
"""`load_cohort`: say where the ECGs are, get the cohort."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecglens.cohort import Cohort
from ecglens.datasets import (
    butqdb,
    challenge2021,
    chfdb,
    cinc2011,
    code15,
    ecgiddb,
    folder,
    ltdb,
    ludb,
    mitdb,
    ptbxl,
    simulated,
)
from ecglens.datasets.labels import TASKS
from ecglens.errors import UsageError
from ecglens.simulation.cohort import simulate_cohort

SIMULATED = "simulated"
# Of the embedded default: from hardly visible to textbook, some with two findings, so that no network is perfect.
SEVERITY, COMORBIDITY = (0.05, 1.0), 0.2
USUAL_TASK = "superdiagnostic"


@dataclass(frozen=True)
class DataSet:
    """One data set.

    recognises  tells whether a folder is of this data set, by the files it is published with, never by its name
    load        folder -> Cohort; with tasks, (folder, task=...) -> Cohort. Further options are the loader's own
    tasks       what its labels can be, the usual one first; empty where there is one rule or none
    """

    recognises: Callable[[Path], bool]
    load: Callable[..., Cohort]
    tasks: tuple[str, ...] = ()


# Named cohorts: one file and one line here adds another. Licence and citation: `sources.SOURCES`.
DATASETS: dict[str, DataSet] = {
    "ptbxl": DataSet(ptbxl.recognises, ptbxl.load_ptbxl, tuple(TASKS)),
    "mitdb": DataSet(mitdb.recognises, mitdb.load_mitdb, mitdb.TASKS),
    "ltdb": DataSet(ltdb.recognises, ltdb.load_ltdb),
    "chfdb": DataSet(chfdb.recognises, chfdb.load_chfdb),
    "butqdb": DataSet(butqdb.recognises, butqdb.load_butqdb),
    "ludb": DataSet(ludb.recognises, ludb.load_ludb, (ludb.ALL, *ludb.TASKS)),
    "ecgiddb": DataSet(ecgiddb.recognises, ecgiddb.load_ecgiddb),
    "cinc2011": DataSet(cinc2011.recognises, cinc2011.load_cinc2011),
    "challenge2021": DataSet(challenge2021.recognises, challenge2021.load_challenge2021, challenge2021.TASKS),
    "code15": DataSet(code15.recognises, code15.load_code15),
    "folder": DataSet(folder.has_own_table, folder.load_folder),
    SIMULATED: DataSet(lambda where: str(where) == SIMULATED and not where.exists(), simulate_cohort,
                       (USUAL_TASK, "subdiagnostic")),
}  # fmt: skip


def load_cohort(
    where: str | Path,
    dataset: str | None = None,
    *,
    task: str = USUAL_TASK,
    min_likelihood: float = 0,
    keep_unlabelled: bool = False,
    classes: Sequence[str] | None = None,
    seed: int = 0,
) -> Cohort:
    """Load the cohort at `where`: a copy of a published data set, a folder with a table, or the word `simulated`.

    dataset         name of the data set (a key of `DATASETS`); None: found out from the files. A folder with a table
                    of one's own (a column `file`), and one that is none or several of the data sets, is one's own
    task            what the labels are to be; the default means each data set's usual labels
    min_likelihood  label rule, for PTB-XL
    keep_unlabelled  for PTB-XL: keep records without a label of the task, as negatives
    classes         classes to expect in the table of a folder of one's own
    seed            of the simulated cohort

    A folder that `ecglens data simulate` wrote comes back with its evidence and its exact marks.
    Each data set's own loader takes more options (stretches of long recordings, ...).
    Raises UsageError for an unknown data set or task, and what the loaders raise.
    """
    if dataset is not None and dataset not in DATASETS:
        raise UsageError("load_cohort", "dataset", dataset, ", ".join(DATASETS))
    name = dataset or recognise(Path(where))
    if name == "folder":
        load_own = simulated.load_simulated if simulated.recognises(Path(where)) else folder.load_folder
        return load_own(where, classes)
    tasks = DATASETS[name].tasks
    if task != USUAL_TASK and task not in tasks:
        raise UsageError(name, "task", task, ", ".join(tasks) or "none: it has one label rule, or no labels")
    usual = tasks[0] if task == USUAL_TASK and tasks else task
    if name == SIMULATED:
        return simulate_cohort(task=usual, seed=seed, severity=SEVERITY, comorbidity=COMORBIDITY)
    if name == "ptbxl":
        return ptbxl.load_ptbxl(where, None, usual, min_likelihood, keep_unlabelled=keep_unlabelled)
    load = DATASETS[name].load
    return load(where, task=usual) if tasks else load(where)


def recognise(where: Path) -> str:
    """Return the name of the data set at `where`; `folder` where it is one's own, none of them, or several."""
    if DATASETS["folder"].recognises(where):
        return "folder"
    found = [name for name, dataset in DATASETS.items() if dataset.recognises(where)]
    return found[0] if len(found) == 1 else "folder"
