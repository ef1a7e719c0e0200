# SPDX-License-Identifier: Apache-2.0
"""Which part of the beat does an attacker need? Take one away from everybody, and train it anew.

Attention says where a network looks, not what it needs, and a network that is shown something it never saw may fail
for that alone. So each interval is bridged by a straight line in every window, of training and of test alike, and the
same attacker learns again on the same splits with the same seed and budget. Beside it stands an attacker that lost as
many stretches of the same lengths at random places: what losing that much of the ECG costs anyhow.

What a straight line leaves: where and how high the peaks beside the interval are. A steep flank (Q-R, R-S) is nearly
straight already, so bridging it takes little away: `taken` says how much of the windows' variance.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.errors import InputError
from ecglens.privacy import unveiled
from ecglens.privacy.intervals import PARTITION, Marked, flattened, measure_windows, share_taken
from ecglens.privacy.scoring import Heard, Material
from ecglens.privacy.windows import Windowed
from ecglens.runs.journal import Journal
from ecglens.runs.progress import Progress, silent
from ecglens.statistics.bootstrap import Estimate, interval
from ecglens.statistics.identification import random_gallery_hits
from ecglens.statistics.people import numbered_on, people_drawn

Floats = NDArray[np.float64]
# (changed material, number of the split, folder for the network) -> what the attacker said
Ask = Callable[[Material, int, Path], Heard]


@dataclass(frozen=True, eq=False)
class Hits:
    """Whether an attacker was right, item by item, over all folds.

    metric   rank1, accuracy or balanced_accuracy
    values   0..1 [item]: of a recording the chance that its person comes first, of a window or a person 0 or 1
    people   number of the item's person [item]
    classes  of balanced accuracy, the item's [item]; else None
    """

    metric: str
    values: Floats
    people: NDArray[np.int64]
    classes: NDArray[np.int64] | None = None

    def figure(self, values: Floats, drawn: np.ndarray) -> Floats:
        """Return the metric of `values` [item] where each person counts `drawn` [resample, person] times: [resample].

        A resample that loses a class is scored on the others.
        """
        weights = drawn[:, self.people].astype(np.float64)
        if self.classes is None:
            return (weights @ values) / weights.sum(axis=1)
        recalls = []
        for k in np.unique(self.classes):
            mine = self.classes == k
            total = weights[:, mine].sum(axis=1)
            right = weights[:, mine] @ values[mine]
            recalls.append(np.divide(right, total, out=np.full(len(weights), np.nan), where=total > 0))
        return np.asarray(np.nanmean(recalls, axis=0))


def hits_of(heard: Sequence[Heard], task: str) -> Hits:
    """Return where an attacker was right over all folds, by the figure that its protocol is told with."""
    if heard[0].scores is None:
        found = [part.ranks for part in heard if part.ranks is not None]
        values = [random_gallery_hits(each.better, each.ties, each.n_others, each.n_others + 1, 1) for each in found]
        people = np.concatenate(numbered_on([each.people for each in found]))
        return Hits("rank1", np.concatenate(values), pd.factorize(people)[0].astype(np.int64))
    scores, labels, owners = (
        np.concatenate([getattr(part, key) for part in heard]) for key in ("scores", "labels", "people")
    )
    if task == "person":
        right = (scores.argmax(axis=1) == labels).astype(np.float64)
        return Hits("accuracy", right, pd.factorize(owners)[0].astype(np.int64))
    mean, truth = pd.DataFrame(scores).groupby(owners).mean(), pd.Series(labels).groupby(owners).first().to_numpy()
    right = (mean.to_numpy().argmax(axis=1) == truth).astype(np.float64)
    return Hits("balanced_accuracy", right, np.arange(len(right)), truth.astype(np.int64))


def check_causally(
    model: str, material: Material, marked: Marked, before: Hits, ask: Ask, n_splits: int, task: str, folder: Path, *,
    measured: dict[str, Floats] | None = None, n_resamples: int = 2000, seed: int = 0, progress: Progress = silent,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return one row for each interval of PARTITION: what the attacker loses with it, and with as much elsewhere.

    before   how it did on untouched windows
    ask      trains and asks it on one split of changed material, with the seed it had before
    folder   of the journal: what is finished there is not trained again
    measured features of changed windows by what was changed, kept here for the next readable attacker

    Rows: interval, task, model, metric, untouched; value, low, high (loss); control, control_low, control_high (loss
    of the control); beyond, beyond_low, beyond_high (loss beyond the control's), all over the same resampled people;
    taken, control_taken (shares of the windows' variance); per_beat (stretches that were found, per R peak).
    """
    folder.mkdir(parents=True, exist_ok=True)
    measured = {} if measured is None else measured
    rows, n_beats = [], sum(each.n_beats for each in marked.marks)
    with Journal(folder / "flattening.sqlite") as journal:
        for k, name in enumerate(PARTITION):
            found = []
            for control in (False, True):
                done = 2 * k + control
                progress(f"flattening {name}{' elsewhere' if control else ''}, {model}", done, 2 * len(PARTITION), "")
                windowed = flattened(material.windowed, marked, name, control=control, seed=seed)
                key = f"{name}/{'control' if control else 'interval'}"
                values = _retrained(key, model, windowed, before, ask, n_splits, task, folder, journal, measured)
                found.append((values, share_taken(material.windowed, windowed)))
            per_beat = sum(len(each[name]) for each in marked.stretches) / max(1, n_beats)
            about = {"interval": name, "task": task, "model": model, "metric": before.metric}
            rows.append(about | losses(before, found, n_resamples, seed) | {"per_beat": per_beat})
    progress(f"flattening, {model}", 2 * len(PARTITION), 2 * len(PARTITION), "")
    return rows


def _retrained(
    key: str, model: str, windowed: Windowed, before: Hits, ask: Ask, n_splits: int, task: str, folder: Path,
    journal: Journal, measured: dict[str, Floats],
) -> Floats | None:  # fmt: skip
    """Return the hits [item] of an attacker trained on changed windows, None where nothing could be learnt."""
    known = journal.result(model, key)
    if known is None:
        where = folder / model / key.replace("/", "-")
        try:
            if model in unveiled.MODELS and key not in measured:
                measured[key] = unveiled.window_features(windowed, measure_windows(windowed).marks)
            changed = Material(windowed, windowed.seen(), measured.get(key))
            told = hits_of([ask(changed, number, where / str(number)) for number in range(n_splits)], task)
        except InputError as error:
            if error.kind != "no_beats":  # not one wave is left to be measured
                raise
            known = {"values": None}
        else:
            if not np.array_equal(told.people, before.people):
                raise AssertionError("the same split must ask of the same people")
            known = {"values": told.values.tolist()}
        journal.record(model, key, known)
        shutil.rmtree(where, ignore_errors=True)  # a network that recognises people, and no longer needed
    return None if known["values"] is None else np.asarray(known["values"], np.float64)


def losses(before: Hits, found: Sequence[tuple[Floats | None, float]], n_resamples: int, seed: int) -> dict[str, Any]:
    """Return what is lost, as in the rows of `check_causally`: `found` is (hits [item], variance taken) of the attacker
    without the interval, then of the control; None where it could learn nothing.
    """
    n_people = int(before.people.max()) + 1
    everybody = np.ones((1, n_people))
    drawn = people_drawn(n_people, n_resamples, seed)
    figures = {
        name: None if values is None else (float(before.figure(values, everybody)[0]), before.figure(values, drawn))
        for name, values in (("untouched", before.values), ("value", found[0][0]), ("control", found[1][0]))
    }
    row: dict[str, Any] = {"untouched": figures["untouched"][0]}  # type: ignore[index]
    for name, better, worse in (("value", "untouched", "value"), ("control", "untouched", "control"),
                                ("beyond", "control", "value")):  # fmt: skip
        told = _difference(figures[better], figures[worse], len(before.values), n_people)
        low, high = ("low", "high") if name == "value" else (f"{name}_low", f"{name}_high")
        row |= {name: told.value, low: told.low, high: told.high}
    return row | {"taken": found[0][1], "control_taken": found[1][1]}


def _difference(one: tuple | None, other: tuple | None, n: int, n_people: int) -> Estimate:
    if one is None or other is None:
        return Estimate(np.nan, np.nan, np.nan, n, n_people, "nothing could be learnt")
    bounds = interval(one[1] - other[1])
    return Estimate(float(one[0] - other[0]), bounds.low, bounds.high, n, n_people, "paired resamples of people")
