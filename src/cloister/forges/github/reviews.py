"""Reviews of pull requests at GitHub: comments on lines, and never an approval."""

from collections.abc import Mapping
from typing import Any

from gidgethub import BadRequest

from cloister.errors import UsageError
from cloister.forges.github.client import in_our_words
from cloister.forges.github.host import GitHubHost
from cloister.model.review import LineComment, NewReview, PostedReview
from cloister.model.sandbox import Commit
from cloister.model.task import Repository
from cloister.protocols import ReviewBoard

PERMISSIONS: Mapping[str, str] = {"pull_requests": "write", "metadata": "read"}
_NOT_TAKEN = 422


class GitHubReviews:
    """`ReviewBoard` at one GitHub."""

    def __init__(self, host: GitHubHost) -> None:
        self._host = host

    async def find(self, repository: Repository, number: int, mark: str) -> PostedReview | None:
        """Look through all of the pull request's."""
        name, token = await self._host.login_for(repository, PERMISSIONS)
        own = (await self._host.author()).name
        async with in_our_words(f"reviews of pull request {number} of {name}"):
            path = f"/repos/{name}/pulls/{number}/reviews?per_page=100"
            async for it in self._host.client.getiter(path, oauth_token=token):
                if mark in (it["body"] or "") and (it["user"] or {}).get("login") == own:
                    return _posted(it)
        return None

    async def post(self, repository: Repository, number: int, review: NewReview) -> PostedReview:
        """See `protocols.ReviewBoard`. The event COMMENT is the only one that is ever sent."""
        name, token = await self._host.login_for(repository, PERMISSIONS)
        data = {
            "commit_id": review.commit,
            "body": review.body,
            "event": "COMMENT",
            "comments": [_comment(it) for it in review.comments],
        }
        async with in_our_words(f"review of pull request {number} of {name}"):
            try:
                path = f"/repos/{name}/pulls/{number}/reviews"
                return _posted(await self._host.client.post(path, data=data, oauth_token=token))
            except BadRequest as error:
                if int(error.status_code) != _NOT_TAKEN:
                    raise
                raise UsageError(f"GitHub does not take the review of pull request {number}: {error}") from error


_: type[ReviewBoard] = GitHubReviews


def _comment(it: LineComment) -> Mapping[str, object]:
    many = {} if it.start_line is None else {"start_line": it.start_line, "start_side": it.side.value}
    return {"path": it.path, "line": it.line, "side": it.side.value, "body": it.body, **many}


def _posted(said: Mapping[str, Any]) -> PostedReview:
    return PostedReview(
        id=said["id"],
        address=said["html_url"],
        commit=Commit(said["commit_id"] or ""),
        author=(said["user"] or {}).get("login", ""),
        body=said["body"] or "",
    )
