# SPDX-License-Identifier: Apache-2.0
"""The shipped delineator: a folder of weights, checked against its hashes before it is believed."""

from __future__ import annotations

import json
from pathlib import Path

from ecglens.bundle import PRETRAINED, load_weights, verified_parts
from ecglens.errors import FormatError
from ecglens.models.unet1d import UNet1d

DELINEATOR = PRETRAINED / "delineator"
SCHEMA = 1


def load_delineator(folder: Path = DELINEATOR) -> UNet1d:
    """Return the network of a folder that `recipes/delineator.py` wrote, in evaluation mode.

    Raises UnsafeError where a byte was changed, FormatError for another schema.
    """
    parts = verified_parts(folder)
    try:
        config = json.loads(parts["config.json"])
        if config["schema"] != SCHEMA or config["architecture"] != "UNet1d":
            raise ValueError(f"schema {config['schema']}, {config['architecture']}")
        network = UNet1d(**config["arguments"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise FormatError(
            folder / "config.json", "fields", repr(error), f"a delineator of schema {SCHEMA}", kind="config"
        ) from error
    load_weights(network, parts["weights.safetensors"], folder / "weights.safetensors")
    network.eval()
    return network
