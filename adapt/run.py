"""What a training run is told, whatever the method: data, network, schedule, machine."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from adapt import bounds
from roadshift import UserError

DATA_FIELDS = frozenset(
    {"source", "target", "source_size", "size", "crop", "scale", "flip", "classes", "seed"}
    | {"map", "sample_rare", "style", "style_space", "style_share", "style_beta"}
)
"""What decides which crops are drawn, before their colours."""
LEARNING_FIELDS = frozenset(
    {"network", "weights", "steps", "batch", "colour_jitter", "blur", "optimizer", "lr"}
    | {"backbone_scale", "weight_decay", "batch_norm", "select_on"}
)
"""What a network learns with."""
MACHINE_FIELDS = frozenset(
    {"out", "precision", "device", "devices", "threads", "workers", "cache", "compile"}
    | {"log_every", "save_every", "picture_every", "keep_every", "strict"}
    | {"keep_best_by"}
)
"""What leaves the result as it is, but for rounding."""
NEWER_FIELDS = frozenset(
    {"map", "sample_rare", "style", "style_space", "style_share", "style_beta"}
)
"""What a run of format 2 did not say."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Settings shared by all methods; sizes are HxW, "" means as it comes."""

    source: str
    """labelled images of the first city, e.g. gta5:PATH or toytown:game"""
    target: str
    """images of the second city; labels beside them are never opened"""
    out: Path
    """the run's folder; the same command resumes it"""
    classes: str = ""
    """a named set (cityscapes19) or a list (road,car); "" for those both sides share"""
    map: str = ""
    """a JSON file that trains several classes of either side as one: {"truck": "vehicle", ...}"""
    network: str = "lraspp_mobilenet_v2"
    weights: str = "imagenet"
    """imagenet (downloaded), none, or a .safetensors / .pth file"""
    steps: int = 1000
    batch: int = 8
    """images of each city per step, over all devices"""
    seed: int = 0
    source_size: str = ""
    """source images are resized to this before cropping"""
    size: str = ""
    """target images are resized to this, in training and when deployed"""
    crop: str = ""
    """what the network sees in training; "" for the smaller of both sizes"""
    scale: tuple[float, float] = (1.0, 1.0)
    """images are enlarged by a random factor in this range before cropping"""
    colour_jitter: float = 0.3
    """strength of random brightness, contrast and saturation; a quarter of it for the hue"""
    blur: float = 0.0
    """probability of a random Gaussian blur"""
    flip: bool = True
    sample_rare: bool = False
    """draw source images by a class they hold, rare classes more often"""
    style: Literal["", "statistics", "fourier"] = ""
    """give source images a target image's colour statistics, or its low-frequency amplitudes"""
    style_space: Literal["lab", "rgb"] = "lab"
    """where the statistics are taken"""
    style_share: float = 0.5
    """of the source images that are restyled"""
    style_beta: float = 0.01
    """of the shorter side: the half width of the window of amplitudes"""
    optimizer: Literal["sgd", "adam", "adamw"] | None = None
    """the segmentor's; left out: that of the network's own recipe"""
    lr: float | None = None
    """of new layers; decays with power 0.9 to zero"""
    backbone_scale: float | None = None
    """the backbone's learning rate relative to lr"""
    weight_decay: float | None = None
    batch_norm: Literal["train", "frozen", "sync"] = "train"
    """batch statistics; those of the weights file, never updated; batch statistics over all GPUs"""
    precision: Literal["fp32", "bf16"] = "fp32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    threads: int = 0
    """CPU threads of each process; 0 for all cores"""
    workers: int = 1
    """processes that load images"""
    cache: str = ""
    """keep decoded images: memory (of each worker), or a folder that runs may share"""
    compile: bool = False
    log_every: int = 20
    save_every: int = 200
    picture_every: int = 200
    keep_every: int = 0
    """also keep the networks of every so many steps, to score the curve; 0: the last alone"""
    strict: bool = False
    """stop at files that the scan found bad instead of leaving them out"""
    select_on: str = ""
    """LABELLED target images: also keep the best checkpoint on them (not a fair result)"""
    keep_best_by: Literal["", "entropy", "diversity", "information", "agreement"] = ""
    """also keep the checkpoint with the best of this signal, which needs no label (see the docs)"""

    def __post_init__(self) -> None:
        bounds.at_least(1, self, "steps", "batch", "devices")
        bounds.at_least(1, self, "log_every", "save_every", "picture_every")
        bounds.at_least(0, self, "keep_every")
        if not 0 <= self.style_share <= 1 or not 0 <= self.style_beta < 0.5:
            raise UserError(
                f"--style-share {self.style_share}, --style-beta {self.style_beta}: wanted a share "
                "in 0..1 and a half width in 0..0.5"
            )
        if self.select_on and self.keep_best_by:
            raise UserError(
                f"--select-on and --keep-best-by {self.keep_best_by} both keep best.safetensors: "
                "give one of them"
            )
        if self.batch % self.devices:
            raise UserError(
                f"--batch {self.batch} does not divide among --devices {self.devices}; "
                "choose a multiple"
            )
        if not 0 < self.scale[0] <= self.scale[1]:
            raise UserError(f"--scale {self.scale}: wanted two factors, 0 < low <= high")

    def settings(self) -> dict[str, Any]:
        """What decides the result, as plain values: the fields without the machine's."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: v for k, v in values.items() if k not in MACHINE_FIELDS}


def uncoloured(run: Run) -> Run:
    """The run for draws as the images are, in colours and in number: its method changes them."""
    return replace(run, colour_jitter=0.0, blur=0.0, style="", sample_rare=False)


def parse_size(text: str, option: str) -> tuple[int, int] | None:
    """ "128x256" -> (128, 256): height, width; "" -> None; UserError for anything else."""
    if not text:
        return None
    height, x, width = text.lower().partition("x")
    if not (x and height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise UserError(f"--{option} {text!r} is not a size; write HEIGHTxWIDTH, e.g. 512x1024")
    return int(height), int(width)
