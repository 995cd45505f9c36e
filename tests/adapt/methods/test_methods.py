"""One contract for all games; tests/adapt/methods/test_runs.py has the one for whole methods."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from tiny_batch import tiny_batch, tiny_run
from torch import nn

from adapt import saved_state
from adapt.data.image_labels import class_shares
from adapt.methods import output_adversary, source_only
from adapt.methods.distillation import distillation as distill
from adapt.methods.feature_to_image import feature_to_image
from adapt.methods.intra_domain import intra_domain
from adapt.methods.ldr import joint, reconstruction, translation
from adapt.methods.pivot import image_classifier as classifying
from adapt.methods.pivot import pivot
from adapt.methods.self_training import self_training
from adapt.methods.symmetric import star_translation, symmetric
from adapt.networks import build
from adapt.run import Run


class Game(NamedTuple):
    """How a game is built for a run of four classes, and the loss that so many steps must lower."""

    make: Callable[[Run], Any]
    falls: str
    steps: int = 20


def distillation(run: Run) -> distill.Distillation:
    """With a teacher that is sure of something: an untrained one is not."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        teacher = build("lraspp_mobilenet_v2", 4)
    for p in teacher.head.parameters():
        p.data *= 20
    return distill.Distillation(distill.Config(), run, 4, teacher)


def teaching(run: Run, **config: Any) -> self_training.SelfTraining:
    """Student and teacher of four classes, begun alike."""
    settings = self_training.Config(floor=0.0, floor_things=0.0, **config)
    method = self_training.SelfTraining(settings, run, ("road", "building", "sky", "car"))
    method.begin("none")
    return method


SMALL = {"width": 4, "blocks": 1}
JOINT = joint.Config(**SMALL, perceptual="none", beta=0.05)
LEAST_SQUARES = output_adversary.Config(
    width_d=8, discriminator_input="entropy", adversarial_loss="least_squares", target_norm="source"
)
DRAWN_FROM_FEATURES = feature_to_image.Config(width=4, lr_images=2e-3)


def intra(adversary: Any, **more: Any) -> Callable[[Run], Any]:
    """With the tiny city's labels for what is easy, and its sky for what is hard."""
    config = intra_domain.Config(width_d=8, adversary=adversary, **more)

    def make(run: Run) -> Any:
        method = intra_domain.IntraDomain(config, run, 4, kld=True)
        step = method.step

        def separated(batch: Any) -> Any:
            hard = torch.where(batch.y_s == 2, 120, batch.y_s).to(torch.uint8)
            return step(batch._replace(y_t=hard))

        method.step = separated  # type: ignore[method-assign]
        return method

    return make


def told(run: Run) -> Any:
    """With the tiny city's own shares as the target's image-level labels."""
    method = pivot.Pivot(pivot.Config(), run, 4)
    step = method.step
    method.step = lambda b: step(b._replace(v_t=class_shares(b.y_s, 4)))  # type: ignore[method-assign]
    return method


def image_classifier(run: Run) -> Any:
    """With features that say which of the four images it is, and a class for each."""
    method = classifying.ImageClassifier(4, 4, lr=0.5)
    step, each = method.step, torch.eye(4)
    method.step = lambda b: step(b._replace(x_s=each, v_s=each))  # type: ignore[method-assign]
    return method


GAMES: dict[str, Game] = {
    "source_only": Game(
        lambda run: source_only.SourceOnly(source_only.Config(), run, 4), falls="G"
    ),
    "output_adversary": Game(
        lambda run: output_adversary.OutputAdversary(output_adversary.Config(width_d=8), run, 4),
        falls="G",
    ),
    "entropy, least squares": Game(
        lambda run: output_adversary.OutputAdversary(LEAST_SQUARES, run, 4), falls="G"
    ),
    "ldr's translation": Game(
        lambda _: translation.Translation(
            translation.Config(**SMALL, history=4, translate_lr=2e-3), (64, 128)
        ),
        falls="D",
    ),
    "ldr's pretraining": Game(
        lambda _: reconstruction.Pretraining(
            reconstruction.Config(**SMALL, perceptual="none", pretrain_lr=2e-3), 4
        ),
        falls="M",
        steps=40,  # it is measured by discriminators that move
    ),
    "ldr without reconstruction, separate norms": Game(
        lambda run: joint.Segmentation(dataclasses.replace(JOINT, target_norm="separate"), run, 4),
        falls="G",
    ),
    "ldr": Game(lambda run: joint.Joint(JOINT, run, 4), falls="G"),
    "intra_domain": Game(intra("cts"), falls="G"),
    "intra_domain, PLA": Game(intra("pla", target_norm="separate"), falls="G"),
    "feature_to_image": Game(
        lambda run: feature_to_image.FeatureToImage(DRAWN_FROM_FEATURES, run, 4), falls="F"
    ),
    "feature_to_image in feature space": Game(
        lambda run: feature_to_image.FeatureAdversary(DRAWN_FROM_FEATURES, run, 4), falls="F"
    ),
    "pivot": Game(told, falls="G"),
    "pivot's classifier": Game(image_classifier, falls="P"),
    "symmetric's translation": Game(
        lambda _: star_translation.StarTranslation(
            star_translation.Config(**SMALL, translate_lr=1e-3)  # faster, and D wins
        ),
        falls="F",
    ),
    "symmetric": Game(
        lambda run: symmetric.Symmetric(symmetric.Config(width_d=8), run, 4), falls="A"
    ),
    "distillation": Game(distillation, falls="S"),
    "self_training": Game(teaching, falls="source"),
    "self_training by share, student deployed": Game(
        lambda run: teaching(
            run, labels="share", threshold=0.3, w_mask=1.0, mask_block=16, deploy="student"
        ),
        falls="source",
    ),
}


@pytest.fixture(params=GAMES)
def game(request: pytest.FixtureRequest) -> Game:
    torch.manual_seed(0)
    return GAMES[request.param]


def modules(found: Any, depth: int = 3) -> Iterator[nn.Module]:
    """The networks that a method holds, also those that are no players."""
    if isinstance(found, nn.Module):
        yield found
    elif depth and type(found).__module__.startswith("adapt."):
        for value in vars(found).values():
            yield from modules(value, depth - 1)


def test_a_step_moves_every_player_and_nobody_else(game: Game) -> None:
    method = game.make(tiny_run())
    players = [v for v in method.state.values() if isinstance(v, nn.Module) and [*v.parameters()]]
    moved = {
        id(p) for o in method.game.optimizers.values() for g in o.param_groups for p in g["params"]
    }
    moved |= {id(p) for p in getattr(method, "teacher", nn.Module()).parameters()}  # it follows
    everything = {id(p): p for m in modules(method) for p in m.parameters()}
    before = {key: p.detach().clone() for key, p in everything.items()}
    losses = method.step(tiny_batch())
    assert all(loss.isfinite() and not loss.requires_grad for loss in losses.values())
    changed = {key for key, p in everything.items() if not torch.equal(p, before[key])}
    assert changed <= moved
    for player in players:
        assert any(id(p) in changed for p in player.parameters()), type(player)


def test_a_few_steps_lower_the_loss(game: Game) -> None:
    method, batch = game.make(tiny_run()), tiny_batch()
    first = float(method.step(batch)[game.falls])
    later = [float(method.step(batch)[game.falls]) for _ in range(game.steps - 1)]
    assert sum(later[-5:]) / 5 < 0.75 * first


def test_saved_and_loaded_it_takes_the_same_next_step(game: Game, tmp_path: Path) -> None:
    method, batch = game.make(tiny_run()), tiny_batch()
    method.step(batch)
    saved_state.save(tmp_path / "last.safetensors", method.state, 1)
    torch.manual_seed(1)
    expected = method.step(batch)
    torch.manual_seed(7)
    other = game.make(tiny_run())
    assert saved_state.load(tmp_path / "last.safetensors", other.state) == 1
    torch.manual_seed(1)
    assert all(torch.equal(v, expected[k]) for k, v in other.step(batch).items())


def test_the_segmentor_moves_its_target_outputs_to_the_source_side() -> None:
    """With D fixed and nothing labelled, D's score of target outputs (1 = target) must fall."""
    torch.manual_seed(0)
    config = output_adversary.Config(width_d=8, w_adv=1.0, w_adv_aux=0.0, w_aux=0.0, lr_d=0.0)
    method = output_adversary.OutputAdversary(config, tiny_run(), 4)
    batch = tiny_batch()
    unlabelled = batch._replace(y_s=torch.full_like(batch.y_s, 255))

    def target_score() -> float:
        with torch.no_grad():
            z = method.G(torch.cat([batch.x_s, batch.x_t])).logits
            full = nn.functional.interpolate(z, size=batch.x_t.shape[-2:], mode="bilinear")
            return float(method.D(full.softmax(1)).chunk(2)[1].mean())

    before = target_score()
    for _ in range(10):
        method.step(unlabelled)
    assert target_score() < before


def test_the_discriminator_learns_which_city_is_which() -> None:
    """With the segmentor fixed, D must score target outputs (1) above source outputs (0)."""
    torch.manual_seed(0)
    config = output_adversary.Config(width_d=8, lr_d=1e-2)
    run = dataclasses.replace(tiny_run(), lr=0.0)
    method = output_adversary.OutputAdversary(config, run, 4)
    batch = tiny_batch()
    for _ in range(20):
        losses = method.step(batch)
    assert float(losses["D"]) < 0.6
    with torch.no_grad():
        z = method.G(torch.cat([batch.x_s, batch.x_t])).logits
        full = nn.functional.interpolate(z, size=batch.x_t.shape[-2:], mode="bilinear")
        d_s, d_t = method.D(full.softmax(1)).chunk(2)
    assert float(d_t.mean()) > float(d_s.mean())
