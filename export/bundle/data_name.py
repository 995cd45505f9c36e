"""What data are called where strangers read it."""

from __future__ import annotations

import re


def data_name(spec: str) -> str:
    """What to call the data of a spec (KIND:PATH#SPLIT) before strangers: no folder of a machine.

    The last part of the path that says something, with the kind where there is no path.
    """
    place = spec.partition("#")[0]
    kind, found, path = place.partition(":")
    parts = re.split(r"[/\\]", path if found else kind)
    parts = [part for part in parts if part not in ("", ".", "..")]
    if not parts:
        return place
    return parts[-1] if kind == "folder" or re.search(r"[/\\]", path) else place


def public_spec(spec: str) -> str:
    """The spec as a bundle has it: data by name and their split, no folder of a machine."""
    split = spec.partition("#")[2]
    return data_name(spec) + (f"#{split}" if split else "")
