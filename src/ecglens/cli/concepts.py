# SPDX-License-Identifier: Apache-2.0
"""`ecglens test-concepts`: what does a network use QRS width, voltage, Q waves, age or sex for?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ecglens.cli.arguments import Data, Dataset, Json, Seed
from ecglens.cli.console import PARTLY, Outcome, ProgressLine, columns, conclude, listed, say

if TYPE_CHECKING:
    import numpy as np

    from ecglens.bundle import Bundle
    from ecglens.cohort import Cohort
    from ecglens.concepts.result import ConceptTest
    from ecglens.runs.run import Run


def concepts(
    data: Data,
    out: Path = typer.Option(..., help="Run folder to write: concepts.json, concepts.html, tables."),
    bundle: str = typer.Argument("pretrained", metavar="BUNDLE", help="A bundle, a run folder, or a shipped one."),
    file: Path | None = typer.Option(
        None, "--concepts", help="TOML file of concepts; default: the thirteen shipped ones."
    ),
    dataset: Dataset = None,
    fold: str = typer.Option("", help="Whom to score: a fold, several (9,10), or all; default as in `evaluate`."),
    fit_fold: str = typer.Option(
        "", help="Of a single bundle: folds to fit directions on; default: within --fold, crosswise by patient."
    ),
    layers: str = typer.Option("", help="Layers by name, joined by comma; default: six from input to output."),
    fit: str = typer.Option("closed", help="How directions are fitted: closed (linear discriminant), or sgd."),
    steps: str = typer.Option("mean", help="What a layer holds: the mean over its time steps, or each of them."),
    cavs: int = typer.Option(10, help="Directions per network and split."),
    random: int = typer.Option(10_000, help="Random groups of the test."),
    values: Path | None = typer.Option(None, help="tables/values.csv of an earlier run: measure nothing twice."),
    seed: Seed = 0,
    resume: bool = typer.Option(False, "--resume", help="Go on where such a run was cut off."),
    as_json: Json = False,
) -> None:
    """Ask which concepts of cardiology a network uses, for which class, in which layer.

    Example: ecglens test-concepts runs/folds --data ptbxl/ --out runs/concepts
    """
    asked = Asked(data, dataset, fold, fit_fold, layers, fit, steps, cavs, random, file, values)
    raise typer.Exit(conclude(lambda: _concepts(bundle, asked, out, seed, resume), as_json))


@dataclass(frozen=True)
class Asked:
    """What was typed."""

    data: str
    dataset: str | None
    fold: str
    fit_fold: str
    layers: str
    fit: str
    steps: str
    cavs: int
    random: int
    concepts: Path | None
    values: Path | None


def _concepts(where: str, asked: Asked, out: Path, seed: int, resume: bool) -> Outcome:
    from ecglens.bundle import Bundle
    from ecglens.cli.evaluate import load_for
    from ecglens.cli.explain import versions
    from ecglens.concepts.answers import Directions
    from ecglens.concepts.definition import DEFAULT_CONCEPTS, load_concepts
    from ecglens.concepts.study import foresee, study_concepts
    from ecglens.concepts.values import read_values
    from ecglens.errors import UsageError
    from ecglens.reporting.concepts import PAGE, concepts_report
    from ecglens.reporting.html import write_report
    from ecglens.runs.cache import Cache, default_cache

    if not 100 <= asked.random <= 1_000_000:
        raise UsageError("test-concepts", "--random", asked.random, "100 to 1000000")
    how = Directions(asked.fit, asked.steps, asked.cavs, seed)
    asked_about = load_concepts(asked.concepts or DEFAULT_CONCEPTS)
    bundle = Bundle.load(where)
    tested, cohort, fit, name = _whom(where, bundle, load_for(bundle, asked.data, asked.dataset), asked)
    for warning in foresee(bundle, cohort, layers=listed(asked.layers), n_random=asked.random, fit=fit):
        say(warning)
    found = study_concepts(
        tested, cohort, asked_about, out, how=how, fit=fit, n_random=asked.random, resume=resume,
        layers=listed(asked.layers),
        known_values=None if asked.values is None else read_values(asked.values),
        arguments={"bundle": where, "data": asked.data, "fold": name}, cache=Cache(default_cache()),
        progress=ProgressLine(),
    )  # fmt: skip
    page = out / PAGE
    with found.run.writing():
        write_report(concepts_report(found, [("bundle", bundle.name), ("fold", name), *versions()]), page)
    told = found.as_dict() | {"fold": name, "run": str(out), "page": str(page)}
    here = {entry["record_id"] for entry in told["excluded"]} & set(cohort.record_ids)
    return Outcome(told, _in_words(found, page), f"open {page}", PARTLY if told["left_out"] or here else 0)


def _whom(
    where: str, bundle: Bundle, cohort: Cohort, asked: Asked
) -> tuple[Bundle | Run, Cohort, np.ndarray | None, str]:
    """Return what is tested, on which records, which of them directions are fitted on, and the name of the fold."""
    from ecglens.cli.evaluate import choose_fold
    from ecglens.errors import UsageError
    from ecglens.prediction.family import folds_of
    from ecglens.runs.run import Run

    folds = folds_of(where, cohort)
    if folds is not None:
        if asked.fit_fold or asked.fold not in ("", "all"):
            raise UsageError(
                "test-concepts", "--fold, --fit-fold", "with a family of folds", "all: each network has its own fold"
            )
        return Run(Path(where)), folds, None, "all"
    part, name = choose_fold(cohort, asked.fold)
    if not asked.fit_fold:
        return bundle, part, None, name
    fitted, _ = choose_fold(cohort, asked.fit_fold)
    scored = set(part.record_ids)
    if scored & set(fitted.record_ids):
        raise UsageError("test-concepts", "--fit-fold", asked.fit_fold, f"folds other than {name}")
    both = cohort.where(cohort.labels.index.isin([*part.record_ids, *fitted.record_ids]))
    fit = both.labels.index.isin(fitted.record_ids)
    return bundle, both, fit, name


def _in_words(found: ConceptTest, page: Path) -> str:
    from ecglens.reporting.concepts import together

    about: dict[str, Any] = found.about
    told = [cell for cell in about["cells"] if cell["verdict"] != "cannot tell"]
    rows = []
    for key in dict.fromkeys((cell["concept"], cell["class"], cell["verdict"]) for cell in told):
        some = [cell for cell in told if (cell["concept"], cell["class"], cell["verdict"]) == key]
        best = max(some, key=lambda cell: abs(cell["score"] - 0.5))
        layers = ", ".join(cell["layer"] for cell in some)
        rows.append((*key, layers, f"{best['score']:.2f}", f"{best['accuracy']:.2f}"))
    text = (
        f"{about['bundle']}, {len(about['networks'])} network(s), {about['n']:,} records of {about['n_patients']:,} "
        f"patients that they had not seen\nLabel rule: {about['label_rule']}\n{together(about)}\n\n"
    )
    table = columns(("concept", "class", "verdict", "layers", "score", "accuracy"), rows) if rows else "No verdict."
    n_grey = len(about["cells"]) - len(told)
    lines = [f"\n\nCannot be told: {n_grey:,} of {len(about['cells']):,} cells, each with its reason on the page"]
    lines += about.get("warnings", [])
    lines += [f"Left out: {one['reason']}" for one in about["left_out"]]
    return text + table + "\n".join(lines) + f"\n\nPage: {page}"
