# SPDX-License-Identifier: Apache-2.0
"""A bundle says the same after saving, refuses every change, and refuses to be scored on its own patients."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import nn

import ecglens
from ecglens.bundle import Bundle, Output, TrainedOn, evaluating, find_bundle
from ecglens.cohort import Cohort
from ecglens.errors import (
    ContractError,
    EcglensError,
    FormatError,
    InputError,
    LeakError,
    UnsafeError,
    UsageError,
)
from ecglens.leads import STANDARD_LEADS
from ecglens.models.lenet import LeNet, initialized
from ecglens.prediction.evaluate import evaluate
from ecglens.prediction.predict import predict
from ecglens.training.recipes import PREPROCESSING

PARTS = ("config.json", "weights.safetensors", "README.md", "hashes.json")


class Fixed(nn.Module):
    """A network whose answer has the given shape behind the batch, whatever comes in."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape))

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return self.weight.expand(len(signal), *self.weight.shape)


def bundle_of(*outputs: Output, shape: tuple[int, ...] = ()) -> Bundle:
    return Bundle(Fixed(len(outputs), *shape), outputs, PREPROCESSING, 100.0)


def rehash(folder: Path) -> None:
    """Make hashes.json fit again: what an attacker would do who knows the format."""
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in PARTS[:3]}
    (folder / "hashes.json").write_text(json.dumps(hashes, indent=1) + "\n")


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle to do harm to."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "bundle"))


# --- saving and loading --------------------------------------------------------------------------------------------


def test_a_loaded_bundle_says_the_same(tiny_bundle: Bundle, tiny_folder: Path, small_cohort: Cohort) -> None:
    loaded = Bundle.load(tiny_folder)
    for index in (0, 17):
        before, after = predict(tiny_bundle, small_cohort[index]), predict(loaded, small_cohort[index])
        assert before.probabilities == after.probabilities  # the same bits
        assert before.decisions == after.decisions
    assert loaded.weights_sha256 == tiny_bundle.weights_sha256
    assert (loaded.outputs, loaded.preprocessing, loaded.fs) == (
        tiny_bundle.outputs, tiny_bundle.preprocessing, tiny_bundle.fs,
    )  # fmt: skip
    assert (loaded.trained_on, loaded.label_rule, loaded.card) == (
        tiny_bundle.trained_on, tiny_bundle.label_rule, tiny_bundle.card,
    )  # fmt: skip
    assert loaded.details == json.loads(json.dumps(tiny_bundle.details))


def test_saving_twice_gives_the_same_bytes(tiny_bundle: Bundle, tiny_folder: Path, tmp_path: Path) -> None:
    again = Bundle.load(tiny_bundle.save(tmp_path / "again")).save(tmp_path / "third")
    for name in PARTS:
        assert (again / name).read_bytes() == (tiny_folder / name).read_bytes(), name
    assert sorted(path.name for path in again.iterdir()) == sorted(PARTS)  # and nothing is left lying about


def test_the_hash_of_the_weights_is_that_of_the_file(tiny_bundle: Bundle, tiny_folder: Path) -> None:
    raw = (tiny_folder / "weights.safetensors").read_bytes()
    assert tiny_bundle.weights_sha256 == hashlib.sha256(raw).hexdigest()


def test_all_kinds_of_output_survive_saving(tmp_path: Path) -> None:
    for kinds in (["multilabel"], ["multiclass"] * 3, ["regression"], ["embedding"] * 4, ["multilabel", "regression"]):
        outputs = tuple(
            Output(f"{kind}-{k}", kind, "years", None if k else 0.25, 1.0 + k) for k, kind in enumerate(kinds)
        )
        network = initialized(LeNet, {"n_outputs": len(outputs)}, 1)
        bundle = Bundle(network, outputs, PREPROCESSING, 100.0, "LeNet", {"n_outputs": len(outputs)})
        assert Bundle.load(bundle.save(tmp_path / "_".join(kinds))).outputs == outputs


def test_found_by_folder_run_and_name(trained, tiny_folder: Path, tmp_path: Path) -> None:
    assert find_bundle(tiny_folder) == find_bundle(str(tiny_folder)) == find_bundle(trained.run.folder) == tiny_folder
    with pytest.raises(InputError, match="one of") as caught:
        Bundle.load(tmp_path / "nowhere")
    assert caught.value.kind == "missing_bundle"


def test_a_network_nobody_can_rebuild_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="architecture"):
        bundle_of(Output("A")).save(tmp_path / "b")
    assert not (tmp_path / "b").exists()


# --- altered, unfinished, foreign ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PARTS)
def test_one_flipped_byte_anywhere_is_refused(folder: Path, name: str) -> None:
    original = (folder / name).read_bytes()
    places = np.random.default_rng(5).integers(0, len(original), 12)
    for place in [0, 1, len(original) // 2, len(original) - 1, *places.tolist()]:
        for flip in (1, 32, 128):
            damaged = bytearray(original)
            damaged[place] ^= flip
            (folder / name).write_bytes(bytes(damaged))
            with pytest.raises(UnsafeError) as caught:
                Bundle.load(folder)
            assert (caught.value.exit_code, caught.value.kind) == (4, "altered"), (place, flip)
    (folder / name).write_bytes(original)
    Bundle.load(folder)


@pytest.mark.parametrize("name", PARTS)
def test_a_byte_more_or_less_is_refused(folder: Path, name: str) -> None:
    original = (folder / name).read_bytes()
    for changed in (original + b"\n", original[:-1], b"", original.replace(b"\n", b"\r\n") + b" "):
        (folder / name).write_bytes(changed)
        with pytest.raises(UnsafeError):
            Bundle.load(folder)


@pytest.mark.parametrize("name", PARTS)
def test_a_bundle_without_one_of_its_files_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(EcglensError) as caught:
        Bundle.load(folder)
    assert caught.value.exit_code in (3, 4)
    if name == "hashes.json":  # the state a kill leaves while a bundle is being saved
        assert isinstance(caught.value, UnsafeError)


def test_a_kill_while_saving_leaves_nothing_that_loads(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ecglens import bundle as module

    write, written = module.write_bytes, []

    def dying(path: Path, data: bytes) -> None:
        if len(written) == survive:
            raise KeyboardInterrupt
        written.append(path)
        write(path, data)

    for survive in range(3):
        written.clear()
        monkeypatch.setattr(module, "write_bytes", dying)
        with pytest.raises(KeyboardInterrupt):
            tiny_bundle.save(tmp_path / str(survive))
        with pytest.raises((UnsafeError, InputError)):
            Bundle.load(tmp_path / str(survive))


def test_a_link_in_place_of_the_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "weights.safetensors").rename(tmp_path / "elsewhere")
    (folder / "weights.safetensors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeError) as caught:
        Bundle.load(folder)
    assert caught.value.kind == "link"


def change_config(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))

    return apply


def change_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        tensors = load((folder / "weights.safetensors").read_bytes())
        change(tensors)
        (folder / "weights.safetensors").write_bytes(save(tensors))

    return apply


def put(name: str, value: object) -> Callable[[Path], None]:
    return change_config(lambda config: config.update({name: value}))


def write_config(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "config.json").write_text(text) and None


FOREIGN = {
    "schema 2": (put("schema", 2), FormatError, "schema"),
    "schema as text": (put("schema", "1"), FormatError, "schema"),
    "no schema": (change_config(lambda c: c.pop("schema")), FormatError, "schema"),
    "a list": (write_config("[1]"), FormatError, "schema"),
    "no JSON": (write_config("{"), FormatError, "json"),
    "nested too deep": (write_config("[" * 100_000), FormatError, "json"),
    "unknown architecture": (put("architecture", "os.system"), FormatError, "architecture"),
    "unknown argument": (put("arguments", {"depth": 3}), FormatError, "architecture"),
    "arguments of another kind": (put("arguments", [1]), FormatError, None),
    "another number of outputs": (
        change_config(lambda c: c["arguments"].update(n_outputs=4)), FormatError, "weights",
    ),
    "an output more": (change_config(lambda c: c["outputs"].append({"name": "X"})), ContractError, "outputs"),
    "an output less": (change_config(lambda c: c["outputs"].pop()), ContractError, "outputs"),
    "an output twice": (change_config(lambda c: c["outputs"][1].update(name="NORM")), FormatError, "outputs"),
    "no outputs": (put("outputs", []), FormatError, "outputs"),
    "unknown kind of output": (change_config(lambda c: c["outputs"][0].update(kind="magic")), FormatError, "outputs"),
    "unknown field of output": (change_config(lambda c: c["outputs"][0].update(code="x")), FormatError, "config"),
    "temperature 0": (change_config(lambda c: c["outputs"][0].update(temperature=0)), FormatError, "outputs"),
    "threshold NaN": (change_config(lambda c: c["outputs"][0].update(threshold=float("nan"))), FormatError, "outputs"),
    "no rate": (change_config(lambda c: c.pop("fs")), FormatError, "config"),
    "rate in words": (put("fs", "fast"), FormatError, "config"),
    "no trained_on": (change_config(lambda c: c.pop("trained_on")), FormatError, "config"),
    "unknown step": (
        change_config(lambda c: c["preprocessing"]["record_steps"].append({"step": "exec"})), FormatError,
        "preprocessing",
    ),
    "window of no length": (
        change_config(lambda c: c["preprocessing"]["windows"].update(length=0)), FormatError, "preprocessing",
    ),
    "a lead less": (
        change_config(lambda c: c["preprocessing"]["admission"].update(leads=list(STANDARD_LEADS[:11]))),
        ContractError, None,
    ),
    "a tensor missing": (change_weights(lambda t: t.pop("head.0.bias")), FormatError, "weights"),
    "a tensor more": (change_weights(lambda t: t.update(extra=torch.zeros(1))), FormatError, "weights"),
    "a tensor of another shape": (
        change_weights(lambda t: t.update({"head.0.bias": torch.zeros(3)})), FormatError, "weights",
    ),
    "a NaN weight": (change_weights(lambda t: t["head.0.bias"].fill_(float("nan"))), UnsafeError, "weights"),
    "an infinite weight": (change_weights(lambda t: t["head.0.weight"][0].fill_(float("inf"))), UnsafeError, "weights"),
    "no safetensors": (
        lambda folder: (folder / "weights.safetensors").write_bytes(b"\x80\x04." * 9) and None, FormatError, "weights",
    ),
    "a card in no encoding": (
        lambda folder: (folder / "README.md").write_bytes(b"\xff\xfe\xff") and None, FormatError, "config",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FOREIGN)
def test_a_rehashed_bundle_that_breaks_the_schema_is_refused(folder: Path, case: str) -> None:
    change, error, kind = FOREIGN[case]
    change(folder)
    rehash(folder)
    with pytest.raises(error) as caught:
        Bundle.load(folder)
    assert type(caught.value) is error
    assert kind is None or caught.value.kind == kind
    assert "\n" not in str(caught.value)


def test_rehashing_alone_changes_nothing(folder: Path, tiny_bundle: Bundle) -> None:
    rehash(folder)  # else the test above would prove nothing
    assert Bundle.load(folder).weights_sha256 == tiny_bundle.weights_sha256


def test_no_pickle_anywhere_in_the_source() -> None:
    bad = re.compile(
        r"^\s*(import|from)\s+(pickle|joblib|dill|shelve|marshal)\b|pickle\.loads?\(|torch\.(load|save)\("
        r"|allow_pickle=True|weights_only=False|yaml\.load\(|\beval\(\s*[^)]|\bexec\(",
        re.MULTILINE,
    )
    sources = list(Path(ecglens.__file__).parent.rglob("*.py"))
    assert len(sources) > 50
    for path in sources:
        assert not (found := bad.search(path.read_text())), f"{path}: {found.group()}"


# --- the network must fit ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "kinds"),
    [
        ((2,), ["multilabel"]), ((1,), ["multilabel"] * 2), ((2, 7), ["multilabel"] * 2), ((), ["multilabel"]),
        ((2,), ["segmentation"] * 2), ((3, 250), ["segmentation"] * 2),
    ],
)  # fmt: skip
def test_a_network_with_another_number_of_outputs_is_refused(shape: tuple[int, ...], kinds: list[str]) -> None:
    outputs = tuple(Output(f"o{k}", kind) for k, kind in enumerate(kinds))
    with pytest.raises(ContractError) as caught:
        Bundle(Fixed(*shape), outputs, PREPROCESSING, 100.0)
    assert (caught.value.kind, caught.value.exit_code) == ("outputs", 6)


def test_a_network_for_other_leads_is_refused() -> None:
    with pytest.raises(ContractError) as caught:
        Bundle(LeNet(n_leads=8, n_outputs=1), (Output("A"),), PREPROCESSING, 100.0)
    assert "\n" not in str(caught.value)


def test_bad_outputs_are_refused() -> None:
    for wrong in ({"kind": "logistic"}, {"temperature": 0.0}, {"temperature": np.inf}, {"threshold": np.nan},
                  {"offset": np.nan}, {"offset": np.inf}):  # fmt: skip
        with pytest.raises(FormatError):
            Output("A", **wrong)
    with pytest.raises(FormatError, match="each name once"):
        bundle_of(Output("A"), Output("A"))


# --- activation, against formulas written out ----------------------------------------------------------------------

RAW = np.array([[-3.0, 0.5, 2.0], [40.0, -40.0, 0.0], [1e4, -1e4, 1.0]])


def test_multilabel_is_a_sigmoid_per_output() -> None:
    temperatures = (0.5, 1.0, 3.0)
    bundle = bundle_of(*[Output(f"o{k}", temperature=t) for k, t in enumerate(temperatures)])
    expected = torch.sigmoid(torch.tensor(RAW) / torch.tensor(temperatures, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(bundle.activate(RAW), expected, rtol=0, atol=1e-15)
    assert np.isfinite(bundle.activate(RAW)).all()


def test_an_offset_is_added_after_the_temperature() -> None:
    bundle = bundle_of(*[Output(f"o{k}", temperature=2.0, offset=b) for k, b in enumerate((-1.0, 0.0, 4.0))])
    expected = torch.sigmoid(torch.tensor(RAW) / 2.0 + torch.tensor([-1.0, 0.0, 4.0], dtype=torch.float64)).numpy()
    np.testing.assert_allclose(bundle.activate(RAW), expected, rtol=0, atol=1e-15)
    before = bundle_of(*[Output(f"o{k}", temperature=2.0) for k in range(3)])
    np.testing.assert_array_equal(np.argsort(before.activate(RAW), axis=0), np.argsort(bundle.activate(RAW), axis=0))


def test_multiclass_is_one_softmax_over_its_outputs() -> None:
    bundle = bundle_of(*[Output(f"o{k}", "multiclass", temperature=2.0) for k in range(3)])
    expected = torch.softmax(torch.tensor(RAW) / 2.0, dim=1).numpy()
    np.testing.assert_allclose(bundle.activate(RAW), expected, rtol=0, atol=1e-15)
    np.testing.assert_allclose(bundle.activate(RAW).sum(axis=1), 1.0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["regression", "embedding"])
def test_regression_and_embedding_pass_unchanged(kind: str) -> None:
    bundle = bundle_of(*[Output(f"o{k}", kind, "mV", temperature=5.0) for k in range(3)])
    np.testing.assert_array_equal(bundle.activate(RAW), RAW)


def test_segmentation_is_a_softmax_per_instant() -> None:
    bundle = bundle_of(*[Output(f"o{k}", "segmentation", temperature=1.5) for k in range(3)], shape=(250,))
    raw = np.random.default_rng(0).normal(0, 4, (4, 3, 250))
    expected = torch.softmax(torch.tensor(raw) / 1.5, dim=1).numpy()
    np.testing.assert_allclose(bundle.activate(raw), expected, rtol=0, atol=1e-14)


def test_mixed_kinds_do_not_touch_each_other() -> None:
    bundle = bundle_of(
        Output("a", "multiclass"), Output("b"), Output("c", "multiclass"), Output("age", "regression", "years")
    )
    raw = np.random.default_rng(1).normal(0, 2, (5, 4))
    found = bundle.activate(raw)
    powers = np.exp(raw[:, [0, 2]])
    np.testing.assert_allclose(found[:, [0, 2]], powers / powers.sum(axis=1, keepdims=True), atol=1e-14)
    np.testing.assert_allclose(found[:, 1], 1 / (1 + np.exp(-raw[:, 1])), atol=1e-14)
    np.testing.assert_array_equal(found[:, 3], raw[:, 3])
    assert not np.shares_memory(found, raw)


def test_a_segmentation_bundle_has_no_prediction_per_record(small_cohort: Cohort) -> None:
    bundle = bundle_of(Output("P", "segmentation"), Output("QRS", "segmentation"), shape=(250,))
    with pytest.raises(ContractError, match="per instant"):
        predict(bundle, small_cohort[0])


# --- targets -------------------------------------------------------------------------------------------------------


def test_target_rows() -> None:
    bundle = bundle_of(Output("NORM"), Output("MI"), Output("ST-T"))
    np.testing.assert_array_equal(bundle.target_row("MI"), [0, 1, 0])
    np.testing.assert_array_equal(bundle.target_row(" ST-T "), [0, 0, 1])
    np.testing.assert_array_equal(bundle.target_row("MI - NORM"), [-1, 1, 0])
    for target, near in (("mi", "MI"), ("NROM", "NORM"), ("MI - norm", "NORM"), ("stt", "ST-T")):
        with pytest.raises(UsageError, match=f"did you mean {near}") as caught:
            bundle.target_row(target)
        assert (caught.value.kind, caught.value.exit_code) == ("unknown_target", 2)
    for target in ("", "XYZQ", "MI-NORM", "MI - ", "MI - MI", "MI - NORM - ST-T"):
        with pytest.raises(UsageError):
            bundle.target_row(target)


# --- whom it has seen ----------------------------------------------------------------------------------------------


def test_refuses_its_own_patients(tiny_bundle: Bundle, small_cohort: Cohort) -> None:
    for fold, words in ((3, "trained this bundle"), (9, "chose its epoch")):
        with pytest.raises(LeakError, match=words) as caught:
            evaluate(tiny_bundle, small_cohort.where(fold=fold), n_resamples=10)
        assert caught.value.exit_code == 6


def test_accepts_patients_it_has_never_seen(tiny_bundle: Bundle, small_cohort: Cohort) -> None:
    assert (
        evaluate(tiny_bundle, small_cohort.where(fold=10), n_resamples=10).n
        == (small_cohort.metadata["fold"] == 10).sum()
    )


def test_one_own_patient_among_strangers_is_enough(tiny_bundle: Bundle, small_cohort: Cohort) -> None:
    strangers = np.flatnonzero(small_cohort.metadata["fold"] == 10)
    own = np.flatnonzero(small_cohort.metadata["fold"] == 1)[:1]
    with pytest.raises(LeakError, match="1 who"):
        evaluate(tiny_bundle, small_cohort.take([*strangers, *own]), n_resamples=10)


def test_refuses_its_own_recording_under_another_name(tiny_bundle: Bundle, small_cohort: Cohort) -> None:
    """Another data set, record id and patient id, leads in another order: the same samples all the same."""
    strangers = [int(i) for i in np.flatnonzero(small_cohort.metadata["fold"] == 10)]
    own = int(np.flatnonzero(small_cohort.metadata["fold"] == 2)[0])
    shuffled = small_cohort[own].select(STANDARD_LEADS[::-1])
    disguised = replace(shuffled, record_id="new", findings=())
    picked = [*strangers, own]
    ids = [*(f"r{k}" for k in strangers), "new"]
    records = [small_cohort[k] for k in strangers] + [disguised]
    labels = small_cohort.labels.iloc[picked].set_axis(ids)
    metadata = small_cohort.metadata.iloc[picked].set_axis(ids).assign(patient_id=[f"stranger {k}" for k in picked])
    with pytest.raises(LeakError, match="1 who trained"):
        evaluate(tiny_bundle, Cohort("elsewhere", records, labels, metadata), n_resamples=10)
    without = Cohort("elsewhere", records[:-1], labels.iloc[:-1], metadata.iloc[:-1])
    assert evaluate(tiny_bundle, without, n_resamples=10).n == len(strangers)


def test_hashes_do_not_hold_plain_ids(tiny_folder: Path, small_cohort: Cohort) -> None:
    text = (tiny_folder / "config.json").read_text()
    told = json.loads(text)["trained_on"]
    for value in (*small_cohort.record_ids, *set(small_cohort.metadata["patient_id"])):
        assert value not in text
    assert {role: len(marks) for role, marks in told["patients"].items()} == {
        role: part.n_patients
        for role, part in (
            ("train", small_cohort.where(fold=list(range(1, 9)))),
            ("valid", small_cohort.where(fold=9)),
        )
    }
    assert all(re.fullmatch(r"[0-9a-f]{16}", mark) for marks in told["recordings"].values() for mark in marks)
    plain = hashlib.sha256(str(small_cohort.metadata["patient_id"].iloc[0]).encode()).hexdigest()
    assert plain[:16] not in text  # salted


def test_the_salt_separates_bundles() -> None:
    one = TrainedOn.of("a", train=(["p", None], ["x"]))
    other = TrainedOn.of("b", train=(["p"], ["x"]))
    assert not set(one.patients["train"]) & set(other.patients["train"])
    assert len(one.patients["train"]) == 1  # an unknown patient is nobody
    assert one.overlap(["p"], []) == {"train": 1}
    assert one.overlap(["q", None], ["x", "y"]) == {"train": 1}
    assert one.overlap([None], ["y"]) == {"train": 0}


# --- borrowed in evaluation mode -----------------------------------------------------------------------------------


def test_evaluating_restores_each_module() -> None:
    network = LeNet(dropout=(0.1, 0.1, 0.1))
    network.train()
    network.blocks[1].eval()
    before = [module.training for module in network.modules()]
    assert len(set(before)) == 2
    with contextlib.suppress(ValueError), evaluating(network) as borrowed:
        assert not any(module.training for module in borrowed.modules())
        raise ValueError
    assert [module.training for module in network.modules()] == before
