"""Issues, comments and reactions of the forge, and who may do what."""

import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cloister.testing.github import answers
from cloister.testing.github.answers import Fields
from cloister.testing.github.description import Called
from cloister.testing.github.hosted import Caller, Hosted, Issue, Pull, Written
from cloister.testing.github.refusals import RefusedError

Answer = tuple[int, object]
Find = Callable[[Called, Caller], Hosted]
MOST_COMMENT = 65536
"""Characters of a comment."""
_FILE = re.compile(r"^diff --git a/.* b/(.*)$", re.MULTILINE)


@dataclass(slots=True, kw_only=True)
class Threads:
    """Answers what is asked about what people say."""

    url: str
    readable: Find
    """Returns the repository, or refuses as if there were none."""
    known: Mapping[tuple[str, str], Callable[[Called, Any, Caller], Answer]] = field(init=False)

    def __post_init__(self) -> None:
        """Name what is answered."""
        repository = "/repos/{owner}/{repo}"
        self.known = {
            ("get", f"{repository}/collaborators/{{username}}/permission"): self._permission,
            ("get", f"{repository}/issues/{{issue_number}}"): self._issue,
            ("get", f"{repository}/issues/{{issue_number}}/comments"): self._comments,
            ("post", f"{repository}/issues/{{issue_number}}/comments"): self._add_comment,
            ("post", f"{repository}/issues/{{issue_number}}/reactions"): self._react_to_issue,
            ("get", f"{repository}/issues/comments/{{comment_id}}"): self._comment,
            ("patch", f"{repository}/issues/comments/{{comment_id}}"): self._edit_comment,
            ("post", f"{repository}/issues/comments/{{comment_id}}/reactions"): self._react,
            ("get", f"{repository}/pulls/comments/{{comment_id}}"): self._comment,
            ("patch", f"{repository}/pulls/comments/{{comment_id}}"): self._edit_comment,
            ("post", f"{repository}/pulls/comments/{{comment_id}}/reactions"): self._react,
            ("get", f"{repository}/pulls/{{pull_number}}/comments"): self._line_comments,
            ("post", f"{repository}/pulls/{{pull_number}}/comments/{{comment_id}}/replies"): self._reply,
            ("get", f"{repository}/pulls/{{pull_number}}/files"): self._files,
            ("get", f"{repository}/pulls/{{pull_number}}/reviews/{{review_id}}"): self._review,
        }

    def _permission(self, called: Called, _: Any, caller: Caller) -> Answer:
        repository, login = self.readable(called, caller), called.values["username"]
        if caller.app is None and not caller.may_write(repository):
            raise RefusedError(403, "Must have push access to view collaborator permission.")
        if login in repository.writers:
            permission = "write"
        else:
            permission = "read" if login in repository.readers or not repository.private else "none"
        user = answers.user(self.url, login)
        return 200, {"permission": permission, "role_name": permission, "user": user}

    def _issue(self, called: Called, _: Any, caller: Caller) -> Answer:
        repository = self.readable(called, caller)
        found = _thing(repository, int(called.values["issue_number"]))
        return 200, issue(self.url, repository, found)

    def _comments(self, called: Called, _: Any, caller: Caller) -> Answer:
        repository = self.readable(called, caller)
        number = _thing(repository, int(called.values["issue_number"])).number
        found = [it for it in repository.written.values() if it.number == number and it.path is None]
        return 200, [written(self.url, repository, it) for it in _page(called, found)]

    def _add_comment(self, called: Called, body: Any, caller: Caller) -> Answer:
        repository = self.readable(called, caller)
        found = _thing(repository, int(called.values["issue_number"]))
        return 201, written(self.url, repository, _add(repository, found, body, caller))

    def _reply(self, called: Called, body: Any, caller: Caller) -> Answer:
        repository = self.readable(called, caller)
        found = _thing(repository, int(called.values["pull_number"]))
        root = _written(repository, called)
        if root.path is None or root.answers is not None:
            raise RefusedError(404, "Not Found")  # answers are given to what a thread begins with
        made = _add(repository, found, body, caller)
        made.path, made.line, made.side, made.hunk = root.path, root.line, root.side, root.hunk
        made.answers, made.commit = root.id, root.commit
        return 201, written(self.url, repository, made)

    def _comment(self, called: Called, _: Any, caller: Caller) -> Answer:
        repository = self.readable(called, caller)
        return 200, written(self.url, repository, _written(repository, called))

    def _edit_comment(self, called: Called, body: Any, caller: Caller) -> Answer:
        repository = self.readable(called, caller)
        found = _written(repository, called)
        if found.author != caller.login:
            raise RefusedError(403, "Resource not accessible by integration")
        _check_open_to(_thing(repository, found.number), repository, caller, "update")
        _check(body["body"])
        found.body, found.edits = body["body"], found.edits + 1
        return 200, written(self.url, repository, found)

    def _react(self, called: Called, body: Any, caller: Caller) -> Answer:
        repository = self.readable(called, caller)
        return self._reacted(_written(repository, called).reactions, body, caller)

    def _react_to_issue(self, called: Called, body: Any, caller: Caller) -> Answer:
        repository = self.readable(called, caller)
        found = _thing(repository, int(called.values["issue_number"]))
        return self._reacted(found.reactions, body, caller)

    def _reacted(self, reactions: list[tuple[str, str]], body: Any, caller: Caller) -> Answer:
        one = (caller.login, body["content"])
        status = 200 if one in reactions else 201
        if status == 201:
            reactions.append(one)
        return status, {"id": 1, "user": answers.user(self.url, caller.login), "content": body["content"]}

    def _line_comments(self, called: Called, _: Any, caller: Caller) -> Answer:
        repository = self.readable(called, caller)
        number = _thing(repository, int(called.values["pull_number"])).number
        found = [it for it in repository.written.values() if it.number == number and it.path is not None]
        return 200, [written(self.url, repository, it) for it in _page(called, found)]

    def _review(self, called: Called, _: Any, caller: Caller) -> Answer:
        repository = self.readable(called, caller)
        pull = repository.pulls.get(int(called.values["pull_number"]))
        for it in pull.reviews if pull is not None else ():
            if pull is not None and it.id == int(called.values["review_id"]):
                return 200, answers.review(self.url, repository, pull, it)
        raise RefusedError(404, "Not Found")

    def _files(self, called: Called, _: Any, caller: Caller) -> Answer:
        repository = self.readable(called, caller)
        pull = repository.pulls.get(int(called.values["pull_number"]))
        if pull is None:
            raise RefusedError(404, "Not Found")
        return 200, _page(called, changed_files(repository, pull))


def issue(url: str, it: Hosted, found: Issue | Pull) -> Fields:
    """Of an issue, or a pull request as one."""
    is_pull = isinstance(found, Pull)
    kind = "pull" if is_pull else "issues"
    said: Fields = {
        "id": it.id * 100_000 + found.number,
        "number": found.number,
        "title": found.title,
        "body": found.body,
        "state": found.state,
        "locked": found.locked,
        "html_url": f"{url}/{it.full_name}/{kind}/{found.number}",
        "user": answers.user(url, found.author),
        "labels": [{"name": name} for name in found.labels],
        "assignee": None,
        "assignees": [answers.user(url, login) for login in found.assignees],
        "closed_at": None,
        "milestone": None,
    }
    if is_pull:
        said["pull_request"] = {"url": "", "html_url": "", "diff_url": "", "patch_url": ""}
    return said


def written(url: str, repository: Hosted, it: Written) -> Fields:
    """Of a comment."""
    page = f"{url}/{repository.full_name}/issues/{it.number}"
    said: Fields = {
        "id": it.id,
        "body": it.body,
        "user": answers.user(url, it.author),
        "html_url": f"{page}#issuecomment-{it.id}",
        "created_at": answers.time_of(it.at),
        "updated_at": answers.time_of(it.at),
    }
    if it.path is None:
        return said
    said |= {
        "path": it.path,
        "line": it.line,
        "side": it.side,
        "diff_hunk": it.hunk,
        "commit_id": it.commit,
        "original_commit_id": it.commit,
        "pull_request_review_id": it.review,
        "pull_request_url": f"{url}/api/v3/repos/{repository.full_name}/pulls/{it.number}",
        "html_url": f"{url}/{repository.full_name}/pull/{it.number}#discussion_r{it.id}",
    }
    return said if it.answers is None else {**said, "in_reply_to_id": it.answers}


def changed_files(repository: Hosted, pull: Pull) -> list[Fields]:
    """Of a pull request, as git sees them."""
    done = subprocess.run(
        ["git", f"--git-dir={repository.path}", "diff", "--no-renames", f"{pull.base}...{pull.last_head}"],
        check=True,
        capture_output=True,
        text=True,
    )
    parts = [part for part in re.split(r"^(?=diff --git )", done.stdout, flags=re.MULTILINE) if part]
    return [_changed_file(part) for part in parts]


def _changed_file(part: str) -> Fields:
    name = _FILE.match(part)
    assert name is not None, part
    patch = part[part.find("@@") :].rstrip("\n") if "@@" in part else ""
    lines = patch.splitlines()
    added, removed = (sum(line.startswith(sign) for line in lines) for sign in "+-")
    kinds = {"\nnew file": "added", "\ndeleted file": "removed"}
    status = next((word for mark, word in kinds.items() if mark in part), "modified")
    return {
        "filename": name[1],
        "status": status,
        "additions": added,
        "deletions": removed,
        "changes": added + removed,
        **({"patch": patch} if patch else {}),
    }


def _add(repository: Hosted, found: Issue | Pull, body: Any, caller: Caller) -> Written:
    _check_open_to(found, repository, caller, "create")
    _check(body["body"])
    return repository.write(found.number, caller.login, body["body"])


def _check_open_to(found: Issue | Pull, repository: Hosted, caller: Caller, what: str) -> None:
    """Where people are locked out, who may write goes on; apps do not."""
    if found.locked and (caller.app is not None or not caller.may_write(repository)):
        raise RefusedError(403, f"Unable to {what} comment because issue is locked.")


def _check(text: str) -> None:
    if not text.strip() or len(text) > MOST_COMMENT:
        said = f"body is too long (maximum is {MOST_COMMENT} characters)" if text.strip() else "body can't be blank"
        raise RefusedError(422, "Validation Failed", [{"resource": "IssueComment", "code": "custom", "message": said}])


def _thing(repository: Hosted, number: int) -> Issue | Pull:
    found = repository.pulls.get(number) or repository.issues.get(number)
    if found is None:
        raise RefusedError(404, "Not Found")
    return found


def _written(repository: Hosted, called: Called) -> Written:
    found = repository.written.get(int(called.values["comment_id"]))
    if found is None:
        raise RefusedError(404, "Not Found")
    return found


def _page(called: Called, found: list[Any]) -> list[Any]:
    size, page = int(called.query.get("per_page", "30")), int(called.query.get("page", "1"))
    return found[(page - 1) * size : page * size]
