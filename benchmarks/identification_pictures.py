# SPDX-License-Identifier: Apache-2.0
"""Draw how many people come first by size of the gallery, of what `benchmarks/identification.py` measured.

    python benchmarks/identification_pictures.py [--out docs/_static]

The best attacker of ours (`identify.default_model`) on ECG-ID and PTB-XL's repeats, in the gallery of people never
trained on and of everybody. `benchmarks/identification.py` draws it anew after each of its runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ecglens.plotting.identification import plot_gallery
from ecglens.plotting.style import figure_bytes
from ecglens.privacy.identify import default_model
from ecglens.runs.files import read_json, write_bytes

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "docs" / "_static"
NAMES = {"ecgid": "ECG-ID", "repeats": "PTB-XL"}  # of runs of the benchmark; a curve's name has 24 letters at most
KINDS = ("unseen", "everybody")
COLUMNS = ("size", "value", "low", "high", "chance")


def gallery_picture(told: Mapping[str, Mapping[str, Any]]) -> Figure | None:
    """Return the curves of the best attacker; None where no run has any.

    told   what `benchmarks/identification.json` holds
    """
    best = default_model("person", "verification")
    curves = {}
    for run, name in NAMES.items():
        runs = [each for key, each in told.items() if key.startswith(f"{run}-{best}-paper-0") and "gallery" in each]
        for kind in KINDS:
            rows = [row for row in (runs[0]["gallery"] if runs else ()) if row["gallery"] == kind]
            if rows:
                curves[f"{name}, {kind}"] = {column: [row[column] for row in rows] for column in COLUMNS}
    return plot_gallery(curves) if curves else None


def draw(told: Mapping[str, Mapping[str, Any]], out: Path = STATIC) -> None:
    figure = gallery_picture(told)
    if figure is not None:
        write_bytes(out / "identification-gallery.png", figure_bytes(figure, "png", dpi=110))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=STATIC)
    draw(read_json(ROOT / "benchmarks" / "identification.json"), parser.parse_args().out)


if __name__ == "__main__":
    main()
