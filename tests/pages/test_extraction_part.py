"""Which way the patches took: the figures of extraction.json, and their line on the page."""

import runpy
from pathlib import Path

import pytest

from acinus.errors import AcinusError
from acinus.metrics.choices import EXTRACTION, extraction_values
from acinus.pages import contexts, pages
from acinus.patches.facts import Tally, extraction

READER = runpy.run_path(str(Path(__file__).with_name("page_reader.py")))
HOSTILE, Reader, assert_inert = (READER[name] for name in ("HOSTILE", "Reader", "assert_inert"))


@pytest.fixture
def content():
    tally = Tally()
    for name, count in (("tile", 70_001), ("cut", 70_002), ("encoded", 70_003), ("stored", 70_004)):
        tally.counts[name] = count
    tally.counts.update({"source_tiles": 70_005, "decodes": 70_006})
    tally.through_openslide[HOSTILE] = 70_007
    tally.losses_db.extend((41.25, 43.75))
    return extraction([tally.facts()])


def test_the_figures_are_those_of_the_file(content) -> None:
    values = extraction_values(content)
    assert set(values) == set(EXTRACTION)
    assert all(values[name] == content[name] for name in EXTRACTION)
    assert values["second_jpeg_psnr_db"] == 42.5
    assert extraction_values({}) == {}


@pytest.mark.parametrize("bad", ["many", True, [1]])
def test_what_is_no_number_is_refused(content, bad) -> None:
    with pytest.raises(AcinusError, match=r"extraction\.json: patches_cut: .* expected a number or null"):
        extraction_values(content | {"patches_cut": bad})
    del content["source_tiles"]
    with pytest.raises(AcinusError, match=r"extraction\.json: source_tiles: 'nothing' found"):
        extraction_values(content)


def page(cohort, **changes) -> str:
    provenance = contexts.Provenance("demo", "camelyon", "patch_classification", "A title", "abc", "01", "net", None)
    protocol = contexts.Protocol(0.5, "p99", 200, 7, "256 px", 16.0)
    return pages.recipe_page(contexts.RecipePage(provenance, protocol, cohort.metrics, cohort.per_slide, **changes))


def test_the_page_says_which_way_the_patches_took(build, content) -> None:
    cohort = build(extraction=content)
    html = page(cohort, extraction=content)
    assert_inert(html)
    read = Reader(html)
    shown = set(read.values())
    assert shown >= {str(content[name]) for name in EXTRACTION}
    assert shown <= {str(value) for value in cohort.metrics.values()} | {
        str(value) for column in cohort.per_slide.columns for value in cohort.per_slide[column]
    }
    words = " ".join(read.text.split())
    assert "70,003 decoded and encoded as JPEG, which cost a PSNR of 42.5" in words
    assert f"patches were read through OpenSlide: {HOSTILE}." in words


def test_nothing_encoded_costs_nothing_and_no_file_says_nothing(build, content) -> None:
    none = extraction([Tally().facts()])
    text = " ".join(Reader(page(build(extraction=none), extraction=none)).text.split())
    assert "0 decoded and encoded as JPEG; 0 kept exactly." in text
    assert "PSNR" not in text
    assert "patch store holds" not in Reader(page(build())).text
