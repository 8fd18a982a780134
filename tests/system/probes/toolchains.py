"""Run in a sandbox: asks every toolchain and package manager of the image's manifest which version it is, as JSON."""

import json
import os
import subprocess
from pathlib import Path

MANIFEST = Path("/etc/cloister/image.json")
LANGUAGES = {
    "python": "python3 --version",
    "node": "node --version",
    "rust": "rustc --version",
    "go": "go version",
    "ruby": "ruby --version",
    "php": "php --version",
    "java": "java --version && javac --version && test -x $JAVA_HOME/bin/javac",
}
MANAGERS = {"bundler": "bundle --version", "maven": "mvn --version"}
PROGRAMS = {
    "main.go": 'package main\nfunc main() { println("go") }\n',
    "main.rs": 'fn main() { println!("rust"); }\n',
    "Main.java": 'public class Main { public static void main(String[] a) { System.out.println("java"); } }\n',
    "main.c": "#include <stdio.h>\n#include <zlib.h>\nint main(void) { return puts(zlibVersion()) < 0; }\n",
}
BUILDS = {
    "rust": "rustc main.rs && ./main",
    "java": "javac Main.java && java Main",
    "c": "cc main.c -lz -o c && ./c",
    "global npm": "npm prefix --global",
}


def ask(command: str, toolchain: dict) -> str:
    path = ":".join([*toolchain.get("path", []), os.environ["PATH"]])
    variables = {**os.environ, **toolchain.get("variables", {}), "PATH": path, "COMPOSER_ALLOW_SUPERUSER": "1"}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=variables, check=False)
    return (done.stdout + done.stderr).strip() if done.returncode else done.stdout.strip()


os.chdir(os.environ.get("TMPDIR", "/tmp"))
for name, text in PROGRAMS.items():
    Path(name).write_text(text)
manifest = json.loads(MANIFEST.read_text())
go = [toolchain for toolchain in manifest["toolchains"] if toolchain["language"] == "go"]
answers = {
    "toolchains": [ask(LANGUAGES[toolchain["language"]], toolchain) for toolchain in manifest["toolchains"]],
    "managers": {name: ask(MANAGERS.get(name, f"{name} --version"), {}) for name in manifest["package_managers"]},
    "builds": {name: ask(command, {}) for name, command in BUILDS.items()},
    "go builds": [ask("GOFLAGS=-mod=mod go run main.go 2>&1", toolchain) for toolchain in (go[0], go[-1])]
    if go
    else [],
}
print(json.dumps(answers))
