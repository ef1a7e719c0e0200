# SPDX-License-Identifier: Apache-2.0
"""Train the delineator: a U-Net on LUDB's hand-made marks, five times for honest figures and once to be shipped.

    python recipes/delineator.py --data LUDB [--out runs/delineator] [--epochs 50] [--only fold-0 ... final]

Fold k is trained without the people of part k (every record of LUDB is another person); `benchmarks/delineation.py`
scores those. "final" takes up the network of fold 0 for the last 30 % of the epochs, with all people, and is what
src/ecglens/weights/delineator holds. LUDB marks only the middle of each record, so nothing is learnt from what lies
before the first and after the last mark of a lead. Simulated ECGs of all conditions and rates are mixed in. They teach
which waves are there, not where a cardiologist sees them begin and end: instants near their exact edges are left out
of the loss.
A network interrupted is taken up again at its last finished tenth, and ends with the same bits.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.signal import butter, sosfiltfilt
from torch import nn

from ecglens.bundle import TrainedOn, hash_file
from ecglens.fiducials import MARKS, Fiducials
from ecglens.formats.annotations import BEATS, read_marks
from ecglens.formats.read import read
from ecglens.leads import STANDARD_LEADS
from ecglens.models.lenet import initialized
from ecglens.models.unet1d import UNet1d
from ecglens.runs.files import read_bytes, write_bytes, write_text
from ecglens.simulation import CONDITIONS, simulate_ecg
from ecglens.simulation.noise import DEFAULT_NOISE
from ecglens.training.checkpoint import State, load_checkpoint, save_checkpoint
from ecglens.waveform.wave_input import BAND, RATE, WaveInput, prepare_waves
from ecglens.waveform.wave_map import CLASSES
from ecglens.waveform.wave_weights import DELINEATOR, SCHEMA

FIGURES = Path(__file__).parents[1] / "benchmarks" / "delineation.json"
ATTRIBUTION = (
    "Lobachevsky University Electrocardiography Database 1.0.1. Kalyakulina, Yusipov, Moskalenko, Nikolskiy, "
    "Kosonogov, Osipov, Zolotykh, Ivanchenko. IEEE Access 8:186181-186190, 2020; PhysioNet 2021, doi "
    "10.13026/eegm-h675. Licence: ODC-By 1.0."
)
FOLDS = 5
UNKNOWN = -1
SYMBOLS = {"p": 1, "t": 3} | dict.fromkeys(BEATS, 2)
NETWORK = {"widths": [24, 40, 56, 80], "kernel": 7}
CROP = 896  # samples at 250 Hz
BATCH, SIMULATED = 16, 5  # records a batch, and how many of them are simulated
LR, DECAY = 4e-3, 2e-2
LAST = 0.7  # share of the epochs after which the shipped network takes up the first fold's


@dataclass(frozen=True, eq=False)
class Example:
    """A record as the network sees it [12, time], and what each instant is: 0 none, 1 P, 2 QRS, 3 T, -1 unknown."""

    record_id: str
    values: np.ndarray
    labels: np.ndarray


def main() -> None:
    """Train what is not trained yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of LUDB")
    parser.add_argument("--out", type=Path, default=Path("runs/delineator"))
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--simulated", type=int, default=288, help="simulated ECGs")
    parser.add_argument("--only", nargs="+", default=[*(f"fold-{k}" for k in range(FOLDS)), "final"])
    asked = parser.parse_args()
    examples = ludb_examples(asked.data)
    asked.out.mkdir(parents=True, exist_ok=True)
    simulated = cached(asked.out / f"simulated-{asked.simulated}.npz", asked.simulated)
    folds = fold_of([example.record_id for example in examples])
    for name in asked.only:
        others = [e for e in examples if f"fold-{folds[e.record_id]}" != name]
        first = asked.out / "fold-0.safetensors" if name == "final" else None
        train(others, simulated, asked.out / name, asked.epochs, first)
        if name == "final":
            ship(asked.out / name, examples, len(simulated), asked.epochs, FIGURES)


def fold_of(ids: list[str]) -> dict[str, int]:
    """Return the fold that each record (person) is tested in."""
    ordered = sorted(ids, key=int)
    shuffled = np.random.default_rng(0).permutation(len(ordered))
    return {ordered[i]: position % FOLDS for position, i in enumerate(shuffled)}


def ludb_examples(root: Path) -> list[Example]:
    """Return LUDB as examples, labels from the marks of each lead."""
    examples = []
    for path in sorted((root / "data").glob("*.hea"), key=lambda p: int(p.stem)):
        ecg = read(path)
        seen = prepare_waves(ecg.select(STANDARD_LEADS))
        labels = np.full(seen.values.shape[1:], UNKNOWN, np.int8)
        for row, lead in enumerate(STANDARD_LEADS):
            marks = read_marks(path.with_suffix(f".{lead.lower()}"))
            label_lead(labels[row], marks.symbol, marks.sample / ecg.fs * seen.fs)
        examples.append(Example(path.stem, seen.values[0], labels))
    return examples


def label_lead(labels: np.ndarray, symbols: tuple[str, ...], at: np.ndarray) -> None:
    """Fill in `labels` [time] from the marks of one lead; `at` in samples."""
    labels[int(np.ceil(at[0])) : int(at[-1]) + 1] = 0
    for k, symbol in enumerate(symbols):
        if symbol not in SYMBOLS:
            continue
        onset = at[k - 1] if k and symbols[k - 1] == "(" else None
        offset = at[k + 1] if k + 1 < len(at) and symbols[k + 1] == ")" else None
        first, last = at[k] if onset is None else onset, at[k] if offset is None else offset
        whole = onset is not None and offset is not None
        labels[round(first) : round(last) + 1] = SYMBOLS[symbol] if whole else UNKNOWN


def cached(path: Path, n: int) -> list[Example]:
    """Return the simulated examples, from a file where an earlier call has made them."""
    if not path.exists():
        made = simulated_examples(n)
        np.savez(path, values=np.stack([e.values for e in made]), labels=np.stack([e.labels for e in made]))
    held = np.load(path)
    return [Example(f"simulated-{k}", *pair) for k, pair in enumerate(zip(held["values"], held["labels"], strict=True))]


def simulated_examples(n: int, seed: int = 0) -> list[Example]:
    """Return `n` simulated records: each condition in turn, 45 to 140 beats a minute, noise of all strengths."""
    return [simulated_example(k, seed) for k in range(n)]


def simulated_example(k: int, seed: int) -> Example:
    """Return one simulated record."""
    rng = np.random.default_rng([seed, k])
    condition = list(CONDITIONS)[k % len(CONDITIONS)]
    usual, strength = DEFAULT_NOISE, float(rng.lognormal(0.5, 0.8))
    louder = replace(usual, **{name: strength * getattr(usual, name) for name in ("white", "muscle", "mains")})
    made = simulate_ecg(
        f"train-{k}", condition, seed=seed, fs=250, noise=louder, rate=float(rng.uniform(45, 140)),
        severity=float(rng.uniform(0.3, 1.0)),
    )  # fmt: skip
    seen = prepare_waves(made.ecg)
    return Example(f"simulated-{k}", seen.values[0], exact_labels(made.fiducials, seen))


def exact_labels(marks: Fiducials, seen: WaveInput) -> np.ndarray:
    """Return the labels of exact marks, unknown near edges, where a wave is too small to be seen, and at both ends."""
    labels = np.zeros((len(marks.leads), seen.values.shape[2]), np.int8)
    for name, value in {"P": 1, "QRS": 2, "T": 3}.items():
        edges = np.stack([marks.times[:, :, MARKS.index(f"{name}_{side}")] for side in ("onset", "offset")], axis=-1)
        for beat in range(marks.n_beats):
            known = edges[~np.isnan(edges[:, beat]).any(axis=1), beat]
            if len(known):
                usual = np.median(known, axis=0)
                for row, pair in enumerate(edges[:, beat]):
                    whole = not np.isnan(pair).any()
                    lay(labels[row], (pair if whole else usual) * seen.fs, value if whole else UNKNOWN)
    q, t = marks.times[:, :, MARKS.index("QRS_onset")], marks.times[:, :, MARKS.index("T_offset")]
    labels[:, : max(round((np.nanmin(q) - 0.3) * seen.fs), 0)] = UNKNOWN
    labels[:, round(np.nanmax(t) * seen.fs) :] = UNKNOWN
    return labels


def lay(labels: np.ndarray, edges: np.ndarray, value: int) -> None:
    """Put a wave into `labels` [time]; within 24 ms of its edges nothing is known."""
    first, last = round(edges[0]), round(edges[1])
    labels[max(first - 6, 0) : last + 7] = UNKNOWN
    if value != UNKNOWN:
        labels[max(first + 7, 0) : max(last - 6, 0)] = value


# ------------------------------------------------------------------------------------------------------------- training


def train(
    examples: list[Example], simulated: list[Example], stem: Path, epochs: int, start: Path | None = None, seed: int = 0
) -> None:  # fmt: skip
    """Train one network and write it to `stem`.safetensors.

    start   weights to begin with, in which case only the last epochs of the schedule are gone through
    """
    done = stem.with_suffix(".safetensors")
    if done.exists():
        return
    network = initialized(UNet1d, NETWORK, seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=DECAY)
    checkpoint = stem.with_suffix(".checkpoint")
    state = State(0, 0, 0.0, {}, [])
    if start is not None:
        network.load_state_dict(load_network(start).state_dict())
        state = replace(state, epoch=round(LAST * epochs))
    if checkpoint.exists():
        state = load_checkpoint(checkpoint, network, optimizer)
    for epoch in range(state.epoch, epochs):
        loss = run_epoch(network, optimizer, examples, simulated, epoch, epochs, seed)
        state.history.append({"epoch": epoch, "loss": loss})
        if (epoch + 1) % max(epochs // 10, 1) == 0:
            print(f"{stem.name} epoch {epoch + 1} of {epochs}: loss {loss:.4f}", flush=True)
            save_checkpoint(checkpoint, network, optimizer, State(epoch + 1, 0, 0.0, {}, state.history))
    save_network(network, done)
    checkpoint.unlink(missing_ok=True)


def run_epoch(
    network: UNet1d, optimizer: torch.optim.Optimizer, examples: list[Example],
    simulated: list[Example], epoch: int, epochs: int, seed: int,
) -> float:  # fmt: skip
    """See each real record once, and a share of the simulated ones in every batch."""
    network.train()
    torch.manual_seed(seed * 100_003 + epoch)  # dropout
    rng = np.random.default_rng([seed, epoch])
    order, share = rng.permutation(len(examples)), SIMULATED if simulated else 0
    real = BATCH - share
    pool = [*examples, *simulated]
    others = len(examples) + rng.choice(max(len(simulated), 1), len(order) // real * share)
    batches = [
        np.concatenate([order[k * real : (k + 1) * real], others[k * share : (k + 1) * share]])
        for k in range(len(order) // real)
    ]
    total = 0.0
    for step, chosen in enumerate(batches):
        lr = one_cycle((epoch * len(batches) + step) / (epochs * len(batches)))
        for group in optimizer.param_groups:
            group["lr"] = lr * LR
        drawn = [augmented(pool[i], np.random.default_rng([seed, epoch, int(i)])) for i in chosen]
        values = torch.from_numpy(np.stack([v for v, _ in drawn]))
        labels = torch.from_numpy(np.stack([y for _, y in drawn]).astype(np.int64))
        logits = network(values).transpose(1, 2)
        loss = nn.functional.cross_entropy(logits, labels, ignore_index=UNKNOWN)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        total += loss.item()
    return total / len(batches)


def one_cycle(share: float) -> float:
    """Return the learning rate over its largest: up in the first fifth, then down to 0 along a cosine."""
    return share / 0.2 if share < 0.2 else 0.5 * (1 + np.cos(np.pi * (share - 0.2) / 0.8)) + 1e-4


def save_network(network: nn.Module, path: Path) -> None:
    """Write the weights, nothing else."""
    from safetensors.torch import save

    write_bytes(path, save({name: t.detach().contiguous() for name, t in network.state_dict().items()}))


def ship(stem: Path, examples: list[Example], simulated: int, epochs: int, figures: Path) -> None:
    """Write the folder that ecglens ships: weights, facts, card, and the hashes of all three."""
    salt = "delineator"
    people = TrainedOn.of(salt, train=([f"ludb/{e.record_id}" for e in examples], []))
    facts = {
        "schema": SCHEMA, "name": "delineator", "architecture": "UNet1d", "arguments": NETWORK, "rate": RATE,
        "classes": list(CLASSES), "attribution": ATTRIBUTION,
        "details": {"epochs": epochs, "records": len(examples), "simulated": simulated, "seed": 0},
        "trained_on": asdict(people),
    }  # fmt: skip
    scores = json.loads(figures.read_text())["rows"] if figures.exists() else []
    parts = {
        "config.json": (json.dumps(facts, indent=1) + "\n").encode(),
        "weights.safetensors": stem.with_suffix(".safetensors").read_bytes(),
        "README.md": card(len(examples), simulated, scores).encode(),
    }
    for name, data in parts.items():
        write_bytes(DELINEATOR / name, data)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
    write_text(DELINEATOR / "hashes.json", hash_file(hashes))


def card(n_records: int, simulated: int, scores: list[dict]) -> str:
    """Return the model card."""
    parameters = sum(p.numel() for p in UNet1d(**NETWORK).parameters())
    rows = [
        f"| {row['mark'].replace('_', ' ')} | {row['f1'][0]:.4f} [{row['f1'][1]:.4f}, {row['f1'][2]:.4f}] "
        f"| {1000 * row['error_mean'][0]:+.1f}, {1000 * row['error_sd'][0]:.1f} |"
        for row in scores
        if (row["method"], row["tolerance"], row["lead"], row["rhythm"]) == ("ecglens", 0.15, "all", "all")
    ]
    table = ["", "| mark | F1 within 150 ms | error, ms: mean, SD |", "| --- | --- | --- |", *rows] if rows else []
    return "\n".join([
        "# delineator", "",
        "Research software, not a medical device: not for diagnosis or treatment.", "",
        f"A U-Net over 12 leads at 250 Hz ({parameters:,} parameters): P, QRS, T or nothing, per lead and instant.",
        f"Trained on {n_records} records of LUDB, each of another person, and {simulated} simulated ECGs.",
        ATTRIBUTION, "",
        "Five networks made alike, each without a fifth of the people and scored on them, 95 % intervals by bootstrap",
        "over patients. This very network has seen all of them: score it on other recordings only.",
        *table, "",
        "LUDB is one recorder and one hospital; children, other devices and rare rhythms are untested. Its marks are",
        "the habit of its readers. P waves without a QRS (block) have no beat to belong to and are not marked.", "",
    ])  # fmt: skip


def load_network(path: Path) -> UNet1d:
    """Return a network that `train` wrote."""
    from safetensors.torch import load

    network = UNet1d(**NETWORK)
    network.load_state_dict(load(read_bytes(path, 50 * 2**20)))
    return network.eval()


# --------------------------------------------------------------------------------------------------------- augmentation


def augmented(example: Example, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a stretch of the record, changed as another recording of another person might differ."""
    values, labels = stretched(example, rng)
    values = values * np.exp(rng.normal(0, 0.15, (12, 1)))
    values = values + noise(values.shape, rng)
    if rng.random() < 0.15:
        values = values + spikes(values.shape, rng)
    if rng.random() < 0.04:  # nothing but noise
        values, labels = noise(values.shape, rng) * rng.uniform(1, 20), np.zeros_like(labels)
    if rng.random() < 0.08:
        values = -values
    keep = kept_leads(rng)
    return (values * keep[:, None]).astype(np.float32), np.where(keep[:, None], labels, np.int8(UNKNOWN))


def stretched(example: Example, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return CROP samples of the record at 0.75 to 1.35 times its speed; beyond its ends zeros of unknown label."""
    n = example.values.shape[1]
    speed = np.exp(rng.uniform(-0.3, 0.3)) if rng.random() < 0.7 else 1.0
    start = rng.uniform(-0.1 * CROP, n - 0.9 * CROP * speed)
    at = start + speed * np.arange(CROP)
    inside = (at >= 0) & (at <= n - 1)
    at = at.clip(0, n - 1)
    low = np.floor(at).astype(int)
    high, share = np.minimum(low + 1, n - 1), at - low
    values = example.values[:, low] * (1 - share) + example.values[:, high] * share
    labels = example.labels[:, np.rint(at).astype(int)].copy()
    labels[:, ~inside] = UNKNOWN
    return values * inside, labels


def noise(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return white noise, wander, hum and steps, each lead its own, over the usual deviation of a lead."""
    t = np.arange(shape[1]) / 250.0
    out = rng.standard_normal(shape) * rng.exponential(0.04) * np.exp(rng.normal(0, 0.5, (shape[0], 1)))
    if rng.random() < 0.5:
        phase, hertz = rng.uniform(0, 2 * np.pi, (shape[0], 1)), rng.uniform(0.3, 1.0)
        out += rng.exponential(0.2) * rng.uniform(0, 1, (shape[0], 1)) * np.sin(2 * np.pi * hertz * t + phase)
    if rng.random() < 0.15:
        out += rng.exponential(0.08) * rng.uniform(0, 1, (shape[0], 1)) * np.sin(2 * np.pi * rng.uniform(25, 50) * t)
    if rng.random() < 0.15:  # an electrode comes loose for a moment
        begin, length = rng.uniform(0, t[-1]), rng.uniform(0.02, 0.5)
        out += (
            rng.normal(0, 2, (shape[0], 1)) * ((t > begin) & (t < begin + length)) * (rng.random((shape[0], 1)) < 0.3)
        )
    return out


def spikes(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return what the filter leaves of a pacemaker's spikes: at regular or at any times, each lead its own size."""
    n = shape[1]
    if rng.random() < 0.7:
        at = np.arange(rng.uniform(0, 250), n, rng.uniform(120, 350))
    else:
        at = rng.uniform(0, n, rng.integers(1, 8))
    impulses = np.zeros(n)
    impulses[at.astype(int).clip(0, n - 1)] = 1.0
    train = sosfiltfilt(butter(2, BAND, "bandpass", fs=RATE, output="sos"), impulses)
    sizes = rng.exponential(2.5) * rng.normal(0, 1, (shape[0], 1))
    return sizes * train / np.abs(train).max()


def kept_leads(rng: np.random.Generator) -> np.ndarray:
    """Return which leads are there: mostly all, else one, two, the limb leads, the chest leads, or any."""
    keep, kind = np.ones(12, bool), rng.random()
    if kind < 0.3:
        n_leads = [1, 1, 2, 3][rng.integers(4)]
        keep[:] = False
        keep[rng.choice(12, n_leads, replace=False)] = True
    elif kind < 0.38:
        keep[6:] = False
    elif kind < 0.42:
        keep[:6] = False
    elif kind < 0.55:
        keep = rng.random(12) < rng.uniform(0.3, 1)
        keep[rng.integers(12)] = True
    return keep


if __name__ == "__main__":
    main()
