# SPDX-License-Identifier: Apache-2.0
"""What `study_concepts` wrote, read back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ecglens.runs.files import read_json
from ecglens.runs.run import Run

RESULT = "concepts.json"
CELLS, ASSOCIATION = "cells", "association"


@dataclass(frozen=True, eq=False)
class ConceptTest:
    """A finished run of `test-concepts`.

    run          the folder
    about        what its `concepts.json` holds
    """

    run: Run
    about: dict[str, Any]

    @classmethod
    def open(cls, folder: str | Path) -> ConceptTest:
        """Open a finished run. Raises InputError where it is another one, or is not finished."""
        run = Run.finished(folder, "test-concepts")
        return cls(run, read_json(run.folder / RESULT))

    @property
    def cells(self) -> pd.DataFrame:
        """One row per layer, class and concept: layer, class, concept, score, ..., verdict, reason."""
        return pd.DataFrame(self.about["cells"])

    @property
    def association(self) -> pd.DataFrame:
        """Matthews' correlation of each class and concept: class, concept, mcc, low, high, n, n_both, n_patients."""
        return pd.DataFrame(self.about["association"])

    def as_dict(self) -> dict[str, Any]:
        """Return the result as it stands in JSON output."""
        return self.about
