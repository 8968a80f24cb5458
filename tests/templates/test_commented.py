"""A written recipe says what it said before, and every key says what it does."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acinus.params import RECIPES, Project, load_project
from acinus.params.strict_yaml import read_mapping
from acinus.templates.commented import WIDTH, commented
from acinus.templates.reading import PIPELINE, published, template

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", list(published()))
def test_a_published_recipe_keeps_its_values_and_every_line_is_explained(name: str, tmp_path: Path) -> None:
    document = read_mapping(published()[name])
    path = tmp_path / "recipe.yaml"
    path.write_text(commented(document, RECIPES[document["family"]], "Made for a test", {}))
    assert read_mapping(path) == document
    lines = path.read_text().splitlines()
    assert lines[0] == "# Made for a test"
    assert max(map(len, lines)) <= WIDTH
    keys = [
        number for number, line in enumerate(lines) if line.partition("#")[0].rstrip().endswith(":") or ": " in line
    ]
    unexplained = [
        lines[number] for number in keys if "#" not in lines[number] and not lines[number - 1].lstrip().startswith("#")
    ]
    entries = [line for line in unexplained if not line.startswith("    ") or not line.rstrip().endswith("}")]
    assert entries == []  # entries of a mapping stand below the line that explains them all


def test_meanings_are_those_of_the_models() -> None:
    text = commented({"seed": 1, "demo": {"families": []}}, Project, "", {"seed": "Drawn."})
    assert "seed: 1 # Drawn. What all randomness is derived from.\n" in text
    assert "  families: [] # The families drawn; an empty list draws none." in text


def test_entries_with_notes_have_lines_of_their_own() -> None:
    notes = {"classes": "Found.", "cohort.exclude.b": "3 outlines"}
    document = {"classes": ["normal", "tumor"], "cohort": {"exclude": {"a": "old", "b": "new"}}}
    lines = commented(document, RECIPES["camelyon"], "", notes).splitlines()
    assert "    a: old" in lines
    assert "    b: new # 3 outlines" in lines
    assert lines[0].startswith("classes: [normal, tumor] # Found. Names of the classes.")


@given(
    st.text(
        st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\u2028\u2029\x85\ufeff"), max_size=200
    )
)
def test_any_folder_name_comes_back(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(commented({"cohort": {"root": text}}, RECIPES["camelyon"], "", {}), encoding="utf-8")
        assert read_mapping(path) == {"cohort": {"root": text}}


@pytest.mark.parametrize("path", list(PIPELINE))
def test_the_repository_is_a_project_of_the_template(path: str) -> None:
    """`acinus upgrade` writes them from the template."""
    assert (ROOT / path).read_text(encoding="utf-8") == template(PIPELINE[path])


def test_the_repository_ignores_and_keeps_what_every_project_does() -> None:
    assert (ROOT / ".dvcignore").read_text() == template("dvcignore")
    assert (ROOT / ".dvc" / "config").read_text() == template("dvcconfig")
    own = {line for line in template("gitignore").splitlines() if line and not line.startswith("#")}
    assert own - set((ROOT / ".gitignore").read_text().splitlines()) == {"/.venv/"}
    assert set(published()) == {path.stem for path in (ROOT / "recipes").glob("*.yaml")}
    assert load_project(ROOT).recipes
