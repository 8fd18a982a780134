"""Run all benchmarks, or those named: `./dev bench disk start`."""

import argparse
import asyncio
import importlib
import os
import shutil
import signal
import sys
from pathlib import Path

NAMES = (
    "disk",
    "start",
    "teardown",
    "snapshot",
    "flatten",
    "changes",
    "key",
    "projects",
    "trust",
    "proxy",
    "intercepted",
    "models",
    "agents",
    "processes",
    "control",
    "http_start",
    "web",
    "webhooks",
)
BESIDE_DOCKER = {"start", "teardown", "snapshot", "processes", "http_start"}
BESIDE_PROXIES = {"proxy", "intercepted"}
PROXIES = ("squid", "tinyproxy", "mitmdump", "gcc")


def main() -> int:
    """Return 0 when every bar was reached, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--state", type=Path, default=Path("/var/lib/cloister-bench"), help="where disks and images go")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        parser.error("sandboxes and docker need root")
    names = options.names or NAMES
    if BESIDE_DOCKER & set(names) and shutil.which("dockerd") is None:
        parser.error("there is no dockerd to be measured against: apt install docker.io")
    if {"proxy", "intercepted"} & set(names) and (
        missing := [program for program in PROXIES if shutil.which(program) is None]
    ):
        parser.error(f"there is no {missing[0]} to be measured against: apt install squid tinyproxy mitmproxy gcc")
    if "projects" in names and shutil.which("npm") is None:
        parser.error("there is no npm to lock a project with: apt install npm")
    options.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a daemon and sandboxes are taken down too
    passed = [asyncio.run(importlib.import_module(name).run(options.state)) for name in names]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
