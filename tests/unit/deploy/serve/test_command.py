"""What the command refuses before anything starts."""

from __future__ import annotations

import pytest

from deploy.serve.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--http-port", "8000"], "got --http-port without --http: want both, or neither"),
        (["--free-ports", "--grpc-port", "8001"], "got --free-ports and --grpc-port: want one of both"),
        (["--tls-key", "key.pem"], "want --tls-certificate and --tls-key together"),
        (["--tls-client-ca", "ca.pem"], "want --tls-certificate and --tls-key together"),
        (["--traces", "localhost:4317"], "want OTLP over HTTP, as http://localhost:4318/v1/traces"),
    ],
)
def test_what_would_be_ignored_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
