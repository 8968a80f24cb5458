"""What ingest says of a table of slide labels: how many slides each column has a text for."""

from acinus.stages.ingest import _labelled


def test_the_columns_of_a_table_are_counted_over_the_usable_slides() -> None:
    labels = {"a": {"grade": "benign", "her2": ""}, "b": {"grade": "malignant", "her2": "3"}, "bad": {"her2": "2"}}
    assert _labelled({"a", "b", "c"}, labels) == "labels in the table, of 3 slides: grade 2, her2 1"
    assert _labelled({"c"}, labels) == "labels in the table, of 1 slides: none"
