"""GitHub as `protocols.ForgeThreads`: issues, pull requests, and what is written below them."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, assert_never
from urllib.parse import quote

from cloister.errors import NotFoundError
from cloister.forges.github.client import in_our_words
from cloister.forges.github.credentials import TALK
from cloister.forges.github.host import GitHubHost
from cloister.model.sandbox import Commit
from cloister.model.task import Repository
from cloister.model.thread import (
    ChangedFile,
    Comment,
    Permission,
    Place,
    PlaceKind,
    PullHead,
    Reaction,
    Thread,
)
from cloister.protocols import ForgeThreads

_OWN_SECONDS = 300.0
_BOT = "Bot"
_PAGE = 100
_MOST_PAGES = 10
"""Of comments, when the newest are looked for."""


class GitHubThreads:
    """One GitHub."""

    def __init__(self, host: GitHubHost) -> None:
        self._host = host
        self._own: tuple[str, float] | None = None

    async def own_login(self) -> str:
        """Ask, or remember for some minutes."""
        if self._own is None or self._own[1] < time.monotonic():
            self._own = ((await self._host.author()).name, time.monotonic() + _OWN_SECONDS)
        return self._own[0]

    async def permission(self, repository: Repository, login: str) -> Permission:
        """See `Get repository permissions for a user`; who is no collaborator has none."""
        await self._host.login_for(repository, TALK)  # where Cloister is not let in, that says nothing of the person
        try:
            said = await self._get(repository, f"collaborators/{quote(login, safe='')}/permission", f"login {login}")
        except NotFoundError:
            return Permission.NONE
        return {
            "admin": Permission.ADMIN,
            "write": Permission.WRITE,
            "read": Permission.READ,
        }.get(said["permission"], Permission.NONE)

    async def thread(self, repository: Repository, number: int) -> Thread:
        """By `Get an issue`, which knows pull requests too."""
        said = await self._get(repository, f"issues/{number}", f"issue {number}")
        return Thread(
            number=number,
            title=said["title"],
            body=said.get("body") or "",
            author=_login(said.get("user")),
            is_bot=_is_bot(said.get("user")),
            address=said["html_url"],
            is_open=said["state"] == "open",
            is_locked=bool(said.get("locked")),
            is_pull_request=said.get("pull_request") is not None,
            labels=tuple(it if isinstance(it, str) else str(it.get("name")) for it in said.get("labels", ())),
            assignees=tuple(_login(it) for it in said.get("assignees") or ()),
        )

    async def pull_head(self, repository: Repository, number: int) -> PullHead:
        """A fork that was deleted since is one all the same."""
        said = await self._get(repository, f"pulls/{number}", f"pull request {number}")
        head, base = said["head"], said["base"]
        return PullHead(
            number=number,
            is_open=said["state"] == "open",
            is_merged=said.get("merged_at") is not None,
            draft=bool(said.get("draft")),
            branch=head["ref"],
            commit=Commit(head["sha"]),
            base=base["ref"],
            base_commit=Commit(base["sha"]),
            own=head.get("repo") is not None and head["repo"]["id"] == base["repo"]["id"],
            repository=str(base["repo"]["id"]),
        )

    async def changed_files(self, repository: Repository, number: int) -> Sequence[ChangedFile]:
        """The first page."""
        listed = await self._get(repository, f"pulls/{number}/files?per_page={_PAGE}", f"pull request {number}")
        return [
            ChangedFile(
                path=it["filename"],
                status=it["status"],
                added=it["additions"],
                removed=it["deletions"],
                patch=it.get("patch") or "",
            )
            for it in listed
        ]

    async def find(self, repository: Repository, place: Place) -> Comment | None:
        """Ask for what is there now."""
        await self._host.login_for(repository, TALK)  # where Cloister is not let in, nobody knows what is there
        try:
            match place.kind:
                case PlaceKind.OPENING:
                    return _opening(await self.thread(repository, place.number))
                case PlaceKind.COMMENT:
                    return _comment(await self._get(repository, f"issues/comments/{place.id}", "comment"), place)
                case PlaceKind.REVIEW:
                    path = f"pulls/{place.number}/reviews/{place.id}"
                    return _comment(await self._get(repository, path, "review"), place)
                case PlaceKind.LINE:
                    return _line(await self._get(repository, f"pulls/comments/{place.id}", "comment"), place.number)
                case _:
                    assert_never(place.kind)
        except NotFoundError:
            return None

    async def comments(self, repository: Repository, place: Place, *, most: int) -> Sequence[Comment]:
        """Of a thread on lines, those that answer what it began with, and that."""
        if place.kind is not PlaceKind.LINE:
            listed = await self._newest(repository, f"issues/{place.number}/comments", most)
            return [_comment(it, Place(kind=PlaceKind.COMMENT, number=place.number, id=it["id"])) for it in listed]
        asked = await self.find(repository, place)
        root = place.id if asked is None or asked.answers is None else asked.answers
        listed = await self._newest(repository, f"pulls/{place.number}/comments", _PAGE * _MOST_PAGES)
        found = [_line(it, place.number) for it in listed]
        return [it for it in found if root in (it.place.id, it.answers)][-most:]

    async def answer(self, repository: Repository, place: Place, body: str) -> Place:
        """In the thread on the lines where it was asked there, else below the issue."""
        if place.kind is PlaceKind.LINE:
            asked = await self.find(repository, place)
            root = place.id if asked is None or asked.answers is None else asked.answers
            path = f"pulls/{place.number}/comments/{root}/replies"
            made = await self._send("POST", repository, path, {"body": body})
            return Place(kind=PlaceKind.LINE, number=place.number, id=made["id"])
        made = await self._send("POST", repository, f"issues/{place.number}/comments", {"body": body})
        return Place(kind=PlaceKind.COMMENT, number=place.number, id=made["id"])

    async def edit(self, repository: Repository, place: Place, body: str) -> None:
        """A comment of either kind."""
        kind = "pulls" if place.kind is PlaceKind.LINE else "issues"
        await self._send("PATCH", repository, f"{kind}/comments/{place.id}", {"body": body})

    async def react(self, repository: Repository, place: Place, reaction: Reaction) -> None:
        """A review as a whole takes no reactions at GitHub."""
        match place.kind:
            case PlaceKind.OPENING:
                path = f"issues/{place.number}/reactions"
            case PlaceKind.COMMENT:
                path = f"issues/comments/{place.id}/reactions"
            case PlaceKind.LINE:
                path = f"pulls/comments/{place.id}/reactions"
            case PlaceKind.REVIEW:
                return
            case _:
                assert_never(place.kind)
        await self._send("POST", repository, path, {"content": reaction.value})

    async def _newest(self, repository: Repository, path: str, most: int) -> list[Mapping[str, Any]]:
        """Return the last of a list that GitHub gives oldest first."""
        client, (name, token) = self._host.client, await self._host.login_for(repository, TALK)
        found: list[Mapping[str, Any]] = []
        async with in_our_words(f"comments of {name}"):
            listed = client.getiter(f"/repos/{name}/{path}?per_page={_PAGE}", oauth_token=token)
            async for it in listed:
                found.append(it)
                if len(found) >= _PAGE * _MOST_PAGES:
                    break
        return found[-most:]

    async def _get(self, repository: Repository, path: str, what: str) -> Any:
        client, (name, token) = self._host.client, await self._host.login_for(repository, TALK)
        async with in_our_words(f"{what} of {name}"):
            return await client.getitem(f"/repos/{name}/{path}", oauth_token=token)

    async def _send(self, method: str, repository: Repository, path: str, data: Mapping[str, str]) -> Any:
        client, (name, token) = self._host.client, await self._host.login_for(repository, TALK)
        async with in_our_words(f"{path} of {name}"):
            ask = client.post if method == "POST" else client.patch
            return await ask(f"/repos/{name}/{path}", data=dict(data), oauth_token=token)


_: type[ForgeThreads] = GitHubThreads


def _login(user: Mapping[str, Any] | None) -> str:
    """Return whose it is; a person who left GitHub is `ghost` there too."""
    return "ghost" if user is None else str(user["login"])


def _is_bot(user: Mapping[str, Any] | None) -> bool:
    return user is not None and (user.get("type") == _BOT or str(user["login"]).endswith("[bot]"))


def _opening(thread: Thread) -> Comment:
    return Comment(
        place=Place(kind=PlaceKind.OPENING, number=thread.number),
        author=thread.author,
        is_bot=thread.is_bot,
        body=thread.body,
        address=thread.address,
    )


def _comment(said: Mapping[str, Any], place: Place) -> Comment:
    at = said.get("created_at") or said.get("submitted_at")
    return Comment(
        place=place,
        author=_login(said.get("user")),
        is_bot=_is_bot(said.get("user")),
        body=said.get("body") or "",
        address=said.get("html_url") or "",
        at=datetime.fromisoformat(at) if at else None,
    )


def _line(said: Mapping[str, Any], number: int) -> Comment:
    of_number = int(str(said.get("pull_request_url", number)).rpartition("/")[2] or number)
    common = _comment(said, Place(kind=PlaceKind.LINE, number=of_number, id=said["id"]))
    return Comment(
        place=common.place,
        author=common.author,
        is_bot=common.is_bot,
        body=common.body,
        address=common.address,
        at=common.at,
        path=said.get("path") or "",
        first_line=said.get("start_line"),
        line=said.get("line") or said.get("original_line"),
        left=said.get("side") == "LEFT",
        hunk=said.get("diff_hunk") or "",
        answers=said.get("in_reply_to_id"),
        commit=said.get("commit_id") or "",
    )
