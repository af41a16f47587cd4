"""The deployment itself: the stack is made, set up, and upgraded."""

import json
import pathlib
import subprocess

from samcli.yamlhelper import yaml_dump, yaml_parse

import wiring
from .backends import signed
from .stage import DOMAIN, REGION, STACK, Browser, client, expect, until


def deploy(stage):
    """`sam deploy`, as an operator would, with a domain and with Threads' address changed to the sandbox's."""
    client("s3").create_bucket(Bucket=STACK)
    stage.alarm_topic = client("sns").create_topic(Name="alarms")["TopicArn"]
    simplified = sam_deploy(stage, "TRACE")
    urls = [stage.outputs[name] for name in ("RedirectCallbackUrl", "UninstallCallbackUrl", "DeleteCallbackUrl")]
    expected = [f"https://{DOMAIN}/{path}" for path in ("callback", "deauthorize", "data-deletion")]
    expect("the three URLs for Meta's dashboard", urls == expected, urls)
    return f"{len(stage.ids)} resources; the emulator knows no alarms on sums, so {simplified} look at one metric"


def upgrade(stage):
    """Another deployment over it replaces no table, key, secret or bus, and Ada's token is still handed out."""
    before = dict(stage.ids)
    sam_deploy(stage, "DEBUG")
    changed = {name for name in before if before[name] != stage.ids.get(name)}
    expect("everything is still what it was", not changed, changed)
    variables = stage.environment("Token")
    expect("the change arrived", variables["LOG_LEVEL"] == "DEBUG", variables["LOG_LEVEL"])
    vended = signed(stage, stage.tokens, "GET", f"/users/{stage.ada}/token")
    expect("a token", vended.status == 200, vended.status)
    stage.canaries.append(vended.json()["access_token"])


def sam_deploy(stage, log_level, **more):
    origin = f"http://{stage.threads.netloc}"
    parameters = {
        "Architecture": "x86_64",
        "DomainName": DOMAIN,
        "CertificateArn": f"arn:aws:acm:{REGION}:000000000000:certificate/00000000-0000-0000-0000-000000000000",
        "AlarmTopicArn": stage.alarm_topic,
        "AuthorizeAccess": "open",
        "ReturnToAllowlist": "https://app.rehearsal.test/",
        "ThreadsAuthorizeUrl": f"{origin}/oauth/authorize",
        "ThreadsGraphUrl": origin,
        "LogLevel": log_level,
        **more,
    }
    template, simplified = for_the_emulator(stage)
    command = [stage.sam, "deploy", "--template-file", template, "--stack-name", STACK]
    command += ["--s3-bucket", STACK, "--region", REGION, "--capabilities", "CAPABILITY_IAM"]
    command += ["--no-confirm-changeset", "--no-progressbar", "--parameter-overrides"]
    command += [f"{name}={value}" for name, value in parameters.items()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    expect("sam deploy", done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:])
    stack = client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    stage.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    summaries = client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=STACK)
    stage.ids = {r["LogicalResourceId"]: r["PhysicalResourceId"] for p in summaries for r in p["StackResourceSummaries"]}
    return simplified


def for_the_emulator(stage):
    """The built template, without what the emulator cannot make."""
    template, simplified = yaml_parse(pathlib.Path(stage.build, "template.yaml").read_text()), 0
    for alarm in wiring.of_type(template, "AWS::CloudWatch::Alarm").values():
        if metrics := alarm["Properties"].pop("Metrics", None):
            stat = metrics[1]["MetricStat"]
            alarm["Properties"] |= {**stat["Metric"], "Statistic": stat["Stat"], "Period": stat["Period"]}
            simplified += 1
    # Beside the functions, whose paths are relative.
    file = pathlib.Path(stage.build, "rehearsal.yaml")
    file.write_text(yaml_dump(template))
    return str(file), simplified


def routes(stage):
    """The API that was made has every route, with its authorization."""
    api = client("apigatewayv2")
    items = api.get_routes(ApiId=stage.ids["Api"])["Items"]
    found = {item["RouteKey"]: item["AuthorizationType"] for item in items}
    expected = {key: authorization for key, (authorization, _) in wiring.ROUTES.items()}
    expect("the routes", found == expected, found)
    return f"{len(found)} routes"


def unconfigured(stage):
    """Without secrets a person reads that the service is not set up, and nothing breaks."""
    answer = Browser().get("/authorize")
    expect("a page", answer.status in (500, 503) and "text/html" in answer.headers["content-type"], answer.body[:500])
    return f"status {answer.status}"


def configure(stage):
    """`threads-auth configure` tries the app's id and secret at Threads, writes them, and makes the keyring; a second time it keeps it."""
    app = json.loads(stage.app)
    command = [stage.command, "configure", "--stack", STACK, "--region", REGION, "--json"]
    command += ["--app-id", app["app_id"], "--app-secret", "-"]
    for made in (True, False):
        done = subprocess.run(command, input=app["app_secret"], capture_output=True, text=True, check=False)
        expect("configured", done.returncode == 0, done.stdout + done.stderr)
        result = json.loads(done.stdout)
        expect("a keyring once", result["keyring_made"] == made, result)
        expect("the address for Meta", result["redirect_callback_url"] == stage.outputs["RedirectCallbackUrl"], result)
        expect("nothing secret was said", app["app_secret"] not in done.stdout + done.stderr)
    keyring = json.loads(client("secretsmanager").get_secret_value(SecretId=stage.outputs["KeyringSecretArn"])["SecretString"])
    stage.canaries += [*keyring["keys"].values(), keyring["tombstone"]]
    # A process that could not read the secrets remembers that for five seconds.
    until("the functions have the secrets", lambda: Browser().get("/authorize").status == 302)
