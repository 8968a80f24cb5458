"""Parts cut from a JPEG: the same coefficients, hence the same luma, and chroma that differs at the border only."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np
import pytest
import simplejpeg

from acinus.patches import lossless
from acinus.patches.lossless import cutter, cutter_version

turbojpeg = pytest.importorskip("turbojpeg")
CORNERS = [(0, 0), (32, 0), (16, 48), (64, 64), (80, 80)]
EDGE = 48


def decoded(data: bytes, space: str = "RGB") -> np.ndarray:
    return np.asarray(simplejpeg.decode_jpeg(data, space, fastdct=False, fastupsample=False))


@pytest.fixture
def whole(picture) -> Callable[[str], bytes]:
    return lambda kind: bytes(simplejpeg.encode_jpeg(picture(128, 128), 85, "RGB", kind))


@pytest.mark.parametrize("kind", ["444", "422", "420", "440"])
def test_luma_is_exact_and_colour_differs_at_most_in_the_outermost_px(kind: str, whole) -> None:
    data = whole(kind)
    cut = cutter()
    assert cut is not None
    for (x, y), part in zip(CORNERS, cut(data, CORNERS, EDGE), strict=True):
        place = np.s_[y : y + EDGE, x : x + EDGE]
        assert np.array_equal(decoded(part, "GRAY"), decoded(data, "GRAY")[place])
        differs = (decoded(part) != decoded(data)[place]).any(axis=2)
        inner = np.zeros((EDGE, EDGE), dtype=bool)
        inner[1:-1, 1:-1] = True
        if kind in ("444", "422"):  # chroma is whole from row to row
            inner[[0, -1], 1:-1] = True
        if kind in ("444", "440"):
            inner[1:-1, [0, -1]] = True
        if kind == "444":
            inner[:] = True
        assert not differs[inner].any()
        assert kind == "444" or differs.any()  # else the bound says nothing


@pytest.mark.parametrize("kind", ["444", "420"])
def test_the_bytes_are_those_of_the_package_itself(kind: str, whole) -> None:
    expected = [
        turbojpeg.transform(whole(kind), x=x, y=y, w=EDGE, h=EDGE, crop=True, copynone=True) for x, y in CORNERS
    ]
    assert cutter()(whole(kind), CORNERS, EDGE) == expected
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: cutter()(whole(kind), CORNERS, EDGE), range(20)))
    assert found == [expected] * 20


@pytest.mark.parametrize("ids", ["named RGB", "told by an Adobe marker"])
def test_an_rgb_jpeg_stays_rgb(ids: str, picture) -> None:
    pixels = picture(128, 128)
    data = bytes(imagecodecs.jpeg_encode(pixels, 85, colorspace="RGB", outcolorspace="RGB"))
    if ids != "named RGB":
        head, scan = data[: data.index(b"\xff\xda")], data[data.index(b"\xff\xda") :]
        # component ids 1, 2, 3: libjpeg would take them for YCbCr but for the marker
        for mark in (b"\xff\xc0", b"\xff\xda"):
            part = head if mark == b"\xff\xc0" else scan
            at, step = (part.index(mark) + 10, 3) if mark == b"\xff\xc0" else (5, 2)
            own = bytearray(part)
            assert [own[at + step * number] for number in range(3)] == list(b"RGB")
            own[at : at + 3 * step : step] = b"\1\2\3"
            head, scan = (bytes(own), scan) if mark == b"\xff\xc0" else (head, bytes(own))
        data = head + scan
    assert np.abs(decoded(data).astype(int) - pixels).max() < 40
    for (x, y), part in zip(CORNERS, cutter()(data, CORNERS, EDGE), strict=True):
        assert np.array_equal(decoded(part), decoded(data)[y : y + EDGE, x : x + EDGE])


def test_what_is_not_on_the_grid_or_no_jpeg_is_refused(whole) -> None:
    with pytest.raises(ValueError, match="must be a multiple of 16"):
        cutter()(whole("420"), [(0, 0), (8, 0)], EDGE)
    with pytest.raises(ValueError, match=r"\S"):
        cutter()(whole("420"), [(112, 112)], EDGE)  # beyond the picture
    for bad in (b"", b"\0" * 100, whole("420")[:50], whole("420")[:-500]):
        with pytest.raises(ValueError, match=r"\S"):
            cutter()(bad, [(0, 0)], EDGE)


@pytest.fixture
def forgotten() -> Iterator[None]:
    cutter.cache_clear()
    yield
    cutter.cache_clear()


def test_without_the_package_nothing_is_cut_and_the_digest_says_so(monkeypatch, forgotten) -> None:
    present = cutter_version()
    cutter.cache_clear()
    monkeypatch.setattr(lossless, "PACKAGE", "no_such_package")
    assert cutter() is None
    assert cutter_version() == "absent" != present


def test_a_package_of_that_name_without_the_library_is_none(monkeypatch, forgotten) -> None:
    monkeypatch.setattr(lossless, "PACKAGE", "lmdb.cpython")  # a shared object of another kind
    assert cutter() is None
