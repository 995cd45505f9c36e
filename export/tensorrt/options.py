"""What a plan is to be built of and for, and whether the bundle has it."""

from __future__ import annotations

from dataclasses import dataclass

from export.bundle import Bundle
from export.bundle.graphs import GRAPHS, LOGITS
from roadshift import UserError, hxw, unknown

Size = tuple[int, int]
LEVELS = range(6)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A plan's graph, precision, output, size (height, width) and TensorRT's options.

    The plan takes 1 to `batch` images at a time. `optimization_level` is TensorRT's, 0 (builds
    fast) to 5 (runs fast); `workspace` is the scratch memory in MiB that a layer may take, None for
    all there is.
    """

    graph: str
    precision: str
    output: str
    size: Size
    batch: int = 1
    version_compatible: bool = False
    hardware_compatible: bool = False
    optimization_level: int = 3
    workspace: int | None = None

    def shape(self, count: int) -> tuple[int, ...]:
        """The input's shape for `count` images."""
        return (count, *self.size, *GRAPHS[self.graph].channels)

    def file(self, bundle: Bundle) -> str:
        """The graph's file in the bundle; UserError where the bundle has none."""
        graph = GRAPHS[self.graph]
        return graph.file if graph.draws else bundle.segmentor(self.precision)

    def name(self, bundle: Bundle) -> str:
        """The start of the plan's file name, e.g. city.segmentor.fp16.512x1024."""
        logits = ".logits" if self.output == LOGITS else ""
        batch = f".b{self.batch}" if self.batch > 1 else ""
        return f"{bundle.name}.{self.graph}.{self.precision}{logits}.{hxw(self.size)}{batch}"


def size_for(bundle: Bundle, asked: Size | None) -> Size:
    """The one size (height, width) that the plan takes; UserError where it is unknown or unfit."""
    if asked is None and bundle.size is None:
        raise UserError(
            f"bundle {bundle.folder} takes frames of every size, and a plan is built for one: give "
            "the camera's with --size HEIGHTxWIDTH, e.g. --size 1080x1920"
        )
    size = asked or bundle.size
    assert size is not None
    if bundle.size is not None and size != bundle.size:
        raise UserError(
            f"bundle {bundle.folder} takes {hxw(bundle.size)} only, and --size is {hxw(size)}: "
            f"leave --size out, or export the run again with --size {hxw(size)}"
        )
    if size[0] < bundle.min_size[0] or size[1] < bundle.min_size[1]:
        raise UserError(
            f"bundle {bundle.folder} takes frames from {hxw(bundle.min_size)} on, and --size is "
            f"{hxw(size)}: give a larger one"
        )
    return size


def check(wish: Wish, bundle: Bundle) -> None:
    """Raises UserError for what the bundle has not, or TensorRT does not take."""
    if wish.graph not in GRAPHS:
        raise unknown("graph", wish.graph, GRAPHS)
    if GRAPHS[wish.graph].draws and (wish.precision != "fp32" or wish.output == LOGITS):
        raise UserError(
            f"the {wish.graph} is in the bundle in fp32 and has no logits: leave --precision and "
            "--logits out"
        )
    if wish.output == LOGITS and bundle.route != "exact":
        raise UserError(
            f"the logits of bundle {bundle.folder} are not upsampled bilinearly from a smaller "
            "size, so labels cannot be taken from them on the CPU: leave --logits out"
        )
    if wish.batch < 1:
        raise UserError(f"--batch is {wish.batch}: wanted how many images at most at a time, 1 on")
    if wish.optimization_level not in LEVELS:
        raise UserError(f"--optimization-level is {wish.optimization_level}: wanted 0 to 5")
    if wish.workspace is not None and wish.workspace < 1:
        raise UserError(f"--workspace is {wish.workspace}: wanted MiB, 1 or more")
    bundle.path(wish.file(bundle))
