# SPDX-License-Identifier: Apache-2.0
"""Maps of all classes at once, beside captum as its users call it: one class after the other. Writes explainers.json.

    OMP_NUM_THREADS=2 python benchmarks/explainers.py [LeNet ECGNet ...]

The windows of one simulated ECG through networks with random weights, 5 and 23 classes. A row holds how far the maps
lie apart, as a share of the largest value. Integrated gradients are compared at the same completeness: captum gets as
many points as it needs to miss no more than ecglens does. LRP is compared with captum's gradient x input on the network
with folded batch norm, which is the same map; captum's own LRP refuses Conv1d.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captum.attr import GuidedBackprop, InputXGradient, IntegratedGradients, LayerGradCam, Occlusion, Saliency
from timing import side_by_side
from torch import Tensor, nn

from ecglens import simulate_ecg
from ecglens.cohort import Batch
from ecglens.explainers import gradcam as cam
from ecglens.explainers import gradient, lrp, perturbation
from ecglens.leads import STANDARD_LEADS
from ecglens.models.ecgnet import ECGNet
from ecglens.models.field import field_of
from ecglens.models.lenet import LeNet, initialized
from ecglens.models.xresnet1d import XResNet1d
from ecglens.runs.files import write_json
from ecglens.training.recipes import PREPROCESSING

RESULTS = Path(__file__).with_name("explainers.json")
NETWORKS: dict[str, Any] = {"LeNet": LeNet, "XResNet1d50": XResNet1d, "ECGNet": ECGNet}
CLASSES = (5, 23)
ROUNDS, PATIENCE = 5, 12.0  # rounds, and s after which no further one is begun
POINTS = (32, 48, 64, 96, 128)


def main(names: list[str]) -> None:
    """Measure, print, write."""
    warnings.simplefilter("ignore")  # captum warns of its own hooks
    found = []
    for name in names or list(NETWORKS):
        for n_classes in CLASSES:
            for row in rows(name, n_classes):
                found.append(row)
                ratio = row["ratio"]
                figures = f"{ratio['median']:7.2f} x [{ratio['low']:.2f}, {ratio['high']:.2f}]"
                what = f"{row['network']} {n_classes} {row['method']}  maps apart {row['apart']:.1e} {row['note']}"
                print(figures, what, flush=True)
                write_json(RESULTS, {"threads": torch.get_num_threads(), "rows": found})


def rows(name: str, n_classes: int) -> Iterator[dict[str, Any]]:
    """Measure all methods on one network."""
    network = network_of(name, n_classes)
    windows = PREPROCESSING.cut(np.asarray(PREPROCESSING.apply([simulate_ecg("bench", "IMI").ecg]).signal), 100.0)[0]
    batch = Batch(windows, 100.0, STANDARD_LEADS, tuple(f"w{k}" for k in range(len(windows))))
    x, eye = torch.from_numpy(windows), np.eye(n_classes)
    folded = lrp.fold_batch_norm(network)
    hide = perturbation.Occlusion(length=0.5, stride=0.5, filler="zero", together=False)
    whole = {"sliding_window_shapes": (1, 50), "strides": (1, 50), "baselines": 0.0}

    def inputs() -> Tensor:
        return x.clone().requires_grad_()

    # method: ours, theirs of one class, factor between the two
    pairs: dict[str, tuple[Callable[..., Any], Callable[[int], Tensor], float]] = {
        "saliency": (gradient.saliency, lambda k: Saliency(network).attribute(inputs(), target=k, abs=False), 1),
        "gradient_x_input": (
            gradient.gradient_x_input, lambda k: InputXGradient(network).attribute(inputs(), target=k), 1,
        ),
        "guided_backprop": (
            gradient.guided_backprop, lambda k: GuidedBackprop(network).attribute(inputs(), target=k), 1,
        ),
        "occlusion": (hide, lambda k: Occlusion(network).attribute(x, target=k, **whole), 50),
    }  # fmt: skip
    if name != "ECGNet":  # gradients go through its softmax, relevance does not; and its rows of features are leads
        lrp_by_gradient = lambda k: InputXGradient(folded).attribute(inputs(), target=k)  # noqa: E731
        pairs["lrp"] = (lrp.LRP(epsilon=1e-9), lrp_by_gradient, 1)
        pairs["gradcam"] = (cam.gradcam, lambda k: upsampled(network, x, k), 1)
    for method, (explainer, of_class, factor) in pairs.items():
        mine = partial(_ours, explainer, network, batch, eye, factor)
        yield row(name, n_classes, method, mine, partial(_class_by_class, of_class, n_classes))
    yield integrated(name, n_classes, network, batch, x, eye)


def _ours(explainer: Any, network: nn.Module, batch: Batch, eye: np.ndarray, factor: float) -> np.ndarray:
    return np.asarray(explainer(network, batch, eye).values * factor)


def _class_by_class(of_class: Callable[[int], Tensor], n_classes: int) -> np.ndarray:
    return np.asarray(torch.stack([of_class(k) for k in range(n_classes)], 1).detach())


def upsampled(network: nn.Module, x: Tensor, k: int) -> Tensor:
    """Grad-CAM of one class by captum, which stretches steps evenly; here laid where they look, and on all leads."""
    coarse = LayerGradCam(network, network.blocks[-1]).attribute(x, target=k, relu_attributions=True)  # type: ignore[index]
    field = field_of(network, len(network.blocks), x.shape[1])  # type: ignore[arg-type]
    fine = cam.on_samples(coarse.detach().numpy()[None], x.shape[-1], field)
    return torch.from_numpy(fine[:, 0]).expand_as(x)


def integrated(
    name: str, n_classes: int, network: nn.Module, batch: Batch, x: Tensor, eye: np.ndarray
) -> dict[str, Any]:
    """Compare integrated gradients at the same completeness."""
    ours, zero = gradient.IntegratedGradients(), torch.zeros_like(x)
    with torch.no_grad():
        promised = (network(x) - network(zero)).numpy()
    missed = float(np.abs(ours(network, batch, eye).gap / promised).max())

    def theirs(points: int) -> np.ndarray:
        captum = IntegratedGradients(network)
        maps = [
            captum.attribute(x, zero, target=k, n_steps=points, internal_batch_size=8 * len(x))
            for k in range(n_classes)
        ]
        return torch.stack(maps, 1).detach().numpy()

    for points in POINTS:
        gap = float(np.abs(1 - theirs(points).sum(axis=(2, 3)) / promised).max())
        if gap <= missed * 1.01 + 1e-4:
            break
    note = f"missing at most {missed:.2%}, captum with {points} points {gap:.2%}"
    return row(
        name, n_classes, "integrated_gradients", lambda: ours(network, batch, eye).values, lambda: theirs(points), note
    )


def row(
    name: str, n_classes: int, method: str, ours: Callable[[], np.ndarray], theirs: Callable[[], np.ndarray],
    note: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Time one pair and compare their maps."""
    mine, other = ours(), theirs()
    timed = side_by_side(ours, theirs, 1)
    rounds = int(np.clip(PATIENCE / (timed["ours"] + timed["theirs"]), 1, ROUNDS))
    timed = side_by_side(ours, theirs, rounds) if rounds > 1 else timed
    apart = float(np.abs(mine - other).max() / np.abs(other).max())
    return {"network": name, "classes": n_classes, "method": method, "apart": apart, "note": note} | timed


def network_of(name: str, n_classes: int) -> nn.Module:
    """Random weights, and running statistics as training would leave them."""
    network = initialized(NETWORKS[name], {"n_outputs": n_classes}, 1).eval()
    generator = torch.Generator().manual_seed(3)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.running_mean.uniform_(-0.3, 0.3, generator=generator)
            layer.running_var.uniform_(0.5, 2.0, generator=generator)
    return network


if __name__ == "__main__":
    main(sys.argv[1:])
