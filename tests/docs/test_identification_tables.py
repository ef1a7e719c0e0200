# SPDX-License-Identifier: Apache-2.0
"""What the benchmark of identification keeps of a run, and how the docs show it."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import identification  # the benchmark: pytest's path holds the folder
import identification_people
import identification_pictures
import pandas as pd
import pytest

from ecglens.privacy.identify import Identified
from ecglens.runs.run import Run
from ecglens.simulation.cohort import simulate_cohort

ROOT = Path(__file__).parents[2]
TOLD = json.loads((ROOT / "benchmarks" / "identification.json").read_text(encoding="utf-8"))


def load_tables() -> Any:
    spec = importlib.util.spec_from_file_location("docs_tables_of_people", ROOT / "docs" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return sys.modules["tabulated.identification"]


@pytest.fixture(scope="module")
def tables() -> Any:
    return load_tables()


def cells(table: str) -> list[list[str]]:
    """Return the rows of a Markdown table, its header first."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if set(line) - set("|- ")
    ]


def row(size: int, kind: str = "unseen", rank: int = 1, value: float = 0.5) -> dict[str, Any]:
    about = {"model": "cnn-beats-5", "gallery": kind, "rank": rank, "size": size, "value": value}
    return about | {"low": value - 0.1, "high": value + 0.1, "chance": rank / size, "n_people": 66, "n_probes": 80}


def written(folder: Path, **runs: dict[str, Any]) -> Path:
    """Write runs as the benchmark keeps them, below another root."""
    (folder / "benchmarks").mkdir(parents=True)
    (folder / "benchmarks" / "identification.json").write_text(json.dumps(runs))
    return folder


# ------------------------------------------------------------------------------------------------------- gallery curve


def test_the_benchmark_keeps_rank_one_of_every_size_and_gallery(tmp_path: Path):
    run = Run.create(tmp_path / "run", "identify", {}, 0)
    run.note(seconds=3.0)
    run.write_table("gallery", pd.DataFrame([row(2), row(5), row(5, rank=5), row(9, "everybody")]))
    kept = identification.stored(Identified(run, {"task": "person"}))
    assert kept["task"] == "person"
    assert [(each["gallery"], each["size"]) for each in kept["gallery"]] == [
        ("unseen", 2), ("unseen", 5), ("everybody", 9),
    ]  # fmt: skip
    assert set(kept["gallery"][0]) == set(row(2)) - {"rank"}
    assert "gallery" not in identification.stored(Identified(_named(tmp_path / "named"), {}))


def _named(folder: Path) -> Run:
    run = Run.create(folder, "identify", {}, 0)  # of people who are named there is no gallery
    run.note(seconds=1.0)
    return run


def test_the_gallery_curve_stands_beside_the_published_figure(tables: Any, tmp_path: Path):
    curve = {"gallery": [row(2), row(2466, "everybody", value=0.263)]}
    root = written(
        tmp_path,
        **{"repeats-cnn-beats-5-paper-0": curve, "ecgid-cnn-paper-0": {}, "ecgid-cnn-beats-5-paper-0-causal": curve},
    )
    header, *rows = cells(tables.gallery(root))
    assert header[3:6] == ["how many", "rank-1", "chance"]
    assert rows[1] == [
        "PTB-XL, repeats", "cnn-beats-5", "everybody", "2,466", "0.263 [0.163, 0.363]", "0.0004", "66 (80 recordings)",
    ]  # fmt: skip
    assert "0.583, no interval" in rows[2]
    assert len(rows) == 3  # what was measured without curves, or of what attackers need, has no rows
    assert tables.gallery(written(tmp_path / "none", **{"ecgid-cnn-paper-0": {}})) == tables.NOT_RUN


def test_the_docs_have_the_curve_of_ptbxl_up_to_everybody():
    page = (ROOT / "docs" / "methods" / "identification.md").read_text(encoding="utf-8")
    shown = page.partition("<!-- reid-gallery -->")[2].partition("<!-- /reid-gallery -->")[0]
    last = [line for line in cells(shown) if line[0] == "PTB-XL, repeats"][-1]
    assert last[2:4] == ["everybody", "2,466"]
    assert last[-1].startswith("66 ")


def test_the_picture_has_the_points_of_the_table():
    figure = identification_pictures.gallery_picture(TOLD)
    assert figure is not None
    (line,) = (line for line in figure.axes[0].lines if line.get_label() == "PTB-XL, everybody")
    rows = [one for one in TOLD["repeats-cnn-beats-5-paper-0"]["gallery"] if one["gallery"] == "everybody"]
    assert list(zip(line.get_xdata(), line.get_ydata(), strict=True)) == [(one["size"], one["value"]) for one in rows]
    assert identification_pictures.gallery_picture({"ecgid-cnn-paper-0": {}}) is None
    assert (ROOT / "docs" / "_static" / "identification-gallery.png").stat().st_size < 200_000


# ------------------------------------------------------------------------------------------- windows, and who was asked


def column(table: str, name: str) -> list[str]:
    header, *rows = cells(table)
    return [line[header.index(name)] for line in rows]


def test_the_tables_of_named_people_say_how_many_windows_a_person(tables: Any, monkeypatch: pytest.MonkeyPatch):
    name = "windows a person, at most"
    for table in (tables.named(), tables.table_one()):
        header, *rows = cells(table)
        at = header.index(name)
        told = {(line[0], "paper's" in line[1], line[at]) for line in rows}
        assert {windows for task, theirs, windows in told if task == "person" and not theirs} == {"60"}
        assert {windows for task, theirs, windows in told if task != "person" and not theirs} == {"20"}
        assert {windows for _, theirs, windows in told if theirs} == {"not said"}
    monkeypatch.setitem(identification.RUNS["paper"], "per_person", 7)
    assert set(column(tables.named(), name)) >= {"7", "60", "20"}  # what the benchmark asks for, typed nowhere else


def test_strangers_are_told_with_the_people_who_are_looked_for(tables: Any, tmp_path: Path):
    figure = {"value": 0.3, "low": 0.2, "high": 0.4, "chance": 0.001}
    cost = [{"model": "cnn", "parameters": 1.0, "seconds": 2.0}]
    about = {"protocol": "verification", "task": "person", "n_people": 2466, "gallery_size": 1233, "cost": cost}
    of_old = about | {"models": {"cnn": {"eer": figure, "rank1": figure}}}
    of_new = of_old | {"sought": {"n_people": 66, "n_asked": 80}}
    root = written(tmp_path, **{"repeats-cnn-paper-0": of_old, "repeats-cnn-paper-1": of_new})
    table = tables.strangers(root)
    assert column(table, "people looked for") == ["not told", "66 (80 recordings)"]
    assert column(table, "people compared, all folds") == ["2,466", "2,466"]
    assert column(table, "people in the gallery of a fold") == ["1,233", "1,233"]


def test_pairs_of_recordings_are_counted_by_person_date_and_fold():
    made = simulate_cohort(14)
    people = ["a"] * 4 + ["b"] * 3 + ["c", "c", "d", "d", "e", "f", "g"]
    dates = (
        ["2001-01-01"] * 4
        + ["2001-01-01", "2001-01-01", "2002-02-02"]
        + ["2001-01-01", "2002-02-02"] * 3
        + ["2001-01-01"]
    )
    metadata = made.metadata.assign(patient_id=people, date=dates)
    counted = identification_people.counted(replace(made, name="ecgiddb", metadata=metadata))
    assert counted["n_people"] == 7
    assert counted["most_recordings"] == counted["most_used"] == 4
    assert [counted[key] for key in ("with_two_recordings", "with_two_dates", "of_one_date")] == [4, 3, 4]
    assert counted["pairs"] == 6 + 3 + 1 + 1
    assert counted["pairs_of_one_date"] == 6 + 1
    assert sum(fold["pairs"] for fold in counted["folds"]) == counted["pairs"]
    assert 6 in {fold["of_the_largest"] for fold in counted["folds"]}
    assert identification_people.counted(made)["folds"] is None


def test_a_void_attack_is_called_so(tables: Any):
    void = [line[2:4] for line in cells(tables.named()) if "void" in line[1]]
    assert ["ECG-ID, learnt in bfloat16", "transecg"] in void
    assert {model for _, model in void} == {"transecg"}  # the control judges it alone
    assert len(void) == sum(told["controls"]["attack_alive"] is False for told in TOLD.values())


def test_the_tables_have_words_for_every_run_of_the_benchmark(tables: Any):
    asked = [*identification.RUNS, *identification.ELSEWHERE]
    assert [tables._run(f"{run}-cnn-beats-paper-0") for run in asked] == asked
    assert set(asked) <= set(tables.DATA)
    assert tables._data("closed-on-ptbxl-cnn-paper-0") == "PTB-XL"


# ------------------------------------------------------------------------------------------------------- the benchmark


def test_the_benchmark_asks_the_best_attacker_where_none_is_named():
    for name in ("ecgid", "dates", "repeats", "repeat-dates", "open"):
        assert identification.models_of(name) == ["cnn-beats-5"]
    assert identification.models_of("sex") == identification.models_of("age") == ["cnn-beats"]
    assert identification.models_of("paper") == identification.models_of("closed") == ["transecg"]
    assert identification.models_of("databases") == ["unveiled-lr", "unveiled-forest"]


def test_the_benchmark_types_no_time_that_a_run_says_beforehand():
    assert identification.__doc__ is not None
    assert "says beforehand how long it will take" in " ".join(identification.__doc__.split())
    assert not re.search(r"minutes|hour|times as long", identification.__doc__)
