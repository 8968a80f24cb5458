"""The digest by which resumable work knows that it is still the same work."""

import shutil
import subprocess
import sys
from pathlib import Path

SRC = Path(__file__).resolve().parents[1] / "src"
ASK = "from acinus.code import code_digest; print(code_digest(('learning',), ('numpy',)))"


def digest(src: Path) -> str:
    done = subprocess.run([sys.executable, "-c", ASK], env={"PYTHONPATH": str(src)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_changed_loss_changes_it_and_another_room_does_not(tmp_path: Path) -> None:
    shutil.copytree(SRC, tmp_path / "src")
    before = digest(SRC)
    assert digest(tmp_path / "src") == before  # of content, not of place or time
    (tmp_path / "src" / "acinus" / "mapping" / "blend.py").write_text("# other")
    assert digest(tmp_path / "src") == before
    losses = tmp_path / "src" / "acinus" / "learning" / "losses.py"
    losses.write_text(losses.read_text().replace("losses.mean()", "5 * losses.mean()"))
    assert digest(tmp_path / "src") != before
