# SPDX-License-Identifier: Apache-2.0
"""Published rules on measurements, as data that one can read and extend: met, not met, or cannot tell.

A rule is a line of text. Names are those of `measure` (`qrs_ms`, `r_mv[V5]`), `age` in years, `male` and `female`;
a wave that is not there counts 0, what could not be measured is unknown. Whatever hangs on something unknown cannot be
told; what is decided without it is (Kleene's logic). Amplitudes are signed: S and Q are negative. Besides `and`, `or`,
`not`, comparisons, sums, products, `abs`, `max` and `min` there are

    any_of(rule, V2, V3)   the rule, which says `[lead]`, holds in one of these leads
    all_of(rule, I, V6)    in all of these
    contiguous(rule)       in two leads next to each other on the body; with leads: of these
    lowest(x, V1, V6)      the smallest, and `highest` the largest, of an expression over leads

>>> from ecglens import simulate_ecg
>>> rule = Criterion("S_V1 + R_V5 or R_V6", "abs(s_mv[V1]) + max(r_mv[V5], r_mv[V6]) >= 3.5", "Sokolow 1949")
>>> rule.variables
('r_mv[V5]', 'r_mv[V6]', 's_mv[V1]')
>>> rule.decide({"s_mv[V1]": -1.4, "r_mv[V5]": 2.2, "r_mv[V6]": 1.0}).met
True
>>> rule.decide({"s_mv[V1]": -1.4, "r_mv[V5]": 2.2}).missing
('r_mv[V6]',)
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from ecglens.ecg import ECG
from ecglens.errors import UsageError
from ecglens.leads import STANDARD_LEADS
from ecglens.waveform.measurements import LEAD, WHOLE, Measurements

Value = float | bool | None

# Leads that look at the heart from neighbouring places.
NEIGHBOURS = (
    ("aVL", "I"), ("II", "aVF"), ("aVF", "III"), ("II", "III"), ("V1", "V2"), ("V2", "V3"), ("V3", "V4"),
    ("V4", "V5"), ("V5", "V6"),
)  # fmt: skip
_PEOPLE = ("age", "male", "female")


@dataclass(frozen=True)
class Decision:
    """What became of a rule: met (True), not met (False) or cannot tell (None).

    because  the measurements that the rule read, by name
    missing  those among them that are unknown
    """

    met: bool | None
    because: Mapping[str, float] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Criterion:
    """One rule: what it says in words, the rule, and who published it. Raises UsageError for a rule with a mistake."""

    about: str
    rule: str
    source: str

    def __post_init__(self) -> None:
        _ = self.variables  # a mistake shows here, not at the first record

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of what the rule may read, in alphabetical order."""
        reader = _Reader(self.rule, dict.fromkeys(_all_names(), 1.0), everything=True)
        reader.value()
        return tuple(sorted(reader.read))

    def decide(self, values: Mapping[str, float | None]) -> Decision:
        """Decide on values by name; a name that is not there, or None, is unknown."""
        reader = _Reader(self.rule, values)
        met = reader.value()
        known = {name: float(value) for name, value in reader.read.items() if value is not None}
        missing = tuple(sorted(name for name, value in reader.read.items() if value is None))
        return Decision(None if met is None else bool(met), known, missing)


def decide_all(
    ecg: ECG, measurements: Measurements, criteria: Mapping[str, Criterion] | None = None
) -> dict[str, Decision]:
    """Decide all `criteria` (those of `CRITERIA` by default) for one ECG; age and sex are those of its metadata.

    Raises nothing: where age or sex is unknown, what hangs on it cannot be told.
    """
    values = values_of(ecg, measurements)
    return {name: rule.decide(values) for name, rule in (CRITERIA if criteria is None else criteria).items()}


def values_of(ecg: ECG, measurements: Measurements) -> dict[str, float | None]:
    """Return all that rules may read of one ECG, by name: a wave that is not there is 0, the unknown None."""
    values: dict[str, float | None] = {name: found.value for name, found in measurements.whole.items()}
    for lead, table in measurements.leads.items():
        for name, found in table.items():
            values[f"{name}[{lead}]"] = 0.0 if found.status == "none" else found.value
    age, sex = ecg.metadata.get("age"), ecg.metadata.get("sex")
    values["age"] = None if age is None or age != age else float(age)
    for name in ("male", "female"):
        values[name] = float(sex == name) if sex in ("male", "female") else None
    return values


# --------------------------------------------------------------------------------------------------------- the language


@lru_cache(maxsize=512)
def _parsed(rule: str) -> ast.expr:
    try:
        return ast.parse(rule.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UsageError("Criterion", "rule", rule, "an expression such as qrs_ms >= 120 and r_mv[V5] > 2") from None


@lru_cache(maxsize=1)
def _all_names() -> frozenset[str]:
    return frozenset((*WHOLE, *_PEOPLE, *(f"{name}[{lead}]" for name in LEAD for lead in STANDARD_LEADS)))


_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
}  # fmt: skip
_COMPARISONS: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_PLAIN: dict[str, Callable[..., float]] = {"abs": abs, "max": max, "min": min}
_OVER_LEADS = ("any_of", "all_of", "contiguous", "lowest", "highest")


class _Reader:
    """Works out one rule on one set of values; only the few kinds of expression listed here are understood."""

    def __init__(self, rule: str, values: Mapping[str, float | None], everything: bool = False) -> None:
        self.rule, self.values, self.everything = rule, values, everything
        self.read: dict[str, float | None] = {}

    def value(self) -> Value:
        return self._of(_parsed(self.rule), None)

    def _of(self, node: ast.expr, lead: str | None) -> Value:
        if isinstance(node, ast.BoolOp):
            return self._logic(node, lead)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            told = self._of(node.operand, lead)
            return None if told is None else not told
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            number = self._of(node.operand, lead)
            return None if number is None else -number
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            a, b = self._of(node.left, lead), self._of(node.right, lead)
            return None if a is None or b is None else _ARITHMETIC[type(node.op)](a, b)
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARISONS:
            a, b = self._of(node.left, lead), self._of(node.comparators[0], lead)
            return None if a is None or b is None else _COMPARISONS[type(node.ops[0])](a, b)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            return self._call(node.func.id, node.args, lead)
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return float(node.value)  # type: ignore[arg-type]
        return self._variable(node, lead)

    def _logic(self, node: ast.BoolOp, lead: str | None) -> bool | None:
        decided = isinstance(node.op, ast.Or)  # what one part alone decides
        told: list[Value] = []
        for part in node.values:
            told.append(self._of(part, lead))
            if told[-1] is not None and bool(told[-1]) == decided and not self.everything:
                return decided
        return _kleene(told, decided)

    def _call(self, name: str, arguments: list[ast.expr], lead: str | None) -> Value:
        if name in _PLAIN and arguments:
            numbers = [self._of(argument, lead) for argument in arguments]
            known = [number for number in numbers if number is not None]
            return _PLAIN[name](*known) if len(known) == len(numbers) else None
        if name not in _OVER_LEADS or not arguments or lead is not None:
            self._refuse(f"{name}(...)")
        leads = [argument.id for argument in arguments[1:] if isinstance(argument, ast.Name)]
        if len(leads) != len(arguments) - 1 or not set(leads) <= set(STANDARD_LEADS):
            self._refuse("leads of " + name)
        if name == "contiguous":
            return self._contiguous(arguments[0], leads or list(STANDARD_LEADS))
        told = [self._of(arguments[0], one) for one in leads]
        if name in ("lowest", "highest"):
            known = [number for number in told if number is not None]
            return (min if name == "lowest" else max)(known) if known and len(known) == len(told) else None
        return _kleene(told, name == "any_of")

    def _contiguous(self, rule: ast.expr, leads: list[str]) -> bool | None:
        told = {lead: self._of(rule, lead) for lead in leads}
        pairs = [pair for pair in NEIGHBOURS if pair[0] in told and pair[1] in told]
        return _kleene([_kleene([told[a], told[b]], False) for a, b in pairs], True)

    def _variable(self, node: ast.expr, lead: str | None) -> Value:
        name = ""
        if isinstance(node, ast.Name):
            name = node.id
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and isinstance(node.slice, ast.Name):
            name = f"{node.value.id}[{lead if node.slice.id == 'lead' and lead else node.slice.id}]"
        if name not in _all_names():
            self._refuse(name or ast.unparse(node))
        self.read[name] = self.values.get(name)
        return self.read[name]

    def _refuse(self, found: str) -> None:
        raise UsageError(
            "Criterion", "rule", f"{found} in {self.rule}",
            f"{', '.join(WHOLE)}, {', '.join(_PEOPLE)}, {', '.join(LEAD)} of a lead, "
            f"{', '.join((*_PLAIN, *_OVER_LEADS))}, comparisons, and, or, not, sums and products",
        )  # fmt: skip


def _kleene(told: list[Value], decided: bool) -> bool | None:
    """Return `decided` where one is, the opposite where all are, else None: or (decided True), and (False)."""
    if any(one is not None and bool(one) == decided for one in told):
        return decided
    return None if any(one is None for one in told) else not decided


# ------------------------------------------------------------------------------------------------------------ the rules

_MI4 = "Thygesen et al. 2018, Fourth universal definition of myocardial infarction"
_LBBB = "Surawicz et al. 2009, AHA/ACCF/HRS recommendations, part III"
_QPEAK = (
    "contiguous(qs_mv[lead] < 0 or (q_ms[lead] >= 30 and q_mv[lead] <= -0.1), I, aVL)"
    " or contiguous(qs_mv[lead] < 0 or (q_ms[lead] >= 30 and q_mv[lead] <= -0.1), II, III, aVF)"
    " or contiguous(qs_mv[lead] < 0 or (q_ms[lead] >= 30 and q_mv[lead] <= -0.1), V4, V5, V6)"
)
_V2V3 = "any_of(q_ms[lead] > 20 or qs_mv[lead] < 0, V2, V3)"
_RPEAK = "qrs_ms < 120 and all_of(r_ms[lead] > 40 and r_mv[lead] > abs(s_mv[lead]) and t_mv[lead] > 0, V1, V2)"
_SV1 = "max(abs(s_mv[V1]), abs(qs_mv[V1]))"
_SV3 = "max(abs(s_mv[V3]), abs(qs_mv[V3]))"
_SOKOLOW = f"{_SV1} + max(r_mv[V5], r_mv[V6]) >= 3.5"

# Name -> rule. The first thirteen are the concepts of xai4ecg, as their sources have them; docs/methods/criteria.md
# lists what was corrected. Extend: `CRITERIA | {"MY-RULE": Criterion(...)}`.
CRITERIA: dict[str, Criterion] = {
    "RS-LVH": Criterion(
        "R or S of 2 mV or more in a limb lead",
        "any_of(r_mv[lead] >= 2.0 or s_mv[lead] <= -2.0 or qs_mv[lead] <= -2.0, I, II, III, aVL, aVF)",
        "Romhilt and Estes 1968",
    ),
    "S12-LVH": Criterion(
        "S of 3 mV or more in V1 or V2",
        "any_of(s_mv[lead] <= -3.0 or qs_mv[lead] <= -3.0, V1, V2)", "Romhilt and Estes 1968",
    ),
    "R56-LVH": Criterion(
        "R of 3 mV or more in V5 or V6", "any_of(r_mv[lead] >= 3.0, V5, V6)", "Romhilt and Estes 1968"
    ),
    "QRS-LVH": Criterion("QRS of 90 ms or more", "qrs_ms >= 90", "Romhilt and Estes 1968"),
    "LI-LVH": Criterion(
        "Lewis index above 1.6 mV",
        "r_mv[I] + max(abs(s_mv[III]), abs(qs_mv[III])) - r_mv[III] - max(abs(s_mv[I]), abs(qs_mv[I])) > 1.6",
        "Lewis 1914",
    ),
    "SLI-LVH": Criterion("S in V1 and the larger R of V5 and V6: 3.5 mV or more", _SOKOLOW, "Sokolow and Lyon 1949"),
    "QRS-CLBBB": Criterion("QRS of 120 ms or more", "qrs_ms >= 120", _LBBB),
    "ST-ELEV-MI": Criterion(
        "J point up in two contiguous leads: 0.1 mV; V2, V3: men below 40 years 0.25, other men 0.2, women 0.15 mV",
        "contiguous(st_j_mv[lead] >= 0.1, I, II, III, aVL, aVF) or contiguous(st_j_mv[lead] >= 0.1, V4, V5, V6)"
        " or all_of(st_j_mv[lead] >= 0.15 * female + 0.2 * male + 0.05 * male * (age < 40), V2, V3)"
        " or (st_j_mv[V1] >= 0.1 and st_j_mv[V2] >= 0.15 * female + 0.2 * male + 0.05 * male * (age < 40))"
        " or (st_j_mv[V4] >= 0.1 and st_j_mv[V3] >= 0.15 * female + 0.2 * male + 0.05 * male * (age < 40))",
        _MI4,
    ),
    "ST-DEPR-MI": Criterion(
        "ST 0.05 mV down at J and 60 ms later, or T inverted by 0.1 mV with R > S, in two contiguous leads",
        "contiguous(st_j_mv[lead] <= -0.05 and st_60_mv[lead] <= -0.05)"
        " or contiguous(t_mv[lead] <= -0.1 and r_mv[lead] > abs(s_mv[lead]))", _MI4,
    ),
    "MI-QPeak": Criterion("Q of 30 ms and 0.1 mV, or QS, in two contiguous leads of a group", _QPEAK, _MI4),
    "MI-V2V3": Criterion("Q longer than 20 ms, or QS, in V2 or V3", _V2V3, _MI4),
    "MI-RPeak": Criterion(
        "R above 40 ms, R > S and T upright in V1 and V2, no conduction defect", _RPEAK, _MI4,
    ),
    "MI-All": Criterion("any of the three signs of old infarction", f"({_QPEAK}) or {_V2V3} or ({_RPEAK})", _MI4),
    "CLBBB": Criterion(
        "QRS of 120 ms, V1 negative, no Q in I, V5, V6",
        f"qrs_ms >= 120 and {_SV1} > 2 * r_mv[V1] and all_of(q_mv[lead] > -0.05 and qs_mv[lead] > -0.05, I, V6)"
        " and r_mv[V6] > 0 and r2_mv[V1] < 0.1", _LBBB,
    ),
    "CRBBB": Criterion(
        "QRS of 120 ms, late R in V1 or V2, S of 40 ms in I and V6",
        "qrs_ms >= 120 and (any_of(r2_mv[lead] >= 0.1, V1, V2) or r_ms[V1] >= 60) and all_of(s_ms[lead] >= 40, I, V6)",
        _LBBB,
    ),
    "LAFB": Criterion(
        "axis -45 to -90 degrees, qR in aVL, QRS below 120 ms",
        "-90 <= qrs_axis_deg and qrs_axis_deg <= -45 and qrs_ms < 120 and r_mv[aVL] > abs(s_mv[aVL])"
        " and q_mv[aVL] < 0", _LBBB,
    ),
    "1AVB": Criterion("PR above 200 ms", "pr_ms > 200", _LBBB),
    "WPW": Criterion("PR below 120 ms and QRS of 110 ms or more", "pr_ms < 120 and qrs_ms >= 110", _LBBB),
    "CORNELL-LVH": Criterion(
        "R in aVL and S in V3 above 2.8 mV (men), 2.0 mV (women)",
        f"r_mv[aVL] + {_SV3} > 2.8 * male + 2.0 * female", "Casale et al. 1987",
    ),
    "RVH": Criterion(
        "axis of 90 degrees or more, R > S in V1, R of 0.6 mV or more",
        "qrs_ms < 120 and (qrs_axis_deg >= 90 or qrs_axis_deg <= -150) and r_mv[V1] >= 0.6"
        " and r_mv[V1] > abs(s_mv[V1])", "Hancock et al. 2009, AHA/ACCF/HRS recommendations, part V",
    ),
    "LAE": Criterion("terminal force of P in V1 of 4 mV ms", "p_terminal_force_mvms >= 4", "Morris et al. 1964"),
    "LVOLT": Criterion(
        "R to S below 0.5 mV in all limb leads",
        "highest(max(r_mv[lead], r2_mv[lead]) + max(abs(q_mv[lead]), abs(s_mv[lead]), abs(qs_mv[lead])),"
        " I, II, III, aVR, aVL, aVF) < 0.5", "Hancock et al. 2009, part V",
    ),
    "LQT": Criterion(
        "QTc (Fridericia) of 450 ms (men), 460 ms (women) or more",
        "qtc_fridericia_ms >= 450 * male + 460 * female", "Rautaharju et al. 2009, part IV",
    ),
    "BRADY": Criterion("below 60 per minute", "heart_rate_bpm < 60", "common usage"),
    "TACHY": Criterion("above 100 per minute", "heart_rate_bpm > 100", "common usage"),
    "LAD": Criterion("QRS axis beyond -30 degrees", "qrs_axis_deg < -30 and qrs_axis_deg >= -90", _LBBB),
    "RAD": Criterion("QRS axis beyond 90 degrees", "qrs_axis_deg > 90", _LBBB),
}  # fmt: skip
