"""The commands `roadshift segment` and `roadshift serve`."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from export.bundle import PRECISIONS, Trust, read_bundle
from export.bundle.graphs import Precision
from roadshift import UserError, unknown
from serve.limits import Limits

if TYPE_CHECKING:
    from export.bundle import Bundle
    from serve.http.app import Beside
    from serve.runtime.graph import Graph

Flat = Parameter(name="*")


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """Where the network runs; there is no falling back to another provider."""

    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu"
    """What runs it: the CPU, CUDA, or TensorRT through ONNX Runtime."""
    precision: Precision = "fp32"
    """Which of the bundle's segmentors: in 32-bit or 16-bit floats, or 8-bit integers."""
    route: Literal["auto", "exact", "dense"] = "auto"
    """Where labels become full-size: the host's exact shortcut, or densely in the graph. Equal."""
    threads: int = 0
    """CPU threads for one call; 0: one a core."""


def segment(
    bundle: Path,
    source: Path,
    /,
    *,
    out: Path,
    overwrite: bool = False,
    trust: Annotated[Trust, Flat] = Trust(),
    device: Annotated[DeviceOptions, Flat] = DeviceOptions(),
) -> None:
    """Segment an image, all images of a folder, or a video.

    Parameters
    ----------
    bundle
        A folder made by `roadshift export`.
    source
        A JPEG, PNG or WebP image, a folder of them, or a video.
    out
        The folder for NAME.labels.png and NAME.overlay.jpg; for a video a folder or a .mp4 file.
    overwrite
        Make answers again that are newer than their input and the bundle.
    """
    from serve.media.segment_files import segment as to_files  # noqa: PLC0415
    from serve.runtime.engine import Engine  # noqa: PLC0415 - --help answers without loading these

    engine = Engine(read_bundle(bundle, trust), **asdict(device))
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(TextColumn("segmenting"), *columns, transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None)

        report = to_files(engine, source, out, overwrite=overwrite, progress=show)
    for remark in report.remarks:
        print(f"note: {remark}")
    if report.skipped:
        print(f"{report.skipped} up to date (--overwrite makes them again)")
    if report.written:
        print(f"wrote {len(report.written)} file(s), {report.written[0]} first")


def label(
    source: Path,
    /,
    *,
    bundle: Path,
    out: Path,
    workers: int = 0,
    shard: int = 64,
    rank: bool = False,
    precision: Precision = "fp32",
    trust: Annotated[Trust, Flat] = Trust(),
) -> None:
    """Label every image below a folder, by all cores; stopped or killed, it goes on where it was.

    Parameters
    ----------
    source
        A folder of JPEG, PNG or WebP images, in folders of any depth.
    bundle
        A folder made by `roadshift export`.
    out
        The folder for labels/NAME.png, and frames.csv: of every frame its size, the mean
        confidence, the share of unsure pixels and of each class, or why it was not read.
    workers
        Processes, each with one thread and the bundle in memory; 0: one a core.
    shard
        Frames that are done as one.
    rank
        frames.csv begins with the frames that the network is least sure of.
    precision
        Which of the bundle's segmentors.
    """
    from serve.archive.label import Archive  # noqa: PLC0415 - --help answers without loading these
    from serve.archive.label import label as label_archive  # noqa: PLC0415
    from serve.runtime.engine import Engine  # noqa: PLC0415

    read = read_bundle(bundle, trust)
    Engine(read, threads=1, precision=precision).check_golden()
    archive = Archive(
        bundle=read, source=source, out=out, precision=precision, workers=workers, shard=shard
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), transient=True) as bar:
        task = bar.add_task("shards", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        found = label_archive(archive, rank=rank, progress=show)
    print(f"{found.frames} frames labelled, see {found.table}")
    for name, why in found.unread.items():
        print(f"not read: {name}: {why}")


def serve(
    *bundles: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    grpc_port: int | None = None,
    allow_host: tuple[str, ...] = (),
    model_control: Literal["none", "explicit"] = "none",
    trust: Annotated[Trust, Flat] = Trust(),
    device: Annotated[DeviceOptions, Flat] = DeviceOptions(),
    limits: Annotated[Limits, Flat] = Limits(),
) -> None:
    """Answer over HTTP (and gRPC): Open Inference Protocol v2, and POST /segment for plain images.

    Parameters
    ----------
    bundles
        Folders made by `roadshift export`; POST /segment asks the first unless told otherwise.
    host
        The address to listen on; 0.0.0.0 lets other machines in, without any password.
    port
        The port to listen on; 0 takes a free one, which is printed.
    grpc_port
        The port for the protocol over gRPC, which the extra `grpc` has; 0 takes a free one, which
        the log says.
    allow_host
        A name (a Host header) that is answered to beside localhost, as a proxy may send; with it
        no other is, on any address.
    model_control
        explicit: clients may have the bundles loaded again from their folders, and unloaded.
    """
    from serve.http.app import no_other_face  # noqa: PLC0415
    from serve.http.envelope import log_to_stderr  # noqa: PLC0415
    from serve.http.listening_socket import listen  # noqa: PLC0415
    from serve.http.server import Server  # noqa: PLC0415 - --help answers without loading these

    if not bundles:
        raise UserError("no bundle is named: roadshift serve BUNDLE, a folder of roadshift export")
    log_to_stderr()
    read = [read_bundle(bundle, trust) for bundle in bundles]
    graphs = [graph for bundle in read for graph in _graphs_of(bundle, device)]
    again = (partial(_opened, folder, trust, device) for folder in bundles)
    openers = dict(zip((bundle.name for bundle in read), again, strict=True))
    logging.info("a request has at most %d pixels (--pixels)", limits.of(*read).pixels)
    beside = no_other_face if grpc_port is None else _grpc_face(host, grpc_port)
    with listen(host, port) as bound:
        server = Server(
            graphs,
            bound,
            limits,
            hosts=allow_host,
            beside=beside,
            openers=openers if model_control == "explicit" else None,
        )
        address = f"[{host}]" if ":" in host else host
        names = ", ".join(bundle.name for bundle in read)
        at = f"http://{address}:{bound.getsockname()[1]}"
        print(f"serving {names} on {at} (Ctrl-C stops)", flush=True)
        server.run()


def _graphs_of(bundle: Bundle, device: DeviceOptions) -> list[Graph]:
    """The bundle's engine, and what else of it draws; says how the labels come about."""
    from serve.runtime.engine import Engine  # noqa: PLC0415
    from serve.runtime.image_graphs import image_graphs_of  # noqa: PLC0415

    engine = Engine(bundle, **asdict(device))
    how = (engine.name, engine.precision, engine.route, engine.why)
    logging.info("%s: %s, labels by the %s route: %s", *how)
    return [
        engine,
        *image_graphs_of(bundle, provider=device.provider, threads=device.threads),
    ]


def _opened(folder: Path, trust: Trust, device: DeviceOptions) -> list[Graph]:
    """The graphs of the bundle that is in the folder now."""
    return _graphs_of(read_bundle(folder, trust), device)


def _grpc_face(host: str, port: int) -> Beside:
    try:
        from serve.grpc.server import grpc_on  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UserError(f"--grpc-port needs roadshift[grpc]: pip install it ({error})") from error
    if not 0 <= port <= 65535:
        raise UserError(f"--grpc-port is {port}: wanted 0 (any free one) to 65535")
    return grpc_on(host, port)


def verify(
    bundle: Path,
    /,
    *,
    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu",
    precision: str = "all",
    threads: int = 0,
    runs: int = 20,
    trust: Annotated[Trust, Flat] = Trust(),
) -> None:
    """Check a bundle on this device: its files, its graphs, its golden frames; and time it.

    Ends with exit code 0 when all is as it was when the bundle was made. Otherwise the first
    difference is said in one sentence, and the exit code is 2 for damaged files, 1 for the rest.

    Parameters
    ----------
    bundle
        A folder made by `roadshift export`.
    provider
        What runs it: the CPU, CUDA, or TensorRT through ONNX Runtime.
    precision
        Which of the bundle's precisions, with commas between them, or all.
    threads
        CPU threads for one call; 0: one a core.
    runs
        How often a frame is timed in each precision.
    """
    from serve.device_check.verify import check_device  # noqa: PLC0415 - --help answers without loading these

    asked = [] if precision == "all" else [name.strip() for name in precision.split(",")]
    if strange := [name for name in asked if name not in PRECISIONS]:
        raise unknown("precision", strange[0], (*PRECISIONS, "all"))
    read = read_bundle(bundle, trust)
    report = check_device(
        read, provider=provider, precisions=asked or read.precisions, threads=threads, runs=runs
    )
    print(f"the {len(read.files)} files of {read.folder} are those that were checked")
    print(report.text())
    if "classes" not in read.limits(read.precisions[0]):
        print(
            "note: its golden frames know labels alone, of no class by itself (an older format): "
            "export the run again to have classes, confidence and logits checked"
        )
    if missing := read.checks.get("no_evidence"):
        print(f"note: no evidence for {', '.join(missing)}: the golden frames hardly show them")
