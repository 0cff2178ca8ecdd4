"""The benchmark of a GPU runs on a CPU with small models: one pass scores as N passes and as a prefix cache."""

from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.slow


def test_all_parts_run_and_the_methods_agree(capsys: pytest.CaptureFixture[str]):
    from benchmarks.gpu import main

    lengths = ["--prompt", "64", "--tokens", "256", "--responses", "2", "--repeats", "1"]
    assert main(["--small", "--device", "cpu", *lengths]) == 0
    printed = capsys.readouterr().out
    for family in ("qwen3_vl", "molmo2"):
        part = printed.partition(f"{family}: ")[2]
        methods = re.findall(r"^ +2 +(N passes|prefix cache|one pass, tree) +[\d.]+ +[\d.]+ +(\S+)$", part, re.M)[:3]
        assert [name for name, _ in methods] == ["N passes", "prefix cache", "one pass, tree"]
        assert max(float(difference) for _, difference in methods) < 1e-3
        assert re.search(r"^ +256 +tree +[\d.]+ +– +–$", part, re.M)
        assert re.search(r"^video +works +yes", part, re.M)
