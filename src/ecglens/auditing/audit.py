# SPDX-License-Identifier: Apache-2.0
"""`audit`: every method through every test on one model, and a verdict for each.

What is finished stands in a journal, test by test and method by method, and twins are kept: a run that was cut off goes
on where it was. What a method raises leaves its own cell "not tested" with the reason; the rest goes on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecglens.auditing import attention, faithfulness, planted, randomization, regression, stability, work
from ecglens.auditing.maps import is_dear
from ecglens.auditing.twins import schedule_for
from ecglens.auditing.verdict import TestResult, Verdict, best_method, decide, rule_of, untested
from ecglens.auditing.verdicts import AUDIT_FILE, write_audit
from ecglens.auditing.work import Found, Setting, Size, Test, Work
from ecglens.auditing.worlds import why
from ecglens.bundle import Bundle, as_tensor
from ecglens.cohort import Cohort
from ecglens.errors import ContractError, LeakError
from ecglens.explainers.linter import complaints
from ecglens.explainers.methods import EXPLAINERS, Method
from ecglens.models.average import members_of
from ecglens.runs.cache import Cache
from ecglens.runs.files import write_json
from ecglens.runs.journal import Journal
from ecglens.runs.progress import Progress, silent
from ecglens.runs.run import Run, hash_of
from ecglens.statistics.figures import clean

TESTS: tuple[Test, ...] = (
    *faithfulness.TESTS,
    *randomization.TESTS,
    *planted.TESTS,
    *regression.TESTS,
    *stability.TESTS,
    *attention.TESTS,
)
EVIDENCE = "evidence.json"


@dataclass(frozen=True)
class Audit:
    """What `audit` returns.

    verdicts        of each method
    default_method  the best that passes, or None
    evidence        by test: what it rests on (`facts`), why it could not be done at all (`refused`), and what the page
                    draws of each method (`methods`)
    """

    run: Run
    bundle: str
    weights_sha256: str
    verdicts: Mapping[str, Verdict]
    default_method: str | None
    evidence: Mapping[str, Any]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the audit as it stands in `audit.json`."""
        return {
            "bundle": self.bundle,
            "weights_sha256": self.weights_sha256,
            "methods": {name: verdict.as_dict() for name, verdict in self.verdicts.items()},
            "default_method": self.default_method,
        }


def audit(
    bundle: Bundle,
    out: str | Path,
    *,
    data: Cohort | None = None,
    train_data: Cohort | None = None,
    methods: Mapping[str, Method] | None = None,
    tests: Sequence[Test] | None = None,
    size: Size | None = None,
    seed: int = 0,
    resume: bool = False,
    arguments: Mapping[str, Any] | None = None,
    cache: Cache | None = None,
    progress: Progress = silent,
) -> Audit:
    """Test explanation methods on a bundle, and write `audit.json` and the evidence into the folder `out`.

    data        records, with labels of the bundle's classes, of patients it has not seen, on which its weights are
                asked; without them they are asked about simulated people of those of its classes that can be simulated
    train_data  real records on which twins are trained to measure, beside the simulated ones
    methods     by name; default: every one of `EXPLAINERS` that the linter does not refuse on this network
    tests       default: all `TESTS`; what is left out is not tested
    size        how much is asked for; default: `work.QUICK`

    Raises LeakError where `data` holds patients the bundle was trained on, UsageError where `out` holds another run,
    and ContractError where an audit that is resumed had other arguments. All else that goes wrong is told in a cell.
    """
    began = time.monotonic()
    size = size or work.QUICK
    chosen, refused = suitable(bundle) if methods is None else (dict(methods), {})
    wanted = TESTS if tests is None else tuple(tests)
    run = Run(Path(out))
    with run.writing():
        told = dict(arguments or {}) | {
            "weights_sha256": bundle.weights_sha256, "size": vars(size), "methods": list(chosen),
            "tests": [test.name for test in wanted], "data": _about(data), "train_data": _about(train_data),
        }  # fmt: skip
        run = Run.create(run.folder, "audit", told, seed, resume)
        job = Work(bundle, size, seed, schedule_for(bundle, size.epochs), data=data, train_data=train_data,
                   folder=run.folder, cache=cache, progress=progress)  # fmt: skip
        if data is not None:
            _refuse_leak(job)
        with run.journal() as journal:
            figures, evidence = _all_tests(job, wanted, chosen, journal, progress)
            spent = sum(journal.entries("seconds").values()) or time.monotonic() - began
        verdicts = {name: decide(results) for name, results in figures.items()}
        verdicts |= {name: Verdict("not tested", reason, {}) for name, reason in refused.items()}
        evidence["agreement"] = _agreement(job, chosen)
        found = Audit(run, bundle.name, bundle.weights_sha256, verdicts, best_method(verdicts), evidence, spent)
        _write(found)
    return found


def suitable(bundle: Bundle) -> tuple[dict[str, Method], dict[str, str]]:
    """Return the methods that the linter accepts on this network, and why it refuses the others."""
    member = members_of(bundle.network)[0]
    window = as_tensor(np.zeros((1, len(bundle.preprocessing.leads), bundle.preprocessing.windows.length)))
    chosen, refused = {}, {}
    for name, method in EXPLAINERS.items():
        found = complaints(member, name, window) if method.by_layers else []
        if found:
            refused[name] = f"refused on this network: {'; '.join(found)}"
        else:
            chosen[name] = method
    return chosen, refused


# --------------------------------------------------------------------------------------------------------------- tests


def _all_tests(
    work: Work, tests: Sequence[Test], methods: Mapping[str, Method], journal: Journal, progress: Progress
) -> tuple[dict[str, dict[str, TestResult]], dict[str, Any]]:
    """Return every figure by method and name, and the evidence by test."""
    figures: dict[str, dict[str, TestResult]] = {name: {} for name in methods}
    evidence: dict[str, Any] = {}
    done = _Done(journal, _costs(methods), len(tests), progress)
    for test in tests:
        asked = {name: method for name, method in methods.items() if test.wants(name)}
        if not asked or (test.name == "temporal_real" and work.train_data is None):
            continue
        about: dict[str, Any] = {"methods": {}}
        setting, reason = _made_ready(test, work, asked, done, about)
        for name, method in asked.items():
            found = done.entry(test, name) or _one(test, setting, reason, name, method, done)
            figures[name] |= {figure: TestResult(**told) for figure, told in found["results"].items()}
            about["methods"][name] = found["evidence"]
            done.tick(test.name, name)
        evidence[test.name] = about
    return figures, evidence


def _made_ready(
    test: Test, work: Work, asked: Mapping[str, Method], done: _Done, about: dict[str, Any]
) -> tuple[Setting | None, str]:
    """Return the test made ready, or why it cannot be; neither where the journal has all of it."""
    kept = done.journal.entries("facts").get(test.name)
    if kept is not None and all(done.entry(test, name) for name in asked):
        about |= kept
        return None, ""
    began = time.monotonic()
    try:
        setting, reason = test.prepare(work), ""
        about["facts"] = setting.facts
    except Exception as error:  # whatever a network of one's own raises: the other tests go on
        setting, reason = None, why(error)
        about["refused"] = reason
    done.journal.record("facts", test.name, {key: about[key] for key in ("facts", "refused") if key in about})
    done.spent(f"{test.name}/ready", began)
    return setting, reason


def _one(test: Test, setting: Setting | None, reason: str, name: str, method: Method, done: _Done) -> dict[str, Any]:
    """Run one test on one method, and note what was found, or why nothing was."""
    began = time.monotonic()
    found = Found({}, {})
    if setting is not None:
        try:
            found = setting.run(name, method)
        except Exception as error:  # a method of one's own may raise anything
            reason = why(error)
    results = dict(found.results)
    if not results:
        rule = rule_of(test.figures[0])
        results = {test.figures[0]: untested(test.on, reason, rule.threshold if rule else None)}
    told = {"results": {figure: vars(result) for figure, result in results.items()}, "evidence": dict(found.evidence)}
    done.journal.record(f"test {test.name}", name, told)
    done.spent(f"{test.name}/{name}", began)
    return told


class _Done:
    """What is finished, and how much is left to do."""

    def __init__(self, journal: Journal, costs: Mapping[str, int], n_tests: int, progress: Progress) -> None:
        self.journal, self.costs, self.progress = journal, costs, progress
        self.total = sum(costs.values()) * n_tests
        self.so_far = 0

    def entry(self, test: Test, name: str) -> dict[str, Any] | None:
        return self.journal.entries(f"test {test.name}").get(name)

    def tick(self, test: str, name: str) -> None:
        self.so_far = min(self.so_far + self.costs[name], self.total)
        self.progress("auditing", self.so_far, self.total, f"{test}: {name}")

    def spent(self, key: str, began: float) -> None:
        self.journal.record("seconds", key, round(time.monotonic() - began, 2))


def _costs(methods: Mapping[str, Method]) -> dict[str, int]:
    """Return how long a method takes beside the quickest, roughly: for the time left."""
    return {name: 4 if is_dear(method) else 1 for name, method in methods.items()}


def _refuse_leak(work: Work) -> None:
    """Raise what would make the whole audit worthless; everything else is a reason in a cell."""
    try:
        work.asked()
    except LeakError:
        raise
    except ContractError:
        return


def _agreement(work: Work, methods: Mapping[str, Method]) -> dict[str, Any]:
    """Return the agreement between methods on the audited weights, where their maps could be made."""
    maps = {}
    for name, method in methods.items():
        try:
            maps[name] = work.maps(name, method)
        except Exception:  # its cells say why
            continue
    if len(maps) < 2:
        return {}
    names, table = stability.agreement(maps)
    return {"methods": names, "spearman": table, "n": {name: len(found) for name, found in maps.items()}}


# --------------------------------------------------------------------------------------------------------------- files


def _about(cohort: Cohort | None) -> str | None:
    """Return what tells one cohort from another, for resuming."""
    return None if cohort is None else f"{cohort.name} {hash_of([cohort.record_ids, cohort.label_rule])[:16]}"


def _write(found: Audit) -> None:
    import pandas as pd

    rows = [
        {"method": name, "test": test, **vars(result)}
        for name, verdict in found.verdicts.items()
        for test, result in verdict.tests.items()
    ]
    found.run.write_table("tests", pd.DataFrame(rows))
    write_json(found.run.folder / EVIDENCE, {"schema": 1, "tests": clean(found.evidence)})
    write_audit(found.run.folder / AUDIT_FILE, found.as_dict())
    found.run.note(finished=True, seconds=round(found.seconds, 1), weights_sha256=found.weights_sha256,
                   default_method=found.default_method)  # fmt: skip
