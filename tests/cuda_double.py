"""CUDA's runtime with the device's memory in the host's: for tests of what runs plans, only.

It offers exactly the names that api.json recorded of the real bindings, of both versions.
"""

from __future__ import annotations

import ctypes
import enum
import json
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace

API = Path(__file__).parent / "export/tensorrt/api.json"


@cache
def recorded(package: str) -> dict[str, dict[str, dict[str, str | None]]]:
    """By version and class the names that the real bindings have, with a function's parameters."""
    found: dict = {}
    for versions, classes in json.loads(API.read_text())[package].items():
        for version in versions.split():
            for kind, entries in classes.items():
                names = found.setdefault(version, {}).setdefault(kind, {})
                for entry in entries:
                    name, bracket, rest = entry.partition("(")
                    names[name] = rest[:-1] if bracket else None
    return found


def members(name: str, names) -> type[enum.Enum]:
    class Numbered(enum.Enum):
        def __int__(self) -> int:
            return self.value

    return Numbered(name, {n: i for i, n in enumerate(sorted(names))})


class Stream:
    """A stream's work is done at once, but while it is being recorded."""

    def __init__(self) -> None:
        self.recording: list | None = None

    def __int__(self) -> int:
        return id(self)


class Cuda:
    """`rt`, with a count of what was not given back, and faults: "capture" or a function's name."""

    def __init__(self, compute: tuple[int, int] = (8, 7)) -> None:
        self._compute, self._faults, self._calls = compute, set(), []
        self._memory: dict[int, ctypes.Array] = {}
        self._streams: dict[int, Stream] = {}
        self._graphs: list[list] = []
        self._pending = False  # a failed capture is reported once more, by whatever comes next
        versions = recorded("cuda").values()
        kinds = {k: set.intersection(*(set(v[k]) for v in versions)) for k in next(iter(versions))}
        self._names = kinds.pop("")
        self._enums = {kind: members(kind, names) for kind, names in kinds.items()}
        self._enums["cudaError_t"] = members("cudaError_t", ["cudaSuccess", "faulty"])

    @property
    def _held(self) -> int:
        return len(self._memory) + len(self._streams) + len(self._graphs)

    def __getattribute__(self, name: str):
        if name.startswith("_"):
            return object.__getattribute__(self, name)
        if name not in self._names:
            raise AttributeError(f"cuda.bindings.runtime has no {name} in every recorded version")
        if name in self._enums:
            return self._enums[name]
        if name in {"cudaStreamNonBlocking", "cudaHostAllocDefault"}:
            return name
        return lambda *args: self._call(name, args)

    def _call(self, name: str, args: tuple):
        self._calls.append(name)
        wanted = next(iter(recorded("cuda").values()))[""][name]
        assert len(args) == len(list(filter(None, wanted.split(", ")))), f"{name}({wanted}): {args}"
        error = self._enums["cudaError_t"]
        if name == "cudaGetErrorString":
            return error.cudaSuccess, b"out of memory"
        if self._pending and name != "cudaGetLastError":
            self._pending = False
            return error.faulty, None
        if name in self._faults:
            if name == "cudaStreamEndCapture":
                args[0].recording, self._pending = None, True
            return error.faulty, None
        method = re.sub("(?=[A-Z])", "_", name.removeprefix("cuda")).lower()
        answer = getattr(self, method)(*args)
        return (error.cudaSuccess,) if answer is None else (error.cudaSuccess, answer)

    def _get_device(self):
        return 0

    def _get_device_properties(self, device):
        assert device == 0
        major, minor = self._compute
        return SimpleNamespace(name=b"Drawn GPU\0\0", major=major, minor=minor)

    def _driver_get_version(self):
        return 12080

    def _runtime_get_version(self):
        return 12060

    def _get_last_error(self):
        self._pending = False

    def _malloc(self, size):
        assert size > 0
        block = ctypes.create_string_buffer(size)
        self._memory[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def _host_alloc(self, size, flags):
        assert flags == "cudaHostAllocDefault"
        return self._malloc(size)

    def _free(self, devPtr):
        del self._memory[devPtr]

    _free_host = _free

    def _size(self, address: int) -> int:
        return len(self._memory[address])

    def _memcpy_async(self, dst, src, count, kind, stream):
        assert count <= min(self._size(dst), self._size(src)), "copies beyond the memory"
        assert kind.name in {"cudaMemcpyHostToDevice", "cudaMemcpyDeviceToHost"}
        self._do(stream, lambda: ctypes.memmove(dst, src, count))

    def _do(self, stream: Stream, work) -> None:
        if stream.recording is None:
            work()
        else:
            stream.recording.append(work)

    def _stream_create_with_flags(self, flags):
        assert flags == "cudaStreamNonBlocking"
        stream = Stream()
        self._streams[int(stream)] = stream
        return stream

    def _stream_destroy(self, stream):
        del self._streams[int(stream)]

    def _stream_synchronize(self, stream):
        assert stream.recording is None, "waits for a stream that is being recorded"

    def _stream_begin_capture(self, stream, mode):
        assert mode.name == "cudaStreamCaptureModeThreadLocal"
        stream.recording = []

    def _stream_end_capture(self, stream):
        graph, stream.recording = stream.recording, None
        return graph

    def _graph_instantiate(self, graph, flags):
        assert flags == 0
        ready = list(graph)
        self._graphs.append(ready)
        return ready

    def _graph_destroy(self, graph):
        graph.clear()

    def _graph_launch(self, graphExec, stream):
        assert stream.recording is None
        assert any(graph is graphExec for graph in self._graphs)
        for work in graphExec:
            work()

    def _graph_exec_destroy(self, graphExec):
        self._graphs = [graph for graph in self._graphs if graph is not graphExec]
