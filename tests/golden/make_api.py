# SPDX-License-Identifier: Apache-2.0
"""Write `api.txt`: every public name with its signature, so that a change is seen before it is made.

python tests/golden/make_api.py
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import ecglens

GOLDEN = Path(__file__).with_name("api.txt")


def describe() -> str:
    """Return one line per public name: signature of functions, fields and public methods of classes."""
    lines: list[str] = []
    for name in sorted(ecglens.__all__):
        value = getattr(ecglens, name)
        if inspect.isclass(value):
            lines += describe_class(name, value)
        elif callable(value):
            lines.append(f"{name}{inspect.signature(value)}")
        elif name != "__version__":
            lines.append(f"{name} = {value!r}")
    text = "\n".join(lines) + "\n"
    return re.sub(r"<function (\w+) at 0x[0-9a-f]+>", r"\1", text)  # addresses differ from run to run


def describe_class(name: str, value: type) -> list[str]:
    """Return a class's constructor and its public members."""
    bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
    lines = [f"class {name}({bases}){inspect.signature(value.__init__)}"]
    for member, found in sorted(vars(value).items()):
        if member.startswith("_"):
            continue
        if isinstance(found, property):
            lines.append(f"  {name}.{member}: property")
        elif isinstance(found, classmethod | staticmethod):
            lines.append(f"  {name}.{member}{inspect.signature(found.__func__)} {type(found).__name__}")
        elif inspect.isfunction(found):
            lines.append(f"  {name}.{member}{inspect.signature(found)}")
    return lines


if __name__ == "__main__":
    GOLDEN.write_text(describe())
    print(f"wrote {GOLDEN}")
