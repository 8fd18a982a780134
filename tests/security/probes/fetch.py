"""Asks for addresses as `METHOD address` and prints what came, a line each; with `requests` by that library."""

import sys
import urllib.error
import urllib.request

from pip._vendor import requests


def with_urllib(method: str, address: str) -> str:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method=method), timeout=20) as answer:
            return f"{answer.status} {answer.read().decode()}"
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode()}"


def with_requests(method: str, address: str) -> str:
    answer = requests.request(method, address, timeout=20)
    return f"{answer.status_code} {answer.text}"


ask = with_requests if sys.argv[1] == "requests" else with_urllib
for asked in sys.argv[2:]:
    try:
        answer = ask(*asked.split())
    except OSError as error:
        answer = repr(error)
    print(asked, "->", " ".join(answer.split()))
