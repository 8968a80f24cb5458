"""The verdict: the same from run to run, written good or bad, and a bad one stops the pipeline with its rows."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from acinus import records
from acinus.cli import main

ROOT = Path(__file__).resolve().parents[2]


def test_the_verdict_is_the_same_from_run_to_run(case, tmp_path) -> None:
    broken = case.having("manifest", 0, mpp_x=50.0).having("sample", 3, label=-1)
    first, second = (broken.judge(tmp_path / name) for name in ("one", "two"))
    assert first.failures == second.failures
    texts = [json.dumps(one.document, sort_keys=True, allow_nan=False) for one in (first, second)]
    assert texts[0] == texts[1]
    assert first.document["success"] is False


def test_no_more_rows_are_shown_than_asked_and_all_are_counted(case, tmp_path) -> None:
    manifest = case.manifest.assign(mpp_x=0.01)
    verdict = type(case)(case.root, manifest, case.index, case.sample).judge(tmp_path, "manifest", rows_shown=2)
    (line,) = [one for one in verdict.document["tables"]["manifest"]["expectations"] if not one["success"]]
    assert line["broken_rows"] == 6
    assert [row["slide_id"] for row in line["first_rows"]] == ["test_normal", "test_tumor"]
    assert line["arguments"] == {"column": "mpp_x", "min_value": 0.05, "max_value": 20.0}
    assert line["remedy"]


def test_docs_are_a_site_per_table(case, tmp_path) -> None:
    case.judge(tmp_path / "docs")
    assert {path.parent.name for path in (tmp_path / "docs").glob("*/index.html")} == {
        "manifest",
        "index",
        "sample",
        "splits",
    }


@pytest.fixture
def project(case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose demo-camelyon tables are the good ones; MLflow is down there."""
    root = tmp_path / "project"
    (root / "recipes").mkdir(parents=True)
    shutil.copy(ROOT / "dvc.yaml", root)
    settings = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"tracking": {"uri": "http://127.0.0.1:9"}}
    (root / "params.yaml").write_text(yaml.safe_dump(settings))
    recipe = yaml.safe_load((ROOT / "recipes" / "demo-camelyon.yaml").read_text())
    recipe["cohort"]["root"] = str(case.root)
    (root / "recipes" / "demo-camelyon.yaml").write_text(yaml.safe_dump(recipe))
    monkeypatch.chdir(root)
    return root


def write_tables(root: Path, case) -> None:
    for table, data in ((records.MANIFEST, case.manifest), (records.INDEX, case.index), (records.SAMPLE, case.sample)):
        records.write(table, data, root / "data" / "demo-camelyon" / f"{table.name}.parquet")


def test_the_stage_passes_good_tables_and_two_runs_write_the_same_bytes(case, project: Path) -> None:
    write_tables(project, case)
    written = []
    for _ in range(2):
        done = CliRunner().invoke(main, ["validate", "--recipe", "demo-camelyon"])
        assert done.exit_code == 0, done.output
        written.append((project / "reports" / "demo-camelyon" / "validation.json").read_bytes())
    assert written[0] == written[1]
    verdict = json.loads(written[0])
    assert verdict["success"] is True
    assert verdict["candidates"]["test"] == {"normal": 3, "tumor": 3, "ignore": 0}
    assert verdict["class_shares"]["val"] == {"slides": 2, "patches": 6, "shares": {"normal": 0.5, "tumor": 0.5}}
    assert verdict["tissue_types"]["val"] == {"Colon": 1}
    assert verdict["split_rules"] == ["drawn"]
    assert verdict["findings"] == {}


def test_a_violation_exits_1_with_one_error_line_the_rows_and_the_reports(case, project: Path) -> None:
    write_tables(project, case.having("manifest", 0, mpp_x=50.0).having("index", 3, split="val"))
    done = CliRunner().invoke(main, ["validate", "--recipe", "demo-camelyon"])
    assert done.exit_code == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "2 of " in errors[0]
    assert "reports/demo-camelyon/validation.json" in errors[0]
    assert "Traceback" not in done.output
    assert "table manifest, mpp_x: ExpectColumnValuesToBeBetween broken by mpp_x=50.0, slide_id=test_normal" in (
        done.stdout
    )
    assert "table index, in_split_of_slide" in done.stdout
    reports = project / "reports" / "demo-camelyon"
    assert json.loads((reports / "validation.json").read_text())["success"] is False
    assert (reports / "data_docs" / "manifest" / "index.html").is_file()
    assert [p.name for p in sorted(reports.iterdir())] == ["data_docs", "validation.json"]  # nothing half-written


def test_extract_refuses_to_start_after_a_bad_verdict(case, project: Path) -> None:
    write_tables(project, case)
    reports = project / "reports" / "demo-camelyon"
    reports.mkdir(parents=True)
    (reports / "validation.json").write_text('{"success": false}')
    done = CliRunner().invoke(main, ["extract", "--recipe", "demo-camelyon"])
    assert done.exit_code == 1
    assert "validation failed" in done.stderr
    assert not (project / "data" / "demo-camelyon" / "patches").exists()
