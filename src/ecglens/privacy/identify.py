# SPDX-License-Identifier: Apache-2.0
"""`identify`: how surely could somebody with these ECGs say whose they are, or what sex and age? Aggregates only.

RUN/identification.json   the figures, as the command line prints them
RUN/tables/               figures, gallery curves, DET points, parts of the beat; nobody's records
RUN/work/                 networks in training, while the run lasts: they recognise people, so they are deleted then
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglens.cohort import Cohort
from ecglens.errors import InputError, UsageError
from ecglens.preprocessing.prepare import describe_exclusions
from ecglens.privacy import unveiled
from ecglens.privacy.attackers import ATTACKERS
from ecglens.privacy.controls import controls
from ecglens.privacy.duplicates import refuse_doubled_recordings
from ecglens.privacy.expected import expected_seconds
from ecglens.privacy.explanations import Explaining, refuse_nothing_to_explain
from ecglens.privacy.feature_shares import FeatureShares, as_table, summed_up
from ecglens.privacy.figures import Tables, figures_of
from ecglens.privacy.intervals import measure_windows
from ecglens.privacy.known_people import LeftOut
from ecglens.privacy.left_out import by_reason
from ecglens.privacy.owner_controls import shuffled_owners, why_not, within_databases
from ecglens.privacy.protocols import CLASS_OF, COMPARED, Split, make_splits, people_left_out, refuse_words
from ecglens.privacy.repeats import check_repeats, over_trainings
from ecglens.privacy.scoring import Heard, Look, Material, hear, refuse_unlearnable
from ecglens.privacy.sought import sought
from ecglens.privacy.windows import PER_PERSON, Windowed, count_age_groups, cut_windows
from ecglens.runs.files import read_json, write_json
from ecglens.runs.journal import Journal
from ecglens.runs.progress import Progress, silent
from ecglens.runs.run import Run, hash_of
from ecglens.runs.stopwatch import Stopwatch
from ecglens.statistics.figures import clean
from ecglens.training.precision import FLOAT32, check_precision

RESULT = "identification.json"
NAMED = ("transecg", "cnn", "bilstm", *unveiled.MODELS)  # what `all` means
MODELS = (*ATTACKERS, *unveiled.MODELS)
PURPOSE = "risk-assessment"
ALIVE = 0.886  # TransECG's accuracy for identity under random windows, which an attack that works must reach


@dataclass(frozen=True)
class Identified:
    """What `identify` returns: its run, and the figures as they stand in JSON."""

    run: Run
    data: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures."""
        return self.data


def identify(
    cohorts: Sequence[Cohort],
    out: str | Path,
    *,
    task: str = "person",
    protocol: str = "verification",
    models: Sequence[str] | None = None,
    lead: str = "auto",
    preparation: str = "paper",
    per_person: int = PER_PERSON,
    n_folds: int = 5,
    n_resamples: int = 2000,
    seed: int = 0,
    resume: bool = False,
    arguments: Mapping[str, Any] | None = None,
    explain: bool = False,
    causal: bool = False,
    precision: str = FLOAT32,
    repeats: int = 1,
    progress: Progress = silent,
) -> Identified:
    """Measure what attackers find out from one lead of the people in `cohorts`, on splits worth their name.

    task        person, or sex and age (always on people never trained on, unless the protocol is `paper`)
    protocol    a name of `protocols.PROTOCOLS`; for sex and age `verification` or `paper`
    models      names of MODELS, each once; default: `default_model`, the best that we have
    lead, preparation, per_person   see `windows.cut_windows`
    n_folds     parts of the people, each asked about by a network that has not seen it
    explain     what the class token of a TransECG looks at, in every window it is asked about
    causal      each attacker trained anew without each interval of the beat, and without as much elsewhere
    precision   of the forward pass while networks learn: float32, or bfloat16 (`training.precision`)
    repeats     trainings of each attacker, all but the first with other seeds: how much of a figure is luck

    Nothing that is written says whose a record is. Raises InputError, with what to ask instead, where the data do not
    have what the protocol or an attacker needs, and leaves no network behind; LeakError where one recording stands
    there as two people's; UsageError for an unknown task, protocol or model, or a protocol not meant for the task;
    ContractError where a resumed run had other arguments, or other people's windows.
    """
    refuse_words(protocol, task, n_folds)  # before any record is read
    models = [default_model(task, protocol)] if models is None else models
    refuse_models(models)
    check_precision(precision)
    check_repeats(repeats)
    refuse_nothing_to_explain(models, explain)
    run, began = Run(Path(out)), time.monotonic()
    described = dict(arguments or {}) | {
        "task": task, "protocol": protocol, "models": list(models), "lead": lead, "preparation": preparation,
        "per_person": per_person, "n_folds": n_folds, "n_resamples": n_resamples,
    } | ({"explain": True} if explain else {}) | ({"causal": True} if causal else {})  # fmt: skip
    described |= {"precision": precision} if precision != FLOAT32 else {}
    described |= {"repeats": repeats} if repeats > 1 else {}
    with run.writing():
        begun_before = run.begun
        run = Run.create(run.folder, "identify", described, seed, resume)
        with run.discarded_if_refused(begun_before):
            windowed = cut_windows(
                cohorts, preparation=preparation, lead=lead, per_person=per_person, progress=progress
            )
            refuse_doubled_recordings(windowed.table)
            splits = make_splits(windowed.table, protocol, task, n_folds=n_folds, seed=seed)
            _note_windows(run, windowed.table)
        if run.read().get("finished"):
            return Identified(run, read_json(run.folder / RESULT))
        expected = expected_seconds(
            models, windowed, splits, explain=explain, causal=causal, precision=precision, n_resamples=n_resamples,
            repeats=repeats,
        )  # fmt: skip
        run.note(expected_seconds=expected)
        stops_early = not splits[0].compares and bool(set(models) & set(ATTACKERS))
        whole = f"about {max(1, round(expected / 60))} min in all"
        whole += ", less where networks stop early" if stops_early else ""
        whole += "; what is finished is not done again" if begun_before else ""
        progress("expected", 0, len(models) * len(splits), whole)
        readable = bool(set(models) & set(unveiled.MODELS))
        marked = measure_windows(windowed, progress) if readable or explain or causal else None
        features = unveiled.window_features(windowed, marked.marks) if readable and marked else None
        material = Material(windowed, windowed.seen(), features)
        labels, classes = _labels(windowed.table, splits, task)
        explaining = Explaining(explain, causal, material, marked, task, n_resamples, seed)
        shares: dict[str, list[FeatureShares]] = {}
        figures, tables, work = {}, Tables(task, classes), run.folder / "work"
        within, shuffled, repeated = {}, {}, {}
        with _forgotten_if_refused(run, work, begun_before), Journal(work / "journal.sqlite") as journal:
            refuse_unlearnable(models, material, splits, labels, seed)
            watch = Stopwatch(journal, began)
            for model in models:

                def ask(
                    changed: Material, number: int, where: Path, look: Look | None = None, model: str = model,
                    more: int = 0,
                ) -> Heard:  # fmt: skip
                    tell = _counted(progress, f"{model}, {splits[number].name} of {len(splits)}", watch)
                    return hear(
                        model, changed, splits[number], labels, classes, where, seed=seed + number + more,
                        progress=tell, look=look, precision=precision,
                    )  # fmt: skip

                heard = [
                    ask(material, number, work / model / split.name, explaining.look(model, split))
                    for number, split in enumerate(splits)
                ]
                shares[model] = [part.shares for part in heard if part.shares is not None]
                within[model] = within_databases(heard, windowed, n_resamples, seed)
                if task == "person":
                    shuffled[model] = shuffled_owners(heard, seed)
                figures[model] = figures_of(heard, task, n_resamples, seed) | _named_within(within[model])
                tables.add(model, heard, n_resamples, seed)
                explaining.finish(model, heard, ask, work / "flattened", progress)
                if repeats > 1:

                    def anew(more: int, model: str = model) -> list[Heard]:
                        folder = work / f"{model}-{more}"
                        return [ask(material, n, folder / s.name, model=model, more=more) for n, s in enumerate(splits)]

                    repeated[model] = over_trainings(figures[model], anew, repeats, task)
                progress("attackers", len(figures), len(models), model)
        counted = {
            "within_database": within if any(within.values()) else None, "shuffled_owners": shuffled or None,
        }  # fmt: skip
        progress("controls", 0, 1, "")
        data = _data(windowed, splits, task, protocol, figures, labels, counted, seed, n_resamples)
        progress("controls", 1, 1, "")
        features_told = summed_up(shares, n_resamples=n_resamples, seed=seed)
        data = clean(
            data | {"explanations": explaining.as_dict(), "feature_shares": features_told, "repeats": repeated or None}
        )
        write_json(run.folder / RESULT, data)
        tables.write(run, figures)
        explaining.write(run)
        if features_told:
            run.write_table("shares", as_table(features_told))
        shutil.rmtree(work, ignore_errors=True)
        _note(run, windowed, cohorts, splits, figures, watch.seconds, tables)
    return Identified(run, data)


def default_model(task: str, protocol: str) -> str:
    """Return the attacker that is asked where none is named: a weak one would tell too small a risk.

    >>> default_model("person", "verification"), default_model("person", "closed-set"), default_model("sex", "paper")
    ('cnn-beats-5', 'cnn-beats', 'cnn-beats')
    """
    return "cnn-beats-5" if task == "person" and protocol in COMPARED else "cnn-beats"


def refuse_models(models: Sequence[str]) -> None:
    """Raise UsageError for no attacker, an unknown one, or one that is named twice: its figures would count twice."""
    unknown = [model for model in models if model not in MODELS]
    if unknown or not models:
        raise UsageError("identify", "model", ", ".join(unknown) or "none", ", ".join(MODELS))
    twice = [model for model in dict.fromkeys(models) if list(models).count(model) > 1]
    if twice:
        raise UsageError("identify", "model", f"{', '.join(twice)} more than once", "each once", "name it once")


@contextlib.contextmanager
def _forgotten_if_refused(run: Run, work: Path, begun_before: bool) -> Iterator[None]:
    """Make the folder of networks in training, and take it back where the data turn out not to do for an attacker.

    The networks recognise people, and no `--resume` could finish such a run; one that was cut off keeps them for that.
    """
    work.mkdir(exist_ok=True)
    try:
        yield
    except InputError:
        shutil.rmtree(work, ignore_errors=True)
        if not begun_before:
            run.discard()
        raise


def _note_windows(run: Run, table: pd.DataFrame) -> None:
    """Note whose windows these are. Raises ContractError where a run that goes on had others."""
    columns = ["fingerprint", "person", "recording", "start", "date", "sex", "age_group"]
    digest = hash_of(table[columns].to_csv(index=False))
    run.refuse_other_data(run.read().get("windows_sha256"), digest, "windows and people")
    run.note(windows_sha256=digest)


def _data(
    windowed: Windowed, splits: Sequence[Split], task: str, protocol: str, figures: dict[str, Any], labels: pd.Series,
    counted: Mapping[str, Any], seed: int, n_resamples: int,
) -> dict[str, Any]:  # fmt: skip
    asked = np.unique(np.concatenate([np.concatenate([s.enrol, s.probe]) for s in splits]))
    part = windowed.table.iloc[asked]
    gallery = [windowed.table["person"].iloc[s.enrol if len(s.enrol) else s.train].nunique() for s in splits]
    beside = [windowed.table["person"].iloc[s.beside].nunique() for s in splits]
    everybody = int(min(a + b for a, b in zip(gallery, beside, strict=True))) if any(beside) else None
    several, compares = windowed.table["database"].nunique() > 1, splits[0].compares
    told = controls(
        windowed, None if task == "person" else labels, compares=compares, seed=seed, n_resamples=n_resamples
    )
    told["inflated"] = protocol == "paper"
    told["attack_alive"] = None
    if protocol == "paper" and task == "person" and "transecg" in figures:
        told["attack_alive"] = bool(figures["transecg"]["accuracy"]["value"] >= ALIVE)
    told |= counted
    told["why_not"] = why_not(told, task, several=several, compares=compares)
    return {
        "task": task, "protocol": protocol, "n_people": int(part["person"].nunique()),
        "n_records": int(part["recording"].nunique()),
        "gallery_size": int(min(gallery)) if task == "person" else None, "gallery_everybody": everybody,
        "sought": sought(windowed.table, splits).as_dict() if task == "person" else None,
        "people_left_out": counted_by_reason(people_left_out(windowed.table, protocol, task)),
        "records_left_out": by_reason(describe_exclusions(windowed.excluded)),
        "people": _people(windowed.table), "models": figures, "controls": told,
    }  # fmt: skip


def counted_by_reason(left_out: Sequence[LeftOut]) -> list[dict[str, Any]]:
    """Return kind, n and reason of those left out, most frequent first; who they are is not told."""
    counts = Counter((each.kind, each.reason) for each in left_out)
    return [{"kind": kind, "n": n, "reason": reason} for (kind, reason), n in counts.most_common()]


def _named_within(within: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the accuracy on each database alone as figures of an attacker, where classes were named."""
    keys = ("value", "low", "high", "chance")
    return {f"within_{name}": {key: each[key] for key in keys} for name, each in within.items() if "value" in each}


def _people(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return how many people of each sex and age group there are, whether they are asked about or learnt from."""
    sexes = table.drop_duplicates("person")["sex"].fillna("unknown").value_counts()
    return {"sex": {str(k): int(n) for k, n in sexes.items()}, "age_groups": count_age_groups(table)}


def _note(
    run: Run, windowed: Windowed, cohorts: Sequence[Cohort], splits: Sequence[Split],
    figures: Mapping[str, Any], seconds: float, tables: Tables,
) -> None:  # fmt: skip
    people = windowed.table.drop_duplicates("person")
    run.note(
        finished=True, seconds=seconds, n_trials=tables.n_trials,
        data={
            "names": list(windowed.table["database"].unique()), "n_people": windowed.n_people,
            "n_records": windowed.n_records, "n_windows": len(windowed),
            "people_by_database": people["database"].value_counts().to_dict(),
            "leads": {str(k): int(n) for k, n in (people["database"] + " " + people["lead"]).value_counts().items()},
            **_people(windowed.table),
            "excluded": describe_exclusions(windowed.excluded), "preparation": windowed.preparation.says,
            "citation": "\n".join(dict.fromkeys(cohort.citation for cohort in cohorts if cohort.citation)),
        },
        splits=[
            {
                "name": split.name,
                **{
                    role: int(windowed.table["person"].iloc[getattr(split, role)].nunique())
                    for role in ("train", "valid", "enrol", "probe")
                },
            }
            for split in splits
        ],
    )  # fmt: skip


def _labels(table: pd.DataFrame, splits: Sequence[Split], task: str) -> tuple[pd.Series, list[str]]:
    """Return the label of each window and the classes, in order."""
    if task == "person":
        return table["person"], sorted(table["person"].iloc[splits[0].train].unique())
    labels = table[CLASS_OF[task]]
    learnt = np.concatenate([split.train for split in splits])
    return labels, sorted(labels.iloc[learnt].dropna().unique())


def _counted(progress: Progress, what: str, watch: Stopwatch) -> Progress:
    def tell(stage: str, done: int, of: int, note: str) -> None:
        watch.note()
        progress(f"{stage} {what}", done, of, note)

    return tell
