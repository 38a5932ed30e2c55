"""Images: the homework's folders, downloads, and the embedded stand-ins.

Example::

    images = source("quick").load("usps", "train").images   # (N, C, 28, 28) uint8
"""

from typing import TYPE_CHECKING

from hw2lib.data.image_set import DIGIT_DOMAINS, FACES, SPLITS, TITLES, ImageSet
from hw2lib.paths import check_preset

if TYPE_CHECKING:
    from hw2lib.data.folders import RealImages
    from hw2lib.data.standins import StandIns

__all__ = ["DIGIT_DOMAINS", "FACES", "SPLITS", "TITLES", "ImageSet", "source"]


def source(preset: str, data_dir: str = "") -> "RealImages | StandIns":
    """The images that a preset works on.

    Args:
        preset: ``paper`` works on real images, the others on the embedded stand-ins.
        data_dir: a folder of real images; given, it is used whatever the preset. Otherwise ``paper`` takes that of
            ``HW2_DATA``, else ``images`` in the build folder.

    Raises:
        UserError: an unknown preset, or a folder that is not there or cannot be read. Real images are never replaced
            by stand-ins in silence.
    """
    check_preset(preset)
    if data_dir or preset == "paper":
        from hw2lib.data.folders import RealImages

        return RealImages(data_dir)

    from hw2lib.data.standins import StandIns

    return StandIns()
