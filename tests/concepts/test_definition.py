# SPDX-License-Identifier: Apache-2.0
"""Concept files: what they may say, and one line for each mistake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecglens.concepts.definition import DEFAULT_CONCEPTS, load_concepts
from ecglens.errors import EcglensError

VALUES = pd.DataFrame(
    {
        "qrs_ms": [130.0, 90.0, np.nan],
        "age": [80.0, 75.0, np.nan],
        "male": [0.0, 1.0, np.nan],
        "female": [1, 0, np.nan],
    },
    index=["a", "b", "c"],
)


def written(folder: Path, text: str) -> Path:
    path = folder / "concepts.toml"
    path.write_text(f"schema = 1\n{text}")
    return path


def test_rules_criteria_and_lists(tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_text("record_id,note\nb,x\nc,y\n")
    text = """
    [concepts.wide]
    rule = "qrs_ms >= 120"
    about = "wide"
    [concepts.old]
    rule = "age > 75"
    [concepts.old-woman]
    rule = "age > 75 and female"
    [concepts.published]
    criterion = "QRS-CLBBB"
    [concepts.named]
    records = ["a"]
    [concepts.file]
    file = "ids.csv"
    """
    concepts = {concept.name: concept for concept in load_concepts(written(tmp_path, text))}
    found = {name: concept.members(VALUES).tolist() for name, concept in concepts.items()}
    for name in ("wide", "published", "old", "old-woman"):
        np.testing.assert_array_equal(found[name], [1, 0, np.nan], err_msg=name)
    assert (found["named"], found["file"]) == ([1, 0, 0], [0, 1, 1])
    assert (concepts["old"].personal, concepts["old-woman"].personal) == (("age",), ("age", "sex"))
    assert concepts["wide"].personal == concepts["named"].personal == ()
    assert concepts["wide"].about == "wide"


def test_the_shipped_file_is_the_default() -> None:
    assert load_concepts() == load_concepts(DEFAULT_CONCEPTS)
    assert len(load_concepts()) == 13


@pytest.mark.parametrize(
    "text",
    [
        "concepts = 3", "[concepts]", "[concepts.a]\nrule = '__import__(\"os\")'", "[concepts.a]\nrule = 'qrs_ms >'",
        "[concepts.a]\nrule = 'wings > 2'", "[concepts.a]\ncriterion = 'NONE'", "[concepts.a]\nrecords = [1]",
        "[concepts.a]\nrule = 'age > 3'\nrecords = ['a']", "[concepts.a]\nabout = 'x'", "[concepts.a]\nother = 1",
        "[concepts.a]\nfile = '../ids.csv'", "[concepts.a]\nfile = 'none.csv'", "[concepts.a]\nfile = 3", "[",
        f"[concepts.{'a' * 50}]\nrule = 'female'",
    ],
)  # fmt: skip
def test_each_mistake_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(EcglensError) as refused:
        load_concepts(written(tmp_path, text))
    assert refused.value.exit_code in (3, 4)
    assert "\n" not in str(refused.value)
    assert "concepts.toml" in str(refused.value) or "csv" in str(refused.value)


def test_another_schema_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "concepts.toml"
    path.write_text("schema = 2\n[concepts.a]\nrule = 'female'\n")
    for where in (path, tmp_path / "none.toml"):
        with pytest.raises(EcglensError) as refused:
            load_concepts(where)
        assert refused.value.exit_code == 3
