"""Seeds derived from (seed, stage, key), so that no result depends on the order of work."""

import hashlib


def derive(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed that depends on `seed` and every name, and on nothing else.

    The same arguments give the same seed in every process and on every machine
    (Python's own `hash` does not).
    """
    text = "\x1f".join([str(seed), *(str(name) for name in names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
