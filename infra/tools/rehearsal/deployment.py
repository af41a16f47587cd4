"""The deployment itself: the stacks are made, set up, and upgraded."""

import json
import pathlib
import subprocess

import botocore.exceptions
from samcli.yamlhelper import yaml_dump, yaml_parse

import render
import wiring
from .backends import signed
from .stage import DOMAIN, REGION, STACK, Browser, client, expect, until


def data(stage):
    """`sam deploy` of the data, as an operator would, and what protects it: its outputs are all
    that the service needs."""
    client("s3").create_bucket(Bucket=STACK)
    stage.alarm_topic = client("sns").create_topic(Name="alarms")["TopicArn"]
    stage.data = deploy_data(stage, STACK)
    cloudformation, name = client("cloudformation"), data_of(STACK)
    cloudformation.update_termination_protection(StackName=name, EnableTerminationProtection=True)
    cloudformation.set_stack_policy(StackName=name, StackPolicyBody=(render.INFRA / "data-policy.json").read_text())
    refused = refusal(lambda: cloudformation.delete_stack(StackName=name))
    expect("the data's stack is not deleted by mistake", "TerminationProtection" in refused, refused)
    return f"{len(ids_of(name))} resources"


def deploy(stage):
    """`sam deploy` of the service, with a domain and with Threads' address changed to the
    sandbox's."""
    simplified = sam_deploy(stage, LogLevel="TRACE")
    urls = [stage.outputs[name] for name in ("RedirectCallbackUrl", "UninstallCallbackUrl", "DeleteCallbackUrl")]
    expected = [f"https://{DOMAIN}/{path}" for path in ("callback", "deauthorize", "data-deletion")]
    expect("the three URLs for Meta's dashboard", urls == expected, urls)
    return f"{len(stage.ids)} resources; the emulator knows no alarms on sums, so {simplified} look at one metric"


def upgrade(stage):
    """Another deployment over both replaces no table, key, secret or bus, and Ada's token is still
    handed out."""
    before = stage.ids | ids_of(data_of(STACK))
    expect("the same data", deploy_data(stage, STACK) == stage.data, stage.data)
    sam_deploy(stage, LogLevel="DEBUG")
    after = stage.ids | ids_of(data_of(STACK))
    changed = {name for name in before if before[name] != after.get(name)}
    expect("everything is still what it was", not changed, changed)
    variables = stage.environment("Token")
    expect("the change arrived", variables["LOG_LEVEL"] == "DEBUG", variables["LOG_LEVEL"])
    vend(stage)


def vend(stage):
    """Ada's token is handed out."""
    vended = signed(stage, stage.tokens, "GET", f"/users/{stage.ada}/token")
    expect("a token", vended.status == 200, (vended.status, vended.body))
    stage.canaries.append(vended.json()["access_token"])


def data_of(stack):
    return f"{stack}-data"


def refusal(call):
    """AWS's words for a call that it refuses."""
    try:
        call()
    except botocore.exceptions.ClientError as error:
        return str(error)
    return "it was done"


def sam(stage, template, stack, **parameters):
    """`sam deploy`, with what it answered."""
    command = [stage.sam, "deploy", "--template-file", template, "--stack-name", stack, "--region", REGION]
    command += ["--s3-bucket", STACK, "--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    command += ["--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"]
    if parameters:
        command += ["--parameter-overrides", *(f"{name}={value}" for name, value in parameters.items())]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def deployed(done):
    expect("sam deploy", done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:])


def deploy_data(stage, stack, **parameters):
    """The data of a service's stack: its outputs."""
    template = render.source("data.yaml")
    # The emulator's CloudFormation does not know it.
    del template["Resources"]["BackupSelection"]
    deployed(sam(stage, written(stage, "data", template), data_of(stack), **parameters))
    return outputs_of(data_of(stack))


def outputs_of(stack):
    found = client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}


def ids_of(stack):
    summaries = client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    return {r["LogicalResourceId"]: r["PhysicalResourceId"] for p in summaries for r in p["StackResourceSummaries"]}


def parameters(stage, **changed):
    """The parameters that an operator sets for the service."""
    origin = f"http://{stage.threads.netloc}"
    return {
        **stage.data,
        "Architecture": "x86_64",
        "DomainName": DOMAIN,
        "CertificateArn": f"arn:aws:acm:{REGION}:000000000000:certificate/00000000-0000-0000-0000-000000000000",
        "AlarmTopicArn": stage.alarm_topic,
        "AuthorizeAccess": "open",
        "ReturnToAllowlist": "https://app.rehearsal.test/",
        "ThreadsAuthorizeUrl": f"{origin}/oauth/authorize",
        "ThreadsGraphUrl": origin,
        **changed,
    }


def sam_deploy(stage, **changed):
    template, simplified = for_the_emulator(stage)
    deployed(sam(stage, template, STACK, **parameters(stage, **changed)))
    stage.outputs, stage.ids = outputs_of(STACK), ids_of(STACK)
    return simplified


def for_the_emulator(stage):
    """The built template, without what the emulator cannot make."""
    template, simplified = yaml_parse(pathlib.Path(stage.build, "template.yaml").read_text()), 0
    for alarm in wiring.of_type(template, "AWS::CloudWatch::Alarm").values():
        if metrics := alarm["Properties"].pop("Metrics", None):
            stat = metrics[1]["MetricStat"]
            alarm["Properties"] |= {**stat["Metric"], "Statistic": stat["Stat"], "Period": stat["Period"]}
            simplified += 1
    return written(stage, "rehearsal", template), simplified


def written(stage, name, template):
    # Beside the functions, whose paths are relative.
    file = pathlib.Path(stage.build, f"{name}.yaml")
    file.write_text(yaml_dump(template))
    return str(file)


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
    """`threads-auth configure` tries the app's id and secret at Threads, writes them, and makes the
    keyring; a second time it keeps it."""
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
