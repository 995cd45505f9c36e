"""Images from features: each loss moves whom it should, where it should; Table 4's switches."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from tiny_batch import tiny_batch, tiny_run
from torch.nn.functional import l1_loss

import roadshift
from adapt.methods.feature_to_image.feature_to_image import (
    Config,
    FeatureAdversary,
    FeatureToImage,
    Origin,
    says,
    shrunk,
)
from adapt.methods.feature_to_image.stages import RECIPES
from adapt.networks import SEGMENTORS, build
from adapt.networks.feature_generator import FeatureGenerator, Level, levels_of
from adapt.networks.four_way_discriminator import FourWayDiscriminator
from adapt.run import Run
from adapt.stages.ablation import read_recipe, run_ablation
from roadshift import UserError

SMALL = Config(width=4, lr_images=2e-3, dropout=0.0)  # what is compared is the same drawing
STRONG = dataclasses.replace(SMALL, alpha=0.0, beta=1.0, w_aux=0.0)


def held(method: FeatureToImage | FeatureAdversary, *names: str) -> None:
    """These players do not move."""
    for name in names:
        for group in method.game.optimizers[name].param_groups:
            group["lr"] = 0.0


def test_says_is_the_cross_entropy_to_one_origin_of_every_patch() -> None:
    d = torch.zeros(1, 4, 1, 2)
    d[0, Origin.TARGET_REAL, 0, 1] = math.log(3)
    # One patch in four equal parts, one of which the answer has 3 of 6.
    assert float(says(d, Origin.TARGET_REAL)) == pytest.approx((math.log(4) + math.log(2)) / 2)
    assert float(says(d, Origin.SOURCE_REAL)) == pytest.approx((math.log(4) + math.log(6)) / 2)


def test_labels_of_patches_are_those_at_their_centres() -> None:
    y = torch.arange(6, dtype=torch.uint8).repeat_interleave(3)[None, None].repeat(1, 3, 1)
    assert shrunk(y, torch.zeros(1, 2, 1, 6)).tolist() == [[[0, 1, 2, 3, 4, 5]]]


def test_d_learns_the_four_origins() -> None:
    torch.manual_seed(0)
    method, batch = FeatureToImage(SMALL, tiny_run(), 4), tiny_batch()
    held(method, "F", "G")
    for _ in range(60):
        method.step(batch)
    size = (64, 128)
    with torch.no_grad():
        drawn = [method.G(method.F(x), size) for x in (batch.x_s, batch.x_t)]
        answers = [method.D(x).origin.mean((0, 2, 3)) for x in (batch.x_s, batch.x_t)]
        false = [method.D(x).origin.mean((0, 2, 3)) for x in drawn]
    assert int(answers[0].argmax()) == Origin.SOURCE_REAL
    assert int(answers[1].argmax()) == Origin.TARGET_REAL
    assert int(false[0].argmax()) in (Origin.SOURCE_FAKE, Origin.TARGET_FAKE)


def test_without_the_auxiliary_loss_nobody_asks_for_classes() -> None:
    method = FeatureToImage(dataclasses.replace(STRONG, alpha=1.0, auxiliary=False), tiny_run(), 4)
    before = method.D.classes.weight.clone()
    method.step(tiny_batch())
    assert torch.equal(method.D.classes.weight, before)


def origins(method: FeatureToImage) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean log-probability of each origin, of redrawn source and target images."""
    batch = tiny_batch()
    with torch.no_grad():
        found = [
            method.D(method.G(method.F(x), (64, 128))).origin.log_softmax(1).mean((0, 2, 3))
            for x in (batch.x_s, batch.x_t)
        ]
    return found[0], found[1]


def prepared(config: Config) -> FeatureToImage:
    """With a D that knows something, and holds still."""
    torch.manual_seed(0)
    method = FeatureToImage(config, tiny_run(), 4)
    held(method, "F", "G")
    for _ in range(20):
        method.step(tiny_batch())
    held(method, "D")
    return method


def test_g_passes_for_real_in_the_same_city_and_redraws() -> None:
    method, batch = prepared(dataclasses.replace(SMALL, w_rec=0.0)), tiny_batch()
    before = origins(method)
    method.game.optimizers["G"].param_groups[0]["lr"] = 2e-3
    for _ in range(15):
        method.step(batch)
    after = origins(method)
    assert after[0][Origin.SOURCE_REAL] > before[0][Origin.SOURCE_REAL]
    assert after[1][Origin.TARGET_REAL] > before[1][Origin.TARGET_REAL]

    method = prepared(dataclasses.replace(SMALL, w_rec=1000.0))

    def away() -> float:
        with torch.no_grad():
            return float(l1_loss(method.G(method.F(batch.x_s), (64, 128)), batch.x_s))

    first = away()
    method.game.optimizers["G"].param_groups[0]["lr"] = 2e-3
    for _ in range(15):
        method.step(batch)
    assert away() < first


def test_f_makes_its_redrawings_pass_for_the_other_city() -> None:
    """Nothing is labelled and D and G hold still: only the cross-domain adversary moves F."""
    method, batch = prepared(STRONG), tiny_batch()
    batch = batch._replace(y_s=torch.full_like(batch.y_s, 255))
    before = origins(method)
    for group in method.game.optimizers["F"].param_groups:
        group["lr"] = 2e-3
    for _ in range(15):
        method.step(batch)
    after = origins(method)
    assert after[0][Origin.TARGET_REAL] > before[0][Origin.TARGET_REAL]
    assert after[1][Origin.SOURCE_REAL] > before[1][Origin.SOURCE_REAL]


def test_in_feature_space_the_target_passes_for_the_source() -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(STRONG, space="feature", lr_images=1e-2, target_norm="joint")
    method, batch = FeatureAdversary(config, tiny_run(), 4), tiny_batch()
    held(method, "F")
    batch = batch._replace(y_s=torch.full_like(batch.y_s, 255))

    def target_score() -> float:
        with torch.no_grad():
            seen = method.F(torch.cat([batch.x_s, batch.x_t])).features
            d_s, d_t = method.D(seen).chunk(2)
            assert float(d_t.mean()) > float(d_s.mean())
            return float(d_t.mean())

    for _ in range(20):
        method.step(batch)
    before = target_score()
    held(method, "D")
    for group in method.game.optimizers["F"].param_groups:
        group["lr"] = 1e-3
    for _ in range(5):
        method.step(batch)
    with torch.no_grad():
        seen = method.F(torch.cat([batch.x_s, batch.x_t])).features
        after = float(method.D(seen).chunk(2)[1].mean())
    assert after < before


@pytest.mark.parametrize("name", SEGMENTORS)
def test_every_networks_features_can_be_redrawn(name: str) -> None:
    """Shapes only: nothing is computed."""
    with torch.device("meta"):
        network = build(name, 5).eval()
        features, skips = levels_of(network)
        G = FeatureGenerator(features, skips, 4)
        for size in ((64, 128), (97, 203)):
            assert G(network(torch.empty(2, 3, *size)), size).shape == (2, 3, *size)
    wanted = {"lraspp_mobilenet_v2": Level(1280, 32), "fcn8s_vgg16": Level(4096, 32)}
    assert features == wanted.get(name, Level(128 if name == "pidnet_s" else 2048, 8))


def test_without_patches_an_image_has_one_origin() -> None:
    x = torch.rand(2, 3, 64, 128)
    assert FourWayDiscriminator(5, 4)(x).origin.shape == (2, 4, 8, 16)
    whole = FourWayDiscriminator(5, 4, patches=False)(x)
    assert whole.origin.shape == (2, 4, 1, 1)
    assert whole.classes.shape == (2, 5, 8, 16)


def test_table_4_is_a_recipe() -> None:
    recipe = read_recipe("table4", RECIPES, Config)
    assert len(recipe.rows) == 5


def test_table_3_changes_the_sizes_of_the_run(tmp_path: Path) -> None:
    """Each size twice, without and with the adversary; the rows are runs of those sizes."""
    recipe = read_recipe("table3", RECIPES, Config)
    seen: list[tuple[float, str, str, str]] = []

    def train(config: Config, run: Run, *, shared: Path | None) -> bool:
        assert shared == tmp_path / "stages"
        seen.append((config.beta, run.size, run.source_size, run.crop))
        return False

    asked = dataclasses.replace(tiny_run(), out=tmp_path)
    assert run_ablation(recipe, train, Config(), asked, "") == []
    sizes = ("256x512", "320x640", "512x1024")
    assert seen == [(beta, *3 * (size,)) for size in sizes for beta in (0.0, Config().beta)]
    bad = tmp_path / "bad.toml"
    bad.write_text('title = "x"\n[rows.a]\nsize = 256\n')
    with pytest.raises(UserError, match="size is 256, wanted a value like '256x512'"):
        read_recipe(str(bad), RECIPES, Config)


@pytest.mark.parametrize("wrong", [{"beta": -1.0}, {"width": 0}, {"dropout": 1.0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=f"--{next(iter(wrong))} is"):
        Config(**wrong)  # type: ignore[arg-type]


def test_a_run_shows_its_redrawings(tiny_source: str, tiny_target: str, tmp_path: Path) -> None:
    command = ["adapt", "feature_to_image", "--source", tiny_source, "--target", tiny_target]
    command += ["--out", str(tmp_path / "r"), "--weights", "none", "--batch", "2", "--width", "4"]
    command += ["--steps", "2", "--workers", "0", "--threads", "1", "--picture-every", "2"]
    with pytest.raises(SystemExit) as end:
        roadshift.main(command)
    assert not end.value.code
    assert list((tmp_path / "r/pictures").glob("*.png"))
    last = json.loads((tmp_path / "r/metrics.jsonl").read_text().splitlines()[-1])
    assert {"loss_D", "loss_G", "loss_F", "target_entropy"} <= set(last)
