"""The pairs of cities and the rows of `adaptation.py`: what is trained on what, and how."""

from __future__ import annotations

from typing import NamedTuple

WEIGHTS = "{data}/weights/mobilenet_v2_imagenet.safetensors"
CAMVID11 = "sky,building,pole,road,sidewalk,vegetation,traffic sign,fence,car,person,rider"
TOYTOWN12 = (
    "road,sidewalk,building,fence,pole,traffic light,traffic sign,vegetation,terrain,sky,person,car"
)
AIRSIM7 = "sky,building,pole,road,vegetation,fence,car"


class City(NamedTuple):
    """Where its images lie ({data} and {bench} are filled in), which are scored, and their size."""

    train: str
    val: str
    size: str


class Pair(NamedTuple):
    """Two cities and how networks are trained on them."""

    source: City
    target: City
    crop: str = "144x192"
    options: str = f"--weights {WEIGHTS} --blur 0.2"
    classes: str = ""
    scale: str = "1 1.5"


CAMVID = City("camvid:{data}/camvid#train", "camvid:{data}/camvid#val", "240x320")
CITYSCAPES = City(
    "folder:{data}/cityscapes_small#train", "folder:{data}/cityscapes_small#val", "192x384"
)
DAY = City("camvid:{data}/camvid#train/!0001TP*", "", "240x320")
DUSK = City(
    "camvid:{data}/camvid#train/0001TP_00[67]*", "camvid:{data}/camvid#train/0001TP_008*", "240x320"
)
AIRSIM = City("folder:{data}/airsim@{bench}/airsim.json#train", "", "180x320")
GAME = City("toytown:game", "", "128x256")
CAMERA = City("toytown:camera", "toytown:camera#val", "128x256")
SCRATCH = "--weights none --backbone-scale 1 --lr 3e-3"
PAIRS = {
    "camvid_cityscapes": Pair(CAMVID, CITYSCAPES, classes=CAMVID11),
    "cityscapes_camvid": Pair(CITYSCAPES, CAMVID, classes=CAMVID11),
    "camvid_dusk": Pair(DAY, DUSK),
    "airsim_cityscapes": Pair(AIRSIM, CITYSCAPES, classes=AIRSIM7),
    "airsim_camvid": Pair(AIRSIM, CAMVID, classes=AIRSIM7),
    "toytown_cityscapes": Pair(GAME, CITYSCAPES, "96x192", classes=TOYTOWN12),
    "toytown": Pair(GAME, CAMERA, "96x192", SCRATCH, scale="1 1"),
}
STYLE = "--style statistics"
SELF = f"{STYLE} --ema 0.98 --warm-up {{quarter}}"

STUDENT = f"--student lraspp_mobilenet_v2 --weights {WEIGHTS}"
LOOKED_AT = "--label-scales 1 --label-scales 1.33 --label-flip"


class Row(NamedTuple):
    """A method with its options; `share` of the steps are its own, the others its first stages'."""

    method: str
    options: str = ""
    share: float = 1.0
    oracle: bool = False
    teacher: str = ""
    """of a student: the row that it learns from, on top of that row's budget"""
    labels_from: str = ""
    """the row whose runs of seeds 0, 1 and 2 label the target together, on top of their budgets"""
    scale: str = ""
    """of images before they are cropped, in place of the pair's"""
    part: str = ""
    """one of the networks whose mean the row `of` deploys: nothing of its own is trained"""
    of: str = ""

    @property
    def deployed(self) -> str:
        """What a frame passes through: rows in which it is the same cost the same."""
        if self.method == "symmetric" and not self.part:
            return "two LR-ASPP MobileNetV2"
        return "PIDNet-S" if "pidnet_s" in self.options else "LR-ASPP MobileNetV2"


LDR = (
    f"--width 16 --blocks 3 --translate-crop 96x128 --translate-lr 1e-3 --w-identity 1 --w-cycle 5 "
    f"--beta 0.05 --pretrain-lr 1e-3 --perceptual mobilenet_v2 --perceptual-weights {WEIGHTS} "
    "--translate-steps {quarter} --pretrain-steps {eighth} --tau 0.1 --target-norm source"
)
SYMMETRIC = (
    "--width 16 --width-d 16 --blocks 3 --translate-crop 96x128 --translate-batch 4 "
    "--translate-lr 1e-3 --translate-steps {quarter}"
)
# The authors' 0.0016 is for 100,000 steps: in 2,000 it would be 1 % of the supervision's gradient.
REDRAWN = "--width 16 --alpha 0.02 --beta 0.02"
INTRA = "--width-d 16 --halvings-d 3"
BESIDE = f"{INTRA} --w-source 1"
PIVOT = f"--features-weights {WEIGHTS} --classifier-steps 2000"


def drawn(title: str, row: Row) -> dict[str, Row]:
    """The row, and the same of source images that are drawn and coloured in other ways."""
    ways = {
        "": "",
        " + style": STYLE,
        " all styled": f"{STYLE} --style-share 1",
        " and rare classes": "--sample-rare",
        " + style and rare classes": f"{STYLE} --sample-rare",
        " all styled and rare classes": f"{STYLE} --style-share 1 --sample-rare",
    }
    return {
        f"{title}{way}": row._replace(options=f"{row.options} {more}") for way, more in ways.items()
    }


def apart(title: str) -> dict[str, Row]:
    """Each of the two networks whose mean a row of symmetric deploys, and a student of both."""
    return {
        f"{title} A": Row("symmetric", part="A", of=title),
        f"{title} B": Row("symmetric", part="B", of=title),
        f"{title} distilled": Row("distill", STUDENT, teacher=title),
    }


ROWS = {
    **drawn("source_only", Row("source_only")),
    "self_training": Row("self_training", SELF),
    "self_training zooms from 0.75": Row("self_training", SELF, scale="0.75 1.5"),
    "self_training no style": Row("self_training", SELF.removeprefix(STYLE)),
    "self_training no mix": Row("self_training", f"{SELF} --no-mix"),
    "self_training joint norm": Row("self_training", f"{SELF} --target-norm joint"),
    "self_training separate norm": Row("self_training", f"{SELF} --target-norm separate"),
    "self_training share labels": Row("self_training", f"{SELF} --labels share"),
    "self_training low floor": Row("self_training", f"{SELF} --floor 0.3"),
    "self_training high floor of things": Row("self_training", f"{SELF} --floor-things 0.7"),
    "self_training half warm-up": Row("self_training", SELF.replace("quarter", "half")),
    "self_training and masks": Row("self_training", f"{SELF} --w-mask 1"),
    "self_training and rare classes": Row("self_training", f"{SELF} --sample-rare"),
    "self_training all styled": Row("self_training", f"{SELF} --style-share 1"),
    "self_training all styled and rare classes": Row(
        "self_training", f"{SELF} --style-share 1 --sample-rare"
    ),
    "self_training and features": Row("self_training", f"{SELF} --w-features 0.01"),
    "self_training from the mean of three": Row(
        "self_training",
        f"{STYLE} --ema 0.98 --labels fixed {LOOKED_AT}",
        labels_from="self_training",
    ),
    "self_training all styled from the mean of three": Row(
        "self_training",
        f"{STYLE} --style-share 1 --ema 0.98 --labels fixed {LOOKED_AT}",
        labels_from="self_training all styled",
    ),
    "self_training all styled and rare classes from the mean of three": Row(
        "self_training",
        f"{STYLE} --style-share 1 --sample-rare --ema 0.98 --labels fixed {LOOKED_AT}",
        labels_from="self_training all styled and rare classes",
    ),
    "output_adversary": Row("output_adversary", "--width-d 16"),
    "output_adversary joint norm": Row("output_adversary", "--width-d 16 --target-norm joint"),
    "output_adversary + style": Row("output_adversary", f"{STYLE} --width-d 16"),
    "ldr T->S + rec": Row("ldr", LDR, share=0.3125),
    "ldr S->T": Row("ldr", f"{LDR} --direction source_to_target --no-reconstruct", share=0.375),
    "ldr mixed S->T and rare classes": Row(
        "ldr",
        f"{LDR} --direction source_to_target --no-reconstruct --mix --sample-rare",
        share=0.375,
    ),
    "intra_domain PLA": Row("intra_domain", f"{INTRA} --adversary pla --rounds 1", share=0.5),
    "intra_domain PLA+CTS": Row("intra_domain", f"{INTRA} --rounds 1", share=0.5),
    "intra_domain + round 2": Row("intra_domain", f"{INTRA} --w-kld 0", share=1 / 3),
    "intra_domain + KLD": Row("intra_domain", INTRA, share=1 / 3),
    "intra_domain + round 2 beside the source": Row(
        "intra_domain", f"{BESIDE} --w-kld 0", share=1 / 3
    ),
    "intra_domain + KLD beside the source": Row("intra_domain", BESIDE, share=1 / 3),
    "intra_domain PLA+CTS beside the source": Row(
        "intra_domain", f"{BESIDE} --rounds 1", share=0.5
    ),
    "intra_domain behind self_training": Row(
        "intra_domain",
        f"{BESIDE} {STYLE} --sample-rare --inter-method self_training "
        "--inter-steps {three_quarters} --rounds 1",
        share=0.25,
    ),
    "intra_domain behind self_training all styled": Row(
        "intra_domain",
        f"{BESIDE} {STYLE} --style-share 1 --sample-rare --inter-method self_training "
        "--inter-steps {three_quarters} --rounds 1",
        share=0.25,
    ),
    "intra_domain mixed behind self_training all styled": Row(
        "intra_domain",
        f"{BESIDE} --mix {STYLE} --style-share 1 --sample-rare --inter-method self_training "
        "--inter-steps {three_quarters} --rounds 1",
        share=0.25,
    ),
    "intra_domain mixed behind self_training usual sampling": Row(
        "intra_domain",
        f"{BESIDE} --mix {STYLE} --inter-method self_training --inter-steps {{three_quarters}} "
        "--rounds 1",
        share=0.25,
    ),
    "IntraDA": Row(
        "intra_domain",
        f"{INTRA} --split image --adversary pla --discriminator-input entropy --rounds 1",
        share=0.5,
    ),
    **drawn("feature_to_image", Row("feature_to_image", REDRAWN)),
    "feature_to_image without auxiliary loss": Row("feature_to_image", f"{REDRAWN} --no-auxiliary"),
    "feature_to_image without patches": Row("feature_to_image", f"{REDRAWN} --no-patches"),
    "feature_to_image in feature space": Row("feature_to_image", f"{REDRAWN} --space feature"),
    "pivot": Row("pivot", PIVOT),
    "pivot source norm": Row("pivot", f"{PIVOT} --target-norm source"),
    **drawn("pivot a tenth", Row("pivot", f"{PIVOT} --w-c 0.05 --w-r 0.05")),
    # 0.5 of a mean over 3 units and 11 classes, where the document has the sum.
    **drawn("pivot mean L_c", Row("pivot", f"{PIVOT} --w-c 0.015")),
    # The document's sums all read as sums, over a crop's 144 x 192 pixels: L_c is 0.5 of so many.
    "pivot as sums": Row("pivot", f"{PIVOT} --w-c 0.000018 --w-r 5.5"),
    "pivot no L_c": Row("pivot", f"{PIVOT} --w-c 0"),
    "pivot no L_r": Row("pivot", f"{PIVOT} --w-r 0"),
    "pivot WDA": Row("pivot", "--image-labels {presence}"),
    **drawn("symmetric", Row("symmetric", SYMMETRIC, share=0.375)),
    **drawn("symmetric mixed", Row("symmetric", f"{SYMMETRIC} --mix", share=0.375)),
    "symmetric untranslated + style": Row(
        "symmetric", f"--no-translate --width-d 16 {STYLE}", share=0.5
    ),
    "symmetric by probability alone": Row(
        "symmetric", f"{SYMMETRIC} --consistency none --max-threshold 0.8", share=0.375
    ),
    **apart("symmetric"),
    **apart("symmetric + style"),
    **apart("symmetric mixed + style"),
    **apart("symmetric mixed all styled and rare classes"),
    "LR-ASPP student": Row("distill", STUDENT, teacher="self_training"),
    "PIDNet-S student": Row(
        "distill",
        "--student pidnet_s --weights none --optimizer adamw --lr 2e-3",
        teacher="self_training",
    ),
    "oracle": Row("source_only", oracle=True),
}
