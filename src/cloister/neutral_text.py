"""Text that a sandbox wrote, made harmless to whatever shows it, and cut into lines."""

import re

_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f]).*?(?:\x07|\x1b\\|\x9c|(?=\n)|$)"  # OSC, DCS: titles, clipboard, links
    r"|\x1b[ -/]*[0-~]"
)
"""ECMA-48, 5.4 (control sequences) and 5.6 (control strings)."""

_BACKTICKS = re.compile(r"`+")

TURNS_TEXT = dict.fromkeys(
    [0x061C, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)],
    "\N{REPLACEMENT CHARACTER}",
)
"""For `str.translate`: what turns the direction of text makes it read as what it is not (CVE-2021-42574)."""

_HARMFUL = TURNS_TEXT | dict.fromkeys(
    [*(code for code in range(0x20) if chr(code) not in "\n\t"), *range(0x7F, 0xA0)],
    "\N{REPLACEMENT CHARACTER}",
)


def neutralize(text: str) -> str:
    """Take terminal escape sequences out of text that a sandbox wrote, and show other controls as U+FFFD."""
    return _ESCAPE_SEQUENCE.sub("", text).translate(_HARMFUL)


def neutralize_line(text: str) -> str:
    """Do so, and leave one line: a file may be called like lines of ours."""
    return neutralize(text).replace("\n", "\N{REPLACEMENT CHARACTER}")


def fence_of(text: str) -> str:
    """Return what a block of code in Markdown begins and ends with, so that nothing in its text ends it."""
    return "`" * max(3, 1 + max(map(len, _BACKTICKS.findall(text)), default=0))


class LineBuffer:
    """Cuts a stream of text into lines; of a line that was overwritten by carriage returns the last state counts."""

    LONGEST = 8192
    """Characters after which a line is cut, so that output without line ends is shown too."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, text: str) -> list[str]:
        """Return the lines that are complete by now."""
        *lines, self._rest = (self._rest + text).split("\n")
        if len(self._rest) > self.LONGEST:
            lines.append(self._rest)
            self._rest = ""
        return [_last_state(line) for line in lines]

    def flush(self) -> list[str]:
        """Return what is left of an unfinished line."""
        rest, self._rest = self._rest, ""
        return [_last_state(rest)] if rest else []


def _last_state(line: str) -> str:
    return line.rstrip("\r").rsplit("\r", 1)[-1]
