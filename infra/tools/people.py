"""Rules on policies/{deploy*,operate,read}.json: what people may do, compared with what our command
calls and with what AWS's schemas say that CloudFormation calls for the resources of the
templates."""

import functools
import itertools
import json
import re
import tomllib

import botocore.session
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

import backends
import longest
import render
import wiring
from limits import limited

WORKSPACE = render.INFRA.parent
# The crates whose calls are made with an operator's credentials.
OURS = ("cli", "shared/store")
# The builders that go into a transaction, and the actions that IAM asks for.
IN_TRANSACTIONS = {"put": "PutItem", "update": "UpdateItem", "delete": "DeleteItem", "condition_check": "ConditionCheckItem"}
# A reader of a table or a secret under a key of ours uses that key, through the service.
BY_KEY = {"kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"}
# Three, because one may have 6,144 characters: for what holds data, and for a name or CloudFront.
DEPLOYERS = ("deploy.json", "deploy-data.json", "deploy-domain.json")
READS = re.compile(r"\w+:(BatchGet|Describe|Get|List|Query|Scan)\w*")
# These open something, as `accounts export --with-tokens` does. A reader sees what is sealed.
OPENS = {"secretsmanager:GetSecretValue"}
# Only `dead-letters replay` reads the stream.
REPLAYS = {"dynamodb:GetRecords", "dynamodb:GetShardIterator"}
# The services that IAM knows by the name of another one.
PREFIXES = {"dynamodbstreams": "dynamodb"}

# The schemas list these for features that our templates do not use.
UNUSED_SERVICES = {"acm-pca", "ec2", "elasticfilesystem", "firehose", "kinesis", "payments", "s3files"}
UNUSED = {
    "backup-storage:Mount",
    "cloudfront:CreateConnectionGroup",
    "cloudfront:CreateDistributionWithTags",
    "cloudfront:GetConnectionGroup",
    "cloudfront:GetVpcOrigin",
    "cloudfront:UpdateDistributionWithStagingConfig",
    "dynamodb:AssociateTableReplica",
    "dynamodb:BatchWriteItem",
    "dynamodb:CreateTableReplica",
    "dynamodb:DeleteItem",
    "dynamodb:DescribeImport",
    "dynamodb:DisableKinesisStreamingDestination",
    "dynamodb:EnableKinesisStreamingDestination",
    "dynamodb:GetItem",
    "dynamodb:ImportTable",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:Scan",
    "dynamodb:UpdateItem",
    "dynamodb:UpdateKinesisStreamingDestination",
    "events:PutPermission",
    "events:RemovePermission",
    "iam:AttachGroupPolicy",
    "iam:AttachUserPolicy",
    "iam:DeleteGroupPolicy",
    "iam:DeleteRolePermissionsBoundary",
    "iam:DeleteUserPolicy",
    "iam:DetachGroupPolicy",
    "iam:DetachUserPolicy",
    "iam:GetGroupPolicy",
    "iam:GetUserPolicy",
    "iam:PutGroupPolicy",
    "iam:PutRolePermissionsBoundary",
    "iam:PutUserPolicy",
    "kms:ListAliases",
    "kms:ReEncrypt",
    "kms:RevokeGrant",
    "lambda:AssociateRuntimeAlias",
    "lambda:DeleteFunctionCodeSigningConfig",
    "lambda:GetCodeSigningConfig",
    "lambda:GetFunctionCodeSigningConfig",
    "lambda:GetLayerVersion",
    "lambda:PassCapacityProvider",
    "lambda:PutFunctionCodeSigningConfig",
    "logs:CreateLogStream",
    "logs:DescribeLogStreams",
    "logs:PutBearerTokenAuthentication",
    "logs:PutLogEvents",
    "s3:GetObjectMetadata",
    "s3:REST.PUT.OBJECT",
    "secretsmanager:RemoveRegionsFromReplication",
    "secretsmanager:ReplicateSecretToRegions",
}
# No resource type says these: SAM's own calls, its bucket, what a dynamic reference, a stream and
# an encrypted table need, and what switches an access log on:
# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging.html
BESIDE = {
    "cloudformation:CreateChangeSet",
    "cloudformation:DescribeChangeSet",
    "cloudformation:DescribeStackEvents",
    "cloudformation:ExecuteChangeSet",
    "cloudformation:GetTemplateSummary",
    "dynamodb:DescribeStream",
    "kms:CreateGrant",
    "kms:GenerateDataKey",
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:UpdateLogDelivery",
    "s3:CreateBucket",
    "s3:GetBucketLocation",
    "s3:PutObject",
    # SAM's bucket has tags from the first:
    # https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucketConfiguration.html
    "s3:TagResource",
    "secretsmanager:GetSecretValue",
}


def subject():
    """The subject of these rules: the files, the routes, and the types of all resources."""
    types = set()
    for name in sorted(file.name for file in render.INFRA.glob("*.yaml")):
        template = render.source(name)
        template = render.transformed(template) if "Transform" in template else template
        types |= {resource["Type"] for resource in template["Resources"].values()}
    return {
        "Files": {file.name: json.loads(file.read_text()) for file in sorted(backends.POLICIES.glob("*.json"))},
        "Routes": dict(wiring.ROUTES),
        "Types": sorted(types),
    }


def statements(subject, name):
    return subject["Files"].get(name, {"Statement": []})["Statement"]


def actions(subject, name):
    return {action for statement in statements(subject, name) for action in backends.listed(statement["Action"])}


@functools.cache
def called():
    """The actions behind the calls of AWS's SDK in our own code."""
    found = set()
    services = {}
    for crate in OURS:
        manifest = tomllib.loads((WORKSPACE / crate / "Cargo.toml").read_text())
        for name in manifest["dependencies"]:
            if name.startswith("aws-sdk-"):
                service = name.removeprefix("aws-sdk-")
                model = botocore.session.get_session().get_service_model({"cloudwatchlogs": "logs", "eventbridge": "events"}.get(service, service))
                services[model.service_name] = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): name for name in model.operation_names}
        for file in (WORKSPACE / crate / "src").rglob("*.rs"):
            code = re.sub(r"//.*", "", file.read_text()).split("#[cfg(test)]")[0]
            # A call of the SDK begins without an argument. A name of one word may be anybody's, so
            # there it has to be a client's.
            called = re.findall(r"\.(\w+_\w+)\(\)", code) + re.findall(r"client(?:\(\w+\))?\s*\.([a-z]+)\(\)", code)
            for name in called:
                of = [service for service, operations in services.items() if name in operations]
                named = [service for service in of if f"aws_sdk_{service}" in code]
                found |= {f"{PREFIXES.get(service, service)}:{services[service][name]}" for service in named or of}
    if "dynamodb:TransactWriteItems" in found:
        transaction = (WORKSPACE / "shared/store/src/transaction.rs").read_text()
        found |= {f"dynamodb:{action}" for word, action in IN_TRANSACTIONS.items() if f"operation, {word}, builder" in transaction}
    found.discard("dynamodb:TransactWriteItems")
    # A batch of SQS needs the permission of one: AWS, "Amazon SQS API permissions: Actions and
    # resource reference".
    found = {re.sub(r"^(sqs:\w+)Batch$", r"\1", action) for action in found}
    return {"lambda:InvokeFunction" if action == "lambda:Invoke" else action for action in found}


def differ(found, expected, name):
    return [f"{name} lacks {action}" for action in sorted(expected - found)] + [
        f"{name} has {action}, which nothing calls" for action in sorted(found - expected)
    ]


def operators_may_what_commands_call(subject):
    return differ(actions(subject, "operate.json"), called() | BY_KEY, "operate.json")


def readers_open_and_change_nothing(subject):
    expected = {action for action in called() if READS.fullmatch(action)} - OPENS - REPLAYS | {"kms:Decrypt", "kms:DescribeKey"}
    return differ(actions(subject, "read.json"), expected, "read.json")


def matches(pattern, action):
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), action, re.IGNORECASE) is not None


@functools.cache
def called_for(kind):
    """The calls that make, change and delete a resource of this type, by AWS's own schema."""
    handlers = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema.get("handlers", {})
    found = itertools.chain(*(entry["permissions"] for handler, entry in handlers.items() if handler != "list"))
    return {action for action in found if action.split(":")[0] not in UNUSED_SERVICES} - UNUSED


def needed(subject):
    return BESIDE.union(*map(called_for, subject["Types"]))


def deployers_may_what_a_deployment_calls(subject):
    allowed, wanted = set().union(*(actions(subject, name) for name in DEPLOYERS)), needed(subject)
    problems = [f"deployers lack {action}" for action in sorted(wanted) if not any(matches(pattern, action) for pattern in allowed)]
    return problems + [
        f"deployers have {pattern}, which no deployment calls"
        for pattern in sorted(allowed)
        if not any(matches(pattern, action) for action in wanted)
    ]


# Names that CloudFormation makes of a stack's end so, and the longest name of a stack that it need
# not cut for them: a function has 64 characters.
RANDOM = "1ABCDEFGHIJKL"
WHOLE = 30
# The service, the region and account if it has them, and the rest of the ARN of what a type makes.
MADE = {
    "AWS::ApiGatewayV2::Api": "apigateway:{Region}::/apis/a1b2c3d4e5",
    "AWS::ApiGatewayV2::ApiMapping": "apigateway:{Region}::/domainnames/auth.example.com/apimappings/a1b2c3",
    "AWS::ApiGatewayV2::DomainName": "apigateway:{Region}::/domainnames/auth.example.com",
    "AWS::ApiGatewayV2::Integration": "apigateway:{Region}::/apis/a1b2c3d4e5/integrations/a1b2c3d",
    "AWS::ApiGatewayV2::Route": "apigateway:{Region}::/apis/a1b2c3d4e5/routes/a1b2c3d",
    "AWS::ApiGatewayV2::Stage": "apigateway:{Region}::/apis/a1b2c3d4e5/stages/$default",
    "AWS::Backup::BackupPlan": "backup:{Region}:{Account}:backup-plan:{Uuid}",
    "AWS::Backup::BackupSelection": "backup:{Region}:{Account}:backup-plan:{Uuid}",
    "AWS::Backup::BackupVault": "backup:{Region}:{Account}:backup-vault:threads-auth-{Uuid}",
    "AWS::CertificateManager::Certificate": "acm:{Region}:{Account}:certificate/{Uuid}",
    "AWS::CloudFormation::Stack": "cloudformation:{Region}:{Account}:stack/{Made}/{Uuid}",
    "AWS::CloudFront::Distribution": "cloudfront::{Account}:distribution/E1ABCDEFGHIJK",
    "AWS::CloudWatch::Alarm": "cloudwatch:{Region}:{Account}:alarm:{Stack}-name",
    "AWS::CloudWatch::Dashboard": "cloudwatch::{Account}:dashboard/{Stack}-{Region}",
    "AWS::DynamoDB::Table": "dynamodb:{Region}:{Account}:table/{Made}",
    "AWS::Events::EventBus": "events:{Region}:{Account}:event-bus/{Stack}",
    "AWS::Events::Rule": "events:{Region}:{Account}:rule/{Made}",
    "AWS::IAM::ManagedPolicy": "iam::{Account}:policy/{Made}",
    "AWS::IAM::Role": "iam::{Account}:role/{Made}",
    "AWS::KMS::Key": "kms:{Region}:{Account}:key/{Uuid}",
    "AWS::Lambda::EventSourceMapping": "lambda:{Region}:{Account}:event-source-mapping:{Uuid}",
    "AWS::Lambda::Function": "lambda:{Region}:{Account}:function:{Made}",
    "AWS::Logs::LogGroup": "logs:{Region}:{Account}:log-group:{Named}:*",
    "AWS::Route53::RecordSet": "route53:::hostedzone/Z0123456789",
    "AWS::SNS::Topic": "sns:{Region}:{Account}:{Made}",
    "AWS::SQS::Queue": "sqs:{Region}:{Account}:{Made}",
    "AWS::Scheduler::Schedule": "scheduler:{Region}:{Account}:schedule/{Stack}/{Made}",
    "AWS::Scheduler::ScheduleGroup": "scheduler:{Region}:{Account}:schedule-group/{Stack}",
    "AWS::SecretsManager::Secret": "secretsmanager:{Region}:{Account}:secret:{Id}-{Random}-AbCdEf",
    "AWS::WAFv2::WebACL": "wafv2:us-east-1:{Account}:global/webacl/{Made}/{Uuid}",
}
# Calls on something else than what is made.
ELSEWHERE = {"route53:GetChange": "arn:aws:route53:::change/C0123456789"}
# Resources that operators and readers are given by a pattern, not by an output of the stack.
OPERATED = {
    # Neither of the stacks that are deployed is a resource of a template.
    "cloudformation": "",
    "cloudwatch": "AWS::CloudWatch::Alarm",
    "events": "AWS::Events::EventBus",
    "scheduler": "AWS::Scheduler::Schedule",
    "sqs": "AWS::SQS::Queue",
}
# Parts of other resources, without an ARN of their own.
PARTS = {"AWS::IAM::Policy", "AWS::Lambda::EventInvokeConfig", "AWS::Lambda::Permission", "AWS::SNS::TopicPolicy"}
# Each stack's template, its name, and the policies of whoever deploys it.
STACKS = (
    ("template.yaml", "{Stack}", ("deploy.json", "deploy-domain.json")),
    ("edge.yaml", f"{{Stack}}-EdgeStack-{RANDOM}", ("deploy.json", "deploy-domain.json")),
    ("data.yaml", "{Stack}-data", ("deploy.json", "deploy-data.json")),
)


@functools.cache
def made_by(file):
    """The types of a template's resources by their logical ids, with names that we give."""
    template = render.source(file)
    template = render.transformed(template) if "Transform" in template else template
    named = lambda resource: resource["Properties"].get("LogGroupName", {}).get("Fn::Sub", "")
    return {id: (resource["Type"], named(resource)) for id, resource in template["Resources"].items()}


def opened(text, **names):
    return re.sub(r"\{(\w+)\}", lambda match: names.get(match[1], match[0]), text)


def reaches(subject, files, action, arn):
    """Says if policies allow an action on this one thing."""
    return any(
        any(matches(pattern, action) for pattern in backends.listed(statement["Action"]))
        and any(matches(opened(pattern, **IN_AN_ACCOUNT), arn) for pattern in backends.listed(statement["Resource"]))
        for name in files
        for statement in statements(subject, name)
    )


IN_AN_ACCOUNT = {"Partition": "aws", "Region": "eu-central-1", "Account": "123456789012", "Stack": "s" * WHOLE}


def stack_arn(name):
    return opened(f"arn:aws:cloudformation:{{Region}}:{{Account}}:stack/{name}/{'0' * 36}", **IN_AN_ACCOUNT)


def things(file, stack):
    """Each thing that a stack makes: its name in the template, its ARN and the calls on it."""
    for id, (kind, named) in made_by(file).items():
        if kind in MADE:
            names = IN_AN_ACCOUNT | {"Id": id, "Random": RANDOM, "Uuid": "0" * 36}
            names["Made"] = f"{opened(stack, **names)}-{id}-{RANDOM}"
            names["Named"] = named.replace("${AWS::StackName}", opened(stack, **names))
            arn = "arn:aws:" + opened(MADE[kind], **names)
            service = arn.split(":")[2]
            yield id, arn, {action for action in called_for(kind) if action.split(":")[0] == service} - OF_EVERYTHING - UNKNOWN


def deployers_reach_what_is_made(subject):
    """The deployer of a stack may make each call on the thing that it is made on, for a stack whose
    name is as long as CloudFormation leaves whole."""
    problems = [f"{kind} has no ARN here" for kind in sorted(set(subject["Types"]) - MADE.keys() - PARTS)]
    for file, stack, files in STACKS:
        for id, arn, wanted in things(file, stack):
            if len(re.split("[:/]", arn)[-1]) > longest.GENERATED.get(made_by(file)[id][0], len(arn)):
                problems.append(f"CloudFormation cuts the name of {id} of {file}: {arn}")
            # CloudFormation reads a secret that it has made up, and of the data it makes up none.
            wanted = wanted - OPENS if file == "data.yaml" else wanted
            problems += [
                f"{action} does not reach {id} of {file}: {arn}"
                for action in sorted(wanted)
                if not reaches(subject, files, action, ELSEWHERE.get(action, arn))
            ]
    return problems


def operators_reach_what_is_made(subject):
    """A pattern for operators and readers matches each thing of the kind that it is there for. Both
    stacks are looked at: `doctor` asks what protects the one that has the data."""
    made = [(id, arn, made_by("template.yaml")[id][0]) for id, arn, _ in things("template.yaml", "{Stack}")]
    made += [(f"the stack {stack}", stack_arn(stack), OPERATED["cloudformation"]) for stack in ("{Stack}", "{Stack}-data")]
    return [
        f"{name}: {action} does not reach {id}: {arn}"
        for name in ("operate.json", "read.json")
        for action in sorted(actions(subject, name))
        for id, arn, kind in made
        if kind == OPERATED.get(action.split(":")[0]) and not reaches(subject, [name], action, arn)
    ]


def whoever_deploys_the_service_leaves_its_data(subject):
    """Without deploy-data.json nobody deletes or changes a table, a key, a secret or a backup, nor
    whom messages about them reach, nor the stack that they are in."""
    files = ("deploy.json", "deploy-domain.json")
    kinds = set(wiring.KEPT_DATA.values())
    kinds |= {"AWS::Backup::BackupVault", "AWS::Backup::BackupPlan", "AWS::Events::Rule", "AWS::SNS::Topic"}
    data = [(id, arn, wanted) for id, arn, wanted in things("data.yaml", "{Stack}-data") if made_by("data.yaml")[id][0] in kinds]
    data.append(("the stack", stack_arn("{Stack}-data"), {"cloudformation:DeleteStack", "cloudformation:SetStackPolicy", "cloudformation:CreateChangeSet"}))
    through = {action for statement in statements(subject, "deploy.json") if "kms:ViaService" in json.dumps(statement) for action in statement["Action"]}
    return [
        f"{action} reaches {id} of the data: {arn}"
        for id, arn, wanted in data
        for action in sorted(wanted)
        if reaches(subject, files, action, arn) and not any(matches(pattern, action) for pattern in through)
    ]


# Permissions in the schemas that are no actions by these names, or that parliament is too old for.
UNKNOWN = {
    "apigateway:TagResource",
    "apigateway:UntagResource",
    "lambda:GetFunctionScalingConfig",
    "lambda:PutFunctionScalingConfig",
    "logs:PutLogGroupDeletionProtection",
    "s3:getObject",
}

# Actions without a narrower resource: AWS does not know it yet, or asks for `*`.
OF_EVERYTHING = {
    "backup-storage:MountCapsule",
    "acm:RequestCertificate",
    "cloudformation:GetTemplateSummary",
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html
    "cloudwatch:GetMetricData",
    "kms:CreateKey",
    "lambda:CreateEventSourceMapping",
    "lambda:ListEventSourceMappings",
    "logs:CreateLogDelivery",
    "logs:DeleteIndexPolicy",
    "logs:DeleteLogDelivery",
    "logs:DeleteResourcePolicy",
    "logs:DescribeIndexPolicies",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutIndexPolicy",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
    "route53:ListHostedZones",
    "secretsmanager:GetRandomPassword",
    "sns:Unsubscribe",
}


def people_hold_what_is_named(subject):
    """`*` alone is a resource where AWS takes no other, and no action is every action."""
    problems = []
    for name in (*DEPLOYERS, "operate.json", "read.json"):
        for statement in statements(subject, name):
            listed = backends.listed(statement["Action"])
            if "*" in backends.listed(statement["Resource"]):
                problems += [f"{name}: {action} of everything" for action in listed if action not in OF_EVERYTHING]
            problems += [f"{name}: {action}" for action in listed if action == "*" or name not in DEPLOYERS and "*" in action]
            if "iam:PassRole" in listed and "iam:PassedToService" not in json.dumps(statement.get("Condition", {})):
                problems.append(f"{name} hands roles to any service")
            if statement["Effect"] != "Allow" or "NotAction" in statement or "NotResource" in statement:
                problems.append(f"{name} has {statement}")
    return problems


# The greatest length of what stands in braces.
LONGEST = {
    "Partition": longest.PSEUDO["AWS::Partition"],
    "Region": longest.PSEUDO["AWS::Region"],
    "Account": longest.PSEUDO["AWS::AccountId"],
    "Stack": longest.STACK_NAME,
    "ApiId": "x" * 10,
    "GrantsTableName": "x" * 255,
    "ShortLivedTableName": "x" * 255,
    "RefreshFunctionName": "x" * 64,
    "EventsFunctionName": "x" * 64,
    "AppSecretArn": "x" * 200,
    "KeyringSecretArn": "x" * 200,
    "DataKeyArn": "x" * 100,
}


@limited("a managed policy of people's: 6,144 characters, with the longest names", "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html", [])
def peoples_policies_are_not_too_long(subject):
    problems = []
    for name, document in subject["Files"].items():
        text = re.sub(r"\{(\w+)\}", lambda match: LONGEST[match[1]], json.dumps(document, separators=(",", ":")).replace(" ", ""))
        if len(text) > 6_144:
            problems.append(f"{name} may have {len(text)} characters")
    return problems


def parliament_finds_nothing_in_peoples_policies(subject):
    filled = {"Partition": "aws", "Region": "eu-central-1", "Account": "123456789012", "Stack": "threads-auth", "ApiId": "a1b2c3d4e5"}
    arns = {
        "AppSecretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:a-AbCdEf",
        "KeyringSecretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:k-AbCdEf",
        "DataKeyArn": "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    }
    filled |= arns | {name: "name" for name in LONGEST if name.endswith("Name")}
    problems = []
    wanted = needed(subject)
    for name, document in subject["Files"].items():
        for statement in document["Statement"]:
            # Of a pattern counts what it is there for.
            listed = [[action for action in wanted if matches(pattern, action)] if "*" in pattern else [pattern] for pattern in backends.listed(statement["Action"])]
            spelled = statement | {"Action": sorted(set(itertools.chain(*listed)) - UNKNOWN)}
            text = re.sub(r"\{(\w+)\}", lambda match: filled[match[1]], json.dumps({"Version": "2012-10-17", "Statement": [spelled]}))
            problems += [f"{name}: {found[:300]}" for found in wiring.found_in(text) if not is_transform(found)]
    return problems


def is_transform(found):
    """SAM's transform is AWS's own, and its account is `aws`."""
    return found.startswith("INVALID_ARN Account")


RULES = [
    backends.each_signed_route_has_one_permission,
    backends.policies_as_files_open_the_same,
    operators_may_what_commands_call,
    readers_open_and_change_nothing,
    deployers_may_what_a_deployment_calls,
    deployers_reach_what_is_made,
    operators_reach_what_is_made,
    whoever_deploys_the_service_leaves_its_data,
    people_hold_what_is_named,
    peoples_policies_are_not_too_long,
    parliament_finds_nothing_in_peoples_policies,
]

if __name__ == "__main__":
    print(*sorted(called()), sep="\n")
    print("--", *sorted(needed(subject())), sep="\n")
