"""Releases, deployed from their zips: the next one, and back to the one before, while people and
backends go on."""

import json
import os
import pathlib
import shutil
import subprocess
import threading
import types
import zipfile

import release
from .backends import signed
from .deployment import for_the_emulator
from .operators import operate
from .people import begin, finish
from .stage import REGION, STACK, client, expect
from .sweeps import let_41_days_pass

# Folders with neither Rust nor `cargo lambda`.
PATH = "/usr/bin:/bin"


def packed(stage, version):
    """A release's folder as `infra/release` makes it, which calls itself `version`. The functions
    are those that were built, so each zip gets a file more, which makes it another for Lambda."""
    out = pathlib.Path(stage.build).parent / "releases" / version
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    folder = release.service(stage.build, "x86_64", out).with_suffix("")
    template = folder / "template.yaml"
    template.write_text(template.read_text().replace(f"Value: {release.version()}\n", f"Value: {version}\n"))
    for function in (folder / "functions").iterdir():
        with zipfile.ZipFile(function, "a") as archive:
            archive.writestr("version", version)
    return folder


def values(folder):
    """An operator's own `samconfig.local.toml`, outside of all releases: what the stack has now."""
    stack = client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    parameters = [f"{p['ParameterKey']}={p['ParameterValue']}" for p in stack["Parameters"] if p["ParameterValue"]]
    file = folder / "samconfig.local.toml"
    settings = {"stack_name": STACK, "region": REGION, "s3_bucket": STACK, "capabilities": "CAPABILITY_IAM CAPABILITY_AUTO_EXPAND"}
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    lines += ["confirm_changeset = false", f"parameter_overrides = {json.dumps(parameters)}"]
    file.write_text("\n".join(["version = 0.1", "[prod.deploy.parameters]", *lines, ""]))
    return file


def deploy(stage, folder, config):
    """The one command, by somebody without Rust. What the emulator cannot make is left out."""
    expect("there is no Rust", shutil.which("cargo", path=PATH) is None)
    template, _ = for_the_emulator(types.SimpleNamespace(build=str(folder)))
    command = [stage.sam, "deploy", "--template-file", template, "--config-file", str(config), "--config-env", "prod"]
    environment = {**os.environ, "PATH": PATH}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    expect("sam deploy", done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:])
    stack = client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    version = next(output["OutputValue"] for output in stack["Outputs"] if output["OutputKey"] == "ServiceVersion")
    code = client("lambda").get_function_configuration(FunctionName=stage.ids["TokenFunction"])["CodeSha256"]
    return version, code


def ids():
    summaries = client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=STACK)
    return {r["LogicalResourceId"]: r["PhysicalResourceId"] for p in summaries for r in p["StackResourceSummaries"]}


def rows(stage):
    tables = (stage.outputs["GrantsTableName"], stage.outputs["ShortLivedTableName"])
    return {item["pk"]["S"] for table in tables for item in client("dynamodb").scan(TableName=table)["Items"]}


class Backend(threading.Thread):
    """A backend that takes Ada's token again and again."""

    def __init__(self, stage):
        super().__init__(daemon=True)
        self.stage, self.ended, self.answers = stage, threading.Event(), []

    def run(self):
        while not self.ended.wait(0.2):
            answer = signed(self.stage, self.stage.tokens, "GET", f"/users/{self.stage.ada}/token")
            self.answers.append(answer.status)
            if answer.status == 200:
                self.stage.canaries.append(answer.json()["access_token"])

    def stop(self):
        self.ended.set()
        self.join()
        return self.answers


def roll_back(stage):
    """A release deploys without Rust, the next one over it, and by the same command the one before
    again: logins under way end well, tokens are handed out and refreshed, and no data is
    touched."""
    before, after = packed(stage, "0.0.1"), packed(stage, "0.0.2")
    config, made, kept = values(before.parent.parent), ids(), rows(stage)
    backend = Backend(stage)
    backend.start()
    first = deploy(stage, before, config)
    upgraded, login = [], begin(stage, "emmy")
    upgraded.append(deploy(stage, after, config))
    finish(stage, login)
    login = begin(stage, "sophie")
    upgraded.append(deploy(stage, before, config))
    finish(stage, login)
    answers = backend.stop()
    expect("the versions", [first[0], *(version for version, _ in upgraded)] == ["0.0.1", "0.0.2", "0.0.1"], upgraded)
    expect("other code, and the same again", first[1] != upgraded[0][1] and first[1] == upgraded[1][1], (first, upgraded))
    expect("tokens all the time", answers and set(answers) == {200}, answers)
    expect("everything is still what it was", ids() == made, set(ids().items()) ^ set(made.items()))
    expect("no row is gone", kept <= rows(stage), kept - rows(stage))
    token = let_41_days_pass(stage)["token"]
    code, report, said = operate(stage, "sweep", "--invoke")
    expect("a refresh", code == 0 and report["outcomes"].get("refreshed") == 1, (code, report, said))
    expect("another token", stage.row(stage.ada)["token"] != token)
    return f"{len(answers)} tokens handed out meanwhile"
