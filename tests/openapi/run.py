#!/usr/bin/env python3
"""The OpenAPI document against the handlers, by schemathesis.

    threads-auth dev --ephemeral --port 0 --json > dev.json &
    python tests/openapi/run.py dev.json

It needs schemathesis, openapi-spec-validator and boto3 (their versions are in `.ci/run`).
"""

import json
import os
import pathlib
import subprocess
import sys

import requests

HERE = pathlib.Path(__file__).parent
DOCUMENT = HERE.parent.parent / "functions/openapi.yaml"

# `positive_data_acceptance`: a well-formed request can still be refused, by the allowlist or a
# missing cookie.
# `ignored_auth`: the gateway's tests change every byte of a signature.
# `unsupported_method`: it wants 405, and API Gateway answers 404 to a method that a path lacks.
# `missing_required_header`: it wants 401 where a signature is missing, and AWS answers 403.
# `use_after_free`: an account that is disconnected is still shown, as revoked.
LEFT_OUT = "positive_data_acceptance,ignored_auth,unsupported_method,missing_required_header,use_after_free"


def connect(addresses: dict) -> str:
    """Connects an account, so that there is one to ask for: its id."""
    state = requests.get(f"{addresses['threads_url']}/control/state", timeout=20).json()
    user_id = state["accounts"][0]["user_id"]
    browser = requests.Session()
    follow = {"allow_redirects": False, "timeout": 20}
    consent = browser.get(f"{addresses['service_url']}/authorize", **follow).headers["location"]
    back = requests.get(f"{consent}&auto_approve={user_id}", **follow).headers["location"]
    assert browser.get(back.split("#")[0], **follow).status_code == 303
    return user_id


# A request that is too long is refused with 413 or 431.
EXPECTED = """
[checks]
negative_data_rejection.expected-statuses = [400, 403, 404, 409, 410, 413, 431]
"""


def existing(user_id: str) -> str:
    """Returns the configuration that names an existing account, which the document cannot know."""
    return f"""
[[operations]]
include-path-regex = "^/users/"
parameters = {{ "path.user_id" = "{user_id}" }}
"""


def main():
    addresses_file = pathlib.Path(sys.argv[1]).resolve()
    addresses = json.loads(addresses_file.read_text())
    subprocess.run([sys.executable, "-m", "openapi_spec_validator", DOCUMENT], check=True)
    user_id = connect(addresses)
    environment = os.environ | {"DEV_JSON": str(addresses_file), "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py")}
    program = pathlib.Path(sys.executable).with_name("schemathesis")
    common = ["--url", addresses["service_url"], "--seed", "1", "--exclude-checks", LEFT_OUT, "--no-color"]
    runs = [
        ("whatever ids", "", ["--phases", "examples,coverage,fuzzing,stateful", "-n", "25"]),
        (
            "an account that exists",
            existing(user_id),
            ["--phases", "fuzzing", "-n", "15", "--include-path-regex", "^/users/", "--exclude-method", "DELETE"],
        ),
    ]
    file = addresses_file.with_name("schemathesis.toml")
    for name, config, more in runs:
        file.write_text(EXPECTED + config)
        print(f"schemathesis: {name}", flush=True)
        command = [program, "--config-file", file, "run", DOCUMENT, *common, *more]
        subprocess.run(command, check=True, env=environment, cwd=addresses_file.parent)


main()
