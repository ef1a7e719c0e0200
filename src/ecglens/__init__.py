# SPDX-License-Identifier: Apache-2.0
"""ecglens: train, explain, audit and safely share deep-learning models for ECGs.

Research software, not a medical device.

Names are loaded when they are first used, so that importing ecglens touches neither disk, network nor torch.
`__init__.pyi` lists the same names for type checkers and editors.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Attribution": "ecglens.explanation",
    "Audit": "ecglens.auditing.audit",
    "Averaging": "ecglens.aggregation.glocal",
    "Batch": "ecglens.cohort",
    "Bundle": "ecglens.bundle",
    "CRITERIA": "ecglens.waveform.criteria",
    "Cohort": "ecglens.cohort",
    "CohortExplanation": "ecglens.explanation",
    "Concept": "ecglens.concepts.definition",
    "ConceptTest": "ecglens.concepts.result",
    "Criterion": "ecglens.waveform.criteria",
    "Decision": "ecglens.waveform.criteria",
    "Directions": "ecglens.concepts.answers",
    "ECG": "ecglens.ecg",
    "EcglensError": "ecglens.errors",
    "Evaluation": "ecglens.prediction.evaluate",
    "ExplainedCohort": "ecglens.explainers.explained",
    "Explanation": "ecglens.explanation",
    "Fiducials": "ecglens.fiducials",
    "Figure": "ecglens.report",
    "Finding": "ecglens.errors",
    "Glocal": "ecglens.aggregation.glocal",
    "Identified": "ecglens.privacy.identify",
    "LabelMap": "ecglens.datasets.label_map",
    "Measured": "ecglens.waveform.measurements",
    "Measurements": "ecglens.waveform.measurements",
    "Output": "ecglens.bundle",
    "Prediction": "ecglens.prediction.predict",
    "Preprocessing": "ecglens.preprocessing.pipeline",
    "PtbxlPlus": "ecglens.datasets.ptbxl_plus",
    "RPeaks": "ecglens.waveform.rpeaks",
    "Recipe": "ecglens.training.recipes",
    "Report": "ecglens.report",
    "Run": "ecglens.runs.run",
    "STANDARD_LEADS": "ecglens.leads",
    "Section": "ecglens.report",
    "Segmented": "ecglens.concepts.state_result",
    "Shares": "ecglens.shares",
    "Table": "ecglens.report",
    "WaveMap": "ecglens.waveform.wave_map",
    "aggregate": "ecglens.aggregation.glocal",
    "audit": "ecglens.auditing.audit",
    "audit_report": "ecglens.reporting.audit",
    "build_run_report": "ecglens.reporting.run",
    "concepts_report": "ecglens.reporting.concepts",
    "decide_all": "ecglens.waveform.criteria",
    "delineate": "ecglens.waveform.delineate",
    "detect_r_peaks": "ecglens.waveform.rpeaks",
    "evaluate": "ecglens.prediction.evaluate",
    "explain": "ecglens.explainers.explain",
    "explain_cohort": "ecglens.explainers.cohort",
    "find_duplicates": "ecglens.datasets.duplicates",
    "find_verdicts": "ecglens.auditing.verdicts",
    "glocal_report": "ecglens.reporting.glocal",
    "identification_report": "ecglens.reporting.identification",
    "identify": "ecglens.privacy.identify",
    "learning_curve": "ecglens.training.learning_curve",
    "load_butqdb": "ecglens.datasets.butqdb",
    "load_challenge2021": "ecglens.datasets.challenge2021",
    "load_chfdb": "ecglens.datasets.chfdb",
    "load_cinc2011": "ecglens.datasets.cinc2011",
    "load_code15": "ecglens.datasets.code15",
    "load_cohort": "ecglens.datasets.load",
    "load_concepts": "ecglens.concepts.definition",
    "load_ecgiddb": "ecglens.datasets.ecgiddb",
    "load_folder": "ecglens.datasets.folder",
    "load_label_map": "ecglens.datasets.label_map",
    "load_ltdb": "ecglens.datasets.ltdb",
    "load_ludb": "ecglens.datasets.ludb",
    "load_mitdb": "ecglens.datasets.mitdb",
    "load_ptbxl": "ecglens.datasets.ptbxl",
    "load_ptbxl_plus": "ecglens.datasets.ptbxl_plus",
    "map_segments": "ecglens.waveform.soft_segments",
    "map_waves": "ecglens.waveform.wave_map",
    "measure": "ecglens.waveform.measure",
    "measure_cohort": "ecglens.waveform.tabulate",
    "plot_ecg": "ecglens.plotting.ecg",
    "plot_explanation": "ecglens.plotting.attribution",
    "plot_explanations": "ecglens.plotting.side_by_side",
    "plot_lead_radar": "ecglens.plotting.shares",
    "plot_lead_shares": "ecglens.plotting.shares",
    "plot_lead_time": "ecglens.plotting.heat_map",
    "plot_segment_shares": "ecglens.plotting.shares",
    "plot_waves": "ecglens.plotting.waves",
    "predict": "ecglens.prediction.predict",
    "read": "ecglens.formats.read",
    "read_annotations": "ecglens.formats.delineations",
    "recipe_for": "ecglens.training.recipes",
    "record_report": "ecglens.reporting.record",
    "render": "ecglens.reporting.html",
    "segment_states": "ecglens.concepts.state_study",
    "share_out": "ecglens.shares",
    "simulate_cohort": "ecglens.simulation.cohort",
    "simulate_ecg": "ecglens.simulation.cohort",
    "study_concepts": "ecglens.concepts.study",
    "states_report": "ecglens.reporting.states",
    "train": "ecglens.training.train",
    "where_sentence": "ecglens.shares",
    "write_dicom": "ecglens.formats.dicom_writer",
    "write_report": "ecglens.reporting.html",
    "write_wfdb": "ecglens.formats.wfdb",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ecglens' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
