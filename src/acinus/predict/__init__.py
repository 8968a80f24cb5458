"""`acinus predict`: any slide through a trained model, without a recipe, without DVC, without MLflow.

Of each slide a folder: probability.tif, overlay.png, regions.geojson, regions.xml and, last of all, result.json; or
error.json with the reason why there are none. Of a model of whole slides' labels attention.tif, attention.geojson,
attention.png and result.json, and over all slides predictions.csv.
"""

from acinus.predict.many import Outcome, run

__all__ = ["Outcome", "run"]
