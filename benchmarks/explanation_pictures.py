# SPDX-License-Identifier: Apache-2.0
"""Draw real ECGs through every method and network, to be looked at; write the facts of "Which map says what".

    python benchmarks/explanation_pictures.py --data ptbxl/ --out sheets/ pretrained runs/xresnet1d50 runs/ecgnet-lead
    python benchmarks/explanation_pictures.py --data ptbxl/ --which-map

The first writes a sheet per record and network, a method per row, into a folder outside the repository. The second
writes `benchmarks/which_map.json` and `docs/_static/which-map.png` from one infarction of PTB-XL (CC BY 4.0).
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ecglens import Bundle, delineate, explain, load_cohort, plot_explanations
from ecglens.ecg import ECG
from ecglens.errors import ContractError
from ecglens.explanation import Explanation
from ecglens.fiducials import Fiducials
from ecglens.plotting.style import figure_bytes
from ecglens.shares import share_out, where_sentence

ROOT = Path(__file__).parents[1]
# A normal ECG, right bundle branch block, ST-T changes, inferior infarction, left ventricular hypertrophy.
RECORDS = {"9": "NORM", "172": "CD", "274": "STTC", "11125": "MI", "299": "HYP"}  # all of fold 10
METHODS = (
    "saliency", "gradient_x_input", "integrated_gradients", "gradcam", "deeplift", "lrp", "occlusion_segment",
    "shapley",
)  # fmt: skip
# ECGNet's attention is a product of two things that both depend on the input: deeplift and lrp have no rule for it.
INSTEAD = {"deeplift": "attention", "lrp": "smoothgrad"}
INFARCTION, TARGET = "11125", "MI"
EVERY = (
    "saliency", "smoothgrad", "gradient_x_input", "integrated_gradients", "guided_backprop", "gradcam",
    "guided_gradcam", "deeplift", "lrp", "lrp_z_plus", "occlusion", "occlusion_segment", "occlusion_lead", "shapley",
    "random", "energy", "slope", "r_distance",
)  # fmt: skip
SHOWN = ("saliency", "integrated_gradients", "lrp", "gradcam", "occlusion_segment", "energy")


def maps(bundle: Bundle, ecg: ECG, marks: Fiducials, target: str, methods: Sequence[str]) -> list[Explanation]:
    """Return one map per method; a method that is refused on this network is replaced by another."""
    found = []
    for name in methods:
        try:
            found += explain(bundle, ecg, [target], name, fiducials=marks)
        except ContractError:
            found += explain(bundle, ecg, [target], INSTEAD[name], fiducials=marks)
    return found


def sheets(bundles: Sequence[str], data: str, out: Path) -> None:
    """Write a sheet per record and network."""
    out.mkdir(parents=True, exist_ok=True)
    cohort = load_cohort(data)
    for name in bundles:
        bundle = Bundle.load(name)
        for record, target in RECORDS.items():
            ecg = cohort[cohort.record_ids.index(record)]
            marks = delineate(ecg)
            figure = plot_explanations(ecg, maps(bundle, ecg, marks, target, METHODS), marks)
            path = out / f"{record}-{target}-{bundle.name.replace(' ', '_')}.png"
            path.write_bytes(figure_bytes(figure, "png", dpi=110))
            print(path, flush=True)


def which_map(data: str) -> None:
    """Write the facts and the picture of the page."""
    cohort, bundle = load_cohort(data), Bundle.load("pretrained")
    ecg = cohort[cohort.record_ids.index(INFARCTION)]
    marks = delineate(ecg)
    found = maps(bundle, ecg, marks, TARGET, EVERY)
    facts = {
        "record": INFARCTION, "target": TARGET, "bundle": bundle.name, "weights_sha256": bundle.weights_sha256,
        "probability": found[0].probability, "beats": marks.n_beats,
        "maps": [_facts(one, marks) for one in found],
    }  # fmt: skip
    (ROOT / "benchmarks" / "which_map.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    shown = [one for name in SHOWN for one in found if one.method == name]
    picture = smaller(figure_bytes(plot_explanations(ecg, shown, marks), "png", dpi=85))
    (ROOT / "docs" / "_static" / "which-map.png").write_bytes(picture)
    print(f"{len(found)} maps, picture {len(picture) / 1000:.0f} kB")


def smaller(png: bytes) -> bytes:
    """Return a picture of 255 colours, which a page loads faster; MAXCOVERAGE keeps the rare blue."""
    buffer = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(255, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _facts(explanation: Explanation, marks: Fiducials) -> dict[str, object]:
    return {
        "method": explanation.method, "resolution_ms": explanation.resolution_ms,
        "resolves_leads": explanation.resolves_leads,
        "sentence": where_sentence(explanation, share_out(explanation, marks)),
    }  # fmt: skip


def main() -> None:
    """Draw sheets, or write the page's facts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="*", help="networks of the sheets")
    parser.add_argument("--data", required=True, help="folder of PTB-XL")
    parser.add_argument("--out", type=Path, help="folder of the sheets, outside the repository")
    parser.add_argument("--which-map", action="store_true", help="write the facts and the picture of the page")
    chosen = parser.parse_args()
    if chosen.which_map:
        which_map(chosen.data)
    if chosen.bundles:
        sheets(chosen.bundles, chosen.data, chosen.out)


if __name__ == "__main__":
    main()
