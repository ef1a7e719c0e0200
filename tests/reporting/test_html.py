# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from ecglens.ecg import ECG
from ecglens.errors import Finding
from ecglens.explanation import Explanation
from ecglens.leads import STANDARD_LEADS
from ecglens.plotting.curves import plot_roc
from ecglens.plotting.style import figure_bytes
from ecglens.report import Figure, Report, Section, Table
from ecglens.reporting.html import render, write_report
from ecglens.reporting.record import record_report
from ecglens.shares import lead_sentence

HOSTILE = "\"><script>window.pwned=1</script><img src=x onerror='window.pwned=1'>&amp;\x00\u202e\udc80"
CHROMIUM = Path("/usr/bin/chromium")
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def make_ecg(record_id="r1", leads=STANDARD_LEADS):
    rng = np.random.default_rng(0)
    return ECG(rng.normal(0, 0.1, (len(leads), 1000)).astype(np.float32), 100, leads, record_id)


def make_explanation(record_id="r1", leads=STANDARD_LEADS, target="MI", **changes):
    values = np.random.default_rng(1).normal(size=(len(leads), 1000)).astype(np.float32)
    values[min(7, len(leads) - 1)] *= 5
    given = {"resolution_ms": 50.0, "probability": 0.81, "unit": "logit"} | changes
    return Explanation(values, 100, leads, record_id, target, np.ones(1), (target,), "saliency", **given)


def hostile_report():
    leads = (HOSTILE, "V1", "V2")
    return record_report(
        make_ecg(HOSTILE, leads), [make_explanation(HOSTILE, leads, HOSTILE, parameters={HOSTILE: HOSTILE})],
        {HOSTILE: 0.8}, {HOSTILE: True}, {HOSTILE: 0.5}, [Finding(HOSTILE, "warning", HOSTILE, HOSTILE)],
        [(HOSTILE, HOSTILE)],
    )  # fmt: skip


def plain_report():
    curve = np.linspace(0, 1, 20)
    svg = Figure(figure_bytes(plot_roc({"MI": (curve, curve**0.3, "0.77")})), "ROC", "ROC curve of MI")
    png = Figure(figure_bytes(plot_roc({"MI": (curve, curve**0.3, "0.77")}), "png"), "ROC", "ROC curve of MI")
    wide = Table(tuple(f"Measure {i}" for i in range(12)), (tuple("0.89 [0.87, 0.91]" for _ in range(12)),), "Wide")
    mixed = Table(("Class", "AUROC", "Note"), (("MI", "0.89 [0.87, 0.91]", "3 of 4"), ("CD", "not tested", "-")))
    sections = tuple(
        Section(f"Part {i}", "So it is.", (svg, png), (wide, mixed), ("Text.",), "Like this.") for i in range(4)
    )
    return Report("Run", "Three thousand ECGs", sections, [("seed", "0")])


@pytest.fixture(scope="module", params=["record", "hostile", "plain"])
def page_text(request):
    record = record_report(
        make_ecg(), [make_explanation(), make_explanation(verdict="fails", target="CD")], {"MI": 0.81, "CD": 0.1},
        {"MI": True, "CD": False}, {"MI": 0.44, "CD": 0.3}, (), (("ecglens", "0.1.0"),),
    )  # fmt: skip
    return render({"record": record, "hostile": hostile_report(), "plain": plain_report()}[request.param])


def test_page_is_well_formed_and_asks_nobody_for_anything(page_text):
    page = Page(page_text)
    names = [tag for tag, _ in page.tags]
    assert not {"script", "iframe", "object", "embed", "link", "base", "form", "svg"} & set(names)
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "srcset", "action")]
        assert attributes.get("src", "data:").startswith("data:image/") if tag == "img" else "src" not in attributes
        assert attributes.get("href", "#").startswith("#")
        if tag == "img":
            assert attributes["alt"]
            assert int(attributes["width"]) > 100 < int(attributes["height"]) * 10
    outside_data = re.sub(r"data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+", "", page_text)
    assert not re.search(r"https?:|//|url\(|@import", outside_data)


def test_policy_language_viewport_and_footer(page_text):
    page = Page(page_text)
    metas = [attributes for tag, attributes in page.tags if tag == "meta"]
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert {"http-equiv": "Content-Security-Policy", "content": policy} in metas
    assert any(meta.get("name") == "viewport" for meta in metas)
    assert ("html", {"lang": "en"}) in page.tags
    assert page_text.count("Research software, not a medical device.") == 1
    assert page_text.index("Content-Security-Policy") < page_text.index("<style>")


def test_hostile_strings_arrive_as_text():
    text = render(hostile_report())
    assert "<script" not in text
    assert "<img src=x" not in text
    assert "\x00" not in text
    assert "\u202e" not in text
    assert "window.pwned=1" in "".join(Page(text).words)
    text.encode("utf-8")


def test_contents_appear_from_four_sections():
    report = plain_report()
    assert "<nav" in render(report)
    assert "<nav" not in render(Report("Run", "", report.sections[:3]))


def test_numbers_stand_right_and_words_left():
    table = Table(
        ("Class", "AUROC", "n", "Note"), (("MI", "0.89 [0.87, 0.91]", "1,200", "x"), ("2", "", "\u22123", "y"))
    )
    text = render(Report("t", "s", (Section("a", tables=(table,)),)))
    heads = re.findall(r"<th scope=\"col\"( class=\"number\")?>", text)
    assert [bool(kind) for kind in heads] == [False, True, True, False]


def test_same_report_same_page_written_atomically(tmp_path):
    path = tmp_path / "page.html"
    write_report(plain_report(), path)
    assert path.read_text(encoding="utf-8") == render(plain_report())
    assert list(tmp_path.iterdir()) == [path]


def test_record_page_says_it_in_order_and_in_words():
    report = record_report(
        make_ecg(), [make_explanation(), make_explanation(target="CD", verdict="fails")], {"CD": 0.1, "MI": 0.81},
        {"MI": True, "CD": False}, {"MI": 0.44}, [Finding("gain", "note", "gain assumed")], (),
    )  # fmt: skip
    titles = [section.title for section in report.sections]
    assert titles == [
        "The ECG", "What the network says", "Side by side", "Explanation of MI: saliency",
        "Explanation of CD: saliency", "Limits",
    ]  # fmt: skip
    ecg, says, both, mi, cd, limits = report.sections
    assert both.conclusion.startswith("Maps of different targets may differ and all be right.")
    assert ecg.tables[0].rows == (("note", "all", "gain assumed"),)
    assert says.conclusion == "Above its threshold: MI 0.810."
    assert says.tables[0].rows == (("MI", "0.810", "0.440", "present"), ("CD", "0.100", "", "absent"))
    assert mi.conclusion.startswith("V2 (")
    assert "each of the 12 leads would carry 8.3%" in mi.conclusion
    assert "not tested on this model" in mi.text[0]
    assert "50 ms" in mi.text[0]
    assert "failed the audit" in cd.conclusion
    assert cd.text[0].startswith("V2 (")
    assert limits.text


def test_maps_of_one_target_are_compared_by_their_largest_lead():
    one, other = make_explanation(), make_explanation(parameters={"together": True})
    moved = replace(one, values=one.values[::-1].copy(), method="lrp")

    def conclusion(*maps):
        report = record_report(make_ecg(), maps, {}, {}, {}, (), ())
        return next(s.conclusion for s in report.sections if s.title == "Side by side")

    assert conclusion(one, replace(one, method="lrp")).startswith("All 2 maps that tell leads apart have their largest")
    assert conclusion(one, moved).startswith("No two of 2 maps")
    assert conclusion(one, moved, replace(one, method="deeplift")).startswith("2 of 3 maps")
    assert conclusion(one, other).startswith("Maps that differ cannot all be right")


def test_attention_stands_beside_what_hiding_leads_does():
    attention = make_explanation(unit="share of attention", warnings=("is the same for every target",))
    attention = replace(attention, values=np.abs(attention.values))
    zero = replace(attention, method="occlusion_lead_zero", unit="logit", values=attention.values * 2)
    together = replace(zero, method="occlusion_lead", values=-attention.values, parameters={"together": True})
    report = record_report(make_ecg(), [attention], {}, {}, {}, (), (), hidden=[zero, together])
    section = next(s for s in report.sections if s.title == "Hiding whole leads: MI")
    sums = dict(zip(attention.leads, attention.values.sum(axis=1).tolist(), strict=True))
    top = max(sums, key=sums.__getitem__)
    assert f"hiding {top} lowers it by {2 * sums[top]:.2f} (occlusion_lead_zero)" in section.conclusion
    cells = {row[0]: row[1:] for row in section.tables[0].rows}
    assert cells["V2"][1:] == (f"{2 * sums['V2']:+.2f}", f"{-sums['V2']:+.2f}")
    limb = -sum(sums[lead] for lead in STANDARD_LEADS[:6])
    assert cells["limb leads"][1:] == ("", f"{limb:+.2f}")
    assert cells["II"][2] == ""
    assert "+1.00 (occlusion_lead_zero)" in section.text[0]
    explained = next(s for s in report.sections if s.title == "Explanation of MI: saliency")
    assert "Warning: this map is the same for every target." in explained.text
    assert any("speaks for nothing" in line for line in explained.text)


def test_lead_sentences():
    flat = Explanation(np.ones((12, 5), np.float32), 100, STANDARD_LEADS, "r", "MI", np.ones(1), ("MI",), "saliency")
    assert lead_sentence(flat).startswith("No lead stands out: the largest share is 8%")
    empty = Explanation(np.zeros((2, 5), np.float32), 100, ("I", "II"), "r", "MI", np.ones(1), ("MI",), "saliency")
    assert "empty" in lead_sentence(empty)
    assert "every lead the same map" in lead_sentence(make_explanation(resolves_leads=False))
    assert lead_sentence(make_explanation(leads=("II",))) == "The network sees II only."


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_real_browser_opens_it_alone(page_text, scheme, tmp_path):
    if not CHROMIUM.exists():
        pytest.fail(f"no browser at {CHROMIUM}: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    path = tmp_path / "page.html"
    path.write_text(page_text, encoding="utf-8")
    requests, complaints = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 375, "height": 800}, color_scheme=scheme)
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_function("[...document.images].every(image => image.complete)")
        for summary in page.locator("summary").all():
            summary.click()
        assert page.evaluate("window.pwned") is None
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        assert page.evaluate("document.images.length") >= 2
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        paper, background = page.evaluate(
            "[getComputedStyle(document.images[0]).backgroundColor, getComputedStyle(document.body).backgroundColor]"
        )
        browser.close()
    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]
    assert complaints == []
    assert paper == "rgb(255, 252, 248)"
    assert (background == paper) == (scheme == "light")


def test_the_page_says_what_speaks_against_a_map():
    ecg = make_ecg()
    odd = make_explanation(
        warnings=("does not add up: 0.2 of 1 logit is missing",), completeness_gap=0.2, parameters={"together": True}
    )
    page = render(record_report(ecg, [odd], {}, {}, {}, (), ()))
    assert "this map does not add up: 0.2 of 1 logit is missing" in page
    assert "limb leads were hidden together" in page
    assert "miss the logit by 0.2" in page
    against_zero = render(record_report(ecg, [replace(odd, baseline="0")], {}, {}, {}, (), ()))
    assert "change from the baseline by 0.2" in against_zero
    assert "hidden together" not in render(record_report(ecg, [make_explanation()], {}, {}, {}, (), ()))
