"""Notices text that tries to make an agent do what nobody asked for.

What it asks for would not be done anyway: no sandbox has a secret to give away or a way to push, and what a forge runs
by itself is never pushed unread. Noticing is for the people who read the result, and for the agent that reads the text.
"""

import re
from collections.abc import Iterator

from cloister.neutral_text import neutralize

_LONGEST_SHOWN = 120
_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (what, re.compile(pattern, re.IGNORECASE | re.DOTALL))
    for what, pattern in (
        (
            "tells the agent to forget what it was told",
            r"\b(?:ignore|disregard|forget|override)\b[^.\n]{0,40}\b(?:previous|prior|above|earlier|all|your|system)\b"
            r"[^.\n]{0,30}\b(?:instructions?|prompts?|rules?|messages?|context)\b"
            r"|\byou are now\b|\bnew (?:system )?instructions?\s*:|<\s*/?\s*(?:system|assistant)\s*>|\[/?INST\]",
        ),
        (
            "asks for secrets",
            r"\b(?:print|show|reveal|post|send|upload|paste|include|leak|exfiltrate|echo|dump|base64|cat|output|write)\b"
            r"[^.\n]{0,80}(?:\b(?:secrets?|credentials?|passwords?|api[ _-]?keys?|access tokens?|github[_ ]token"
            r"|private keys?|env(?:ironment)? variables?)\b"
            r"|~?/?\.(?:ssh|aws|netrc|npmrc|git-credentials)\b|/proc/[\w*]+/environ|\.env\b)",
        ),
        (
            "asks to change what the forge runs by itself",
            r"\.(?:github|gitea|forgejo)/(?:workflows|actions)\b"
            r"|\b(?:add|change|edit|modify|create|disable|update|write)\b[^.\n]{0,60}"
            r"\b(?:workflows?|github actions?|ci pipelines?)\b",
        ),
        (
            "asks to push elsewhere",
            r"\bgit\s+(?:push|remote\s+(?:add|set-url))\b|\bforce[- ]push\b"
            r"|\bpush\b[^.\n]{0,60}\b(?:main|master|default branch|another repository|my fork|fork)\b"
            r"|\bmerge (?:this|the) (?:pr|pull request)\b",
        ),
        (
            "asks to send data to an address",
            r"\b(?:curl|wget|nc|fetch)\b[^\n]{0,120}\bhttps?://"
            r"|\b(?:send|post|upload|exfiltrate)\b[^.\n]{0,60}\bhttps?://"
            r"|\b(?:curl|wget)\b[^\n|]{0,200}\|\s*(?:sudo\s+)?(?:ba|z|da)?sh\b",
        ),
        (
            "hides text from people",
            r"<!--(?:(?!--).){0,400}?\b(?:agent|ai|assistant|model|llm|copilot|codex|claude|instructions?)\b",
        ),
        (
            "has characters that nobody sees",
            r"[\U000E0000-\U000E007F]|[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069]{3,}",
        ),
    )
)


def find_injections(text: str) -> Iterator[str]:
    """Return one line for each kind of thing that a text tries, with the first place where it does."""
    for what, pattern in _KINDS:
        if (match := pattern.search(text)) is not None:
            shown = " ".join(neutralize(match[0]).split())[:_LONGEST_SHOWN]
            yield f"{what}: {shown}" if shown else what
