"""Distillation: the loss by hand, the teacher untouched, whole runs through the command line."""

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_city import TINY_CLASSES, write_tiny_city
from torch import Tensor, nn

import roadshift
from adapt import checkpoint, saved_state
from adapt.checkpoint import RunInfo
from adapt.data import cities, datasets
from adapt.data.classes import palette_of
from adapt.data.drawing.batches import Batch
from adapt.methods.distillation.distillation import Config, Distillation, soft_cross_entropy
from adapt.networks import Segmented, Segmentor, build
from adapt.networks.image_generator import Translator
from adapt.run import Run
from adapt.stages import train

EMPTY = torch.empty(0, dtype=torch.uint8)
SMALL = {
    "--student": "lraspp_mobilenet_v2",
    "--weights": "none",
    "--batch": "2",
    "--threads": "1",
    "--workers": "0",
}


class Strongest(Segmentor):
    """Three classes: which of red, green and blue is the strongest; sure of it."""

    align_corners = False

    def __init__(self, sureness: float) -> None:
        super().__init__()
        self.sureness = nn.Parameter(torch.tensor(sureness))
        self.seen = EMPTY
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Segmented:
        assert not self.training
        self.seen = x
        z = self.sureness * (self.norm(x) - x.amax(1, keepdim=True))
        return Segmented(z, z)


def batch_of(x_t: Tensor) -> Batch:
    return Batch(EMPTY, EMPTY, x_t, EMPTY)


def flags() -> Tensor:
    """Two images [2,3,64,64] of three stripes, nearly red, green and blue."""
    x = torch.full((2, 3, 64, 64), 0.2)
    for k in range(3):
        x[0, k, :, 21 * k : 21 * k + 22] = 0.8
        x[1, k, 21 * k : 21 * k + 22] = 0.8
    return x


def method_of(config: Config, **more: object) -> Distillation:
    run = Run(source="", target="", out=Path(), weights="none", lr=5e-3, backbone_scale=1.0)
    torch.manual_seed(0)
    return Distillation(config, replace(run, **more), 3, Strongest(100.0))


def test_the_loss_by_hand() -> None:
    """p = (3/4, 1/4) in both pixels; q = (1/2, 1/2) in one, (1/4, 3/4) in the other."""
    three = math.log(3)
    v = torch.tensor([[three, 0.0], [three, 0.0]]).T.view(1, 2, 1, 2)
    z = torch.tensor([[1.0, 1.0], [0.0, three]]).T.view(1, 2, 1, 2)
    first, second = math.log(2), -(0.75 * math.log(0.25) + 0.25 * math.log(0.75))
    assert float(soft_cross_entropy(z, v, 1.0)) == pytest.approx((first + second) / 2)
    # At T = 2 logits twice as large have the same softmax, and the loss counts four times.
    assert float(soft_cross_entropy(2 * z, 2 * v, 2.0)) == pytest.approx(2 * (first + second))


def test_the_auxiliary_output_counts_a_tenth() -> None:
    x = flags()
    losses: dict[float, float] = {}
    for w_aux in (0.0, 0.1, 1.0):
        method = method_of(Config(w_aux=w_aux), colour_jitter=0.0)
        losses[w_aux] = float(method.step(batch_of(x))["S"])
    assert losses[0.1] - losses[0.0] == pytest.approx(0.1 * (losses[1.0] - losses[0.0]), rel=1e-4)
    assert losses[1.0] > losses[0.0] > 0


def test_the_student_of_a_sure_teacher_reaches_its_labels() -> None:
    method, x = method_of(Config(), colour_jitter=0.1), flags()
    before = {name: t.clone() for name, t in method.teacher.state_dict().items()}
    losses = [float(method.step(batch_of(x))["S"]) for _ in range(100)]
    assert losses[19] < 0.7 * losses[0]
    assert losses[-1] < losses[19]
    with torch.no_grad():
        taught = method.teacher(x).logits.argmax(1)
        z = method.student.eval()(x).logits
    learnt = nn.functional.interpolate(z, size=(64, 64), mode="bilinear").argmax(1)
    assert float((learnt == taught).float().mean()) > 0.9
    assert all(torch.equal(t, before[name]) for name, t in method.teacher.state_dict().items())
    assert all(p.grad is None for p in method.teacher.parameters())
    assert not any("teacher" in name for name in method.state)


def test_only_the_student_sees_other_colours() -> None:
    method, x = method_of(Config(), colour_jitter=0.5, blur=1.0), flags()
    seen: list[Tensor] = []
    method.student.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    method.step(batch_of(x))
    assert isinstance(method.teacher, Strongest)
    assert torch.equal(method.teacher.seen, x)
    assert not torch.allclose(seen[0], x, atol=0.02)
    # Every image has its own colours: the same stripe does not come out the same twice.
    assert not torch.allclose(seen[0][0, :, 5, 5], seen[0][1, :, 5, 5], atol=1e-3)
    assert float(seen[0].min()) >= 0
    assert float(seen[0].max()) <= 1


def write_teacher(out: Path, target: str, *, translator: bool = False, seed: int = 0) -> Path:
    """A run folder with a network that was never trained."""
    torch.manual_seed(seed)
    parts: dict[str, nn.Module] = {"segmentor": build("lraspp_mobilenet_v2", 4)}
    sizes = {"width": 4, "blocks": 1}
    described = {"segmentor": {"kind": "lraspp_mobilenet_v2", "classes": 4}}
    if translator:
        parts["translator"] = Translator(**sizes)
        described["translator"] = {"kind": "translator", **sizes}
    info = RunInfo(
        method="source_only", network="lraspp_mobilenet_v2", classes=TINY_CLASSES,
        palette=palette_of(TINY_CLASSES), source="folder:/gone/source", target=target,
        work_size=(64, 128), commit="", steps=1, seed=0, settings={}, fingerprints={},
        versions={}, parts=described,
    )  # fmt: skip
    checkpoint.write_info(out, info)
    saved_state.save(out / "last.safetensors", parts, 1)
    return out


def distil(teacher: Path, out: Path, *more: str) -> int:
    small = [word for option in SMALL.items() if option[0] not in more for word in option]
    with pytest.raises(SystemExit) as ended:
        roadshift.main(["distill", str(teacher), "--out", str(out), *small, *more])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, tiny_target: str) -> Path:
    return write_teacher(tmp_path_factory.mktemp("teachers") / "teacher", tiny_target)


def test_the_student_is_a_run_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The source is gone, the labels beside the target are never opened."""
    city = write_tiny_city(tmp_path / "city", 4, 0.6)
    target = f"folder:{city}"
    teacher = write_teacher(tmp_path / "teacher", target, translator=True)
    weights = (teacher / "last.safetensors").read_bytes()

    def door(*_: object) -> None:
        pytest.fail("labels were opened")

    with monkeypatch.context() as patched:
        for name in ("labelled", "open_labels", "find_labels"):
            patched.setattr(datasets, name, door)
        for module in (cities, train):  # imported above: as they are without the doors
            patched.setattr(module, "labelled", door)
        assert distil(teacher, tmp_path / "student", "--steps", "2") == 0
    assert "roadshift compare" in capfd.readouterr().out
    assert (teacher / "last.safetensors").read_bytes() == weights
    student = checkpoint.read(tmp_path / "student")
    info = student.info
    assert (info.method, info.network) == ("distillation", "lraspp_mobilenet_v2")
    assert (info.classes, info.work_size, info.target) == (TINY_CLASSES, (64, 128), target)
    assert info.settings["teacher"] == str(teacher)
    assert info.parts.keys() == {"segmentor"}
    assert set(info.fingerprints) == {"target", "teacher's weights"}
    assert list((tmp_path / "student/pictures").glob("*.png"))
    with pytest.raises(SystemExit) as ended:
        roadshift.main(["evaluate", str(tmp_path / "student"), "--data", target])
    assert ended.value.code == 0


def test_resumed_equals_uninterrupted(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off in the fifth of six steps and gone on from the third: equal to the last bit."""
    more = "--steps 6 --save-every 3 --colour-jitter 0.4 --blur 0.5 --scale 1 1.5".split()
    assert distil(teacher, tmp_path / "whole", *more) == 0
    steps = 0

    def breaks_off(step: Callable[..., object]) -> Callable[..., object]:
        def counted(method: Distillation, batch: Batch) -> object:
            nonlocal steps
            steps += 1
            if steps == 5:
                raise RuntimeError("the power went off")
            return step(method, batch)

        return counted

    with monkeypatch.context() as patched:
        patched.setattr(Distillation, "step", breaks_off(Distillation.step))
        assert distil(teacher, tmp_path / "broken", *more) == 1
    assert saved_state.step_of(tmp_path / "broken") == 3
    assert distil(teacher, tmp_path / "broken", *more) == 0
    a, b = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "broken"))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_changed_teacher_is_refused(
    teacher: Path, tiny_target: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    moving = tmp_path / "teacher"
    shutil.copytree(teacher, moving)
    assert distil(moving, tmp_path / "student", "--steps", "1") == 0
    write_teacher(moving, tiny_target, seed=1)
    assert distil(moving, tmp_path / "student", "--steps", "1") == 2
    assert "holds another run: teacher's weights is" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--student", "pidnet"], "unknown network 'pidnet': did you mean 'pidnet_s'?"),
        (["--student", "pidnet_s", "--weights", "imagenet"], "pass `--weights FILE`"),
        (["--target", "folder:/nowhere"], "/nowhere"),
        (["--temperature", "0"], "--temperature is 0.0; wanted more than 0"),
    ],
)
def test_mistakes_are_one_sentence(
    teacher: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    more: list[str],
    sentence: str,
) -> None:
    assert distil(teacher, tmp_path / "student", *more) == 2
    said = capfd.readouterr().err
    assert sentence in said
    assert "Traceback" not in said


def test_a_teacher_that_is_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], tiny_target: str
) -> None:
    assert distil(tmp_path, tmp_path / "student") == 2
    assert "is not a run folder" in capfd.readouterr().err
    gone = write_teacher(tmp_path / "teacher", "folder:/gone/target")
    assert distil(gone, tmp_path / "student") == 2
    said = capfd.readouterr().err
    assert "the target that the teacher was trained on does not open here" in said
    assert "--target" in said
    assert distil(gone, tmp_path / "student", "--target", tiny_target, "--steps", "1") == 0
