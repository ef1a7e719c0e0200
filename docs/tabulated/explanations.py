# SPDX-License-Identifier: Apache-2.0
"""What each method says of one infarction."""

from __future__ import annotations

from pathlib import Path

from tabulated.layout import ROOT, grid, measured

# What a map means, and what it does not, in words for who reads ECGs and no network code.
MEANING = {
    "saliency": ("where a small change of voltage would change the answer", "what the answer was made of"),
    "smoothgrad": ("the same, averaged over slightly noisy copies", "what the answer was made of"),
    "gradient_x_input": ("slope times voltage: what is high and sensitive", "anything where the trace is at 0"),
    "integrated_gradients": (
        "what each sample adds on the way from a flat line to this ECG",
        "what a normal wave would give: a flat line is none",
    ),
    "guided_backprop": (
        "a slope that keeps what is positive only",
        "hardly depends on the weights: a drawing of the ECG",
    ),
    "gradcam": ("which half second counted", "which lead, or which wave"),
    "guided_gradcam": ("guided backprop, faded by Grad-CAM", "as guided backprop"),
    "deeplift": (
        "what each sample changes against a flat line, by one pass",
        "what a normal wave would give: a flat line is none",
    ),
    "lrp": ("how the answer is handed back, layer by layer", "what would happen if a wave were another"),
    "lrp_z_plus": ("the same, by what was excited only", "what speaks against the answer: it has no minus"),
    "occlusion": ("how the answer falls when 0.2 s are a straight line", "which limb lead, or which wave"),
    "occlusion_segment": ("how the answer falls when a wave is a straight line", "which limb lead"),
    "occlusion_lead": ("how the answer falls when a lead is a straight line", "when, or which limb lead"),
    "shapley": ("a wave's mean part in the answer over orders of hiding", "which limb lead"),
    "random": ("nothing: noise", "anything of the network"),
    "energy": ("nothing: where the trace is high", "anything of the network"),
    "slope": ("nothing: where the trace is steep", "anything of the network"),
    "r_distance": ("nothing: where an R peak is near", "anything of the network"),
}


def which_map(root: Path = ROOT) -> str:
    """Return a row per method: the sentence it yields, what its map means and what not."""
    facts = measured(root, "which_map")
    verdict = " The method is not tested on this network."
    rows = [
        (f"`{one['method']}`", *(MEANING[one["method"]]), str(one["sentence"]).removesuffix(verdict))
        for one in facts["maps"]
    ]
    header = ("method", "a strong place says", "it does not say", "of this infarction")
    return (
        f"{grid(header, rows)}\n\nRecord {facts['record']} of PTB-XL, {facts['beats']} beats; probability of "
        f"{facts['target']} {facts['probability']:.3f} by the shipped bundle `{facts['bundle']}` (weights "
        f"`{facts['weights_sha256'][:16]}`). No method is tested on this network here."
    )
