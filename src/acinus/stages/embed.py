"""embed: slides, their tissue and maps -> features/<slide_id>.h5 and encoder.json."""

from acinus.files import atomic_path, note_if_empty
from acinus.stage import Stage


def run(stage: Stage) -> None:
    """Write the features of each slide's patches."""
    with atomic_path(stage.paths.features) as folder:
        folder.mkdir()
        note_if_empty(folder, "This recipe grades nothing (grade.target: none).")
