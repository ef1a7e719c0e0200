# SPDX-License-Identifier: Apache-2.0
"""`find_subtypes`: a group of records in, its clusters, what they are and what labels say of them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecglens.bundle import Bundle
from ecglens.cohort import Cohort
from ecglens.concepts.state_people import sex_and_age
from ecglens.concepts.state_result import kept
from ecglens.concepts.subtype_beats import cells_that_differ, mean_beats
from ecglens.concepts.subtype_covariates import cluster_means, goes_with, largest_differences
from ecglens.concepts.subtype_vectors import BY, CALLED, Reader, Vectors, gather
from ecglens.concepts.subtypes import (
    KS,
    LEAST,
    Candidate,
    bic_of_one_normal,
    blind,
    reduce,
    scores,
    try_all,
    upper_bound,
)  # fmt: skip
from ecglens.errors import InputError, UsageError
from ecglens.prediction.evaluate import people_of
from ecglens.prediction.family import bundles_of
from ecglens.preprocessing.prepare import prepare
from ecglens.runs.cache import Cache
from ecglens.runs.draws import derived_seed
from ecglens.runs.files import read_json, write_json
from ecglens.runs.journal import Journal
from ecglens.runs.progress import Progress, silent
from ecglens.runs.run import Run, hash_of
from ecglens.statistics.figures import clean

RESULT, RECORDS, DIFFERENCES = "subtypes.json", "records", "differences"


@dataclass(frozen=True, eq=False)
class Subtyped:
    """A finished run of `find-subtypes`: the folder, and what its `subtypes.json` holds."""

    run: Run
    about: dict[str, Any]

    @classmethod
    def open(cls, folder: str | Path) -> Subtyped:
        """Open a finished run. Raises InputError where it is another one, or is not finished."""
        run = Run.finished(folder, "find-subtypes")
        return cls(run, read_json(run.folder / RESULT))

    def as_dict(self) -> dict[str, Any]:
        """Return the result as it stands in JSON output."""
        return self.about


def find_subtypes(
    tested: Bundle | Run,
    cohort: Cohort,
    group: NDArray[np.bool_],
    folder: str | Path,
    *,
    name: str,
    by: str = "attributions",
    truth: pd.Series | None = None,
    target: str = CALLED,
    ks: Sequence[int] = KS,
    seed: int = 0,
    resume: bool = False,
    arguments: Mapping[str, Any] | None = None,
    cache: Cache | None = None,
    progress: Progress = silent,
) -> Subtyped:
    """Cluster the records of a group, without labels, and write the run folder `folder`.

    tested  a bundle, or a family of folds: each record by the network that has not seen it
    cohort  of a family as `folds_of` returns it; group: bool [record], called `name`
    by      "attributions", "signals", "features"
    truth   sub-label of records, by record id, None or missing where it has none of those compared; the clusters are
            chosen without it
    target  the class whose logit is explained; "called": each record's highest
    resume  go on in the folder of the same call: what the networks said of the records is not asked again

    Raises InputError for a group of fewer than 30 records, LeakError where a network has seen one of them, and
    ContractError where a resumed run had other arguments.
    """
    if by not in BY:
        raise UsageError("find-subtypes", "--by", by, ", ".join(BY))
    chosen = cohort.where(group)
    _enough(name, len(chosen))
    told = dict(arguments or {}) | {
        "group": name, "by": by, "target": target, "ks": list(ks), "records_sha256": hash_of(list(chosen.record_ids)),
    }  # fmt: skip
    parts = [(tested, chosen)] if isinstance(tested, Bundle) else [(b, p) for _, b, p in bundles_of(tested, chosen)]
    told["weights_sha256"] = [bundle.weights_sha256 for bundle, _ in parts]
    run = Run(Path(folder))
    with run.writing():
        run = Run.create(run.folder, "find-subtypes", told, seed, resume)
        for bundle, part in parts:
            bundle.refuse_own_patients(cohort.name, part.patient_keys, ())
        prepared = prepare(chosen, parts[0][0].preprocessing, cache=cache, progress=progress)
        place = {record: i for i, record in enumerate(prepared.cohort.record_ids)}
        readers = [
            Reader(bundle, np.array([place[r] for r in part.record_ids if r in place], np.intp))
            for bundle, part in parts
        ]  # fmt: skip
        for reader in readers:  # a recording it was trained on may stand there under another patient
            reader.bundle.refuse_own_patients(cohort.name, (), [prepared.fingerprints[i] for i in reader.rows])
        asked = [reader for reader in readers if len(reader.rows)]
        with Journal(run.folder / "journal.sqlite") as journal:
            found = kept(run, journal, "vectors", lambda: vars(gather(asked, prepared, by, target, progress)))
        vectors = Vectors(**found)
        _enough(f"{name}, with beats", len(vectors.rows))
        used = prepared.cohort.take(vectors.rows)
        people = people_of(used)
        points = reduce(vectors.values)
        candidates = try_all(points, people, ks=ks, seed=seed)
        one_normal = bic_of_one_normal(points)
        best = blind(candidates, one_normal)
        known = _known(truth, used)
        excluded = [vars(entry) for entry in (*cohort.excluded, *prepared.excluded)]
        embedding = _embedded(points, seed)
        classes = parts[0][0].classes
        covariates = _covariates(used, vectors.probabilities, classes)
        differences = largest_differences(best.labels, covariates, people, seed)
        told_apart = [one | {"clusters": " > ".join(map(str, one["clusters"] or []))} for one in differences]
        run.write_table(DIFFERENCES, pd.DataFrame(told_apart))
        made_of = {
            what: goes_with(best.labels, other, people, seed)
            for what, other in (("network", vectors.networks), ("explained", vectors.targets))
        }
        _write(run, used, vectors, best, known, embedding, classes)
        means, bands = mean_beats(vectors.beats, best.labels, people, seed)
        run.write_array("beats", means)
        run.write_array("beats-band", bands)
        seen = vectors.values if vectors.values.ndim == 3 else vectors.beats
        cells = cells_that_differ(seen, best.labels, people, prepared.fs, parts[0][0].preprocessing.leads, seed)
        write_json(run.folder / RESULT, clean({
            "schema": 1, "by": by, "group": name, "target": target, "chosen": best.as_dict(),
            "bic_of_one_normal": one_normal,
            "components": points.shape[1],
            "clusters": _clusters(covariates, classes, best, people, seed), "differences": differences,
            "made_of": made_of,
            **_scored(candidates, best, known, people, seed), "grid": [one.as_dict() for one in candidates],
            "cells": cells, "records": str(run.folder / "tables" / f"{RECORDS}.csv"), "n": len(used),
            "n_patients": len(set(people)), "without_beats": len(prepared.cohort) - len(vectors.rows),
            "networks": len(readers), "label_rule": cohort.label_rule, "bundle": parts[0][0].name, "data": cohort.name,
            "excluded": excluded, "fs": prepared.fs, "leads": list(parts[0][0].preprocessing.leads),
        }))  # fmt: skip
        run.note(finished=True)
    return Subtyped.open(run.folder)


def _enough(name: str, n: int) -> None:
    if n < LEAST:
        raise InputError(
            "find-subtypes", f"records of {name}", n, f"{LEAST} or more", "choose a larger group, or --fold all",
            kind="too_few",
        )  # fmt: skip


def _known(truth: pd.Series | None, used: Cohort) -> tuple[list[str], NDArray[np.intp]]:
    """Return the names of sub-labels, and that of each record, -1 for none of them."""
    if truth is None:
        return [], np.full(len(used), -1)
    names = sorted({str(value) for value in truth.dropna()})
    own = [truth.get(record) for record in used.record_ids]
    return names, np.array([names.index(str(one)) if one is not None and not pd.isna(one) else -1 for one in own])


def _scored(
    candidates: Sequence[Candidate], best: Candidate, known: tuple[list[str], NDArray[np.intp]], people: Sequence[str],
    seed: int,
) -> dict[str, Any]:  # fmt: skip
    names, truth = known
    here = truth >= 0
    if len(np.unique(truth[here])) < 2:
        return {"accuracy": None, "ari": None, "majority": None, "upper_bound": None, "sublabels": names}
    owners = [person for person, one in zip(people, here, strict=True) if one]
    found = scores(best.labels[here], truth[here], owners, seed)
    only = [Candidate(c.method, c.k, c.labels[here], c.silhouette, c.bic, c.halves) for c in candidates]
    bound = upper_bound(only, truth[here])
    more = scores(bound.labels, truth[here], owners, seed)
    return {
        "accuracy": found["accuracy"], "ari": found["ari"], "majority": found["majority"],
        "n_labelled": int(here.sum()),
        "upper_bound": bound.as_dict() | {"accuracy": more["accuracy"], "ari": more["ari"]}, "sublabels": names,
        "per_class": {name: int((truth == k).sum()) for k, name in enumerate(names)},
    }  # fmt: skip


def _covariates(used: Cohort, probabilities: np.ndarray, classes: Sequence[str]) -> dict[str, np.ndarray]:
    """Return what clusters are compared by, beside what they were made of: [record], NaN unknown."""
    metadata = used.metadata
    female, age = sex_and_age(metadata)
    covariates = {"share_female": female, "age": age}
    device = metadata["device"].astype(object)
    if device.notna().any():
        common = str(device.dropna().mode().iloc[0])
        covariates["share_commonest_device"] = np.where(device.isna(), np.nan, (device == common).astype(float))
    return covariates | {f"probability_{name}": probabilities[:, j] for j, name in enumerate(classes)}


def _clusters(
    covariates: Mapping[str, np.ndarray], classes: Sequence[str], best: Candidate, people: Sequence[str], seed: int
) -> list[dict[str, Any]]:
    rows = cluster_means(best.labels, covariates, people, seed)
    for row in rows:
        row["probabilities"] = {name: row.pop(f"probability_{name}") for name in classes}
    return rows


def _embedded(points: np.ndarray, seed: int) -> NDArray[np.float32]:
    """Return a t-SNE of the points [record, 2]: for the eye alone, nothing is computed from it."""
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(points) - 1) / 3)
    model = TSNE(2, perplexity=perplexity, init="pca", random_state=derived_seed(seed, "t-SNE") % 2**32)
    start = points if points.shape[1] > 1 else np.column_stack([points, np.zeros(len(points))])
    return np.asarray(model.fit_transform(start), dtype=np.float32)


def _write(
    run: Run, used: Cohort, vectors: Vectors, best: Candidate, known: tuple[list[str], NDArray[np.intp]],
    embedding: np.ndarray, classes: Sequence[str],
) -> None:  # fmt: skip
    names, truth = known
    table = {"record_id": used.record_ids, "cluster": best.labels + 1, "x": embedding[:, 0], "y": embedding[:, 1]}
    table["sublabel"] = [names[k] if k >= 0 else "" for k in truth]
    table |= {"network": vectors.networks + 1, "explained": [classes[k] if k >= 0 else "" for k in vectors.targets]}
    table |= {f"probability_{name}": vectors.probabilities[:, j] for j, name in enumerate(classes)}
    run.write_table(RECORDS, pd.DataFrame(table))
