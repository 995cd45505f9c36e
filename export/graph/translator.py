"""The translator as it is deployed: a frame in, the same frame in the source's colours out.

The segmentor's graph holds it too; by itself it shows what that network is given to see.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import interpolate

from adapt.checkpoint import SavedRun
from adapt.networks.image_generator import Translator
from adapt.networks.segmentors.translated import Translated
from export.bundle.graphs import TRANSLATOR
from export.frames import Size
from export.graph.image_graph import ImageModule, as_bytes
from export.graph.onnx_file import smallest_size


class DeployedTranslator(nn.Module):
    """Frame in, frame of its size out: resizing to the work size and back, network, rounding."""

    def __init__(self, translator: Translator, work_size: Size | None) -> None:
        super().__init__()
        self.translator = translator
        self.work_size = work_size

    def forward(self, image: Tensor) -> Tensor:
        """RGB uint8 [n,h,w,3] -> RGB uint8 [n,h,w,3]."""
        size = (image.shape[1], image.shape[2])
        x = image.permute(0, 3, 1, 2).float() / 255
        if self.work_size is not None:
            x = interpolate(x, size=self.work_size, mode="bilinear", align_corners=False)
        return as_bytes(self.translator(x), size, self.work_size)


def of_run(saved: SavedRun) -> ImageModule | None:
    """That of a run, where its segmentor begins with one."""
    if not isinstance(saved.segmentor, Translated):
        return None
    return drawing(saved.segmentor.translator, saved.info.work_size)


def drawing(translator: Translator, work_size: Size | None) -> ImageModule:
    """The translator as one graph."""
    return ImageModule(
        spec=TRANSLATOR,
        module=DeployedTranslator(translator, work_size).eval(),
        smallest=smallest_size(translator.min_size, work_size),
    )
