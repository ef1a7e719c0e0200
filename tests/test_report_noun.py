# SPDX-License-Identifier: Apache-2.0
"""The promises of Report: plain, frozen data whose tables are rectangular and whose pictures are what they say."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError

import pytest

from ecglens.errors import UsageError
from ecglens.report import Figure, Report, Section, Table


def test_table_is_rectangular():
    assert Table(("class", "AUROC"), (("MI", "0.91"),)).rows == (("MI", "0.91"),)
    with pytest.raises(UsageError, match="1 cells; allowed: 2 columns"):
        Table(("class", "AUROC"), (("MI", "0.91"), ("CD",)))


@pytest.mark.parametrize(
    ("image", "kind"),
    [(b"\x89PNG\r\n\x1a\n...", "image/png"), (b"<svg/>", "image/svg+xml"), (b"<?xml?>\n<svg>", "image/svg+xml")],
)
def test_figure_knows_its_kind_from_its_bytes(image, kind):
    assert Figure(image, "caption", "alt").media_type == kind


@pytest.mark.parametrize("image", [b"", b"GIF89a", b"\x89PNG", b" " * 1000 + b"<svg>"])
def test_figure_of_another_kind_is_refused(image):
    with pytest.raises(UsageError, match="neither PNG nor SVG"):
        _ = Figure(image, "caption", "alt").media_type


def test_report_is_frozen_plain_data():
    table = Table(("a",), (("1",),))
    report = Report("Title", "line", (Section("One", "It holds.", tables=(table,)),), [("seed", "0")])
    again = pickle.loads(pickle.dumps(report))
    assert again == report
    with pytest.raises(FrozenInstanceError):
        report.title = "x"
    with pytest.raises(FrozenInstanceError):
        report.sections[0].conclusion = "x"
