"""Where each kind of data set keeps its images and labels, and what its label ids mean."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from adapt.data.classes import (
    CAMVID11,
    CAMVID_IDS,
    CITYSCAPES16,
    CITYSCAPES19,
    CITYSCAPES_IDS,
    GTA5_IDS,
    SYNTHIA_IDS,
)
from adapt.data.reading.classes_file import ClassTable, fixed_table, read_classes, table_of_set
from adapt.data.reading.folders import IMAGES, LABELS, files_in, folders_in, listed, must_exist
from adapt.data.reading.layout import FoundImages, FoundLabels, Layout
from adapt.data.reading.sources import ImageFiles, LabelFiles
from adapt.data.reading.spec import Spec, split_of
from adapt.data.reading.toytown_layout import ToytownLayout
from roadshift import UserError


class FolderLayout(NamedTuple):
    """One kind on disk: the folders of a spec's images and labels, and how their names relate."""

    images: Callable[[Spec], Path]
    labels: Callable[[Spec], Path]
    table: Callable[[Spec], ClassTable | None]
    label_stem: Callable[[str], str] = str
    last_channel: bool = False
    example: str = "/path/to/the/data"

    def find_images(self, spec: Spec) -> FoundImages:
        """By relative name; UserError when the path, the split or any image is missing."""
        must_exist(spec.path, spec.text)
        folder = self.images(spec)
        names = files_in(folder, IMAGES, deep=not _is_bare(spec))
        if not names:
            raise UserError(
                f"{spec.text}: no image in {folder} (folders in it: {listed(folders_in(folder))}); "
                f"wanted files ending in {', '.join(IMAGES)}"
            )
        return FoundImages(str(folder), names, ImageFiles(folder))

    def find_labels(self, spec: Spec, names: tuple[str, ...]) -> FoundLabels:
        """By the names of their images; none where there is no folder of labels."""
        folder = self.labels(spec)
        there = files_in(folder, LABELS, deep=True) if folder.is_dir() else ()
        by_stem = {_stem(name): name for name in there}
        wanted = {name: self.label_stem(_stem(name)) for name in names}
        files = {name: by_stem[stem] for name, stem in wanted.items() if stem in by_stem}
        source = LabelFiles(folder, files, self.last_channel)
        return FoundLabels(str(folder), tuple(files), source, f"{wanted[names[0]]}.png")

    def class_table(self, spec: Spec) -> ClassTable | None:
        """What the ids mean; None for a folder that does not say. UserError for a bad @CLASSES."""
        return self.table(spec)


def find_images(spec: Spec) -> FoundImages:
    """The images of a spec, before its pattern; raises like Layout."""
    return LAYOUTS[spec.kind].find_images(spec)


def find_labels(spec: Spec, names: tuple[str, ...]) -> FoundLabels:
    """The labels of these images."""
    return LAYOUTS[spec.kind].find_labels(spec, names)


def class_table(spec: Spec) -> ClassTable | None:
    """What the ids mean, where something says it."""
    return LAYOUTS[spec.kind].class_table(spec)


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _is_bare(spec: Spec) -> bool:
    """Whether the images lie in the folder itself, with whatever else, not in an images/."""
    bare = spec.kind == "folder" and not (_home(spec, "images") / "images").is_dir()
    return bare or spec.kind == "camvid"


def _home(spec: Spec, inside: str) -> Path:
    """The folder that holds `inside`: PATH, or PATH/train where someone has cut it by hand."""
    direct, default = spec.path / inside, spec.path / "train" / inside
    if not spec.split and (direct.is_dir() or not default.is_dir()):
        return spec.path
    folders = folders_in(spec.path)
    cut = [
        name for name in folders if spec.kind == "folder" or (spec.path / name / inside).is_dir()
    ]
    return spec.path / split_of(spec, cut)


def _inside(name: str, spec: Spec) -> Path:
    """A folder that the kind always has; UserError, saying what is there instead, when missing."""
    home = spec.path if spec.kind == "cityscapes" else _home(spec, name)
    if not (home / name).is_dir():
        raise UserError(
            f"{spec.text}: {home} has no folder {name}/ (there: {listed(folders_in(home))}); "
            f"give the folder that holds {name}/"
        )
    return home / name


def _beside(images: str, labels: str, spec: Spec) -> Path:
    return _home(spec, images) / labels


def _cityscapes_images(spec: Spec) -> Path:
    folder = _inside("leftImg8bit", spec)
    return folder / split_of(spec, folders_in(folder))


def _cityscapes_labels(spec: Spec) -> Path:
    return spec.path / "gtFine" / (spec.split or "train")


def _cityscapes_label(stem: str) -> str:
    return stem.removesuffix("_leftImg8bit") + "_gtFine_labelIds"


def _camvid_images(spec: Spec) -> Path:
    present = [name for name in folders_in(spec.path) if not name.endswith("annot")]
    return spec.path / split_of(spec, present)


def _camvid_labels(spec: Spec) -> Path:
    return spec.path / f"{spec.split or 'train'}annot"


def _folder_images(spec: Spec) -> Path:
    home = _home(spec, "images")
    return home if _is_bare(spec) else home / "images"


def _folder_table(spec: Spec) -> ClassTable | None:
    if spec.classes.lower().endswith(".json"):
        return read_classes(Path(spec.classes).expanduser())
    if spec.classes:
        return table_of_set(spec.classes)
    homes = (_home(spec, "images"), spec.path)
    paths = (home / "classes.json" for home in homes)
    return next((read_classes(path) for path in paths if path.is_file()), None)


LAYOUTS: dict[str, Layout] = {
    "gta5": FolderLayout(
        partial(_inside, "images"),
        partial(_beside, "images", "labels"),
        partial(fixed_table, GTA5_IDS, CITYSCAPES19),
    ),
    # The class is in the file's first channel, red, which OpenCV gives last.
    "synthia": FolderLayout(
        partial(_inside, "RGB"),
        partial(_beside, "RGB", "GT/LABELS"),
        partial(fixed_table, SYNTHIA_IDS, CITYSCAPES16),
        last_channel=True,
    ),
    "cityscapes": FolderLayout(
        _cityscapes_images,
        _cityscapes_labels,
        partial(fixed_table, CITYSCAPES_IDS, CITYSCAPES19),
        _cityscapes_label,
    ),
    "camvid": FolderLayout(
        _camvid_images, _camvid_labels, partial(fixed_table, CAMVID_IDS, CAMVID11)
    ),
    "folder": FolderLayout(_folder_images, partial(_beside, "images", "labels"), _folder_table),
    "toytown": ToytownLayout(),
}
