# SPDX-License-Identifier: Apache-2.0
"""`study_concepts`: a cohort, concepts and networks in, a verdict per layer, class and concept out, in a run folder.

What takes long is kept as it is finished: the measurements of each record, the answers of each network
(`arrays/concepts-NETWORK.npz`), the random groups of each concept. A resumed run does none of it twice.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglens.bundle import Bundle
from ecglens.cohort import Cohort, Excluded
from ecglens.concepts.answers import Answers, Directions, answers_of
from ecglens.concepts.association import associate, nearly_labels
from ecglens.concepts.cells import cells_of
from ecglens.concepts.definition import Concept
from ecglens.concepts.groups import Group, classes_of, groups_of
from ecglens.concepts.network import Asked, bundle_asked, choose_layers, family_asked, gather
from ecglens.concepts.result import ASSOCIATION, CELLS, RESULT, ConceptTest
from ecglens.concepts.values import VALUES, record_values
from ecglens.concepts.verdict import slope_test, too_few_random
from ecglens.errors import InputError
from ecglens.prediction.evaluate import people_of
from ecglens.prediction.family import weights_of
from ecglens.preprocessing.prepare import Prepared, prepare
from ecglens.runs.cache import Cache
from ecglens.runs.draws import derived_seed
from ecglens.runs.files import read_bytes, write_bytes, write_json
from ecglens.runs.journal import Journal
from ecglens.runs.progress import Progress, silent
from ecglens.runs.run import Run, hash_of
from ecglens.statistics.figures import json_number, records

N_RANDOM = 10_000
_MAX_ANSWERS = 2**31  # bytes


def study_concepts(
    tested: Bundle | Run,
    cohort: Cohort,
    concepts: Sequence[Concept],
    folder: str | Path,
    *,
    layers: Sequence[str] = (),
    how: Directions = Directions(),  # noqa: B008
    n_random: int = N_RANDOM,
    fit: np.ndarray | None = None,
    known_values: pd.DataFrame | None = None,
    resume: bool = False,
    arguments: Mapping[str, Any] | None = None,
    cache: Cache | None = None,
    progress: Progress = silent,
) -> ConceptTest:
    """Ask which concepts the networks use for which class, layer by layer, and write the run folder `folder`.

    tested        a bundle, or the run of a family of folds: each network is fitted on its training folds and scored on
                  the fold that it has not seen
    cohort        records with the classes of the bundle as labels; of a family as `folds_of` returns it
    layers        by name; default six from input to output
    n_random      random groups of the test
    fit           of a bundle, bool [record]: see `bundle_asked`
    known_values  measurements of an earlier run, see `read_values`

    A class or concept with fewer than 20 records or 10 patients on either side, or that is another's label, is left out
    and listed. Raises InputError where none is left, LeakError where a network has seen somebody whom it is scored on,
    UsageError for an unknown layer, ContractError where a resumed run began otherwise, or with other networks.
    """
    bundle = tested if isinstance(tested, Bundle) else Bundle.load(tested.bundle_folder("final"))
    chosen = choose_layers(bundle.network, layers)
    told = dict(arguments or {}) | {
        "concepts": {concept.name: [concept.text, hash_of(sorted(concept.records or ()))] for concept in concepts},
        "layers": list(chosen), "fit": how.fit, "steps": how.steps, "cavs": how.n_cavs, "random": n_random,
        "cohort": cohort.name, "records_sha256": hash_of(list(cohort.record_ids)),
        "weights_sha256": weights_of(tested, cohort),
    }  # fmt: skip
    run = Run.create(Path(folder), "test-concepts", told, how.seed, resume)
    with run.writing(), run.journal() as journal:
        if not run.read().get("finished"):
            prepared = prepare(cohort, bundle.preprocessing, cache=cache, progress=progress)
            values, unread = record_values(prepared.cohort, concepts, journal, known=known_values, progress=progress)
            usable = prepared.take([i for i, r in enumerate(prepared.cohort.record_ids) if r in values.index])
            run.write_table(VALUES, values.rename_axis("record_id"), index=True)
            excluded = (*cohort.excluded, *prepared.excluded, *unread)
            _Study(run, journal, usable, excluded, bundle, chosen, how, n_random, progress).do(
                tested, values, concepts, None if fit is None else _of_usable(fit, cohort, usable.cohort)
            )
    return ConceptTest.open(run.folder)


def foresee(
    bundle: Bundle,
    cohort: Cohort,
    *,
    layers: Sequence[str] = (),
    n_random: int = N_RANDOM,
    fit: np.ndarray | None = None,
) -> list[str]:
    """Return what can be said of a study before it begins: that it has too few random groups for any verdict.

    As `study_concepts` is called; a class that turns out too small once records are prepared makes the tests fewer.
    """
    scored = np.arange(len(cohort)) if fit is None else np.flatnonzero(~fit)
    people = pd.factorize(np.array(people_of(cohort), dtype=object))[0]
    classes, _ = classes_of(cohort, bundle.classes, scored, people)
    return _warnings(n_random, len(choose_layers(bundle.network, layers)), len(classes))


def _warnings(n_random: int, n_layers: int, n_classes: int) -> list[str]:
    few = too_few_random(n_random, n_layers * n_classes)
    return [f"No verdict can come of this: {few} ({n_layers} layers x {n_classes} classes)."] if few else []


def _of_usable(fit: np.ndarray, cohort: Cohort, usable: Cohort) -> np.ndarray:
    chosen = {record for record, here in zip(cohort.record_ids, fit, strict=True) if here}
    return np.array([record in chosen for record in usable.record_ids])


class _Study:
    """One run at work on the records that can be used."""

    def __init__(
        self, run: Run, journal: Journal, prepared: Prepared, excluded: Sequence[Excluded], bundle: Bundle,
        layers: Sequence[str], how: Directions, n_random: int, progress: Progress,
    ) -> None:  # fmt: skip
        self.run, self.journal, self.prepared, self.excluded = run, journal, prepared, excluded
        self.bundle, self.layers, self.how, self.n_random, self.progress = bundle, layers, how, n_random, progress
        self.cohort = prepared.cohort
        self.people = pd.factorize(np.array(people_of(self.cohort), dtype=object))[0]

    def do(
        self, tested: Bundle | Run, values: pd.DataFrame, concepts: Sequence[Concept], fit: np.ndarray | None
    ) -> None:
        """Ask all networks, test all concepts, write the tables."""
        asked = (
            bundle_asked(tested, self.cohort, fit, self.how.seed) if isinstance(tested, Bundle)
            else family_asked(tested, self.cohort)
        )  # fmt: skip
        for one in asked:
            one.bundle.refuse_own_patients(self.cohort.name, (), [self.prepared.fingerprints[i] for i in one.scored])
        scored = np.unique(np.concatenate([one.scored for one in asked]))
        classes, small = classes_of(self.cohort, self.bundle.classes, scored, self.people)
        groups, unfit = groups_of(self.cohort, values, concepts, self.people)
        left_out = [*small, *unfit]
        if not groups or not classes:
            raise InputError(
                self.cohort.name, "concepts and classes", "; ".join(one.reason for one in left_out),
                "one of each, or more", kind="no_concepts",
            )  # fmt: skip
        labels = self.cohort.labels[classes]
        members = pd.DataFrame({group.concept.name: group.members for group in groups}, index=labels.index)
        every = self.cohort.labels[list(self.bundle.classes)]
        association = associate(every, members, people_of(self.cohort), seed=self.how.seed)
        answers = [(one, self._answers(one, k, len(asked), groups, labels)) for k, one in enumerate(asked, 1)]
        tests = [self._test(k, len(groups), group, answers) for k, group in enumerate(groups, 1)]
        cells = cells_of(answers, groups, tests, labels, self.layers, self.people, self.n_random, self.how.seed)
        self.run.write_table(CELLS, cells)
        self.run.write_table(ASSOCIATION, association)
        excluded = [vars(entry) for entry in self.excluded]
        self.run.write_table("excluded", pd.DataFrame(excluded, columns=["record_id", "kind", "reason"]))
        told = {
            "cells": records(cells), "association": records(association),
            "concepts": [group.as_dict(self.people) for group in groups], "left_out": [vars(one) for one in left_out],
            "per_class": {name: {"n": int((labels[name].to_numpy()[scored] == 1).sum())} for name in classes},
            "layers": list(self.layers), "networks": [one.name for one in asked], "n": len(scored),
            "n_patients": len(set(self.people[scored])), "n_fitted": len(self.cohort),
            "label_rule": self.cohort.label_rule, "bundle": self.bundle.name, "data": self.cohort.name,
            "fit": self.how.fit, "steps": self.how.steps, "cavs": self.how.n_cavs, "random": self.n_random,
            "warnings": _warnings(self.n_random, len(self.layers), len(classes)) + nearly_labels(association),
            "excluded": excluded,
        }  # fmt: skip
        write_json(self.run.folder / RESULT, {"schema": 1} | told)
        self.run.note(finished=True)

    def _answers(
        self, asked: Asked, number: int, n_networks: int, groups: Sequence[Group], labels: pd.DataFrame
    ) -> Answers:
        """Return the answers of one network: those on the disk where they are finished."""
        path = self.run.folder / "arrays" / f"concepts-{asked.name}.npz"
        if asked.name not in self.journal.keys("network"):
            held = gather(asked, self.prepared.signals, self.layers, labels, self.how.steps)
            members, strata = (np.stack([getattr(group, what) for group in groups]) for what in ("members", "strata"))
            found = answers_of(asked, held, members, strata, self.people, self.how)
            buffer = io.BytesIO()
            np.savez(buffer, **{field.name: getattr(found, field.name) for field in fields(found)})
            write_bytes(path, buffer.getvalue())
            self.journal.record("network", asked.name, True)
        self.progress("asking networks", number, n_networks, asked.name)
        with np.load(io.BytesIO(read_bytes(path, _MAX_ANSWERS)), allow_pickle=False) as stored:
            return Answers(**{field.name: stored[field.name] for field in fields(Answers)})

    def _test(
        self, number: int, n_groups: int, group: Group, answers: Sequence[tuple[Asked, Answers]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return slope and p value [layer, class] of one concept, from the journal where they are finished."""
        name = group.concept.name
        known = self.journal.result("test", name)
        if known is None:
            seed = derived_seed(self.how.seed, "random groups", name)
            found = slope_test(answers, group.members, group.strata, self.people, self.n_random, seed)
            known = [[[json_number(value) for value in row] for row in table] for table in found]
            self.journal.record("test", name, known)
        self.progress("against random groups", number, n_groups, name)
        effect, p = (np.array(table, dtype=float) for table in known)
        return effect, p
