"""The joint step of ldr against the same step as research code writes it: steps/s, peak memory.

    python bench/joint_step.py                                    # CPU, small
    python bench/joint_step.py --device cuda --network deeplabv2_resnet101 --size 512x1024 \\
        --batch 1 --width 64 --blocks 9 --perceptual-weights vgg19.pth --precision bf16

"apart" runs G once for the labels, once for the adversary and once for the reconstruction, and D
and D_1..D_3 on detached images and again for G's and M's losses, a backward pass for each.
"together" is `adapt.methods.ldr.joint.Joint`: one pass each. Both are timed in turns in
processes of their own, on random images; the least of the steps counts. What bounds the step is
printed as each network's share of its forward time.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from adapt.data.drawing.batches import Batch
from adapt.losses import SOURCE, TARGET, cross_entropy, cross_entropy_to
from adapt.methods.ldr.joint import Config, Joint
from adapt.methods.ldr.reconstruction import near_one_hot
from adapt.methods.ldr.translation import DRAWN, REAL
from adapt.networks.upsampling import full_size
from adapt.run import Run, parse_size

CLASSES = 19


class Apart:
    """The same losses, every one from passes of its own."""

    def __init__(self, joint: Joint) -> None:
        self.joint = joint
        self.G, self.M = joint.G, joint.M
        self.D, self.D_k = joint.segmentation.D, joint.rebuild.D_k
        self.players = joint.game.optimizers

    def step(self, batch: Batch) -> dict[str, Tensor]:
        for optimizer in self.players.values():
            optimizer.zero_grad()
        self._segmentation(batch)
        for x in (batch.x_s, batch.x_t):
            self._reconstruction(x)
        for optimizer in self.players.values():
            optimizer.step()
        return {}

    def _segmentation(self, batch: Batch) -> None:
        w = self.joint.config
        cross_entropy(self._logits(batch.x_s), batch.y_s).backward()
        z_t = self._logits(batch.x_t)
        (w.w_adv * cross_entropy_to(self.D(z_t.softmax(1)), SOURCE)).backward()
        self.players["D"].zero_grad()
        for x, city in ((batch.x_s, SOURCE), (batch.x_t, TARGET)):
            d = self.D(self._logits(x).softmax(1).detach())
            (cross_entropy_to(d, city) / 2).backward()

    def _reconstruction(self, x: Tensor) -> None:
        w, rebuild = self.joint.config, self.joint.rebuild
        omega = near_one_hot(self._logits(x), w.tau)
        rebuilt = self.M(omega)
        real, fake = torch.cat([omega, x], 1), torch.cat([omega, rebuilt], 1)
        adversarial = sum(cross_entropy_to(d.logits, REAL) for d in self.D_k(fake))
        matching = sum(
            l1_loss(f, r.detach())
            for a, b in zip(self.D_k(fake), self.D_k(real), strict=True)
            for f, r in zip(a.features, b.features, strict=True)
        )
        perceptual = rebuild._perceptual(rebuilt, x)  # pyright: ignore[reportPrivateUsage]
        (w.alpha * adversarial + w.beta * (perceptual + matching)).backward()  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]
        self.players["D_k"].zero_grad()
        for pair, kind in ((real, REAL), (fake, DRAWN)):
            loss = sum(cross_entropy_to(d.logits, kind) for d in self.D_k(pair.detach()))
            loss.backward()  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]

    def _logits(self, x: Tensor) -> Tensor:
        return full_size(self.G(x).logits, (x.shape[2], x.shape[3]), self.G.align_corners)


def main() -> None:
    """Print both ways' steps/s and memory, and their ratio."""
    asked = options().parse_args()
    if asked.way:
        measure(asked)
        return
    print(f"{asked.network}, {asked.size}, batch {asked.batch}, width {asked.width}, "
          f"{asked.precision}, {device_name(asked.device)}")  # fmt: skip
    for _ in range(asked.rounds):
        for way in ("apart", "together"):
            command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
            subprocess.run(command, check=True)


def measure(asked: argparse.Namespace) -> None:
    """One way, in this process."""
    torch.manual_seed(0)
    run = Run(source="", target="", out=Path(), network=asked.network, weights="none",
              colour_jitter=0.0)  # fmt: skip
    config = Config(width=asked.width, blocks=asked.blocks, perceptual=asked.perceptual,
                    perceptual_weights=asked.perceptual_weights)  # fmt: skip
    joint = Joint(config, run, CLASSES)
    for part in joint.state.values():
        if isinstance(part, nn.Module):
            part.to(asked.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    step = joint.step if asked.way == "together" else Apart(joint).step
    batch = random_batch(asked)
    seconds: list[float] = []
    with shares(joint) as spent:
        for _ in range(asked.steps + 2):
            begun = now(asked.device)
            with torch.autocast(asked.device, torch.bfloat16, enabled=asked.precision == "bf16"):
                losses = step(batch)
            seconds.append(now(asked.device) - begun)
            assert all(bool(loss.isfinite()) for loss in losses.values())
    whole = sum(spent.values())
    parts = ", ".join(f"{k} {100 * v / whole:.0f} %" for k, v in spent.items())
    print(f"{asked.way:9} {1 / min(seconds[2:]):.3f} steps/s, peak {peak(asked.device):.2f} GiB; "
          f"forward: {parts}", flush=True)  # fmt: skip


def random_batch(asked: argparse.Namespace) -> Batch:
    """Random images and labels; every pixel has a pseudo label."""
    size = parse_size(asked.size, "size")
    assert size
    x = torch.rand(asked.batch, 3, *size, device=asked.device)
    y = torch.randint(0, CLASSES, (asked.batch, *size), device=asked.device, dtype=torch.uint8)
    x = x.contiguous(memory_format=torch.channels_last)
    return Batch(x, y, x.flip(0), y)


@contextmanager
def shares(joint: Joint) -> Generator[dict[str, float]]:
    """Seconds in the forward passes of each network."""
    networks: dict[str, nn.Module] = {"G": joint.G, "M": joint.M}
    networks |= {"D": joint.segmentation.D, "D_k": joint.rebuild.D_k}
    if joint.rebuild.V:
        networks["V"] = joint.rebuild.V
    spent = dict.fromkeys(networks, 0.0)
    begun: dict[str, float] = {}

    def hooks(name: str, device: str) -> tuple[Callable[..., None], Callable[..., None]]:
        def before(*_: object) -> None:
            begun[name] = now(device)

        def after(*_: object) -> None:
            spent[name] += now(device) - begun[name]

        return before, after

    device = next(joint.G.parameters()).device.type
    for name, network in networks.items():
        before, after = hooks(name, device)
        network.register_forward_pre_hook(before)
        network.register_forward_hook(after)
    yield spent


def now(device: str) -> float:
    """Seconds, once the device has done what it was told."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def peak(device: str) -> float:
    """GiB: what torch had allocated at most on a GPU, else what the process had."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def device_name(device: str) -> str:
    """What it ran on."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads"


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--network", default="lraspp_mobilenet_v2")
    parser.add_argument("--size", default="128x256")
    parser.add_argument("--perceptual", default="vgg19", choices=["vgg19", "mobilenet_v2", "none"])
    parser.add_argument("--perceptual-weights", default="")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--way", default="", choices=["", "apart", "together"])
    for name, value in (("batch", 4), ("width", 16), ("blocks", 3), ("steps", 5), ("rounds", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    return parser


if __name__ == "__main__":
    main()
