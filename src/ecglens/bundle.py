# SPDX-License-Identifier: Apache-2.0
"""Bundle: a network with everything needed to use it, as a folder that is checked before it is believed.

config.json           schema, architecture and its arguments, leads, rate, outputs, preprocessing, trained_on
weights.safetensors   the weights; never a pickle
README.md             the model card
hashes.json           SHA-256 of the other files: one byte changed and the bundle is refused
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from ecglens.errors import ContractError, FormatError, InputError, LeakError, UnsafeError, UsageError
from ecglens.models.registry import ARCHITECTURES, build_network
from ecglens.preprocessing.pipeline import Preprocessing
from ecglens.runs.files import read_bytes, write_bytes, write_text

BUNDLE_SCHEMA = 1
KINDS = ("multilabel", "multiclass", "regression", "segmentation", "embedding")
PRETRAINED = Path(__file__).parent / "weights"
_PARTS = ("config.json", "weights.safetensors", "README.md")
_MAX_WEIGHTS, _MAX_TEXT = 2 * 2**30, 64 * 2**20


@dataclass(frozen=True)
class Output:
    """One output of a network.

    kind         multilabel (sigmoid), multiclass (softmax over all multiclass outputs), regression, segmentation
                 (softmax per instant), embedding
    unit         "probability", "mV", "years", ...
    threshold    decision "yes" from here on, on the probability; None where there is no decision
    temperature  the logit is divided by it before the sigmoid or softmax: how sure
    offset       added after that: how frequent. Bundles saved before there were offsets have none, which is 0
    """

    name: str
    kind: str = "multilabel"
    unit: str = "probability"
    threshold: float | None = None
    temperature: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise FormatError("bundle", f"kind of output {self.name}", self.kind, ", ".join(KINDS), kind="outputs")
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            raise FormatError("bundle", f"temperature of {self.name}", self.temperature, "positive", kind="outputs")
        if not np.isfinite(self.offset):
            raise FormatError("bundle", f"offset of {self.name}", self.offset, "a number", kind="outputs")
        if self.threshold is not None and not np.isfinite(self.threshold):
            raise FormatError(
                "bundle", f"threshold of {self.name}", self.threshold, "a number, or null", kind="outputs"
            )


@dataclass(frozen=True)
class TrainedOn:
    """Whom the weights have seen, as salted hashes: enough to recognise them, too little to list them.

    patients, recordings   by role: "train" shaped the weights, "valid" chose epoch, thresholds and temperature
    """

    salt: str = ""
    patients: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    recordings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, salt: str, **roles: tuple[Iterable[str | None], Iterable[str]]) -> TrainedOn:
        """Return the hashes of `role=(patient keys, recording fingerprints)`."""
        patients = {role: _hashes(salt, people) for role, (people, _) in roles.items()}
        recordings = {role: _hashes(salt, prints) for role, (_, prints) in roles.items()}
        return cls(salt, patients, recordings)

    def overlap(self, patient_keys: Iterable[str | None], fingerprints: Iterable[str]) -> dict[str, int]:
        """Return how many of these people or recordings each role has seen (the larger of the two counts)."""
        people, prints = set(_hashes(self.salt, patient_keys)), set(_hashes(self.salt, fingerprints))
        return {
            role: max(len(people & set(self.patients[role])), len(prints & set(self.recordings[role])))
            for role in self.patients
        }

    def holds(self, role: str, patient_keys: Iterable[str | None]) -> list[bool]:
        """Tell of each patient key whether that person is known to have had this role ("train", "valid")."""
        known = set(self.patients.get(role, ()))
        return [key is not None and bool(known.intersection(_hashes(self.salt, [key]))) for key in patient_keys]


@dataclass(frozen=True, eq=False)
class Bundle:
    """A network, its outputs, its preprocessing and its history.

    network        any module that maps [batch, lead, time] to one value per output; switched to evaluation mode
    outputs        in the order of the network's columns
    preprocessing  the only way in
    fs             of the prepared signal, in Hz
    architecture, arguments   how `models.registry` rebuilds the network; without them a bundle cannot be saved
    label_rule     of the training labels
    attribution    whose data shaped the weights, and under which licence
    details        how it was made: recipe, seed, validation figures (JSON)
    """

    network: nn.Module
    outputs: tuple[Output, ...]
    preprocessing: Preprocessing
    fs: float
    architecture: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    name: str = "bundle"
    trained_on: TrainedOn = field(default_factory=TrainedOn)
    label_rule: str = ""
    attribution: str = ""
    card: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.network.eval()
        for name, tensor in self.network.state_dict().items():
            if not torch.isfinite(tensor).all():
                raise UnsafeError(self.name, f"weights {name}", "not finite", "finite numbers", kind="weights")
        names = [output.name for output in self.outputs]
        if not names or len(set(names)) < len(names):
            raise FormatError(self.name, "outputs", names, "at least one, each name once", kind="outputs")
        self._try_out()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(output.name for output in self.outputs)

    @property
    def thresholds(self) -> tuple[float | None, ...]:
        """Decision thresholds on the probability, in the order of the outputs."""
        return tuple(output.threshold for output in self.outputs)

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights as saved: what verdicts of an audit are keyed by."""
        return hashlib.sha256(self._weights()).hexdigest()

    def activate(self, raw: np.ndarray) -> np.ndarray:
        """Return probabilities (or values with a unit) of the network's combined outputs.

        raw   [record, output], for segmentation [record, output, time]
        """
        values = np.array(raw, dtype=np.float64)
        for kind in {output.kind for output in self.outputs} - {"regression", "embedding"}:
            columns = [k for k, output in enumerate(self.outputs) if output.kind == kind]
            each = (-1, *[1] * (values.ndim - 2))  # one number per output, whatever axes follow
            temperature = np.array([self.outputs[k].temperature for k in columns]).reshape(each)
            offset = np.array([self.outputs[k].offset for k in columns]).reshape(each)
            scaled = values[:, columns] / temperature + offset
            values[:, columns] = _sigmoid(scaled) if kind == "multilabel" else _softmax(scaled)
        return values

    def target_row(self, target: str) -> np.ndarray:
        """Return the weights over the outputs that explain `target`: a class, or a difference `A - B`.

        Raises UsageError for an unknown name, with the nearest known one.
        """
        row = np.zeros(len(self.outputs))
        parts = [part.strip() for part in target.split(" - ")]
        for part in parts:
            if part not in self.classes:
                raise _unknown_target(part, self.classes)
        if len(parts) > 2 or len(set(parts)) < len(parts):
            raise UsageError("target", "name", target, "one output (A), or the difference of two (A - B)")
        for part, sign in zip(parts, (1.0, -1.0), strict=False):
            row[self.classes.index(part)] = sign
        return row

    def refuse_own_patients(self, where: str, patient_keys: Iterable[str | None], fingerprints: Iterable[str]) -> None:
        """Raise LeakError where any of these people or recordings shaped or selected the weights."""
        for role, count in self.trained_on.overlap(patient_keys, fingerprints).items():
            if count:
                did = "trained this bundle" if role == "train" else "chose its epoch, thresholds and temperature"
                raise LeakError(
                    where, "patients", f"{count} who {did}", "patients the bundle has never seen",
                    "evaluate on a fold that was held out (--fold 10)",
                )  # fmt: skip

    def save(self, folder: str | Path) -> Path:
        """Write the bundle; `hashes.json` comes last, so that an unfinished bundle is refused.

        Raises UsageError for a network that the registry cannot rebuild, EnvironmentFault on a full disk.
        """
        if self.architecture not in ARCHITECTURES:
            raise UsageError(
                self.name, "architecture", self.architecture or "none", ", ".join(ARCHITECTURES),
                "add the network to models/registry.py",
            )  # fmt: skip
        folder = Path(folder)
        parts = {
            "config.json": (json.dumps(self._config(), indent=1, allow_nan=False) + "\n").encode(),
            "weights.safetensors": self._weights(),
            "README.md": (self.card or f"# {self.name}\n").encode(),
        }
        for name, data in parts.items():
            write_bytes(folder / name, data)
        write_text(folder / "hashes.json", hash_file({n: hashlib.sha256(d).hexdigest() for n, d in parts.items()}))
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Bundle:
        """Load and check a bundle: a folder, a run folder (its final bundle), or a name such as `pretrained`.

        Raises InputError where there is none, UnsafeError (exit 4) where a byte was changed or a weight is not
        finite, FormatError for another schema or an unknown architecture.
        """
        folder = find_bundle(folder)
        parts = verified_parts(folder)
        try:
            config = json.loads(parts["config.json"])
        except (ValueError, RecursionError) as error:
            raise FormatError(folder / "config.json", "content", str(error), "JSON", kind="json") from error
        if not isinstance(config, dict) or config.get("schema") != BUNDLE_SCHEMA:
            found = config.get("schema") if isinstance(config, dict) else type(config).__name__
            raise FormatError(
                folder / "config.json", "schema", found, str(BUNDLE_SCHEMA), "use the version of ecglens that wrote it",
                kind="schema",
            )  # fmt: skip
        try:
            network = build_network(config["architecture"], config["arguments"], folder / "config.json")
            load_weights(network, parts["weights.safetensors"], folder / "weights.safetensors")
            told = config["trained_on"]
            return cls(
                network,
                tuple(Output(**output) for output in config["outputs"]),
                Preprocessing.from_config(config["preprocessing"], folder / "config.json"),
                float(config["fs"]),
                config["architecture"],
                config["arguments"],
                config["name"],
                TrainedOn(told["salt"], _tuples(told["patients"]), _tuples(told["recordings"])),
                config["label_rule"],
                config["attribution"],
                parts["README.md"].decode(),
                config["details"],
            )
        except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
            raise FormatError(
                folder / "config.json", "fields", repr(error), "the fields of schema 1", kind="config"
            ) from error

    def _config(self) -> dict[str, Any]:
        return {
            "schema": BUNDLE_SCHEMA,
            "name": self.name,
            "architecture": self.architecture,
            "arguments": dict(self.arguments),
            "leads": list(self.preprocessing.leads),
            "fs": self.fs,
            "outputs": [asdict(output) for output in self.outputs],
            "preprocessing": self.preprocessing.as_config(),
            "label_rule": self.label_rule,
            "attribution": self.attribution,
            "details": dict(self.details),
            "trained_on": asdict(self.trained_on),
        }

    def _weights(self) -> bytes:
        return save_tensors({name: t.detach().cpu().contiguous() for name, t in self.network.state_dict().items()})

    @torch.no_grad()
    def _try_out(self) -> None:
        """Refuse a network that does not give one value per output for a window of its own preprocessing."""
        shape = (2, len(self.preprocessing.leads), self.preprocessing.windows.length)
        try:
            found = tuple(self.network(torch.zeros(shape)).shape)
        except RuntimeError as error:
            raise ContractError(self.name, "network", str(error).splitlines()[0], f"an input of {shape}") from error
        per_instant = any(output.kind == "segmentation" for output in self.outputs)
        if found[:2] != (2, len(self.outputs)) or len(found) != 2 + per_instant:
            allowed = f"[2, {len(self.outputs)}{', time' if per_instant else ''}]"
            raise ContractError(self.name, "network", f"outputs {list(found)}", allowed, kind="outputs")


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[nn.Module]:
    """Borrow a network in evaluation mode; leaving restores each module's own mode, also after an exception."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield network.eval()
    finally:
        for module, training in modes:
            module.training = training


def find_bundle(where: str | Path) -> Path:
    """Return the folder of a bundle given as a folder, a run folder, or the name of a shipped one."""
    folder = Path(where)
    for candidate in (folder, folder / "bundles" / "final"):
        if (candidate / "config.json").exists():
            return candidate
    shipped = shipped_bundles()  # reads what is shipped: only now that nothing lies there
    if not folder.exists() and str(where) in shipped:
        return shipped[str(where)]
    raise InputError(
        where, "bundle", "no bundle there", f"a bundle, a run, or one of: {', '.join(shipped)}", kind="missing_bundle"
    )


def shipped_bundles() -> dict[str, Path]:
    """Return the folders of the shipped bundles by name: `pretrained`, the default, and `pretrained:ecgnet`.

    Beside them lie weights that are none (the delineator's).
    """
    folders = sorted((path.parent for path in PRETRAINED.glob("*/hashes.json")), key=lambda f: f.name != "pretrained")
    bundles = [folder for folder in folders if "outputs" in json.loads((folder / "config.json").read_text())]
    return {f.name if f.name == "pretrained" else f"pretrained:{f.name}": f for f in bundles}


def verified_parts(folder: Path) -> dict[str, bytes]:
    """Read the parts of a bundle once and compare each with its hash: what was checked is what is used."""
    if not (folder / "hashes.json").exists():
        raise UnsafeError(
            folder, "hashes.json", "missing", "a finished bundle", "save the bundle again", kind="altered"
        )
    raw = read_bytes(folder / "hashes.json", _MAX_TEXT)
    try:
        hashes = json.loads(raw)
        intact = isinstance(hashes, dict) and set(hashes) == set(_PARTS) and hash_file(hashes).encode() == raw
    except ValueError:
        intact = False
    if not intact:
        raise UnsafeError(
            folder / "hashes.json", "content", "altered", "as saved", "get the bundle again", kind="altered"
        )
    parts = {}
    for name in _PARTS:
        data = read_bytes(folder / name, _MAX_WEIGHTS if name.endswith("tensors") else _MAX_TEXT)
        if hashlib.sha256(data).hexdigest() != hashes[name]:
            raise UnsafeError(
                folder / name, "SHA-256", "another than in hashes.json", "the bundle as it was saved",
                "get the bundle again from where you trust it", kind="altered",
            )  # fmt: skip
        parts[name] = data
    return parts


def load_weights(network: nn.Module, data: bytes, where: Path) -> None:
    """Put the weights of a safetensors file into the network, all of them. Raises FormatError where they do not fit."""
    try:
        tensors = load_tensors(data)
        network.load_state_dict(tensors, strict=True)
    except (SafetensorError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise FormatError(where, "weights", reason, "those of the architecture", kind="weights") from error


def hash_file(hashes: Mapping[str, str]) -> str:
    """Return the text of `hashes.json`."""
    return json.dumps({name: hashes[name] for name in _PARTS}, indent=1) + "\n"


def _hashes(salt: str, values: Iterable[str | None]) -> tuple[str, ...]:
    known = {value for value in values if value is not None}
    return tuple(sorted(hashlib.sha256(f"{salt}/{value}".encode()).hexdigest()[:16] for value in known))


def _tuples(lists: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return {role: tuple(values) for role, values in lists.items()}


def _unknown_target(name: str, classes: Sequence[str]) -> UsageError:
    import difflib

    first, dash, second = name.partition("-")
    if dash and {first.strip(), second.strip()} <= set(classes):
        hint = f"'{first.strip()} - {second.strip()}', with spaces"
    else:
        near = difflib.get_close_matches(name.upper(), [c.upper() for c in classes], 1, cutoff=0.5)
        hint = next((c for c in classes if near and c.upper() == near[0]), "")
    return UsageError(
        "target", "name", name, ", ".join(classes), f"did you mean {hint}?" if hint else "", kind="unknown_target"
    )


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * logits))  # no overflow at either end


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def as_tensor(windows: np.ndarray) -> Tensor:
    """Return windows [window, lead, time] as a tensor that owns its memory."""
    return torch.from_numpy(np.array(windows, dtype=np.float32, order="C"))
