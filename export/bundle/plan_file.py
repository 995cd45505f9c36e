"""The page beside a plan: of what, where and how it was built, and what came out.

A plan is raw, as trtexec and Triton load it, and holds machine code for one GPU and one TensorRT;
PLAN.json says which, so that nobody has to find out from a crash. A hash tells a changed plan and
not a forged pair of files: load plans only from whom you would run a program from.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, cast

from export.bundle.bundle import Bundle
from export.bundle.manifest import MANIFEST
from roadshift import UserError, replacing

FORMAT = 1
AMPERE = (8, 0)


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """What is known of a plan.

    Sizes are (height, width) in pixels, hashes SHA-256 in hexadecimal, versions as their makers
    write them. `golden` is what the golden frames gave on the device that built it, `latency` what
    a frame takes there, in milliseconds from host memory to host memory.
    """

    bundle: str
    manifest_sha256: str
    graph: str
    precision: str
    output: str
    size: tuple[int, int]
    batch: int
    onnx: str
    onnx_sha256: str
    plan_sha256: str
    gpu: str
    compute: tuple[int, int]
    driver: str
    cuda: str
    tensorrt: str
    version_compatible: bool
    hardware_compatible: bool
    options: dict[str, Any]
    golden: dict[str, Any]
    latency: dict[str, Any]


def page_of(plan: Path) -> Path:
    """Where a plan's page lies: NAME.plan.json."""
    return plan.with_name(plan.name + ".json")


def sha256(content: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def manifest_hash(bundle: Bundle) -> str:
    """Of the bundle's manifest, which has the hashes of all its files."""
    return sha256((bundle.folder / MANIFEST).read_bytes())


def write_plan(path: Path, plan: bytes, sidecar: Sidecar) -> None:
    """The plan and its page, each whole or not at all; Failure when the disk refuses.

    Ended between the two, a new plan has an old page, which `read_plan` tells by the hash.
    """
    page = json.dumps({"format": FORMAT, **asdict(sidecar)}, indent=2) + "\n"
    with replacing(path) as new_plan, replacing(page_of(path)) as new_page:
        new_plan.write_bytes(plan)
        new_page.write_text(page)


def read_plan(path: Path) -> tuple[bytes, Sidecar]:
    """The plan and what is known of it.

    Raises UserError: no plan there, no page, a damaged one, another format, or not the plan that
    the page speaks of.
    """
    page = page_of(path)
    for file in (path, page):
        if not file.is_file():
            raise UserError(
                f"{file} does not exist: wanted a plan and its .json as 'roadshift engine BUNDLE' "
                "writes them, both copied"
            )
    try:
        values = json.loads(page.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{page} is damaged ({error}): build the plan again") from error
    sidecar = _sidecar(page, values)
    plan = path.read_bytes()
    if (found := sha256(plan)) != sidecar.plan_sha256:
        raise UserError(
            f"{path} is not the plan that {page.name} speaks of (sha256 {found}, wanted "
            f"{sidecar.plan_sha256}): copy both again, or build the plan again"
        )
    return plan, sidecar


def check_fits(sidecar: Sidecar, bundle: Bundle, device: Device, version: str) -> None:
    """Raises UserError unless the plan is of this bundle and runs on this GPU and TensorRT."""
    again = f"build one here: roadshift engine {bundle.folder}"
    if sidecar.manifest_sha256 != manifest_hash(bundle):
        raise UserError(
            f"the plan was built of another bundle ({sidecar.bundle}) than {bundle.folder}, or of "
            f"it before it was exported again; {again}"
        )
    fits = (
        device.compute >= AMPERE
        if sidecar.hardware_compatible
        else device.compute == sidecar.compute
    )
    if not fits:
        raise UserError(
            f"the plan was built on {sidecar.gpu} (compute capability {_dotted(sidecar.compute)}) "
            f"and this is {device.name} ({_dotted(device.compute)}); {again}, or with "
            "--hardware-compatible for all from Ampere on"
        )
    built, here = numbers(sidecar.tensorrt), numbers(version)
    if not (here >= built if sidecar.version_compatible else here == built):
        raise UserError(
            f"the plan was built with TensorRT {sidecar.tensorrt} and this is {version}; {again}, "
            "or with --version-compatible for newer versions"
        )


def _sidecar(page: Path, values: Any) -> Sidecar:
    if not isinstance(values, dict) or not isinstance(values.get("format"), int):
        raise UserError(f"{page} is not a plan's page (no format number): build the plan again")
    found = cast(dict[str, Any], values)
    if found["format"] != FORMAT:
        raise UserError(
            f"{page} has format {found['format']} and this roadshift reads format {FORMAT}: "
            + ("install a newer one" if found["format"] > FORMAT else "build the plan again")
        )
    known = {f.name: str(f.type) for f in fields(Sidecar)}
    given = {key: value for key, value in found.items() if key != "format"}
    if given.keys() != known.keys():
        different = ", ".join(sorted(given.keys() ^ known.keys()))
        raise UserError(f"{page} lacks or does not know: {different}; build the plan again")
    for name, kind in known.items():
        if not _RIGHT[kind](given[name]):
            raise UserError(f"{page} has a wrong {name!r}: {str(given[name])[:80]}")
    for name, kind in known.items():
        if kind == "tuple[int, int]":
            given[name] = tuple(given[name])
    return Sidecar(**given)


_RIGHT: dict[str, Callable[[Any], bool]] = {
    "str": lambda v: isinstance(v, str),
    "int": lambda v: type(v) is int and v > 0,
    "bool": lambda v: isinstance(v, bool),
    "dict[str, Any]": lambda v: isinstance(v, dict),
    "tuple[int, int]": lambda v: (
        isinstance(v, list) and len(v) == 2 and all(type(n) is int and n >= 0 for n in v)
    ),
}


def _dotted(compute: tuple[int, int]) -> str:
    return f"{compute[0]}.{compute[1]}"


class Device(NamedTuple):
    """A GPU and the software below TensorRT: versions as "12.6", `compute` as (8, 7)."""

    name: str
    compute: tuple[int, int]
    driver: str
    cuda: str

    @property
    def architecture(self) -> str:
        """As file names have it: sm87."""
        return "sm{}{}".format(*self.compute)


def numbers(version: str) -> tuple[int, ...]:
    """ "10.3.0" -> (10, 3, 0)."""
    return tuple(map(int, re.findall(r"\d+", version)))
