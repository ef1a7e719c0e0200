# SPDX-License-Identifier: Apache-2.0
"""Draw what the documentation shows of finished runs of states and sub-types; nobody's ECG is in these pictures.

    ecglens segment-states RUN --data PTBXL --out STATES
    ecglens find-subtypes FAMILY --data PTBXL --group MI --truth AMI,IMI --by signals --out SUBTYPES
    python benchmarks/cluster_pictures.py [--states NAME=STATES ...] [--subtypes NAME=SUBTYPES ...] [--out docs/_static]

States: profiles, and what each speaks for. Sub-types: the plane, and mean beats with where they differ.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ecglens.concepts.state_result import Segmented, preferred_parts
from ecglens.concepts.subtype_study import Subtyped
from ecglens.concepts.subtype_vectors import BEFORE_S
from ecglens.plotting.states import plot_contributions, plot_state_profiles
from ecglens.plotting.style import figure_bytes
from ecglens.plotting.subtypes import plot_cluster_beats, plot_embedding
from ecglens.runs.files import write_bytes


def of_states(folder: Path) -> Iterator[tuple[str, Figure]]:
    """Draw a run of `segment-states`."""
    found = Segmented.open(folder)
    states, told, arrays = found.about["states"], found.run.read()["profiles"], folder / "arrays"
    profiles, presence = (np.load(arrays / f"{name}.npy") for name in ("profiles", "profile-share"))
    yield "profiles", plot_state_profiles(profiles, presence, told["fs"], told["leads"], states)
    yield "strengths", plot_contributions(states, preferred_parts(states), "strength")


def of_subtypes(folder: Path) -> Iterator[tuple[str, Figure]]:
    """Draw a run of `find-subtypes`."""
    found = Subtyped.open(folder)
    about, table = found.about, found.run.read_table("records")
    assert table is not None
    own = ["" if one != one else str(one) for one in table["sublabel"]]  # an empty cell is read as NaN
    yield "plane", plot_embedding(table[["x", "y"]].to_numpy(), table["cluster"].tolist(), own, about["sublabels"])
    beats, bands = (np.load(folder / "arrays" / f"{name}.npy") for name in ("beats", "beats-band"))
    yield "beats", plot_cluster_beats(beats, bands, about["fs"], BEFORE_S, about["leads"], about["cells"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", nargs="*", default=[], metavar="NAME=DIR")
    parser.add_argument("--subtypes", nargs="*", default=[], metavar="NAME=DIR")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "_static")
    asked = parser.parse_args()
    for kind, draw, given in (("states", of_states, asked.states), ("subtypes", of_subtypes, asked.subtypes)):
        for text in given:
            name, _, folder = text.partition("=")
            for what, figure in draw(Path(folder)):
                write_bytes(asked.out / f"{kind}-{name}-{what}.png", figure_bytes(figure, "png", dpi=110))


if __name__ == "__main__":
    main()
