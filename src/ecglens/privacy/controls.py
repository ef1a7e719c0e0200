# SPDX-License-Identifier: Apache-2.0
"""Controls: what a figure could owe to something else than the heart: the database, the split, one person twice.

They use a plain model (logistic regression on the spectrum of the very windows that the attackers see), so that they
are done in seconds and in every run.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.privacy.deals import DEALS, spread_of_deals
from ecglens.privacy.duplicates import alike_people
from ecglens.privacy.transfer import learnt_elsewhere
from ecglens.privacy.windows import Windowed
from ecglens.runs.draws import derived_seed
from ecglens.statistics.classification import classification, macro_figures
from ecglens.statistics.figures import as_json

_BANDS = 40
_HIGHEST = 45.0  # Hz
_FOLDS = 5

Floats = NDArray[np.float64]


def spectra(windowed: Windowed) -> Floats:
    """Return the log power of the windows as seen, in _BANDS bands up to _HIGHEST Hz: [window, band]."""
    seen = windowed.seen()[:, 0].astype(np.float64)
    power = np.abs(np.fft.rfft(seen - seen.mean(axis=1, keepdims=True), axis=1)) ** 2
    frequencies = np.fft.rfftfreq(seen.shape[1], 1 / windowed.fs)
    edges = np.linspace(0.5, _HIGHEST, _BANDS + 1)
    bands = [power[:, (frequencies >= a) & (frequencies < b)].mean(axis=1) for a, b in pairwise(edges)]
    return np.log(np.stack(bands, axis=1) + 1e-12)


def controls(
    windowed: Windowed, labels: pd.Series | None, *, compares: bool = False, seed: int = 0, n_resamples: int = 2000
) -> dict[str, Any]:  # fmt: skip
    """Return the controls that need no attacker, JSON-ready; None where a control does not apply.

    labels    sex or age group of each window, None (unknown) left out; None for the task `person`
    compares  recordings of people never seen are compared

    database_prediction     how well the database is told from a window of somebody unseen
    label_from_database     how well the label is told from the name of the database alone, counting everybody
    leave_one_database_out  balanced accuracy for the label on each database, learnt on the others; of people who are
                            compared `transfer.learnt_elsewhere`
    shuffled_labels         ... learnt on labels shuffled among people, of DEALS deals: see `shuffled_labels`
    duplicate_people        pairs of people of whom two windows are one curve, and how many windows were compared
    """
    table, x = windowed.table, spectra(windowed)
    databases = table["database"].to_numpy()
    alike = alike_people(windowed)
    doubled = {"n": len(alike.pairs), "n_windows": alike.n_windows, "n_windows_in_all": alike.n_of}
    told: dict[str, Any] = {"duplicate_people": doubled}
    several = len(set(databases)) > 1
    told["database_prediction"] = _cross_validated(x, databases, table, seed, n_resamples) if several else None
    if labels is None:
        how = {"seed": seed, "n_resamples": n_resamples}
        elsewhere = learnt_elsewhere(x, table, **how) if several and compares else {}
        left_out = elsewhere if any(elsewhere.values()) else None
        return told | {"label_from_database": None, "leave_one_database_out": left_out, "shuffled_labels": None}
    known = labels.notna().to_numpy()
    part, y, x = table[known], labels[known].to_numpy(), x[known]
    told["label_from_database"] = _from_database(part, y, seed, n_resamples) if several else None
    told["leave_one_database_out"] = _left_out(x, y, part, seed, n_resamples) if several else None
    told["shuffled_labels"] = shuffled_labels(x, y, part, seed)
    return told


def shuffled_labels(x: Floats, y: np.ndarray, table: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Return the balanced accuracy on people left out where the plain model learns labels shuffled among people.

    One shuffle is one draw, and may lie anywhere that luck puts it. So there are DEALS of them (`n_deals`): their mean
    as value, 95 % of them between low and high, and `far_from_chance` where chance is beyond those. Then the split or
    the counting of this control is not fair, and so is nothing that it says of the real labels.
    """
    classes = np.unique(y.astype(str))
    right = []
    for number in range(DEALS):
        dealt = shuffled_by_person(y, table, derived_seed(seed, "labels", number))
        mean, truth = _by_person(_of_unseen(x, dealt, table, classes, seed), dealt, classes, table)
        confused = np.zeros((1, len(classes), len(classes)))
        np.add.at(confused[0], (truth.to_numpy(), mean.to_numpy().argmax(axis=1)), 1.0)
        right.append(macro_figures(confused)["balanced_accuracy"][0])
    return spread_of_deals(np.array(right), 1 / len(classes))


def shuffled_by_person(labels: np.ndarray, table: pd.DataFrame, seed: int) -> np.ndarray:
    """Return labels [window] dealt out anew among the people: windows of one person keep one label."""
    people, first = np.unique(table["person"].to_numpy().astype(str), return_index=True)
    dealt = dict(zip(people, np.random.default_rng(seed).permutation(labels[first]), strict=True))
    return np.array([dealt[person] for person in table["person"]], dtype=object)


def _cross_validated(x: Floats, y: np.ndarray, table: pd.DataFrame, seed: int, n_resamples: int) -> dict | None:
    """Return the balanced accuracy on people left out, five times."""
    classes = np.unique(y.astype(str))
    return _balanced(_of_unseen(x, y, table, classes, seed), y, classes, table, seed, n_resamples)


def _of_unseen(x: Floats, y: np.ndarray, table: pd.DataFrame, classes: np.ndarray, seed: int) -> Floats:
    """Return the scores [window, class] of people left out, a fifth at a time."""
    people = np.unique(table["person"].to_numpy().astype(str))
    fold = dict(zip(np.random.default_rng(seed).permutation(people), np.arange(len(people)) % _FOLDS, strict=True))
    folds = np.array([fold[person] for person in table["person"]])
    scores = np.zeros((len(y), len(classes)))
    for number in range(_FOLDS):
        test = folds == number
        if len(np.unique(y[~test].astype(str))) < 2 or not test.any():
            continue
        scores[test] = _fitted(x[~test], y[~test], x[test], classes)
    return scores


def _left_out(x: Floats, y: np.ndarray, table: pd.DataFrame, seed: int, n_resamples: int) -> dict[str, Any]:
    databases, classes = table["database"].to_numpy(), np.unique(y.astype(str))
    told: dict[str, Any] = {}
    for name in np.unique(databases.astype(str)):
        test = databases == name
        enough = len(np.unique(y[~test].astype(str))) > 1 and len(np.unique(y[test].astype(str))) > 1
        told[name] = None
        if enough:
            scores = _fitted(x[~test], y[~test], x[test], classes)
            told[name] = _balanced(scores, y[test], classes, table[test], seed, n_resamples)
    return told


def _from_database(table: pd.DataFrame, y: np.ndarray, seed: int, n_resamples: int) -> dict | None:
    """Return the balanced accuracy of naming, for everybody, the label that their database has the largest part of.

    Everybody is counted, also who is asked about: the others of a database that is balanced have one fewer of the
    right label, and would always name the wrong one. So chance is the least, and few people of a database are told a
    little too well.
    """
    classes = np.unique(y.astype(str))
    one_hot = (y.astype(str)[:, None] == classes).astype(float)
    people = pd.DataFrame(one_hot, index=table["person"]).groupby(level=0).first()
    database = table.drop_duplicates("person").set_index("person")["database"].loc[people.index]
    part = people.groupby(database.to_numpy()).transform("sum") / people.sum()
    scores = part.loc[table["person"]].to_numpy()
    return _balanced(scores, y, classes, table, seed, n_resamples)


def _fitted(x: Floats, y: np.ndarray, test: Floats, classes: np.ndarray) -> Floats:
    from sklearn.linear_model import LogisticRegression

    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-9
    model = LogisticRegression(C=0.1, max_iter=500, class_weight="balanced").fit((x - mean) / deviation, y.astype(str))
    out = np.zeros((len(test), len(classes)))
    out[:, np.searchsorted(classes, model.classes_)] = model.predict_proba((test - mean) / deviation)
    return out


def _balanced(
    scores: Floats, y: np.ndarray, classes: np.ndarray, table: pd.DataFrame, seed: int, n_resamples: int
) -> dict[str, float]:
    """Return the balanced accuracy over people, windows of a person averaged."""
    mean, truth = _by_person(scores, y, classes, table)
    told, chances = classification(
        mean.to_numpy(), truth.to_numpy(), mean.index.tolist(), n_resamples=n_resamples, seed=seed
    )
    return as_json(told["balanced_accuracy"], chances["balanced_accuracy"])


def _by_person(
    scores: Floats, y: np.ndarray, classes: np.ndarray, table: pd.DataFrame
) -> tuple[pd.DataFrame, pd.Series]:
    """Return scores [person, class], windows of a person averaged, and the number of each person's class."""
    people = table["person"].to_numpy().astype(str)
    mean = pd.DataFrame(scores).groupby(people).mean()
    return mean, pd.Series(np.searchsorted(classes, y.astype(str))).groupby(people).first()
