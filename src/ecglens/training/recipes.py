# SPDX-License-Identifier: Apache-2.0
"""Recipes: all that decides a training, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ecglens.errors import UsageError
from ecglens.models.registry import MODELS
from ecglens.preprocessing.pipeline import Admission, Bandpass, Preprocessing, Resample, Standardize
from ecglens.preprocessing.windows import Windows
from ecglens.training.augmentation import Augmentation

# 0.5-40 Hz and one mean and deviation per record, at 100 Hz; 2.5-s windows, half overlapping (xai4ecg's crops).
PREPROCESSING = Preprocessing(
    Admission(),
    (Resample(100.0), Bandpass(0.5, 40.0, 2), Standardize("record")),
    Windows(length=250, stride=125),
)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    lr            peak of the one-cycle schedule (Smith & Topin 2018): linear up over `warmup`, cosine down to 0
    weight_decay  of AdamW
    batch         records per step; each epoch shows every record once, as one random crop
    patience      epochs without a better validation macro AUROC after which training stops
    """

    model: str
    augmentation: Augmentation
    epochs: int = 60
    batch: int = 64
    lr: float = 3e-3
    weight_decay: float = 1e-2
    warmup: float = 0.25
    patience: int = 30
    preprocessing: Preprocessing = PREPROCESSING

    def as_config(self) -> dict[str, Any]:
        """Return the recipe as JSON-ready data."""
        return asdict(self) | {"preprocessing": self.preprocessing.as_config()}


# What keeps networks of this size from learning two thousand patients by heart.
_STRONG = Augmentation(crop=250, gain=0.1, noise=0.02, lead_dropout=0.05, mixup=0.2)

RECIPES: dict[str, Recipe] = {
    "lenet": Recipe("lenet", Augmentation(crop=250)),
    "lenet-wide": Recipe("lenet-wide", _STRONG, epochs=100, lr=4e-3, weight_decay=3e-2, patience=50),
    "ecgnet": Recipe("ecgnet", _STRONG, epochs=40),
    "ecgnet-lead": Recipe("ecgnet-lead", _STRONG, epochs=40),
    "ecgnet-class": Recipe("ecgnet-class", _STRONG, epochs=40),
    "xresnet1d50": Recipe("xresnet1d50", _STRONG, epochs=50, lr=2e-3, weight_decay=3e-2),
    "resnet1d": Recipe("resnet1d", _STRONG, epochs=50, weight_decay=3e-2),
}


def recipe_for(model: str) -> Recipe:
    """Return the recipe of a model. Raises UsageError for an unknown one."""
    if model not in RECIPES or model not in MODELS:
        raise UsageError("train", "model", model, ", ".join(RECIPES))
    return RECIPES[model]
