"""The stage that separates the target: a map of bytes an image, thresholds, Prop., a picture."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from rich.progress import track
from rich.table import Table
from torch import Tensor

from adapt.data.datasets import Images
from adapt.data.pseudo_labelled import PseudoLabelled
from adapt.evaluation.evaluate import Views
from adapt.evaluation.label_free import entropy
from adapt.methods.intra_domain.pictures import separation as pictured
from adapt.methods.intra_domain.separation import (
    InstanceAdaptive,
    Proportion,
    easy_images,
    median_thresholds,
    separate,
)
from adapt.networks.segmentor import Segmentor
from adapt.pictures.overlay import Palette, png, write_png
from adapt.stages.made import DONE, write_missing
from adapt.stages.pseudo_labels import Confident, counted, label_files
from adapt.stages.runner import Making

log = logging.getLogger(__name__)
CAP = 0.9
"""no class's threshold is higher"""


@dataclass(frozen=True, kw_only=True)
class Separation:
    """How easy is told from hard."""

    split: Literal["pixel", "image"] = "pixel"
    """image: IntraDA's, whole images by their mean entropy"""
    thresholds: Literal["median", "ias"] = "median"
    """of the whole target, or IAS's of each image"""
    alpha: float = 0.85
    """a pixel is easy if it has a class with p > alpha t; of IAS's own thresholds alpha is 1"""
    share: float = 0.67
    """lambda: of the images that are easy where whole images are split"""
    label_scales: tuple[float, ...] = (1.0,)
    """of --size; labels are given by the mean of the probabilities at all of them"""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Whose opinion is asked, about which images; seen at `size` (height, width)."""

    segmentor: Callable[[], Segmentor]
    """on the run's device; built when it is needed"""
    images: Images
    size: tuple[int, int] | None
    classes: Sequence[str]
    palette: Palette


def separation(
    name: str, how: Separation, asked: Asked, needs: tuple[str, ...], made_of: Mapping[str, str]
) -> Making:
    """The stage that leaves NAME/labels, maps as in `separation.py`; thresholds and Prop. are kept.

    `made_of` are fingerprints of what it depends on besides the stages it needs.
    """
    settings = {**asdict(how), **made_of}
    make = partial(_make, how, asked)
    return Making(name=name, needs=needs, settings=settings, shared=True, make=make)


def signals_of(folder: Path) -> dict[str, float]:
    """Prop., by class too, and the thresholds of a finished stage: curves of what is taught by."""
    made = json.loads((folder / DONE).read_text())
    found = {"prop": float(made["prop"])}
    for kind in ("prop_by_class", "thresholds"):
        found |= {f"{kind}/{k}": v for k, v in made.get(kind, {}).items() if v is not None}
    return found


def table(out: Path) -> Table | None:
    """Prop. (Eq. 4) and thresholds by class, a column a round; None before the first."""
    made = {path.parent.name: json.loads(path.read_text()) for path in out.glob(f"sep*/{DONE}")}
    rounds = sorted(made)
    if not rounds:
        return None
    result = Table("class", *rounds, title="easy pixels of each predicted class, % (threshold)")
    for name in made[rounds[0]]["prop_by_class"]:
        result.add_row(name, *(_cell(made[r], name) for r in rounds))
    result.add_section()
    result.add_row("Prop.", *(f"{100 * made[r]['prop']:.1f}" for r in rounds))
    return result


def _cell(made: Mapping[str, Any], name: str) -> str:
    share = made["prop_by_class"][name]
    text = "nowhere" if share is None else f"{100 * share:.1f}"
    return text + (f" ({made['thresholds'][name]:.2f})" if "thresholds" in made else "")


def _make(how: Separation, asked: Asked, folder: Path) -> Mapping[str, object]:
    network, images = asked.segmentor(), asked.images
    device = next(network.parameters()).device
    views = Views(scales=tuple(how.label_scales), size=asked.size)

    def probabilities(i: int) -> Float[Tensor, "1 c h w"]:
        return views.full_size(network, torch.from_numpy(images.image(i))[None].to(device))

    with torch.inference_mode():
        facts = _maps(how, asked, folder, probabilities)
    _say_what_is_missing(folder, facts)
    files = label_files(folder, len(images))
    write_png(
        folder / "pictures" / "000000.png", pictured(PseudoLabelled(images, files), asked.palette)
    )
    return facts


def _maps(
    how: Separation, asked: Asked, folder: Path, probabilities: Callable[[int], Tensor]
) -> Mapping[str, object]:
    """Every image's map; what is there is not written again, but counted."""
    count, classes = len(asked.images), len(asked.classes)
    files, found = label_files(folder, count), Proportion(asked.classes)
    thresholds, easy = torch.zeros(classes), set(range(count))
    if how.split == "image":
        ranked = track(range(count), "separation: ranking")
        entropies = [float(entropy(probabilities(i), 1).mean()) for i in ranked]
        easy = easy_images(entropies, how.share)
    elif how.thresholds == "median":

        def confident(i: int) -> Confident:
            confidence, labels = probabilities(i).max(1)
            return Confident(labels.to(torch.uint8), confidence)

        counts = counted(confident, count, classes, folder / "counts.safetensors")
        thresholds = median_thresholds(counts, CAP)
    adaptive = InstanceAdaptive(classes)
    for i in track(range(count), "separation: drawing"):
        p = probabilities(i)
        if how.split == "pixel" and how.thresholds == "ias":
            thresholds = adaptive.next(p)
        own = thresholds if i in easy else torch.full((classes,), math.inf)
        y = separate(p, own, 1.0 if how.thresholds == "ias" else how.alpha)[0]
        found.add(p.argmax(1)[0], y)
        if not files[i].is_file():
            write_missing(files[i], png(y.cpu().numpy()))
    facts = {} if how.split == "image" else {
        "thresholds": dict(zip(asked.classes, thresholds.tolist(), strict=True))
    }  # fmt: skip
    return {**found.facts(), **facts}


def _say_what_is_missing(folder: Path, facts: Mapping[str, Any]) -> None:
    missing = [name for name, share in facts["prop_by_class"].items() if share is None]
    if missing:
        log.warning(
            "%s: never the most probable class in the target: %s; in this round they teach "
            "little or nothing; where a later one is sure of them (above alpha times %s) they "
            "count again",
            *(folder, ", ".join(missing), CAP),
        )
