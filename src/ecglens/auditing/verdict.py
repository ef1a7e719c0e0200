# SPDX-License-Identifier: Apache-2.0
"""The rules by which an explanation method passes or fails on a model. All that decides stands in this file.

The rules and their thresholds were written down before any model was audited, and nothing here was fitted to results.
One figure was exchanged after a rehearsal on a toy network, before any audit: planted truth was first scored by the
share of the map that lies inside the evidence. That share is not the same for a map and for its square, so that
comparing a gradient with a squared signal compared two scales; the rank asks only where the largest values are.

A method passes where all four hold, each with a 95 % interval by patient bootstrap on the far side of its threshold:

planted        On networks whose evidence is known, more of the map's strongest places lie inside it than of the
               squared signal's: of as many places as the evidence has, the share that is evidence (relevance rank). Why
               not just "more than by chance": lesions sit in QRS and T, where any picture of the waves is drawn, too.
deletion       Hiding first what the map marks makes the logit fall faster than hiding in random order, whatever is put
               in place. Why every filler: a fall that comes with one of them only is the filler's doing.
randomization  Once the weights are drawn anew the map is another one: the rank correlation of |map| before and after
               stays below one half. Why one half: then less than a quarter of the ranks' variance is shared, and most
               of what the picture shows is due to what the network learnt.
temporal       Of a network that reads the amplitude of P, R or T, the mean map of a beat is largest inside that very
               wave (Wagner et al. 2023, the rule by which saliency was chosen there).

A rule that could not be tested is not passed. A method with such a rule is "not tested", whatever the others say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ecglens.explanation import NOT_TESTED

On = Literal["weights", "twins"]


@dataclass(frozen=True)
class Rule:
    """One of the four: what it is called, on what it is judged, which side of the threshold passes.

    figure   what is measured, in words
    chance   what a map that knows nothing would get
    """

    name: str
    on: On
    figure: str
    threshold: float
    above: bool
    chance: float | None


RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule("planted", "twins", "strongest places that are evidence, less those of the energy", 0.0, True, None),
        Rule("deletion", "weights", "fall of the logit beyond random order, the worst of all fillers", 0.0, True, 0.0),
        Rule("randomization", "weights", "rank correlation of |map| with that of redrawn weights", 0.5, False, 0.0),
        Rule("temporal", "twins", "peak inside the regressed wave less the largest outside, the worst of P, R, T",
             0.0, True, 0.0),
    )
}  # fmt: skip

# Gates: below them there is nothing that a map could be true of, and what hangs on them is not tested.
KNOWS_ITS_TASK = 0.7  # macro AUROC, lower bound, of the bundle on the records it is asked about: a random one has 0.5
TWIN_KNOWS = 0.85  # macro AUROC of a twin on simulated people it has not seen
TWIN_MEASURES = 0.5  # mean over the leads of R2 by lead: over all leads together, knowing each lead's mean is enough
USES_SHORTCUT = 0.0  # fall of a twin's logit when the mark is taken away, lower bound
FEWEST_PATIENTS = 5  # behind a figure, or it has no interval worth the name


@dataclass(frozen=True)
class TestResult:
    """One figure of one method.

    on         "weights": the audited ones; "twins": networks of the same architecture trained for the test
    value, low, high   with a 95 % interval by patient bootstrap; None where it could not be tested
    chance     of a map that knows nothing
    threshold, passed  of the rules that decide; None for figures that are told beside them
    n          records (or maps) behind it; `n_patients` people
    reason     why it could not be tested
    """

    __test__ = False  # pytest is not meant

    on: On
    value: float | None = None
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    threshold: float | None = None
    passed: bool | None = None
    n: int = 0
    n_patients: int = 0
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return what stands in `audit.json`."""
        names = ("on", "value", "low", "high", "chance", "threshold", "passed", "n")
        told = {name: getattr(self, name) for name in names}
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in told.items()}


@dataclass(frozen=True)
class Verdict:
    """Of one method on one set of weights: "passes", "fails" or "not tested", why, and every figure behind it."""

    verdict: str
    reason: str
    tests: Mapping[str, TestResult] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return what stands in `audit.json`."""
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "tests": {name: result.as_dict() for name, result in self.tests.items()},
        }


def untested(on: On, reason: str, threshold: float | None = None, n: int = 0) -> TestResult:
    """Return the result of a test that could not be done, and why."""
    return TestResult(on, threshold=threshold, n=n, reason=reason)


def judge(rule: Rule, figure: TestResult) -> TestResult:
    """Return the figure with the rule's threshold, and whether its interval lies on the right side of it.

    >>> judge(RULES["randomization"], TestResult("weights", 0.2, 0.1, 0.3, n=20, n_patients=20)).passed
    True
    >>> judge(RULES["deletion"], TestResult("weights", 0.2, -0.1, 0.3, n=20, n_patients=20)).passed
    False
    >>> judge(RULES["deletion"], TestResult("weights", 0.2, 0.1, 0.3, n=3, n_patients=3)).reason
    '3 patients, fewer than 5'
    """
    told = {**vars(figure), "threshold": rule.threshold}
    bound = figure.low if rule.above else figure.high
    if figure.reason or figure.value is None:
        return TestResult(**told)
    if figure.n_patients < FEWEST_PATIENTS:
        return TestResult(**(told | {"reason": f"{figure.n_patients} patients, fewer than {FEWEST_PATIENTS}"}))
    if bound is None or not math.isfinite(bound):
        return TestResult(**(told | {"reason": "no interval"}))
    passed = bound > rule.threshold if rule.above else bound < rule.threshold
    return TestResult(**(told | {"passed": passed}))


def decide(tests: Mapping[str, TestResult]) -> Verdict:
    """Return the verdict over all tests of a method, of which those named in `RULES` decide.

    A test named like a rule with a suffix (`temporal_real`) is that rule on other data: it must hold as well, where
    twins could learn from these data at all. What they could not learn is not held against a method.

    >>> good = {name: TestResult(rule.on, passed=True) for name, rule in RULES.items()}
    >>> decide(good).verdict, decide(good | {"deletion": TestResult("weights", passed=False)}).reason
    ('passes', 'fails deletion')
    >>> decide(good | {"temporal": untested("twins", "unlearnable")}).reason
    'not tested: temporal (unlearnable)'
    """
    deciding = {name: untested(rule.on, "not run") for name, rule in RULES.items()}
    deciding |= {name: tests[name] for name in RULES if name in tests}
    deciding |= {name: result for name, result in tests.items() if rule_of(name) and result.passed is not None}
    failed = [name for name, result in deciding.items() if result.passed is False]
    open_ = [f"{name} ({result.reason or 'no figure'})" for name, result in deciding.items() if result.passed is None]
    fails = f"fails {', '.join(failed)}" if failed else ""
    if open_:
        return Verdict(NOT_TESTED, "; ".join(filter(None, [f"not tested: {', '.join(open_)}", fails])), tests)
    if failed:
        return Verdict("fails", fails, tests)
    return Verdict("passes", "all four tests hold", tests)


def rule_of(test: str) -> Rule | None:
    """Return the rule that a test is judged by: the one whose name it has, or begins with."""
    return RULES.get(test) or RULES.get(test.removesuffix("_real"))


def best_method(verdicts: Mapping[str, Verdict]) -> str | None:
    """Return the method to use where none is asked for: of those that pass, the one that finds planted truth best.

    By the lower bound, since planted truth is the only one of the four figures that has a truth to compare with.
    """
    passing = {name: verdict.tests["planted"].low or 0.0 for name, verdict in verdicts.items()
               if verdict.verdict == "passes" and "planted" in verdict.tests}  # fmt: skip
    return max(passing, key=lambda name: (passing[name], name)) if passing else None
