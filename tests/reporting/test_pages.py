"""Pages: hostile text stays text, every figure is traceable, undefined figures say so, nothing is loaded."""

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from acinus.errors import AcinusError
from acinus.files import write_json
from acinus.reporting import pages, summary, tables, wording

HOSTILE = '<script>alert("1")</script>\'&'


class Reader(HTMLParser):
    """Collect the tags, the values of every <data> and the visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self) -> list[str]:
        return [str(attributes["value"]) for tag, attributes in self.tags if tag == "data"]

    def links(self) -> list[str]:
        return [str(v) for _, attributes in self.tags for k, v in attributes.items() if k in ("href", "src")]


def page_of(cohort, **changes) -> pages.RecipePage:
    provenance = pages.Provenance(
        "demo-camelyon", "camelyon", "patch_classification", "A title", "abc123", "0123456789", "resnet50", "run-1"
    )
    page = pages.RecipePage(
        provenance,
        pages.Protocol(0.5, "p99", 200, 7, "224 px at 1.0 um per px", 16.0),
        cohort.metrics,
        cohort.per_slide,
        (pages.Pictures("test_a", "figures/test_a_slide.png", "figures/test_a_map.png"),),
        (pages.Chart("figures/roc.png", "ROC", "ROC curves"),),
        {"metrics.json": "metrics.json"},
    )
    return dataclasses.replace(page, **changes)


def row_of(cohort, **changes) -> summary.SummaryRow:
    row = summary.SummaryRow(
        "demo-camelyon", "camelyon", "patch_classification", "A title", cohort.metrics, "demo-camelyon/index.html"
    )
    return dataclasses.replace(row, **changes)


def test_every_figure_stands_in_the_metrics_or_the_table(cohort) -> None:
    known = {str(value) for value in cohort.metrics.values()}
    for column in cohort.per_slide.columns:
        known |= {str(value) for value in cohort.per_slide[column]}
    shown = Reader(pages.recipe_page(page_of(cohort))).values()
    assert len(shown) > 60
    assert set(shown) <= known
    shown = Reader(pages.summary_page([row_of(cohort)])).values()
    assert set(shown) <= {str(value) for value in cohort.metrics.values()}


def test_every_headline_and_its_interval_is_shown(cohort) -> None:
    shown = Reader(pages.recipe_page(page_of(cohort))).values()
    for name in wording.HEADLINES:
        for figure in (name, f"{name}_ci_low", f"{name}_ci_high"):
            assert str(cohort.metrics[figure]) in shown, figure


def test_the_table_shows_every_scored_test_slide_and_every_excluded_one(cohort) -> None:
    html = pages.recipe_page(page_of(cohort))
    for slide_id in ("test_a", "test_b", "test_c", "test_d", "test_e", "test_bad"):
        assert f'<th scope="row">{slide_id}</th>' in html
    assert "train_a" not in html
    assert "zeroed tiles" in html
    assert tables.FLAGS["tumor_on_normal"] in html


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
    provenance = pages.Provenance(*[HOSTILE] * 8)
    page = page_of(
        cohort,
        per_slide=table,
        provenance=provenance,
        pictures=(pages.Pictures("test_a", f'{HOSTILE}.png" onerror="x', "javascript:alert(1)"),),
        charts=(pages.Chart(HOSTILE, HOSTILE, HOSTILE),),
        files={HOSTILE: f"https://example.org/{HOSTILE}"},
    )
    row = row_of(cohort, recipe=HOSTILE, title=HOSTILE, family=HOSTILE, report="//example.org/x")
    for html in (pages.recipe_page(page), pages.summary_page([row])):
        read = Reader(html)
        assert HOSTILE in read.text
        assert "script" not in {tag for tag, _ in read.tags}
        assert not [name for _, attributes in read.tags for name in attributes if name.startswith("on")]
        assert not [link for link in read.links() if ":" in link or link.startswith("//")]


def test_pages_load_nothing_but_relative_pictures(cohort) -> None:
    for html in (pages.recipe_page(page_of(cohort)), pages.summary_page([row_of(cohort)])):
        read = Reader(html)
        assert {tag for tag, _ in read.tags}.isdisjoint({"script", "link", "iframe", "object"})
        assert not re.search(r"https?://|@import|url\(", html)
        assert all(attributes.get("alt") for tag, attributes in read.tags if tag == "img")
    sources = [attributes["src"] for tag, attributes in Reader(pages.recipe_page(page_of(cohort))).tags if tag == "img"]
    assert sources == ["figures/roc.png", "figures/test_a_slide.png", "figures/test_a_map.png"]


def test_undefined_figures_are_dashes_with_their_reason(build) -> None:
    empty = build(slides=[], amounts=[], scores=[])
    page = page_of(empty, pictures=(), charts=())
    text = Reader(pages.recipe_page(page)).text
    assert text.count("undefined: needs both classes") == 3
    assert text.count("undefined: no slide on which it can be taken") == 6
    assert "No test slide was scored." in text
    assert "None" not in text
    assert "nan" not in text


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
    write_json(tmp_path / "r.json", summary.row_json(row))
    assert summary.read_row(tmp_path / "r.json") == row
    assert summary.summary_metrics([row]) == {"demo-camelyon": cohort.metrics}
    write_json(tmp_path / "bad.json", {"recipe": "x"})
    with pytest.raises(AcinusError, match=r"bad\.json.*report"):
        summary.read_row(tmp_path / "bad.json")


def test_console_table_aligns_and_shows_the_figures(cohort) -> None:
    other = row_of(cohort, recipe="x", metrics={"n_slides": 0, "patch_auc": None})
    lines = summary.console_table([row_of(cohort), other]).splitlines()
    assert lines[0].split()[0] == "recipe"
    assert "0.694 (" in lines[2]
    assert lines[2].endswith("5")
    assert wording.UNDEFINED in lines[3]
    assert lines[0].index("slides") == lines[2].rindex("5") == lines[3].rindex("0")
    assert "recipe" in summary.console_table([])
