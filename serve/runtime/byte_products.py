"""Whether this CPU sums products of bytes exactly.

x86 without VNNI adds two products of an unsigned and a signed byte in 16 bits, and what is more
stays at the largest: an INT8 network then answers something else. ONNX Runtime has exact kernels,
which cost about a third of the speed there; it does not choose them by itself.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any

OPTION = "session.x64quantprecision"
VNNI = frozenset({"avx_vnni", "avx512_vnni", "amx_int8"})
CPUINFO = Path("/proc/cpuinfo")


@cache
def saturates() -> bool:
    """Whether the fast kernels would; also where an x86 CPU does not say what it has."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return True
    flags = next((line for line in lines if line.startswith("flags")), "")
    return not VNNI & set(flags.split())


def keep_exact(options: Any) -> None:
    """Asks for the exact kernels in ONNX Runtime's session options, where the fast ones are not."""
    if saturates():
        options.add_session_config_entry(OPTION, "1")


def told() -> str:
    """For a report: what was done; "" where nothing had to be."""
    return f" without VNNI ({OPTION}=1)" if saturates() else ""
