"""Which extras `setup.cfg` and `setup.py` declare, by reading alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.detection.setuptools import extras_in_setup_cfg, extras_in_setup_py


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("no section\n", []),
        ("[options]\n[options.extras_require\ntest = x\n", []),
        (
            "[options.extras_require]\nTest =\n    pytest>=8\n    a; python_version < '3'\ndocs = 50%\n",
            ["Test", "docs"],
        ),
        ("[DEFAULT]\nx = 1\n[options.extras_require]\ntest = pytest\n", ["test"]),
    ],
)
def test_extras_in_setup_cfg(text: str, expected: list[str]) -> None:
    assert extras_in_setup_cfg(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("setup(name='a')\n", []),
        (
            "setup(extras_require={'test': ['a', 'b[c]'],\n  # why\n  \"docs\": ('x',)}, tests={'no': 1})\n",
            ["test", "docs"],
        ),
        ("setup(extras_require={'test': {'inner': 1}, **more, name: []})\n", ["test"]),
        ("setup(extras_require={f'{x}': [], 'a' 'b': []})\n", []),
        ("setup(**{'name': 'a', 'extras_require': {'test': []}})\n", ["test"]),
        (
            "extras = {'test': []}\nextras['dev'] = extras['test'] + ['b']\nsetup(extras_require=extras)\n",
            ["test", "dev"],
        ),
        (
            "extras_require = {'test': []}\nextras_require['all'] = []\nsetup(extras_require=extras_require)\n",
            ["test", "all"],
        ),
        ("setup(extras_require=read('x'))\n", []),
        ("setup(extras_require={'test': [], 'half", ["test"]),
        ("setup(extras_require=" + "{'a': " * 100_000, ["a"]),
        ("setup(extras_require", []),
    ],
)
def test_extras_in_setup_py(text: str, expected: list[str]) -> None:
    assert extras_in_setup_py(text) == expected


@given(st.text(alphabet=st.sampled_from("extras_require = {}[](),:'\"\\\n#a\0")))
def test_no_text_makes_it_fail(text: str) -> None:
    extras_in_setup_cfg(text)
    extras_in_setup_py(f"extras_require{text}")
