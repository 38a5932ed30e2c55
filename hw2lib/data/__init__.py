"""Images: the homework's folders, downloads, and the embedded stand-ins.

Example::

    images = source("quick").load("usps", "train").images   # (N, C, 28, 28) uint8
"""

import os
from typing import TYPE_CHECKING

from hw2lib.data.image_set import DIGIT_DOMAINS, FACES, SPLITS, TITLES, ImageSet
from hw2lib.errors import UserError

if TYPE_CHECKING:
    from hw2lib.data.folders import RealImages
    from hw2lib.data.standins import StandIns

__all__ = ["DIGIT_DOMAINS", "FACES", "SPLITS", "TITLES", "ImageSet", "source"]


def source(preset: str, data_dir: str = "") -> "RealImages | StandIns":
    """The images that a preset works on.

    Args:
        preset: ``paper`` works on real images, the others on the embedded stand-ins.
        data_dir: a folder of real images; given, it is used whatever the preset.

    Raises:
        UserError: ``paper`` without ``data_dir`` and without ``HW2_DATA``, or a folder that cannot be read. Real
            images are never replaced by stand-ins in silence.
    """
    if data_dir or preset == "paper":
        from hw2lib.data.folders import RealImages

        root = data_dir or os.environ.get("HW2_DATA")
        if not root:
            raise UserError(
                "the preset 'paper' needs real images and HW2_DATA is not set: run `hw2 data fetch mnistm svhn usps` "
                "and set HW2_DATA=build/images, or set it to a folder laid out as data/README.md says"
            )
        return RealImages(root)

    from hw2lib.data.standins import StandIns

    return StandIns()
