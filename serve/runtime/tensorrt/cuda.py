"""The few calls of CUDA's runtime that running a plan takes, each one checked."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.bundle.plan_file import Device
from roadshift import Failure
from serve.runtime.tensorrt.bindings import cudart


class Cuda:
    """CUDA's current device; every method raises Failure with CUDA's own words."""

    def __init__(self) -> None:
        self.rt = cudart()

    def device(self) -> Device:
        """What the current device is."""
        rt = self.rt
        index = self._checked("find a GPU", rt.cudaGetDevice())
        found = self._checked("ask for the GPU", rt.cudaGetDeviceProperties(index))
        driver = self._checked("ask for the driver", rt.cudaDriverGetVersion())
        runtime = self._checked("ask for its version", rt.cudaRuntimeGetVersion())
        name = found.name.decode(errors="replace").rstrip("\0")
        return Device(name, (found.major, found.minor), _dotted(driver), _dotted(runtime))

    def stream(self) -> Any:
        """A stream of its own: TensorRT adds synchronisations on the default one."""
        rt = self.rt
        flags = rt.cudaStreamNonBlocking
        return self._checked("make a stream", rt.cudaStreamCreateWithFlags(flags))

    def pinned(self, count: int) -> NDArray[np.uint8]:
        """`count` bytes of page-locked memory, which a copy reads while the CPU goes on."""
        rt = self.rt
        address = self._checked(
            f"pin {count} bytes", rt.cudaHostAlloc(count, rt.cudaHostAllocDefault)
        )
        return np.ctypeslib.as_array((ctypes.c_uint8 * count).from_address(int(address)))

    def memory(self, count: int) -> int:
        """The address of `count` bytes on the device."""
        return int(self._checked(f"get {count} bytes", self.rt.cudaMalloc(count)))

    def upload(self, device: int, host: NDArray[np.uint8], stream: Any) -> None:
        """Starts copying pinned bytes to the device."""
        rt = self.rt
        kind = rt.cudaMemcpyKind.cudaMemcpyHostToDevice
        copied = rt.cudaMemcpyAsync(device, host.ctypes.data, host.nbytes, kind, stream)
        self._checked("copy to the GPU", copied)

    def download(self, host: NDArray[np.uint8], device: int, stream: Any) -> None:
        """Starts copying from the device into pinned bytes."""
        rt = self.rt
        kind = rt.cudaMemcpyKind.cudaMemcpyDeviceToHost
        copied = rt.cudaMemcpyAsync(host.ctypes.data, device, host.nbytes, kind, stream)
        self._checked("copy from the GPU", copied)

    def wait(self, stream: Any) -> None:
        """Until all that was started on the stream is done."""
        self._checked("run", self.rt.cudaStreamSynchronize(stream))

    def begin_capture(self, stream: Any) -> None:
        """From here on the stream's work is recorded and not done."""
        rt = self.rt
        mode = rt.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._checked("begin a CUDA graph", rt.cudaStreamBeginCapture(stream, mode))

    def end_capture(self, stream: Any) -> Any:
        """What was recorded, ready to launch; None where something in it cannot be recorded.

        The stream is usable again either way.
        """
        rt = self.rt
        error, graph = rt.cudaStreamEndCapture(stream)
        if error != rt.cudaError_t.cudaSuccess:
            rt.cudaGetLastError()  # or the next call would report it once more
            return None
        ready = self._checked("make a CUDA graph", rt.cudaGraphInstantiate(graph, 0))
        self._checked("free a CUDA graph", rt.cudaGraphDestroy(graph))
        return ready

    def launch(self, graph: Any, stream: Any) -> None:
        """Starts what `end_capture` returned."""
        self._checked("launch a CUDA graph", self.rt.cudaGraphLaunch(graph, stream))

    def free(self, address: int) -> None:
        """Gives `memory` back."""
        self._checked("free memory", self.rt.cudaFree(address))

    def unpin(self, host: NDArray[np.uint8]) -> None:
        """Gives `pinned` back."""
        self._checked("free pinned memory", self.rt.cudaFreeHost(host.ctypes.data))

    def drop(self, graph: Any) -> None:
        """Gives a graph back."""
        self._checked("free a CUDA graph", self.rt.cudaGraphExecDestroy(graph))

    def end(self, stream: Any) -> None:
        """Gives a stream back."""
        self._checked("free a stream", self.rt.cudaStreamDestroy(stream))

    def _checked(self, what: str, answer: tuple[Any, ...]) -> Any:
        rt = self.rt
        error, *rest = answer
        if error != rt.cudaError_t.cudaSuccess:
            _, words = rt.cudaGetErrorString(error)
            raise Failure(
                f"CUDA could not {what}: {words.decode(errors='replace')}; check the driver with "
                "nvidia-smi (on a Jetson: tegrastats), and that no other process holds the GPU"
            )
        return rest[0] if rest else None


def _dotted(version: int) -> str:
    """12060 -> "12.6"."""
    return f"{version // 1000}.{version % 1000 // 10}"
