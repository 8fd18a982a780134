"""Machines of other kinds than this one: builds them, boots them, and tries Cloister inside (`./dev hosts`).

Each machine is a Debian without anything of ours on which `./dev setup` was run, with a kernel of its own and one
layout of control groups. It has no network. What is tried is in `inside.sh`; what it prints comes out here.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import anyio
from platformdirs import user_cache_path

from cloister.sandboxes.oci.image import OciImageStore

ROOT = Path(__file__).parents[2]
CACHE = user_cache_path("cloister-hosts")
IMAGES = user_cache_path("cloister-tests")
"""Where the suites keep the image `base`, here and inside."""
QEMU = "qemu-system-x86_64"
PACKAGES = ("systemd-sysv", "dbus", "kmod", "udev", "initramfs-tools", "linux-image-cloud-amd64")
"""What makes a file system a machine that boots. All the rest is for `./dev setup` to install."""

_VERSION_1 = "systemd.unified_cgroup_hierarchy=0"
_INSIST = "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"
"""systemd 256 and 257 want to be asked twice; later ones know version 2 alone."""


@dataclass(frozen=True)
class Machine:
    """One kind of host."""

    suite: str
    """Release of Debian."""
    python: str
    """The release's."""
    boot: str
    """Words on the kernel's command line."""


MACHINES = {
    "bookworm-v2": Machine("bookworm", "3.11", "systemd.unified_cgroup_hierarchy=1"),
    "bookworm-hybrid": Machine("bookworm", "3.11", _VERSION_1),
    "bookworm-v1": Machine("bookworm", "3.11", f"{_VERSION_1} systemd.legacy_systemd_cgroup_controller=1"),
    "trixie-v2": Machine("trixie", "3.13", "systemd.unified_cgroup_hierarchy=1"),
    "trixie-hybrid": Machine("trixie", "3.13", f"{_VERSION_1} {_INSIST}"),
}


def main() -> int:
    """Try every machine that was named, or all; the status says whether everything passed on each."""
    options = _options()
    if shutil.which(QEMU) is None:
        return _refuse(f"{QEMU} is not installed: apt install qemu-system-x86")
    if os.geteuid() != 0:
        return _refuse("file systems of machines are made as root: sudo ./dev hosts")
    accelerator = _accelerator() if options.accelerator == "auto" else options.accelerator
    verdicts = {name: _try(name, options, accelerator) for name in options.machines}
    print("", *(f"{name:16} {verdict}" for name, verdict in verdicts.items()), sep="\n")
    return 0 if all(verdict.endswith(" 0 failed") for verdict in verdicts.values()) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev hosts", description="Try Cloister on machines of other kinds.")
    parser.add_argument("machines", nargs="*", help=f"of {', '.join(MACHINES)}; all when none is named")
    parser.add_argument("--accelerator", choices=("auto", "kvm", "tcg"), default="auto")
    parser.add_argument("--memory", default="3G", help="of the machine")
    parser.add_argument("--tests", default="", help="what pytest runs inside, instead of the usual selection")
    parser.add_argument("--minutes", type=float, default=60.0, help="until a machine is given up")
    options = parser.parse_args()
    if unknown := [name for name in options.machines if name not in MACHINES]:
        parser.error(f"no machine is named {', '.join(unknown)}; there are {', '.join(MACHINES)}")
    options.machines = options.machines or list(MACHINES)
    return options


def _refuse(reason: str) -> int:
    print(f"hosts: {reason}", file=sys.stderr)
    return 2


def _accelerator() -> str:
    """KVM where the processor lends itself to it: the device alone is also there where guests never start."""
    flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        reason = "/dev/kvm is absent, or not ours"
    elif not {"vmx", "svm"} & set(flags):
        reason = "/dev/kvm is there, but the processor says neither vmx nor svm"
    else:
        return "kvm"
    print(f"==> {reason}: the machines are emulated (TCG), some ten times slower")
    return "tcg"


def _try(name: str, options: argparse.Namespace, accelerator: str) -> str:
    """Build what is missing, boot, and return the last line of what was tried."""
    machine = MACHINES[name]
    disk = _built(machine)
    with tempfile.TemporaryDirectory(prefix="cloister-hosts-") as place:
        source = Path(place, "source.tar")
        _pack(source)
        print(f"==> {name}: booting", flush=True)
        command = _qemu(disk, source, machine.boot, options, accelerator)
        verdict = _follow(command, console=Path(place, "console"), minutes=options.minutes)
        if verdict is None:
            print("".join(Path(place, "console").read_text(errors="replace").splitlines(keepends=True)[-40:]))
    return verdict or "it ended without a verdict; above are the last lines of its console"


def _built(machine: Machine) -> Path:
    """Return the directory with a release's disk, kernel and initial file system; whole, or not there."""
    inputs = repr(PACKAGES).encode() + b"".join(Path(ROOT, name).read_bytes() for name in ("dev", "requirements.lock"))
    place = CACHE / f"{machine.suite}-{hashlib.sha256(inputs).hexdigest()[:12]}"
    if place.exists():
        return place
    print(f"==> building {machine.suite} in {place}", flush=True)
    anyio.run(OciImageStore(IMAGES).ensure, "base")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="building-") as folder:
        draft = Path(folder)
        _install(machine, draft)
        root = draft / "root"
        for kind in ("vmlinuz", "initrd.img"):
            shutil.copy(next((root / "boot").glob(f"{kind}-*")), draft / kind)
        images = root / IMAGES.relative_to("/")
        images.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "--archive", IMAGES, images], check=True)
        disk = ["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(draft / "disk"), "8G"]
        subprocess.run(disk, check=True)
        shutil.rmtree(root)
        shutil.rmtree(draft / "wheels")
        for old in CACHE.glob(f"{machine.suite}-*"):
            shutil.rmtree(old)
        draft.rename(place)
        draft.mkdir()  # for the block's end
    return place


def _install(machine: Machine, draft: Path) -> None:
    """Make `draft/root`: a bare Debian, and what `./dev setup` makes of it without a package index."""
    wheels, source = draft / "wheels", draft / "source.tar"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--quiet", "--require-hashes", "--only-binary", ":all:"]
    locked = ["--requirement", str(ROOT / "requirements.lock"), "--dest", str(wheels)]
    subprocess.run([*pip, *locked, "--python-version", machine.python], check=True)
    _pack(source)
    setup = "PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels /opt/cloister/dev setup"
    hooks = [
        "mkdir -p $1/opt/cloister",
        f"tar -xf {source} -C $1/opt/cloister",
        f"cp -r {wheels} $1/wheels",
        f'chroot $1 env -u PIP_CERT bash -c "{setup}"',
        "rm -r $1/wheels",
        'printf "#!/bin/sh\\ntar -xf /dev/vdb -C /opt/cloister && exec /opt/cloister/tests/hosts/inside.sh\\n"'
        " >$1/usr/local/sbin/inside && chmod +x $1/usr/local/sbin/inside",
    ]
    subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--variant=minbase", "--format=directory", f"--include={','.join(PACKAGES)}"),
            *(f"--customize-hook={hook}" for hook in hooks),
            *(machine.suite, str(draft / "root"), *_mirror()),
        ],
        check=True,
    )


def _mirror() -> list[str]:
    """Where this host has its own Debian from, if it is one; else mmdebstrap's default."""
    answer = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [address for address in answer.stdout.split() if re.search(r"/debian/?$", address)][:1]


def _pack(target: Path) -> None:
    """Write the tracked and the new files of the work tree as they are now."""
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-C", ROOT, "--null", "-T", "-", "-cf", target], input=names, check=True)


def _qemu(disk: Path, source: Path, boot: str, options: argparse.Namespace, accelerator: str) -> list[str]:
    run = "systemd.run=/usr/local/sbin/inside systemd.run_success_action=poweroff systemd.run_failure_action=poweroff"
    words = f"root=/dev/vda rw console=ttyS0 panic=-1 {run} {boot}"
    if options.tests:
        words += f' systemd.setenv="HOSTS_TESTS={options.tests}"'
    return [
        *(QEMU, "-accel", accelerator, "-cpu", "max", "-smp", "2", "-m", options.memory, "-nic", "none"),
        *("-kernel", str(disk / "vmlinuz"), "-initrd", str(disk / "initrd.img"), "-append", words),
        *("-drive", f"file={disk / 'disk'},format=raw,if=virtio,snapshot=on"),  # nothing is written to it
        *("-drive", f"file={source},format=raw,if=virtio,readonly=on"),
        *("-display", "none", "-no-reboot", "-serial", f"file:{source.with_name('console')}", "-serial", "stdio"),
    ]


def _follow(command: list[str], *, console: Path, minutes: float) -> str | None:
    """Print what the machine says on its second serial line; return its verdict."""
    verdict = None
    limited = ["timeout", f"{minutes}m", *command]
    with subprocess.Popen(limited, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace") as vm:
        assert vm.stdout is not None
        for line in vm.stdout:
            print(line.rstrip(), flush=True)
            if line.startswith("verdict: "):
                verdict = line.removeprefix("verdict: ").strip()
    return verdict


if __name__ == "__main__":
    sys.exit(main())
