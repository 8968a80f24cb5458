"""Seeds depend on what they are derived from, and on nothing else."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from acinus.seeds import derive

SRC = Path(__file__).resolve().parents[1] / "src"


def test_a_seed_is_what_the_docstring_says() -> None:
    digest = hashlib.blake2b(b"7\x1ftrain\x1f3", digest_size=8).digest()
    assert derive(7, "train", 3) == int.from_bytes(digest, "big") // 2
    assert derive(0, "a") != derive(42, "a")  # 0 is a seed, not "none given"


def test_another_process_with_another_hash_seed_derives_the_same() -> None:
    code = "from acinus.seeds import derive; print(derive(20261121, 'sample', 'slide_1'))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(SRC)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {str(derive(20261121, "sample", "slide_1"))}


names = st.lists(st.text(st.characters(exclude_characters="\x1f", exclude_categories=["Cs"]), max_size=5), max_size=4)


@given(st.integers(0, 2**32), names, names)
def test_seeds_fit_numpy_and_differ_where_names_differ(seed: int, one: list[str], other: list[str]) -> None:
    assert 0 <= derive(seed, *one) < 2**63
    assert (derive(seed, *one) == derive(seed, *other)) == (one == other)


def test_names_are_not_run_together() -> None:
    assert len({derive(1, "ab", "c"), derive(1, "a", "bc"), derive(1, "abc"), derive(1, "c", "ab")}) == 4
