"""The values of a template once CloudFormation has put in the longest names and parameters that we
allow."""

import re

# A stack's name is the name of its schedule group, which has 64 characters at most. CloudFormation
# would take 128.
STACK_NAME = "s" * 64
PSEUDO = {
    "AWS::Partition": "aws-us-gov",
    "AWS::Region": "ap-northeast-1",
    "AWS::AccountId": "123456789012",
    "AWS::StackName": STACK_NAME,
    "AWS::StackId": f"arn:aws-us-gov:cloudformation:ap-northeast-1:123456789012:stack/{STACK_NAME}/{'0' * 36}",
    "AWS::URLSuffix": "amazonaws.com",
}

# The greatest length of a name that CloudFormation makes, of the stack's name, the resource's and
# 13 characters of its own.
GENERATED = {
    "AWS::DynamoDB::Table": 255,
    "AWS::IAM::ManagedPolicy": 128,
    "AWS::IAM::Role": 64,
    "AWS::Lambda::Function": 64,
    "AWS::SecretsManager::Secret": 512,
    "AWS::SQS::Queue": 80,
}
# The property that names a resource, if we name it.
NAMES = {
    "AWS::Backup::BackupVault": "BackupVaultName",
    "AWS::ApiGatewayV2::Api": "Name",
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::Events::EventBus": "Name",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::Scheduler::ScheduleGroup": "Name",
}
# Longer than any attribute that is neither a name of ours nor an ARN: ids, host names, addresses of
# AWS's.
ATTRIBUTE = "x" * 80
# The longest value of a dynamic reference of ours: an origin secret.
RESOLVED = "x" * 64
# CloudFormation's own limit, for parameters without one.
PARAMETER = 4_096


def values(template, value):
    """Every value that `value` may have, as far as lengths and bounds go."""
    match value:
        case {"Ref": "AWS::NoValue"}:
            return []
        case {"Ref": name} if name in template.get("Parameters", {}):
            return of_parameter(template["Parameters"][name])
        case {"Ref": name}:
            return [PSEUDO.get(name) or physical_name(template, name)]
        case {"Fn::GetAtt": [name, attribute]}:
            return [attribute_of(template, name, attribute)]
        case {"Fn::Sub": [words, variables]}:
            return [substituted(template, words, variables)]
        case {"Fn::Sub": words}:
            return [substituted(template, words, {})]
        case {"Fn::Select": [index, {"Fn::Split": [by, inner]}]}:
            return [text(template, inner).split(by)[index]]
        case {"Fn::If": [_, one, other]}:
            return values(template, one) + values(template, other)
    return [value]


def text(template, value):
    """The longest text that `value` may become."""
    return max((str(one) for one in values(template, value)), key=len, default="")


def filled(template, value):
    """A document with the longest of everything in it."""
    match value:
        case dict() if not any(key == "Ref" or key.startswith("Fn::") for key in value):
            return {key: filled(template, inner) for key, inner in value.items()}
        case list():
            return [filled(template, inner) for inner in value if inner != {"Ref": "AWS::NoValue"}]
        case dict():
            return text(template, value)
    return value


def of_parameter(parameter):
    if "AllowedValues" in parameter:
        return parameter["AllowedValues"]
    bounds = [parameter[bound] for bound in ("Default", "MinValue", "MaxValue") if bound in parameter]
    if parameter["Type"] == "Number":
        return bounds if {"MinValue", "MaxValue"} <= parameter.keys() else [*bounds, 10**9]
    # CloudFormation counts characters, and Lambda the bytes of a name that may be in any script.
    bytes_of_one = 3 if re.fullmatch(parameter.get("AllowedPattern", ""), "ж") else 1
    return [*bounds, "x" * int(parameter.get("MaxLength", PARAMETER)) * bytes_of_one]


def substituted(template, text_of, variables):
    def one(match):
        name, _, attribute = match[1].partition(".")
        if name in variables:
            return text(template, variables[name])
        return text(template, {"Fn::GetAtt": [name, attribute]} if attribute else {"Ref": name})

    made = re.sub(r"\$\{([^!}][^}]*)\}", one, text_of).replace("${!", "${")
    return re.sub(r"\{\{resolve:.*?\}\}", RESOLVED, made)


def physical_name(template, name):
    resource = template["Resources"][name]
    kind = resource["Type"]
    if kind in NAMES:
        return text(template, resource["Properties"][NAMES[kind]])
    if kind in GENERATED:
        return f"{STACK_NAME}-{name}-{'X' * 13}"[-GENERATED[kind] :]
    return ATTRIBUTE


def attribute_of(template, name, attribute):
    kind = template["Resources"][name]["Type"]
    if kind not in NAMES and kind not in GENERATED or attribute not in ("Arn", "Id", "StreamArn", "QueueName"):
        return ATTRIBUTE
    if attribute == "QueueName":
        return physical_name(template, name)
    _, service, thing = kind.lower().split("::")
    end = {"Id": "-XXXXXX", "StreamArn": "/stream/2026-01-01T00:00:00.000"}.get(attribute, "")
    pseudo = PSEUDO["AWS::Partition"], service, PSEUDO["AWS::Region"], PSEUDO["AWS::AccountId"]
    return f"arn:{':'.join(pseudo)}:{thing}/{physical_name(template, name)}{end}"
