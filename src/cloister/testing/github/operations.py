"""What each operation of the subset does, and when GitHub refuses it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Any

from cloister.testing.github import answers, checking
from cloister.testing.github.account import Accounts
from cloister.testing.github.description import Called
from cloister.testing.github.hosted import AppOnForge, Caller, Hosted, Pull
from cloister.testing.github.refusals import RefusedError
from cloister.testing.github.reviewing import post_review
from cloister.testing.github.threads import Threads

Answer = tuple[int, object]
MOST_BODY = 65536
_READY = "mutation($id: ID!) { markPullRequestReadyForReview(input: {pullRequestId: $id}) { pullRequest { isDraft } } }"
"""Characters of a pull request's text."""


class Operations:
    """Answers what is asked by whoever asks."""

    def __init__(self, accounts: Accounts, url: str) -> None:
        self._accounts = accounts
        self._url = url
        self.log_address = "{url}/_logs/{name}/{job}?sig=1"
        """Where logs are, each for a while."""
        self._known: Mapping[tuple[str, str], Callable[[Called, Any, Caller], Answer]] = {
            ("get", "/user"): self._user,
            ("get", "/users/{username}"): self._named_user,
            ("get", "/user/repos"): self._own_repositories,
            ("get", "/installation/repositories"): self._installed_repositories,
            ("get", "/repos/{owner}/{repo}"): self._repository,
            ("get", "/repos/{owner}/{repo}/branches"): self._branches,
            ("get", "/repos/{owner}/{repo}/branches/{branch}"): self._branch,
            ("get", "/repos/{owner}/{repo}/pulls"): self._pulls,
            ("post", "/repos/{owner}/{repo}/pulls"): self._open_pull,
            ("get", "/repos/{owner}/{repo}/pulls/{pull_number}"): self._pull,
            ("patch", "/repos/{owner}/{repo}/pulls/{pull_number}"): self._edit_pull,
            ("put", "/repos/{owner}/{repo}/pulls/{pull_number}/merge"): self._merge,
            ("post", "/repos/{owner}/{repo}/pulls/{pull_number}/reviews"): self._review,
            ("get", "/repos/{owner}/{repo}/pulls/{pull_number}/reviews"): self._reviews,
            ("post", "/repos/{owner}/{repo}/issues/{issue_number}/labels"): self._label,
            ("post", "/repos/{owner}/{repo}/issues/{issue_number}/assignees"): self._assign,
            **Threads(url=url, readable=self._readable).known,
            ("post", "/repos/{owner}/{repo}/check-runs"): self._create_run,
            ("get", "/repos/{owner}/{repo}/check-runs/{check_run_id}"): self._run,
            ("patch", "/repos/{owner}/{repo}/check-runs/{check_run_id}"): self._update_run,
            ("get", "/repos/{owner}/{repo}/check-runs/{check_run_id}/annotations"): self._annotations,
            ("get", "/repos/{owner}/{repo}/actions/jobs/{job_id}/logs"): self._job_log,
            ("get", "/repos/{owner}/{repo}/commits/{ref}/check-runs"): self._runs,
            ("post", "/repos/{owner}/{repo}/statuses/{sha}"): self._status,
        }

    def answer(self, called: Called, body: Any, caller: Caller) -> Answer:
        """Do it. RefusedError."""
        return self._known[called.method, called.path](called, body, caller)

    def answer_app(self, called: Called, body: Any, app: AppOnForge) -> Answer:
        """Do what only an app by itself may ask. RefusedError."""
        match called.method, called.path:
            case "get", "/app":
                return 200, answers.app(self._url, app)
            case "get", "/app/hook/config":
                if app.hook.url is None:
                    raise RefusedError(404, "Not Found")
                secret = {"secret": "********"} if app.hook.secret else {}
                return 200, {"url": app.hook.url, "content_type": "json", "insecure_ssl": "0", **secret}
            case "get", "/app/hook/deliveries":
                return 200, answers.deliveries(self._accounts.deliveries.get(app.id, []))
            case "get", "/app/installations":
                return 200, [answers.installation(self._url, it) for it in self._accounts.installed(app)]
            case "get", "/repos/{owner}/{repo}/installation":
                repository = self._find(called)
                if not self._accounts.installed(app) or repository.owner != app.owner:
                    raise RefusedError(404, "Not Found")
                return 200, answers.installation(self._url, app)
            case "post", "/app/installations/{installation_id}/access_tokens":
                if not self._accounts.installed(app) or called.values["installation_id"] != str(app.installation):
                    raise RefusedError(404, "Not Found")
                return 201, self._token(app, body or {})
            case _:
                raise RefusedError(403, "Resource not accessible by integration")

    def _token(self, app: AppOnForge, body: Mapping[str, Any]) -> object:
        wanted = body.get("permissions", app.permissions)
        for key, value in wanted.items():
            if app.permissions.get(key) not in (value, "write"):
                raise RefusedError(422, "The permissions requested are not granted to this installation.")
        names = body.get("repositories")
        if names is not None and any(self._accounts.find(f"{app.owner}/{name}") is None for name in names):
            raise RefusedError(422, "There is at least one repository that does not exist or is not accessible")
        token = f"ghs_{token_hex(18)}"
        expires_at = datetime.now(UTC) + timedelta(hours=1)
        only = None if names is None else frozenset(names)
        self._accounts.add_installation_token(token, replace(app, permissions=wanted), expires_at, only)
        return {"token": token, "expires_at": answers.time_of(expires_at)}

    def _user(self, _: Called, __: Any, caller: Caller) -> Answer:
        if caller.app is not None:
            raise RefusedError(403, "Resource not accessible by integration")
        return 200, answers.user(self._url, caller.login)

    def _named_user(self, called: Called, _: Any, __: Caller) -> Answer:
        return 200, answers.user(self._url, called.values["username"])

    def _own_repositories(self, called: Called, _: Any, caller: Caller) -> Answer:
        found = [it for it in self._accounts.repositories if caller.login in it.writers | it.readers]
        return 200, [answers.repository(self._url, it, caller) for it in _page(called, found)]

    def _installed_repositories(self, called: Called, _: Any, caller: Caller) -> Answer:
        if caller.app is None:
            raise RefusedError(403, "You must authenticate with an installation access token")
        found = [it for it in self._accounts.repositories if it.owner == caller.app.owner]
        shown = [answers.repository(self._url, it, caller) for it in _page(called, found)]
        return 200, {"total_count": len(found), "repositories": shown}

    def _repository(self, called: Called, _: Any, caller: Caller) -> Answer:
        return 200, answers.repository(self._url, self._readable(called, caller), caller)

    def _branches(self, called: Called, _: Any, caller: Caller) -> Answer:
        repository = self._readable(called, caller)
        found = list(repository.branches().items())
        return 200, [answers.branch(repository, name, commit) for name, commit in _page(called, found)]

    def _branch(self, called: Called, _: Any, caller: Caller) -> Answer:
        repository = self._readable(called, caller)
        name = called.values["branch"]
        commit = repository.find_commit(name)
        if commit is None:
            raise RefusedError(404, "Branch not found")
        return 200, answers.branch(repository, name, commit)

    def _pulls(self, called: Called, _: Any, caller: Caller) -> Answer:
        repository, query = self._readable(called, caller), called.query
        state, head = query.get("state", "open"), query.get("head")
        found = [
            pull
            for pull in repository.pulls.values()
            if state in ("all", pull.state) and head in (None, f"{repository.owner}:{pull.head}")
        ]
        shown = _page(called, sorted(found, key=lambda pull: -pull.number))
        return 200, [answers.pull_request(self._url, repository, pull, whole=False) for pull in shown]

    def _open_pull(self, called: Called, body: Any, caller: Caller) -> Answer:
        repository = self._writable(called, caller)
        head, base = str(body["head"]).removeprefix(f"{repository.owner}:"), body["base"]
        commits = {name: repository.find_commit(name) for name in (head, base)}
        for field, name in (("head", head), ("base", base)):
            if commits[name] is None:
                raise _invalid({"resource": "PullRequest", "field": field, "code": "invalid"})
        if any(it.state == "open" and (it.head, it.base) == (head, base) for it in repository.pulls.values()):
            raise _failed(f"A pull request already exists for {repository.owner}:{head}.")
        if repository.git("rev-list", "--count", f"{commits[base]}..{commits[head]}") == "0":
            raise _failed(f"No commits between {base} and {head}")
        _check_texts(body)
        number = repository.next_number()
        pull = Pull(
            number=number,
            title=body["title"],
            body=body.get("body"),
            head=head,
            base=base,
            author=caller.login,
            draft=body.get("draft", False),
            last_head=str(commits[head]),
        )
        repository.pulls[number] = pull
        return 201, answers.pull_request(self._url, repository, pull, whole=True)

    def _pull(self, called: Called, _: Any, caller: Caller) -> Answer:
        repository = self._readable(called, caller)
        return 200, answers.pull_request(self._url, repository, _pull_of(repository, called), whole=True)

    def _edit_pull(self, called: Called, body: Any, caller: Caller) -> Answer:
        repository = self._writable(called, caller)
        pull = _pull_of(repository, called)
        _check_texts(body)
        if body.get("state") == "open" and pull.state == "closed":
            if pull.merged_at is not None or repository.find_commit(pull.head) is None:
                raise _failed("state cannot be changed.")
            pull.state = "open"
            repository.follow_branches()
        pull.state = body.get("state", pull.state)
        pull.title, pull.body = body.get("title", pull.title), body.get("body", pull.body)
        pull.base = body.get("base", pull.base)
        return 200, answers.pull_request(self._url, repository, pull, whole=True)

    def _merge(self, called: Called, body: Any, caller: Caller) -> Answer:
        repository = self._writable(called, caller)
        pull = _pull_of(repository, called)
        if pull.state != "open" or pull.draft:
            raise RefusedError(405, "Pull Request is not mergeable")
        if (body or {}).get("sha", pull.last_head) != pull.last_head:
            raise RefusedError(409, "Head branch was modified. Review and try the merge again.")
        commit = repository.merge(pull, squash=(body or {}).get("merge_method") == "squash")
        if commit is None:
            raise RefusedError(405, "Pull Request has merge conflicts")
        return 200, {"sha": commit, "merged": True, "message": "Pull Request successfully merged"}

    def _review(self, called: Called, body: Any, caller: Caller) -> Answer:
        repository = self._readable(called, caller)
        return 200, post_review(self._url, repository, _pull_of(repository, called), body or {}, caller)

    def _reviews(self, called: Called, _: Any, caller: Caller) -> Answer:
        repository = self._readable(called, caller)
        pull = _pull_of(repository, called)
        shown = _page(called, [it for it in pull.reviews if it.state != "PENDING"])
        return 200, [answers.review(self._url, repository, pull, it) for it in shown]

    def _create_run(self, called: Called, body: Any, caller: Caller) -> Answer:
        return 201, checking.create_run(self._url, self._readable(called, caller), body, caller)

    def _update_run(self, called: Called, body: Any, caller: Caller) -> Answer:
        number = int(called.values["check_run_id"])
        return 200, checking.update_run(self._url, self._readable(called, caller), number, body, caller)

    def _run(self, called: Called, _: Any, caller: Caller) -> Answer:
        repository = self._readable(called, caller)
        run = repository.runs.get(int(called.values["check_run_id"]))
        if run is None:
            raise RefusedError(404, "Not Found")
        return 200, checking.run_to_fields(self._url, repository, run)

    def _annotations(self, called: Called, _: Any, caller: Caller) -> Answer:
        run = self._readable(called, caller).runs[int(called.values["check_run_id"])]
        return 200, [{"raw_details": None, **it} for it in _page(called, run.annotations)]

    def _job_log(self, called: Called, _: Any, caller: Caller) -> Answer:
        repository = self._readable(called, caller)
        if caller.app is not None and caller.app.permissions.get("actions") not in ("read", "write"):
            raise RefusedError(403, "Resource not accessible by integration")
        run = repository.runs.get(int(called.values["job_id"]))
        if run is None or run.log is None:
            raise RefusedError(404, "Not Found")
        return 302, self.log_address.format(url=self._url, name=repository.full_name, job=run.id)

    def _runs(self, called: Called, _: Any, caller: Caller) -> Answer:
        repository = self._readable(called, caller)
        wanted = (called.values["ref"], called.query.get("check_name"))
        found = [it for it in repository.runs.values() if it.head == wanted[0] and wanted[1] in (None, it.name)]
        shown = [checking.run_to_fields(self._url, repository, it) for it in _page(called, found)]
        return 200, {"total_count": len(found), "check_runs": shown}

    def _status(self, called: Called, body: Any, caller: Caller) -> Answer:
        return 201, checking.create_status(self._readable(called, caller), called.values["sha"], body, caller)

    def _label(self, called: Called, body: Any, caller: Caller) -> Answer:
        repository = self._writable(called, caller)
        pull = repository.pulls.get(int(called.values["issue_number"]))
        if pull is None:
            raise RefusedError(404, "Not Found")
        given = body["labels"] if isinstance(body, dict) else body
        names = [each["name"] if isinstance(each, dict) else each for each in given]
        repository.labels.update(names)
        pull.labels += [name for name in names if name not in pull.labels]
        return 200, [{"name": name} for name in pull.labels]

    def _assign(self, called: Called, body: Any, caller: Caller) -> Answer:
        """Give it to those who may have it; the others are left out without a word, as GitHub says of itself."""
        repository = self._writable(called, caller)
        pull = repository.pulls.get(int(called.values["issue_number"]))
        if pull is None:
            raise RefusedError(404, "Not Found")
        may = repository.writers | repository.readers
        pull.assignees += [name for name in body.get("assignees", ()) if name in may and name not in pull.assignees]
        said = answers.pull_request(self._url, repository, pull, whole=False)
        return 201, {key: said[key] for key in ("number", "title", "body", "state", "html_url", "assignees", "node_id")}

    def make_ready(self, query: str, variables: Mapping[str, Any], caller: Caller) -> Mapping[str, Any]:
        """Do the one thing that GraphQL is asked for; see `MarkPullRequestReadyForReviewInput` of its schema."""
        if " ".join(query.split()) != _READY or set(variables) != {"id"}:
            return {"errors": [{"type": "undefinedField", "message": "no such query is known here"}]}
        for repository in self._accounts.repositories:
            for pull in repository.pulls.values():
                if answers.node_of(repository, pull) == variables["id"] and caller.may_read(repository):
                    if not caller.may_write(repository):
                        return {"data": None, "errors": [{"type": "FORBIDDEN", "message": f"{caller.login} may not"}]}
                    pull.draft = False
                    data = {"markPullRequestReadyForReview": {"pullRequest": {"isDraft": False}}}
                    return {"data": data}
        return {"data": None, "errors": [{"type": "NOT_FOUND", "message": "Could not resolve to a node"}]}

    def _find(self, called: Called) -> Hosted:
        found = self._accounts.find(f"{called.values['owner']}/{called.values['repo']}")
        if found is None:
            raise RefusedError(404, "Not Found")
        return found

    def _readable(self, called: Called, caller: Caller) -> Hosted:
        repository = self._find(called)
        if not caller.may_read(repository):
            raise RefusedError(404, "Not Found")
        return repository

    def _writable(self, called: Called, caller: Caller) -> Hosted:
        repository = self._readable(called, caller)
        if not caller.may_write(repository):
            raise RefusedError(403, "Resource not accessible by personal access token")
        return repository


def _page(called: Called, found: list[Any]) -> list[Any]:
    size, page = int(called.query.get("per_page", "30")), int(called.query.get("page", "1"))
    return found[(page - 1) * size : page * size]


def _pull_of(repository: Hosted, called: Called) -> Pull:
    pull = repository.pulls.get(int(called.values["pull_number"]))
    if pull is None:
        raise RefusedError(404, "Not Found")
    return pull


def _check_texts(body: Mapping[str, Any]) -> None:
    if len(body.get("body") or "") > MOST_BODY:
        raise _failed(f"body is too long (maximum is {MOST_BODY} characters)")
    if len(body.get("title") or "") > 256:
        raise _failed("title is too long (maximum is 256 characters)")


def _failed(message: str) -> RefusedError:
    return _invalid({"resource": "PullRequest", "code": "custom", "message": message})


def _invalid(error: object) -> RefusedError:
    return RefusedError(422, "Validation Failed", [error])
