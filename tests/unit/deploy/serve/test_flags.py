"""tritonserver's command line: closed to strangers, and every choice of ours in it."""

from dataclasses import replace
from pathlib import Path

from deploy.serve.flags import Options, command
from deploy.serve.sockets import Sockets

OPTIONS = Options(
    binary=Path("/opt/tritonserver"),
    repository=Path("/models"),
    backends=Path("/backends"),
    sockets=Sockets(Path("/tmp/alexnet-7-x/1")),
    prefix="alexnet-7-",
    stop=6,
)


def values(line: list[str], flag: str) -> list[str]:
    return [argument.partition("=")[2] for argument in line[1:] if argument.partition("=")[0] == flag]


def test_it_listens_on_sockets_in_one_folder_and_nowhere_else() -> None:
    line = command(replace(OPTIONS, http_too=True))
    for name in ("grpc", "http", "metrics"):
        assert values(line, f"--{name}-address") == [f"unix:/tmp/alexnet-7-x/1/{name}"]
    assert OPTIONS.sockets.grpc == Path("/tmp/alexnet-7-x/1/grpc:1")  # as Triton joins the two
    assert values(line, "--grpc-port") == ["1"]


def test_http_is_off_unless_it_is_asked_for() -> None:
    assert values(command(OPTIONS), "--allow-http") == ["false"]
    assert values(command(OPTIONS), "--http-address") == []
    assert values(command(replace(OPTIONS, http_too=True)), "--allow-http") == []


def test_models_are_managed_by_nobody() -> None:
    line = command(OPTIONS)
    assert values(line, "--model-control-mode") == ["none"]
    assert values(line, "--load-model") == []


def test_memory_log_and_traces_are_shut_by_a_key_that_no_call_can_carry() -> None:
    line = command(replace(OPTIONS, http_too=True))
    for flag in ("--grpc-restricted-protocol", "--http-restricted-api"):
        (value,) = values(line, flag)
        protected, _, key = value.partition(":")
        assert protected.split(",") == ["shared-memory", "trace", "logging"]
        assert key.partition("=")[0] != key.partition("=")[0].lower()  # HTTP/2 has no such header


def test_requests_under_way_are_given_less_time_than_the_process() -> None:
    assert values(command(OPTIONS), "--exit-timeout-secs") == ["5"]


def test_paths_are_absolute_whatever_the_working_directory() -> None:
    line = command(replace(OPTIONS, repository=Path("build/repository"), backends=Path("build/backends")))
    assert values(line, "--model-repository") == [str(Path.cwd() / "build/repository")]
    assert values(line, "--backend-directory") == [str(Path.cwd() / "build/backends")]


def test_spans_are_of_calls_that_carry_a_context_and_of_no_others() -> None:
    assert values(command(OPTIONS), "--trace-config") == []
    said = values(command(replace(OPTIONS, traces="http://collector:4318/v1/traces")), "--trace-config")
    assert "mode=opentelemetry" in said
    assert "rate=0" in said
    assert "opentelemetry,url=http://collector:4318/v1/traces" in said
