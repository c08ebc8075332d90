"""File, then environment, then flags; a typo or a bad value stops the start with a sentence."""

import re
from pathlib import Path

import pytest

from penstock.core.errors import BadSetting
from penstock.core.spec import ModelSpec
from penstock.core.terms import Budget, KeyTerms
from penstock.settings import Settings, check_exposure, is_loopback, known, load, variable

HASH = "ab" * 32


def toml(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "penstock.toml"
    file.write_text(text)
    return file


def test_nothing_given_is_the_defaults() -> None:
    assert Settings() == load(None, {}, {})


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = toml(tmp_path, "[server]\nhttp_port = 1\ngrpc_port = 2\nmax_connections = 3")
    environ = {"PENSTOCK_SERVER_GRPC_PORT": "20", "PENSTOCK_SERVER_MAX_CONNECTIONS": "30"}
    flags = {"server.max_connections": 300, "server.http_port": None}
    server = load(file, environ, flags).server
    assert (server.http_port, server.grpc_port, server.max_connections) == (1, 20, 300)


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    file = toml(tmp_path, "[log]\nformat = 'json'")
    assert load(None, {"PENSTOCK_CONFIG": str(file)}, {}).log.format == "json"


def test_paths_in_the_file_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "a.pem").touch()
    (tmp_path / "b.pem").touch()
    text = "repository = 'models'\n[server]\ntls_cert = 'a.pem'\ntls_key = 'b.pem'"
    file = toml(tmp_path, text)
    settings = load(file, {}, {})
    assert settings.repository == f"{tmp_path}/models"
    assert settings.server.tls_cert == f"{tmp_path}/a.pem"


@pytest.mark.parametrize(
    ("name", "text", "key", "expected"),
    [
        ("PENSTOCK_REPOSITORY", "models", "repository", "models"),
        ("PENSTOCK_SERVER_HTTP_PORT", " 9000 ", "server.http_port", 9000),
        ("PENSTOCK_SERVER_INSECURE", "true", "server.insecure", True),
        ("PENSTOCK_SERVER_INSECURE", "0", "server.insecure", False),
        ("PENSTOCK_WATCH_POLL_S", "0.5", "watch.poll_s", 0.5),
        ("PENSTOCK_LOG_FORMAT", "json", "log.format", "json"),
        ("PENSTOCK_TRACE_OTLP", "tcp://here", "trace.otlp", "tcp://here"),
        ("PENSTOCK_MODEL_VERSIONS", "latest 2", "model.versions", "latest 2"),
        ("PENSTOCK_MODEL_VERSIONS", '["1", "2"]', "model.versions", ("1", "2")),
        ("PENSTOCK_MODEL_TARGET_P99_MS", "20", "model.target.p99_ms", 20.0),
        ("PENSTOCK_MODEL_ONNX_PROVIDERS", '["A", "B"]', "model.onnx.providers", ("A", "B")),
        ("PENSTOCK_KEYS", f'{{"{HASH}" = "infer"}}', "keys", {HASH: "infer"}),
        (f"PENSTOCK_KEYS_{HASH.upper()}", "admin", "keys", {HASH: "admin"}),
        (
            f"PENSTOCK_KEYS_{HASH}",
            '{ role = "infer", tenant = "a" }',
            "keys",
            {HASH: KeyTerms(role="infer", tenant="a")},
        ),
        (
            "PENSTOCK_BUDGETS",
            '{ "*" = { queries_per_hour = 5 } }',
            "budgets",
            {"*": Budget(queries_per_hour=5)},
        ),
    ],
)
def test_variables_are_read_as_the_type_of_their_setting(
    name: str, text: str, key: str, expected: object
) -> None:
    found: object = load(None, {name: text}, {})
    for part in key.split("."):
        found = getattr(found, part)
    assert expected == found
    assert type(expected) is type(found)


def test_every_setting_has_a_variable_of_its_own() -> None:
    names = [variable(key) for key, _ in known()]
    assert len(names) == len(set(names))
    assert "PENSTOCK_MODEL_BATCHING_MAX_ROWS" in names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nhtp_port = 1", "no setting 'server.htp_port'; did you mean 'http_port'?"),
        ("[sever]", "no setting 'sever'; did you mean 'server'?"),
        ("[model]\nverions = 'all'", "no setting 'model.verions'; did you mean 'versions'?"),
        ("[server]\nhttp_port = -1", "server.http_port: expected int >= 0, got -1"),
        ("[server]\ngrpc_port = 65536", "server.grpc_port: expected int <= 65535, got 65536"),
        ("[server]\nmax_body_bytes = 0", "server.max_body_bytes: expected int >= 1, got 0"),
        ("[server]\nidle_timeout_s = 0", "server.idle_timeout_s: expected float > 0.0, got 0"),
        ("[price]\nper_hour = inf", "price.per_hour: expected float <= 1000000000000000.0, got inf"),
        ("[meter]\nevery_s = inf", "meter.every_s: expected float <= 600.0, got inf"),
        ("[energy]\npue = inf", "energy.pue: expected float <= 10.0, got inf"),
        ("[server]\nhost = 1", "server.host: expected str, got 1"),
        ("[watch]\nsettle_s = -1", "watch.settle_s: expected float >= 0.0, got -1"),
        ("[log]\nlevel = 'loud'", "log.level: cannot be 'loud'; have debug, info, warning, error"),
        ("[server]\nhttp_port = 8001", "are both 8001; they must be different"),
        ("[server]\ntls_cert = 'a'", "give both or neither"),
        ("[server]\ntls_cert = 'a'\ntls_key = 'b'", "no file"),
        ("[keys]\nsecret = 'infer'", "'secr'… is not the SHA-256 of a key (64 hex digits); 'penstock key'"),
        (f"[keys]\n{HASH} = 'root'", "keys.abab…: cannot be 'root'; have infer, admin"),
        (
            f"[keys]\n{HASH} = {{ role = 'infer', tenent = 'a' }}",
            "'keys.abab….tenent'; did you mean 'tenant'?",
        ),
        (f"[keys]\n{HASH} = {{ tenant = 'a' }}", "keys.abab…: object missing required field role"),
        (
            f"[keys]\n{HASH} = {{ role = 'infer', tenant = ' a' }}",
            "keys.abab….tenant: ' a' cannot name a tenant",
        ),
        ("[budgets.a]\nqueries_per_hor = 1", "'budgets.a.queries_per_hor'; did you mean 'queries_per_hour'?"),
        ("[budgets.a]\nqueries_per_hour = -1", "budgets.a.queries_per_hour: expected int >= 0, got -1"),
        ("[budgets.'']\nqueries_per_hour = 1", "budgets: '' cannot name a tenant; a name has 1 to 64"),
        ("[meter]\ntenant_header = 'x y'", "meter.tenant_header: 'x y' cannot name a header"),
        ("[model]\nname = 'm'", "model.name: defaults for every model cannot name one"),
        ("[model.queue]\nmax_rows = 0", "model.queue.max_rows: expected int >= 1, got 0"),
        ("a = ", "(at end of document)"),
    ],
)
def test_a_bad_file_says_what_and_what_would_be_right(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadSetting, match=re.escape(said)):
        load(toml(tmp_path, text), {}, {})


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "PENSTOCK_HTP_PORT",
            "1",
            "no variable PENSTOCK_HTP_PORT; did you mean 'PENSTOCK_SERVER_HTTP_PORT'?",
        ),
        ("PENSTOCK_SERVER_HTP_PORT", "1", "did you mean 'PENSTOCK_SERVER_HTTP_PORT'?"),
        ("PENSTOCK_LOGLEVEL", "1", "did you mean 'PENSTOCK_LOG_LEVEL'?"),
        ("PENSTOCK_MODEL_NAME", "x", "no variable PENSTOCK_MODEL_NAME"),
        ("PENSTOCK_SERVER_HTTP_PORT", "many", "expected a whole number, got 'many'"),
        (
            "PENSTOCK_SERVER_HTTP_PORT",
            "99999",
            "PENSTOCK_SERVER_HTTP_PORT: server.http_port: expected int <= 65535",
        ),
        ("PENSTOCK_SERVER_INSECURE", "yes", "expected true or false, got 'yes'"),
        ("PENSTOCK_MODEL_ONNX_PROVIDERS", "[CPU", "not a TOML value"),
        ("PENSTOCK_MODEL_ONNX_PROVIDERS", "CPU", "model.onnx.providers: expected array, got 'CPU'"),
    ],
)
def test_a_bad_variable_is_named_with_what_would_be_right(name: str, text: str, said: str) -> None:
    with pytest.raises(BadSetting, match=re.escape(said)) as caught:
        load(None, {name: text}, {})
    assert name in str(caught.value)


def test_a_key_may_name_its_tenant_and_a_tenant_its_budget(tmp_path: Path) -> None:
    text = f"""
        [keys]
        "{HASH.upper()}" = {{ role = "infer", tenant = "team-a" }}
        [budgets.team-a]
        money_per_hour = 0.5
        [budgets."*"]
        queries_per_hour = 1000
        warn = 0.5
    """
    settings = load(toml(tmp_path, text), {}, {})
    assert settings.keys == {HASH: KeyTerms(role="infer", tenant="team-a")}
    assert settings.budgets == {
        "team-a": Budget(money_per_hour=0.5),
        "*": Budget(queries_per_hour=1000, warn=0.5),
    }


def test_a_budget_may_be_nothing_at_all(tmp_path: Path) -> None:
    settings = load(toml(tmp_path, "[budgets.shop]\nqueries_per_hour = 0"), {}, {})
    assert settings.budgets == {"shop": Budget(queries_per_hour=0)}


def test_a_bad_flag_is_named() -> None:
    with pytest.raises(BadSetting, match=r"--http-port: server\.http_port: expected int <= 65535, got 70000"):
        load(None, {}, {"server.http_port": 70000})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"nothing\.toml cannot be read"):
        load(tmp_path / "nothing.toml", {}, {})


@pytest.mark.parametrize("service", ["PENSTOCK", "PENSTOCK_SERVER_HTTP"])
def test_variables_that_kubernetes_makes_of_a_service_are_left_alone(service: str) -> None:
    environ = {
        f"{service}_SERVICE_HOST": "10.0.0.1",
        f"{service}_SERVICE_PORT": "8000",
        f"{service}_SERVICE_PORT_HTTP": "8000",
        f"{service}_PORT": "tcp://10.0.0.1:8000",
        f"{service}_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        f"{service}_PORT_8000_TCP_PROTO": "tcp",
        f"{service}_PORT_8000_TCP_PORT": "8000",
        f"{service}_PORT_8000_TCP_ADDR": "10.0.0.1",
        "PENSTOCK_API_KEY": "for clients",
        "PATH": "/bin",
    }
    assert Settings() == load(None, environ, {})


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("example.org", False),
    ],
)
def test_only_addresses_of_this_machine_are_loopback(host: str, expected: bool) -> None:
    assert expected == is_loopback(host)


def test_the_books_file_is_relative_to_the_settings_and_none_is_no_file(tmp_path: Path) -> None:
    found = load(toml(tmp_path, '[meter]\nfile = "books.db"\n'), {}, {})
    assert found.meter.file == str(tmp_path / "books.db")
    assert load(toml(tmp_path, '[meter]\nfile = "none"\n'), {}, {}).meter.file == "none"


def test_beyond_loopback_keys_or_insecure_are_needed() -> None:
    with pytest.raises(BadSetting, match=r"no API keys; put what 'penstock key' prints .* or .* --insecure"):
        check_exposure(load(None, {}, {"server.host": "0.0.0.0"}))
    check_exposure(load(None, {}, {"server.host": "0.0.0.0", "server.insecure": True}))
    check_exposure(load(None, {"PENSTOCK_KEYS": f'{{"{HASH}" = "infer"}}'}, {"server.host": "0.0.0.0"}))
    check_exposure(Settings())


def blocks(page: str) -> list[str]:
    text = (Path(__file__).parents[1] / "docs/guide" / page).read_text()
    return re.findall(r"```toml\n(.*?)```", text, re.DOTALL)


SECTIONS = {"", "server", "log", "watch", "memory", "cluster", "trace", "meter", "price", "energy", "carbon"}


def test_the_example_in_the_guide_is_every_default(tmp_path: Path) -> None:
    example = blocks("settings.md")[0]
    assert Settings() == load(toml(tmp_path, example), {}, {})
    uncommented = re.sub(r"^# ?(?=[a-z\"\[])", "", example, flags=re.MULTILINE)
    for key, _ in known():
        section, _, name = key.rpartition(".")
        if section in SECTIONS:
            assert re.search(rf"^{name}\b|^\[{name}\]", uncommented, re.MULTILINE), key
    assert "model.queue.max_rows" in dict(known())


def test_the_models_example_in_the_guide_is_every_default(tmp_path: Path) -> None:
    from penstock.repository.layout import read

    (tmp_path / "m/1").mkdir(parents=True)
    (tmp_path / "m/1/model.onnx").touch()
    (tmp_path / "m/model.toml").write_text(blocks("repository.md")[0])
    model = read(tmp_path / "m", ModelSpec())
    assert model is not None
    assert ModelSpec(name="m") == model.spec
