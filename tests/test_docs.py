"""What the README says is what the project does: commands, stages, figures."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_results_table_is_that_of_the_committed_figures() -> None:
    from acinus.results import markdown

    match = re.search(r"<!-- results: reports/metrics.json -->\n(.*?)\n<!-- /results -->", README, re.DOTALL)
    assert match is not None
    assert match[1] == markdown(ROOT), "put the output of `acinus results --markdown` there"


def test_table_of_targets_is_that_of_the_committed_benchmarks() -> None:
    match = re.search(r"<!-- benchmarks: reports/benchmarks.md -->\n(.*?)\n<!-- /benchmarks -->", README, re.DOTALL)
    assert match is not None
    report = (ROOT / "reports" / "benchmarks.md").read_text(encoding="utf-8")
    tables = re.findall(r"(?:^\|.*\n)+", report, re.MULTILINE)
    assert tables[0].startswith("| work | target |")
    assert match[1] == tables[0].strip(), "put the first table of reports/benchmarks.md there"


def test_every_make_target_named_exists_and_is_in_help() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    helped = set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE))
    assert re.search(r"^sweep-%:.*## ", makefile, re.MULTILINE)
    helped |= {f"sweep-{path.stem}" for path in (ROOT / "sweeps").glob("*.yaml")}
    texts = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`make ([a-z-]+)`", texts)) | set(re.findall(r"^make ([a-z-]+)", texts, re.MULTILINE))
    assert named
    assert named <= helped


def test_stage_table_has_every_stage_in_order() -> None:
    section = README.split("## The way of the data")[1]
    rows = re.findall(r"^\| `([a-z]+)` \|", section, re.MULTILINE)
    assert rows == list(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"])


def test_files_and_recipes_that_the_readme_names_are_there() -> None:
    for path in re.findall(r"\((docs/[^)]+|[A-Z]+\.md)\)", README):
        assert (ROOT / path).is_file(), path
    for recipe in re.findall(r"recipes/([a-z-]+)\.yaml", README):
        assert (ROOT / "recipes" / f"{recipe}.yaml").is_file(), recipe


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
