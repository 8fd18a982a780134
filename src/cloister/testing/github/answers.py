"""What the forge says of what it keeps, in GitHub's words; `filling` adds what nobody here reads."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cloister.testing.github.hosted import AppOnForge, Caller, Hosted, Pull, ReviewOnForge

Fields = dict[str, Any]


def time_of(at: datetime | None) -> str | None:
    """Write a time as GitHub does."""
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")


def user(url: str, login: str) -> Fields:
    """Of a person, or an app's bot."""
    number = 1000 + sum(login.encode())
    return {
        "login": login,
        "id": number,
        "type": "Bot" if login.endswith("[bot]") else "User",
        "html_url": f"{url}/{login}",
    }


def repository(url: str, it: Hosted, caller: Caller | None) -> Fields:
    """Of a repository."""
    may_write = caller is not None and caller.may_write(it)
    return {
        "id": it.id,
        "name": it.name,
        "full_name": it.full_name,
        "owner": user(url, it.owner),
        "private": it.private,
        "html_url": f"{url}/{it.full_name}",
        "clone_url": f"{url}/{it.full_name}.git",
        "default_branch": it.default_branch,
        "permissions": {"admin": False, "push": may_write, "pull": True},
    }


def branch(it: Hosted, name: str, commit: str) -> Fields:
    """Of a branch."""
    return {"name": name, "commit": {"sha": commit}, "protected": name in it.protected}


def node_of(it: Hosted, pull: Pull) -> str:
    """Return what GraphQL calls a pull request."""
    return f"PR_{it.id}_{pull.number}"


def pull_request(url: str, it: Hosted, pull: Pull, *, whole: bool) -> Fields:
    """Of a pull request; `whole` has what lists leave out."""
    place = f"{url}/{it.full_name}/pull/{pull.number}"

    def end(name: str, commit: str, of: Hosted) -> Fields:
        return {
            "ref": name,
            "sha": commit,
            "label": f"{of.owner}:{name}",
            "repo": {key: value for key, value in repository(url, of, None).items() if key != "permissions"},
        }

    said: Fields = {
        "number": pull.number,
        "node_id": node_of(it, pull),
        "assignees": [user(url, name) for name in pull.assignees],
        "id": it.id * 1000 + pull.number,
        "state": pull.state,
        "title": pull.title,
        "body": pull.body,
        "draft": pull.draft,
        "html_url": place,
        "user": user(url, pull.author),
        "labels": [{"name": name} for name in pull.labels],
        "head": end(pull.head, pull.last_head, pull.fork or it),
        "base": end(pull.base, it.find_commit(pull.base) or pull.last_head, it),
        "merged_at": time_of(pull.merged_at),
    }
    return {**said, "merged": pull.merged_at is not None} if whole else said


def app(url: str, it: AppOnForge) -> Fields:
    """Of an app."""
    return {
        "id": it.id,
        "slug": it.slug,
        "name": it.slug,
        "owner": user(url, it.owner),
        "html_url": f"{url}/apps/{it.slug}",
        "permissions": dict(it.permissions),
        "events": list(it.events),
    }


def review(url: str, it: Hosted, pull: Pull, kept: ReviewOnForge) -> Fields:
    """Of a review."""
    return {
        "id": kept.id,
        "user": user(url, kept.author),
        "body": kept.body,
        "state": kept.state,
        "commit_id": kept.commit,
        "html_url": f"{url}/{it.full_name}/pull/{pull.number}#pullrequestreview-{kept.id}",
        "author_association": "MEMBER",
    }


def installation(url: str, it: AppOnForge) -> Fields:
    """Of an app's installation."""
    return {
        "id": it.installation,
        "app_id": it.id,
        "app_slug": it.slug,
        "account": user(url, it.owner),
        "permissions": dict(it.permissions),
        "suspended_at": None,
    }


def deliveries(statuses: Sequence[int]) -> list[Fields]:
    """Of what was sent to a webhook, by what it was answered with."""
    words = {200: "OK", 202: "OK", 0: "failed to connect to host"}
    return [
        {
            "id": number,
            "guid": f"0b989ba4-242f-11e5-81e1-{number:012}",
            "delivered_at": "2026-01-01T00:00:00Z",
            "redelivery": False,
            "duration": 0.1,
            "status": words.get(status, "Invalid HTTP Response"),
            "status_code": status,
            "event": "ping",
            "action": None,
            "installation_id": None,
            "repository_id": None,
        }
        for number, status in enumerate(statuses, 1)
    ]
