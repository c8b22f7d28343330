"""Images with damage outside of their pixels: they are prepared, and dropped parts are reported."""

import io
import os
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageCms

from tests.unit.worker.media.sample_media import SRGB, camera_data, sample_image
from worker.file_refusal import FileRefusedError
from worker.media.image_headers import memory_needed
from worker.media.images import measure_look, prepare_image

REMOVED = "metadata such as location and camera data removed"
CUT_OFF = "end of the file missing: a few blocks at the lower right may be gray"
UNREADABLE = "unreadable EXIF data removed, with the orientation if it held one"


def encoded(form: str, **options: object) -> bytes:
    sink = io.BytesIO()
    noise = Image.effect_noise((320, 240), 90).convert("RGB")
    noise.save(sink, form, **options)
    return sink.getvalue()


def chunk(name: bytes, body: bytes, *, whole: bool = True) -> bytes:
    check = zlib.crc32(name + body) ^ (0 if whole else 1)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", check)


def png(*chunks: bytes) -> bytes:
    """A PNG with further chunks after its header."""
    plain = encoded("PNG")
    return plain[:33] + b"".join(chunks) + plain[33:]


def exif_segment(body: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def jpeg_with_exif(body: bytes) -> bytes:
    """A JPEG with a resolution, which lets Pillow read the EXIF data later than usual."""
    plain = encoded("JPEG", dpi=(72, 72))
    end = 4 + struct.unpack(">H", plain[4:6])[0]
    return plain[:end] + exif_segment(body) + plain[end:]


def webp_with_exif(body: bytes) -> bytes:
    plain = encoded("WEBP", lossless=True, exif=camera_data())
    at = plain.index(b"EXIF")
    changed = plain[:at] + b"EXIF" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(changed) - 8) + changed[8:]


BROKEN_EXIF = b"\x00\x08\x00\x02\x01\x12\x00\x03\x00\x00"
LARGE_TEXT = b"{" + b"a" * 2_000_000 + b"}"
LARGE_PROFILE = struct.pack(">I", 1_500_000) + SRGB[4:] + os.urandom(1_500_000 - len(SRGB))


@pytest.mark.parametrize(
    ("content", "changes"),
    [
        (jpeg_with_exif(b"Exif\0\0" + BROKEN_EXIF), (UNREADABLE, REMOVED)),
        (jpeg_with_exif(b"Exif\0\0b'Exif\\x00\\x00MM"), (UNREADABLE, REMOVED)),
        (png(chunk(b"eXIf", BROKEN_EXIF)), (UNREADABLE, REMOVED)),
        (
            png(chunk(b"tEXt", b"Raw profile type exif\0\nexif\n   10\n0011zz\n")),
            (UNREADABLE, REMOVED),
        ),
        (webp_with_exif(BROKEN_EXIF), (UNREADABLE, REMOVED)),
        (png(chunk(b"zTXt", b"workflow\0\0" + zlib.compress(LARGE_TEXT))), (REMOVED,)),
        (
            png(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(LARGE_TEXT))),
            (REMOVED,),
        ),
        (png(chunk(b"iTXt", b"prompt\0\1\0\0\0" + zlib.compress(LARGE_TEXT))), (REMOVED,)),
        (png(chunk(b"tEXt", b"prompt\0" + LARGE_TEXT * 35)), (REMOVED,)),
        (png(chunk(b"tEXt", b"a\0b", whole=False)), (REMOVED,)),
        (png(chunk(b"gAMA", b"\0\0\xb1\x8f", whole=False)), ("damaged gAMA chunk removed",)),
        (
            png(chunk(b"iCCP", b"Display\0\0" + zlib.compress(LARGE_PROFILE))),
            ("color profile of over 1 MB removed",),
        ),
        (png(chunk(b"iCCP", b"Display\0\0no zlib")), ("damaged color profile removed",)),
        (
            png(chunk(b"acTL", b"\0\0\0\1\0\0\0\0", whole=False)),
            ("damaged animation removed",),
        ),
        (encoded("JPEG")[:-2], (CUT_OFF,)),
        (encoded("JPEG", quality=90)[:-20], (CUT_OFF,)),
        (encoded("JPEG", progressive=True)[:-20], (CUT_OFF,)),
        (b"\r\n" + encoded("JPEG"), ("bytes before the image removed",)),
        (b"\xef\xbb\xbf\n" + encoded("PNG"), ("bytes before the image removed",)),
    ],
    ids=range(19),
)
def test_intact_pixels_are_kept_and_dropped_parts_are_reported(
    given: Path, workdir: Path, content: bytes, changes: tuple[str, ...]
) -> None:
    given.write_bytes(content)
    suffix = ".png" if b"PNG" in content[:16] else ".webp" if b"WEBP" in content[:16] else ".jpg"
    assert memory_needed(given, "a") > 0
    assert measure_look(given, "a").contrast > 40
    found = prepare_image(given, f"a{suffix}", workdir)
    assert found.changes == changes
    with Image.open(found.path) as image:
        # Pillow, without tolerance for damage, reads it. The video API may be as strict.
        image.load()
        assert image.size == (320, 240)
        assert not image.getexif()


@pytest.mark.parametrize(
    ("kept", "end", "options"),
    [
        (0.5, b"", {}),
        (0.95, b"", {}),
        (0.4, b"", {"progressive": True}),
        (0.5, b"\xff\xd9", {}),
        (0.95, b"\xff\xd9", {"restart_marker_blocks": 4}),
        (0.5, b"\xff\xd9", {"exif": camera_data(6)}),
    ],
)
def test_a_jpeg_of_which_more_is_missing_is_refused(
    given: Path, workdir: Path, kept: float, end: bytes, options: dict[str, object]
) -> None:
    """Also with an end marker: a decoder fills the rest with gray, without an error."""
    whole = encoded("JPEG", quality=95, **options)
    given.write_bytes(whole[: int(len(whole) * kept)] + end)
    with pytest.raises(FileRefusedError) as caught:
        prepare_image(given, "a.jpg", workdir)
    assert caught.value.code == "bad_image"


@pytest.mark.parametrize("gray", [True, False])
def test_a_gray_background_is_not_taken_for_a_missing_part(
    given: Path, workdir: Path, gray: bool
) -> None:
    image = Image.new("L" if gray else "RGB", (320, 240), 128 if gray else (128, 128, 128))
    image.paste(0, (40, 40, 90, 90))
    image.save(given, "JPEG")
    assert prepare_image(given, "a.jpg", workdir).changes == ()


def test_a_png_out_of_an_ios_app_is_refused_for_what_it_is(given: Path, workdir: Path) -> None:
    plain = encoded("PNG")
    given.write_bytes(plain[:8] + chunk(b"CgBI", b"\x50\0\x20\2") + plain[8:])
    with pytest.raises(FileRefusedError, match="iOS app") as caught:
        prepare_image(given, "a.png", workdir)
    assert caught.value.code == "unsupported_file"


@pytest.mark.parametrize("with_exif", [True, False])
def test_the_orientation_in_xmp_of_a_png_is_applied(
    given: Path, workdir: Path, with_exif: bool
) -> None:
    """Apple's programs write it there, with or without EXIF data."""
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    chunks = [chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)]
    if with_exif:
        chunks.append(chunk(b"eXIf", camera_data(6).removeprefix(b"Exif\0\0")))
    given.write_bytes(png(*chunks))
    found = prepare_image(given, "a.png", workdir)
    assert (found.width, found.height) == (240, 320)
    assert found.changes == ("rotated upright", REMOVED)


def test_a_rotated_jpeg_without_its_end_is_rotated(given: Path, workdir: Path) -> None:
    given.write_bytes(encoded("JPEG", exif=camera_data(6))[:-2])
    found = prepare_image(given, "a.jpg", workdir)
    assert (found.width, found.height) == (240, 320)
    assert found.changes == (CUT_OFF, "rotated upright", REMOVED)


def test_the_orientation_in_a_text_of_a_png_is_applied(given: Path, workdir: Path) -> None:
    """ImageMagick writes EXIF data as a text in hexadecimal digits."""
    exif = camera_data(6)
    text = f"\nexif\n{len(exif):8}\n{exif.hex()}\n".encode()
    given.write_bytes(png(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))))
    found = prepare_image(given, "a.png", workdir)
    assert (found.width, found.height) == (240, 320)


def test_a_color_profile_survives_damage_beside_it(given: Path, workdir: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = encoded("PNG", icc_profile=profile)
    given.write_bytes(plain[:33] + chunk(b"gAMA", b"\0\0\0\1", whole=False) + plain[33:])
    found = prepare_image(given, "a.png", workdir)
    with Image.open(found.path) as image:
        assert image.info["icc_profile"] == profile
        assert "gamma" not in image.info


def animation(frames: int = 3) -> bytes:
    images = [sample_image((60, 40), "L").point([n * 40 + 9] * 256) for n in range(frames)]
    sink = io.BytesIO()
    images[0].save(sink, "GIF", save_all=True, append_images=images[1:], duration=100)
    return sink.getvalue()


def test_stray_bytes_between_the_frames_of_a_gif_are_removed(given: Path, workdir: Path) -> None:
    whole = animation()
    at = whole.index(b"\x21\xf9", whole.index(b"\x21\xf9") + 2)
    given.write_bytes(whole[:at] + b"\0\0" + whole[at:])
    found = prepare_image(given, "a.gif", workdir)
    assert found.changes == ("stray bytes between the frames removed",)
    assert found.path.read_bytes() == whole


def test_an_incomplete_last_frame_of_a_gif_is_removed(given: Path, workdir: Path) -> None:
    given.write_bytes(animation()[:-12])
    found = prepare_image(given, "a.gif", workdir)
    assert found.changes == ("incomplete last frame removed",)
    with Image.open(found.path) as image:
        assert getattr(image, "n_frames", 1) == 2
