"""The functions in other runtimes: AWS's own emulator of Lambda, and `cargo lambda`."""

import json
import os
import pathlib
import signal
import subprocess

import samcli

import wiring
from port import free_port
from .stage import call, expect, listens, until


def under_the_runtime_emulator(stage):
    """Each executable answers under AWS's own emulator of Lambda's runtime, with the environment
    that the template gives it."""
    emulator = pathlib.Path(samcli.__file__).parent / "local" / "rapid" / "aws-lambda-rie-x86_64"
    sweep, batch = ({}, lambda answer: "outcomes" in answer), ({"Records": []}, lambda answer: answer == {"batchItemFailures": []})

    def http(method, path, status):
        context = {"http": {"method": method, "path": path}, "requestId": "rehearsal"}
        event = {"version": "2.0", "rawPath": path, "rawQueryString": "", "headers": {}, "requestContext": context}
        return event, lambda answer: answer.get("statusCode") == status

    tries = {
        "Authorize": http("GET", "/authorize", 302),
        "Callback": http("GET", "/connected", 200),
        "Deauthorize": http("POST", "/deauthorize", 400),
        "Deletion": http("GET", "/data-deletion/" + "0" * 32, 404),
        # Nobody has signed these, which only API Gateway can let pass.
        "Sessions": http("GET", "/sessions/1", 403),
        "Token": http("GET", "/users", 403),
        "Refresh": sweep,
        "Events": batch,
        "Webhook": batch,
    }
    for name, (event, is_right) in tries.items():
        ports, environment = [free_port(), free_port()], stage.environment(name)
        command = [str(emulator), "--runtime-interface-emulator-address", f"127.0.0.1:{ports[0]}"]
        command += ["--runtime-api-address", f"127.0.0.1:{ports[1]}", f"{stage.build}/{name}Function/bootstrap"]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            until("the runtime emulator", lambda: listens(ports[0]))
            path = "/2015-03-31/functions/function/invocations"
            answer = call("127.0.0.1", ports[0], "POST", path, {}, json.dumps(event))
            expect(f"{name} answers", is_right(answer.json()), answer.body[:500])
        finally:
            process.terminate()
            output = process.communicate()[0].decode()
        expect(f"{name} logs no secret", not any(canary in output for canary in stage.canaries))
    return f"{len(tries)} executables"


def under_cargo_lambda(stage):
    """A developer runs a function of the deployment from its source, by `cargo lambda watch` and
    `invoke`."""
    folder, port = wiring.INFRA.parent / "functions" / "refresh", free_port()
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "CARGO_TARGET_DIR", "CARGO_HOME", "RUSTUP_HOME") if key in os.environ}
    environment = {**stage.environment("Refresh"), **kept}
    subprocess.run(["cargo", "build", "--quiet", "--locked"], cwd=folder, env=environment, check=True)
    address = ["--invoke-address", "127.0.0.1", "--invoke-port", str(port)]
    watch = ["cargo", "lambda", "watch", "--ignore-changes", *address]
    # A group of its own, so that what it starts ends with it.
    process = subprocess.Popen(watch, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        until("cargo lambda watch", lambda: listens(port))
        invoke = ["cargo", "lambda", "invoke", "refresh", *address, "--data-ascii", "{}"]
        done = subprocess.run(invoke, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        expect("a sweep's report", '"outcomes"' in done.stdout, done.stdout + done.stderr)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate()
