# SPDX-License-Identifier: Apache-2.0
"""`ecglens explain`: why does a bundle say this of an ECG?"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecglens.cli.arguments import FOLDER, Dataset, Json, Start, Stop, ecg_files, stretch_name
from ecglens.cli.console import PARTLY, Outcome, ProgressLine, conclude, exit_code_for, say
from ecglens.cli.verdicts import default_method, drawn_methods, verdict_of, verdicts_on

if TYPE_CHECKING:
    from ecglens.auditing.verdicts import Verdicts
    from ecglens.bundle import Bundle
    from ecglens.cohort import Cohort
    from ecglens.ecg import ECG
    from ecglens.errors import EcglensError
    from ecglens.explainers.explained import ExplainedCohort
    from ecglens.explainers.methods import Method
    from ecglens.explanation import Explanation
    from ecglens.fiducials import Fiducials
    from ecglens.prediction.predict import Prediction


PREDICTED, ALL, PRETRAINED = "predicted", "all", "pretrained"
BESIDE_ATTENTION = ("occlusion_lead_zero", "occlusion_lead_mean", "occlusion_lead")  # on the page
Stretch = tuple[float | None, float | None]  # start and stop in s, None: the recording's own
Paths = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[FILE ...]", help="ECG files (WFDB: the .hea), or folders of them; with --data a bundle."),
]


def explain(
    paths: Paths = None,
    target: str = typer.Option(
        "",
        help="An output (MI), a difference (MI - NORM), all, several by comma, or predicted: what the bundle decides. "
        "Default: predicted; with --data: all.",
    ),
    method: str = typer.Option(
        "",
        help="Explanation method, or several by comma. Default: the best that passed the audit of these weights; "
        "saliency where there was none.",
    ),
    parameters: list[str] = typer.Option([], "--set", metavar="NAME=VALUE", help="A parameter of the methods."),
    output: str = typer.Option("logit", help="What is explained: logit, or the probability made of it."),
    bundle: str = typer.Option("", help="A bundle, a run folder, or the shipped `pretrained`, which is the default."),
    start: Start = None,
    stop: Stop = None,
    data: str = typer.Option("", help="Explain all records of a cohort instead of files: " + FOLDER),
    dataset: Dataset = None,
    fold: str = typer.Option("", help="With --data: as in evaluate; default: 10 where there are folds, else all."),
    limit: int = typer.Option(0, min=0, help="With --data: the first so many records by name; 0: all."),
    resume: bool = typer.Option(False, "--resume", help="With --data: go on where a run was cut off."),
    audit: str = typer.Option("", help="Folder or audit.json with verdicts; default: beside the bundle, or shipped."),
    even_if_failed: bool = typer.Option(False, "--even-if-failed", help="Draw methods that failed the audit, stamped."),
    out: Path = typer.Option(Path("explained"), help="Folder for attributions (.npy), pictures and pages."),
    as_json: Json = False,
) -> None:
    """Explain predictions: attribution [lead, time] as .npy, the picture on ECG paper, and a page per ECG.

    Example: ecglens explain my-ecg.hea --target MI --method saliency --out explained/
    A cohort: ecglens explain BUNDLE --data ptbxl/ --target all --method saliency --out runs/maps
    """
    asked = Asked(target, method, tuple(parameters), output, audit, even_if_failed)
    if data:
        chosen = CohortChoice(data, dataset, fold, limit, resume)
        verb = partial(_explain_cohort, paths or [], bundle, (start, stop), asked, chosen, out)
    else:
        given = {"--dataset": dataset is not None, "--fold": fold, "--limit": limit, "--resume": resume}
        verb = partial(_explain_files, paths or [], bundle, (start, stop), asked, given, out)
    raise typer.Exit(conclude(verb, as_json))


@dataclass(frozen=True)
class Asked:
    """What is to be explained and how, as typed."""

    target: str
    method: str
    parameters: tuple[str, ...]
    output: str
    audit: str = ""
    even_if_failed: bool = False

    def methods(self, verdicts: Verdicts) -> list[Method]:
        """Return the methods with their parameters that may be drawn. Raises UsageError, UnsafeError."""
        from ecglens.errors import UsageError
        from ecglens.explainers.methods import find_methods

        given = {}
        for text in self.parameters:
            name, sign, value = text.partition("=")
            if not sign:
                raise UsageError("explain", "--set", text, "NAME=VALUE")
            given[name.strip()] = value.strip()
        named = self.method or default_method(verdicts, self.even_if_failed)
        return drawn_methods(find_methods(named, given), verdicts, self.even_if_failed)

    def targets(self, default: str) -> list[str]:
        """Return the names of the targets."""
        return target_names(self.target or default)


def target_names(text: str) -> list[str]:
    """Return the names joined by comma, each once."""
    return list(dict.fromkeys(name.strip() for name in text.split(",")))


@dataclass(frozen=True)
class CohortChoice:
    """Which records of which cohort."""

    data: str
    dataset: str | None
    fold: str
    limit: int
    resume: bool


# ------------------------------------------------------------------------------------------------------------- cohort


def _explain_cohort(
    paths: list[Path], bundle_name: str, stretch: Stretch, asked: Asked, chosen: CohortChoice, out: Path
) -> Outcome:
    from ecglens.bundle import Bundle
    from ecglens.cli.evaluate import load_for
    from ecglens.errors import UsageError

    where = _which_bundle(paths, bundle_name)
    if stretch != (None, None):
        raise UsageError("explain", "--start, --stop", "with --data", "ECG files", "explain the files of that stretch")
    targets, bundle = asked.targets(ALL), Bundle.load(where)
    verdicts = verdicts_on(bundle, where, asked.audit)
    methods = asked.methods(verdicts)
    if PREDICTED in targets:
        raise UsageError(
            "explain", "target", PREDICTED, f"{ALL}, or outputs by name: a cohort has the same for all records"
        )
    cohort = load_for(bundle, chosen.data, chosen.dataset)
    explained, part, name = explain_records(
        where, bundle, cohort, chosen, targets, methods, out, output=asked.output,
        verdicts={method.title: verdict_of(method, verdicts) for method in methods},
    )  # fmt: skip
    return _cohort_outcome(explained, bundle.name, name, len(part))


def explain_records(
    where: str, bundle: Bundle, cohort: Cohort, chosen: CohortChoice, targets: list[str], methods: list[Method],
    folder: Path, **how: Any,
) -> tuple[ExplainedCohort, Cohort, str]:  # fmt: skip
    """Explain the chosen records into a run folder; a family by the networks that did not see the patient.

    Returns what was explained, the records that were to be, and the name of the fold. how: as in `explain_cohort`.
    """
    from ecglens.cli.evaluate import choose_records, label_options
    from ecglens.explainers.cohort import explain_cohort, explain_family

    family, part, name = choose_records(where, cohort, chosen.fold)
    part = first_records(part, chosen.limit)
    how |= {
        "resume": chosen.resume, "progress": ProgressLine(),
        "arguments": {"data": chosen.data, "fold": name, "limit": chosen.limit},
    }  # fmt: skip
    if family is None:
        explained = explain_cohort(bundle, part, targets, methods, folder, **how)
    else:
        explained = explain_family(family, part, targets, methods, folder, **how)
    explained.run.note(loaded_with=label_options(bundle))  # the labels of those left out can be found again by it
    return explained, part, name


def _which_bundle(paths: list[Path], bundle_name: str) -> str:
    """Return the bundle that a call with --data names. Raises UsageError for ECG files, or two bundles."""
    from ecglens.errors import UsageError

    files = [path for path in paths if os.path.isfile(path)]
    if files or len(paths) > 1:
        found = f"{(files or paths)[-1]} as well"
        raise UsageError("explain", "--data", found, "one bundle or none", "give either files or --data")
    if paths and bundle_name:
        raise UsageError("explain", "--bundle", f"{bundle_name} and {paths[0]}", "one bundle")
    return str(paths[0]) if paths else bundle_name or PRETRAINED


def first_records(cohort: Cohort, limit: int) -> Cohort:
    """Return the first records by name, which is the order they are explained in."""
    by_name = sorted(range(len(cohort)), key=lambda i: cohort.record_ids[i])
    return cohort.take(by_name[:limit]) if limit else cohort


def _cohort_outcome(explained: ExplainedCohort, bundle: str, fold: str, n_records: int) -> Outcome:
    from ecglens.reporting.explained_cohort import INDEX, explained_cohort_report
    from ecglens.reporting.html import write_report

    page = explained.run.folder / INDEX
    write_report(explained_cohort_report(explained, [("bundle", bundle), ("fold", fold), *versions()]), page)
    left_out = explained.excluded[explained.excluded["part"] != "loading"]
    cohort = explained.about["arguments"]["cohort"]
    kinds = {str(kind): int(n) for kind, n in left_out["kind"].value_counts().items()}
    told = {
        "run": str(explained.run.folder), "bundle": bundle, "fold": fold, "records": n_records,
        "explained": len(explained), "maps": len(explained.maps), "methods": list(explained.methods),
        "verdicts": explained.verdicts,
        "targets": list(explained.targets), "output": explained.about["arguments"]["output"],
        "with_warnings": int(explained.maps["warnings"].notna().sum()), "left_out": kinds,
        "page": str(page),
    }  # fmt: skip
    text = (
        f"{len(explained):,} of {n_records:,} records of {cohort}, fold {fold}, explained "
        f"by {bundle}: {len(explained.maps):,} maps of {', '.join(explained.targets)} by {', '.join(explained.methods)}"
    )
    if told["with_warnings"]:
        text += f"\n{told['with_warnings']} maps carry a warning, see tables/maps.csv"
    if kinds:
        words = ", ".join(f"{kind} {n}" for kind, n in kinds.items())
        text += f"\nLeft out: {words}; listed in {explained.run.folder / 'tables' / 'excluded.csv'}"
    return Outcome(told, text, f"open {page}", PARTLY if kinds else 0)


# -------------------------------------------------------------------------------------------------------------- files


def _explain_files(
    paths: list[Path], bundle_name: str, stretch: Stretch, asked: Asked, given: dict[str, Any], out: Path
) -> Outcome:
    from ecglens.bundle import Bundle
    from ecglens.errors import ContractError, InputError, UnsafeError, UsageError
    from ecglens.explainers.explain import Question, refuse
    from ecglens.formats.read import read
    from ecglens.runs.files import write_json
    from ecglens.runs.lock import writing
    from ecglens.statistics.figures import clean

    for option in (name for name, value in given.items() if value):
        raise UsageError("explain", option, "without --data", "a cohort", "give --data, or leave it out")
    if not paths:
        raise UsageError("explain", "FILE", "none", "ECG files, or --data with a data set")
    where = bundle_name or PRETRAINED
    bundle, targets = Bundle.load(where), asked.targets(PREDICTED)
    verdicts = verdicts_on(bundle, where, asked.audit)
    methods = asked.methods(verdicts)
    question = Question.of(bundle, [t for t in targets if t != PREDICTED] or [ALL], asked.output)
    for method in methods:
        refuse(bundle, question, method)
    verdict = {name: verdicts[name] for name in BESIDE_ATTENTION}
    verdict |= {method.title: verdict_of(method, verdicts) for method in methods}
    files, progress = ecg_files(paths), ProgressLine()
    entries: list[dict[str, Any]] = []
    errors: list[EcglensError] = []
    names: list[str] = []
    with writing(out):
        for done, path in enumerate(files, 1):
            try:
                ecg = read(path, *stretch)
                name = _free_name(stretch_name(ecg.record_id, *stretch), names)
                entries += _explain_one(bundle, ecg, path, targets, methods, asked.output, verdict, out / name)
                names.append(name)
            except (InputError, UnsafeError, ContractError) as error:
                errors.append(error)
            progress("explaining", done, len(files), "")
        told = {"explanations": entries, "rejected": [error.as_dict() for error in errors], "bundle": bundle.name}
        index = out / "explanations.json"
        write_json(index, clean({"schema": 1, "explanations": [*_kept(index, entries), *entries]}))
    lines = [
        f"{e['file']}: {e['target']} {_percent(e['probability'])}, explained by {e['method']} ({e['verdict']} on this "
        f"model)\n  {e['sentence']}\n  picture {e['picture']}\n  page    {e['page']}"
        for e in entries
    ] or ["No ECG could be used."]
    for fault in errors:
        say(f"left out: {fault}")
    next_step = f"open {entries[0]['page']}" if entries else ""
    return Outcome(told, "\n".join(lines), next_step, exit_code_for(len(files) - len(errors), errors))


def _explain_one(
    bundle: Bundle, ecg: ECG, path: Path, targets: list[str], methods: list[Method], output: str,
    verdicts: dict[str, str], stem: Path,
) -> list[dict[str, Any]]:  # fmt: skip
    from ecglens.explainers.explain import explain as explain_ecg
    from ecglens.plotting.attribution import plot_explanation
    from ecglens.plotting.side_by_side import plot_explanations
    from ecglens.plotting.style import figure_bytes
    from ecglens.prediction.predict import predict
    from ecglens.reporting.html import write_report
    from ecglens.reporting.record import record_report
    from ecglens.runs.files import write_bytes, write_npy
    from ecglens.waveform.delineate import delineate

    prediction = predict(bundle, ecg)
    named = _named(targets, prediction)
    marks = delineate(ecg)
    given = marks if marks.n_beats else None
    explanations = explain_ecg(bundle, ecg, named, methods, output=output, fiducials=given)
    with_attention = any(method.title == "attention" for method in methods)
    hidden = explain_ecg(bundle, ecg, named, BESIDE_ATTENTION, output=output) if with_attention else []
    explanations, hidden = (
        [replace(found, verdict=verdicts[found.method]) for found in made] for made in (explanations, hidden)
    )
    thresholds = {o.name: o.threshold for o in bundle.outputs if o.threshold is not None}
    page = stem.with_name(f"{stem.name}.html")
    report = record_report(
        ecg, explanations, prediction.probabilities, prediction.decisions, thresholds, prediction.flags,
        [("file", path.name), ("bundle", bundle.name), ("weights", bundle.weights_sha256[:16]), *versions()],
        marks, hidden,
    )  # fmt: skip
    write_report(report, page)
    entries, together = [], stem.with_name(f"{stem.name}-side-by-side.png")
    if len(explanations) > 1:
        write_bytes(together, figure_bytes(plot_explanations(ecg, explanations, marks), "png", dpi=130))
    for explanation in explanations:
        name = (
            f"{stem.name}-{_slug(explanation.target)}-{explanation.method}"  # names may hold dots: no with_suffix here
        )
        values, picture = stem.with_name(f"{name}.npy"), stem.with_name(f"{name}.png")
        write_npy(values, explanation.values)
        write_bytes(picture, figure_bytes(plot_explanation(ecg, explanation, marks=marks), "png", dpi=130))
        entries.append(_entry(explanation, path, marks) | {
            "bundle": bundle.name, "weights_sha256": bundle.weights_sha256,
            "attribution": str(values), "picture": str(picture), "page": str(page),
            "side_by_side": str(together) if len(explanations) > 1 else None,
        })  # fmt: skip
    return entries


def _named(targets: list[str], prediction: Prediction) -> list[str]:
    """Return the targets with `predicted` replaced by the classes decided on, or else by the most probable one."""
    if PREDICTED not in targets:
        return targets
    decided = [name for name, yes in prediction.decisions.items() if yes]
    most = max(prediction.probabilities, key=prediction.probabilities.__getitem__)
    return list(dict.fromkeys([t for t in targets if t != PREDICTED] + (decided or [most])))


def _kept(index: Path, new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what an earlier call listed in this folder, without what this call has made again."""
    from ecglens.runs.files import read_json

    made = {entry["attribution"] for entry in new}
    earlier = read_json(index)["explanations"] if index.exists() else []
    return [entry for entry in earlier if entry["attribution"] not in made]


def _free_name(record_id: str, taken: list[str]) -> str:
    """Return a name for the results of a record: its own, with a number where another record has it already."""
    name, number = record_id, 1
    while name in taken:
        number += 1
        name = f"{record_id}-{number}"
    return name


def _entry(explanation: Explanation, path: Path, marks: Fiducials) -> dict[str, Any]:
    from ecglens.shares import share_out, where_sentence

    shares = share_out(explanation, marks)
    return {
        "file": str(path),
        "record_id": explanation.record_id,
        "target": explanation.target,
        "method": explanation.method,
        "probability": explanation.probability,
        "leads": list(explanation.leads),
        "fs": explanation.fs,
        "start": explanation.start,
        "output": explanation.parameters["output"],
        "parameters": dict(explanation.parameters),
        "unit": explanation.unit,
        "resolution_ms": explanation.resolution_ms,
        "verdict": explanation.verdict,
        "completeness_gap": explanation.completeness_gap,
        "warnings": list(explanation.warnings),
        "share_by_lead": explanation.share_by_lead(),
        "sentence": where_sentence(explanation, shares),
        "shares": shares.as_rows(),
    }


def _slug(target: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in target.replace(" - ", "-vs-"))


def _percent(probability: float | None) -> str:
    return "difference" if probability is None else f"{probability:.3f}"


def versions() -> list[tuple[str, str]]:
    """Return the versions that a page names."""
    from ecglens.runs.run import provenance

    return [(name, version) for name, version in provenance()["versions"].items() if name in ("ecglens", "torch")]
