"""Writes api.json: what the real bindings of TensorRT and CUDA offer, version by version.

    python tests/export/tensorrt/record_api.py

It downloads the bindings' wheels (a few MB each, without TensorRT's libraries, which do not install
everywhere), gives them an empty library to link to, and writes down the names and the parameters of
the classes that roadshift touches. Run it again, with the newest version added, when roadshift
touches another class or TensorRT has a new release. Needs gcc and pip.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from pathlib import Path

WHEELS = {
    "tensorrt": {
        "10.3.0": "tensorrt-cu12-bindings==10.3.0",
        "10.13.3.9": "tensorrt-cu12-bindings==10.13.3.9",
        "10.16.1.11": "tensorrt-cu12-bindings==10.16.1.11",
        "11.0.0.114": "tensorrt-cu13-bindings==11.0.0.114",
        "11.4.0.106": "tensorrt-cu13-bindings==11.4.0.106",
    },
    "cuda": {"12.9.0": "cuda-bindings==12.9.0", "13.5.0": "cuda-bindings==13.5.0"},
}
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
SYMBOLS = (
    "createInferBuilder_INTERNAL createInferRefitter_INTERNAL createInferRuntime_INTERNAL "
    "createNvOnnxParserRefitter_INTERNAL createNvOnnxParser_INTERNAL getBuilderPluginRegistry "
    "getNvOnnxParserVersion getPluginRegistry initLibNvInferPlugins"
).split()
RECORDED = Path(__file__).with_name("api.json")
Names = dict[str, list[str]]
"""By class ("" for the module itself) its names, functions with their parameters."""


def pip() -> list[str] | None:
    """The command for pip, this Python's own or the one on the path."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    return [found] if (found := shutil.which("pip")) else None


def unpacked(requirement: str, folder: Path) -> Path:
    """The wheel for this Python, unpacked; CalledProcessError when it cannot be downloaded."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    options = ["--no-deps", "--only-binary=:all:", "--python-version", version, "--quiet"]
    wheels = folder / "wheels"
    command = [*(pip() or ["pip"]), "download", *options, "--dest", str(wheels), requirement]
    subprocess.run(command, check=True, capture_output=True, text=True)
    name = requirement.replace("-", "_").replace("==", "-")
    wheel = next(wheels.glob(f"{name}-*.whl"))
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / name)
    return folder / name


def stub_libraries(folder: Path, major: str) -> Path:
    """A folder of TensorRT's libraries with nothing in them, for the bindings to link to."""
    place = folder / f"stub{major}"
    place.mkdir(exist_ok=True)
    source = "".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in SYMBOLS)
    for library in LIBRARIES:
        target = str(place / f"lib{library}.so.{major}")
        command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", target]
        subprocess.run(command, input=source, check=True, text=True)
    return place


def environment(package: str, version: str, folder: Path) -> dict[str, str]:
    """The environment of a Python that imports that version of the real bindings."""
    found = {**os.environ, "PYTHONPATH": str(unpacked(WHEELS[package][version], folder))}
    if package == "tensorrt":
        found["LD_LIBRARY_PATH"] = str(stub_libraries(folder, version.split(".", 1)[0]))
    return found


def names_of(package: str, bindings: dict[str, str]) -> Names:
    """What the bindings of an `environment` offer."""
    script = str(Path(__file__).with_name("list_api.py"))
    command = [sys.executable, script, package]
    done = subprocess.run(command, env=bindings, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def recorded(package: str) -> dict[str, Names]:
    """What api.json says, by version."""
    found: dict[str, Names] = defaultdict(lambda: defaultdict(list))
    for versions, classes in json.loads(RECORDED.read_text())[package].items():
        for version in versions.split():
            for kind, names in classes.items():
                found[version][kind] += names
    return {version: {k: sorted(v) for k, v in kinds.items()} for version, kinds in found.items()}


def grouped(found: dict[str, Names]) -> dict[str, Names]:
    """The names by the versions that have them, which is far shorter than version by version."""
    having: dict[tuple[str, str], list[str]] = defaultdict(list)
    for version, kinds in found.items():
        for kind, names in kinds.items():
            for name in names:
                having[kind, name].append(version)
    groups: dict[str, Names] = defaultdict(lambda: defaultdict(list))
    for (kind, name), versions in sorted(having.items()):
        groups[" ".join(versions)][kind].append(name)
    return groups


def main() -> None:
    """Downloads, asks, writes."""
    with tempfile.TemporaryDirectory() as folder:
        api = {
            package: grouped(
                {v: names_of(package, environment(package, v, Path(folder))) for v in versions}
            )
            for package, versions in WHEELS.items()
        }
    RECORDED.write_text(json.dumps(api, separators=(",", ":")).replace("},", "},\n") + "\n")


if __name__ == "__main__":
    main()
