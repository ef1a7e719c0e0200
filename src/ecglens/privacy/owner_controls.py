# SPDX-License-Identifier: Apache-2.0
"""Controls that are counted from what an attacker said: each database alone, owners dealt out anew, and why not.

Nothing is trained for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ecglens.privacy.compared import Compared, all_trials
from ecglens.privacy.deals import DEALS, spread_of_deals
from ecglens.privacy.figures import rank_over_folds, rows_of
from ecglens.privacy.known_people import FEWEST
from ecglens.privacy.scoring import Heard
from ecglens.privacy.windows import Windowed
from ecglens.runs.draws import derived_seed
from ecglens.statistics.figures import as_json
from ecglens.statistics.identification import Ranked, chance
from ecglens.statistics.people import mean_over_people
from ecglens.statistics.verification import equal_error_rate, verification

_ONE = "there is one database"
_NO_LABEL = "people have no label that others share"


def within_databases(heard: Sequence[Heard], windowed: Windowed, n_resamples: int, seed: int) -> dict[str, Any]:
    """Return what one attacker does on each database alone, of all folds; {} where there is one database.

    Where classes are named: database -> accuracy. Where recordings are compared: database -> `eer`, `eer_each_person`
    and `rank1` where both recordings, or the whole gallery, are of it; None where nothing is left to compare. Strangers
    of another database may be told apart by their recorder, which makes the error of all together too small, or the
    rank too good for its gallery. Each figure has value, low, high, chance, and the people and answers it rests on.
    """
    if windowed.table["database"].nunique() < 2:
        return {}
    how = {"n_resamples": n_resamples, "seed": seed}
    folds = [part.compared for part in heard if part.compared is not None]
    if folds:
        names = sorted({str(name) for fold in folds for name in fold.databases[_asked(fold)]})
        return {name: _compared_within([fold.within(name) for fold in folds], how) for name in names}
    rows, out = rows_of(heard), {}
    for database in sorted(set(rows["databases"].tolist())):
        here = rows["databases"] == database
        right = rows["scores"][here].argmax(axis=1) == rows["labels"][here]
        told = mean_over_people(right, rows["people"][here], n_resamples=n_resamples, seed=seed)
        commonest = float(np.bincount(rows["labels"][here]).max() / here.sum())
        out[database] = as_json(told, commonest) | {"n_people": told.n_patients, "n_asked": told.n}
    return out


def shuffled_owners(heard: Sequence[Heard], seed: int) -> dict[str, dict[str, Any]]:
    """Return what one attacker's answers are worth when owners are dealt out anew among the recordings of each fold.

    Where recordings are compared `eer` and `rank1`, where people are named `accuracy`: the mean of DEALS deals as
    value, 95 % of them between low and high, and `far_from_chance` where chance is beyond those by more than one
    answer. The similarities, and the windows that are named, stay as they are. So this says whether the counting alone
    is kinder than chance (people with many recordings, folds on scales of their own); not whether the training leaks.

    Chance of an accuracy: the share of windows that are given a name times that of the recordings that bear it, summed.
    """
    randoms = [np.random.default_rng(derived_seed(seed, "owners", number)) for number in range(DEALS)]
    folds = [part.compared for part in heard if part.compared is not None]
    if not folds:
        return {"accuracy": _named_by_chance(rows_of(heard), randoms)}
    rates, hits = [], []
    for random in randoms:
        trials = all_trials([fold.dealt(random, by_role=fold.across) for fold in folds])
        rates.append(np.nan if trials is None else equal_error_rate(trials))
        hits.append(_first([fold.dealt(random, by_role=True).ranks() for fold in folds]).mean())
    ranks = [fold.ranks() for fold in folds]
    sizes = np.concatenate([np.full(len(part.people), part.n_others + 1.0) for part in ranks])
    n_genuine = sum(int((fold.people[fold.one] == fold.people[fold.other]).sum()) for fold in folds)
    return {
        "eer": _spread(np.array(rates), chance("eer"), n_genuine),
        "rank1": _spread(np.array(hits), float((1 / sizes).mean()), len(sizes)),
    }


def why_not(told: Mapping[str, Any], task: str, *, several: bool, compares: bool) -> dict[str, str]:
    """Return for each control that is None why it is.

    told      controls, by name
    several   there are several databases
    compares  recordings are compared, of people never trained on; else people are named by who was trained on them
    """
    person = task == "person"
    elsewhere = (
        f"fewer than {FEWEST} people with two recordings, in a database or outside it"
        if compares
        else "whoever is left out of the training has no name to be given"
    )
    words = {
        "database_prediction": _ONE,
        "within_database": _ONE,
        "label_from_database": _NO_LABEL if person else _ONE,
        "leave_one_database_out": (elsewhere if several else _ONE) if person else _ONE,
        "shuffled_labels": f"{_NO_LABEL}; owners are dealt out anew instead (shuffled_owners)",
        "shuffled_owners": "labels are shuffled among people instead (shuffled_labels)",
    }
    return {key: reason for key, reason in words.items() if told.get(key) is None}


# -------------------------------------------------------------------------------------------------------------- inside


def _asked(fold: Compared) -> np.ndarray:
    return np.concatenate([fold.enrolled, fold.probes])


def _compared_within(folds: Sequence[Compared], how: Mapping[str, int]) -> dict[str, Any]:
    out: dict[str, Any] = {"eer": None, "eer_each_person": None, "rank1": None}
    trials = all_trials(folds)
    if trials is not None:
        n = {"n_genuine": int(trials.genuine.sum()), "n_impostor": int((~trials.genuine).sum())}
        for name, told in verification(trials, fmrs=(), **how).items():
            out[name] = as_json(told, chance(name)) | {"n_people": told.n_patients} | n
    # A gallery of one person is no question.
    ranks = [fold.ranks() for fold in folds if len(np.unique(fold.people[fold.enrolled])) > 1 and fold.known.any()]
    if ranks:
        told, level = rank_over_folds(ranks, 1, **how)
        sizes = [part.n_others + 1 for part in ranks]
        out["rank1"] = as_json(told, level) | {
            "n_people": told.n_patients, "n_asked": told.n, "gallery_size": min(sizes),
        }  # fmt: skip
    return out


def _first(ranks: Sequence[Ranked]) -> np.ndarray:
    """Return the chance that the right person comes first [probe], equal ones in random order."""
    return np.concatenate([(part.better == 0) / (part.ties + 1.0) for part in ranks])


def _named_by_chance(rows: Mapping[str, np.ndarray], randoms: Sequence[np.random.Generator]) -> dict[str, Any]:
    which, names = pd.factorize(rows["recordings"], sort=True)
    owners = pd.Series(rows["labels"]).groupby(which).first().to_numpy()  # [recording]
    named, n_classes = rows["scores"].argmax(axis=1), rows["scores"].shape[1]
    right = np.array([(named == random.permutation(owners)[which]).mean() for random in randoms])
    shares = [np.bincount(each, minlength=n_classes) / len(each) for each in (named, owners)]
    return _spread(right, float(shares[0] @ shares[1]), len(names))


def _spread(deals: np.ndarray, level: float, n: int) -> dict[str, Any]:
    """Return the mean and the spread of `deals` [deal]; n answers, of which one may be right or wrong by rounding."""
    return spread_of_deals(deals, level, 1 / n)
