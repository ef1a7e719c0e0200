# SPDX-License-Identifier: Apache-2.0
"""Whom states are fitted on, and whom they are read off: never the same people.

A family of folds: each network is fitted on people whom it was trained on, and scored on the fold that it has not seen.
One bundle: fitted on its own training people where the data have them, else on half of the people it has not seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecglens.bundle import Bundle
from ecglens.cohort import Cohort
from ecglens.concepts.state_choice import KS
from ecglens.errors import InputError
from ecglens.models.average import members_of, side_by_side
from ecglens.prediction.evaluate import people_of
from ecglens.prediction.family import bundles_of
from ecglens.runs.draws import derived_seed, record_keys, uniform
from ecglens.runs.run import Run

LEAST = 8  # records, on either side
LEAST_TRAINED = 60  # of the bundle's own training records, below which they are not "at hand"
OWN, HALF = "training records of the network", "half of the people that the network has not seen"

Places = NDArray[np.intp]


@dataclass(frozen=True)
class Size:
    """How much is asked for.

    fit, scored   records, at most; of a family together
    places        of the records to fit on, from which states are fitted; sweep: those on which every k is tried
    ks            numbers of states that are tried
    seeds, halves clusterings that are compared for each
    trees         of a forest
    aligned, shifts   records that are delineated; draws of the null
    perturbed     records that are shifted and spoilt; bridged: records whose states are taken away
    """

    fit: int = 2000
    scored: int = 2000
    places: int = 40_000
    sweep: int = 12_000
    ks: tuple[int, ...] = KS
    seeds: int = 10
    halves: int = 5
    trees: int = 500
    aligned: int = 500
    shifts: int = 5000
    perturbed: int = 60
    bridged: int = 60


QUICK = Size()


@dataclass(frozen=True, eq=False)
class Asked:
    """One network, and places in the cohort of the records it is fitted and scored on.

    members  the networks behind it where it is an average, each as a bundle with the average's calibration
    """

    name: str
    bundle: Bundle
    fit: Places
    scored: Places
    fitted_on: str
    members: tuple[Bundle, ...] = ()

    def as_one(self) -> Asked:
        """Return the same with an average as one network whose layers lie side by side, its members kept."""
        networks = members_of(self.bundle.network)
        return replace(
            self, bundle=replace(self.bundle, network=side_by_side(self.bundle.network)),
            members=tuple(replace(self.bundle, network=network) for network in networks),
        )  # fmt: skip


def bundle_asked(bundle: Bundle, cohort: Cohort, scored: np.ndarray, size: Size, seed: int) -> list[Asked]:
    """Return the network of a bundle.

    cohort   all records at hand; scored: bool [record], those that may be scored

    Raises LeakError where the bundle has seen somebody who is scored, InputError where there are too few records.
    """
    keys = cohort.patient_keys
    bundle.refuse_own_patients(cohort.name, [key for key, here in zip(keys, scored, strict=True) if here], ())
    own = np.array(bundle.trained_on.holds("train", keys), dtype=bool) & ~scored
    if own.sum() >= LEAST_TRAINED:
        fit, score, how = np.flatnonzero(own), np.flatnonzero(scored), OWN
    else:
        fit, score = _halves(cohort, np.flatnonzero(scored), seed)
        how = HALF
    ids = cohort.record_ids
    return [
        _checked(Asked("network", bundle, _some(fit, ids, size.fit, seed), _some(score, ids, size.scored, seed), how))
    ]


def family_asked(run: Run, cohort: Cohort, size: Size, seed: int) -> list[Asked]:
    """Return each network of a family of folds with its own training people and the fold that it has not seen."""
    place = {record: i for i, record in enumerate(cohort.record_ids)}
    keys, ids = cohort.patient_keys, cohort.record_ids
    folds = list(bundles_of(run, cohort))
    asked = []
    for fold, bundle, part in folds:
        bundle.refuse_own_patients(cohort.name, part.patient_keys, ())
        score = np.array([place[record] for record in part.record_ids], dtype=np.intp)
        own = np.array(bundle.trained_on.holds("train", keys), dtype=bool)
        own[score] = False
        n_fit, n_scored = max(200, size.fit // 2), -(-size.scored // len(folds))
        asked.append(_checked(Asked(
            f"fold-{fold}", bundle, _some(np.flatnonzero(own), ids, n_fit, seed), _some(score, ids, n_scored, seed), OWN
        )))  # fmt: skip
    return asked


def _halves(cohort: Cohort, places: Places, seed: int) -> tuple[Places, Places]:
    people = np.array(people_of(cohort), dtype=object)[places].astype(str)
    names, codes = np.unique(people, return_inverse=True)
    first = np.random.default_rng(derived_seed(seed, "halves")).permutation(len(names))[codes] < len(names) / 2
    return places[first], places[~first]


def _some(places: Places, record_ids: tuple[str, ...], most: int, seed: int) -> Places:
    """Return at most `most` of the places, in order; whether a record is among them hangs on its name alone."""
    if len(places) <= most:
        return places
    draw = uniform(seed, "chosen for states", record_keys([record_ids[i] for i in places]), 1)[:, 0]
    return np.sort(places[np.argsort(draw, stable=True)[:most]])


def _checked(asked: Asked) -> Asked:
    for what, places in (("to fit states on", asked.fit), ("to score", asked.scored)):
        if len(places) < LEAST:
            raise InputError(
                asked.bundle.name, f"records {what}", len(places), f"{LEAST} or more", "give more data, or --fold all",
                kind="too_few",
            )  # fmt: skip
    return asked
