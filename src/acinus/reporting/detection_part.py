"""The lesion-level figure: how many lesions are found at how many false positives (FROC)."""

import numpy as np
import pandas as pd

from acinus.errors import TableError
from acinus.reporting.figure_parts import Part, Statistic, patients
from acinus.reporting.setup import Tables
from acinus.scoring.froc import Detection, Froc, Outcome, curve, outcomes


def lesion_outcomes(scored: pd.DataFrame, given: Tables) -> dict[str, Outcome]:
    """Return what came of the regions on each scored slide whose lesions are known (num_lesions), by slide_id.

    Every region is one detection, of its highest probability. Slides without any stay in.

    Raises:
        TableError: a region of such a slide that was not held against its lesions, or more lesions hit than it has.
    """
    amounts = given.quantities[given.quantities["slide_id"].isin(scored["slide_id"])]
    known = amounts[amounts["num_lesions"].notna()]
    lesions = {str(name): int(n) for name, n in zip(known["slide_id"], known["num_lesions"], strict=True)}
    own = given.regions[given.regions["slide_id"].isin(list(lesions))]
    missing = own[own["lesion"].isna()]
    if len(missing):
        raise TableError(
            f"table regions: region {missing['region'].iloc[0]} of {missing['slide_id'].iloc[0]} has no lesion, "
            "expected a number on a slide whose lesions are known; run quantify again"
        )
    columns = (own["slide_id"], own["prob_max"], own["lesion"])
    found = [Detection(str(name), float(prob), int(lesion)) for name, prob, lesion in zip(*columns, strict=True)]
    try:
        return outcomes(found, lesions)
    except ValueError as error:
        raise TableError(f"table regions: {error}; run quantify again") from error


def lesion_curve(scored: pd.DataFrame, given: Tables) -> Froc | None:
    """Return the curve over the scored slides; None without a lesion to be found."""
    return curve(list(lesion_outcomes(scored, given).values()))


def detection_part(scored: pd.DataFrame, given: Tables) -> Part:
    """Return froc with its counts (n_froc slides, n_lesions, n_itc); nothing where no slide's lesions are known."""
    found = lesion_outcomes(scored, given)
    if not found:
        return Part({})
    slides = scored[scored["slide_id"].isin(list(found))]
    stack = [found[name] for name in slides["slide_id"]]
    whole = curve(stack)
    itc = given.quantities.loc[given.quantities["slide_id"].isin(list(found)), "num_itc"]

    def over(rows: np.ndarray) -> float | None:
        drawn = curve([stack[row] for row in rows])
        return drawn.score if drawn else None

    values: dict[str, float | int | None] = {
        "froc": whole.score if whole else None,
        "n_froc": len(stack),
        "n_lesions": sum(one.targets for one in stack),
        "n_itc": int(itc.fillna(0).sum()),
    }
    return Part(values, [Statistic("froc", patients(slides), over)])
