import json

from .conftest import Installation


def test_changes_are_told_of_without_their_values(installation: Installation) -> None:
    installation.run("secret", "set", "web", "KEY", stdin="hunter2")
    made = installation.run("token", "create", "ci").stdout.strip()
    done = installation.run("audit")
    first, second = done.stdout.splitlines()
    assert "owner" in first and "tokens_create" in first and "name=ci" in first
    assert "secrets_put" in second and "environment=web name=KEY" in second and "value" in second
    told = json.loads(installation.run("audit", "--json", "--limit", "1").stdout)
    assert [(entry["who"], entry["status"]) for entry in told] == [("owner", 201)]
    assert "hunter2" not in done.stdout + str(told) and made not in done.stdout + str(told)
    assert installation.run("audit", "--who", "bob").stdout == ""
    assert installation.run("audit", "--refused", "--action", "tokens").stdout == ""
    assert installation.run("audit", "--since", "soon").exit_code == 2
