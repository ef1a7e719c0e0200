# SPDX-License-Identifier: Apache-2.0
"""Each verb: one JSON object on stdout with the keys that scripts rely on, words on stderr, exit codes, help."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from ecglens import __version__
from ecglens.bundle import Bundle
from ecglens.cli import console
from ecglens.cli.app import app, run
from ecglens.cli.console import Outcome, conclude, exit_code_for
from ecglens.cohort import Cohort
from ecglens.errors import ContractError, InputError, UnsafeError
from ecglens.explainers.explain import explain
from ecglens.formats.read import read
from ecglens.formats.wfdb import write_wfdb
from ecglens.prediction.predict import predict
from ecglens.statistics.figures import clean
from ecglens.training.train import Trained


def verbs() -> list[list[str]]:
    """Return every verb of the command line, and every verb below `data`."""
    top = typer.main.get_command(app).commands
    below = [[name, own] for name, verb in top.items() for own in getattr(verb, "commands", ())]
    return [[name] for name in top] + below


VERBS = verbs()
Cli = Callable[..., tuple[int, dict[str, Any], str]]


def process(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ecglens", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


@pytest.fixture(scope="module")
def ecg_file(data_folder: Path, small_cohort: Cohort) -> Path:
    """An ECG of somebody the tiny bundle has never seen."""
    stranger = small_cohort.where(fold=10).record_ids[0]
    return data_folder / f"{stranger}.hea"


# --- verbs ---------------------------------------------------------------------------------------------------------


def test_doctor(cli: Cli) -> None:
    code, told, _ = cli("doctor")
    assert code in (0, 5)
    assert (code == 0) == (told["problems"] == [])
    assert told["versions"]["ecglens"]
    assert isinstance(told["free_gb"], float)
    assert isinstance(told["bundles"], dict)


def test_data_info(cli: Cli, data_folder: Path, small_cohort: Cohort) -> None:
    code, told, _ = cli("data", "info", data_folder)
    assert code == 0
    assert (told["records"], told["patients"]) == (len(small_cohort), small_cohort.n_patients)
    assert told["labels"] == {name: int(n) for name, n in small_cohort.labels.sum().items()}
    assert sum(told["folds"].values()) == len(small_cohort)


def test_check(cli: Cli, ecg_file: Path, tiny_folder: Path) -> None:
    code, told, _ = cli("check", ecg_file, "--bundle", tiny_folder)
    assert code == 0
    assert told["records"] == [{"file": str(ecg_file), "ok": True, "findings": []}]


def test_predict(cli: Cli, ecg_file: Path, tiny_folder: Path, tiny_bundle: Bundle) -> None:
    code, told, _ = cli("predict", ecg_file, "--bundle", tiny_folder)
    assert code == 0
    (record,) = told["records"]
    assert set(record) == {"file", "record_id", "probabilities", "decisions", "flags", "rejected"}
    expected = predict(tiny_bundle, read(ecg_file))
    assert (record["file"], record["record_id"]) == (str(ecg_file), ecg_file.stem)
    assert record["probabilities"] == expected.probabilities  # not rounded on the way
    assert record["decisions"] == expected.decisions
    assert all(isinstance(value, bool) for value in record["decisions"].values())
    assert record["flags"] == []
    assert record["rejected"] is None


def test_predict_a_folder_and_the_files_of_one_record(
    cli: Cli, data_folder: Path, ecg_file: Path, tiny_folder: Path, small_cohort: Cohort
) -> None:
    code, told, _ = cli("predict", data_folder, "--bundle", tiny_folder)
    assert code == 0
    assert [record["record_id"] for record in told["records"]] == sorted(small_cohort.record_ids)
    code, told, _ = cli("predict", ecg_file, ecg_file.with_suffix(".dat"), ecg_file, "--bundle", tiny_folder)
    assert (code, len(told["records"])) == (0, 1)
    for spelled in (ecg_file.with_suffix(".dat"), ecg_file.with_suffix("")):
        assert (
            cli("predict", spelled, "--bundle", tiny_folder)[1]["records"][0]["probabilities"]
            == (told["records"][0]["probabilities"])
        )


def test_explain(cli: Cli, ecg_file: Path, tiny_folder: Path, tiny_bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "explained"
    code, told, _ = cli("explain", ecg_file, "--target", "MI,MI - NORM, MI", "--bundle", tiny_folder, "--out", out)
    assert code == 0
    assert [(e["target"], e["method"]) for e in told["explanations"]] == [
        ("MI", "saliency"), ("MI - NORM", "saliency"),
    ]  # fmt: skip
    expected = explain(tiny_bundle, read(ecg_file), ["MI", "MI - NORM"])
    for entry, reference in zip(told["explanations"], expected, strict=True):
        assert {"file", "target", "method", "probability", "attribution", "leads", "fs", "start", "picture"} <= set(
            entry
        )
        values = np.load(entry["attribution"], allow_pickle=False)
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, reference.values)
        assert (len(entry["leads"]), entry["fs"], entry["start"]) == (len(values), 100.0, 0.0)
        assert entry["probability"] == reference.probability
        assert Path(entry["picture"]).read_bytes().startswith(b"\x89PNG")
        assert "<html" in Path(entry["page"]).read_text()[:200]
    assert told["explanations"][1]["probability"] is None
    kept = json.loads((out / "explanations.json").read_text())
    assert kept["explanations"] == told["explanations"]


def test_stretches_of_long_recordings(
    cli: Cli, ecg_file: Path, tiny_folder: Path, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """--start and --stop give what the Python calls give for that stretch, under a name of its own."""
    whole = read(ecg_file)
    long = replace(whole, signal=np.concatenate([whole.signal, whole.signal[:, ::-1]], axis=1), record_id="long")
    header = write_wfdb(long, tmp_path)
    part = long.crop(4.5, 16.5)
    stretch, bundle = ("--start", 4.5, "--stop", 16.5), ("--bundle", tiny_folder)

    code, told, _ = cli("predict", header, *bundle, *stretch)
    assert code == 0
    assert told["records"][0]["probabilities"] == pytest.approx(predict(tiny_bundle, part).probabilities, abs=1e-5)
    assert told["records"][0]["probabilities"] != cli("predict", header, *bundle)[1]["records"][0]["probabilities"]

    code, told, _ = cli("explain", header, "--target", "MI", *bundle, *stretch, "--out", tmp_path / "explained")
    (entry,) = told["explanations"]
    assert (code, entry["start"], Path(entry["page"]).name) == (0, 4.5, "long_4_5-16_5s.html")
    assert np.load(entry["attribution"]).shape[1] == 1200  # 12 s at the network's 100 Hz

    code, told, _ = cli("convert", header, tmp_path / "cut", *stretch)
    (entry,) = told["written"]
    cut = read(entry["to"])
    assert (code, Path(entry["to"]).name, entry["duration"], cut.start) == (0, "long_4_5-16_5s.hea", 12.0, 4.5)
    np.testing.assert_array_equal(cut.signal, read(header).crop(4.5, 16.5).signal)

    assert cli("check", header, *bundle, "--start", 10)[0] == 0
    code, told, err = cli("check", header, *bundle, "--start", 10.5)  # 9.5 s are too few for the bundle
    assert (code, told["records"][0]["findings"][-1]["kind"]) == (6, "too_short")
    for wrong in (("--stop", 20.5), ("--start", 12, "--stop", 12), ("--start", "nan"), ("--start", -1)):
        code, told, err = cli("predict", header, *bundle, *wrong)
        assert (code, "inside [0, 20) s" in err) == (3, True), wrong


def test_the_data_set_said_outright(cli: Cli, data_folder: Path, tiny_folder: Path, tmp_path: Path) -> None:
    """A folder of one's own that looks like PTB-XL too is one's own only for who says so."""
    clinic = tmp_path / "clinic"
    shutil.copytree(data_folder, clinic)
    (clinic / "table.csv").rename(clinic / "ptbxl_database.csv")
    for dataset, code in ((None, 0), ("folder", 0), ("ptbxl", 3), ("mitdb", 3), ("cars", 2)):
        said = () if dataset is None else ("--dataset", dataset)
        assert cli("data", "info", clinic, "--no-signals", *said)[0] == code, dataset
        assert cli("evaluate", tiny_folder, "--data", clinic, *said, "--out", tmp_path / f"{dataset}")[0] == code
    code, told, _ = cli("train", "--data", clinic, "--dataset", "ptbxl", "--out", tmp_path / "run")
    assert (code, told["error"]["error"]) == (3, "TableError")


def test_the_data_set_is_kept_with_the_run(cli: Cli, data_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert cli("train", "--data", data_folder, "--dataset", "folder", "--epochs", 1, "--out", out)[0] == 0
    assert json.loads((out / "run.json").read_text())["arguments"]["dataset"] == "folder"
    assert cli("report", out)[0] == 0
    assert "--dataset folder" in (out / "report.html").read_text()


def test_explanations_of_namesakes_do_not_overwrite_each_other(
    cli: Cli, data_folder: Path, tiny_folder: Path, tmp_path: Path, small_cohort: Cohort
) -> None:
    """Records of one name in two folders, and names with dots: each keeps its own files."""
    names = small_cohort.record_ids
    for person, name in (("a", names[0]), ("b", names[1])):
        (tmp_path / person).mkdir()
        header = (data_folder / f"{name}.hea").read_text().replace(name, "rec.1")
        (tmp_path / person / "rec.1.hea").write_text(header)
        shutil.copy(data_folder / f"{name}.dat", tmp_path / person / "rec.1.dat")
    files = [tmp_path / person / "rec.1.hea" for person in "ab"]
    code, told, _ = cli(
        "explain", *files, "--target", "MI,CD", "--bundle", tiny_folder, "--out", tmp_path / "out"
    )  # fmt: skip
    assert code == 0
    entries = told["explanations"]
    for key, n in (("attribution", 4), ("picture", 4), ("page", 2)):
        assert len({e[key] for e in entries}) == n, key
        assert all(Path(e[key]).exists() for e in entries)
    assert len({np.load(e["attribution"]).tobytes() for e in entries}) == 4


@pytest.mark.parametrize("unknown", [["--target", "XY"], ["--target", "MI", "--method", "magic"]])
def test_explain_what_does_not_exist(
    cli: Cli, ecg_file: Path, tiny_folder: Path, tmp_path: Path, unknown: list[str]
) -> None:
    code, told, err = cli("explain", ecg_file, *unknown, "--bundle", tiny_folder, "--out", tmp_path / "out")
    assert code == 2
    assert told["error"]["error"] == "UsageError"
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def cli_run(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as the command line makes it."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert run(["train", "--data", str(data_folder), "--epochs", "2", "--seed", "5", "--out", str(folder)]) == 0
    return folder


def test_train_evaluate_report(cli: Cli, data_folder: Path, cli_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    code, told, _ = cli("train", "--data", data_folder, "--epochs", 2, "--seed", 5, "--out", out)
    assert code == 0
    assert (told["run"], told["bundle"]) == (str(out), str(out / "bundles" / "final"))
    assert told["best_epoch"] in (1, 2)
    assert {"value", "low", "high"} <= set(told["valid"]["macro_auroc"])
    assert Bundle.load(out).weights_sha256 == Bundle.load(cli_run).weights_sha256

    code, told, _ = cli("evaluate", out, "--data", data_folder)
    assert code == 0
    assert told["fold"] == "10"
    assert {"label_rule", "n", "n_patients", "macro_auroc", "per_class"} <= set(told)
    assert isinstance(told["n"], int)
    for figures in told["per_class"].values():
        assert {"auroc", "f1", "threshold"} <= set(figures)
        assert set(figures["auroc"]) >= {"value", "low", "high"}
    again = cli("evaluate", out, "--data", data_folder)[1]
    assert again == told
    assert (out / "evaluations" / "clinic-fold-10" / "evaluation.json").exists()

    code, told, _ = cli("report", out)
    assert code == 0
    page = Path(told["report"])
    assert page.stat().st_size == told["bytes"]
    assert "<html" in page.read_text()[:200]


def test_evaluate_writes_where_it_is_told(cli: Cli, cli_run: Path, data_folder: Path, tmp_path: Path) -> None:
    code, _, _ = cli("evaluate", cli_run / "bundles" / "final", "--data", data_folder, "--out", tmp_path / "e")
    assert code == 0
    assert {p.name for p in (tmp_path / "e" / "clinic-fold-10").iterdir()} == {
        "evaluation.json", "predictions.csv", "scores.csv",
    }  # fmt: skip


def test_figures_of_other_records_are_not_written_over(
    cli: Cli, cli_run: Path, data_folder: Path, tmp_path: Path
) -> None:
    code, _, _ = cli("evaluate", cli_run, "--data", data_folder, "--out", tmp_path)
    (kept,) = tmp_path.glob("*/predictions.csv")
    assert cli("evaluate", cli_run, "--data", data_folder, "--out", tmp_path)[0] == code  # the same records
    kept.write_text("record_id,probability MI\nsomebody,0.5\n")
    code, told, _ = cli("evaluate", cli_run, "--data", data_folder, "--out", tmp_path)
    assert (code, told["error"]["field"]) == (2, "evaluation")
    assert "somebody" in kept.read_text()


@pytest.mark.parametrize("fold", ["1", "9", "9,10", "all"])
def test_evaluate_refuses_its_own_patients(cli: Cli, cli_run: Path, data_folder: Path, fold: str) -> None:
    code, told, err = cli("evaluate", cli_run, "--data", data_folder, "--fold", fold)
    assert (code, told["error"]["kind"]) == (6, "leak")
    assert "patients" in err


def test_evaluate_refuses_its_own_recordings_in_another_folder(cli: Cli, tiny_folder: Path, data_folder: Path) -> None:
    """The tiny bundle was trained in memory on a cohort of another name: only the samples are the same."""
    code, told, _ = cli("evaluate", tiny_folder, "--data", data_folder, "--fold", "3")
    assert (code, told["error"]["kind"]) == (6, "leak")


@pytest.mark.parametrize("fold", ["11", "x", "1;2", "-1"])
def test_evaluate_on_a_fold_that_is_not_there(cli: Cli, cli_run: Path, data_folder: Path, fold: str) -> None:
    code, told, _ = cli("evaluate", cli_run, "--data", data_folder, f"--fold={fold}")
    assert (code, told["error"]["error"]) == (2, "UsageError")
    assert "10, all" in told["error"]["allowed"]


def test_resuming_with_other_arguments(cli: Cli, cli_run: Path, data_folder: Path) -> None:
    code, told, _ = cli("train", "--data", data_folder, "--epochs", 3, "--seed", 5, "--out", cli_run, "--resume")
    assert (code, told["error"]["kind"]) == (6, "resume")
    code, told, err = cli("train", "--data", data_folder, "--epochs", 2, "--seed", 5, "--out", cli_run)
    assert code == 2
    assert "--resume" in err


def test_report_on_an_unfinished_run(cli: Cli, trained: Trained, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained.run.folder, tmp_path / "run"))
    about = json.loads((folder / "run.json").read_text())
    del about["finished"]
    (folder / "run.json").write_text(json.dumps(about))
    code, told, _ = cli("report", folder)
    assert (code, told["error"]["error"]) == (3, "InputError")
    assert "--resume" in told["error"]["to_do"]
    assert not (folder / "report.html").exists()
    assert cli("report", tmp_path / "nothing")[0] == 3
    (folder / "run.json").write_text("{")
    assert cli("report", folder)[0] == 3
    (folder / "run.json").write_text('{"schema": 99}')
    assert cli("report", folder)[0] == 3


# --- words for people ----------------------------------------------------------------------------------------------


def test_without_json_a_table_on_stdout_and_what_to_do_next_on_stderr(
    capsys: pytest.CaptureFixture[str], ecg_file: Path, tiny_folder: Path
) -> None:
    assert run(["predict", str(ecg_file), "--bundle", str(tiny_folder)]) == 0
    out, err = capsys.readouterr()
    assert ecg_file.stem in out
    assert "not a medical device" in out
    assert "Next: ecglens explain" in err
    assert "Next" not in out


def test_what_predict_says_to_do_next_is_not_refused(
    capsys: pytest.CaptureFixture[str], ecg_file: Path, tmp_path: Path
) -> None:
    """No method has passed the audit of the shipped weights: maps of theirs are drawn stamped, or not at all."""
    assert run(["predict", str(ecg_file)]) == 0
    _, _, told = capsys.readouterr().err.partition("Next: ecglens ")
    assert "--even-if-failed" in told
    asked = shlex.split(told.partition("\n")[0].replace("explained/", str(tmp_path)))
    assert run(asked) == 0


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_shows_an_example(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*verb, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "Usage: ecglens" in out
    if verb != ["data"]:
        assert f"Example: ecglens {' '.join(verb)}" in out


def test_version_and_help_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"ecglens {__version__}\n"
    assert run(["--help"]) == 0
    told = capsys.readouterr().out
    for verb in VERBS:
        assert verb[0] in told


WRONG_USAGE = {
    "unknown option": ["predict", "x.hea", "--magic"],
    "unknown verb": ["predicate", "x.hea"],
    "option of ecglens": ["--magic"],
    "no file": ["predict"],
    "no value": ["explain", "x.hea", "--target"],
    "no --out": ["train", "--data", "simulated"],
    "no number": ["train", "--data", "simulated", "--out", "o", "--epochs", "many"],
    "negative epochs": ["train", "--data", "simulated", "--out", "o", "--epochs", "-1"],
    "unknown model": ["train", "--data", "simulated", "--out", "o", "--model", "resnet"],
    "unknown task": ["train", "--data", "simulated", "--out", "o", "--task", "magic"],
    "nothing at all": [],
    "data alone": ["data"],
}


@pytest.mark.parametrize("case", WRONG_USAGE)
def test_wrong_usage_is_exit_2(
    case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = WRONG_USAGE[case]
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert err
    assert "Traceback" not in err
    assert out == ""
    if len(arguments) > 1:
        assert run([arguments[0], "--json", *arguments[1:]]) == 2
        out = capsys.readouterr().out
        assert json.loads(out)["error"]["error"] == "UsageError"
    assert list(tmp_path.iterdir()) == []


# --- real processes ------------------------------------------------------------------------------------------------

HEAVY = ("torch", "pandas", "matplotlib", "scipy", "sklearn", "captum")


@pytest.mark.parametrize(
    "code",
    ["import ecglens", "from ecglens.cli.app import run; assert run(['--help']) == 0",
     "from ecglens.cli.app import run; assert run(['train', '--help']) == 0"],
)  # fmt: skip
def test_light_things_stay_light(code: str) -> None:
    script = f"{code}\nimport sys\nprint([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")


def test_a_real_process(ecg_file: Path, tiny_folder: Path, tmp_path: Path) -> None:
    done = process("predict", ecg_file, tmp_path / "nothing.hea", "--bundle", tiny_folder, "--json")
    assert done.returncode == 7, done.stderr
    records = json.loads(done.stdout)["records"]
    assert [record["rejected"] is None for record in records] == [True, False]
    assert "Traceback" not in done.stderr


def test_wrong_usage_in_a_real_process() -> None:
    done = process("predict", "--magic", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["kind"] == "usage"
    assert "Traceback" not in done.stderr


def test_a_reader_who_leaves_is_no_fault() -> None:
    """`ecglens ... | head -0`: no traceback, and not the exit code of a bug."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ecglens", "doctor"], stdout=write_end, stderr=subprocess.PIPE, text=True, timeout=60
        )
    finally:
        os.close(write_end)
    assert done.returncode in (0, 5)  # what doctor found, not the pipe
    assert "Broken" not in done.stderr
    assert "Traceback" not in done.stderr


# --- what every verb shares ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (KeyboardInterrupt(), 130, "interrupted"), (MemoryError(), 5, "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), 5, "memory"),
        (OSError(28, "No space left on device", "there"), 5, "system"),
        (PermissionError(13, "denied", "a\nb"), 5, "system"),
        (ZeroDivisionError("two\nlines"), 1, "bug"), (InputError("a", "b", "c"), 3, "input"),
        (UnsafeError("a", "b", "c"), 4, "unsafe"), (ContractError("a", "b", "c"), 6, "contract"),
    ],
)  # fmt: skip
def test_whatever_happens_is_one_line_and_one_object(
    error: BaseException, code: int, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def verb() -> Outcome:
        raise error

    assert conclude(verb, True) == code
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["kind"] == kind
    assert out.count("\n") == err.count("\n") == 1
    assert json.loads(out)["error"]["message"] == err.strip()
    assert conclude(verb, False) == code
    assert capsys.readouterr() == ("", err)


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECGLENS_DEBUG", "1")

    def verb() -> Outcome:
        raise InputError("a", "b", "c")

    assert conclude(verb, True) == 3
    out, err = capsys.readouterr()
    assert "Traceback" in err
    json.loads(out)


def test_exit_code_of_a_batch() -> None:
    bad, unsafe = InputError("a", "b", "c"), UnsafeError("a", "b", "c")
    assert exit_code_for(3, []) == 0
    assert exit_code_for(3, [bad, unsafe]) == 7
    assert exit_code_for(0, [bad, bad]) == 3
    assert exit_code_for(0, [unsafe]) == 4
    assert exit_code_for(0, [bad, unsafe]) == 3


def test_clean_makes_json_of_numbers() -> None:
    dirty = {"a": float("nan"), "b": [float("inf"), np.float32(0.5)], 3: (np.int64(4), np.bool_(True), None, "x")}
    assert clean(dirty) == {"a": None, "b": [None, 0.5], "3": [4, True, None, "x"]}
    assert json.dumps(clean(dirty), allow_nan=False)


def test_time_left_counts_only_what_was_done_since_the_work_was_resumed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 160.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    line = console.ProgressLine(every=1.0)
    line("training", 31, 50)  # the first epoch since the work was taken up again, after an unknown time
    line("training", 32, 50)
    assert capsys.readouterr().err == "training 32/50, 18 min 0 s left\n"


def test_progress_goes_to_stderr_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    line = console.ProgressLine(every=1e9)
    for k in range(1, 101):
        line("reading", k, 100, "")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "reading 100/100\n")


def test_predictions_are_not_lost_for_an_audit_that_cannot_be_read(
    capsys: pytest.CaptureFixture[str], ecg_file: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    mine = shutil.copytree(tiny_folder, tmp_path / "mine")
    (mine / "audit.json").write_text('{"schema": 99}')
    assert run(["predict", str(ecg_file), "--bundle", str(mine)]) == 0
    assert "Next: ecglens explain" in capsys.readouterr().err
