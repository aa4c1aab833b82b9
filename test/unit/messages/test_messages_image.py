"""Every encoding the node and the bag reader promise, with padding and both byte orders."""

from __future__ import annotations

import array
import io
import subprocess
import sys
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deviloc_ros.errors import InputError
from deviloc_ros.messages.image import ENCODINGS, pixels_from_message

RNG = np.random.default_rng(7)
GRAY = RNG.integers(0, 256, (6, 8), np.uint8)
COLOUR = RNG.integers(0, 256, (6, 8, 3), np.uint8)
ALPHA = RNG.integers(0, 256, (6, 8, 1), np.uint8)


def message(samples, encoding, padding=0, big_endian=0):
    rows = samples.reshape(samples.shape[0], -1).view(np.uint8)
    filler = np.full((len(rows), padding), 0xA5, np.uint8)
    data = np.hstack([rows, filler])
    return SimpleNamespace(
        height=samples.shape[0],
        width=samples.shape[1],
        encoding=encoding,
        is_bigendian=big_endian,
        step=data.shape[1],
        data=array.array("B", data.tobytes()),
    )


def mosaic(colour, pattern):
    """Sample an RGB image as the sensor with this 2 x 2 pattern does."""
    raw = np.empty(colour.shape[:2], np.uint8)
    for index, channel in enumerate(pattern):
        row, column = divmod(index, 2)
        raw[row::2, column::2] = colour[row::2, column::2, "rgb".index(channel)]
    return raw


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "samples", "expected"),
    [
        ("mono8", GRAY, GRAY),
        ("8UC1", GRAY, GRAY),
        ("rgb8", COLOUR, COLOUR),
        ("bgr8", COLOUR[..., ::-1], COLOUR),
        ("8UC3", COLOUR[..., ::-1], COLOUR),
        ("rgba8", np.concatenate([COLOUR, ALPHA], 2), COLOUR),
        ("bgra8", np.concatenate([COLOUR[..., ::-1], ALPHA], 2), COLOUR),
    ],
)
def test_plain_encodings_are_exact(encoding, samples, expected, padding):
    pixels = pixels_from_message(message(np.ascontiguousarray(samples), encoding, padding))
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("big_endian", [0, 1])
def test_mono16_keeps_the_full_range_in_both_byte_orders(big_endian, padding):
    values = np.array([[0, 128, 129, 257 * 77, 65535, 40000]], np.uint16).repeat(2, 0)
    samples = values.astype(">u2" if big_endian else "<u2")
    pixels = pixels_from_message(message(samples, "mono16", padding, big_endian))
    np.testing.assert_array_equal(pixels[0], [0, 0, 1, 77, 255, 156])


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("padding", [0, 3])
def test_bayer_patterns_give_the_right_colours(pattern, padding):
    flat = np.tile(np.array([200, 120, 30], np.uint8), (12, 16, 1))
    raw = mosaic(flat, pattern)
    pixels = pixels_from_message(message(raw, f"bayer_{pattern}8", padding))
    np.testing.assert_array_equal(pixels, flat)
    wide = raw.astype(np.uint16) * 257
    for big_endian in (0, 1):
        samples = wide.astype(">u2" if big_endian else "<u2")
        sent = message(samples, f"bayer_{pattern}16", padding * 2, big_endian)
        np.testing.assert_array_equal(pixels_from_message(sent), flat)


@pytest.mark.parametrize("name", ["rgb", "bgr", "rgba", "bgra"])
def test_colours_of_16_bits_are_those_of_8(name):
    samples = np.concatenate([COLOUR[..., ::-1] if name[0] == "b" else COLOUR, ALPHA], 2)
    wide = np.ascontiguousarray(samples[..., : len(name)]).astype(np.uint16) * 257
    np.testing.assert_array_equal(pixels_from_message(message(wide, f"{name}16")), COLOUR)


@pytest.mark.parametrize(
    ("encoding", "luma_first"),
    [("yuv422", False), ("uyvy", False), ("yuv422_yuy2", True), ("yuyv", True)],
)
def test_yuv422_follows_bt601(encoding, luma_first):
    rgb = np.array([180.0, 90.0, 40.0])
    # ITU-R BT.601, studio range.
    y = 16 + rgb @ [65.481, 128.553, 24.966] / 255
    u = 128 + rgb @ [-37.797, -74.203, 112.0] / 255
    v = 128 + rgb @ [112.0, -93.786, -18.214] / 255
    pair = [y, u, y, v] if luma_first else [u, y, v, y]
    samples = np.tile(np.array(pair).round().astype(np.uint8), (4, 5)).reshape(4, 10, 2)
    for padding in (0, 7):
        pixels = pixels_from_message(message(samples, encoding, padding))
        assert pixels.shape == (4, 10, 3)
        np.testing.assert_allclose(pixels, np.broadcast_to(rgb, pixels.shape), atol=3)


@given(
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(0, 9),
    st.sampled_from(["mono8", "rgb8", "bgra8"]),
)
def test_any_size_and_padding_gives_the_same_pixels(height, width, padding, encoding):
    channels = ENCODINGS[encoding].channels
    samples = np.arange(height * width * channels, dtype=np.uint32).astype(np.uint8)
    samples = samples.reshape(height, width, channels)
    padded = pixels_from_message(message(samples, encoding, padding))
    np.testing.assert_array_equal(padded, pixels_from_message(message(samples, encoding)))
    assert padded.shape[:2] == (height, width)


def test_rosbags_arrays_read_like_rclpy_arrays():
    sent = message(COLOUR, "rgb8")
    sent.data = np.frombuffer(sent.data, np.uint8)
    np.testing.assert_array_equal(pixels_from_message(sent), COLOUR)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoding": "32FC1"}, ["32FC1", "mono8"]),
        ({"step": 7}, ["step 7", "expected step >= 8"]),
        ({"height": 7}, ["48 bytes"]),
        ({"width": 0}, ["0 x 6"]),
        ({"encoding": "yuyv", "width": 3}, ["even"]),
        ({"encoding": "bayer_rggb8", "height": 1, "data": bytes(8)}, ["2 x 2"]),
    ],
)
def test_contradictions_are_told(change, words):
    sent = message(GRAY, "mono8")
    sent.__dict__.update(change)
    with pytest.raises(InputError) as error:
        pixels_from_message(sent)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def compressed(data, text):
    return SimpleNamespace(format=text, data=array.array("B", bytes(data)))


def encoded(samples, suffix):
    done, data = cv2.imencode(suffix, samples)
    assert done
    return data


def test_png_is_exact_and_16_bit_and_alpha_are_read():
    bgr = np.ascontiguousarray(COLOUR[..., ::-1])
    np.testing.assert_array_equal(
        pixels_from_message(compressed(encoded(bgr, ".png"), "png")), COLOUR
    )
    bgra = np.concatenate([bgr, ALPHA], 2)
    np.testing.assert_array_equal(
        pixels_from_message(compressed(encoded(bgra, ".png"), "rgba8; png compressed bgra8")),
        COLOUR,
    )
    wide = GRAY.astype(np.uint16) * 257
    np.testing.assert_array_equal(
        pixels_from_message(compressed(encoded(wide, ".png"), "mono16; png compressed ")), GRAY
    )


def test_jpeg_colours_are_in_order():
    flat = np.tile(np.array([200, 120, 30], np.uint8), (16, 16, 1))
    data = encoded(np.ascontiguousarray(flat[..., ::-1]), ".jpg")
    for text in ("jpeg", "rgb8; jpeg compressed bgr8"):
        np.testing.assert_allclose(pixels_from_message(compressed(data, text)), flat, atol=3)
    swapped = encoded(flat, ".jpg")
    np.testing.assert_allclose(
        pixels_from_message(compressed(swapped, "rgb8; jpeg compressed rgb8")), flat, atol=3
    )


def test_compressed_bayer_mosaic_is_interpolated():
    flat = np.tile(np.array([200, 120, 30], np.uint8), (16, 16, 1))
    data = encoded(mosaic(flat, "gbrg"), ".png")
    np.testing.assert_array_equal(
        pixels_from_message(compressed(data, "bayer_gbrg8; png compressed ")), flat
    )
    wide = encoded(mosaic(flat, "rggb").astype(np.uint16) * 257, ".png")
    np.testing.assert_array_equal(
        pixels_from_message(compressed(wide, "bayer_rggb16; png compressed ")), flat
    )


@pytest.mark.parametrize("name", ["bayer_xyzw8", "bayer_", "bayer_rggb12"])
def test_an_unknown_compressed_pattern_is_named(name):
    with pytest.raises(InputError, match=f"'{name}' is unknown"):
        pixels_from_message(compressed(encoded(GRAY, ".png"), f"{name}; png compressed "))


def test_exif_orientation_is_not_applied():
    image = Image.fromarray(COLOUR)
    exif = image.getexif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    image.save(stream, "JPEG", exif=exif)
    assert pixels_from_message(compressed(stream.getvalue(), "jpeg")).shape == COLOUR.shape


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "jpeg"),
        (b"not an image", "png"),
        (bytes(encoded(COLOUR, ".png"))[:40], "png"),
        (bytes(encoded(GRAY, ".png")), "16UC1; compressedDepth"),
    ],
)
def test_unreadable_compressed_images_are_told(data, text):
    with pytest.raises(InputError):
        pixels_from_message(compressed(data, text))


@pytest.mark.parametrize(
    ("side", "more", "words"),
    [(10_000, 0, "more than its .* bytes can hold"), (20_001, 50_000, "at most 400 million")],
)
def test_a_header_that_claims_too_much_is_refused_before_decoding(side, more, words):
    data = bytearray(encoded(GRAY, ".png"))
    data[16:24] = side.to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    with pytest.raises(InputError, match=words):
        pixels_from_message(compressed(data + bytes(more), "png"))


def test_conversion_needs_no_middleware():
    code = "import deviloc_ros.messages.image, deviloc_ros.messages.camera_info, sys;"
    code += "assert not [m for m in sys.modules if m.split('.')[0] in ('rclpy', 'sensor_msgs')]"
    subprocess.run([sys.executable, "-c", code], check=True)
