# SPDX-License-Identifier: Apache-2.0
"""`ecglens doctor`: is everything here that ecglens needs?"""

from __future__ import annotations

import typer

from ecglens.cli.console import Outcome, columns, conclude


def doctor(as_json: bool = typer.Option(False, "--json", help="One JSON object on stdout.")) -> None:
    """Say which versions, processors, disk space and bundles this installation has, and what is missing.

    Example: ecglens doctor
    """
    raise typer.Exit(conclude(_examine, as_json))


def _examine() -> Outcome:
    import os
    import shutil
    from pathlib import Path

    import torch

    from ecglens.bundle import Bundle, shipped_bundles
    from ecglens.runs.cache import Cache, default_cache
    from ecglens.runs.run import provenance
    from ecglens.waveform.wave_weights import load_delineator

    about = provenance()
    cache = default_cache()
    home = next(path for path in (cache, *cache.parents) if path.exists())
    writable = os.access(home, os.W_OK)
    bundles = {name: list(Bundle.load(folder).classes) for name, folder in shipped_bundles().items()}
    load_delineator()  # raises where a byte of it was changed
    problems = [] if writable else [f"the cache folder {cache} cannot be written: prepared signals are not kept"]
    problems += [] if bundles else ["no shipped bundle: reinstall ecglens"]
    data = {
        "versions": about["versions"],
        "platform": about["platform"],
        "cpu_threads": torch.get_num_threads(),
        "gpu": torch.cuda.is_available(),
        "cache": str(cache),
        "cache_gb": round(Cache(cache).size() / 1e9, 2),
        "free_gb": round(shutil.disk_usage(home).free / 1e9, 1),
        "folder": str(Path.cwd()),
        "bundles": bundles,
        "problems": problems,
    }
    rows = [(name, version) for name, version in about["versions"].items()]
    rows += [("threads", str(data["cpu_threads"])), ("GPU", "yes" if data["gpu"] else "none, not needed")]
    rows += [
        ("cache", f"{cache} ({data['cache_gb']} GB used, {data['free_gb']} GB free)"),
        ("bundles", ", ".join(bundles) or "none"),
    ]
    text = columns(("what", "found"), rows) + "\n" + ("\n".join(problems) or "Everything ecglens needs is here.")
    return Outcome(data, text, "ecglens predict FILE", 5 if problems else 0)
