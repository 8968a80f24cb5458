"""Pages: hostile text stays text, every figure is traceable, undefined figures say so, nothing is loaded."""

import dataclasses
import re
import runpy
from pathlib import Path

import pytest

from acinus.errors import AcinusError
from acinus.files import write_json
from acinus.metrics import registry
from acinus.metrics.flags import FLAGS
from acinus.pages import contexts, pages, summary, views, wording

READER = runpy.run_path(str(Path(__file__).with_name("page_reader.py")))
HOSTILE, Reader, assert_inert = (READER[name] for name in ("HOSTILE", "Reader", "assert_inert"))


def page_of(cohort, **changes) -> contexts.RecipePage:
    provenance = contexts.Provenance(
        "demo-camelyon", "camelyon", "patch_classification", "A title", "abc123", "0123456789", "resnet50", "run-1"
    )
    page = contexts.RecipePage(
        provenance,
        contexts.Protocol(0.5, "p99", 200, 7, "224 px at 1.0 um per px", 16.0),
        cohort.metrics,
        cohort.per_slide,
        (contexts.Pictures("test_a", "figures/test_a_slide.png", "figures/test_a_map.png"),),
        (contexts.Chart("figures/roc.png", "ROC", "ROC curves"),),
        {"metrics.json": "metrics.json"},
    )
    return dataclasses.replace(page, **changes)


def row_of(cohort, **changes) -> summary.SummaryRow:
    row = summary.SummaryRow(
        "demo-camelyon", "camelyon", "patch_classification", "A title", cohort.metrics, "demo-camelyon/index.html"
    )
    return dataclasses.replace(row, **changes)


def test_shared_patients_are_said_beside_every_interval(cohort) -> None:
    alone = pages.recipe_page(page_of(cohort))
    assert wording.SEEN not in alone
    shared = {**cohort.metrics, "n_patients_seen": 2}
    html = pages.recipe_page(
        page_of(cohort, metrics=shared, validation={"allow_shared_patients": "the official split of <x>"})
    )
    intervals = len(re.findall(r"\[<data[^>]*>[^<]*</data> to <data[^>]*>[^<]*</data>\]", html))
    assert intervals > 5
    assert html.count(wording.SEEN) == intervals
    assert "the official split of &lt;x&gt;" in html
    row = row_of(cohort, metrics=shared)
    assert f"({wording.SEEN})" in summary.console_table([row])
    assert pages.summary_page([row]).count(wording.SEEN) == 1


def test_slides_without_annotation_are_said_beside_the_number_of_slides(cohort) -> None:
    assert "have no annotation" not in pages.recipe_page(page_of(cohort))
    html = pages.recipe_page(page_of(cohort, metrics={**cohort.metrics, "n_slides_unlabelled": 3}))
    assert '<data value="3">3</data> of those scored have no annotation' in html


VALIDATION = {
    "class_shares": {
        "train": {"slides": 9, "patches": 1234, "shares": {"other": 0.75, "gland": 0.2493, "stroma": 0.0007}},
        "test": {"slides": 5, "patches": 77, "shares": {"other": None, "gland": None, "stroma": None}},
    },
    "tissue_types": {"train": {"lung": 6, "skin": 3}},
    "findings": {"blank_mask": [f"found_{number}" for number in range(14)]},
}
VIEWS = views.choose(
    [views.PatchResult("seg_a", 64, 32, 0.8125, True, 0), views.PatchResult("seg_d", 0, 0, None, False, 4321)], 1
)
KEYS = tuple(
    contexts.ClassKey(name, colour)
    for name, colour in (("other", (255, 255, 255)), ("gland", (1, 2, 3)), ("stroma", (250, 0, 9)))
)


def segmentation_page(cohort, **changes) -> contexts.RecipePage:
    page = contexts.RecipePage(
        contexts.Provenance("demo-x", "pannuke", "segmentation", "A title", "abc", "01", "unet", None),
        contexts.Protocol(0.5, "max", 200, 7, "256 px", 2.0, ("official-1",), ("gland", "stroma")),
        cohort.metrics,
        cohort.per_slide,
        (contexts.Pictures("seg_a", "pictures/seg_a.png"),),
        (contexts.Chart("pictures/confusion.png", "Confusion", "confusion of the classes"),),
        {"metrics.json": "metrics.json"},
        KEYS,
        VIEWS,
        "views",
        VALIDATION,
    )
    return dataclasses.replace(page, **changes)


def leaves(value: object) -> set[str]:
    """Every number of nested JSON as text."""
    if isinstance(value, dict):
        return set().union(*(leaves(one) for one in value.values())) if value else set()
    return {str(value)}


def known_figures(cohort) -> set[str]:
    known = {str(value) for value in cohort.metrics.values()}
    for column in cohort.per_slide.columns:
        known |= {str(value) for value in cohort.per_slide[column]}
    return known


def test_every_figure_of_a_segmentation_stands_in_a_file(segmentation) -> None:
    shown = Reader(pages.recipe_page(segmentation_page(segmentation))).values()
    assert len(shown) > 100
    assert set(shown) <= known_figures(segmentation) | leaves(VALIDATION) | {"0.8125", "4321", "64", "32", "0"}
    assert {"0.8125", "4321", "1234", "0.0007"} <= set(shown)


def test_a_segmentation_shows_its_headlines_classes_and_baselines(segmentation) -> None:
    read = Reader(pages.recipe_page(segmentation_page(segmentation)))
    shown, found = read.values(), segmentation.metrics
    names = [one for one in registry.shown_in("card", found, "segmentation") if found[one] is not None]
    assert len(names) >= 10
    names += [f"{name}_ci_{end}" for name in ("miou", "mdice", "pixel_accuracy") for end in ("low", "high")]
    names += [f"class_{kind}.{one.name}" for kind in ("dice", "iou", "accuracy") for one in KEYS]
    names += [f"{name}.baseline_{which}" for name in ("miou", "mdice", "dice_mean") for which in ("majority", "colour")]
    names += ["dice_mean_tumor.left", "miou.skin"]
    for name in names:
        assert str(found[name]) in shown, name
    text = " ".join(read.text.split())
    for said in (
        "official-1 (PanNuke's official split 1",
        "commonest class of the training patches",
        "logistic regression on the colour of each map pixel",
        "Positive classes: gland, stroma.",
        "A map pixel has the class of highest probability",
        "the maximum of the map over tissue",
        "blank mask",
        "and 2 more in validation.json",
        "lung 6, skin 3",
        "Without foreground",
    ):
        assert said in text, said
    assert "Patch AUC" not in text


def test_the_main_figure_comes_first(segmentation, cohort) -> None:
    def first(page: contexts.RecipePage) -> str | None:
        tags = Reader(pages.recipe_page(page)).tags
        return next(attributes["id"] for tag, attributes in tags if tag == "article")

    assert first(segmentation_page(segmentation)) == "miou"
    panda = dataclasses.replace(segmentation_page(segmentation).provenance, family="panda")
    assert first(segmentation_page(segmentation, provenance=panda)) == "dice_mean_tumor"
    assert first(page_of(cohort)) == "patch_auc"


def test_figures_of_labels_are_left_out_where_no_slide_has_any(segment, segmentation) -> None:
    bare = segment(slides=segmentation.manifest.assign(slide_label=None).to_dict("records"))
    ids = {attributes.get("id") for _, attributes in Reader(pages.recipe_page(segmentation_page(bare))).tags}
    assert "dice_mean" in ids
    assert not {"dice_mean_tumor", "slide_auc"} & ids


def test_a_key_in_the_colours_of_the_masks_says_so(segmentation) -> None:
    """A cohort may call sky blue red: then the key is no mistake of ours."""
    page = segmentation_page(segmentation)
    said = "Colours as in the cohort's masks, whatever a class is called."
    assert said in pages.recipe_page(dataclasses.replace(page, mask_colours=True))
    assert said not in pages.recipe_page(page)


def test_a_class_has_its_colour_and_class_0_none(segmentation) -> None:
    tags = Reader(pages.recipe_page(segmentation_page(segmentation))).tags
    styles = [attributes.get("style") for tag, attributes in tags if tag == "i"]
    assert set(styles) == {None, "background: rgb(1 2 3)", "background: rgb(250 0 9)"}


def test_pictures_of_patches_and_slides_are_where_they_were_written(segmentation) -> None:
    tags = Reader(pages.recipe_page(segmentation_page(segmentation))).tags
    assert [attributes["src"] for tag, attributes in tags if tag == "img"] == [
        "pictures/confusion.png",
        "views/view_best_1.png",
        "views/view_empty_1.png",
        "pictures/seg_a.png",
    ]


def test_a_page_without_extras_has_no_empty_sections(segmentation) -> None:
    page = segmentation_page(segmentation, views=(), validation={}, charts=(), pictures=())
    ids = {attributes.get("id") for _, attributes in Reader(pages.recipe_page(page)).tags}
    assert not {"views", "data", "curves", "slides"} & ids


def test_a_long_table_shows_the_worst_and_says_so(segment, rows) -> None:
    slides = [rows.slide(f"s{i:03}", None, f"p{i}") for i in range(pages.MOST_ROWS + 3)]
    nothing = [40, 0, 0, 0, 0, 0, 0, 0, 0]
    amounts = []
    for i, one in enumerate(slides):
        matrix = [40, 0, 0, 60 - i // 10, i // 10, 0, 0, 0, 0]
        amounts.append(
            rows.amount(one["slide_id"], (i // 10, i // 10, 60), (1.0, 1.0), 0.5)
            | {"class_px": (90, 10, 0), "confusion": matrix, "confusion_majority": nothing, "confusion_colour": nothing}
        )
    built = segment(slides=slides, amounts=amounts, bootstrap=0)
    html = pages.recipe_page(segmentation_page(built, pictures=(), views=()))
    assert "3 more stand in per_slide.csv" in html
    assert '<th scope="row">s000</th>' in html
    assert '<th scope="row">s202</th>' not in html


def test_every_figure_stands_in_the_metrics_or_the_table(cohort) -> None:
    known = known_figures(cohort)
    shown = Reader(pages.recipe_page(page_of(cohort))).values()
    assert len(shown) > 60
    assert set(shown) <= known
    shown = Reader(pages.summary_page([row_of(cohort)])).values()
    assert set(shown) <= {str(value) for value in cohort.metrics.values()}


def test_every_headline_and_its_interval_is_shown(cohort) -> None:
    shown = Reader(pages.recipe_page(page_of(cohort))).values()
    names = [
        one
        for one in registry.shown_in("card", cohort.metrics, "patch_classification")
        if cohort.metrics[one] is not None
    ]
    assert len(names) >= 9
    for name in names:
        for figure in (name, f"{name}_ci_low", f"{name}_ci_high"):
            assert str(cohort.metrics[figure]) in shown, figure


def test_the_table_shows_every_scored_test_slide_and_every_excluded_one(cohort) -> None:
    html = pages.recipe_page(page_of(cohort))
    for slide_id in ("test_a", "test_b", "test_c", "test_d", "test_e", "test_bad"):
        assert f'<th scope="row">{slide_id}</th>' in html
    assert "train_a" not in html
    assert "zeroed tiles" in html
    assert FLAGS["tumor_on_normal"] in html


def test_protocol_and_provenance_are_printed(cohort) -> None:
    text = " ".join(Reader(pages.recipe_page(page_of(cohort))).text.split())
    for said in (
        "Research use, not for diagnosis",
        "abc123",
        "0123456789",
        "resnet50",
        "run-1",
        "probability 0.5 on",
        "99th percentile",
        "200 resamples, seed 7",
        "over patients, never over patches",
        "5 slides are scored; 1 test slides are excluded",
        "224 px at 1.0 um per px",
    ):
        assert said in text, said


def test_hostile_text_stays_text(cohort) -> None:
    table = cohort.per_slide.assign(reason=HOSTILE, patient=HOSTILE)
    provenance = contexts.Provenance(*[HOSTILE] * 8)
    page = page_of(
        cohort,
        per_slide=table,
        provenance=provenance,
        pictures=(contexts.Pictures("test_a", f'{HOSTILE}.png" onerror="x', "javascript:alert(1)"),),
        charts=(contexts.Chart(HOSTILE, HOSTILE, HOSTILE),),
        files={HOSTILE: f"https://example.org/{HOSTILE}"},
    )
    row = row_of(cohort, recipe=HOSTILE, title=HOSTILE, family=HOSTILE, report="//example.org/x")
    for html in (pages.recipe_page(page), pages.summary_page([row])):
        read = Reader(html)
        assert HOSTILE in read.text
        assert_inert(html)
        assert all("alert" not in one for one in read.scripts)


def test_hostile_classes_and_findings_stay_text(segmentation) -> None:
    bad = views.choose([views.PatchResult(HOSTILE, 0, 0, 0.5, True, 0)], 1)
    page = segmentation_page(
        segmentation,
        views=bad,
        view_folder=f'{HOSTILE}" onload="x',
        protocol=contexts.Protocol(0.5, HOSTILE, 1, 1, HOSTILE, 1.0, (HOSTILE,), (HOSTILE,)),
        per_slide=segmentation.per_slide.assign(provider=["a", HOSTILE, "a", "a", "a"], findings=HOSTILE),
        metrics=segmentation.metrics | {f"miou.{HOSTILE}": 0.5, f"n_truth.{HOSTILE}": 1},
        validation={
            "findings": {HOSTILE: [HOSTILE]},
            "class_shares": {HOSTILE: {"slides": 1, "patches": 1, "shares": {}}},
            "tissue_types": {HOSTILE: {HOSTILE: 1}},
        },
    )
    html = pages.recipe_page(page)
    assert Reader(html).text.count(HOSTILE) > 8
    assert_inert(html)


def test_pages_load_nothing_but_relative_pictures(cohort) -> None:
    for html in (pages.recipe_page(page_of(cohort)), pages.summary_page([row_of(cohort)])):
        assert_inert(html)
        assert not re.search(r"https?://", html)
    sources = [attributes["src"] for tag, attributes in Reader(pages.recipe_page(page_of(cohort))).tags if tag == "img"]
    assert sources == ["figures/roc.png", "figures/test_a_slide.png", "figures/test_a_map.png"]


def test_undefined_figures_are_dashes_with_their_reason(build) -> None:
    empty = build(slides=[], amounts=[], scores=[])
    page = page_of(empty, pictures=(), charts=())
    text = Reader(pages.recipe_page(page)).text
    assert text.count("undefined: needs both classes") == 3
    assert text.count("undefined: no slide on which it can be taken") == 8
    assert "normal slides are clean" not in text
    assert "No test slide was scored." in text
    assert "None" not in text
    assert "nan" not in text


def test_clean_normal_slides_stand_in_words_beside_the_dice_of_all_slides(cohort) -> None:
    """Of test_c and test_d, the normal ones, the second has nothing predicted on it; its Dice is undefined."""
    read = Reader(pages.recipe_page(page_of(cohort)))
    said = " ".join(read.text.split())
    place = said.index("1 of 2 normal slides are clean: nothing is predicted on them")
    assert "Dice, all slides" in said[said.rindex("Dice", 0, place - 200) - 200 : place]
    for name in ("slide_sensitivity", "slide_specificity", "false_area_share", "false_area_mm2"):
        assert str(cohort.metrics[name]) in read.values(), name
    assert "2.50 %" in said  # the mean of 5 and 0 % of the tissue


def test_an_undefined_dice_is_no_zero(cohort) -> None:
    html = pages.recipe_page(page_of(cohort))
    row = html[html.index('<th scope="row">test_d</th>') :].split("</tr>")[0]
    cells = [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)]
    assert cells[1:4] == [wording.UNDEFINED] * 3


def test_unscored_training_run_is_said(cohort) -> None:
    provenance = dataclasses.replace(page_of(cohort).provenance, mlflow_run=None)
    assert "not recorded" in Reader(pages.recipe_page(page_of(cohort, provenance=provenance))).text


@pytest.mark.parametrize(
    ("value", "kind", "signed", "expected"),
    [
        (0.97349, "share", False, "0.973"),
        (None, "share", False, "\N{EN DASH}"),
        (4.126, "points", False, "4.13"),
        (-0.8, "points", True, "\N{MINUS SIGN}0.80"),
        (0.8, "points", True, "+0.80"),
        (-0.001, "points", True, "0.00"),
        (10616, "count", False, "10,616"),
    ],
)
def test_figures_as_text(value, kind, signed, expected) -> None:
    assert wording.text(value, kind, signed) == expected


def test_summary_rows_survive_the_file(cohort, tmp_path: Path) -> None:
    row = row_of(cohort)
    write_json(tmp_path / "r.json", dataclasses.asdict(row))
    assert summary.read_row(tmp_path / "r.json") == row
    write_json(tmp_path / "bad.json", {"recipe": "x"})
    with pytest.raises(AcinusError, match=r"bad\.json.*report"):
        summary.read_row(tmp_path / "bad.json")


def test_console_table_aligns_and_shows_the_main_figures(cohort, segmentation) -> None:
    """Each recipe by its own figure: name, value, interval, what the baselines reach of the same, slides."""
    rows = [
        row_of(cohort),
        row_of(segmentation, recipe="demo-camelyon-context", family="pannuke", task="segmentation"),
        row_of(segmentation, recipe="b", family="rgb_mask", task="segmentation"),
        row_of(segmentation, recipe="p", family="panda", task="segmentation"),
        row_of(cohort, recipe="x", metrics={"n_slides": 0, "patch_auc": None}),
    ]
    lines = summary.console_table(rows).splitlines()
    assert max(map(len, lines)) <= 120
    assert lines[0].split()[0] == "recipe"
    assert "patch AUC 0.694 [" in lines[2]
    assert lines[2].split()[-3:] == ["0.500", "0.833", "5"]
    shorts = ("mIoU", "Dice (mean of classes)", "Dice (mean of classes, tumour)")  # of three classes
    for line, name, figure in zip(lines[3:6], shorts, METRICS_OF_ROWS, strict=True):
        low, high = (f"{segmentation.metrics[f'{figure}_ci_{end}']:.3f}" for end in ("low", "high"))
        assert f" {name} {segmentation.metrics[figure]:.3f} [{low} to {high}]" in line
        assert f"{segmentation.metrics[f'{figure}.baseline_colour']:.3f}" in line
    assert lines[6].split() == ["x", "patch", "AUC", *[wording.UNDEFINED] * 3, "0"]
    assert lines[0].rindex("slides") == lines[2].rindex("5") == lines[6].rindex("0")
    assert "recipe" in summary.console_table([])


METRICS_OF_ROWS = ("miou", "dice_mean", "dice_mean_tumor")


def test_a_mean_over_classes_is_called_so_on_page_table_and_console(segmentation) -> None:
    """Of two classes there is but one foreground class, and its Dice is no mean."""
    row = row_of(segmentation, recipe="b", family="rgb_mask", task="segmentation")
    assert "Dice (mean of classes) 0." in summary.console_table([row])
    assert "| Dice (mean of classes) 0." in summary.markdown_table({"b": row.metrics}, {"b": ("rgb_mask", row.task)})
    assert "Dice, all slides, mean of classes" in pages.summary_page([row])
    html = pages.recipe_page(segmentation_page(segmentation))
    assert "<h3>Dice, all slides, mean of classes</h3>" in html
    assert ">Dice, mean of classes</th>" in html
    two = {name: value for name, value in row.metrics.items() if name != "class_dice.stroma"}
    assert "Dice (tumour) 0." in summary.markdown_table({"p": two}, {"p": ("panda", row.task)})


def test_markdown_table_says_what_the_console_says(cohort, segmentation) -> None:
    rows = [row_of(cohort), row_of(segmentation, recipe="s", family="pannuke", task="segmentation")]
    known = {row.recipe: (row.family, row.task) for row in rows}
    lines = summary.markdown_table({row.recipe: row.metrics for row in rows}, known).splitlines()
    assert [set(cell.strip()) for cell in lines[1].strip("|").split("|")] == [{"-"}] * 5
    cells = [cell.strip() for cell in lines[3].strip("|").split("|")]
    assert cells[0] == "`s`"
    assert cells[1].startswith(f"mIoU {segmentation.metrics['miou']:.3f} [")
    assert cells[2:] == [
        *(f"{segmentation.metrics[f'miou.baseline_{one}']:.3f}" for one in ("majority", "colour")),
        "5",
    ]


UNASKED = ("Quadratic kappa", "Lesion FROC", "Calibration error")
"""What neither of the two small cohorts has anything for."""


def test_the_summary_puts_tasks_side_by_side(cohort, segmentation) -> None:
    rows = [
        row_of(cohort, split_rule="name"),
        row_of(segmentation, recipe="demo-s", family="pannuke", task="segmentation", split_rule="official-2"),
    ]
    html = pages.summary_page(rows)
    known = {str(value) for row in rows for value in row.metrics.values()}
    assert set(Reader(html).values()) <= known
    body = html[html.index("<tbody>") : html.index("</tbody>")].split("</tr>")
    heads = re.findall(r"<th scope=\"col\"[^>]*>(.*?)</th>", html)
    assert "official-2" in body[1]
    assert f'<data value="{segmentation.metrics["miou"]}">' in body[1]
    for row, missing in ((body[0], {"mIoU", *UNASKED}), (body[1], set(UNASKED))):
        cells = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, flags=re.DOTALL)
        assert len(cells) == len(heads)
        assert {head for head, cell in zip(heads, cells, strict=True) if wording.UNDEFINED in cell} == missing
