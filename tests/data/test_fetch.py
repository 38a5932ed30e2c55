"""Downloads, against a real HTTP server on loopback that cuts, lies and refuses."""

import bz2
import hashlib
import io
import ssl
import tarfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import requests
import scipy.io
from image_folders import noise
from PIL import Image
from torchvision.datasets import SVHN

from hw2lib.data import fetch as fetching
from hw2lib.data.fetch import fetch
from hw2lib.data.folders import RealImages
from hw2lib.errors import UserError
from hw2lib.files import try_lock

pytestmark = pytest.mark.usefixtures("build")


class Server(ThreadingHTTPServer):
    """Serves ``files``, by name. ``cut``: it breaks off after so many bytes. ``asked``: (name, first byte) so far."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cut: int | None = None
        self.ranges = True
        self.asked: list[tuple[str, int]] = []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.server.asked.append((name, first))
        content = self.server.files.get(name)
        if content is None:
            self.send_error(404)
        elif first >= len(content) > 0 and self.server.ranges:
            self.send_error(416)
        else:
            self._send(content, first if self.server.ranges else 0)

    def _send(self, content: bytes, first: int) -> None:
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.wfile.write(content[first : self.server.cut])
        self.close_connection = True

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def publish(server, tmp_path, monkeypatch):
    """Puts files on the server and into a registry of downloads."""

    def publish(domain: str, files: dict[str, bytes]) -> None:
        server.files |= files
        entries = (
            f'{{ name = "{name}", url = "{server.url(name)}", md5 = "{hashlib.md5(content).hexdigest()}" }}'
            for name, content in files.items()
        )
        registry = tmp_path / "downloads.toml"
        registry.write_text(f"[{domain}]\ntrain = 20\ntest = 5\nfiles = [{', '.join(entries)}]\n")
        monkeypatch.setattr(fetching, "REGISTRY", registry)

    return publish


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def members() -> dict[str, bytes]:
    """What the published archive holds, smaller: 20 + 5 images of 32x32, labels 0 to 9 and over again."""
    found = {"mnist_m/mnist_m_train/._00000000.png": b"of another system", "mnist_m/.DS_Store": b"of another system"}
    for split, images in (("train", noise(20, size=32)), ("test", noise(5, size=32, seed=1))):
        found |= {f"mnist_m/mnist_m_{split}/{i:08d}.png": png(image) for i, image in enumerate(images)}
        rows = "".join(f"{i:08d}.png {i % 10}\n" for i in range(len(images)))
        found[f"mnist_m/mnist_m_{split}_labels.txt"] = rows.encode()
    return found


def tar_gz(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def mnistm() -> dict[str, bytes]:
    """The one file that MNIST-M is published as."""
    return {"mnist_m.tar.gz": tar_gz(members())}


def svhn_part(images: np.ndarray, labels: list[int]) -> bytes:
    """A .mat file like the published ones, where the label of a zero is 10."""
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"X": images.transpose(2, 3, 1, 0), "y": np.array(labels, np.uint8)[:, None]})
    return buffer.getvalue()


def files_below(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"
    }


def refused(what: str, domain: str, data_dir: Path) -> str:
    """The fetch is refused in one line, and no domain is there."""
    with pytest.raises(UserError, match=what) as error:
        fetch(domain, data_dir)
    assert "\n" not in str(error.value)
    assert not (data_dir / "digits" / domain).exists()
    return str(error.value)


# What comes out


def test_mnistm_becomes_the_homeworks_layout(publish, mnistm, server, tmp_path):
    publish("mnistm", mnistm)
    data_dir = tmp_path / "images"

    home = fetch("mnistm", data_dir)

    assert home == data_dir / "digits/mnistm"
    assert (home / "val.csv").read_text() == "image_name,label\n00018.png,8\n00019.png,9\n"
    assert {path.split("/")[0] for path in files_below(data_dir)} == {"digits"}
    source = RealImages(data_dir)
    assert [len(source.load("mnistm", split)) for split in source.splits("mnistm")] == [18, 2, 5]
    np.testing.assert_array_equal(source.load("mnistm", "val").images, noise(20, size=32)[18:, :, 2:30, 2:30])
    np.testing.assert_array_equal(source.load("mnistm", "test").images, noise(5, size=32, seed=1)[:, :, 2:30, 2:30])
    np.testing.assert_array_equal(source.load("mnistm", "test").labels, range(5))

    fetch("mnistm", data_dir)
    assert len(server.asked) == 1  # what is there is not fetched again


def publish_svhn(publish, monkeypatch) -> np.ndarray:
    images = noise(25, size=32)
    labels = [i % 10 or 10 for i in range(25)]
    train, test = svhn_part(images[:20], labels[:20]), svhn_part(images[20:], labels[20:])
    publish("svhn", {"train_32x32.mat": train, "test_32x32.mat": test})
    for split, content in (("train", train), ("test", test)):  # torchvision checks too
        published = ["", f"{split}_32x32.mat", hashlib.md5(content).hexdigest()]
        monkeypatch.setitem(SVHN.split_list, split, published)
    return images


def test_svhn_is_scaled_and_its_zeros_are_labelled_zero(publish, tmp_path, monkeypatch):
    images = publish_svhn(publish, monkeypatch)
    fetch("svhn", tmp_path)
    train, test = (RealImages(tmp_path).load("svhn", split) for split in ("train", "test"))
    expected = [np.asarray(Image.fromarray(i.transpose(1, 2, 0)).resize((28, 28), Image.BICUBIC)) for i in images]
    np.testing.assert_array_equal(train.images, np.stack(expected).transpose(0, 3, 1, 2)[:18])
    np.testing.assert_array_equal(test.images, np.stack(expected).transpose(0, 3, 1, 2)[20:])
    np.testing.assert_array_equal(train.labels[:11], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0])


def test_usps_is_scaled_and_stays_grey(publish, tmp_path):
    def lines(images: np.ndarray) -> bytes:
        rows = (" ".join(f"{k + 1}:{v / 127.5 - 1:.6f}" for k, v in enumerate(image.ravel())) for image in images)
        return bz2.compress("".join(f"{i % 10 + 1} {row}\n" for i, row in enumerate(rows)).encode())

    images = np.full((25, 1, 16, 16), 200, np.uint8)
    publish("usps", {"usps.bz2": lines(images[:20]), "usps.t.bz2": lines(images[20:])})
    fetch("usps", tmp_path)
    train = RealImages(tmp_path).load("usps", "train")
    assert train.images.shape == (18, 1, 28, 28)
    assert np.abs(train.images.astype(int) - 200).max() <= 1
    np.testing.assert_array_equal(train.labels[:10], range(10))


# What breaks on the way


def test_a_transfer_that_broke_is_continued_where_it_broke(publish, mnistm, server, tmp_path):
    publish("mnistm", mnistm)
    server.cut = 50_000
    refused("bytes are kept.*the same command continues", "mnistm", tmp_path)
    kept = (tmp_path / "downloads/mnistm/mnist_m.tar.gz.part").stat().st_size
    assert 40_000 < kept <= 50_000

    server.cut = None
    fetch("mnistm", tmp_path)
    assert server.asked == [("mnist_m.tar.gz", 0), ("mnist_m.tar.gz", kept)]
    assert len(RealImages(tmp_path).load("mnistm", "train")) == 18


def test_a_server_that_cannot_continue_starts_again(publish, mnistm, server, tmp_path):
    publish("mnistm", mnistm)
    server.cut = 50_000
    refused("bytes are kept", "mnistm", tmp_path)
    server.cut, server.ranges = None, False
    fetch("mnistm", tmp_path)
    assert len(RealImages(tmp_path).load("mnistm", "train")) == 18


def test_a_transfer_that_ended_but_was_not_put_in_place_is_not_repeated(publish, mnistm, server, tmp_path):
    publish("mnistm", mnistm)
    part = tmp_path / "downloads/mnistm/mnist_m.tar.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(mnistm["mnist_m.tar.gz"])
    fetch("mnistm", tmp_path)
    assert server.asked == [("mnist_m.tar.gz", len(mnistm["mnist_m.tar.gz"]))]  # the server had nothing to send


def test_files_that_came_whole_are_not_fetched_again(publish, server, tmp_path, monkeypatch):
    publish_svhn(publish, monkeypatch)
    test = server.files.pop("test_32x32.mat")
    refused("the server says 404", "svhn", tmp_path)
    server.files["test_32x32.mat"] = test
    fetch("svhn", tmp_path)
    assert [name for name, _ in server.asked] == ["train_32x32.mat", "test_32x32.mat", "test_32x32.mat"]


def test_what_a_killed_fetch_had_written_is_not_taken_for_images(publish, mnistm, tmp_path):
    publish("mnistm", mnistm)
    left = tmp_path / "digits/.mnistm.building/data/00099.png"
    left.parent.mkdir(parents=True)
    left.touch()
    home = fetch("mnistm", tmp_path)
    assert len(list((home / "data").iterdir())) == 25
    assert RealImages(tmp_path).domains() == ("mnistm",)
    assert not left.parent.parent.exists()


def test_one_process_at_a_time(publish, mnistm, tmp_path):
    publish("mnistm", mnistm)
    (tmp_path / "digits").mkdir()
    held = try_lock(tmp_path / "digits/.mnistm.lock")
    refused("digits/mnistm: another process is making it", "mnistm", tmp_path)
    held.release()
    assert fetch("mnistm", tmp_path).is_dir()


def test_no_server_is_one_line(publish, mnistm, server, tmp_path):
    publish("mnistm", mnistm)
    server.shutdown()
    server.server_close()
    refused("no connection", "mnistm", tmp_path)


# What is not what it should be


def test_a_certificate_that_fails_is_named_with_what_to_do(publish, mnistm, tmp_path, monkeypatch):
    publish("mnistm", mnistm)
    cause = ssl.SSLCertVerificationError(1, "certificate verify failed")
    cause.verify_message = "self-signed certificate"

    def get(*_, **__):
        try:
            raise cause
        except ssl.SSLError as error:  # as requests does
            raise requests.exceptions.SSLError("Max retries exceeded") from error

    monkeypatch.setattr(requests, "get", get)
    line = refused("the certificate is not accepted .self-signed certificate.; set the clock right", "mnistm", tmp_path)
    assert "REQUESTS_CA_BUNDLE" in line
    assert f"put mnist_m.tar.gz from elsewhere at {tmp_path}" in line


def test_a_wrong_checksum_is_refused_and_the_file_dropped(publish, mnistm, server, tmp_path):
    publish("mnistm", mnistm)
    good = mnistm["mnist_m.tar.gz"]
    server.files["mnist_m.tar.gz"] = good[:-1] + b"!"
    message = refused("has not the MD5", "mnistm", tmp_path)
    assert server.url("mnist_m.tar.gz") in message
    assert files_below(tmp_path / "downloads") == set()

    server.files["mnist_m.tar.gz"] = good
    fetch("mnistm", tmp_path)


def test_a_web_page_in_place_of_the_file_is_refused(publish, mnistm, server, tmp_path):
    publish("mnistm", mnistm)
    server.files["mnist_m.tar.gz"] = b"\n<!DOCTYPE html><html><body>This file has moved.</body></html>"
    refused("sent a web page", "mnistm", tmp_path)
    assert files_below(tmp_path / "downloads") == set()


@pytest.mark.parametrize("name", ["../evil.png", "mnist_m/../../evil.png", "mnist_m/mnist_m_train/../../../evil.png"])
def test_an_archive_with_a_path_that_climbs_out_is_refused(publish, tmp_path, name):
    publish("mnistm", {"mnist_m.tar.gz": tar_gz({name: b"evil"} | members())})
    refused("leads out of the archive", "mnistm", tmp_path / "images")
    assert not list(tmp_path.rglob("evil*"))


def test_an_archive_with_a_link_that_leads_out_is_refused(publish, tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        link = tarfile.TarInfo("mnist_m/mnist_m_train/00000000.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    publish("mnistm", {"mnist_m.tar.gz": buffer.getvalue()})
    refused("leads out of the archive", "mnistm", tmp_path)


def test_a_label_without_its_image_is_dropped_and_said_so(publish, tmp_path, capsys):
    found = members()
    del found["mnist_m/mnist_m_train/00000003.png"]  # as the published archive lacks one
    publish("mnistm", {"mnist_m.tar.gz": tar_gz(found)})
    fetch("mnistm", tmp_path)
    train = RealImages(tmp_path).load("mnistm", "train")
    kept = [i for i in range(20) if i != 3][: len(train)]
    np.testing.assert_array_equal(train.labels, [i % 10 for i in kept])
    np.testing.assert_array_equal(train.images, noise(20, size=32)[kept, :, 2:30, 2:30])
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.endswith("labels without an image are dropped: mnist_m_train/00000003.png")


def test_an_archive_without_many_images_that_are_labelled_is_refused(publish, tmp_path):
    found = members()
    for i in range(fetching.MAY_LACK + 1):
        del found[f"mnist_m/mnist_m_train/{i:08d}.png"]
    publish("mnistm", {"mnist_m.tar.gz": tar_gz(found)})
    refused("11 labelled images are not in the archive, the first is mnist_m_train/00000000.png", "mnistm", tmp_path)


def test_an_archive_without_labels_is_refused(publish, tmp_path):
    found = members()
    del found["mnist_m/mnist_m_test_labels.txt"]
    publish("mnistm", {"mnist_m.tar.gz": tar_gz(found)})
    refused("'mnist_m_test_labels.txt' is not in the archive", "mnistm", tmp_path)


def test_an_archive_that_ends_early_is_refused(publish, mnistm, tmp_path):
    publish("mnistm", {"mnist_m.tar.gz": mnistm["mnist_m.tar.gz"][:40_000]})
    refused("cannot be read", "mnistm", tmp_path)


# What cannot be written


def test_a_disk_that_is_full_during_the_download_is_one_line(publish, mnistm, small_disk):
    publish("mnistm", mnistm)
    small_disk.leave(32)
    refused("make room", "mnistm", small_disk.path)
    assert files_below(small_disk.path) == {"downloads/mnistm/mnist_m.tar.gz.part"}


def test_a_disk_that_is_full_while_images_are_written_is_one_line(publish, mnistm, small_disk):
    publish("mnistm", mnistm)
    archive = small_disk.path / "downloads/mnistm/mnist_m.tar.gz"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(mnistm["mnist_m.tar.gz"])
    small_disk.leave(2)
    refused("make room", "mnistm", small_disk.path)
    assert files_below(small_disk.path) == {"downloads/mnistm/mnist_m.tar.gz"}


# What is not fetched


def test_faces_are_not_fetched_but_explained(tmp_path):
    message = refused("may not be downloaded", "face", tmp_path)
    assert "https://mmlab.ie.cuhk.edu.hk" in message
    assert f"{tmp_path}/face/train" in message


def test_an_unknown_domain_is_refused_with_those_there_are(tmp_path):
    refused("no download of a domain 'mnist'; there are mnistm, svhn, usps", "mnist", tmp_path)


def test_the_registry_says_of_each_file_where_it_is_and_what_it_must_be():
    for domain in fetching.registry().values():
        assert domain["terms"]
        assert domain["page"].startswith("http")
        for file in domain["files"]:
            assert file["url"].startswith("http")
            assert len(bytes.fromhex(file["md5"])) == 16
