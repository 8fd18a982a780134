"""The fuzz target for a bounded number of runs, from the vectors that were thought of; by hand it may run longer."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from dnslib import DNSRecord

HERE = Path(__file__).parent
VECTORS = json.loads((HERE.parent / "security/egress/vectors.json").read_text())["vectors"]
RUNS = 150_000


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for vector in VECTORS:
        (corpus / vector["id"]).write_bytes(b"\x01" + vector["send"].encode())
    for number, question in enumerate((DNSRecord.question("www.example.com"), DNSRecord.question("x.org", "AAAA"))):
        (corpus / f"question-{number}").write_bytes(b"\x02" + question.pack())
    return corpus


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has no package for this Python or machine")
def test_hostile_bytes_are_read_in_one_way_or_refused(corpus: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "fuzz_egress.py"), f"-runs={RUNS}", "-max_total_time=60", "-max_len=800"]
    done = subprocess.run([*command, "-seed=1", str(corpus)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "Done" in done.stderr, done.stderr[-1000:]
