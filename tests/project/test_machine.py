"""A machine's description decides whether learned results must be identical."""

import json
import platform
from importlib.metadata import version

from acinus.project import machine


def test_the_description_is_plain_json_and_the_same_each_time() -> None:
    one = machine.describe(2)
    assert json.loads(json.dumps(one)) == one == machine.describe(2)
    assert one["threads"] == 2
    assert one["architecture"] == platform.machine()
    assert one["libraries"]["torch"] == version("torch")


def test_libraries_are_the_same_whatever_their_build() -> None:
    one = machine.describe(1)
    other = json.loads(json.dumps(one))
    other["libraries"]["torch"] = one["libraries"]["torch"].partition("+")[0] + "+cu130"
    assert machine.same_libraries(one, other)
    other["libraries"]["torch"] = "0.1"
    assert not machine.same_libraries(one, other)


def test_simd_is_what_the_processor_says(tmp_path, monkeypatch) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\nflags\t\t: fpu avx avx2 fma sse\n"
        "\nprocessor\t: 1\nvendor_id\t: Other\nflags\t\t: avx512f\n"
    )
    real = machine.Path
    monkeypatch.setattr(machine, "Path", lambda name: cpuinfo if name == "/proc/cpuinfo" else real(name))
    found = machine.describe(1)
    assert found["vendor"] == "GenuineIntel"
    assert (found["family"], found["model"]) == ("6", "85")
    assert found["simd"] == ["avx", "avx2", "fma"]


def test_a_system_without_cpuinfo_is_described_as_unknown(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(machine, "Path", lambda name: tmp_path / "none")
    found = machine.describe(1)
    assert (found["vendor"], found["simd"]) == ("unknown", [])


def test_differences_name_the_facts() -> None:
    one = machine.describe(1)
    assert machine.differences(one, machine.describe(1)) == []
    assert machine.differences(one, machine.describe(2)) == ["threads"]
    other = json.loads(json.dumps(one))
    other["libraries"]["torch"] = "0.1"
    del other["vendor"]
    assert machine.differences(one, other) == ["libraries", "vendor"]
