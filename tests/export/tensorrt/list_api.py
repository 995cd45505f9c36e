"""Prints the names of the TensorRT or CUDA bindings that are on the path, as JSON.

Run by record_api.py in a Python whose path has one version of them.
"""

import json
import re
import sys

CLASSES = (
    "Builder BuilderFlag DataType HardwareCompatibilityLevel IBuilderConfig ICudaEngine "
    "IExecutionContext IHostMemory ILogger ILogger.Severity INetworkDefinition "
    "IOptimizationProfile IProgressMonitor ITensor ITimingCache MemoryPoolType "
    "NetworkDefinitionCreationFlag OnnxParser ParserError Runtime TensorIOMode"
).split()
CUDA = re.compile(
    "cuda(Stream(Create|Destroy|Synchronize|BeginCapture$|EndCapture|CaptureMode$|NonBlocking)|"
    "Graph(Instantiate|Launch|Destroy|ExecDestroy)|Malloc$|MallocHost|Free(Host)?$|HostAlloc|"
    "Memcpy(Async|Kind)?$|GetDevice(Count|Properties)?$|SetDevice$|Get(Error|LastError)|Error_t$|"
    "DriverGetVersion|RuntimeGetVersion|Event(Create|Record|Synchronize|ElapsedTime|Destroy)$)"
)
CUDA_CLASSES = {
    "cudaMemcpyKind": "cudaMemcpy",
    "cudaStreamCaptureMode": "cuda",
    "cudaError_t": "cudaSuccess",
    "cudaDeviceProp": "",
}


def entry(owner: object, name: str) -> str:
    """The name, with its parameters where the documentation begins with a signature."""
    text = (getattr(owner, name).__doc__ or "").strip()
    # TensorRT's overloads are numbered; CUDA's signatures have C types before the names.
    signatures = re.findall(rf"^(?:\d+\. )?{name}\((.*)\)(?: ->.*)?$", text, re.MULTILINE)
    real = [parameters(s) for s in signatures if s != "*args, **kwargs"]
    return f"{name}({'|'.join(dict.fromkeys(real))})" if real else name


def parameters(signature: str) -> str:
    """ "self: Builder, flags: int = 0" -> "flags=0"; a default is kept, a type is not."""
    found = []
    for part in re.split(r", (?![^\[(<]*[\])>])", signature):
        name = part.split(":")[0].split("=")[0].split()[-1] if part.strip() else ""
        if name not in {"self", ""}:
            found.append(name + ("=" if "=" in part else ""))
    return ", ".join(found)


def tensorrt() -> dict[str, list[str]]:
    import tensorrt_bindings as trt  # noqa: PLC0415

    names = {"": ["__version__", *(name for name in CLASSES if "." not in name)]}
    for path in CLASSES:
        owner = trt
        for step in path.split("."):
            owner = getattr(owner, step)
        public = (n for n in dir(owner) if not n.startswith("_") or n == "__init__")
        # A network's layers come from the parser alone; their signatures would be half of the file.
        wanted = (n for n in public if path != "INetworkDefinition" or not n.startswith("add_"))
        names[path] = [entry(owner, n) for n in wanted]
    return names


def cuda() -> dict[str, list[str]]:
    from cuda.bindings import runtime as rt  # noqa: PLC0415

    names = {"": [entry(rt, name) for name in dir(rt) if CUDA.match(name)]}
    for kind, start in CUDA_CLASSES.items():
        owner = getattr(rt, kind)
        public = (n for n in dir(owner) if n.startswith(start) and not n.startswith("_"))
        names[kind] = [n for n in public if start or n in {"name", "major", "minor"}]
    return names


print(json.dumps({"tensorrt": tensorrt, "cuda": cuda}[sys.argv[1]]()))  # noqa: T201
