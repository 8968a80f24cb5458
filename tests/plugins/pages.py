"""The files that docs/plugins.md shows, as a project has them."""

import re
from pathlib import Path

from acinus.plugins import finding

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
FILES: dict[str, str] = dict(re.findall(r"^```python\n# plugins/(\w+\.py)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


def project(root: Path, *names: str, **texts: str) -> Path:
    """Make the folder of a project with files of the page, and others: stem -> text; it is then in use."""
    (root / "plugins").mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / "plugins" / name).write_text(FILES[name], encoding="utf-8")
    for stem, text in texts.items():
        (root / "plugins" / f"{stem}.py").write_text(text, encoding="utf-8")
    finding.use(root)
    return root
