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

ROOT = Path(__file__).parents[1]
NOT_MEASURED = "Not measured yet: `make bench` writes `benchmarks/results.json`, `python docs/tables.py` this table."


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


TABLES: dict[str, tuple[str, Callable[[Path], str]]] = {
    "figures": ("README.md", figures),
    "benchmarks": ("docs/benchmarks.md", benchmarks),
    "levels": ("docs/methods/evaluation.md", levels),
    "calibration": ("docs/methods/evaluation.md", calibration),
    "coverage": ("docs/methods/evaluation.md", coverage),
    "learning": ("docs/methods/evaluation.md", learning_curve),
    "ludb": ("docs/how-to/label-map.md", ludb),
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
