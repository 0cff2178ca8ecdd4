#!/bin/sh
# What the Dockerfile does, without Docker: installs curate into an environment of its own, makes a campaign, runs the
# image's CMD, and then its HEALTHCHECK until it succeeds. make check-deploy
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
work=$source/build/deploy
rm -rf "$work" && mkdir -p "$work/campaigns" && cd "$work"
"${PYTHON:-python3}" -m venv curate
curate/bin/pip install --quiet --constraint "$source/constraints.txt" "$source[annotate]"
PATH=$work/curate/bin:$PATH
curate simulate --video --out world --prompt-count 3 --models 3 --votes-per-pair 1
curate ingest world/votes.csv --prompts world/prompts.csv --responses world/responses.csv --store campaigns/curate.duckdb
curate campaign create campaigns/june --store campaigns/curate.duckdb --media world --votes 6
# The last CMD of the file is the image's, the one before it the health check's.
python - "$source/deploy/Dockerfile" "$work/campaigns" <<'END'
import json, re, socket, subprocess, sys, time
from pathlib import Path

health, command = (json.loads(found) for found in re.findall(r"CMD (\[.*\])", Path(sys.argv[1]).read_text()))
with socket.create_server(("127.0.0.1", 0)) as free:
    port = str(free.getsockname()[1])  # 8080 may be in use here
health = [part.replace("8080", port) for part in health]
server = subprocess.Popen(["curate", *(part.replace("/campaigns", sys.argv[2]) for part in command), "--port", port])
try:
    until = time.monotonic() + 60
    while subprocess.run(health, stderr=subprocess.DEVNULL).returncode:
        assert server.poll() is None and time.monotonic() < until, "the server does not answer"
        time.sleep(0.5)
    print("the health check succeeds")
finally:
    server.terminate()
assert server.wait(30) == 0, "the server did not stop cleanly"
END
