"""What README and the pages in docs/ say is what the project does: commands, keys, stages, links, results."""

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from acinus import params
from acinus.cli import main
from acinus.cohorts.manifest import FINDINGS
from tools import recipe_keys

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SITE = [
    ROOT / "docs" / place
    for entry in yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    for place in entry.values()
]
PAGES = {path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *SITE)}
EVERYTHING = "\n\n".join(PAGES.values())
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
MAKE = re.compile(r"(?:^|`)\s*make ([a-z-]+)", re.MULTILINE)
LARGEST_README = 8000
LARGEST_PICTURE = 200_000


def page(name: str) -> str:
    return PAGES[ROOT / "docs" / name]


def blocks(language: str) -> Iterator[str]:
    """The code blocks of one language in all pages."""
    for _, found, text in FENCE.findall(EVERYTHING):
        if found == language:
            yield text


def spans() -> list[str]:
    """The inline code of all pages."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", FENCE.sub("", EVERYTHING))


def commands() -> list[list[str]]:
    """The words of every line in the shell blocks, without comments."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def block_of(text: str, name: str) -> str:
    match = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name.split(':')[0]} -->", text, re.DOTALL)
    assert match is not None, name
    return match[1]


def slug(heading: str) -> str:
    """The anchor of a heading, as Markdown's own rule makes it."""
    plain = re.sub(r"[`*]", "", heading.strip().lower())
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain)).strip("-")


def test_results_table_is_that_of_the_committed_figures() -> None:
    from acinus.commands.results import markdown

    table = block_of(README, "results: reports/metrics.json")
    assert table == markdown(ROOT), "put the output of `acinus results --markdown` there"


def test_table_of_targets_is_that_of_the_committed_benchmarks() -> None:
    report = (ROOT / "reports" / "benchmarks.md").read_text(encoding="utf-8")
    tables = re.findall(r"(?:^\|.*\n)+", report, re.MULTILINE)
    assert tables[0].startswith("| work | target |")
    table = block_of(page("speed.md"), "benchmarks: reports/benchmarks.md")
    assert table == tables[0].strip(), "put the first table of reports/benchmarks.md there"


def test_tables_of_keys_are_those_of_the_models() -> None:
    text = page("recipes.md")
    assert recipe_keys.page(text) == text, "run `python -m tools.recipe_keys`"


def test_every_key_of_the_project_s_files_has_its_row() -> None:
    """Read from the YAML files themselves: a key of section `a.b` stands in the table below a heading `a.b ...`."""
    rows: dict[str, set[str]] = {}
    for heading, table in re.findall(r"^##+ (.+)\n((?:(?!^#).*\n?)*)", page("recipes.md"), re.MULTILINE):
        rows.setdefault(re.split(r" of family|,", heading)[0], set()).update(re.findall(r"^\| `(\w+)` \|", table, re.M))
    for path in [ROOT / "params.yaml", *sorted((ROOT / "recipes").glob("*.yaml"))]:
        top = "The file itself" if path.name == "params.yaml" else "The recipe itself"
        for section, key in keys_below(yaml.safe_load(path.read_text(encoding="utf-8")), rows):
            assert key in rows[section or top], f"{path.name}: {section}.{key}"


def keys_below(document: dict[str, Any], known: dict[str, set[str]], above: str = "") -> Iterator[tuple[str, str]]:
    """The keys of a file with the section of each; a mapping that is no section is a value."""
    for key, value in document.items():
        name = f"{above}.{key}" if above else key
        if isinstance(value, dict) and name in known and name != "tune.space":
            yield from keys_below(value, known, name)
        else:
            yield above, key


def test_readme_is_short() -> None:
    assert len(README.encode()) <= LARGEST_README


def test_every_page_is_on_the_site_and_pictures_are_small() -> None:
    assert sorted(SITE) == sorted((ROOT / "docs").glob("*.md"))
    for path in (ROOT / "docs").iterdir():
        assert path.stat().st_size <= LARGEST_PICTURE, path.name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    """A page links pages, a page of the site only those of the site; an anchor is a heading there."""
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", PAGES[path])):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        place = (path.parent / name).resolve() if name else path
        assert place.is_file(), target
        assert path.parent.name != "docs" or place.parent == path.parent, f"{target} is not on the site"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", FENCE.sub("", place.read_text(encoding="utf-8")), re.MULTILINE)
            assert anchor in [slug(heading) for heading in headings], target


def test_every_make_target_named_exists_and_is_in_help() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    helped = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    assert re.search(r"^sweep-%:.*## ", makefile, re.MULTILINE)
    sweeps = {f"sweep-{path.stem}" for path in (ROOT / "sweeps").glob("*.yaml")}
    named = {name for text in (*blocks("sh"), *(f"`{span}" for span in spans())) for name in MAKE.findall(text)}
    assert named <= helped | sweeps
    assert helped | sweeps <= named, "docs/commands.md has every target"


def test_every_acinus_command_shown_is_one() -> None:
    """With these options and arguments, as click itself takes them."""
    shown = [words for words in commands() if words[0] == "acinus"]
    assert len(shown) > 10
    for words in shown:
        command = main.commands[words[1]]
        with command.make_context(words[1], words[2:]):
            pass  # else it raises what is wrong
    for span in spans():
        words = span.split()
        if words[0] == "acinus" and words[1:2] and words[1] not in ("--help", "..."):
            command = main.commands[words[1]]
            options = {name for option in command.params for name in option.opts}
            assert {word for word in words if word.startswith("--")} <= options | {"--help"}, span


def test_every_option_in_a_command_s_table_is_one() -> None:
    options = {name for option in main.commands["predict"].params for name in option.opts if name.startswith("--")}
    assert set(re.findall(r"^\| `(--[a-z-]+)` \|", page("predict.md"), re.MULTILINE)) == options


def test_every_module_run_is_there_with_its_options() -> None:
    shown = [words for words in commands() if words[:2] == ["python", "-m"]]
    assert shown
    for _, _, module, *words in [*shown, *(s.split() for s in spans() if s.startswith("python -m"))]:
        spec = importlib.util.find_spec(module)
        assert spec is not None, module
        main_file = importlib.util.find_spec(f"{module}.__main__") if spec.submodule_search_locations else spec
        assert main_file is not None
        text = Path(str(main_file.origin)).read_text(encoding="utf-8")
        assert all(f'"{word}"' in text for word in words if word.startswith("--")), (module, words)


def test_every_dvc_stage_named_is_one() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    named = {match[1] for match in re.finditer(r"dvc repro ([a-z]+)@", EVERYTHING)}
    assert named
    assert named <= set(stages)


def test_every_key_named_is_one() -> None:
    """`section.key` in the text, and `section:` blocks of YAML, are keys of a recipe or of params.yaml."""
    files = {"csv", "html", "json", "log", "parquet", "tif", "yaml"}
    heads = {"cohort", *recipe_sections(), *sections(params.Project)}
    named = {match[1] for span in spans() if (match := re.match(r"([a-z_]+(?:\.[a-z_]+)+)(?::|$)", span))}
    keys = {name for name in named if name.split(".")[0] in heads and name.split(".")[-1] not in files}
    assert len(keys) > 40
    for name in sorted(keys):
        assert is_key(name.split(".")), name
    for block in blocks("yaml"):
        for head, body in yaml.safe_load(block).items():
            assert head in heads, head
            for key in body:
                assert is_key([head, key]), f"{head}.{key}"
            if head == "tune":
                params.Tune.model_validate(body)


def sections(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """The sections of a model by their names in the file."""
    return {
        field.alias or name: kind
        for name, field in model.model_fields.items()
        for kind in (field.annotation, *get_args(field.annotation))  # one that may be null is a section too
        if isinstance(kind, type) and issubclass(kind, BaseModel)
    }


def recipe_sections() -> dict[str, type[BaseModel]]:
    return sections(params.Recipe)


def is_key(parts: list[str]) -> bool:
    """Whether a dotted name is a key; of `cohort` in any family."""
    pages: list[Any] = [params.Project, *params.RECIPES.values()]
    return any(leads(model, parts) for model in pages)


def leads(model: type[BaseModel], parts: list[str]) -> bool:
    name, *rest = parts
    known = {field.alias or key: field for key, field in model.model_fields.items()}
    if name not in known:
        return False
    inner = sections(model).get(name)
    return not rest or (inner is not None and leads(inner, rest))


def test_a_key_that_is_none_is_noticed() -> None:
    assert is_key(["cohort", "protocol"])
    assert not is_key(["train", "rate"])
    assert not is_key(["train", "lr", "low"])


def test_stage_table_has_every_stage_in_order() -> None:
    section = page("architecture.md").split("## The way of the data")[1]
    rows = re.findall(r"^\| `([a-z]+)` \|", section, re.MULTILINE)
    assert rows == ["code", *yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]]


def test_rooms_of_the_code_are_those_of_the_package() -> None:
    """Every folder is named, and every file named is there; small files may go unnamed."""
    package = ROOT / "src" / "acinus"
    section = page("architecture.md").split("src/acinus/\n")[1].split("```")[0]
    named = {name for line in section.splitlines() for name in re.findall(r"([a-z_]+(?:/|\.py))[ ,]", f"{line[:60]} ")}
    folders = {f"{path.name}/" for path in package.iterdir() if (path / "__init__.py").is_file()}
    assert folders <= named
    assert {name for name in named if name != "demo/" and not (package / name).exists()} == set()


def test_findings_are_all_explained() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| `", page("cohorts.md").split("## Findings")[1], re.MULTILINE)
    assert sorted(rows) == sorted(FINDINGS)


def test_recipes_and_files_named_are_there() -> None:
    for name in re.findall(r"`((?:recipes|sweeps|benchmarks|data|reports)/[a-z_./-]+\.(?:yaml|py|md))`", EVERYTHING):
        assert (ROOT / name).is_file(), name


def test_every_stage_has_a_description_in_dvc_yaml() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert [name for name, stage in stages.items() if not stage.get("desc")] == []


def test_mlproject_runs_dvc_repro_and_known_stages_only() -> None:
    project = yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))["entry_points"]
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert project["main"]["command"] == "dvc repro"
    for name, entry in project.items():
        match = re.fullmatch(r"dvc repro ([a-z]+)@\{recipe\}", entry["command"])
        assert name in {"main", "stage"} or (match and match[1] == name and name in stages), name
