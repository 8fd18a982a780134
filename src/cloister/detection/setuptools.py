"""Names of the extras that `setup.cfg` and `setup.py` declare. Neither is run, so what is computed is not seen."""

import configparser
import io
import tokenize
from collections.abc import Iterator, Sequence

_KEYWORD = "extras_require"
_OPENING, _CLOSING, _BEFORE_KEY = frozenset("([{"), frozenset(")]}"), frozenset("{,")
_LAYOUT = frozenset({tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT})


def extras_in_setup_cfg(text: str) -> Sequence[str]:
    """Return the names in `[options.extras_require]`; none of what is no configuration."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # typeshed has it as a method
    try:
        parser.read_string(text)
    except configparser.Error:
        return []
    section = f"options.{_KEYWORD}"
    return [name for name in parser[section] if name not in parser.defaults()] if section in parser else []


def extras_in_setup_py(text: str) -> Sequence[str]:
    """Return the keys that are written down: in the dictionary of `extras_require`, or of the variable it is set to.

    Words are read one by one, not parsed: deep nesting, which a stranger may write, exhausts Python's parser.
    """
    words = _words(text)
    variables = {_KEYWORD}
    for word, sign, value in zip(words, words[1:], words[2:], strict=False):
        if word == _KEYWORD and sign == "=" and value.isidentifier():
            variables.add(value)
    found = [key for at, word in enumerate(words) if _unquoted(word) in variables for key in _keys(words, at + 1)]
    return list(dict.fromkeys(found))


def _words(text: str) -> list[str]:
    words = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type not in _LAYOUT:
                words.append(token.string)
    except (tokenize.TokenError, SyntaxError):
        pass  # what came before counts
    return words


def _keys(words: list[str], at: int) -> Iterator[str]:
    """Yield the keys of `= {...}`, `: {...}` (of a dictionary of arguments) or `["key"] = ...` at this place."""
    match words[at : at + 4]:
        case ["[", key, "]", "="] if (name := _unquoted(key)) != key:
            yield name
        case ["=" | ":", "{", *_]:
            yield from _keys_of_dictionary(words, at + 1)


def _keys_of_dictionary(words: list[str], at: int) -> Iterator[str]:
    depth = 0
    for before, word, after in zip(words[at:], words[at + 1 :], words[at + 2 :], strict=False):
        depth += (before in _OPENING) - (before in _CLOSING)
        if depth == 0:
            return
        if depth == 1 and before in _BEFORE_KEY and after == ":" and (name := _unquoted(word)) != word:
            yield name


def _unquoted(word: str) -> str:
    """Return what a plain string literal says; any other word as it is."""
    return word[1:-1] if len(word) > 1 and word[0] in "\"'" and word[-1] == word[0] else word
