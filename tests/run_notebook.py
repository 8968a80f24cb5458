"""Run the code cells of a notebook in order, in one namespace, as Jupyter would; pictures go to a folder.

usage: run_notebook.py NOTEBOOK FOLDER [PYTHON]   PYTHON replaces its first code cell, which says where the files are
"""

import ast
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def code_cells(notebook: Path) -> list[str]:
    """Return the texts of the code cells."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def run(cells: list[str], folder: Path) -> dict[str, Any]:
    """Run the cells, print what each shows, save each cell's pictures as <cell>-<number>.png, return the names."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, text in enumerate(cells):
        tree = ast.parse(text, f"cell {number}")
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) and not text.rstrip().endswith(";") else None
        exec(compile(tree, f"cell {number}", "exec"), names)
        figures = []
        if last is not None:
            shown = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
            if hasattr(shown, "savefig"):
                figures = [shown]
            elif shown is not None:
                print(f"--- cell {number}", shown, sep="\n")
        for count, figure in enumerate([*map(plt.figure, plt.get_fignums()), *figures]):
            figure.savefig(folder / f"{number:02}-{count}.png", dpi=70)
        plt.close("all")
    return names


if __name__ == "__main__":
    warnings.simplefilter("error")
    notebook, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    cells = code_cells(notebook)
    os.chdir(notebook.parent)  # as Jupyter does
    run([*sys.argv[3:4], *cells[1:]] if len(sys.argv) > 3 else cells, folder)
