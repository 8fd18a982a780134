"""S2: an environment file comes from a repository, so reading it must not take the time of whoever reads it."""

import pytest
from publicsuffixlist import PublicSuffixList

from cloister.environment_file import read_environment
from cloister.errors import EnvironmentFileError


def _parts(count: int, part: str = "a") -> str:
    return ".".join([part] * count)


@pytest.mark.parametrize("part", ["a", '"a"', "'a'", "a "])
@pytest.mark.parametrize("form", ["{} = 1", "[{}]", "[[{}]]", "x = {{ {} = 1 }}"])
def test_a_key_of_very_many_parts_is_refused_before_it_is_parsed(form: str, part: str) -> None:
    """One of 50,000 took minutes, one of 2,000 ended in a RecursionError."""
    text = form.format(_parts(50_000, part))
    with pytest.raises(EnvironmentFileError, match="more than 100 parts"):
        read_environment(text.encode(), source="file", default_name="name")


def test_a_script_with_many_dots_is_none() -> None:
    """The twin."""
    script = "echo " + "a.b " * 300 + "/" + "x/y." * 90
    read = read_environment(f"[setup]\nscript = '{script}'\n".encode(), source="file", default_name="name")
    assert read.setup.script == script


def test_one_long_word_is_looked_at_once() -> None:
    with pytest.raises(EnvironmentFileError, match="not TOML"):
        read_environment(b"a" * 200_000, source="file", default_name="name")


def test_a_long_list_of_domains_reads_the_list_of_suffixes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """33 ms each, it was read for every domain: 20,000 of them held the reader for eleven minutes."""
    read = []

    class Counted(PublicSuffixList):
        def __init__(self) -> None:
            read.append(1)
            super().__init__()

    monkeypatch.setattr("cloister.allowlist.PublicSuffixList", Counted)
    domains = ", ".join(f"'a{number}.example.com'" for number in range(200))
    text = f"[network]\nallow = [{domains}]\n"
    environment = read_environment(text.encode(), source="file", default_name="name")
    assert len(environment.network.allow) == 200
    assert 1 <= len(read) <= 2, "once to check, once to read"
