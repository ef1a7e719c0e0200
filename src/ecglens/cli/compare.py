# SPDX-License-Identifier: Apache-2.0
"""`ecglens compare`: is one bundle better than another, on the same patients?"""

from __future__ import annotations

import typer

from ecglens.cli.arguments import Data, Dataset, Json, Seed
from ecglens.cli.console import Outcome, columns, conclude
from ecglens.statistics.figures import interval, number


def compare(
    data: Data,
    first: str = typer.Argument(..., metavar="A", help="A bundle, a run folder, or `pretrained`."),
    second: str = typer.Argument(..., metavar="B", help="The other."),
    dataset: Dataset = None,
    fold: str = typer.Option("", help="As in `evaluate`; default: all where both are cross-validated, else 10."),
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Compare two bundles on the same held-out patients: difference in AUROC, paired, with 95 % intervals.

    Example: ecglens compare runs/second runs/first --data ptbxl/ --fold 10
    """
    raise typer.Exit(conclude(lambda: _compare(first, second, data, dataset, fold, seed), as_json))


def _compare(first: str, second: str, data: str, dataset: str | None, fold: str, seed: int) -> Outcome:
    from ecglens.bundle import Bundle
    from ecglens.cli.evaluate import choose_fold, load_for, score
    from ecglens.prediction.evaluate import people_of
    from ecglens.prediction.family import compare as pair
    from ecglens.prediction.family import folds_of

    bundles = [Bundle.load(where) for where in (first, second)]
    cohort = load_for(bundles[0], data, dataset)  # one label rule for both
    if not fold and not all(folds_of(where, cohort) is not None for where in (first, second)):
        fold = choose_fold(cohort, "")[1]  # the same for both: a family alone would be scored on all its folds
    (a, _, part, _), (b, _, _, _) = (
        score(where, bundle, cohort, fold, seed) for where, bundle in zip((first, second), bundles, strict=True)
    )
    people = dict(zip(part.record_ids, people_of(part), strict=True))
    table = pair(a, b, people, seed=seed)
    told = [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
    rows = [(row["class"], number(row["auroc_a"]), number(row["auroc_b"]), interval(row)) for row in told]
    n, n_patients = int(table["n"].iloc[-1]), int(table["n_patients"].iloc[-1])
    text = (
        f"A = {first}, B = {second}; {cohort.name}, N = {n} records of {n_patients} patients. Difference 0: none.\n"
        f"Label rule: {a.label_rule}\n\n" + columns(("class", "AUROC A", "AUROC B", "A - B"), rows)
        + f"\n\nIntervals: {table['method'].iloc[-1]}; not corrected for the number of classes."
    )  # fmt: skip
    found = {"a": first, "b": second, "label_rule": a.label_rule, "differences": told}
    return Outcome(found, text)
