"""Jobs with Potato's real server: it starts on our tasks, annotators vote through it, and its exporters write files."""

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import requests
import yaml
from potato.export.cli import main as export

STARTS = 60
"""Seconds within which the server must answer."""
FORMATS = ("csv", "tsv", "jsonl")
TILES = {"left": "A", "right": "B", "tie": "tie"}
TURNED = {"left": "B", "right": "A", "tie": "tie"}
INSTANCE = '<script id="instance_data" type="application/json">(.*?)</script>'
config: dict[str, Any] = {
    "annotation_task_name": "comparison",
    "task_dir": ".",
    "output_annotation_dir": "output",
    "item_properties": {"id_key": "id", "text_key": "text"},
    "annotation_schemes": [
        {
            "annotation_type": "pairwise",
            "name": "preference",
            "description": "Which response is better?",
            "items_key": "responses",
            "allow_tie": True,
        }
    ],
    "require_password": False,
    "user_config": {"allow_all_users": True},
}


@contextmanager
def server() -> Iterator[str]:
    """Run Potato's server on the config; yield its address."""
    Path("config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("potato"), "start", "config.yaml", "-p", str(port)]
    with Path("server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        address, until = f"http://127.0.0.1:{port}", time.monotonic() + STARTS
        while True:
            try:
                requests.get(address, timeout=STARTS)
                break
            except requests.ConnectionError:
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(Path("server.log").read_text()[-3000:]) from None
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait()


def vote(tasks: str, votes: list[dict[str, Any]], randomize: bool) -> dict[str, Any]:
    """Vote through the server; return the folder of user states, the exports, and what the server has of each task.

    votes: {id, by, outcome}, the votes of one annotator in the order of the tasks, after those of another.
    """
    config["data_files"] = [tasks]
    config["annotation_schemes"][0]["randomize_order"] = randomize
    served, swapped, who, browser = {}, [], "", requests.Session()
    with server() as address:
        for one in votes:
            if one["by"] == who:
                browser.post(f"{address}/annotate", json={"action": "next_instance"}).raise_for_status()
            else:
                browser, who = requests.Session(), one["by"]
                browser.post(f"{address}/auth", data={"email": who, "pass": ""}).raise_for_status()
            page = browser.get(f"{address}/annotate").text
            item = browser.get(f"{address}/api/current_instance").json()["data"]
            assert item["id"] == one["id"], (item["id"], one["id"])
            served[item["id"]] = item
            # What the page shows as A and B; annotators see this order.
            shown = json.loads(re.search(INSTANCE, page, re.DOTALL)[1])["responses"]
            assert sorted(shown) == sorted(item["responses"])
            turned = shown != item["responses"]
            if turned:
                swapped.append([one["id"], who])
            tile = TURNED[one["outcome"]] if turned else TILES[one["outcome"]]
            answer = {"instance_id": item["id"], "annotations": {"preference:selection": tile}}
            browser.post(f"{address}/updateinstance", json=answer).raise_for_status()
    exports = {}
    for name in FORMATS:
        options = ["--config", "config.yaml", "--format", name, "--output", name]
        with redirect_stdout(sys.stderr), patch.object(sys, "argv", ["export", *options]), suppress(SystemExit):
            export()
        [path] = Path(name).iterdir()
        exports[name] = str(path.resolve())
    return {"states": str(Path("output").resolve()), "exports": exports, "served": served, "swapped": swapped}


if __name__ == "__main__":
    print(json.dumps({"vote": vote}[sys.argv[1]](**json.load(sys.stdin))))
