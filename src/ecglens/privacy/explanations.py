# SPDX-License-Identifier: Apache-2.0
"""From which part of the beat are people recognised? Asked within a run, since its networks do not outlive it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from ecglens.errors import UsageError
from ecglens.models.transecg import TransECG
from ecglens.privacy.attackers import ATTACKERS, built
from ecglens.privacy.attention_study import Looked, look, summarize
from ecglens.privacy.flattening import Ask, check_causally, hits_of
from ecglens.privacy.intervals import PARTITION, Marked
from ecglens.privacy.mean_beat import over_people, peak_times
from ecglens.privacy.protocols import Split
from ecglens.privacy.scoring import Heard, Look, Material
from ecglens.runs.draws import derived_seed
from ecglens.runs.progress import Progress
from ecglens.runs.run import Run

# Forward passes of a window in the study of attention, gradients included; one is three times as fast as training.
_PASSES, _FASTER = 13, 3


def can_be_explained(model: str) -> bool:
    """Tell whether an attacker has a class token whose attention can be studied."""
    return model in ATTACKERS and ATTACKERS[model].architecture == "TransECG"


def refuse_nothing_to_explain(models: Sequence[str], explain: bool) -> None:
    """Raise UsageError where attention is asked for and no attacker has any."""
    if explain and not any(map(can_be_explained, models)):
        raise UsageError(
            "identify", "explain", ", ".join(models), "transecg or transecg-patch5 among the models",
            "add --model transecg, or ask --causal, which works with all", kind="method",
        )  # fmt: skip


def expected_more(
    model: str, splits: Sequence[Split], training: float, speed: float, *, explain: bool, causal: bool
) -> float:
    """Return about how many seconds explanations add to an attacker that takes `training` s.

    speed   windows a second that it is trained at
    """
    more = 2 * len(PARTITION) * training if causal else 0.0
    if explain and can_be_explained(model):
        asked = sum(len(split.enrol) + len(split.probe) for split in splits)
        more += asked * _PASSES / (_FASTER * speed)
    return more


@dataclass
class Explaining:
    """What is asked of the attackers of a run, and what was found.

    explain, causal   which of the two
    marked            of all windows, None where nothing is asked
    """

    explain: bool
    causal: bool
    material: Material
    marked: Marked | None
    task: str
    n_resamples: int
    seed: int
    attention: dict[str, Any] = field(default_factory=dict)
    flattening: list[dict[str, Any]] = field(default_factory=list)
    beats: list[pd.DataFrame] = field(default_factory=list)
    _measured: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    _looked: list[Looked] = field(default_factory=list)

    def look(self, model: str, split: Split) -> Look | None:
        """Return what is to be done with a trained network of `model` before it is forgotten."""
        if not self.explain or not can_be_explained(model):
            return None

        def study(network: nn.Module, at: NDArray[np.int64], embeds: bool) -> None:
            assert self.marked is not None
            network = cast(TransECG, network)
            seed = derived_seed(self.seed, "floor", split.name)
            n_leads, n_outputs = network.embed.in_channels, network.head.out_features
            floor = built(ATTACKERS[model], n_leads, n_outputs, network.length, seed).eval()
            windowed = self.material.windowed
            people = windowed.table["person"].to_numpy()[at]
            self._looked.append(
                look(
                    network, cast(TransECG, floor), self.material.seen[at][..., : network.length],
                    self.marked.take(at), people, windowed.fs, split.name, embeds=embeds,
                )
            )  # fmt: skip

        return study

    def finish(self, model: str, heard: Sequence[Heard], ask: Ask, folder: Path, progress: Progress) -> None:
        """Sum up what the networks of one attacker looked at, and take intervals away where that is asked."""
        how = {"n_resamples": self.n_resamples, "seed": self.seed}
        if self._looked:
            self.attention[model] = summarize(self._looked, self.task, **how)
            beats = [part.beats for part in self._looked]
            drawn = over_people(beats, seed=self.seed)
            self.attention[model]["peaks"] = [{"peak": k, "time": v} for k, v in peak_times(beats).items()]
            if drawn is not None:
                self.beats.append(drawn.assign(model=model))
            self._looked = []
        if self.causal:
            assert self.marked is not None
            self.flattening += check_causally(
                model, self.material, self.marked, hits_of(heard, self.task), ask, len(heard), self.task, folder,
                measured=self._measured, progress=progress, **how,
            )  # fmt: skip

    def as_dict(self) -> dict[str, Any] | None:
        """Return what was found, None where nothing was asked."""
        if not self.explain and not self.causal:
            return None
        return {
            "attention": self.attention if self.explain else None,
            "flattening": self.flattening if self.causal else None,
        }

    def write(self, run: Run) -> None:
        """Write the tables: aggregates over people only."""
        if self.flattening:
            run.write_table("flattening", pd.DataFrame(self.flattening))
        if self.beats:
            run.write_table("mean_beat", pd.concat(self.beats, ignore_index=True))
        rows = [
            {"model": model, "interval": row["interval"], "value": row["value"], "low": row["low"],
             "high": row["high"], "p": row["p"], "random_weights": row["random_weights"]["value"],
             "by_place": row["by_place"], "mass": row["mass"], "time": row["time"]}
            for model, study in self.attention.items() for row in study["intervals"]
        ]  # fmt: skip
        if rows:
            run.write_table("enrichment", pd.DataFrame(rows))
