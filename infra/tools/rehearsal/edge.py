"""CloudFront in front: the emulator makes the distribution and answers nothing by it, so requests
are made as it would make them."""

import json

from .backends import signed
from .deployment import ids_of, outputs_of, sam_deploy
from .stage import DOMAIN, ENDPOINT, STACK, call, client, expect

HEADER = "x-threads-auth-origin"


def shown(stage):
    """The header that CloudFront shows to the API."""
    front = client("cloudfront")
    (distribution,) = front.list_distributions()["DistributionList"]["Items"]
    (origin,) = front.get_distribution_config(Id=distribution["Id"])["DistributionConfig"]["Origins"]["Items"]
    (header,) = origin["CustomHeaders"]["Items"]
    expect("the header", header["HeaderName"] == HEADER and len(header["HeaderValue"]) == 48, len(header["HeaderValue"]))
    stage.canaries.append(header["HeaderValue"])
    return header["HeaderValue"]


def at_the_apis_own_address(stage, method, path, **headers):
    host = f"{stage.outputs['ApiId']}.execute-api.localhost"
    return call(host, ENDPOINT.port, method, path, {name.replace("_", "-"): value for name, value in headers.items()})


def is_answered(stage, value):
    """Returns True if all functions know CloudFront by this value, False if none does."""
    asked = [("GET", "/connected"), ("GET", "/authorize?session=" + "A" * 32), ("POST", "/deauthorize"), ("GET", "/data-deletion/code")]
    asked += [("PUT", "/users/1"), ("GET", "/nowhere")]
    headers = {HEADER.replace("-", "_"): value} if value else {}
    statuses = [at_the_apis_own_address(stage, method, path, **headers).status for method, path in asked]
    is_known = 403 not in statuses
    expect("one answer of all", is_known or statuses == [403] * len(asked), statuses)
    return is_known


def backends_move(stage):
    """The API's own address opens beside the domain, and is what ApiUrl says: backends that sign
    for either get tokens."""
    before = stage.outputs["ApiUrl"]
    update(stage, ApiAddress="true")
    expect("another ApiUrl", before == f"https://{DOMAIN}" and ".execute-api." in stage.outputs["ApiUrl"], (before, stage.outputs["ApiUrl"]))
    for host in ({}, {"host": f"{stage.outputs['ApiId']}.execute-api.localhost"}):
        answer = signed(stage, stage.tokens, "GET", f"/users/{stage.ada}/token", **host)
        expect("a token", answer.status == 200, (host, answer.status))
        stage.canaries.append(answer.json()["access_token"])
    stage.api_url = stage.outputs["ApiUrl"]


def moves_in_front(stage):
    """CloudFront comes, first without being demanded. Then public routes answer nothing else, and
    signed ones go on."""
    sam_deploy(stage, LogLevel="DEBUG", Edge="true", EdgeOnly="false")
    expect("both ways lead in", is_answered(stage, None) and is_answered(stage, shown(stage)))
    expect("backends stay where they are", stage.outputs["ApiUrl"] == stage.api_url, stage.outputs["ApiUrl"])
    # Other parameters stay. From here on the web ACL is another's: of one that an update
    # leaves alone, the emulator forgets the ARN.
    sam_deploy(stage, LogLevel="DEBUG", EdgeOnly="true", EdgeWebAclArn="arn:aws:wafv2:us-east-1:000000000000:global/webacl/ours/1")
    value = shown(stage)
    expect("around it nothing is answered", not is_answered(stage, None) and not is_answered(stage, "-"))
    expect("through it everything is", is_answered(stage, value))
    for path in ("/users", f"/users/{stage.ada}/token"):
        answer = signed(stage, stage.tokens, "GET", path, host=f"{stage.outputs['ApiId']}.execute-api.localhost")
        expect(f"{path} with a signature", answer.status == 200, answer.status)
    stage.canaries.append(answer.json()["access_token"])


def changes_its_secret(stage):
    """The origin secret is changed as infra/README.md says: whatever CloudFront shows meanwhile,
    the old value or the new one, is known."""
    old, new = shown(stage), "N" * 48
    stage.canaries.append(new)
    for content, known in (
        ({"send": old, "accept": new}, (True, True)),
        ({"send": new, "accept": old}, (True, True)),
        ({"send": new, "accept": "-"}, (False, True)),
    ):
        secret = stage.outputs["OriginSecretArn"]
        version = client("secretsmanager").put_secret_value(SecretId=secret, SecretString=json.dumps(content))["VersionId"]
        update(stage, OriginSecretVersion=version)
        expect("CloudFront shows what it has to", shown(stage) == content["send"])
        expect(f"what is known of {known}", (is_answered(stage, old), is_answered(stage, new)) == known)
    return "3 deployments"


def update(stage, **changed):
    """Other values of some parameters, and nothing else, as `aws cloudformation update-stack` would
    deploy them."""
    cloudformation = client("cloudformation")
    kept = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["Parameters"]
    parameters = [{"ParameterKey": one["ParameterKey"], "UsePreviousValue": True} for one in kept if one["ParameterKey"] not in changed]
    parameters += [{"ParameterKey": name, "ParameterValue": value} for name, value in changed.items()]
    capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    cloudformation.update_stack(StackName=STACK, UsePreviousTemplate=True, Parameters=parameters, Capabilities=capabilities)
    cloudformation.get_waiter("stack_update_complete").wait(StackName=STACK, WaiterConfig={"Delay": 1})
    stage.outputs, stage.ids = outputs_of(STACK), ids_of(STACK)


def comes_again(stage):
    """After a change of its secret CloudFront goes and comes again by one parameter, and is known
    by the secret that it had."""
    value, secret = shown(stage), stage.outputs["OriginSecretArn"]
    update(stage, Edge="false")
    expect("nothing is demanded", is_answered(stage, None) and not stage.environment("Callback")["ORIGIN_SECRETS"])
    expect("backends stay where they are", stage.outputs["ApiUrl"] == stage.api_url, stage.outputs["ApiUrl"])
    update(stage, Edge="true")
    expect("the same secret", (shown(stage), stage.outputs["OriginSecretArn"]) == (value, secret), secret)
    expect("through it alone everything is answered", is_answered(stage, value) and not is_answered(stage, None))


def goes(stage):
    """Without CloudFront nothing is demanded, and no secret of it is left. The API's own address
    closes again."""
    # SAM takes an empty value in quotation marks only.
    sam_deploy(stage, LogLevel="DEBUG", Edge="false", ApiAddress="false", OriginSecretVersion='""')
    expect("the former ApiUrl", stage.outputs["ApiUrl"] == f"https://{DOMAIN}", stage.outputs["ApiUrl"])
    expect("no secret", "OriginSecretArn" not in stage.outputs and not stage.environment("Callback")["ORIGIN_SECRETS"], stage.outputs.keys())
    answer = signed(stage, stage.tokens, "GET", "/users")
    expect("the domain leads to the API again", answer.status == 200, answer.status)
