# SPDX-License-Identifier: Apache-2.0
"""What the documentation says is there, is there; and what is there, the documentation says."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import ecglens
from ecglens import Bundle, EcglensError, simulate_ecg, write_wfdb
from ecglens.auditing.work import Size
from ecglens.cli.app import app, run
from ecglens.concepts.state_records import Size as StateSize
from ecglens.datasets.download import Download, Fetched
from ecglens.datasets.labels import TASKS
from ecglens.datasets.load import DATASETS
from ecglens.errors import EnvironmentFault
from ecglens.explainers.explain import EXPLAINERS
from ecglens.models.lenet import count_parameters
from ecglens.models.registry import ARCHITECTURES, MODELS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SOURCE = Path(ecglens.__file__).parent
PAGES = [ROOT / "README.md", *(p for p in sorted(DOCS.rglob("*.md")) if "_build" not in p.parts)]
CLI = (DOCS / "reference" / "cli.md").read_text()
ERRORS = (DOCS / "reference" / "errors.md").read_text()


def in_backticks(text: str) -> set[str]:
    """Return all words that stand between single backticks, fenced blocks left out."""
    return set(re.findall(r"`([^`\n]+)`", without_fences(text)))


def without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def section(text: str, heading: str) -> str:
    """Return what stands under `## heading`."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, flags=re.DOTALL | re.MULTILINE)
    assert found, f"no section {heading}"
    return found[1]


# ------------------------------------------------------------------------------------------------------ command line


def verbs(command: Any = None, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (words, command) of each verb."""
    command = command or typer.main.get_command(app)
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
    for name, child in (below or {}).items():
        yield from verbs(child, f"{path} {name}".strip())


@pytest.mark.parametrize(("words", "command"), list(verbs()), ids=lambda value: value if isinstance(value, str) else "")
def test_each_verb_and_option_stands_in_the_reference(words, command):
    told = in_backticks(section(CLI, words))
    options = {name for p in command.params for name in (*p.opts, *p.secondary_opts) if name.startswith("--")}
    assert options - {"--help"} - told == set()
    invented = {name for name in told if re.fullmatch(r"--[a-z-]+", name)} - options
    assert invented == set(), "the reference names options that do not exist"
    readme = section((ROOT / "README.md").read_text(), "The verbs")
    assert re.search(rf"`ecglens {words}\b", readme), "not in the README's table"


def test_options_of_the_program_itself_stand_in_the_reference():
    for option in typer.main.get_command(app).params:
        assert all(f"{name}`" in CLI for name in option.opts), option.opts


DYNAMIC = {
    "labels", "probabilities", "decisions", "thresholds", "share_by_lead", "versions", "sex", "folds", "missing",
    "bundles", "per_class", "prevalence", "devices", "sites", "labels_per_record", "records_per_patient", "age_groups",
    "contribution", "strength", "uncertainty", "share_by_class", "segments", "reference", "time", "criteria",
    "contradictions", "sampling_rates", "leads", "flagged", "notes",
    "within_database", "leave_one_database_out", "share",
}  # fmt: skip


def keys_of(value: Any) -> set[str]:
    """Return the keys of JSON output, without those that are names of classes, leads, folds, packages."""
    if isinstance(value, list):
        return set().union(*map(keys_of, value)) if value else set()
    if not isinstance(value, dict):
        return set()
    found = set(value)
    for key, item in value.items():
        if key in ("per_class", "prevalence", "methods", "tests", "models") and isinstance(item, dict):
            found |= set().union(*map(keys_of, item.values()))
        elif key not in DYNAMIC and not (key == "excluded" and isinstance(item, dict)):
            found |= keys_of(item)
    return found


def documented(words: str) -> set[str]:
    """Return the keys that the section of a verb, or the part on all JSON objects, names."""
    text = section(CLI, "What every JSON object has") + section(CLI, words)
    if words == "train":  # its figures are those of evaluate, and it says so
        text += section(CLI, "evaluate")
    return in_backticks(text) | set(re.findall(r'"(\w+)"', text))


@pytest.fixture(scope="module")
def ecg_file(tmp_path_factory) -> Path:
    return write_wfdb(simulate_ecg("my-ecg", "IMI").ecg, tmp_path_factory.mktemp("ecgs")).with_suffix(".hea")


def test_each_key_of_json_output_stands_in_the_reference(tmp_path, capsys, monkeypatch, ecg_file, tiny_folder):
    monkeypatch.chdir(tmp_path)
    tiny, broken = str(tiny_folder), tmp_path / "broken.hea"
    broken.write_text("nonsense\n")
    calls = {
        "doctor": ["doctor"],
        "data simulate": ["data", "simulate", "made", "--n", "33", "--classes", "NORM,IMI,CLBBB", "--seed", "9"],
        "data list": ["data", "list"],
        "data download": ["data", "download", "ludb", "ludb", "--yes"],
        "data info": ["data", "info", "made"],
        "check": ["check", str(ecg_file), str(broken)],
        "convert": ["convert", str(ecg_file), str(broken), "converted"],
        "predict": ["predict", str(ecg_file), str(broken)],
        "explain": ["explain", str(ecg_file), str(broken), "--target", "MI", "--even-if-failed"],
        "evaluate": ["evaluate", tiny, "--data", "made"],
        "compare": ["compare", tiny, tiny, "--data", "made"],
        "measure": ["measure", str(ecg_file), str(broken), "--plot"],
        "train": ["train", "--data", "made", "--epochs", "1", "--out", "run", "--no-cache"],
        "aggregate": [
            "aggregate",
            tiny,
            "--data",
            "made",
            "--fold",
            "all",
            "--target",
            "MI",
            "--select",
            "top100",
            "--out",
            "averaged",
        ],
        "delineate": ["delineate", "--data", "made", "--out", "waves"],
        "audit": ["audit", "run", "--out", "run/audit"],
        "segment-states": ["segment-states", tiny, "--data", "made", "--fold", "all", "--out", "states", "--k", "3"],
        "find-subtypes": ["find-subtypes", tiny, "--data", "groups", "--group", "MI", "--by", "signals",
                          "--fold", "all", "--out", "subtypes"],
        "identify": ["identify", "--data", "made", "--task", "sex", "--folds", "2", "--model", "unveiled-lr",
                     "--windows", "1", "--purpose", "risk-assessment", "--out", "risk"],
        "report": ["report", "run"],
        "test-concepts": ["test-concepts", tiny, "--data", "many", "--fold", "all", "--concepts", "old.toml", "--cavs",
                          "2", "--random", "100", "--layers", "pool", "--out", "concepts"],
    }  # fmt: skip
    Path("old.toml").write_text('schema = 1\n[concepts.old]\nrule = "age > 55"\n[concepts.none]\nrule = "age > 999"\n')
    assert run(["data", "simulate", "many", "--n", "75", "--classes", "NORM,IMI,CLBBB", "--seed", "8"]) == 0
    capsys.readouterr()
    few = Size(simulated=40, measured=30, cases=2, redrawn=2, stable=2, regressed=2, seeds=1, epochs=1)
    monkeypatch.setattr("ecglens.auditing.work.QUICK", few)
    small = StateSize(places=900, sweep=600, trees=3, aligned=4, shifts=20, perturbed=2, bridged=2)
    monkeypatch.setattr("ecglens.concepts.state_records.QUICK", small)
    assert set(calls) == {words for words, _ in verbs()}
    failed = Fetched("b", "failed", EnvironmentFault("b", "download", "nothing"))
    done = Download((Fetched("a", "fetched"), failed), 1)  # no test uses the network
    monkeypatch.setattr("ecglens.datasets.download.download", lambda *_, **__: done)
    assert run(["data", "simulate", "groups", "--n", "32", "--classes", "IMI,AMI", "--seed", "9"]) == 0
    capsys.readouterr()
    for words, arguments in calls.items():
        code = run([*arguments, "--json"])
        assert code in (0, 7), (words, code)
        told = json.loads(capsys.readouterr().out)
        assert keys_of(told) - documented(words) == set(), words
    assert run(["explain", tiny, "--data", "made", "--out", "maps", "--limit", "2", "--json"]) == 0
    assert keys_of(json.loads(capsys.readouterr().out)) - documented("explain") == set()
    assert run(["predict", "--bundle", "nowhere", "x.hea", "--json"]) == 3
    assert keys_of(json.loads(capsys.readouterr().out)) - documented("predict") - {"schema"} == set()


def test_the_check_of_keys_can_fail():
    assert keys_of({"a": [{"b": 1}], "per_class": {"MI": {"c": 2}}, "labels": {"MI": 3}}) == {
        "a",
        "b",
        "per_class",
        "c",
        "labels",
    }


# --------------------------------------------------------------------------------------------- registries, names, kinds


@pytest.mark.parametrize(
    ("name", "page"),
    [
        *((name, "methods/training.md") for name in MODELS),
        *((name, "methods/explainers.md") for name in EXPLAINERS),
        *((name, "how-to/extend.md") for name in (*DATASETS, *MODELS)),
        *((name, "methods/label-rules.md") for name in TASKS),
    ],
)
def test_each_entry_of_a_registry_has_its_page(name, page):
    text = (DOCS / page).read_text()
    assert f"`{name}`" in text or f"# {name.capitalize()}\n" in text


def test_the_python_reference_names_what_is_public_and_nothing_else():
    text = (DOCS / "reference" / "python.rst").read_text()
    named = re.findall(r"^\.\. (?:auto\w+|data):: ecglens\.(\w+)$", text, flags=re.MULTILINE)
    assert sorted(named) == sorted(set(ecglens.__all__) - {"__version__"})


def literals(node: ast.AST) -> list[str]:
    """Return the texts an expression may be; of an f-string what stands before its first value, with a star."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return literals(node.body) + literals(node.orelse)
    if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
        return [f"{node.values[0].value}*"]
    return []


def kinds_in(source: str) -> set[str]:
    """Return every word that may stand in `kind` of an error, a finding or a left-out record."""
    kinds: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            others = ("Output", "argsort")  # whose `kind` is another matter
            named = [k.value for k in node.keywords if k.arg == "kind" and called not in others]
            first = {"Finding": 0, "Excluded": 1, "_left_out": 1}.get(called)
            if first is not None and len(node.args) > first:
                named.append(node.args[first])
            kinds.update(text for value in named for text in literals(value))
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                pairs = [(target, node.value)]
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = list(zip(target.elts, node.value.elts, strict=True))
                named = [value for name, value in pairs if getattr(name, "id", "") == "default_kind"]
                kinds.update(text for value in named for text in literals(value))
        elif isinstance(node, ast.Dict):
            named = [v for k, v in zip(node.keys, node.values, strict=True) if getattr(k, "value", None) == "kind"]
            kinds.update(text for value in named for text in literals(value))
        elif isinstance(node, ast.FunctionDef):  # kind: str = "header" of a helper that makes errors
            names = [*node.args.posonlyargs, *node.args.args]
            defaults = zip(names[len(names) - len(node.args.defaults) :], node.args.defaults, strict=True)
            kinds.update(t for name, value in defaults if name.arg == "kind" for t in literals(value))
    return kinds


def all_kinds() -> set[str]:
    return set().union(*(kinds_in(path.read_text()) for path in SOURCE.rglob("*.py")))


def test_each_kind_is_explained_and_none_is_invented():
    kinds, told = all_kinds(), in_backticks(ERRORS)
    families = {kind[:-1] for kind in kinds if kind.endswith("*")}
    assert {kind for kind in kinds if not kind.endswith("*")} - told == set()
    assert all(any(word.startswith(family) for word in told) for family in families)
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", ERRORS, flags=re.MULTILINE)
    explained = {word for row in rows for word in re.findall(r"`(\w+)`", row)}
    classes = {cls.__name__ for cls in error_classes()}
    assert {word for word in explained - kinds - classes if not word.startswith(tuple(families))} == set()


def test_kinds_are_found_wherever_they_are_written():
    source = """
class E(Exception):
    exit_code, default_kind = 3, "one"
def error(found, kind="two"): ...
raise E(kind="three" if x else "four")
a = [Finding("five", "note", "r"), Finding(f"six_{x}", "note", "r"), Excluded("r", "seven", "s"), {"kind": "eight"}]
Output("MI", kind="regression")
"""
    assert kinds_in(source) == {"one", "two", "three", "four", "five", "six_*", "seven", "eight"}
    assert len(all_kinds()) > 80


def error_classes(cls: type[EcglensError] = EcglensError) -> Iterator[type[EcglensError]]:
    yield cls
    for below in cls.__subclasses__():
        yield from error_classes(below)


@pytest.mark.parametrize("cls", list(error_classes()), ids=lambda cls: cls.__name__)
def test_each_error_class_stands_there_with_its_exit_code(cls):
    assert f"| `{cls.__name__}` | {cls.exit_code} |" in ERRORS
    assert f"\n| {cls.exit_code} | " in section(CLI, "Exit codes")


# ------------------------------------------------------------------------------------------------------------- figures


def load_tables() -> Any:
    spec = importlib.util.spec_from_file_location("docs_tables", DOCS / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def copy_of_pages(folder: Path) -> Path:
    """Copy what tables.py reads into `folder`."""
    pages = {page for page, _ in load_tables().TABLES.values()}
    figures = [
        path.relative_to(ROOT).as_posix()
        for part, kind in (("benchmarks", "*.json"), ("benchmarks", "*.txt"), ("recipes", "*.json"))
        for path in (ROOT / part).glob(kind)
    ]
    for name in (*pages, *figures):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


def test_tables_are_those_of_the_measurements():
    assert load_tables().stale() == [], "run python docs/tables.py"


def test_a_changed_figure_makes_the_table_stale(tmp_path):
    copy, tables = copy_of_pages(tmp_path), load_tables()
    assert tables.stale(copy) == []
    facts = json.loads((copy / "recipes/pretrained.json").read_text())
    facts["per_class"]["MI"]["auroc"]["value"] -= 0.01
    (copy / "recipes/pretrained.json").write_text(json.dumps(facts))
    assert tables.stale(copy) == ["README.md"]
    facts["mean_probability"]["MI"] += 0.01
    (copy / "recipes/pretrained.json").write_text(json.dumps(facts))
    assert tables.stale(copy) == ["README.md", "docs/methods/evaluation.md"]


def test_benchmarks_that_were_not_run_say_so(tmp_path):
    copy, tables = copy_of_pages(tmp_path), load_tables()
    (copy / "benchmarks/results.json").unlink(missing_ok=True)
    assert "not measured yet" in tables.speed.benchmarks(copy).lower()
    row = {"stage": "s", "peer": "p", "ratio": {"median": 2.0, "low": 1.5, "high": 2.5}, "ours": 1.0, "theirs": 2.0,
           "agreement": {"max_abs_difference": 1e-7}}  # fmt: skip
    (copy / "benchmarks").mkdir(exist_ok=True)
    (copy / "benchmarks/results.json").write_text(json.dumps([row]))
    assert "| s | p | 2.0 [1.5, 2.5] | 1 | 2 | max abs difference: 1e-07 |" in tables.speed.benchmarks(copy)


def test_intervals_of_classes_keep_their_promise():
    """Of 1,000 simulated cohorts with repeated patients, for each figure of a class that half of the patients have."""
    rows = json.loads((ROOT / "benchmarks" / "coverage.json").read_text())[:10]
    assert [rows[0]["figure"], rows[-1]["figure"]] == ["auroc", "net_benefit"]
    assert {row["cohorts"] for row in rows} == {1000}
    assert all(0.93 <= row["by_patient"] <= 0.97 for row in rows), rows


def test_commands_of_the_papers_are_those_that_were_measured_but_for_the_precision():
    papers = load_tables().networks.PAPERS
    measured = json.loads((ROOT / "benchmarks" / "networks.json").read_text())
    known = [name for name in papers if name in measured]
    assert known == ["trustecg", "trustecg-code", "xai4ecg-lenet", "xai4ecg-xresnet"]
    for name in known:
        command = measured[name]["command"].replace(" --precision bfloat16", "")
        assert command == f"ecglens train --data PTBXL {papers[name][-1]} --out {name}"


def test_missing_markers_are_an_error():
    with pytest.raises(ValueError, match="markers"):
        load_tables().refreshed("no markers here", "figures", "table")


def test_figures_belong_to_the_shipped_weights():
    bundle = Bundle.load("pretrained")
    facts = json.loads((ROOT / "recipes" / "pretrained.json").read_text())
    assert bundle.weights_sha256 == facts["weights_sha256"]
    readme = section((ROOT / "README.md").read_text(), "How good the shipped network is")
    assert f"{count_parameters(bundle.network):,} parameters" in readme
    assert f"{bundle.details['n_records']['train']:,} records" in readme


def test_parameters_of_the_models_are_those_of_the_networks():
    text = (DOCS / "methods" / "training.md").read_text()
    for name, (architecture, arguments) in MODELS.items():
        network = ARCHITECTURES[architecture](**arguments, n_leads=12, n_outputs=5)
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        assert f"| {count_parameters(network):,}" in row


# --------------------------------------------------------------------------------------------------------------- words


def texts() -> Iterator[tuple[Path, str]]:
    """Yield the text files that are published, this one excepted."""
    tops = ("src", "docs", "tests", "recipes", "benchmarks", "examples")
    suffixes = {".py", ".pyi", ".md", ".rst", ".toml", ".txt", ".json", ".cff", ".css", ".svg", ".bib", ".hea", ""}
    paths = [p for p in ROOT.iterdir() if p.is_file() and not p.name.startswith(".")]
    paths += [p for top in tops for p in (ROOT / top).rglob("*") if p.is_file()]
    for path in paths:
        if path.suffix in suffixes and not {"_build", "__pycache__"} & set(path.parts) and path != Path(__file__):
            yield path, path.read_text(encoding="utf-8", errors="replace")


FORBIDDEN = {
    "an absolute path of some machine": re.compile(r"(?<![\w.])/(?:work|root|home|Users)/\w"),
    "an e-mail address": re.compile(r"[\w.+-]+@[\w-]+\.[a-z]{2,}"),
    "an address that nobody needs": re.compile(
        r"https?://(?!physionet\.org/|zenodo\.org/api/records/|doi\.org/|localhost|127\.0\.0\.1|www\.w3\.org/|www\.apache\.org/|git-lfs|host/|evil\.example|[\"'`)/]|$)"
    ),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_text_holds(what):
    found = [f"{path.relative_to(ROOT)}: {hit[0]}" for path, text in texts() if (hit := FORBIDDEN[what].search(text))]
    assert found == []


def test_what_is_forbidden_would_be_found():
    bad = ["see /home/me", "`/root/x`", "mail me@example.org now", "from https://packages.example/simple"]
    good = ["a/home/b", "@pytest.fixture", "torch 2.13", "work/main", "https://doi.org/10.13026/kfzx-aw45"]
    assert all(any(pattern.search(text) for pattern in FORBIDDEN.values()) for text in bad)
    assert not any(pattern.search(text) for text in good for pattern in FORBIDDEN.values())


def test_the_warning_stands_once_at_the_top_of_the_readme():
    text = (ROOT / "README.md").read_text()
    assert text.count("not a medical device") == 1
    assert "Research software, not a medical device" in "\n".join(text.splitlines()[:5])
    assert "make test" in text
    assert "make demo" in text


def test_no_page_promises_what_nobody_can_keep():
    for page in PAGES:
        assert not re.search(r"\b(anonym\w*|safe model|clinically validated)\b", page.read_text(), re.IGNORECASE), page


# --------------------------------------------------------------------------------------------------------------- links


def anchors(text: str) -> set[str]:
    """Return the anchors that headings make, as GitHub and myst do."""
    headings = re.findall(r"^#{1,6} (.+)$", without_fences(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_fences(text)):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text())):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    assert broken_links(page, page.read_text()) == []


def test_a_broken_link_is_found():
    page = DOCS / "index.md"
    text = "[a](tutorial.md) [b](nowhere.md) [c](reference/cli.md#exit-codes) [d](reference/cli.md#nothing)"
    assert broken_links(page, text) == ["nowhere.md", "reference/cli.md#nothing"]


def test_each_page_is_in_the_table_of_contents():
    listed = set(re.findall(r"^([\w/-]+)$", (DOCS / "index.md").read_text(), flags=re.MULTILINE))
    pages = {str(p.relative_to(DOCS).with_suffix("")) for p in [*PAGES[1:], DOCS / "reference" / "python.rst"]}
    assert pages - {"index"} <= listed


# -------------------------------------------------------------------------------------------------- what pages make run


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, capsys, ecg_file):
    (block,) = python_blocks(ROOT / "README.md")
    for path in ecg_file.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})
    told = capsys.readouterr().out
    assert "MI" in told
    assert "aVF" in told
    assert (tmp_path / "why.png").stat().st_size > 100_000


def test_the_python_of_the_how_to_runs(tmp_path, monkeypatch, ecg_file, tiny_bundle, small_cohort, tiny_recipe):
    for path in ecg_file.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    one, cohort, wrap, simulated = python_blocks(DOCS / "how-to" / "python.md")
    names: dict[str, Any] = {}
    exec(compile(one, "python.md", "exec"), names)
    assert names["on_the_ecg"].shape == names["ecg"].signal.shape
    monkeypatch.setattr(ecglens, "load_cohort", lambda where: small_cohort)
    monkeypatch.setattr(ecglens, "recipe_for", lambda model: tiny_recipe)
    exec(compile(cohort, "python.md", "exec"), names)
    assert set(names["tested"].scores["class"]) == {"NORM", "MI", "CD", "macro"}
    names["my_network"] = ARCHITECTURES["LeNet"](n_outputs=2)
    exec(compile(wrap, "python.md", "exec"), names)
    exec(compile(simulated, "python.md", "exec"), names)
    assert names["one"].evidence.mask.shape == (12, 5000)


def test_the_prediction_in_the_readme_is_what_is_printed(tmp_path, monkeypatch, capsys, ecg_file):
    assert run(["predict", str(ecg_file)]) == 0
    printed = capsys.readouterr().out.splitlines()
    readme = (ROOT / "README.md").read_text()
    assert printed[0] in readme
    shown = re.search(r"^my-ecg .*$", readme, flags=re.MULTILINE)
    assert shown is not None
    told, now = ([float(n) for n in re.findall(r"0\.\d+", line)] for line in (shown[0], printed[1]))
    assert told == pytest.approx(now, abs=2e-3)


def test_the_picture_is_small_enough_to_load():
    picture = DOCS / "_static" / "explained.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 400_000


def test_the_documentation_builds_without_a_warning_and_loads_nothing_from_outside(tmp_path):
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", str(tmp_path / "trees"),
         str(DOCS), str(tmp_path / "html")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    pages = list((tmp_path / "html").rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        html = page.read_text()
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*?src=\"([^\"]+)\"", html)
        loaded += re.findall(
            r"<link\b[^>]*?rel=\"(?:stylesheet|preload|icon|preconnect)\"[^>]*?href=\"([^\"]+)\"", html
        )
        assert loaded
        assert not [url for url in loaded if re.match(r"(https?:)?//", url)], page
    for sheet in (tmp_path / "html").rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", sheet.read_text()), sheet
