import re
import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.environment_file import environment_from_options, read_environment
from cloister.environment_schema import EnvironmentTable, languages
from cloister.errors import EnvironmentFileError, UsageError
from cloister.model.environment import Check, Environment, Limits, NetworkRecipe, ReviewRecipe, Service, SetupRecipe
from cloister.model.network import Audit, NetworkMode
from cloister.model.secret import SecretMode, SecretUse

WHOLE = """\
name = "web"
image = "base"
agent = "codex"
[versions]
python = "3.11"
[variables]
DATABASE_URL = "sqlite:///dev.db"
[secrets]
NPM_TOKEN = { mode = "setup" }
GH_PAT    = { mode = "brokered", hosts = ["api.github.com"], header = "Authorization", format = "Bearer {}" }
[setup]
automatic = true
script = "pip install -e .[test]"
maintenance = "pip install -e .[test] -q"
timeout = "20m"
residue = "scrub"
[services]
db = { command = "postgres -D /var/lib/pg", ready = "tcp:5432", timeout = "2m" }
cache = "redis-server"
[network]
setup = "limited"
agent = "off"
allow = ["Example.com.", "example.com", "xn--bcher-kva.example"]
deny = ["Uploads.example.com", "github.io"]
methods = ["GET", "HEAD", "OPTIONS"]
audit = "full"
ports = [80, 443]
[limits]
cpu = 0.5
memory = "512MiB"
disk = "10GiB"
inodes = 50_000
pids = 100
output = "5MB"
time = "1h30m"
rounds = 0
[checks]
lint = "ruff check ."
test = { command = "pytest -q", timeout = "90s" }
[cache]
ttl = "2d"
[review]
automatic = true
"""


def read(text: str) -> Environment:
    return read_environment(text.encode(), source="env.toml", default_name="/srv/project")


def refusal(text: str) -> str:
    with pytest.raises(EnvironmentFileError) as caught:
        read(text)
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "web"\nimage =\n', "env.toml, line 2, column 8: not TOML"),
        ('a = """', "env.toml: not TOML"),
        ("[[setup]]\n", "env.toml, line 1: `setup`: must be a table, not a list"),
        ('name = "x"\nname = "y"\n', "env.toml, line 2"),
        ('nmae = "web"\n', "env.toml, line 1: unknown key `nmae`; did you mean `name`?"),
        ("[limits]\n\n# none\nmemroy = 3\n", "env.toml, line 4: unknown key `limits.memroy`; did you mean `memory`?"),
        ("limits.cup = 3\n", "env.toml, line 1: unknown key `limits.cup`; did you mean `cpu`?"),
        ("[limit]\ncpu = 1\n", "env.toml, line 1: unknown key `limit`; did you mean `limits`?"),
        ('[review]\nqqq = "x"\n', "unknown key `review.qqq`; known here: automatic"),
        ('[checks]\nt = { command = "x", timout = "1m" }\n', "unknown key `checks.t.timout`; did you mean `timeout`?"),
        ("[versions]\ncobol = '1'\n", "unknown key `versions.cobol`"),
        (
            "[versions]\npython = 3.11\n",
            '`versions.python`: must be a string, not a float; for example `python = "3.12"`',
        ),
        ("[limits]\ncpu = true\n", "`limits.cpu`: must be a number, not a boolean; for example `cpu = 2.0`"),
        ('[limits]\npids = "10"\n', "`limits.pids`: must be an integer, not a string; for example `pids = 2048`"),
        ("[limits]\npids = 10.5\n", "`limits.pids`: must be an integer, not a float"),
        ("[setup]\nautomatic = 1\n", "`setup.automatic`: must be a boolean, not an integer"),
        ("[setup]\nscript = ['a']\n", "`setup.script`: must be a string, not a list"),
        ("[network]\nallow = 'example.com'\n", "`network.allow`: must be a list"),
        ("[services]\ndb = 3\n", "`services.db`: must be a table, not an integer"),
        ("[limits]\ncpu = 0\n", "`limits.cpu`: must be greater than or equal to 0.01"),
        ("[limits]\ncpu = -1.0\n", "`limits.cpu`"),
        ("[limits]\ncpu = nan\n", "`limits.cpu`"),
        ("[limits]\ncpu = inf\n", "`limits.cpu`"),
        ("[limits]\npids = 0\n", "`limits.pids`"),
        ("[limits]\nrounds = -1\n", "`limits.rounds`"),
        ('[limits]\nmemory = "15MiB"\n', "`limits.memory`: must be 16 MiB to"),
        ('[limits]\nmemory = "0GiB"\n', "`limits.memory`: must be 16 MiB to"),
        ('[limits]\nmemory = "-4GiB"\n', '`limits.memory`: must be a size with its unit, such as "512MiB"'),
        ("[limits]\nmemory = 4\n", '`limits.memory`: must be a size in quotes, with its unit, such as "4GiB"'),
        ('[limits]\nmemory = "4g"\n', "`limits.memory`: must be a size with its unit"),
        ('[limits]\ndisk = "1KiB"\n', "`limits.disk`"),
        ("[limits]\ninodes = 10\n", "`limits.inodes`"),
        ('[limits]\noutput = "0B"\n', "`limits.output`"),
        ('[limits]\ntime = "366d"\n', "`limits.time`: must be longer than nothing and at most a year"),
        ('[limits]\ntime = "0s"\n', "`limits.time`: must be longer than nothing"),
        ('[limits]\ntime = "soon"\n', "`limits.time`: must be a duration, such as"),
        ("[limits]\ntime = 3600\n", '`limits.time`: must be a duration in quotes, with its unit, such as "20m"'),
        ('[setup]\ntimeout = "-1m"\n', "`setup.timeout`: must be a duration"),
        ('[cache]\nttl = "1w"\n', "`cache.ttl`: must be a duration"),
        ('[variables]\n9LIVES = "x"\n', "env.toml, line 2: `variables.9LIVES`: '9LIVES' is not a variable name"),
        ('[variables]\n"A=B" = "x"\n', "is not a variable name"),
        ('[variables]\n"" = "x"\n', "is not a variable name"),
        ('[variables]\n"A\\n" = "x"\n', "is not a variable name"),
        ('[variables]\n"Ä" = "x"\n', "is not a variable name"),
        ('[variables]\nCLOISTER_TASK = "x"\n', "'CLOISTER_TASK' is set by Cloister or the system"),
        ('[variables]\nhttps_proxy = "x"\n', "'https_proxy' is set by Cloister"),
        ('[variables]\nNo_Proxy = "x"\n', "'No_Proxy' is set by Cloister"),
        ('[variables]\nHOME = "/"\n', "'HOME' is set by Cloister"),
        ('[variables]\nSSL_CERT_FILE = "/x"\n', "'SSL_CERT_FILE' is set by Cloister"),
        ("[variables]\nPORT = 80\n", "`variables.PORT`: must be a string, not an integer"),
        ('[variables]\nA = "a\\u0000b"\n', "without NUL"),
        ('[secrets]\nTOKEN = "hunter2"\n', "`secrets.TOKEN`: holds no value here"),
        ("[secrets]\nLD_PRELOAD = {}\n", "'LD_PRELOAD' is set by"),
        ("[secrets]\nPATH = {}\n", "'PATH' is set by"),
        ('[variables]\nA = "x"\n[secrets]\nA = {}\n', "env.toml, line 2: A is both in [variables] and in [secrets]"),
        ('[secrets]\nA = { mode = "agent" }\n', "`secrets.A.mode`: must be 'setup' or 'brokered'"),
        (
            '[secrets]\nA = { hosts = ["a.example"] }\n',
            "secret A has hosts, header, format, query, methods or paths, which need mode",
        ),
        (
            '[secrets]\nA = { mode = "brokered", hosts = ["127.1"], header = "X" }\n',
            "secret A names a host that cannot be one",
        ),
        (
            '[secrets]\nA = { mode = "brokered", hosts = ["a.example"], header = "X", format = "Bearer" }\n',
            "exactly one {}",
        ),
        (
            '[secrets]\nA = { mode = "brokered", hosts = ["a.example"], header = "X: y\\r\\nZ" }\n',
            "secret A cannot be sent in the header",
        ),
        ('[network]\nagent = "on"\n', "`network.agent`: must be 'off', 'limited' or 'full'; for example `agent = "),
        ('[network]\nallow = ["com"]\n', "line 2: network.allow: 'com' is too broad"),
        ('[network]\nallow = ["co.uk"]\n', "network.allow: 'co.uk' is too broad"),
        ('[network]\nallow = ["github.io"]\n', "network.allow: 'github.io' is too broad"),
        ('[network]\nallow = ["*"]\n', "network.allow"),
        ('[network]\nallow = ["*.example.com"]\n', "network.allow"),
        ('[network]\nallow = ["https://example.com/"]\n', "network.allow"),
        ('[network]\nallow = ["127.0.0.1"]\n', "network.allow"),
        ('[network]\nallow = ["a_b.example"]\n', "network.allow"),
        ('[network]\nallow = ["preset:everything"]\n', "there is no preset:everything. The presets are:"),
        ("[network]\nports = [0]\n", "`network.ports`: must be greater than or equal to 1"),
        ("[network]\nports = [65536]\n", "`network.ports`"),
        ("[network]\nports = ['80']\n", "`network.ports`: must be an integer, not a string"),
        ("[network]\nports = []\n", "`network.ports`"),
        ("[network]\nmethods = ['get']\n", "'get' is not an HTTP method in capitals"),
        ("[network]\nmethods = ['GET /']\n", "'GET /' is not an HTTP method"),
        ("[network]\ndeny = ['*.example.com']\n", "patterns are not domains"),
        ("[network]\naudit = 'none'\n", "`network.audit`"),
        ("[network]\nmethods = []\n", "`network.methods`"),
        ('image = "../etc"\n', "`image`: must be an image: a name"),
        ('image = "Base Image"\n', "`image`"),
        ('image = "-v"\n', "`image`"),
        ('image = ""\n', "`image`"),
        ('name = ""\n', "`name`: must be 1 to 512 characters on one line"),
        ('name = "a\\nb"\n', "`name`"),
        ('agent = "rm -rf"\n', "`agent`"),
        ('[setup]\nscript = "  "\n', "`setup.script`: must not be empty; leave the key out"),
        ('[setup]\nresidue = "keep"\n', "`setup.residue`: must be 'refuse', 'scrub' or 'allow'"),
        ('[services]\n"a b" = "x"\n', "'a b' is not a name"),
        ('[services]\ndb = { ready = "tcp:1" }\n', "`services.db.command`: is missing; for example `command = "),
        ('[services]\ndb = { command = "x", ready = "tcp:70000" }\n', "a port is 1 to 65535"),
        ('[checks]\ntest = ""\n', "`checks.test.command`: must not be empty"),
        (
            '[versions]\npython = "3.11"\n[variables]\nCODEX_ENV_PYTHON_VERSION = "3.12"\n',
            "line 2: versions.python and CODEX_ENV_PYTHON_VERSION differ",
        ),
    ],
)
def test_refuses_and_says_where_and_why(text: str, message: str) -> None:
    assert message in refusal(text)


def test_every_problem_is_told_in_the_order_of_the_file() -> None:
    lines = refusal("[limits]\ncpu = 0\nx = 1\n[setup]\ny = 2\n").splitlines()
    assert [re.search(r"line (\d+)", line)[1] for line in lines] == ["2", "3", "5"]  # type: ignore[index]


def test_a_line_is_found_after_strings_that_look_like_keys() -> None:
    text = '[setup]\nscript = """\n[limits]\ncpu = 0\n"""\n[limits]\nallowed = [\n 1,\n 2]\ncpu = 0\n'
    assert "env.toml, line 10: `limits.cpu`" in refusal(text)


def test_a_refusal_shows_no_value() -> None:
    assert "hunter2" not in refusal('[secrets]\nTOKEN = "hunter2"\n')
    assert "hunter2" not in refusal('[secrets]\nTOKEN = ["hunter2"]\n')


def test_what_is_not_text_is_refused() -> None:
    with pytest.raises(EnvironmentFileError, match="byte 8 is not UTF-8"):
        read_environment(b'name = "\xff"', source="env.toml", default_name="x")


def test_what_is_too_large_or_too_deep_is_refused() -> None:
    assert "larger than 256 KiB" in refusal("#" * 300_000)
    assert "nested too deeply" in refusal("a = " + "[" * 100_000)


def test_the_whole_file() -> None:
    assert read(WHOLE) == Environment(
        name="web",
        image="base",
        agent="codex",
        versions={"python": "3.11"},
        variables={"DATABASE_URL": "sqlite:///dev.db"},
        secrets=(
            SecretUse(name="NPM_TOKEN", mode=SecretMode.SETUP),
            SecretUse(
                name="GH_PAT",
                mode=SecretMode.BROKERED,
                hosts=("api.github.com",),
                header="Authorization",
                format="Bearer {}",
            ),
        ),
        setup=SetupRecipe(
            script="pip install -e .[test]",
            maintenance="pip install -e .[test] -q",
            automatic=True,
            timeout_seconds=1200,
            residue="scrub",
        ),
        services=(
            Service(name="db", command="postgres -D /var/lib/pg", ready="tcp:5432", timeout_seconds=120.0),
            Service(name="cache", command="redis-server"),
        ),
        network=NetworkRecipe(
            setup=NetworkMode.LIMITED,
            agent=NetworkMode.OFF,
            allow=("example.com", "xn--bcher-kva.example"),
            methods=("GET", "HEAD", "OPTIONS"),
            ports=(80, 443),
            deny=("uploads.example.com", "github.io"),
            audit=Audit.FULL,
        ),
        limits=Limits(
            cpu=0.5,
            memory_bytes=512 * 1024**2,
            disk_bytes=10 * 1024**3,
            inodes=50_000,
            pids=100,
            output_bytes=5_000_000,
            time_seconds=5400,
            rounds=0,
        ),
        checks=(
            Check(name="lint", command="ruff check ."),
            Check(name="test", command="pytest -q", timeout_seconds=90),
        ),
        cache_ttl_seconds=2 * 86400,
        review=ReviewRecipe(automatic=True),
    )


def test_an_empty_file_is_the_defaults() -> None:
    assert read("") == Environment(name="/srv/project")


def test_a_preset_stands_for_its_domains() -> None:
    allowed = read('[network]\nallow = ["preset:common-dependencies", "example.com"]\n').network.allow
    assert "crates.io" in allowed
    assert allowed[-1] == "example.com"


@pytest.mark.parametrize("language", languages())
def test_versions_are_accepted_as_variables_too(language: str) -> None:
    environment = read(f'[variables]\nCODEX_ENV_{language.upper()}_VERSION = "1.2"\n')
    assert environment.versions == {language: "1.2"}


@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD", "TERM", "JAVA_TOOL_OPTIONS", "_", "a", "HTTP_PROXY_USER"])
def test_what_a_variable_breaks_is_the_tasks_own_business(name: str) -> None:
    assert name in read(f'[variables]\n{name} = "x"\n').variables


@pytest.mark.parametrize("image", ["base", "debian:12", "ghcr.io/a/b-c:v1", "localhost:5000/x@sha256:" + "0" * 64])
def test_images(image: str) -> None:
    assert read(f'image = "{image}"\n').image == image


@given(st.text())
def test_any_text_is_an_environment_or_a_refusal(text: str) -> None:
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return
    try:
        assert isinstance(read_environment(raw, source="env.toml", default_name="x"), Environment)
    except EnvironmentFileError as error:
        assert error.message.startswith("env.toml")


@given(
    st.sampled_from(tuple(EnvironmentTable.model_fields)), st.integers() | st.booleans() | st.floats(allow_nan=False)
)
def test_a_value_of_a_wrong_type_names_its_key(key: str, value: object) -> None:
    text = f"{key} = {str(value).lower()}\n"
    tomllib.loads(text)
    assert f"env.toml, line 1: `{key}`" in refusal(text)


def test_options_are_laid_over_the_file() -> None:
    file = read('[variables]\nA = "1"\nB = "2"\n[network]\nallow = ["a.example"]\n')
    laid = environment_from_options(
        file, variables={"B": "3", "C": ""}, internet=NetworkMode.LIMITED, allow=["B.example", "a.example"]
    )
    assert laid.variables == {"A": "1", "B": "3", "C": ""}
    assert laid.network == replace(file.network, agent=NetworkMode.LIMITED, allow=("a.example", "b.example"))
    assert file.variables == {"A": "1", "B": "2"}


def test_a_domain_to_allow_turns_an_agents_network_on() -> None:
    laid = environment_from_options(read(""), variables={}, allow=["a.example"])
    assert laid.network.agent is NetworkMode.LIMITED


@pytest.mark.parametrize("mode", [NetworkMode.OFF, NetworkMode.FULL])
def test_options_that_contradict_each_other_are_refused(mode: NetworkMode) -> None:
    with pytest.raises(UsageError, match=f"when the internet is {mode}"):
        environment_from_options(read(""), variables={}, internet=mode, allow=["a.example"])


@pytest.mark.parametrize("name", ["", "1A", "A B", "CLOISTER_X", "HTTPS_PROXY"])
def test_option_variables_are_names(name: str) -> None:
    with pytest.raises(UsageError):
        environment_from_options(read(""), variables={name: "x"})


def test_an_option_variable_is_no_secret() -> None:
    with pytest.raises(UsageError, match="TOKEN is a secret of environment"):
        environment_from_options(read("[secrets]\nTOKEN = {}\n"), variables={"TOKEN": "x"})


def test_an_option_version_replaces_the_files() -> None:
    laid = environment_from_options(
        read('[versions]\npython = "3.11"\n'), variables={"CODEX_ENV_PYTHON_VERSION": "3.12"}
    )
    assert laid.versions == {"python": "3.12"}
