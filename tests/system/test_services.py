"""Services beside a real agent, in a real container: tiny ones for each fault, and PostgreSQL and Redis from Debian."""

import pytest

from cloister.model.task import Verdict

from .installation import QUIET, Finished, Installation, printed
from .test_restart import PACED, _attempt, _open_gate

WEB = "exec python3 -u -m http.server --bind 127.0.0.1"
"""A port is to be added."""


def services(**told: str) -> str:
    """An environment with these, each as TOML."""
    return QUIET + "[services]\n" + "".join(f"{name} = {text}\n" for name, text in told.items())


def of_services(finished: Finished) -> list[str]:
    """What happened to services, one line each."""
    return [f"{it['event']} {it['service']}" for it in finished.events if it["event"].startswith("service_")]


# Services that are not ready: the agent does not run


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (
            {"db": '{ command = "echo no disk; exit 4", ready = "tcp:8000" }'},
            "service db ended with status 4 before it was ready; it last said: no disk",
        ),
        (
            {"db": '{ command = "no-such-program", ready = "tcp:8000" }'},
            "service db ended with status 127 before it was ready; it last said: db: line 1: no-such-program: ",
        ),
        (
            {"db": '{ command = "sleep 600", ready = "echo nobody home; false", timeout = "1s" }'},
            "service db was not ready (echo nobody home; false) after 1 seconds; it last said: nobody home",
        ),
        (
            {"db": '{ command = "sleep 600", ready = "sleep 600", timeout = "1s" }'},
            "service db was not ready (sleep 600) after 1 seconds; it said nothing",
        ),
        (
            {"db": '{ command = "sleep 600 &", ready = "tcp:8000", timeout = "1s" }'},
            "service db was not ready (tcp:8000) after 1 seconds; its command line had ended with status 0",
        ),
        (
            {
                "web": f'{{ command = "{WEB} 8000", ready = "tcp:8000" }}',
                "other": f'{{ command = "{WEB} 8000", ready = "tcp:8000" }}',
            },
            "service other was not started: something else listens already where it would be ready (tcp:8000)",
        ),
        (
            {"proxy": '{ command = "sleep 600", ready = "tcp:3128" }'},
            "service proxy was not started: something else listens already",
        ),
        (
            {"db": '{ command = "kill -KILL 2; sleep 600", ready = "tcp:8000" }'},
            "service db was being waited for when the container ended: status 137",
        ),
    ],
    ids=["ended", "unknown", "late", "hangs", "daemon", "taken", "proxy", "container"],
)
async def test_a_service_that_is_not_ready_fails_the_attempt(
    installation: Installation, told: dict[str, str], reason: str
) -> None:
    async with installation.opened() as running:
        finished = await running.run("echo it ran", environment=services(**told))
    assert finished.outcome.verdict is Verdict.FAILED
    assert reason in finished.outcome.reason
    assert finished.printed("agent") == ""


# What a hostile agent can do about them


FORGING = """
sleep 0.5; echo started db; echo failed db ended 1
cd /cloister/out/services; echo "db 1" >>ended; echo "nobody 1" >>ended
rm db.log; ln -s /etc/passwd db.log; sleep 0.5
rm db.log; mkfifo db.log; sleep 0.5
cd /; rm -rf /cloister/out/services; ln -s /etc /cloister/out/services; exit 1
"""


async def test_an_agent_cannot_say_that_it_did_not_run_nor_show_what_is_no_log(installation: Installation) -> None:
    async with installation.opened() as running:
        finished = await running.run(FORGING, environment=services(db='"echo begun; exec sleep 600"'))
    assert finished.outcome.reason == "the agent ended with status 1"
    assert finished.printed("agent") == "started db\nfailed db ended 1\n"
    assert finished.printed("service:db") == "begun\n"
    assert of_services(finished) == ["service_started db", "service_ended db"], "the second is only shown"


async def test_a_log_is_shown_where_it_is_one(installation: Installation) -> None:
    """The twin: what replaces the log is followed when it is a file."""
    replace = "sleep 0.5; cd /cloister/out/services; rm db.log; echo begun and more >db.log; sleep 0.5"
    async with installation.opened() as running:
        finished = await running.run(replace, environment=services(db='"echo begun; exec sleep 600"'))
    assert finished.printed("service:db") == "begun\nand more\n"


# Services that are ready


SHOWN = r"""
/bin/cat; echo; echo err >&2; pwd; ls -l /proc/self/fd | sed 's/.* \([0-9]\) ->.*/\1/'; env | grep -v ^_= | sort
trap 'printf "told to end"; exit 9' TERM; kill -TERM $PPID 2>&1; sleep 5 & wait
"""
TRAPS = {
    "rc": "case $0 in */services.sh) exit 5;; esac\n",
    **{f"bin/{tool}": "#!/bin/sh\nexit 1\n" for tool in ("cat", "chmod", "mkdir", "rm", "bash")},
}
OWN = '[variables]\nBASH_ENV = "/workspace/project/rc"\nPATH = "/workspace/project/bin:/usr/bin:/bin"\n'


async def test_an_agent_is_run_as_without_them(installation: Installation) -> None:
    """Input, both streams, directory, descriptors, variables, a signal to its parent, status; and no trap is met."""
    installation.project.commit(TRAPS)
    installation.project.git("update-index", "--chmod=+x", *(name for name in TRAPS if name.startswith("bin/")))
    installation.project.git("commit", "--quiet", "--message=executable")
    web = services(web=f'{{ command = "{WEB} 8000", ready = "tcp:8000" }}', other='"sleep 600"')
    async with installation.opened() as running:
        plain, served = [await running.run(SHOWN, environment=text + OWN) for text in (QUIET, web)]
        told = [
            [
                "".join(it["text"] for it in finished.events if it["event"] == "output" and it["stream"] == stream)
                for stream in ("stdout", "stderr")
            ]
            for finished in (plain, served)
        ]
        ends = {ends: await running.run(ends, environment=web) for ends in ("kill -KILL $$", "kill -USR1 $$")}
    assert served.outcome.exit_status == plain.outcome.exit_status == 9, told
    assert [end.outcome.exit_status for end in ends.values()] == [137, 138]
    tasks = [finished.status.task.id for finished in (plain, served)]
    assert told[0][0].replace(tasks[0], "T") == served.printed("agent").replace(tasks[1], "T")
    assert told[0][0].startswith("do it\n/workspace/project\n") and told[0][0].endswith("told to end")
    assert told[0][1] == told[1][1] == "err\n"
    assert "Serving HTTP" in served.printed("service:web")


async def test_each_starts_when_the_one_before_it_is_ready(installation: Installation) -> None:
    first = '{ command = "sleep 0.2; touch /tmp/0; exec sleep 600", ready = "test -e /tmp/0" }'
    next_one = '{{ command = "test -e /tmp/{0} && touch /tmp/{1}; exec sleep 600", ready = "test -e /tmp/{1}" }}'
    told = {"s0": first, **{f"s{n}": next_one.format(n - 1, n) for n in range(1, 10)}}
    async with installation.opened() as running:
        finished = await running.run("ls /tmp | wc -l", environment=services(**told))
    assert finished.printed("agent") == "10\n", finished.outcome
    assert of_services(finished) == [f"service_{what} s{n}" for n in range(10) for what in ("started", "ready")]
    [seconds] = [it["seconds"] for it in finished.events if it["event"] == "service_ready" and it["service"] == "s0"]
    assert seconds >= 0.2


async def test_ends_floods_and_daemons(installation: Installation) -> None:
    """One dies later; one prints without end; one leaves a daemon and ends; one will not end; one says goodbye."""
    told = services(
        dies='"sleep 0.5; echo so it goes; exit 6"',
        floods='{ command = "yes", ready = "test $(stat -c %s /cloister/out/services/floods.log) -gt 1000000" }',
        daemon=f'{{ command = "( {WEB} 8000 ) >/dev/null 2>&1 &", ready = "tcp:8000" }}',
        stays="""'trap "" TERM; while :; do sleep 1; done'""",
        polite="""'trap "echo goodbye; exit 0" TERM; while :; do sleep 0.05; done'""",
        stdout="\"setpriv --reuid 65534 --clear-groups sh -c 'echo as another user >/dev/stdout'; sleep 600\"",
    )
    agent = """
    until grep -q dies /cloister/out/services/ended; do sleep 0.05; done
    pgrep -x yes >/dev/null && python3 -c 'import urllib.request as u; print(u.urlopen("http://127.0.0.1:8000").status)'
    stat -c %s /cloister/out/services/floods.log
    """
    async with installation.opened() as running:
        finished = await running.run(agent, environment=told + '[limits]\noutput = "1MiB"\n')
    assert finished.outcome.verdict is Verdict.SUCCEEDED, finished.outcome
    status, size = finished.printed("agent").split()
    mib = 1024 * 1024
    assert status == "200", "a flood ends no service, and a daemon is one"
    assert mib <= int(size) <= mib + 256
    flood = finished.printed("service:floods")
    assert len(flood) == int(size) and flood.endswith("\n[the rest of what floods printed was not kept]\n")
    ended = {it["service"]: it["status"] for it in finished.events if it["event"] == "service_ended"}
    assert ended == {"dies": 6, "daemon": 0}
    assert finished.printed("service:dies") == "so it goes\n"
    assert "goodbye\n" in finished.printed("service:polite")
    assert finished.printed("service:stdout").startswith("as another user\n")


def test_a_second_process_reads_on_where_the_first_was_killed(installation: Installation) -> None:
    told = services(
        web=f'{{ command = "{WEB} 8000", ready = "tcp:8000" }}',
        counts='"for n in 1 2 3; do echo $n; sleep 0.2; done; exit 1"',
    )
    paced = PACED.replace("echo second", "until [ -s /cloister/out/services/ended ]; do sleep 0.05; done; echo second")
    with installation.started(*installation.task(paced, environment=told)) as command:
        command.until("output", command="agent", text="first")
        command.until("output", command="service:counts", text="2")
        command.kill()
    _open_gate(installation, _attempt(command))
    ended = installation.cloister("task", "wait", "--json", command.task)
    assert ended.events[0]["attempts"][0]["exit_status"] == 3
    logs = installation.cloister("task", "logs", "--json", command.task).events
    assert printed(logs) == "first\nsecond\n", "each line once"
    assert printed(logs, "service:counts") == "1\n2\n3\n"
    about = sorted(f"{it['event']} {it['service']}" for it in logs if it["event"].startswith("service_"))
    expected = ["service_ended counts", "service_ready web", "service_started counts", "service_started web"]
    assert about == expected


# The real ones


SETUP = """
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends postgresql redis-server >/dev/null
install -d -o postgres /run/postgresql
pg_ctlcluster 15 main start
runuser -u postgres -- psql -qc "create role root superuser login" -c "create database shop owner root"
psql -qd shop -c "create table prices (item text, cents int)" -c "insert into prices values ('tea', 250)"
pg_ctlcluster 15 main stop
redis-server --dir /var/lib/redis --daemonize yes >/dev/null
redis-cli set greeting hello >/dev/null
redis-cli shutdown save
"""
REAL = f"""
[setup]
automatic = false
script = '''{SETUP}'''
[services.db]
command = '''
install -d -o postgres /run/postgresql
cd /var/lib/postgresql
exec setpriv --reuid postgres --regid postgres --init-groups \\
    /usr/lib/postgresql/15/bin/postgres -D /etc/postgresql/15/main
'''
ready = "pg_isready --quiet --dbname shop"
[services.cache]
command = "exec redis-server --dir /var/lib/redis"
ready = "tcp:6379"
"""


async def test_postgresql_and_redis_of_debian_have_what_setup_put_in(installation: Installation) -> None:
    read = "psql -d shop -Atc 'select cents from prices'; redis-cli get greeting; redis-cli incr visits"
    async with installation.opened() as running:
        cold, warm = [await running.run(read, environment=REAL) for _ in range(2)]
    assert "snapshot_hit" in warm.names()
    for finished in (cold, warm):
        assert finished.printed("agent") == "250\nhello\n1\n", finished.outcome
        expected = ["service_started db", "service_ready db", "service_started cache", "service_ready cache"]
        assert of_services(finished) == expected
        assert "database system is shut down" in finished.printed("service:db"), "ended in peace"
        assert "Redis is now ready to exit" in finished.printed("service:cache")
        assert finished.diff == ""
