"""PNG files and archives of them: broken, of other kinds, far larger than they look, and made to leave their folder."""

import hashlib
import io
import struct
import tarfile
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from fuzz import NASTY, WORDS, chunk, fuzz, mutated
from hypothesis import example
from hypothesis import strategies as st
from PIL import Image

from hw2lib.data import fetch as fetching
from hw2lib.data.image_folder import read_folder
from hw2lib.data.png import read_png
from hw2lib.errors import UserError

BOMB = zlib.compress(bytes(200 * 2**20), 9)  # 200 KB that become 200 MiB
BEGINNING, END = b"\x89PNG\r\n\x1a\n", chunk(b"IEND", b"")


def png(mode: str = "RGB", size: int = 28, **options) -> bytes:
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8))
    content = io.BytesIO()
    (pixels if mode == "RGB" else pixels.convert(mode)).save(content, "PNG", **options)
    return content.getvalue()


def header(width: int, height: int, depth: int, colour: int, interlaced: int, packing: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, packing, 0, interlaced))


def pixels_of(width: int, height: int, depth: int, channels: int) -> bytes:
    return zlib.compress(bytes((1 + (width * channels * depth + 7) // 8) * height))


def between(content: bytes, *chunks: bytes) -> bytes:
    """A file with further chunks behind its header."""
    return content[:33] + b"".join(chunks) + content[33:]


def animated() -> bytes:
    content, pictures = io.BytesIO(), [Image.new("RGB", (28, 28), colour) for colour in ("red", "blue", "green")]
    pictures[0].save(content, "PNG", save_all=True, append_images=pictures[1:])
    return content.getvalue()


REAL = [png(), png("L"), png("P"), png("RGBA"), png("I;16"), png("1"), animated(), png(size=29)]
BOMBS = {
    "pixels": BEGINNING + header(28, 28, 8, 2, 0) + chunk(b"IDAT", BOMB) + END,
    "text": between(png(), chunk(b"zTXt", b"a\0\0" + BOMB)),
    "international text": between(png(), chunk(b"iTXt", b"a\0\1\0\0\0" + BOMB)),
    "many texts": between(png(), *[chunk(b"zTXt", b"%d\0\0" % i + BOMB) for i in range(20)]),
    "profile": between(png(), chunk(b"iCCP", b"a\0\0" + BOMB)),
    "frames": between(png(), chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
    "a wide header": BEGINNING + header(2**31 - 1, 28, 8, 2, 0) + chunk(b"IDAT", BOMB) + END,
    "a high header": BEGINNING + header(28, 2**31 - 1, 8, 2, 0) + chunk(b"IDAT", BOMB) + END,
    "a second header": between(png(), header(20000, 20000, 8, 2, 0)),
    "trailing": png() + bytes(2**20),
}
SIDES = st.sampled_from([0, 1, 27, 28, 28, 28, 28, 29, 65535, 2**31 - 1, 2**32 - 1])
KINDS = [
    b"tEXt",
    b"zTXt",
    b"iTXt",
    b"iCCP",
    b"PLTE",
    b"tRNS",
    b"acTL",
    b"fcTL",
    b"fdAT",
    b"eXIf",
    b"gAMA",
    b"cHRM",
    b"pHYs",
    b"sRGB",
    b"IHDR",
    b"IDAT",
    b"IEND",
    b"\xff\xff\xff\xff",
    b"abcd",
]
CHUNKS = st.builds(chunk, st.sampled_from(KINDS), st.binary(max_size=40))
BUILT = st.builds(
    lambda sides, depth, colour, interlaced, packing, chunks, pixels: b"".join(
        [BEGINNING, header(*sides, depth, colour, interlaced, packing), *chunks, chunk(b"IDAT", pixels), END]
    ),
    st.tuples(SIDES, SIDES),
    st.sampled_from([0, 1, 2, 4, 8, 8, 8, 16, 32, 255]),
    st.integers(0, 7),
    st.integers(0, 2),
    st.sampled_from([0, 0, 0, 1]),
    st.lists(CHUNKS, max_size=3),
    st.sampled_from([pixels_of(28, 28, 8, 3), pixels_of(28, 28, 8, 1), pixels_of(28, 28, 16, 4), b"", BOMB[:2000]]),
)
SPLICED = st.builds(
    lambda content, chunks: between(content, *chunks), st.sampled_from(REAL), st.lists(CHUNKS, min_size=1, max_size=3)
)
PNG = st.one_of(mutated(*REAL), BUILT, SPLICED, st.binary(max_size=100), st.sampled_from(list(BOMBS.values())))


@fuzz(1500, content=PNG)
@example(content=BOMBS["a second header"])
def test_a_png_file(guard, content):
    (guard.home / "a.png").write_bytes(content)
    image = guard(read_png, guard.home / "a.png", 28)
    assert isinstance(image, UserError) or (image.shape in ((1, 28, 28), (3, 28, 28)) and image.dtype == np.uint8)


@fuzz(200, contents=st.lists(PNG, min_size=2, max_size=4), names=st.lists(WORDS, min_size=4, max_size=4))
def test_a_folder_of_png_files(guard, contents, names):
    (folder := guard.home / f"{guard.cases}").mkdir()
    for i, (content, name) in enumerate(zip(contents, names, strict=False)):
        name = name[:40].encode(errors="replace").decode().replace("/", "").replace("\0", "")
        (folder / f"{name}{i}.png").write_bytes(content)
    guard(read_folder, folder, 28)


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_small(guard, content):
    """Pillow alone would keep to 1 MiB a text and 64 MiB in all."""
    file = guard.home / "a.png"
    file.write_bytes(content)
    assert guard.peak(read_png, file, 28) < 100 * 2**20


@pytest.fixture
def fetch(guard, monkeypatch) -> Callable[[bytes], object]:
    """``hw2 data fetch mnistm`` of an archive that is as the registry says."""

    def run(content: bytes) -> object:
        home = guard.home / f"images-{guard.cases}"
        (downloads := home / "downloads/mnistm").mkdir(parents=True)
        (downloads / "mnist_m.tar.gz").write_bytes(content)
        entry = {"name": "mnist_m.tar.gz", "url": "http://127.0.0.1:9/a", "md5": hashlib.md5(content).hexdigest()}
        monkeypatch.setattr(fetching, "registry", lambda: {"mnistm": {"files": [entry]}})
        made = guard(fetching.fetch, "mnistm", home)
        there = {path.relative_to(home).as_posix() for path in home.glob("digits/mnistm/**/*")}
        expected = {"digits/mnistm/data", *(f"digits/mnistm/{split}.csv" for split in ("train", "val", "test"))}
        assert isinstance(made, UserError) or {x for x in there if not x.endswith(".png")} == expected
        assert not (isinstance(made, UserError) and there)
        return made

    return run


def member(name: str, content: bytes, kind: bytes = tarfile.REGTYPE, link: str = "", size: int | None = None):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(content) if size is None else size
    return info, content


def archive(members: list, packed: str = "w:gz") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=packed, format=tarfile.PAX_FORMAT) as made:
        for info, part in members:
            made.addfile(info, io.BytesIO(part + bytes(max(0, info.size - len(part)))) if info.isreg() else None)
    return content.getvalue()


FOLDERS = ("mnist_m/mnist_m_train", "mnist_m/mnist_m_test")
GOOD = [member(f"{folder}/{i:08d}.png", png(size=32)) for folder in FOLDERS for i in range(10)]
LABELS = [
    member(f"{folder}_labels.txt", "".join(f"{i:08d}.png {i}\n" for i in range(10)).encode()) for folder in FOLDERS
]
MEMBER_NAMES = st.one_of(
    st.sampled_from(
        [
            "../../marker",
            "/tmp/marker",
            "mnist_m/../../marker",
            "mnist_m",
            f"{FOLDERS[0]}/00000001.png",
            f"{FOLDERS[0]}/../../../marker.png",
            f"{FOLDERS[0]}_labels.txt",
            "a/mnist_m_train_labels.txt",
            "./",
            *NASTY,
        ]
    ),
    WORDS,
).map(lambda name: name.encode(errors="replace").decode().replace("\0", "")[:200])
MEMBERS = st.builds(
    member,
    MEMBER_NAMES,
    st.one_of(
        PNG, st.sampled_from([b"00000001.png 10\n", b"../../x 3\n", b"a b c\n", b"\xff", b"00000001.png \xd9\xa3"])
    ),
    st.sampled_from(
        [
            tarfile.REGTYPE,
            tarfile.REGTYPE,
            tarfile.SYMTYPE,
            tarfile.LNKTYPE,
            tarfile.CHRTYPE,
            tarfile.BLKTYPE,
            tarfile.FIFOTYPE,
            tarfile.DIRTYPE,
            tarfile.GNUTYPE_SPARSE,
            b"9",
        ]
    ),
    MEMBER_NAMES,
)
SMALL = archive([*GOOD, *LABELS])
PLAIN = archive([*GOOD[:2], *LABELS], "w")


@fuzz(
    350,
    content=st.one_of(
        st.lists(MEMBERS, max_size=3).map(lambda more: archive([*GOOD, *more, *LABELS])),
        st.lists(MEMBERS, max_size=3).map(lambda more: archive([*GOOD, *LABELS, *more], "w")),
        mutated(SMALL, PLAIN),
        st.binary(max_size=600),
    ),
)
def test_an_archive(guard, fetch, content):
    fetch(content)


def test_the_good_archive_is_taken(fetch, guard):
    assert fetch(SMALL) == guard.home / "images-0/digits/mnistm"


HOSTILE = {
    "a path that climbs": member("../../marker", b""),
    "a link out": member("mnist_m/out", b"", tarfile.SYMTYPE, "../../../.."),
    "a hard link out": member("mnist_m/out.png", b"", tarfile.LNKTYPE, "../../../../etc/passwd"),
    "a device": member("mnist_m/zero.png", b"", tarfile.CHRTYPE),
    "a pipe": member("mnist_m/pipe.png", b"", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("more", HOSTILE.values(), ids=HOSTILE)
def test_a_member_that_leads_elsewhere(fetch, more):
    assert "refused" in str(fetch(archive([*GOOD, more, *LABELS])))


def test_no_other_program_reads_a_picture(fetch):
    """Pillow has Ghostscript run PostScript, whatever the name of the file."""
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\n(marker) (w) file closefile\n"
    pictures = [member(f"{folder}/{i:08d}.png", script) for folder in FOLDERS for i in range(10)]
    assert "cannot be read" in str(fetch(archive([*pictures, *LABELS])))


def test_a_picture_in_an_archive_is_small(fetch):
    """1 MB that become 300 MB."""
    large = BEGINNING + header(10_000, 10_000, 8, 2, 0) + chunk(b"IDAT", zlib.compress(bytes(30_001 * 10_000))) + END
    assert "10000x10000" in str(fetch(archive([member(f"{FOLDERS[0]}/00000001.png", large), *LABELS])))


def test_what_is_there_twice_counts_once(fetch):
    fetch(archive([*GOOD, *GOOD, *LABELS]))
    assert not isinstance(fetch(archive([*GOOD, *GOOD, *LABELS, *LABELS])), UserError)


@pytest.mark.parametrize(
    "name", ["mnist_m/mnist_m_train/00000001.png", "mnist_m/mnist_m_train_labels.txt", "mnist_m/other"]
)
def test_an_archive_that_grows(fetch, name):
    """A few MB that become 512 MiB."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as made:
        info, _ = member(name, b"", size=2**29)
        made.addfile(info, Zeros())
        for info, part in [*GOOD, *LABELS]:
            made.addfile(info, io.BytesIO(part))
    assert "536,870,912 bytes" in str(fetch(content.getvalue()))


class Zeros:
    def read(self, size: int) -> bytes:
        return bytes(size)
