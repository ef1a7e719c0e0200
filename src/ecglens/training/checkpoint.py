# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: everything a resumed training needs to end with the same bits, in one safetensors file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from ecglens.errors import FormatError
from ecglens.runs.files import read_bytes, write_bytes

_MAX_BYTES = 4 * 2**30


@dataclass
class State:
    """Where a training stands after `epoch` epochs."""

    epoch: int
    best_epoch: int
    best_score: float
    best_weights: dict[str, Tensor]
    history: list[dict[str, float]]


def save_checkpoint(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, state: State) -> None:
    """Write the checkpoint atomically."""
    tensors = {f"network/{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"best/{name}": value for name, value in state.best_weights.items()}
    for number, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{slot}": value for slot, value in slots.items()}
    about = {"epoch": state.epoch, "best_epoch": state.best_epoch, "best_score": state.best_score}
    kept = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    facts = json.dumps(about | {"history": state.history, "sha256": _digest(kept)})
    write_bytes(path, save(kept, {"state": facts}))


def load_checkpoint(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> State:
    """Put network and optimizer back and return the state. Raises FormatError where the file is damaged."""
    raw = read_bytes(path, _MAX_BYTES)
    try:
        tensors = load(raw)
        size = int.from_bytes(raw[:8], "little")
        facts: dict[str, Any] = json.loads(json.loads(raw[8 : 8 + size])["__metadata__"]["state"])
        if _digest(tensors) != facts["sha256"]:
            raise ValueError("damaged: its checksum does not fit")
        network.load_state_dict(_below(tensors, "network/"))
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(tensors, "optimizer/").items():
            number, slot = name.split("/")
            slots.setdefault(int(number), {})[slot] = value
        optimizer.load_state_dict(optimizer.state_dict() | {"state": slots})
        return State(
            facts["epoch"], facts["best_epoch"], facts["best_score"], _below(tensors, "best/"), facts["history"]
        )
    except (SafetensorError, RuntimeError, ValueError, KeyError) as error:
        raise FormatError(
            path, "checkpoint", " ".join(str(error).split())[:160], "one that this training wrote", "start a new run"
        ) from error


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, shapes and values: safetensors itself does not notice a flipped bit."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)} {tensors[name].dtype}".encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
