# SPDX-License-Identifier: Apache-2.0
"""Write the tables of figures that README and docs show, from the files that the measurements wrote.

    python docs/tables.py            rewrite what stands between the markers
    python docs/tables.py --check    change nothing; exit 1 where a table is stale

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`. No figure in the documentation is typed by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ecglens.statistics.proportion import wilson

ROOT = Path(__file__).parents[1]
NOT_MEASURED = "Not measured yet: `make bench` writes `benchmarks/results.json`, `python docs/tables.py` this table."

NOT_DELINEATED = "Not measured yet: `python benchmarks/delineation.py` measures it."
WIDE, SHOWN = 0.15, ("sensitivity", "ppv", "f1")


def interval(figure: Mapping[str, Any]) -> str:
    """Return `0.899 [0.871, 0.923]`."""
    if figure["value"] is None:
        return "n/a"
    if figure["low"] is None:
        return f"{figure['value']:.3f} [no interval]"
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figures(root: Path = ROOT) -> str:
    """Return the figures of the shipped bundle on fold 10, with all that a reader needs to weigh them."""
    facts = json.loads((root / "recipes" / "pretrained.json").read_text(encoding="utf-8"))
    rows = [
        (
            name,
            str(found["auroc"]["n_positive"]),
            interval(found["auroc"]),
            interval(found["average_precision"]),
            f"{found['average_precision']['chance']:.3f}",
            interval(found["f1"]),
            f"{found['f1']['baseline']:.3f}",
        )
        for name, found in facts["per_class"].items()
    ]
    macro = facts["macro"]
    rows.append(
        (
            "macro",
            "",
            *(interval(macro[m]) for m in ("auroc", "average_precision")),
            f"{macro['average_precision']['chance']:.3f}",
            interval(macro["f1"]),
            f"{macro['f1']['baseline']:.3f}",
        )
    )
    header = ("class", "n+", "AUROC", "average precision", "its chance", "F1", "its baseline")
    return (
        f"{grid(header, rows)}\n\n"
        f"N = {facts['n']} records of {facts['n_patients']} patients, fold {facts['fold']} of a partial copy of "
        f"PTB-XL, never used for training or choosing. Label rule: {facts['label_rule']}. Brackets: "
        f"{facts['macro_auroc']['method']}. Chance for AUROC is 0.5. The baseline of F1 is the better of the two "
        "answers that never look at the ECG: yes to all, no to all."
    )


def benchmarks(root: Path = ROOT) -> str:
    """Return the side-by-side measurements, or the sentence that there are none."""
    path = root / "benchmarks" / "results.json"
    if not path.exists():
        return NOT_MEASURED
    rows = [
        (
            row["stage"],
            row["peer"],
            f"{row['ratio']['median']:.1f} [{row['ratio']['low']:.1f}, {row['ratio']['high']:.1f}]",
            f"{row['ours']:.3g}",
            f"{row['theirs']:.3g}",
            ", ".join(f"{name.replace('_', ' ')}: {_short(value)}" for name, value in row["agreement"].items()),
            f"{row['limit']['what']}: {row['limit']['seconds']:.3g} s" if "limit" in row else "",
        )
        for row in json.loads(path.read_text(encoding="utf-8"))
    ]
    header = ("what", "against", "theirs / ours", "ours, s", "theirs, s", "do the results agree?", "plain reading")
    return grid(header, rows)


def levels(root: Path = ROOT) -> str:
    """Return mean probability beside the share of records with the label, per class of the shipped bundle."""
    facts = json.loads((root / "recipes" / "pretrained.json").read_text(encoding="utf-8"))
    classes = facts["per_class"]
    share = {name: found["average_precision"]["chance"] for name, found in classes.items()}
    rows = [
        ("mean probability", *(f"{facts['mean_probability'][name]:.3f}" for name in classes)),
        ("share with the label", *(f"{share[name]:.3f}" for name in classes)),
    ]
    return f"{grid(('', *classes), rows)}\n\nFold {facts['fold']}, N = {facts['n']} records."


def delineation(root: Path = ROOT) -> str:
    """Return F1 and errors of each mark for each method, all leads together."""
    facts = _delineation_rows(root)
    if not facts:
        return NOT_DELINEATED
    found = {(r["method"], r["mark"], r["tolerance"]): r for r in facts if (r["lead"], r["rhythm"]) == ("all", "all")}
    rows = []
    for (method, mark, tolerance), row in found.items():
        if tolerance == WIDE:
            near = [found[method, mark, narrow] for narrow in (0.04, 0.02)]
            rows.append((mark.replace("_", " "), method, str(row["n"]), *(_bracket(row[m]) for m in SHOWN),
                         *(f"{n['f1'][0]:.3f}" for n in near), _milliseconds(row)))  # fmt: skip
    rows.sort(key=lambda row: list(dict.fromkeys(r["mark"] for r in facts)).index(row[0].replace(" ", "_")))
    header = ("mark", "method", "marks", "sensitivity", "PPV", "F1, 150 ms", "F1, 40 ms", "F1, 20 ms",
              "error, ms: mean, SD")  # fmt: skip
    return grid(header, rows)


def delineation_speed(root: Path = ROOT) -> str:
    """Return CPU time a record, and how many times faster than the slowest."""
    path = root / "benchmarks" / "delineation.json"
    if not path.exists():
        return NOT_DELINEATED
    found = json.loads(path.read_text(encoding="utf-8"))["cpu_ms"]
    ours = found["ecglens"]
    rows = [(name, f"{ms:.0f}", f"{ms / ours:.1f}") for name, ms in found.items()]
    return grid(("method", "CPU time a record of 12 leads, 10 s, 500 Hz, ms (median)", "times ecglens"), rows)


def delineation_segments(root: Path = ROOT) -> str:
    """Return how well the 24 segments are found, beside what Wagner et al. print for theirs."""
    path = root / "benchmarks" / "delineation.json"
    found = json.loads(path.read_text(encoding="utf-8"))["segments"] if path.exists() else {}
    if not found:
        return NOT_DELINEATED
    rows = [
        (f"ecglens, simulated, {name}", f"{f['n']} ECGs, {f['samples']:,} samples", f"{f['accuracy']:.3f}",
         f"{f['macro_f1']:.3f}", f"{f['macro_auc']:.3f}")
        for name, f in found.items()
    ]  # fmt: skip
    path = root / "benchmarks" / "segments.json"
    against = json.loads(path.read_text(encoding="utf-8"))["segments"] if path.exists() else {}
    rows += [
        (f"ecglens, PTB-XL against ecgdeli 1.0.0, {name}", f"{f['n']} ECGs, {f['samples']:,} samples",
         f"{f['accuracy']:.3f}", f"{f['macro_f1']:.3f}", f"{f['macro_auc']:.3f}")
        for name, f in against.items()
    ]  # fmt: skip
    rows.append(("Wagner et al., PTB-XL against ECGDeli (as printed)", "7,207 records", "0.75", "0.64", "0.98"))
    return grid(("what", "of", "accuracy", "macro F1", "macro AUC"), rows)


def delineation_simulated(root: Path = ROOT) -> str:
    """Return F1 and errors of each mark against exact ones."""
    path = root / "benchmarks" / "delineation.json"
    found = json.loads(path.read_text(encoding="utf-8"))["simulated"] if path.exists() else []
    if not found:
        return NOT_DELINEATED
    rows = [
        (r["mark"].replace("_", " "), str(r["n"]), *(_bracket(r[m]) for m in SHOWN), _milliseconds(r)) for r in found
    ]
    return grid(("mark", "marks", "sensitivity", "PPV", "F1, 150 ms", "error, ms: mean, SD"), rows)


def delineation_parts(root: Path = ROOT) -> str:
    """Return F1 and SD of ecglens by lead and by rhythm."""
    facts = [r for r in _delineation_rows(root) if r["method"] == "ecglens" and r["tolerance"] == WIDE]
    if not facts:
        return NOT_DELINEATED
    marks = list(dict.fromkeys(row["mark"] for row in facts))
    parts: dict[str, list[str]] = {}
    for row in facts:
        name = row["lead"] if row["lead"] != "all" else f"{row['rhythm']} ({row['n_patients']} people)"
        figure = "none marked" if not row["n"] else f"{row['f1'][0]:.3f} ({1000 * row['error_sd'][0]:.0f})"
        parts.setdefault(name, []).append(figure)
    rows = [(name, *cells) for name, cells in parts.items()]
    header = ("part", *(mark.replace("_", " ") for mark in marks))
    return f"F1 within 150 ms, and in brackets the SD of the error in ms.\n\n{grid(header, rows)}"


def _delineation_rows(root: Path) -> list[dict[str, Any]]:
    path = root / "benchmarks" / "delineation.json"
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []


def _bracket(figure: Sequence[float]) -> str:
    return f"{figure[0]:.4f} [{figure[1]:.4f}, {figure[2]:.4f}]"


def _milliseconds(row: Mapping[str, Any]) -> str:
    return f"{1000 * row['error_mean'][0]:+.1f}, {1000 * row['error_sd'][0]:.1f}"


def calibration(root: Path = ROOT) -> str:
    """Return what each calibration costs, on the validation records that choose and on those that do not."""
    facts = _measured(root, "calibration")
    rows = [
        (
            name,
            f"{row['validation_log_loss']:.4f}",
            f"{row['validation_brier']:.4f}",
            _change(row["validation_over_temperature"]),
            f"{row['test_log_loss']:.4f}",
            f"{row['test_brier']:.4f}",
            _change(row["test_over_temperature"]),
        )
        for name, row in facts["methods"].items()
    ]
    header = ("calibration", "log loss, fold 9", "Brier", "against temperature", "log loss, fold 10", "Brier",
              "against temperature")  # fmt: skip
    return (
        f"{grid(header, rows)}\n\nMeans over the classes; shipped network; fold 9 (N = {facts['n']['9']} records) "
        f"cross-validated by patient, fold 10 (N = {facts['n']['10']}) with what all of fold 9 says. Differences of "
        "log loss with 95 % intervals over patients; below 0 is better."
    )


def ludb(root: Path = ROOT) -> str:
    """Return the figures of the shipped bundle on LUDB, through its label map."""
    facts = _measured(root, "calibration")["ludb"]
    rows = [
        (
            name,
            str(found["auroc"]["n_positive"]),
            str(found["auroc"]["n"]),
            *(interval(found[m]) for m in ("auroc", "sensitivity", "specificity")),
        )
        for name, found in facts["per_class"].items()
    ]
    rows.append(("macro", "", "", interval(facts["macro_auroc"]), "", ""))
    header = ("class", "n+", "n", "AUROC", "sensitivity", "specificity")
    return (
        f"{grid(header, rows)}\n\nN = {facts['n']} records of {facts['n_patients']} people; n: those whose label the "
        f"map tells. Thresholds of PTB-XL's validation patients. Brackets: {facts['macro_auroc']['method']}. Chance "
        "for AUROC is 0.5."
    )


def coverage(root: Path = ROOT) -> str:
    """Return how often intervals hold the truth."""
    measured = _measured(root, "coverage")
    rows = [
        (row["figure"].replace("_", " "), f"{row['by_patient']:.1%}", f"{row['by_record']:.1%}") for row in measured
    ]
    low, high = measured[0]["honest"]
    table = grid(("figure", "resampling patients", "resampling records"), rows)
    return (
        f"{table}\n\n{measured[0]['cohorts']:,} simulated cohorts of 60 patients with four records each. Exact 95 % "
        f"intervals would give {low:.1%} to {high:.1%} in 95 of 100 such runs."
    )


def learning_curve(root: Path = ROOT) -> str:
    """Return macro AUROC by size of the training set."""
    facts = _measured(root, "learning_curve")
    rows = [
        (f"{row['fraction']:.0%}", f"{row['n_train']:,}", f"{row['n_train_patients']:,}", interval(row))
        for row in facts["rows"]
    ]
    last = facts["rows"][-1]
    return (
        f"{grid(('of the training patients', 'records', 'patients', 'macro AUROC, fold 10'), rows)}\n\n"
        f"`{facts['model']}`, {facts['epochs']} epochs, seed {facts['seed']}; N = {last['n']} test records of "
        f"{last['n_patients']} patients, 95 % intervals over them."
    )


def fuzz(root: Path = ROOT) -> str:
    """Return what became of mutated files, by target."""
    rows = []
    for row in json.loads((root / "benchmarks" / "fuzz.json").read_text(encoding="utf-8")):
        counts, n = row["outcomes"], row["mutants"]
        shares = (f"{100 * counts.get(what, 0) / n:.1f} %" for what in ("refused", "flagged", "same"))
        peer = "none reads it"
        if row["peer"]:
            silent = row["peer_outcomes"].get("silent", 0)
            peer = f"{row['peer']}: {percent(silent, row['peer_mutants'])} of {row['peer_mutants']:,}"
        silent = percent(counts.get("silent", 0), n)
        rows.append((row["name"], f"{n:,}", *shares, silent, f"{row['seconds']:.2f}", peer))
    header = ("what is mutated", "mutants", "refused", "flagged", "the same ECG", "**silent**", "slowest, s",
              "silent by")  # fmt: skip
    return grid(header, rows)


def percent(count: int, n: int) -> str:
    """Return `0.07 % [0.04, 0.12]`: the share with Wilson's 95 % interval."""
    low, high = wilson(count, n)
    return f"{100 * count / n:.2f} % [{100 * low:.2f}, {100 * high:.2f}]"


def exactness(root: Path = ROOT) -> str:
    """Return how the records and annotations of each data set were read."""
    found = json.loads((root / "benchmarks" / "exactness.json").read_text(encoding="utf-8"))
    marks = {row["data_set"]: row for row in found["annotations"]}
    rows = []
    for row in found["records"]:
        refused = ", ".join(f"{n} {kind}" for kind, n in row["refused"].items()) or "none"
        people = "nobody knows" if row["patients"] is None else f"{row['patients']:,}"
        of = marks[row["data_set"]]
        files = f"{of['exact']} of {of['files']} ({of['marks']:,} marks)" if of["files"] else "none there"
        exact = f"{row['exact']:,} of {row['records'] - sum(row['refused'].values()):,}"
        rows.append((row["data_set"], f"{row['records']:,}", people, f"{row['seconds']:.1f}", exact, refused, files))
    header = ("data set", "records", "patients", "read in s", "exact", "refused", "annotation files exact")
    return grid(header, rows)


def simulator(root: Path = ROOT) -> str:
    """Return what `benchmarks/simulator.py` measured, or the sentence that it was not run."""
    path = root / "benchmarks" / "simulator.json"
    if not path.exists():
        return "Not measured yet: `python benchmarks/simulator.py --data ptbxl/` writes `benchmarks/simulator.json`."
    facts = json.loads(path.read_text(encoding="utf-8"))
    algebra, rules, normals = (facts[name] for name in ("algebra", "rules", "normals"))
    lines = [
        f"Worst violation of the limb laws before noise in {algebra['n']} ECGs: {algebra['einthoven_mv']:.1g} mV. "
        f"Evidence of planted lesions outside their lead: {algebra['planted_elsewhere_mv']:g} mV.",
        f"**Rules**, share of {rules['NORM']['n']} people each; for NORM, those who meet none.",
        grid(("condition", "meets its own", "most common other"),
             [(name, f"{f['own']:.3f}", f"{f['most_common_other']} {f['share']:.2f}" if f["share"] else "")
              for name, f in rules.items()]),
        f"**{normals['n']} normal people, exact marks, against published limits** (amplitudes in mV, intervals in ms).",
        grid(("", "limits", "2, 25, 50, 75, 98 %", "inside"),
             [(name, " to ".join(f"{v:g}" for v in f["limits"]), ", ".join(f"{v:.3g}" for v in f["percentiles"]),
               f"{f['inside']:.1%}") for name, f in normals["table"].items()]),
    ]  # fmt: skip
    if "speed" in facts:
        speed = facts["speed"]
        lines.insert(1, f"{speed['n']} records with their truth: {speed['processor_seconds']:.0f} s of a processor, of "
                        f"which two share the work; {speed['seconds']:.0f} s on two that others used too.")  # fmt: skip
    lines += _against_real(facts) if "side_by_side" in facts else []
    return "\n\n".join(lines + (_transfer(facts) if "transfer_real" in facts else []))


def _against_real(facts: Mapping[str, Any]) -> list[str]:
    def three(values: Sequence[float]) -> str:
        return ", ".join(f"{v:.3g}" for v in values)

    rows, told = facts["side_by_side"], facts["discriminator"]
    return [
        f"**Beside {rows[0]['n'][0]} normal ECGs of PTB-XL** ({rows[0]['n'][1]} simulated), both measured alike, "
        "plainly, with their noise: 2nd, 50th and 98th percentile, and how much of the two histograms is shared.",
        grid(("", "real", "simulated", "shared"),
             [(r["what"], three(r["real"]), three(r["simulated"]), f"{r['overlap']:.2f}") for r in rows]),
        "**Can they be told apart?** Easily. A forest of trees that judges normal ECGs, real or simulated, reaches "
        + " and ".join(f"{f['auroc']:.4f} from {name}" for name, f in told.items())
        + f" (AUROC, N = {next(iter(told.values()))['n']}, fold 10; 0.5 would be not at all).",
    ]  # fmt: skip


def _transfer(facts: Mapping[str, Any]) -> list[str]:
    found = facts["transfer_simulated"] | facts["transfer_real"]
    classes = list(next(iter(found.values())))
    return [
        "**Transfer**: AUROC [95 % interval] on fold 10 of a LeNet trained (10 epochs) on one world, tested on "
        "another. It says how much of what a network learns in one helps in the other; the classes are not made of the "
        "same conditions.",
        grid(("trained on, tested on", *classes),
             [(name.replace(" on ", ", "), *(interval(f[c]) for c in classes)) for name, f in found.items()]),
    ]  # fmt: skip


def _waveform_facts(root: Path) -> dict[str, Any]:
    path = root / "benchmarks" / "measure.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def measurements(root: Path = ROOT) -> str:
    """Return how far measurements at our marks lie from those at other marks."""
    found = _waveform_facts(root)
    header = ("measurement", "n", "records", "mean [95 %]", "SD [95 %]")
    titles = {
        "ludb": "LUDB, marks made by hand", "simulated": "Simulated, exact marks",
        "generator": "Simulated, against the generator's own intervals",
    }  # fmt: skip
    parts = []
    for key, title in titles.items():
        rows = [
            (f"`{row['name']}`", f"{row['n']:,}", f"{row['n_records']}", _bounds(row["mean"], row["name"]),
             _bounds(row["sd"], row["name"]))
            for row in found.get(key, [])
        ]  # fmt: skip
        parts.append(f"{title}:\n\n{grid(header, rows)}" if rows else f"{title}: not measured yet.")
    if "time_ms" in found:
        parts.append(_spent(found["time_ms"]))
    return "\n\n".join(parts)


def _spent(told: Mapping[str, Any]) -> str:
    names = {"read": "read", "peaks": "R peaks", "delineate": "delineate", "measure": "measure"}
    words = ", ".join(f"{name} {told[key]:.0f}" for key, name in names.items())
    total = told["read"] + told["delineate"] + told["measure"]  # delineating finds the R peaks itself
    line = f"Processor time for a record of 12 leads, 10 s, 500 Hz, in ms, one thread, median of 40: {words}."
    if told.get("neurokit2_dwt"):
        ratio = told["neurokit2_dwt"] / total
        line += f" neurokit2's `dwt` over 12 leads in the same run: {told['neurokit2_dwt']:.0f} ({ratio:.0f} times)."
    return line


def _bounds(figure: Mapping[str, Any], name: str) -> str:
    if figure["value"] is None:
        return "n/a"
    digits = 3 if name.endswith("_mv") else 1
    value, low, high = (f"{figure[key]:z.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def rules(root: Path = ROOT) -> str:
    """Return the criteria as they stand in the code."""
    from ecglens.waveform.criteria import CRITERIA

    return grid(("name", "in words", "after"), [(f"`{n}`", rule.about, rule.source) for n, rule in CRITERIA.items()])


def concepts(root: Path = ROOT) -> str:
    """Return how our criteria agree with the published flags."""
    return _agreements(_waveform_facts(root).get("concepts", []), "published flag")


def statements(root: Path = ROOT) -> str:
    """Return how our criteria agree with the statements of PTB-XL."""
    return _agreements(_waveform_facts(root).get("statements", []), "statement")


def _agreements(found: Sequence[Mapping[str, Any]], against: str) -> str:
    if not found:
        return "Not measured yet: `python benchmarks/measure.py`."
    header = (
        "criterion",
        against,
        "n",
        "cannot tell",
        "ours",
        "theirs",
        "MCC [95 %]",
        "both",
        "only ours",
        "only theirs",
    )
    rows = [
        (f"`{row['name']}`" + (f", {row['note']}" if row["note"] else ""), f"`{row['against']}`",
         f"{row['n']:,}", str(row["cannot_tell"]), f"{row['ours']:.1%}", f"{row['theirs']:.1%}",
         interval(row["mcc"]),
         str(row["both"]), str(row["only_ours"]), str(row["only_theirs"]))
        for row in found
    ]  # fmt: skip
    return (
        f"{grid(header, rows)}\n\nPTB-XL, the records at hand but every sixth (those chose two constants). MCC: "
        "Matthews' correlation; brackets: 95 % percentile interval of 1,000 resamples of patients."
    )


def explainers(root: Path = ROOT) -> str:
    """Return how long maps of all classes take beside captum."""
    path = root / "benchmarks" / "explainers.json"
    if not path.exists():
        return "Not measured yet: `python benchmarks/explainers.py` measures it."
    measured = _measured(root, "explainers")
    rows = []
    for row in measured["rows"]:
        ratio = f"{row['ratio']['median']:.1f} [{row['ratio']['low']:.1f}, {row['ratio']['high']:.1f}]"
        seconds = f"{row['ours']:.3g}", f"{row['theirs']:.3g}"
        rows.append((row["network"], str(row["classes"]), f"`{row['method']}`", ratio, *seconds, f"{row['apart']:.0e}"))
    header = (
        "network",
        "classes",
        "method",
        "theirs / ours",
        "ours, s",
        "theirs, s",
        "maps apart, of the largest value",
    )
    return grid(header, rows)


TABLES: dict[str, tuple[str, Callable[[Path], str]]] = {
    "figures": ("README.md", figures),
    "benchmarks": ("docs/benchmarks.md", benchmarks),
    "simulator": ("docs/methods/simulator.md", simulator),
    "measurements": ("docs/methods/measurements.md", measurements),
    "rules": ("docs/methods/criteria.md", rules),
    "concepts": ("docs/methods/criteria.md", concepts),
    "statements": ("docs/methods/criteria.md", statements),
    "delineation": ("docs/methods/delineation.md", delineation),
    "delineation-speed": ("docs/methods/delineation.md", delineation_speed),
    "delineation-segments": ("docs/methods/delineation.md", delineation_segments),
    "delineation-simulated": ("docs/methods/delineation.md", delineation_simulated),
    "delineation-parts": ("docs/methods/delineation.md", delineation_parts),
    "levels": ("docs/methods/evaluation.md", levels),
    "calibration": ("docs/methods/evaluation.md", calibration),
    "coverage": ("docs/methods/evaluation.md", coverage),
    "learning": ("docs/methods/evaluation.md", learning_curve),
    "ludb": ("docs/how-to/label-map.md", ludb),
    "fuzz": ("docs/reference/formats.md", fuzz),
    "explainers": ("docs/methods/explainers.md", explainers),
    "exactness": ("docs/reference/data-sets.md", exactness),
}


def refreshed(text: str, name: str, table: str) -> str:
    """Return `text` with `table` between the markers of `name`. Raises ValueError where there are none."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", flags=re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"markers <!-- {name} --> and <!-- /{name} --> must stand there once")
    return pattern.sub(lambda found: f"{found[1]}{table}\n{found[2]}", text)


def stale(root: Path = ROOT) -> list[str]:
    """Return the files whose table is not what the measurements say."""
    return [path for path, (old, new) in _pages(root).items() if old != new]


def main(arguments: Sequence[str]) -> int:
    """Rewrite the tables, or check them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 where a table is stale")
    if parser.parse_args(arguments).check:
        found = stale()
        for path in found:
            print(f"{path}: stale; run python docs/tables.py", file=sys.stderr)
        return 1 if found else 0
    for path, (old, new) in _pages(ROOT).items():
        if old != new:
            (ROOT / path).write_text(new, encoding="utf-8")
            print(f"{path}: rewritten")
    return 0


def _pages(root: Path) -> dict[str, tuple[str, str]]:
    """Return {page: (as it is, as it should be)}; a page may hold several tables."""
    pages: dict[str, tuple[str, str]] = {}
    for name, (path, table) in TABLES.items():
        old, new = pages.get(path) or ((root / path).read_text(encoding="utf-8"),) * 2
        pages[path] = (old, refreshed(new, name, table(root)))
    return pages


def _measured(root: Path, name: str) -> Any:
    return json.loads((root / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))


def _change(difference: Mapping[str, float]) -> str:
    """Return a difference with its interval, empty where a thing is compared with itself."""
    value, low, high = (difference[key] for key in ("value", "low", "high"))
    return f"{value:+.4f} [{low:+.4f}, {high:+.4f}]" if value or low or high else ""


def _short(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
