"""The law of twins between processes: killed by SIGKILL at random moments and resumed = left in peace, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "benches" / "kill_resume.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the bench forks")
def test_twins_killed_and_resumed() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH), "--kills", "3", "--seed", "1", "--epochs", "2"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(", 0 runs differ") == 2
