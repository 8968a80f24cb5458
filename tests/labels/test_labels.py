"""One interface over every source of labels; what a label may not be; where it may not lie."""

import numpy as np
import pytest
import tifffile

from acinus import params
from acinus.errors import RecipeError, SlideError
from acinus.labels.labels import LabelRow, LabelRules, check_source, open_labels, open_tissue


def rules_of(**settings):
    return LabelRules.of(["normal", "tumor"], params.CamelyonCohort(root="anywhere", **settings))


RULES = rules_of()
WIDTH, HEIGHT = 400, 300


def polygon(name, group, x0, y0, x1, y1):
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    rows = "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(corners))
    return (
        f'<Annotation Name="{name}" Type="Polygon" PartOfGroup="{group}"><Coordinates>{rows}</Coordinates></Annotation>'
    )


def row(root, kind="asap_xml", source="ann/s1.xml", exhaustive=True, provider="unknown"):
    return LabelRow("s1", root / source if source else None, kind, exhaustive, provider, WIDTH, HEIGHT)


@pytest.fixture
def root(tmp_path):
    """A cohort with a 200 x 200 lesion that has a 50 x 50 hole and sticks out of the slide, and the same as a mask."""
    (tmp_path / "ann").mkdir()
    annotations(tmp_path, polygon("lesion", "_0", 250, 100, 450, 300), polygon("hole", "_2", 300, 150, 350, 200))
    data = np.zeros((HEIGHT, WIDTH), np.uint8)
    data[100:300, 250:400] = 255
    data[150:200, 300:350] = 0
    tifffile.imwrite(tmp_path / "ann" / "s1_mask.tif", data, tile=(64, 64), compression="lzw")
    return tmp_path


def annotations(root, *items):
    text = f"<ASAP_Annotations><Annotations>{''.join(items)}</Annotations></ASAP_Annotations>"
    (root / "ann" / "s1.xml").write_text(text)


def refusal(root, label_row, rules=RULES, action=open_labels):
    with pytest.raises(SlideError) as caught:
        action(label_row, rules)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("slide s1: ")
    assert str(root) not in message  # a manifest that names this machine's folders is another manifest elsewhere
    return message


X0, Y0 = np.array([250, 300, 0, 350, 225]), np.array([100, 150, 0, 250, 75])
TUMOUR = [1.0, 0.0, 0.0, 1.0, 0.25]  # patches of 50 px


@pytest.mark.parametrize("source", [("asap_xml", "ann/s1.xml"), ("mask", "ann/s1_mask.tif")])
def test_outlines_and_mask_of_the_same_lesion_give_the_same_labels(root, source):
    labels = open_labels(row(root, *source), RULES)
    normal, tumour, ignored = labels.fractions(X0, Y0, 50)
    np.testing.assert_array_equal(tumour, TUMOUR)
    np.testing.assert_array_equal(ignored, np.zeros(5))
    np.testing.assert_array_equal(normal, 1 - np.array(TUMOUR))
    _, tumour, _ = labels.fractions(np.array([290]), np.array([140]), 70)
    np.testing.assert_allclose(tumour, [(70**2 - 50**2) / 70**2])
    raster = labels.raster(40, 30, 10.0)
    expected = np.zeros((30, 40), np.uint8)
    expected[10:30, 25:40] = 1
    expected[15:20, 30:35] = 0
    assert raster.dtype == np.uint8
    np.testing.assert_array_equal(raster, expected)
    counts = check_source(row(root, *source), RULES)
    assert counts is None if source[0] == "asap_xml" else counts.tolist() == [400 * 300 - 27500, 27500, 0]


def test_what_lies_beyond_the_slide_is_not_tumour(root):
    labels = open_labels(row(root), RULES)
    normal, tumour, ignored = labels.fractions(np.array([375]), np.array([200]), 50)
    assert tumour[0] == 0.5  # the outline goes on, the slide ends in the middle of the patch
    assert ignored[0] == 0.0
    assert normal[0] == 0.5
    assert not labels.raster(60, 30, 10.0)[:, 40:].any()


def test_not_exhaustive_outlines_leave_the_rest_unknown_but_not_their_cut_outs(root):
    labels = open_labels(row(root, exhaustive=False), RULES)
    normal, tumour, ignored = labels.fractions(X0, Y0, 50)
    np.testing.assert_array_equal(tumour, TUMOUR)
    np.testing.assert_array_equal(ignored, [0.0, 0.0, 1.0, 0.0, 0.75])
    np.testing.assert_array_equal(normal, [0.0, 1.0, 0.0, 0.0, 0.0])
    raster = labels.raster(40, 30, 10.0)
    assert (raster[15:20, 30:35] == 0).all()
    assert (raster == 1).sum() == 20 * 15 - 25
    assert (raster == 255).sum() == 1200 - 300


def test_an_ignored_region_wins_over_tumour_and_normal(root):
    annotations(root, polygon("a", "_0", 0, 0, 100, 100), polygon("b", "None", 50, 0, 150, 100))
    rules = rules_of(none_group="ignore")
    for exhaustive, rest in ((True, 0), (False, 255)):
        labels = open_labels(row(root, exhaustive=exhaustive), rules)
        normal, tumour, ignored = labels.fractions(np.array([0, 50, 100, 25]), np.zeros(4), 50)
        np.testing.assert_array_equal(tumour, [1, 0, 0, 0.5])
        np.testing.assert_array_equal(ignored[:3], [0, 1, 1])
        assert ignored[3] == 0.5
        np.testing.assert_array_equal(normal, 1 - tumour - ignored)
        assert labels.raster(4, 3, 100.0)[2, 3] == rest
        np.testing.assert_array_equal(labels.raster(8, 6, 50.0)[0, :4], [1, 255, 255, rest])


def test_nothing_to_draw_is_normal_and_unknown_is_ignored(root):
    x0 = np.zeros(3)
    for kind, value, share in (("none", 0, 0.0), ("unknown", 255, 1.0)):
        labels = open_labels(row(root, kind, None), RULES)
        normal, tumour, ignored = labels.fractions(x0, x0, 64)
        assert tumour.tolist() == [0.0] * 3
        assert ignored.tolist() == [share] * 3
        assert normal.tolist() == [1 - share] * 3
        assert (labels.raster(4, 5, 2.0) == value).all()
        assert labels.raster(4, 5, 2.0).shape == (5, 4)


@pytest.mark.parametrize("group", ["_0", "_2"])
def test_an_outline_wholly_outside_the_slide_is_refused(root, group):
    # Level-0 outlines of another slide, or drawn at another level: labels would silently vanish.
    annotations(root, polygon("in", "_0", 0, 0, 50, 50), polygon("far away", group, 400, 10, 500, 60))
    message = refusal(root, row(root))
    assert "s1.xml: annotation 'far away'" in message
    assert "400 x 300" in message
    assert "400, 10, 500, 60" in message


def test_failures_name_slide_and_file(root):
    (root / "ann" / "s1.xml").write_text("<ASAP_Anno")
    assert "s1.xml: not well-formed" in refusal(root, row(root))
    assert "gone.xml: cannot be read" in refusal(root, row(root, source="ann/gone.xml"))
    assert "without a label_source" in refusal(root, row(root, source=None))
    assert "label kind 'geojson'" in refusal(root, row(root, "geojson"))
    small = LabelRow("s1", root / "ann/s1_mask.tif", "mask", True, "unknown", 300, 400)
    assert "does not lie over the slide" in refusal(root, small)


def test_an_undeclared_mask_value_names_slide_file_and_value(root):
    rules = rules_of(mask_values={0: "normal", 1: "tumor"})
    mask_row = row(root, "mask", "ann/s1_mask.tif")
    labels = open_labels(mask_row, rules)  # the header is fine
    for action in (
        check_source,
        lambda *_: labels.raster(40, 30, 10.0),
        lambda *_: labels.fractions(X0, Y0, 50),
    ):
        assert "s1_mask.tif: value 255" in refusal(root, mask_row, rules, action)


PANDA = params.PandaCohort(
    root="anywhere",
    mask_values={
        "karolinska": {0: "background", 1: "benign", 2: "cancer"},
        "radboud": {0: "ignore", 1: "benign", 2: "benign", 3: "cancer", 4: "cancer", 5: "cancer"},
    },
)
CODES = np.random.default_rng(3).choice(6, size=(HEIGHT // 4, WIDTH // 4)).astype(np.uint8)


@pytest.mark.parametrize(("provider", "highest"), [("karolinska", 2), ("radboud", 5)])
def test_a_value_means_what_its_provider_says(tmp_path, provider, highest):
    """PANDA's layout: the label in red, the other channels 0, three levels of sizes that are not exact."""
    codes = np.minimum(CODES, highest)
    rgb = np.kron(np.stack([codes, codes * 0, codes * 0], axis=-1), np.ones((4, 4, 1), np.uint8))
    with tifffile.TiffWriter(tmp_path / "a_mask.tiff") as tiff:
        for step in (1, 4, 16):
            tiff.write(rgb[::step, ::step], tile=(64, 64), compression="lzw", photometric="rgb")
    named = PANDA.mask_values[provider]
    index = {"background": 0, "benign": 1, "cancer": 2, "ignore": 255}
    expected = np.vectorize(lambda code: index[named[code]])(codes).astype(np.uint8)
    rules = LabelRules.of(["background", "benign", "cancer"], PANDA)
    label_row = row(tmp_path, "mask", "a_mask.tiff", provider=provider)
    labels = open_labels(label_row, rules)
    np.testing.assert_array_equal(labels.raster(WIDTH // 4, HEIGHT // 4, 4.0), expected)
    shares = labels.fractions(np.array([0]), np.array([0]), WIDTH)[:, 0]
    counts = [int((expected == value).sum()) * 16 for value in (0, 1, 2, 255)]
    counted = [count / WIDTH**2 for count in counts]
    counted[0] = 1 - sum(counted[1:])  # the patch is higher than the slide, and what is beyond counts as class 0
    np.testing.assert_allclose(shares, counted, atol=1e-12)
    assert check_source(label_row, rules).tolist() == counts


def test_an_unknown_provider_and_a_value_of_another_are_named(tmp_path):
    rules = LabelRules.of(["background", "benign", "cancer"], PANDA)
    tifffile.imwrite(tmp_path / "a_mask.tiff", np.full((HEIGHT, WIDTH), 5, np.uint8), tile=(64, 64))
    strange = row(tmp_path, "mask", "a_mask.tiff", provider="helsinki")
    assert "provider 'helsinki'" in (message := refusal(tmp_path, strange, rules))
    assert "karolinska, radboud" in message
    message = refusal(tmp_path, row(tmp_path, "mask", "a_mask.tiff", provider="karolinska"), rules, check_source)
    assert "a_mask.tiff: value 5 at mask pixel (0, 0)" in message
    assert "cohort.mask_values.karolinska has 0 = background, 1 = benign, 2 = cancer" in message


def test_a_derived_class_mask_holds_class_indices(tmp_path):
    classes = ["background", "yellow", "grey"]
    colours = {"background": [0, 0, 0], "yellow": [255, 255, 0], "grey": [150, 150, 150]}
    rules = LabelRules.of(classes, params.RgbMaskCohort(root="x", colours=colours))
    data = np.zeros((HEIGHT, WIDTH), np.uint8)
    data[:100], data[100:150, :40], data[200:] = 2, 1, 255
    tifffile.imwrite(tmp_path / "s_mask.tif", data, tile=(64, 64), compression="zlib")
    label_row = row(tmp_path, "mask", "s_mask.tif", provider="anyone")
    assert check_source(label_row, rules).tolist() == [100 * WIDTH - 2000, 2000, 100 * WIDTH, 100 * WIDTH]
    np.testing.assert_array_equal(open_labels(label_row, rules).raster(WIDTH, HEIGHT, 1.0), data)
    data[7, 9] = 3
    tifffile.imwrite(tmp_path / "s_mask.tif", data, tile=(64, 64), compression="zlib")
    assert "value 3 at mask pixel (9, 7)" in refusal(tmp_path, label_row, rules, check_source)


def test_rules_that_name_no_class_are_refused(tmp_path):
    rules = LabelRules.of(["background", "tissue"], PANDA)
    with pytest.raises(RecipeError, match=r"cohort\.mask_values\.karolinska names benign, cancer; expected background"):
        open_labels(row(tmp_path, "mask", "a_mask.tiff", provider="karolinska"), rules)


def window_by_hand(labels_at, x0, y0, edge_px, downsample):
    """The label at every pixel's centre, 255 beyond the slide."""
    window = np.full((edge_px, edge_px), 255, np.uint8)
    for r in range(edge_px):
        for c in range(edge_px):
            x, y = x0 + (c + 0.5) * downsample, y0 + (r + 0.5) * downsample
            if 0 <= x < WIDTH and 0 <= y < HEIGHT:
                window[r, c] = labels_at(x, y)
    return window


def inside_lesion(x, y):
    return int(250 <= x < 400 and 100 <= y < 300 and not (300 <= x < 350 and 150 <= y < 200))


@pytest.mark.parametrize(
    ("source", "labels_at"),
    [
        (("asap_xml", "ann/s1.xml"), inside_lesion),
        (("mask", "ann/s1_mask.tif"), inside_lesion),
        (("none", None), lambda x, y: 0),
        (("unknown", None), lambda x, y: 255),
    ],
)
def test_windows_show_the_label_under_each_centre_from_any_source(root, source, labels_at):
    labels = open_labels(row(root, *source), RULES)
    x0, y0 = np.array([240, -10, 390, 301, 1000]), np.array([90, -20, 280, 149, 1000])
    for downsample in (1.0, 4.000147):
        found = list(labels.windows(x0, y0, 20, downsample))
        assert [window.dtype for window in found] == [np.uint8] * 5
        for window, left, top in zip(found, x0.tolist(), y0.tolist(), strict=True):
            np.testing.assert_array_equal(window, window_by_hand(labels_at, left, top, 20, downsample))


@pytest.mark.parametrize("source", [("asap_xml", "ann/s1.xml"), ("mask", "ann/s1_mask.tif"), ("none", None)])
def test_rows_of_a_raster_are_the_slice_of_the_whole(root, source):
    labels = open_labels(row(root, *source), RULES)
    whole = labels.raster(42, 32, 9.7)
    for top, rows in ((0, 32), (0, 5), (5, 13), (28, 4), (31, 1)):
        np.testing.assert_array_equal(labels.raster(42, rows, 9.7, top), whole[top : top + rows])


def test_a_manifest_row_says_what_its_label_is():
    manifest = {"slide_id": "s1", "label_kind": "mask", "exhaustive": np.True_, "provider": "radboud", "image": "a.tif"}
    found = LabelRow.of({**manifest, "width": 40.0, "height": 30}, None)
    assert found == LabelRow("s1", None, "mask", True, "radboud", 40, 30)


def panda_rules(classes=("other", "cancer"), **settings):
    values = {"radboud": {0: "other", 1: "other", 2: "other", 3: "cancer", 4: "cancer", 5: "cancer"}}
    return LabelRules.of(list(classes), params.PandaCohort(root="anywhere", mask_values=values, **settings))


def coded(root, values):
    """A mask of 20 x 15 px over the slide, its columns with one value each."""
    data = np.repeat(np.array([values], np.uint8), 15, axis=0).repeat(20 // len(values), axis=1)
    tifffile.imwrite(root / "ann" / "s1_mask.tif", data, tile=(16, 16), compression="lzw")
    return row(root, "mask", "ann/s1_mask.tif", provider="radboud")


def test_the_values_that_a_recipe_lists_are_tissue(root):
    found = open_tissue(coded(root, [0, 1, 3, 5]), panda_rules(tissue_values={"radboud": [1, 2, 3, 4, 5]}))
    assert found.raster(4, 1, 100.0).tolist() == [[0, 1, 1, 1]]


def test_a_class_called_tissue_says_so_too(root):
    """Every class but the first, and what is ignored is unknown."""
    values = {0: "glass", 1: "tissue", 3: "cancer", 5: "ignore"}
    rules = LabelRules(("glass", "tissue", "cancer"), {"radboud": values})
    assert open_tissue(coded(root, [0, 1, 3, 5]), rules).raster(4, 1, 100.0).tolist() == [[0, 1, 1, 255]]


def test_labels_that_do_not_tell_tissue_from_glass_are_none(root):
    assert open_tissue(coded(root, [0, 1, 3, 5]), panda_rules()) is None
    rules = panda_rules(tissue_values={"radboud": [1]})
    assert open_tissue(row(root, "asap_xml"), rules) is None
    assert open_tissue(row(root, "unknown", None), rules) is None


def test_values_of_tissue_must_be_values_of_the_mask():
    with pytest.raises(ValueError, match=r"tissue_values\.radboud has 7; must be values of mask_values\.radboud"):
        panda_rules(tissue_values={"radboud": [1, 7]})
