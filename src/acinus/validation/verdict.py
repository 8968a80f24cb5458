"""Run the suites with Great Expectations: a verdict that is the same from run to run, and Data Docs to browse."""

import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from acinus.validation.suites import Rule, Suite


@dataclass(frozen=True)
class Verdict:
    """What validation found: `document` is the JSON report, `failures` one line per broken rule."""

    document: dict[str, Any]
    failures: tuple[str, ...]


def judge(frames: Mapping[str, pd.DataFrame], suites: tuple[Suite, ...], rows_shown: int, docs: Path) -> Verdict:
    """Hold every table against its suite; write Data Docs to the folder `docs`."""
    results = {suite.table: _run(suite, frames[suite.table], rows_shown, docs) for suite in suites}
    tables, failures = {}, []
    for suite in suites:
        outcomes = zip(suite.rules, results[suite.table], strict=True)
        lines = [_line(rule, outcome, rows_shown) for rule, outcome in outcomes]
        tables[suite.table] = {"rows": len(frames[suite.table]), "expectations": lines}
        failures += [_sentence(suite, line) for line in lines if not line["success"]]
    return Verdict({"success": not failures, "tables": tables}, tuple(failures))


def _run(suite: Suite, frame: pd.DataFrame, rows_shown: int, docs: Path) -> list[dict[str, Any]]:
    """Return Great Expectations' result of each rule, in the order of the rules."""
    gx = _great_expectations()
    from great_expectations.checkpoint import UpdateDataDocsAction
    from great_expectations.expectations.conditions import Column

    def arguments(rule: Rule) -> dict[str, Any]:
        rows = rule.kwargs.get("row_condition")
        return rule.kwargs | ({"row_condition": Column(rows["column"]).is_in(rows["among"])} if rows else {})

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("acinus").add_dataframe_asset(suite.table)
    batch = asset.add_batch_definition_whole_dataframe("whole")
    expectations = [
        getattr(gx.expectations, rule.expectation)(**arguments(rule), notes=rule.remedy) for rule in suite.rules
    ]
    made = context.suites.add(gx.ExpectationSuite(name=suite.table, expectations=expectations))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=suite.table, data=batch, suite=made))
    site = {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs / suite.table)},
    }
    context.add_data_docs_site(site_name="local", site_config=site)
    checkpoint = gx.Checkpoint(
        name=suite.table,
        validation_definitions=[definition],
        actions=[UpdateDataDocsAction(name="docs", site_names=["local"])],
        result_format={
            "result_format": "COMPLETE",
            "unexpected_index_column_names": list(suite.row_names),
            "partial_unexpected_count": rows_shown,
        },
    )
    run = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": frame})
    (result,) = run.run_results.values()
    by_id = {outcome.expectation_config.id: outcome.to_json_dict() for outcome in result.results}
    return [by_id[expectation.id] for expectation in made.expectations]


def _great_expectations() -> Any:
    """Import the library (5 s of CPU) without its telemetry and its warnings about itself."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations as gx
    return gx


def _line(rule: Rule, outcome: dict[str, Any], rows_shown: int) -> dict[str, Any]:
    """Return what is the same from run to run of one result, with the first rows that broke the rule."""
    result, success = outcome["result"], bool(outcome["success"])
    line = {
        "expectation": rule.expectation,
        "arguments": {name: value for name, value in rule.kwargs.items() if value is not None},
        "success": success,
        "broken_rows": result.get("unexpected_count", 0 if success else None),
    }
    if not success:
        line["remedy"] = rule.remedy
        line["first_rows"] = result.get("unexpected_index_list", [])[:rows_shown] or [result.get("observed_value")]
        if outcome["exception_info"].get("raised_exception"):
            line["first_rows"] = [str(outcome["exception_info"].get("exception_message"))]
    return line


def _sentence(suite: Suite, line: dict[str, Any]) -> str:
    """Return the line a person reads when a rule is broken."""
    where = line["arguments"].get("column") or line["arguments"].get("column_list") or "rows"
    rows = "; ".join(
        ", ".join(f"{column}={value}" for column, value in row.items()) if isinstance(row, dict) else str(row)
        for row in line["first_rows"]
    )
    return f"table {suite.table}, {where}: {line['expectation']} broken by {rows}: {line['remedy']}"
