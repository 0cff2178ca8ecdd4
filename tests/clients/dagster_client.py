"""A job with Dagster itself: it executes a file with a job."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def execute(file: str, name: str, path: str, home: str) -> dict[str, Any]:
    """Execute a job of a file as ``dagster job execute`` does; return its exit code and what it logged."""
    dagster = Path(sys.executable).with_name("dagster")
    done = subprocess.run(
        [dagster, "job", "execute", "-f", file, "-j", name],
        env={"PATH": path, "DAGSTER_HOME": home, "DAGSTER_DISABLE_TELEMETRY": "1", "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return {"code": done.returncode, "log": done.stderr + done.stdout}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](**json.load(sys.stdin))))
