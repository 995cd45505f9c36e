"""How each term of Eq. 6 pulls at the segmentor of a finished ldr run, and whether M ranks labels.

    python bench/gradients.py RUN --labelled camvid:../shared/data/camvid#val

RUN is a run of `roadshift adapt ldr` with reconstruction. Prints, on one batch and the networks of
its last round, the norms of the gradients that G gets from Eq. 1, from beta times Eq. 5 and from
alpha times the adversaries, and the cosine between the first two, for several temperatures. Then,
of labelled images of either city: in how many of them the true label map has a lower Eq. 5 than the
predicted one (unlabelled pixels are empty in both). Where that is a coin's toss, no temperature and
no weight makes the reconstruction point to the truth. Labels are looked at here, never in training.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from adapt import checkpoint, saved_state
from adapt.data.classes import IGNORE
from adapt.data.datasets import LabelledImages, labelled, unlabelled
from adapt.data.drawing.augment import Augment
from adapt.data.drawing.batches import Batch, batches
from adapt.data.drawing.draws import make_draws
from adapt.methods.ldr.config import Config
from adapt.methods.ldr.joint import Joint
from adapt.methods.ldr.reconstruction import near_one_hot, one_hot
from adapt.networks import Segmentor
from adapt.networks.segmentors.translated import Translated
from adapt.networks.upsampling import labels_at
from adapt.run import Run, parse_size


def main() -> None:
    """Print a line a temperature."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--labelled", nargs="*", default=(), help="data sets, as in --source")
    parser.add_argument("--images", type=int, default=100, help="of each data set")
    asked = parser.parse_args()
    info = checkpoint.read_info(asked.run)
    told = info.settings
    config = Config(**{f.name: told[f.name] for f in fields(Config)})
    settings = {f.name: told[f.name] for f in fields(Run) if f.name in told}
    settings |= {"colour_jitter": 0.0, "blur": 0.0, "scale": tuple(told["scale"])}
    run = Run(**settings, out=asked.run, workers=0)
    joint = Joint(config, run, len(info.classes))
    last = asked.run / f"joint{config.rounds - 1}" / "last.safetensors"
    networks = {k: v for k, v in joint.state.items() if isinstance(v, torch.nn.Module)}
    saved_state.load(last, networks)
    batch = first_batch(run, info.classes, asked.run)
    print(f"alpha {config.alpha}, beta {config.beta}, perceptual {config.perceptual}")
    for tau in (1e-4, 1e-3, 1e-2, 0.1, 1.0):
        z, _, loss_G = joint.segmentation.losses(batch)  # noqa: N806 - the paper's letter
        r = joint.rebuild(near_one_hot(z, tau), torch.cat([batch.x_s, batch.x_t]))
        labels, rebuilt, fooled = (
            gradient(loss, joint)
            for loss in (
                loss_G,
                2 * config.beta * r.reconstruction,
                2 * config.alpha * r.adversarial,
            )
        )
        print(
            f"tau {tau:g}: Eq. 1 {labels.norm():.3g}, Eq. 5 {rebuilt.norm():.3g}, adversaries "
            f"{fooled.norm():.3g}; cosine {cosine_similarity(labels, rebuilt, 0):.2f}"
        )
    for name in asked.labelled:
        data = labelled(name).with_classes(info.classes)
        chosen = range(0, len(data), -(-len(data) // asked.images))
        truer = ranked(checkpoint.read(asked.run).segmentor.eval(), joint, data, chosen, run)
        print(f"{name}: the true labels have the lower Eq. 5 in {truer} of {len(chosen)} images")


@torch.no_grad()
def ranked(
    segmentor: Segmentor, joint: Joint, data: LabelledImages, chosen: Iterable[int], run: Run
) -> int:
    """Of the chosen images: those whose true labels M rebuilds them better from."""
    size, truer = parse_size(run.size, "size"), 0
    joint.M.eval()
    for i in chosen:
        whole = Augment(size=size, crop=size or data.image(i).shape[:2], flip=False)
        image, label = whole(data.image(i), data.label(i))
        x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        y = torch.from_numpy(label)[None]
        if isinstance(segmentor, Translated):
            x = segmentor.translator(x)  # M rebuilds what F drew
            logits = segmentor.segmentor(x).logits
        else:
            logits = segmentor(x).logits
        found = labels_at(logits, (y.shape[1], y.shape[2]), segmentor.align_corners)
        maps = (y, torch.where(y == IGNORE, IGNORE, found.to(y.dtype)))
        true, predicted = (joint.rebuild(one_hot(m, len(data.classes)), x) for m in maps)
        truer += int(true.reconstruction < predicted.reconstruction)
    return truer


def first_batch(run: Run, classes: tuple[str, ...], folder: Path) -> Batch:
    """Source images with labels, and target images as they were drawn, without pseudo labels."""
    drawn = sorted(folder.parent.glob("stages/translate-*/target_as_source"))
    drawn += sorted(folder.glob("translate/target_as_source"))
    source = labelled(run.source).with_classes(classes)
    draws = make_draws(run, source, unlabelled(f"folder:{drawn[0]}"))
    return next(batches(draws, run, start=0, rank=0)).to(torch.device("cpu"))


def gradient(loss: Tensor, joint: Joint) -> Tensor:
    """Of a loss by all of G's parameters, in one vector."""
    parameters = list(joint.G.parameters())
    found = torch.autograd.grad(
        loss, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return torch.cat([g.flatten() for g in found])


if __name__ == "__main__":
    main()
