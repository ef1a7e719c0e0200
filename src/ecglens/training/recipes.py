# SPDX-License-Identifier: Apache-2.0
"""Recipes: all that decides a training, as data. `ours` by model, and those of TrustECG and xai4ecg for any model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from ecglens.errors import UsageError
from ecglens.models.registry import MODELS
from ecglens.prediction.calibration import check_choice
from ecglens.preprocessing.pipeline import Admission, Bandpass, Preprocessing, Resample, Standardize
from ecglens.preprocessing.windows import Windows
from ecglens.training.augmentation import Augmentation
from ecglens.training.precision import FLOAT32, check_precision

# 0.5-40 Hz and one mean and deviation per record, at 100 Hz: what TrustECG does, and we.
_STEPS = (Resample(100.0), Bandpass(0.5, 40.0, 2), Standardize("record"))
# 2.5-s windows, half overlapping (xai4ecg's crops).
PREPROCESSING = Preprocessing(Admission(), _STEPS, Windows(length=250, stride=125))
WHOLE = Preprocessing(Admission(), _STEPS, Windows(length=1000, stride=1000))
MILLIVOLTS = Preprocessing(Admission(), (Resample(100.0),), Windows(length=250, stride=250, combine="centre"))


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    schedule         "one_cycle" (Smith & Topin 2018): linear up to `lr` over `warmup`, cosine down to 0;
                     "plateau": halved after `plateau` epochs without a better validation macro AUROC; "constant"
    lr               learning rate: the peak of one_cycle, where the others begin
    weight_decay     of AdamW
    batch            records per step; each epoch shows every record once, as one random crop
    patience         epochs without a better validation macro AUROC after which training stops
    balance          how much rare classes count (`loss.class_weights`)
    min_likelihood   label rule of PTB-XL
    keep_unlabelled  keep records without a label of the task, as negatives
    calibration      how probabilities are scaled on validation (`calibration.METHODS`)
    thresholds       the rule by which validation chooses where "yes" begins (`calibration.RULES`)
    precision        of the forward pass in training (`precision.PRECISIONS`)
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
    schedule: str = "one_cycle"
    plateau: int = 3
    balance: str = "sqrt"
    min_likelihood: float = 0.0
    keep_unlabelled: bool = False
    calibration: str = "platt"
    thresholds: str = "f1"
    precision: str = FLOAT32

    def __post_init__(self) -> None:
        check_choice(self.calibration, self.thresholds)  # now, not when the network is trained
        check_precision(self.precision)

    def as_config(self) -> dict[str, Any]:
        """Return the recipe as JSON-ready data; the usual precision goes without saying."""
        told = asdict(self) | {"preprocessing": self.preprocessing.as_config()}
        if self.precision == FLOAT32:
            told.pop("precision")
        return told


# What keeps networks of this size from learning two thousand patients by heart.
_STRONG = Augmentation(crop=250, gain=0.1, noise=0.02, lead_dropout=0.05, mixup=0.2)

RECIPES: dict[str, Recipe] = {
    "lenet": Recipe("lenet", Augmentation(crop=250)),
    "lenet-wide": Recipe("lenet-wide", _STRONG, epochs=100, lr=4e-3, weight_decay=3e-2, patience=50),
    "ecgnet": Recipe("ecgnet", _STRONG, epochs=24),
    "ecgnet-lead": Recipe("ecgnet-lead", _STRONG, epochs=24),
    "ecgnet-class": Recipe("ecgnet-class", _STRONG, epochs=24),
    "xresnet1d50": Recipe("xresnet1d50", _STRONG, epochs=50, lr=2e-3, weight_decay=3e-2),
    "resnet1d": Recipe("resnet1d", _STRONG, epochs=50, weight_decay=3e-2),
}


def _trustecg(model: str) -> Recipe:
    """What the report of TrustECG says."""
    return Recipe(
        model, Augmentation(crop=1000), epochs=50, batch=64, lr=1e-3, weight_decay=1e-2, patience=5,
        preprocessing=WHOLE, schedule="plateau", plateau=3, min_likelihood=50.0, keep_unlabelled=True,
    )  # fmt: skip


def _trustecg_code(model: str) -> Recipe:
    """What the code of TrustECG does, where it differs from the report: batch and weight decay."""
    return Recipe(
        model, Augmentation(crop=1000), epochs=50, batch=32, lr=1e-3, weight_decay=1e-4, patience=5,
        preprocessing=WHOLE, schedule="plateau", plateau=3, min_likelihood=50.0, keep_unlabelled=True,
    )  # fmt: skip


def _xai4ecg(model: str) -> Recipe:
    """What paper and code of xai4ecg (Wagner et al.) do: millivolts as they are, one crop from the centre."""
    return Recipe(
        model, Augmentation(crop=250), epochs=100, batch=128, lr=1e-3, weight_decay=1e-3, patience=100,
        preprocessing=MILLIVOLTS, schedule="constant", balance="none", keep_unlabelled=True,
    )  # fmt: skip


STYLES: dict[str, Callable[[str], Recipe]] = {
    "ours": lambda model: RECIPES[model],
    "trustecg": _trustecg,
    "trustecg-code": _trustecg_code,
    "xai4ecg": _xai4ecg,
}


def recipe_for(model: str, style: str = "ours") -> Recipe:
    """Return the recipe of a model in one of the `STYLES`. Raises UsageError for an unknown one."""
    if model not in RECIPES or model not in MODELS:
        raise UsageError("train", "model", model, ", ".join(RECIPES))
    if style not in STYLES:
        raise UsageError("train", "recipe", style, ", ".join(STYLES))
    return STYLES[style](model)
