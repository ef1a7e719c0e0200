# SPDX-License-Identifier: Apache-2.0
"""What would more patients bring? One network trained on parts of the training patients, tested on the same people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort
from ecglens.errors import UsageError
from ecglens.prediction.evaluate import people_of, score_prepared
from ecglens.preprocessing.prepare import prepare
from ecglens.runs.cache import Cache
from ecglens.runs.draws import derived_seed
from ecglens.runs.progress import Progress, silent
from ecglens.training.recipes import Recipe
from ecglens.training.train import train

FRACTIONS = (0.1, 0.25, 0.5, 1.0)
TRAIN_FOLDS, VALID_FOLD, TEST_FOLD = tuple(range(1, 9)), 9, 10
COLUMNS = ("fraction", "n_train", "n_train_patients", "metric", "value", "low", "high", "n", "n_patients", "method")


def learning_curve(
    cohort: Cohort,
    recipe: Recipe,
    out: str | Path,
    *,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    n_resamples: int = 2000,
    cache: Cache | None = None,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Return macro AUROC and its interval by size of the training set: the columns `COLUMNS`, one row per fraction.

    cohort      with folds: 1 to 8 train, 9 chooses epoch and thresholds, 10 is scored, as ever
    fractions   of the patients of folds 1 to 8, rising; a smaller part is contained in each larger one
    out         a run folder per fraction is written below it

    Fold 9 stays whole at each size, so the curve shows what training patients bring, not what choosing does. Intervals
    are over the test patients; another draw of the patients or another seed would move the points as well.
    Raises UsageError for fractions outside (0, 1] or a cohort without folds, and what `train` raises.
    """
    if not all(0 < fraction <= 1 for fraction in fractions) or list(fractions) != sorted(set(fractions)):
        raise UsageError("learning_curve", "fractions", list(fractions), "above 0, up to 1, rising")
    if not cohort.metadata["fold"].isin((*TRAIN_FOLDS, VALID_FOLD)).any():
        raise UsageError("learning_curve", "fold", "none known", "a cohort with folds")
    tested, rows = cohort.where(fold=TEST_FOLD), []
    for fraction in fractions:
        part = cohort.where(_kept(cohort, fraction, seed))
        trained = train(part, recipe, Path(out) / f"{fraction:g}", seed=seed, cache=cache, progress=progress)
        prepared = prepare(tested, recipe.preprocessing, cache=cache, progress=progress)
        scores = score_prepared(trained.bundle, prepared, n_resamples=n_resamples, seed=seed).as_dict()
        learnt = part.where(fold=list(TRAIN_FOLDS))
        figure = scores["macro_auroc"]
        sizes = {"fraction": fraction, "n_train": len(learnt), "n_train_patients": learnt.n_patients}
        rows.append(sizes | {"metric": "macro_auroc"} | {key: figure[key] for key in COLUMNS[4:]})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _kept(cohort: Cohort, fraction: float, seed: int) -> np.ndarray:
    """Return which records are used [record]: the first patients in an order drawn once, and all of fold 9."""
    fold, people = cohort.metadata["fold"].to_numpy(), np.array(people_of(cohort))
    trains = np.isin(fold.astype(float), TRAIN_FOLDS)
    order = np.random.default_rng(derived_seed(seed, "learning curve")).permutation(np.unique(people[trains]))
    chosen = order[: max(1, round(fraction * len(order)))]
    return (trains & np.isin(people, chosen)) | (fold.astype(float) == VALID_FOLD)
