# SPDX-License-Identifier: Apache-2.0
"""ECG Unveiled (Wang et al., BSN 2024): peaks of P, Q, R, S and T, and models whose every decision can be read.

The paper's full list of features is not obtainable. Here, per beat: the 10 intervals and the 10 differences of
amplitude between the five peaks, the RR interval before it and QT corrected for it (Bazett: QT / sqrt RR); per window
their median and interquartile range. Amplitudes are those of the prepared window, so that after a min-max scaling
only their ratios are left, as for the networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecglens.errors import InputError
from ecglens.fiducials import MARKS, Fiducials
from ecglens.privacy.windows import Windowed

PEAKS = ("P", "Q", "R", "S", "T")
_PAIRS = tuple(combinations(PEAKS, 2))
PER_BEAT = (
    *(f"{a}-{b} interval" for a, b in _PAIRS),
    *(f"{a}-{b} amplitude" for a, b in _PAIRS),
    "RR", "QTc",
)  # fmt: skip
FEATURES = tuple(f"{how} {name}" for how in ("median", "spread") for name in PER_BEAT)
SAYS = {
    "unveiled-lr": "after ECG Unveiled, whose full list of features is not published: logistic regression on intervals "
    "and differences of amplitude between P, Q, R, S and T",
    "unveiled-tree": "a decision tree on the same features",
    "unveiled-forest": "a forest of 500 trees on the same features",
}
MODELS = tuple(SAYS)
_DEPTHS = (3, 5, 8, 12)
_TREES = 500

Floats = NDArray[np.float64]


def window_features(windowed: Windowed, marks: Sequence[Fiducials]) -> Floats:
    """Return the FEATURES of each window [window, feature] by its marks, NaN where a wave was found in no beat."""
    seen = windowed.seen()[:, 0]
    features = [summarized(beat_features(each, signal, windowed.fs)) for each, signal in zip(marks, seen, strict=True)]
    return np.stack(features)


def beat_features(marks: Fiducials, signal: np.ndarray, fs: float) -> Floats:
    """Return PER_BEAT of the first lead: [beat, feature]; intervals in s, amplitudes in the unit of `signal` [time]."""
    times = {name: marks.times[0, :, MARKS.index(f"{name}_peak")] for name in PEAKS}
    heights = {name: _at(signal, at, fs) for name, at in times.items()}
    onset, offset = (marks.times[0, :, MARKS.index(name)] for name in ("QRS_onset", "T_offset"))
    rr = np.concatenate([[np.nan], np.diff(times["R"])])[: marks.n_beats]
    rows = [times[b] - times[a] for a, b in _PAIRS] + [heights[b] - heights[a] for a, b in _PAIRS]
    with np.errstate(invalid="ignore", divide="ignore"):
        rows += [rr, (offset - onset) / np.sqrt(rr)]
    return np.stack(rows, axis=1)


def summarized(beats: Floats) -> Floats:
    """Return median and interquartile range over the beats of each feature: [2 x feature], NaN where no beat has it."""
    known = ~np.isnan(beats).all(axis=0) if len(beats) else np.zeros(len(PER_BEAT), bool)
    out = np.full((2, len(PER_BEAT)), np.nan)
    if known.any():
        low, middle, high = np.nanquantile(beats[:, known], [0.25, 0.5, 0.75], axis=0)
        out[:, known] = middle, high - low
    return out.ravel()


@dataclass(frozen=True, eq=False)
class Readable:
    """A fitted model over features, and what it needs to take new ones.

    estimator  of scikit-learn, which has seen `scaled` features
    centre     put where a feature is missing: the median of training [feature]
    mean, deviation  of training, taken off and divided by [feature]
    """

    estimator: Any
    centre: Floats
    mean: Floats
    deviation: Floats

    def scaled(self, features: Floats) -> Floats:
        """Return features as the estimator takes them."""
        return (np.where(np.isnan(features), self.centre, features) - self.mean) / self.deviation

    def probabilities(self, features: Floats, n_classes: int) -> Floats:
        """Return [item, class], 0 for classes that training did not have."""
        out = np.zeros((len(features), n_classes))
        out[:, self.estimator.classes_] = self.estimator.predict_proba(self.scaled(features))
        return out


def fit_readable(
    model: str, train: tuple[Floats, NDArray[np.int64]], valid: tuple[Floats, NDArray[np.int64]], seed: int = 0
) -> Readable:
    """Fit one of MODELS on (features [item, feature], class [item]); validation chooses the depth of the tree alone.

    Raises InputError where not one wave was found in training.
    """
    features, classes = train
    known = ~np.isnan(features).all(axis=0)
    if not known.any():
        raise InputError("unveiled", "features", "none: no wave was found", "windows with beats", kind="no_beats")
    centre = np.zeros(features.shape[1])
    centre[known] = np.nanmedian(features[:, known], axis=0)
    filled = np.where(np.isnan(features), centre, features)
    deviation = filled.std(axis=0)
    shell = Readable(None, centre, filled.mean(axis=0), np.where(deviation > 0, deviation, 1.0))
    x = shell.scaled(features)
    fitted = [estimator.fit(x, classes) for estimator in _candidates(model, seed)]
    if len(fitted) > 1 and len(valid[1]):
        scores = [estimator.score(shell.scaled(valid[0]), valid[1]) for estimator in fitted]
        fitted = [fitted[int(np.argmax(scores))]]
    return Readable(fitted[0], centre, shell.mean, shell.deviation)


def _candidates(model: str, seed: int) -> list[Any]:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.tree import DecisionTreeClassifier

    if model == "unveiled-lr":
        return [LogisticRegression(C=1.0, max_iter=2000)]
    if model == "unveiled-tree":
        return [DecisionTreeClassifier(max_depth=depth, min_samples_leaf=2, random_state=seed) for depth in _DEPTHS]
    return [RandomForestClassifier(_TREES, min_samples_leaf=2, random_state=seed, n_jobs=1)]


def pair_features(features: Floats, first: np.ndarray, second: np.ndarray) -> Floats:
    """Return how far apart two recordings are in each feature [pair, feature]; small where both are of one person."""
    return np.abs(features[first] - features[second])


def pairs_to_learn(
    people: np.ndarray, recordings: Sequence[str], seed: int, impostors: int = 5
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return every pair of one person, of different recordings where there are some, and five times as many of two."""
    random = np.random.default_rng(seed)
    first, second = np.triu_indices(len(people), k=1)
    own = people[first] == people[second]
    names = np.asarray(recordings, dtype=object)
    between = own & (names[first] != names[second])
    genuine = np.flatnonzero(between if between.any() else own)
    others = np.flatnonzero(~own)
    drawn = random.permutation(others)[: impostors * max(1, len(genuine))]
    chosen = np.sort(np.concatenate([genuine, drawn]))
    return first[chosen], second[chosen]


def _at(signal: np.ndarray, times: Floats, fs: float) -> Floats:
    known = ~np.isnan(times)
    out = np.full(times.shape, np.nan)
    index = np.rint(times[known] * fs).astype(int).clip(0, len(signal) - 1)
    out[known] = signal[index]
    return out
