"""Each primitive of the drawing against arithmetic done another way."""

import math

import numpy as np
import pytest
from shapely.geometry import Polygon

from acinus_demo import nuclei, outline, pyramid, stain, texture
from acinus_demo.nuclei import Kind


def test_mix_is_beer_lambert() -> None:
    dye = stain.Stain((0.6, 0.8, 0.3), (0.1, 0.8, 0.25), (243, 244, 242))
    rng = np.random.default_rng(0)
    h, e, i = (rng.random((40, 30), dtype=np.float32) * 1.5 for _ in range(3))
    ink = (1.0, 0.2, 0.4)
    density = [h * dye.haematoxylin[c] + e * dye.eosin[c] + i * ink[c] for c in range(3)]
    expected = np.stack([dye.glass[c] * np.exp(-density[c]) for c in range(3)], axis=-1)
    assert np.abs(stain.mix(h, e, dye, (i, ink)) - expected).max() < 1.0


def test_no_dye_leaves_the_glass() -> None:
    dye = stain.vary(np.random.default_rng(3))
    nothing = np.zeros((2, 2), np.float32)
    assert (stain.mix(nothing, nothing, dye) == np.array(dye.glass)).all()


def test_slides_differ_in_stain() -> None:
    dyes = {stain.vary(np.random.default_rng(seed)) for seed in range(8)}
    assert len(dyes) == 8
    assert max(d.eosin[1] for d in dyes) / min(d.eosin[1] for d in dyes) > 1.1


def test_upsample_keeps_a_plane_a_plane() -> None:
    y, x = np.mgrid[-1:9, -1:7].astype(np.float32)
    fine = texture.upsample4(2 * y + 8 * x)
    fine_y, fine_x = np.mgrid[0:32, 0:24]
    expected = 2 * ((fine_y + 0.5) / 4 - 0.5) + 8 * ((fine_x + 0.5) / 4 - 0.5)
    np.testing.assert_allclose(fine, expected, atol=1e-5)


def test_sample_smooth_hits_knots_and_midpoints_and_wraps() -> None:
    tile = np.random.default_rng(0).random((8, 8), dtype=np.float32)
    at = np.array([[0.0, 3.0, 7.5, -1.0]], np.float32)
    zero = np.zeros_like(at)
    expected = [tile[0, 0], tile[3, 0], (tile[7, 0] + tile[0, 0]) / 2, tile[7, 0]]
    np.testing.assert_allclose(texture.sample_smooth(tile, at, zero)[0], expected, rtol=1e-6)
    np.testing.assert_array_equal(texture.sample(tile, at, zero)[0], tile[[0, 3, 7, 7], 0])


def test_noise_stays_in_range_and_is_smooth() -> None:
    noise = texture.fractal(np.random.default_rng(1), (200, 300), 50)
    assert 0 <= noise.min() < 0.4 < 0.6 < noise.max() <= 1
    assert np.abs(np.diff(noise, axis=1)).max() < 0.1


def test_textures_tile_without_a_seam() -> None:
    rng = np.random.default_rng(2)
    for tile in (texture.fibre_tile(rng, 256), texture.grain_tile(rng, 3.0, 256), texture.cell_borders(rng, 128, 6)):
        inner = np.abs(np.diff(tile, axis=0)).max()
        assert np.abs(tile[0] - tile[-1]).max() <= inner * 1.05


def test_fibres_run_along_the_second_axis() -> None:
    tile = texture.fibre_tile(np.random.default_rng(4), 256)
    assert np.abs(np.diff(tile, axis=0)).mean() > 5 * np.abs(np.diff(tile, axis=1)).mean()


def test_outline_is_simple_and_rasterises_to_its_area() -> None:
    for seed in range(20):
        ring = outline.irregular(np.random.default_rng(seed), (300.0, 260.0), (150.0, 110.0), 0.4)
        polygon = Polygon(ring)
        assert polygon.is_valid
        assert all(value == round(value, 1) for point in ring for value in point)
        fine = outline.mask([ring], (700, 600))
        assert fine.sum() == pytest.approx(polygon.area, rel=0.03)
        coarse = outline.mask([ring], (175, 150), downsample=4)
        assert 16 * coarse.sum() == pytest.approx(polygon.area, rel=0.06)


def test_nuclei_have_the_diameter_they_were_asked_for() -> None:
    kind = Kind(20.0, 0.0, 1.0, 0.0, body=0.8, clumps=0.0, rim=0.0, body_spread=0.0)
    sprites = nuclei.bank(np.random.default_rng(0), kind, count=32)
    assert sprites.max() == pytest.approx(80, abs=1)
    area = sprites.sum(axis=(1, 2)) / 80
    np.testing.assert_allclose(area, math.pi * 10**2, rtol=0.04)


def test_oriented_bank_points_where_asked() -> None:
    kind = Kind(8.0, 0.0, 6.0, 0.0, body=0.8, clumps=0.0, rim=0.0)
    sprites = nuclei.bank(np.random.default_rng(0), kind, count=256, oriented=True).astype(float)
    direction = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 1.0]], np.float32)
    which = nuclei.facing(np.random.default_rng(1), (direction[:, 0], direction[:, 1]), 256)
    centre = (sprites.shape[1] - 1) / 2
    y, x = np.mgrid[: sprites.shape[1], : sprites.shape[2]] - centre
    for (dx, dy), k in zip(direction, which, strict=True):
        along = (sprites[k] * (x * dx + y * dy) ** 2).sum()
        across = (sprites[k] * (y * dx - x * dy) ** 2).sum()
        assert along > 1.5 * across


def test_scatter_fills_the_lattice_and_obeys_the_density() -> None:
    density = np.zeros((50, 100), np.float32)
    density[:, :50] = 1
    density[:, 75:] = 0.25
    points = nuclei.scatter(np.random.default_rng(0), (1600, 800), 10.0, density, 16)
    per_quarter = 400 * 800 / (100 * 0.866)
    counts = np.histogram(points[:, 0], bins=[0, 400, 800, 1200, 1600])[0]
    np.testing.assert_allclose(counts, [per_quarter, per_quarter, 0, per_quarter / 4], rtol=0.08, atol=1)


def test_stamps_do_not_depend_on_order_and_may_stand_at_the_border() -> None:
    kind = Kind(60.0, 0.3, 2.0, 0.2, body=0.8, clumps=0.3, rim=0.2, nucleoli=2, nucleolus_um=5.0)
    sprites = nuclei.bank(np.random.default_rng(0), kind, count=16)
    points = np.array([[0, 0], [99, 79], [0, 79], [50, 40], [55, 42]], np.int32)
    which = np.arange(5)
    first, second = nuclei.canvas((100, 80)), nuclei.canvas((100, 80))
    nuclei.stamp(first, sprites, points, which)
    nuclei.stamp(second, sprites, points[::-1], which[::-1])
    assert (first == second).all()
    assert first[nuclei.MARGIN_PX, nuclei.MARGIN_PX] > 0


def test_halving_is_the_box_mean_and_counts_an_odd_edge_twice() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (7, 10, 3), dtype=np.uint8)
    padded = np.concatenate([picture, picture[-1:]]).astype(int)
    sums = padded.reshape(4, 2, 5, 2, 3).sum(axis=(1, 3))
    assert (pyramid.halve(picture) == (sums + 2) // 4).all()


def test_small_pictures_have_fewer_levels() -> None:
    sizes = [level.shape[:2] for level in pyramid.levels(np.zeros((200, 70, 3), np.uint8))]
    assert sizes == [(200, 70), (100, 35), (50, 18)]


def test_group_names_are_escaped() -> None:
    text = outline.asap_text([outline.Outline('a"<b', ((1.0, 2.5), (3.0, 4.0), (5.0, 1234567.8)))])
    assert 'a"<b' not in text
    assert 'Y="1234567.8"' in text
