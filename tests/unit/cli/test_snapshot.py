"""`cloister snapshot export`: what is refused, and what the exporter is asked for."""

import json

from cloister.model.snapshot import SnapshotKey

from .conftest import Installation


def kept(installation: Installation) -> str:
    assert installation.run("run", "--command", "make fix", "fix the test").exit_code == 0
    return str(json.loads(installation.run("snapshot", "list", "--json").stdout)[0]["key"])


def test_what_cannot_be_exported_is_refused(installation: Installation) -> None:
    key = kept(installation)
    for arguments, said in (
        (("none", "localhost:5000/a:1"), "there is no snapshot 'none'"),
        ((key, "Not a reference"), "is no reference to an image"),
        ((key, "localhost:5000/a:1", "--compression", "lzma"), "lzma"),
    ):
        done = installation.run("snapshot", "export", *arguments)
        assert (done.exit_code, said in done.output) == (2, True), done.output
    assert installation.pushed == []


def test_a_disk_that_changed_is_told_and_ends_with_1(installation: Installation) -> None:
    key = kept(installation)
    unknown = installation.run("snapshot", "verify", key[:6])
    assert (unknown.exit_code, "is being computed" in unknown.stdout) == (1, True)
    installation.node.digests[SnapshotKey(key)] = "d" * 64
    assert json.loads(installation.run("snapshot", "list", "--json").stdout)[0]["digest"] == "sha256:" + "d" * 64
    assert json.loads(installation.run("env", "why", "--json").stdout)["nearest"]["digest"] == "sha256:" + "d" * 64
    same = installation.run("snapshot", "verify", key[:6])
    assert (same.exit_code, same.stdout) == (0, f"{key[:12]}: as it was kept, sha256 {'d' * 64}\n")
    installation.node.flaws[SnapshotKey(key)] = "damaged"
    changed = installation.run("snapshot", "verify", key[:6])
    assert (changed.exit_code, f"cloister snapshot rm {key[:12]}" in changed.stdout) == (1, True)
    (said,) = json.loads(installation.run("snapshot", "verify", key, "--json").stdout)
    assert said == {"key": key, "kept": "d" * 64, "found": "0" * 64}
    assert installation.run("snapshot", "verify", "none").exit_code == 2


def test_an_attempt_tells_the_digest_that_was_ready(installation: Installation) -> None:
    key = SnapshotKey(kept(installation))
    first = installation.run("record", "show", newest(installation), "--json").stdout
    assert json.loads(first)["predicate"]["snapshot"]["stands_on"] == {"key": key, "sha256": None}
    installation.node.digests[key] = "d" * 64
    kept(installation)
    second = installation.run("record", "show", newest(installation), "--json").stdout
    assert json.loads(second)["predicate"]["snapshot"]["stands_on"] == {"key": key, "sha256": "d" * 64}


def newest(installation: Installation) -> str:
    return str(json.loads(installation.run("task", "list", "--json").stdout)[0]["task"])


def test_a_snapshot_is_exported_by_the_beginning_of_its_key(installation: Installation) -> None:
    key = kept(installation)
    done = installation.run("snapshot", "export", key[:6], "localhost:5000/a:1", "--compression", "zstd")
    assert done.stdout.splitlines() == [
        " 80% pushing",
        "pushed localhost:5000/a:1",
        f"with the digest sha256:{'d' * 64}",
    ]
    (export,) = installation.pushed
    assert (export.record.key, str(export.reference)) == (key, "localhost:5000/a:1")
    assert (export.directory, export.compression) == ("project", "zstd")
