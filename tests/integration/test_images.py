"""Each input file leads to a clip or to a clear refusal, and no worker dies."""

import struct
import zlib
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image

from tests.support.stack import Stack
from worker.ledger.model.states import Reason, State

pytestmark = pytest.mark.integration


def png_bomb(path: Path, side: int) -> None:
    """Write a PNG of side by side black pixels that is small on disk."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zeros_compressed(side * (side * 3 + 1))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def zeros_compressed(size: int, block: int = 2**20) -> bytes:
    """Return the zlib stream of ``size`` zero bytes, without compressing gigabytes.

    After a full flush, a block of a deflate stream depends on nothing before it: one is repeated.
    """

    def deflated(count: int, flush: int) -> bytes:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return packer.compress(bytes(count)) + packer.flush(flush)

    blocks, rest = divmod(size, block)
    checksum = struct.pack(">HH", size % 65_521, 1)
    return (
        b"\x78\x9c"
        + deflated(block, zlib.Z_FULL_FLUSH) * blocks
        + deflated(rest, zlib.Z_FINISH)
        + checksum
    )


def test_the_bomb_is_a_valid_stream() -> None:
    size = 5 * 2**20 + 123
    assert zlib.decompress(zeros_compressed(size)) == bytes(size)


def test_good_files_succeed_and_bad_files_are_refused(stack: Stack) -> None:
    stack.start_sandbox()
    worker = stack.start_worker()
    picture = Image.new("RGB", (80, 64), "teal")
    good = [stack.folder / name for name in ("a.png", "b.webp", "c.heic", "d.jpg")]
    for path in good[:2] + good[3:]:
        picture.save(path)
    pillow_heif.from_pillow(picture).save(good[2])

    empty, text, huge, bomb = (
        stack.folder / name for name in ("empty.jpg", "text.jpg", "huge.jpg", "bomb.png")
    )
    empty.touch()
    text.write_text("not a picture at all")
    with huge.open("wb") as file:
        file.truncate(201 * 10**6)
    png_bomb(bomb, 30_000)
    thumbnail = stack.folder / "thumbnail.png"
    Image.new("RGB", (48, 48)).save(thumbnail)

    jobs = {path.name: stack.submit(path) for path in [*good, empty, text, huge, bomb, thumbnail]}
    stack.wait_until_idle()
    found = {name: stack.job(job_id) for name, job_id in jobs.items()}

    assert all(found[path.name].state is State.SUCCEEDED for path in good)
    names = ("empty.jpg", "text.jpg", "huge.jpg", "bomb.png", "thumbnail.png")
    refused = {name: found[name].reason for name in names}
    assert refused["huge.jpg"] is Reason.FILE_TOO_LARGE
    assert refused["bomb.png"] is refused["thumbnail.png"] is Reason.BAD_IMAGE
    assert {refused["empty.jpg"], refused["text.jpg"]} <= {
        Reason.BAD_IMAGE,
        Reason.UNSUPPORTED_FILE,
    }
    assert all(found[name].message and found[name].remedy for name in refused)
    assert all(found[name].paid_messages == 0 for name in refused)
    assert worker.alive


def test_a_path_outside_the_roots_is_refused(stack: Stack) -> None:
    stack.start_sandbox()
    stack.start_worker()
    job = stack.wait_for(stack.submit(Path("/etc/hostname")), State.FAILED, State.SUCCEEDED)
    assert job.reason is Reason.FORBIDDEN_SOURCE
