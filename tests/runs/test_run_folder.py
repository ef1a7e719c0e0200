# SPDX-License-Identifier: Apache-2.0
"""A run folder is made once, resumed only as it was begun, and read back as it was written."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecglens.errors import ContractError, EnvironmentFault, FormatError, InputError, LockedError, UsageError
from ecglens.runs.run import RUN_SCHEMA, Run, hash_of, provenance

ARGUMENTS = {"recipe": {"epochs": 3, "leads": ("I", "II")}, "data": Path("/data"), "limit": None}


def create(folder: Path, resume: bool = False, *, verb: str = "train", seed: int = 7, **change) -> Run:
    return Run.create(folder, verb, ARGUMENTS | change, seed, resume)


def test_run_json_says_what_was_asked_and_with_what(tmp_path: Path) -> None:
    run = create(tmp_path / "deep" / "run")
    about = json.loads((tmp_path / "deep" / "run" / "run.json").read_text())
    assert (about["schema"], about["verb"], about["seed"]) == (RUN_SCHEMA, "train", 7)
    assert about["arguments"] == {"recipe": {"epochs": 3, "leads": ["I", "II"]}, "data": "/data", "limit": None}
    assert about["versions"]["numpy"] == np.__version__
    assert run.read() == about
    assert Run.open(run.folder) == run
    with pytest.raises(FrozenInstanceError):
        run.folder = tmp_path


def test_folders_with_something_else_in_them_are_refused(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").touch()
    (tmp_path / "file").touch()
    for name in ("full", "file"):
        for resume in (False, True):
            with pytest.raises(UsageError) as caught:
                create(tmp_path / name, resume)
            assert caught.value.exit_code == 2
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["thesis.doc"]


def test_an_empty_folder_and_the_traces_of_a_kill_are_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".run.json.0123456789abcdef.part").write_text("{")  # killed while writing the very first file
    assert create(tmp_path, resume=True).read()["verb"] == "train"


def test_a_second_run_needs_resume_and_the_same_arguments(tmp_path: Path) -> None:
    create(tmp_path)
    with pytest.raises(UsageError, match="--resume"):
        create(tmp_path)
    before = (tmp_path / "run.json").read_bytes()
    assert create(tmp_path, resume=True).folder == tmp_path
    for change in (
        {"limit": 5}, {"recipe": {"epochs": 4, "leads": ("I", "II")}}, {"new": 1}, {"data": "/other"},
        {"seed": 8}, {"verb": "explain"},
    ):  # fmt: skip
        with pytest.raises(ContractError, match=next(iter(change))) as caught:
            create(tmp_path, resume=True, **change)
        assert (caught.value.exit_code, caught.value.kind) == (6, "resume")
    assert (tmp_path / "run.json").read_bytes() == before


def test_arguments_whose_content_the_caller_compares_may_be_written_otherwise(tmp_path: Path) -> None:
    create(tmp_path, data="/here")
    arguments = create(tmp_path, resume=True, data="/here").read()["arguments"]
    moved = arguments | {"data": "../there"}
    assert Run.create(tmp_path, "train", moved, 7, True, by_content=("data",)).folder == tmp_path
    with pytest.raises(ContractError, match="limit"):
        Run.create(tmp_path, "train", moved | {"limit": 5}, 7, True, by_content=("data",))


def test_notes_are_added_and_facts_stay(tmp_path: Path) -> None:
    run = create(tmp_path)
    run.note(data="abc", n=3)
    run.note(n=4)
    about = run.read()
    assert (about["data"], about["n"], about["seed"]) == ("abc", 4, 7)
    create(tmp_path, resume=True)  # notes are no arguments


@pytest.mark.parametrize("content", ['{"schema": 2}', '{"schema": "1"}', "{}", "[]", "null", '"schema"', "", "{"])
def test_another_schema_or_a_torn_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(FormatError):
        Run.open(tmp_path)
    with pytest.raises(FormatError):
        create(tmp_path, resume=True)


def test_no_run_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.json"):
        Run.open(tmp_path)


def test_tables_come_back(tmp_path: Path) -> None:
    run = create(tmp_path)
    values = np.random.default_rng(0).standard_normal(500) * 10.0 ** np.random.default_rng(1).integers(-20, 20, 500)
    run.write_table("scores", pd.DataFrame({"value": values, "class": ["a,b\n"] * 500}))
    table = run.read_table("scores")
    np.testing.assert_allclose(table["value"], values, rtol=1e-14)  # pandas below 3.1 reads the last digit loosely
    assert set(table["class"]) == {"a,b\n"}
    assert run.read_table("nothing") is None


def test_arrays_and_places(tmp_path: Path) -> None:
    run = create(tmp_path)
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(np.load(run.write_array("a", array), allow_pickle=False), array)
    assert run.bundle_folder("fold-3") == tmp_path / "bundles" / "fold-3"
    with run.journal() as journal:
        journal.record("e", "1", 2)
    assert (tmp_path / "journal.sqlite").exists()


def test_one_writer(tmp_path: Path) -> None:
    run = create(tmp_path)
    with run.writing(), pytest.raises(LockedError), Run(tmp_path).writing():
        pass


def test_a_parent_that_is_a_file_is_a_fault_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault):
        create(tmp_path / "file" / "run")


def test_hash_depends_on_values_not_on_order_of_keys() -> None:
    assert hash_of({"a": 1, "b": [1, 2]}) == hash_of({"b": (1, 2), "a": 1})
    assert len({hash_of(v) for v in ({"a": 1}, {"a": 2}, {"a": "1"}, {"b": 1}, [1, 2], [2, 1], 1, None)}) == 8


def test_provenance_is_json() -> None:
    assert json.loads(json.dumps(provenance()))["versions"]["python"]
