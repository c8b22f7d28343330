"""Images of every type become images that can be uploaded."""

import io
from pathlib import Path

import pytest
from PIL import ExifTags, Image, PngImagePlugin

from tests.unit.worker.media.sample_media import (
    CANARY,
    LEFT,
    RIGHT,
    SRGB,
    camera_data,
    huge_jpeg,
    prepared_within,
    sample_image,
    save,
)
from worker.file_refusal import FileRefusedError
from worker.media.image_headers import MAX_SIDE, check_image_shape
from worker.media.images import measure_look, prepare_image
from worker.media.prepared_file import PreparedImage


def near(found: object, wanted: tuple[int, int, int]) -> bool:
    """Return whether two colors are equal, apart from lossy encoding."""
    assert isinstance(found, tuple)
    return all(abs(a - b) < 60 for a, b in zip(found, wanted, strict=False))


def pixels(path: Path) -> bytes:
    """Decode an image."""
    with Image.open(path) as image:
        return image.convert("RGBA").tobytes()


@pytest.mark.parametrize(
    ("form", "name", "content_type"),
    [
        ("JPEG", "a.jpg", "image/jpeg"),
        ("PNG", "a.png", "image/png"),
        ("WEBP", "a.webp", "image/webp"),
        ("GIF", "a.gif", "image/gif"),
    ],
)
def test_an_image_without_metadata_is_uploaded_unchanged(
    given: Path, workdir: Path, form: str, name: str, content_type: str
) -> None:
    found = prepare_image(save(sample_image(), given, form), name, workdir)
    assert found == PreparedImage(
        path=given,
        name=name,
        content_type=content_type,
        bytes=given.stat().st_size,
        sha256=found.sha256,
        changes=(),
        width=64,
        height=48,
    )
    assert len(found.sha256) == 64
    assert list(workdir.iterdir()) == []


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_metadata_is_removed_without_changing_a_pixel(
    given: Path, workdir: Path, form: str
) -> None:
    options: dict[str, object] = {"exif": camera_data(), "xmp": b"<x>" + CANARY + b"</x>"}
    if form == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_text("Comment", CANARY.decode())
        info.add_itxt("XML:com.adobe.xmp", CANARY.decode(), zip=False)
        options = {"exif": camera_data(), "pnginfo": info}
    if form == "JPEG":
        options["comment"] = CANARY
    save(sample_image(), given, form, icc_profile=SRGB, **options)
    before = given.read_bytes()
    assert before.count(CANARY) >= 2

    found = prepare_image(given, f"a.{form.lower()}", workdir)

    assert given.read_bytes() == before
    assert CANARY not in found.path.read_bytes()
    assert found.changes == ("metadata such as location and camera data removed",)
    assert pixels(found.path) == pixels(given)
    with Image.open(found.path) as image:
        assert image.info["icc_profile"] == SRGB
        assert not image.getexif()
        assert "xmp" not in image.info
    if form == "WEBP":
        announced = found.path.read_bytes()[20]
        assert announced & 0b1100 == 0, "the header still announces EXIF or XMP"


def test_data_after_the_end_of_a_jpeg_is_removed(given: Path, workdir: Path) -> None:
    """A phone appends a second image, which also contains a location."""
    second = io.BytesIO()
    sample_image().save(second, "JPEG", exif=camera_data())
    save(sample_image(), given, "JPEG", progressive=True)
    clean = given.read_bytes()
    given.write_bytes(clean + second.getvalue())
    found = prepare_image(given, "a.jpg", workdir)
    assert found.path.read_bytes() == clean


def test_a_jpeg_with_several_views_becomes_a_plain_jpeg(given: Path, workdir: Path) -> None:
    save(
        sample_image(),
        given,
        "MPO",
        save_all=True,
        append_images=[sample_image()],
        exif=camera_data(),
    )
    found = prepare_image(given, "a.jpg", workdir)
    assert found.content_type == "image/jpeg"
    assert CANARY not in found.path.read_bytes()
    with Image.open(found.path) as image:
        assert image.format == "JPEG"


def test_an_animated_gif_is_uploaded_unchanged(given: Path, workdir: Path) -> None:
    save(
        sample_image(),
        given,
        "GIF",
        save_all=True,
        append_images=[sample_image((64, 48), "L")],
        loop=0,
    )
    found = prepare_image(given, "a.gif", workdir)
    assert found.path == given
    assert found.changes == ()


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_animations_keep_their_frames_without_metadata(
    given: Path, workdir: Path, form: str
) -> None:
    options: dict[str, object] = {"comment": CANARY} if form == "GIF" else {"exif": camera_data()}
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "green", "blue")]
    save(frames[0], given, form, save_all=True, append_images=frames[1:], loop=3, **options)
    assert CANARY in given.read_bytes()
    found = prepare_image(given, f"a.{form.lower()}", workdir)
    assert CANARY not in found.path.read_bytes()
    with Image.open(found.path) as image, Image.open(given) as original:
        assert getattr(image, "n_frames", 1) == 3
        assert image.info.get("loop") == original.info.get("loop")
        assert image.info.get("duration") == original.info.get("duration")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_orientation_is_applied(given: Path, workdir: Path, form: str, orientation: int) -> None:
    comment = {"comment": CANARY} if form == "JPEG" else {}
    save(sample_image(), given, form, exif=camera_data(orientation), **comment)
    found = prepare_image(given, "a", workdir)
    assert (found.width, found.height) == ((64, 48) if orientation == 3 else (48, 64))
    assert "rotated upright" in found.changes
    assert not any("scaled" in change for change in found.changes)
    assert CANARY not in found.path.read_bytes()
    with Image.open(found.path) as image:
        assert image.size == (found.width, found.height)
        assert image.getexif().get(ExifTags.Base.Orientation, 1) == 1
        seen = image.convert("RGB")
        # By 180 degrees, blue comes to the left; by 90 degrees clockwise, red comes to the top.
        wanted = RIGHT if orientation == 3 else LEFT
        assert near(seen.getpixel((8, 8)), wanted)


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "I;16"])
def test_a_tiff_of_any_mode_is_rotated_upright(given: Path, workdir: Path, mode: str) -> None:
    """Half black, half white; Pillow scrambles some of them if it opens them by their name."""
    stored = Image.new("L", (60, 20))
    stored.paste(255, (30, 0, 60, 20))
    if mode == "I;16":
        image = stored.convert("I").point(lambda value: value * 257).convert(mode)
    else:
        image = stored.convert("RGB").convert(mode)
    found = prepare_image(save(image, given, "TIFF", exif=camera_data(6)), "a.tif", workdir)
    with Image.open(found.path) as seen:
        assert seen.size == (20, 60)
        gray = seen.convert("RGB").convert("L")
        assert [gray.getpixel((10, y)) for y in (2, 57)] == [0, 255]


@pytest.mark.parametrize("form", ["HEIF", "AVIF", "TIFF", "BMP"])
def test_other_types_become_jpeg(given: Path, workdir: Path, form: str) -> None:
    options = {} if form == "BMP" else {"exif": camera_data(), "icc_profile": SRGB}
    save(sample_image((64, 64)), given, form, **options)
    found = prepare_image(given, "photo.bin", workdir)
    shown = "HEIC" if form == "HEIF" else form
    assert found.name == "photo.jpg"
    assert found.content_type == "image/jpeg"
    assert found.changes[0] == f"converted from {shown} to JPEG"
    assert found.path.parent == workdir
    assert CANARY not in found.path.read_bytes()
    with Image.open(found.path) as image:
        assert image.format == "JPEG"
        assert near(image.getpixel((8, 8)), LEFT)
        assert near(image.getpixel((56, 8)), RIGHT)
        if form != "BMP":
            assert image.info["icc_profile"] == SRGB


@pytest.mark.parametrize("form", ["HEIF", "AVIF", "TIFF"])
def test_images_with_transparency_become_png(given: Path, workdir: Path, form: str) -> None:
    image = sample_image((64, 64), "RGBA")
    image.putalpha(Image.linear_gradient("L").resize((64, 64)))
    found = prepare_image(save(image, given, form), "logo.heic", workdir)
    assert found.name == "logo.png"
    with Image.open(found.path) as png:
        assert png.format == "PNG"
        assert png.mode == "RGBA"
        assert png.getchannel("A").getextrema() != (255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "I;16", "I", "F", "LA", "YCbCr"])
def test_unusual_modes_are_converted(given: Path, workdir: Path, mode: str) -> None:
    ramp = Image.linear_gradient("L").resize((64, 64))
    if mode in {"I;16", "I", "F"}:
        wide = ramp.convert("I").point(lambda value: value * 257)
        image = wide.convert(mode)
    else:
        image = ramp.convert("L" if mode == "P" else "RGB").convert(mode)
    found = prepare_image(save(image, given, "TIFF"), "scan.tif", workdir)
    with Image.open(found.path) as seen:
        top, bottom = (seen.convert("L").getpixel((32, y)) for y in (2, 61))
    assert isinstance(top, int | float)
    assert isinstance(bottom, int | float)
    assert top < 40
    assert bottom > 215


def test_a_gray_png_of_sixteen_bits_is_reduced_to_eight(given: Path, workdir: Path) -> None:
    """Many programs show such an image as white."""
    ramp = Image.linear_gradient("L").convert("I").point(lambda value: value * 257)
    found = prepare_image(save(ramp.convert("I;16"), given, "PNG"), "scan.png", workdir)
    assert found.changes == ("reduced to eight bits a pixel",)
    with Image.open(found.path) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        shades = [image.getpixel((9, y)) for y in (0, 128, 255)]
    assert shades == [0, 128, 255]
    assert measure_look(given, "scan.png").contrast > 200


def test_cmyk_is_converted_by_its_profile_or_the_standard_formula(
    given: Path, workdir: Path
) -> None:
    """An image with an unsuitable profile is not refused."""
    save(sample_image().convert("CMYK"), given, "TIFF", icc_profile=SRGB)
    found = prepare_image(given, "print.tif", workdir)
    with Image.open(found.path) as image:
        assert image.mode == "RGB"
        assert "icc_profile" not in image.info


@pytest.mark.parametrize("profile", [None, SRGB])
def test_a_cmyk_jpeg_is_uploaded_as_rgb(given: Path, workdir: Path, profile: bytes | None) -> None:
    save(sample_image().convert("CMYK"), given, "JPEG", icc_profile=profile)
    found = prepare_image(given, "print.jpg", workdir)
    assert found.changes == ("converted from CMYK to RGB",)
    with Image.open(found.path) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (64, 48))
        assert near(image.getpixel((8, 8)), LEFT)


@pytest.mark.parametrize("size", [(1, 1), (63, 400), (400, 63), (8192, 1), (513, 64), (64, 513)])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
def test_an_image_that_no_model_can_use_is_refused_by_its_size(
    given: Path, size: tuple[int, int], form: str
) -> None:
    save(sample_image(size), given, form)
    with pytest.raises(FileRefusedError, match=f"{size[0]} by {size[1]} pixels") as caught:
        check_image_shape(given, "a.png")
    assert caught.value.code == "bad_image"
    assert caught.value.remedy


@pytest.mark.parametrize("size", [(64, 64), (512, 64), (64, 512), (1920, 1080)])
def test_the_smallest_and_the_longest_usable_images_pass(
    given: Path, size: tuple[int, int]
) -> None:
    check_image_shape(save(sample_image(size), given, "PNG"), "a.png")


def test_a_damaged_image_is_not_judged_by_its_size(given: Path) -> None:
    given.write_bytes(b"\x89PNG\r\n\x1a\n")
    check_image_shape(given, "a.png")


def test_only_the_first_of_several_pages_is_kept(given: Path, workdir: Path) -> None:
    save(sample_image(), given, "TIFF", save_all=True, append_images=[sample_image((10, 10))] * 2)
    found = prepare_image(given, "scan.tiff", workdir)
    assert (found.width, found.height) == (64, 48)
    assert "only the first of 3 images kept" in found.changes


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "GIF"])
def test_an_oversized_image_is_scaled_down(given: Path, workdir: Path, form: str) -> None:
    found = prepare_image(save(sample_image((MAX_SIDE + 808, 100)), given, form), "a", workdir)
    assert (found.width, found.height) == (MAX_SIDE, 91)
    assert "scaled down from 9000 by 100 to 8192 by 91 pixels" in found.changes


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_an_oversized_gray_image_of_sixteen_bits_is_scaled_down(
    given: Path, workdir: Path, form: str
) -> None:
    wide = Image.linear_gradient("L").convert("I").point(lambda value: value * 257)
    save(wide.resize((9000, 100)).convert("I;16"), given, form, exif=camera_data(6))
    found = prepare_image(given, "a", workdir)
    assert (found.width, found.height) == (91, MAX_SIDE)
    assert "reduced to eight bits a pixel" in found.changes


def test_an_oversized_image_is_scaled_down_and_rotated(given: Path, workdir: Path) -> None:
    save(sample_image((9000, 100)), given, "JPEG", exif=camera_data(6))
    found = prepare_image(given, "a.jpg", workdir)
    assert (found.width, found.height) == (91, MAX_SIDE)
    assert "scaled down from 100 by 9000 to 91 by 8192 pixels" in found.changes


def test_a_huge_jpeg_is_scaled_down_in_little_memory(given: Path, workdir: Path) -> None:
    """Run in a process with 500 MB; the image has 600 million pixels, 2,400 MB."""
    huge_jpeg(given, 1875, 1256)
    printed = prepared_within(5 * 10**8, given, workdir)
    assert "scaled down from 30000 by 20096 to 7500 by 5024 pixels" in printed
    (made,) = workdir.iterdir()
    with Image.open(made) as image:
        assert image.size == (7500, 5024)
        assert near(image.getpixel((0, 0)), LEFT)
        assert near(image.getpixel((7499, 5023)), RIGHT)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_a_file_over_the_size_limit_is_scaled_down(given: Path, workdir: Path, form: str) -> None:
    options: dict[str, object] = {"lossless": True} if form == "WEBP" else {}
    noise = Image.effect_noise((400, 300), 80).convert("RGB")
    save(noise, given, form, **({"quality": 100} if form == "JPEG" else options))
    most = 50_000
    assert given.stat().st_size > most
    found = prepare_image(given, "a", workdir, max_bytes=most)
    assert found.bytes == found.path.stat().st_size <= most
    assert 100 < found.width < 400
    assert f"scaled down from 400 by 300 to {found.width} by {found.height} pixels" in found.changes
    assert any(change.startswith("made smaller, from 0.") for change in found.changes)


def test_a_file_over_the_size_limit_by_its_metadata_keeps_its_pixels(
    given: Path, workdir: Path
) -> None:
    save(sample_image(), given, "JPEG", comment=bytes(60_000))
    found = prepare_image(given, "a.jpg", workdir, max_bytes=10_000)
    assert found.bytes <= 10_000
    assert pixels(found.path) == pixels(given)


def test_an_animation_over_the_size_limit_is_refused(given: Path, workdir: Path) -> None:
    frames = [Image.effect_noise((64, 64), 80) for _ in range(4)]
    save(frames[0], given, "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(FileRefusedError) as caught:
        prepare_image(given, "a.gif", workdir, max_bytes=10_000)
    assert caught.value.code == "file_too_large"
    assert "animat" in caught.value.message


def test_the_type_is_that_of_the_content_and_the_name_follows(given: Path, workdir: Path) -> None:
    found = prepare_image(save(sample_image(), given, "PNG"), "photo.jpg", workdir)
    assert (found.name, found.content_type) == ("photo.png", "image/png")
    assert found.changes == ("named photo.png, because it is a PNG file",)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/pass wd.JPG", "pass wd.JPG"),
        ("C:\\photos\\Kätzchen.jpeg", "Kätzchen.jpeg"),
        ('a"\r\nX-Evil: 1.jpg', "aX-Evil: 1.jpg"),
        ("..", "file.jpg"),
        ("", "file.jpg"),
        ("mr. smith", "mr. smith.jpg"),
        ("x" * 300 + ".jpg", "x" * 100 + ".jpg"),
    ],
)
def test_upload_names_are_plain_file_names(
    given: Path, workdir: Path, name: str, expected: str
) -> None:
    assert prepare_image(save(sample_image(), given, "JPEG"), name, workdir).name == expected
