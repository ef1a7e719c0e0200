# SPDX-License-Identifier: Apache-2.0
"""The methods by name, and what has to be said of their maps."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass, replace

from torch import Tensor, nn

from ecglens.cohort import Batch
from ecglens.errors import UsageError
from ecglens.explainers.attention import attention, not_shown, receptive_field
from ecglens.explainers.baselines import energy, r_distance, random, slope
from ecglens.explainers.deeplift import deeplift
from ecglens.explainers.gradcam import gradcam, guided_gradcam, keeps_leads_apart, step_length
from ecglens.explainers.gradient import IntegratedGradients, SmoothGrad, gradient_x_input, guided_backprop, saliency
from ecglens.explainers.lrp import LRP
from ecglens.explainers.perturbation import LEAD, SEGMENT, Hiding, Occlusion, Shapley
from ecglens.explanation import Attribution
from ecglens.shapes import Targets

Explainer = Callable[[nn.Module, Batch, Targets], Attribution]
BEATS, WAVES = "beats", "waves"  # marks that a method may need: R peaks, or P, QRS and T with their borders


@dataclass(frozen=True)
class Method:
    """An explainer and what has to be said of its maps.

    explainer       a function, or a frozen dataclass whose fields are its parameters
    unit            of its values
    resolution      samples of the network's grid below which it cannot tell instants apart, or a function of the
                    network and a window; methods that hide regions say it themselves
    resolves_leads  whether it can tell leads apart, or such a function
    baseline        what absence means to it, None where it has none
    sees            "window": one window at a time, and the parts are added up; "record": the record as it is predicted
    by_layers       goes back by rules through layers: the linter looks at the network first, and of an average of
                    networks each member is explained by itself
    complete        promises to sum to f(x) - f(baseline)
    needs_beats     needs R peaks
    probability     how it explains a probability instead of a logit, see `output`; empty where it cannot
    not_shown       what maps of a network at a sampling rate do not show, to be read after "this map"
    name            for the linter and the maps; empty: that of the explainer
    """

    explainer: Explainer
    unit: str
    resolution: int | Callable[[nn.Module, Tensor], int] = 1
    resolves_leads: bool | Callable[[nn.Module, Tensor], bool] = True
    baseline: str | None = None
    sees: str = "window"
    by_layers: bool = False
    complete: bool = False
    needs_beats: bool = False
    probability: str = ""
    not_shown: Callable[[nn.Module, float], tuple[str, ...]] | None = None
    name: str = ""

    @property
    def title(self) -> str:
        """Its name, or else that of its explainer."""
        return self.name or str(getattr(self.explainer, "__name__", type(self.explainer).__name__)).lower()

    @property
    def parameters(self) -> dict[str, object]:
        """The explainer's parameters."""
        return dict(vars(self.explainer)) if is_dataclass(self.explainer) else {}

    @property
    def absence(self) -> str | None:
        """What absence means to it: its filler, where it has one."""
        return self.explainer.filler if isinstance(self.explainer, Hiding) else self.baseline

    @property
    def marks(self) -> str:
        """The marks it needs: `BEATS`, `WAVES`, or none."""
        hiding = self.explainer if isinstance(self.explainer, Hiding) else None
        if hiding is not None and hiding.by == SEGMENT:
            return WAVES
        return BEATS if self.needs_beats or (hiding is not None and hiding.filler == "median_beat") else ""

    def with_parameters(self, given: Mapping[str, str]) -> Method:
        """Return the method with other parameters, given as text; those it does not have are passed over.

        Raises UsageError for a value that a parameter cannot take.
        """
        own = self.parameters
        chosen = {name: _as(type(own[name]), name, text) for name, text in given.items() if name in own}
        return replace(self, explainer=replace(self.explainer, **chosen)) if chosen else self  # type: ignore[type-var]


def _as(kind: type, name: str, text: str) -> object:
    if kind is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise UsageError("explain", f"parameter {name}", text, "true, false")
    try:
        return kind(text)
    except ValueError:
        words = {int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        raise UsageError("explain", f"parameter {name}", text, words) from None


_GRADIENT, _LOGIT = "logit per unit of the prepared signal", "logit"
_OF_ITSELF = "nothing of the network"
POINT, PATH, ASK, ALIKE = "at the point", "along a path", "by asking", "alike"  # see `output`


def _hiding(explainer: Occlusion | Shapley) -> Method:
    complete = isinstance(explainer, Shapley)
    return Method(explainer, _LOGIT, sees="record", complete=complete, probability=ASK)


# The methods by name: one file and one line here adds another.
EXPLAINERS: dict[str, Method] = {
    "saliency": Method(saliency, _GRADIENT, probability=POINT),
    "smoothgrad": Method(SmoothGrad(), _GRADIENT),
    "gradient_x_input": Method(gradient_x_input, _LOGIT, probability=POINT),
    "integrated_gradients": Method(IntegratedGradients(), _LOGIT, baseline="0", complete=True, probability=PATH),
    "guided_backprop": Method(guided_backprop, _GRADIENT, by_layers=True, probability=POINT),
    "gradcam": Method(
        gradcam, "weighted activation", step_length, keeps_leads_apart, by_layers=True, probability=POINT
    ),
    "guided_gradcam": Method(guided_gradcam, "weighted activation x gradient", by_layers=True, probability=POINT),
    "deeplift": Method(deeplift, _LOGIT, baseline="0", by_layers=True, complete=True),
    "lrp": Method(LRP(), _LOGIT, by_layers=True),
    "lrp_z_plus": Method(LRP(z_plus=True), _LOGIT, by_layers=True),
    "occlusion": _hiding(Occlusion()),
    "occlusion_segment": _hiding(Occlusion(by=SEGMENT)),
    "occlusion_lead": _hiding(Occlusion(by=LEAD)),
    "occlusion_lead_zero": _hiding(Occlusion(by=LEAD, filler="zero", together=False)),
    "occlusion_lead_mean": _hiding(Occlusion(by=LEAD, filler="mean", together=False)),
    "shapley": _hiding(Shapley()),
    "attention": Method(attention, "share of attention", receptive_field, by_layers=True, not_shown=not_shown),
    "random": Method(random, _OF_ITSELF, probability=ALIKE),
    "energy": Method(energy, _OF_ITSELF, probability=ALIKE),
    "slope": Method(slope, _OF_ITSELF, probability=ALIKE),
    "r_distance": Method(
        r_distance, _OF_ITSELF, 1, False, sees="record", needs_beats=True, probability=ALIKE
    ),
}  # fmt: skip


def find_method(name: str) -> Method:
    """Return a method by name. Raises UsageError for an unknown one, with the nearest known one."""
    if name not in EXPLAINERS:
        near = difflib.get_close_matches(name, EXPLAINERS, 1)
        raise UsageError("explain", "method", name, ", ".join(EXPLAINERS), f"did you mean {near[0]}?" if near else "")
    return replace(EXPLAINERS[name], name=name)


def find_methods(names: str, given: Mapping[str, str] | None = None) -> list[Method]:
    """Return the methods of a list joined by comma, with these parameters where they have them.

    Raises UsageError for an unknown method or value, and for a parameter that none of the methods has.
    """
    methods = [find_method(name.strip()) for name in names.split(",")]
    known = list(dict.fromkeys(name for method in methods for name in method.parameters))
    for name in given or {}:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise UsageError(
                "explain", f"parameter of {names}", name, ", ".join(known) or "none",
                f"did you mean {near[0]}?" if near else "",
            )  # fmt: skip
    return list({method.name: method.with_parameters(given or {}) for method in methods}.values())
