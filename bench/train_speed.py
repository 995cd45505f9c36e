"""Steps per second of our training loop beside the loops of AdaptSegNet and LSD, and the limit.

    python bench/train_speed.py --data ../shared/data --networks lraspp_mobilenet_v2 --sizes 256x512

Equal work for all: the same network, batch, sizes and losses (output-space adversary, two levels),
CamVid's training frames as the source, cityscapes_small's as the target, one loader process, one
thread. What differs is how: the reference loops, written here after what those codes do, load whole
frames by PIL with a bicubic resize, pass source and target apart, take D's loss from a second pass
over detached outputs, and keep contiguous memory; AdaptSegNet moves G and D together after two
backward passes of G, LSD moves D first and then passes it once more for G. Ours also crops, mirrors
and changes the colours, which they do not. The limit is our step on a batch that is already there;
ours in bf16 is --precision bf16, which pays where the CPU multiplies bfloat16 (AMX).

The routes take turns in one process; each turn has its own loader, whose start is not counted.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from deploy_setup import cpu
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from adapt.data.datasets import Images, LabelledImages, labelled, unlabelled
from adapt.data.drawing.batches import Batch, batches
from adapt.data.drawing.draws import make_draws
from adapt.device import keep_freed_memory
from adapt.losses import SOURCE, TARGET, cross_entropy, cross_entropy_to
from adapt.methods.output_adversary import Config, OutputAdversary
from adapt.networks.upsampling import full_size
from adapt.run import Run, parse_size

RESULTS = Path(__file__).parent / "results" / "train_speed.md"
SKIPPED = 1
"""first steps of a turn, in which the loader is filling up"""


class Whole(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """A source frame, its label and a target frame, resized whole, as floats: as those codes do."""

    def __init__(self, source: LabelledImages, target: Images, size: tuple[int, int]) -> None:
        self.source, self.target = source, target
        self.across = (size[1], size[0])

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor, Tensor]:
        i, j = k % len(self.source), k % len(self.target)
        label = Image.fromarray(self.source.label(i)).resize(self.across, Image.Resampling.NEAREST)
        return (
            self._floats(self.source.image(i)),
            torch.from_numpy(np.array(label)),
            self._floats(self.target.image(j)),
        )

    def _floats(self, image: np.ndarray) -> Tensor:
        resized = Image.fromarray(image).resize(self.across, Image.Resampling.BICUBIC)
        return torch.from_numpy(np.asarray(resized, np.float32).transpose(2, 0, 1) / 255)


class Setting(NamedTuple):
    """What all routes have in common."""

    run: Run
    source: LabelledImages
    target: Images
    size: tuple[int, int]

    def method(self) -> OutputAdversary:
        """A fresh method: every route trains its own networks."""
        torch.manual_seed(0)
        return OutputAdversary(Config(), self.run, len(self.source.classes))


def ours(setting: Setting, *, bf16: bool = False) -> Callable[[], Iterator[None]]:
    """adapt.fit's way: bytes from the loader, one pass over both cities, channels last."""
    method = channels_last(setting.method())
    precision = torch.autocast("cpu", torch.bfloat16, enabled=bf16)

    def turn() -> Iterator[None]:
        draws = make_draws(setting.run, setting.source, setting.target)
        for batch in batches(draws, setting.run, start=0, rank=0):
            with precision:
                losses = method.step(batch.to(torch.device("cpu")))
            assert all(bool(loss.isfinite()) for loss in losses.values())
            yield

    return turn


def limit(setting: Setting) -> Callable[[], Iterator[None]]:
    """The same step, nothing loaded."""
    method = channels_last(setting.method())
    draws = make_draws(setting.run, setting.source, setting.target)
    batch: Batch = next(batches(draws, setting.run, start=0, rank=0)).to(torch.device("cpu"))

    def turn() -> Iterator[None]:
        while True:
            method.step(batch)
            yield

    return turn


class Apart:
    """AdaptSegNet's order of a step, or with the discriminators first LSD's."""

    def __init__(self, setting: Setting, *, discriminators_first: bool) -> None:
        self.setting, self.discriminators_first = setting, discriminators_first
        method, w = setting.method(), Config()
        self.segmentor, self.judges = method.G, (method.D, method.D_aux)
        self.w_seg, self.w_adv = (1.0, w.w_aux), (w.w_adv, w.w_adv_aux)
        self.moves_segmentor, *self.moves_judges = method.game.optimizers.values()

    def __call__(self) -> Iterator[None]:
        """One turn."""
        data = Whole(self.setting.source, self.setting.target, self.setting.size)
        loader: DataLoader[Any] = DataLoader(data, batch_size=self.setting.run.batch, num_workers=1)
        for x_s, y_s, x_t in loader:
            self.step(x_s, y_s, x_t)
            yield

    def step(self, x_s: Tensor, y_s: Tensor, x_t: Tensor) -> None:
        """Source and target apart; the judges' loss from a second pass over detached outputs."""
        for optimizer in (self.moves_segmentor, *self.moves_judges):
            optimizer.zero_grad()
        z_s, z_t = self.passed(x_s), self.passed(x_t)
        if self.discriminators_first:
            self.train_judges(z_s, z_t)
        for judge in self.judges:
            judge.requires_grad_(False)
        (self.w_seg[0] * cross_entropy(z_s[0], y_s)
         + self.w_seg[1] * cross_entropy(z_s[1], y_s)).backward()  # fmt: skip
        (self.w_adv[0] * judged(self.judges[0], z_t[0], SOURCE)
         + self.w_adv[1] * judged(self.judges[1], z_t[1], SOURCE)).backward()  # fmt: skip
        for judge in self.judges:
            judge.requires_grad_(True)
        if not self.discriminators_first:
            self.train_judges(z_s, z_t)
        self.moves_segmentor.step()

    def passed(self, x: Tensor) -> list[Tensor]:
        """Both levels' logits at full size."""
        corners = self.segmentor.align_corners
        return [full_size(z, self.setting.size, corners) for z in self.segmentor(x).heads]

    def train_judges(self, z_s: list[Tensor], z_t: list[Tensor]) -> None:
        """One step of each discriminator."""
        for judge, s, t in zip(self.judges, z_s, z_t, strict=True):
            (judged(judge, s.detach(), SOURCE) / 2).backward()
            (judged(judge, t.detach(), TARGET) / 2).backward()
        for optimizer in self.moves_judges:
            optimizer.step()


def judged(judge: nn.Module, z: Tensor, domain: float) -> Tensor:
    """What calling the outputs of that domain costs."""
    return cross_entropy_to(judge(z.softmax(1)), domain)


def channels_last(method: OutputAdversary) -> OutputAdversary:
    """As fit prepares it."""
    for part in method.state.values():
        if isinstance(part, nn.Module):
            part.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return method


def seconds_a_step(turns: Callable[[], Iterator[None]], steps: int) -> list[float]:
    """Of the steps after the first few of one turn."""
    going, times = turns(), list[float]()
    for k in range(SKIPPED + steps):
        begun = time.perf_counter()
        next(going)
        if k >= SKIPPED:
            times.append(time.perf_counter() - begun)
    return times


def row(network: str, text: str, asked: argparse.Namespace) -> str:
    """One network at one size: mean seconds a step by route, and the ratios."""
    size = parse_size(text, "sizes")
    assert size is not None
    data = Path(asked.data)
    run = Run(
        source=f"camvid:{data}/camvid#train", target=f"folder:{data}/cityscapes_small#train",
        out=Path(), network=network, weights="none", batch=asked.batch, source_size=text, size=text,
        crop=text, scale=(1.0, 1.5), workers=1, steps=100_000,
    )  # fmt: skip
    classes = labelled(run.source).classes
    setting = Setting(run, labelled(run.source).with_classes(classes), unlabelled(run.target), size)
    routes = {
        "ours": ours(setting),
        "bf16": ours(setting, bf16=True),
        "limit": limit(setting),
        "AdaptSegNet": Apart(setting, discriminators_first=False),
        "LSD": Apart(setting, discriminators_first=True),
    }
    times: dict[str, list[float]] = {name: [] for name in routes}
    for _ in range(asked.rounds):
        for name, turns in routes.items():
            times[name] += seconds_a_step(turns, asked.steps)
    mean = {name: statistics.fmean(found) for name, found in times.items()}
    cells = [f"{mean[name]:.2f}" for name in routes]
    theirs = ("AdaptSegNet", "LSD")
    cells += [f"{mean[name] / mean[way]:.2f}" for way in ("ours", "bf16") for name in theirs]
    cells.append(f"{100 * mean['limit'] / mean['ours']:.0f} %")
    return f"| {network} | {text} | " + " | ".join(cells) + " |"


HEAD = (
    "| network | size | ours, s a step | ours in bf16 | limit | AdaptSegNet's loop | LSD's order "
    "| AdaptSegNet's / ours | LSD's / ours | AdaptSegNet's / bf16 | LSD's / bf16 "
    "| share of the limit |\n" + "|---" * 12 + "|"
)


def main() -> None:
    """Print the table row by row, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=str(Path(__file__).parents[2] / "shared" / "data"))
    networks = ["lraspp_mobilenet_v2", "pidnet_s", "deeplabv2_resnet101"]
    parser.add_argument("--networks", nargs="+", default=networks)
    parser.add_argument("--sizes", nargs="+", default=["256x512", "512x1024"])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6, help="that are counted, of each turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    told = (
        f"`python bench/train_speed.py`: {cpu()}, one thread and one loader process, batch "
        f"{asked.batch}, {asked.rounds} turns of {asked.steps} steps, torch {torch.__version__}, "
        f"{date.today().isoformat()}."
    )
    lines = [told, "", HEAD]
    print("\n".join(lines), flush=True)
    for network in asked.networks:
        for size in asked.sizes:
            lines.append(row(network, size, asked))
            print(lines[-1], flush=True)
            asked.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
