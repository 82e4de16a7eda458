"""tritonserver's command line: closed to strangers, and every choice of ours in it."""

from dataclasses import replace
from pathlib import Path

from deploy.serve.flags import Options, command
from deploy.serve.ports import Ports

OPTIONS = Options(
    binary=Path("/opt/tritonserver"),
    repository=Path("/models"),
    backends=Path("/backends"),
    models=("alexnet_decode", "alexnet"),
    ports=Ports(grpc=1, http=2, metrics=3),
    prefix="alexnet-7-",
    key="secret",
    drain=5,
)


def values(line: list[str], flag: str) -> list[str]:
    return [argument.partition("=")[2] for argument in line[1:] if argument.partition("=")[0] == flag]


def test_every_port_has_its_address() -> None:
    line = command(OPTIONS)
    for name, port in (("grpc", "1"), ("http", "2"), ("metrics", "3")):
        assert values(line, f"--{name}-port") == [port]
        assert values(line, f"--{name}-address") == ["127.0.0.1"]
        assert values(command(replace(OPTIONS, host="0.0.0.0")), f"--{name}-address") == ["0.0.0.0"]


def test_only_the_models_that_were_named_are_loaded_in_order() -> None:
    line = command(OPTIONS)
    assert values(line, "--model-control-mode") == ["explicit"]
    assert values(line, "--load-model") == ["alexnet_decode", "alexnet"]


def test_models_and_memory_are_managed_with_the_key_only() -> None:
    line = command(OPTIONS)
    protected = "model-repository,shared-memory:"
    assert values(line, "--grpc-restricted-protocol") == [f"{protected}admin-key=secret"]
    assert values(line, "--http-restricted-api") == [f"{protected}triton-grpc-protocol-admin-key=secret"]


def test_paths_are_absolute_whatever_the_working_directory() -> None:
    line = command(replace(OPTIONS, repository=Path("build/repository"), backends=Path("build/backends")))
    assert values(line, "--model-repository") == [str(Path.cwd() / "build/repository")]
    assert values(line, "--backend-directory") == [str(Path.cwd() / "build/backends")]
