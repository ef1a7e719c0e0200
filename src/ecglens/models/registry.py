# SPDX-License-Identifier: Apache-2.0
"""The networks by name. A bundle names its architecture here; nothing is ever imported by a name in a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from ecglens.errors import FormatError
from ecglens.models.average import Average
from ecglens.models.bilstm import BiLSTM
from ecglens.models.cnn1d import CNN1d
from ecglens.models.ecgnet import ECGNet
from ecglens.models.lenet import LeNet
from ecglens.models.resnet1d import ResNet1d
from ecglens.models.transecg import TransECG
from ecglens.models.xresnet1d import XResNet1d

MOST_MEMBERS = 500  # of an average


def average_of(architecture: str, arguments: Mapping[str, Any], n_members: int) -> Average:
    """Return an average of `n_members` (2 to MOST_MEMBERS) networks of one single architecture."""
    if architecture == "Average" or architecture not in ARCHITECTURES or not 2 <= int(n_members) <= MOST_MEMBERS:
        raise ValueError(f"an average of {n_members} x {architecture}")
    return Average([ARCHITECTURES[architecture](**arguments) for _ in range(int(n_members))])


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "LeNet": LeNet,
    "ECGNet": ECGNet,
    "XResNet1d": XResNet1d,
    "ResNet1d": ResNet1d,
    "TransECG": TransECG,
    "CNN1d": CNN1d,
    "BiLSTM": BiLSTM,
    "Average": average_of,
}

# What `--model` offers: an architecture with the arguments that make it this model.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "lenet": ("LeNet", {}),
    "lenet-wide": (
        "LeNet",
        {"widths": [48, 96, 192], "kernels": [7, 5, 5], "dropout": [0.1, 0.2, 0.4], "hidden": 0},
    ),
    "ecgnet": ("ECGNet", {}),
    "ecgnet-lead": ("ECGNet", {"lead_embedding": True}),
    "ecgnet-class": ("ECGNet", {"lead_embedding": True, "per_class": True}),
    "xresnet1d50": ("XResNet1d", {}),
    "resnet1d": ("ResNet1d", {}),
}


def build_network(architecture: str, arguments: Mapping[str, Any], where: object = "bundle") -> nn.Module:
    """Return the network that a configuration describes. Raises FormatError for an unknown one."""
    if architecture not in ARCHITECTURES:
        raise FormatError(
            where, "architecture", architecture, ", ".join(ARCHITECTURES), "use the version of ecglens that knows it",
            kind="architecture",
        )  # fmt: skip
    try:
        return ARCHITECTURES[architecture](**arguments)
    except (TypeError, ValueError, LookupError, ArithmeticError, RuntimeError) as error:
        raise FormatError(where, "arguments", str(error), f"those of {architecture}", kind="architecture") from error
