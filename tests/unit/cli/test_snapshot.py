"""`cloister snapshot export`: what is refused, and what the exporter is asked for."""

import json

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
