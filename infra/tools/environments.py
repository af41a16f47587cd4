"""Rules on samconfig.toml: SAM's own code reads each environment's settings, and they are compared
with the templates. And rules on what the data's stack hands to the service's, and on its policy."""

import json
import re
import tomllib

import click
from samcli.cli.types import CfnParameterOverridesType

import longest
import render
from limits import refused
from wiring import DATA, KEPT_DATA, of_type

CONFIG = render.INFRA.parent / "samconfig.toml"
POLICY = render.INFRA / "data-policy.json"

# Values that somebody may take for outputs of the data's stack.
NO_DATA = {
    "GrantsTableName": "arn:aws:dynamodb:eu-central-1:123456789012:table/grants",
    "GrantsStreamArn": "arn:aws:dynamodb:eu-central-1:123456789012:table/grants",
    "ShortLivedTableName": "",
    "DataKeyArn": "arn:aws:kms:eu-central-1:123456789012:alias/threads-auth",
    # IAM wants the six characters that AWS adds to a secret's name.
    "AppSecretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:threads-auth-app",
    "KeyringSecretArn": "KeyringSecret-1aBcDeFgHiJk-AbCdEf",
}

# Lists that the parameter takes: all that ../../shared/threads-auth/src/connect/return_to.rs takes,
# but for spaces.
ADDRESSES = (
    "",
    "https://www.example.com/",
    "https://www.example.com",
    "https://app.example.com:8443/threads/done",
    "https://app.example.com/threads,https://www.example.com/",
    "http://localhost:3001/",
    "http://localhost:*/",
    "http://127.0.0.1:*/app,http://[::1]:*",
    "https://a.example/,http://localhost:*/,http://127.0.0.1:4000/",
)
NO_ADDRESSES = (
    "https://a.example/ https://b.example/",
    "https://a.example/, https://b.example/",
    "https://a.example/,",
    ",https://a.example/",
    "http://a.example/",
    "https://a.example:*/",
    "http://localhost.evil.example/",
    "http://evil.example:*/",
    "https://user@a.example/",
    "https://a.example/?x=1",
    "https://a.example/#x",
    "javascript:alert(1)",
    "a.example",
)


# URLs that the function takes as WEBHOOK_URL too, and SAM hands on whole. It takes http on
# loopback as well.
RECEIVERS = (
    "",
    "https://app.example.com",
    "https://app.example.com/threads/events",
    "https://app.example.com:8443/hooks?tenant=7&x=%20",
    "https://[2001:db8::1]/",
)
NO_RECEIVERS = (
    "http://app.example.com/",
    "http://127.0.0.1:8000/",
    "https://user@app.example.com/",
    "https://user:password@app.example.com/",
    "https://app.example.com/#x",
    "https://app.example.com/a b",
    "https://",
    "ftp://app.example.com/",
    "app.example.com",
    "https://app.example.com/" + "x" * 256,
)

# Values that the parameters of the app's brand take, and that they do not take, as
# ../../shared/threads-auth/src/brand.rs has it.
LINKS = ("", "https://app.example", "https://app.example:8443/a/b?c=d&e=%2F#f", "https://app-1.example")
NO_LINKS = (
    "http://app.example/",
    "http://localhost/",
    "https://app.example:99999/",
    "https://999.1.1.1/",
    "https://[1::2::3]/",
    "HTTPS://app.example/",
    "https://",
    "https:///",
    "https://user@app.example/",
    "https://app.example/ x",
    'https://app.example/"',
    "https://app.example\\@evil.example/",
    "https://пример.example/",
    "javascript:alert(1)",
    "mailto:help@app.example",
    f"https://app.example/{'x' * 81}",
)
SHOWN = {
    "AppName": (
        ("", "P", "Photo Planner", 'A "B" & <c>', "写真プランナー", "مخطط الصور", "👩\u200d💻", "é" * 60),
        (" ", " a", "a ", "a\nb", "a\tb", "a\x7f", "a\x85", "a\u2028b", "a\u202eb", "a\u2066b", "a\u200fb", "\ufeffa", "é" * 61),
    ),
    "HomeUrl": (LINKS, NO_LINKS),
    "SupportUrl": (LINKS, NO_LINKS),
    "PrivacyUrl": (LINKS, NO_LINKS),
    "AccentColor": (("", "#0a4fb3", "#FFCC00"), ("0a4fb3", "#fff", "#0a4fb", "#0a4fb3f", "#0a4fbg", "blue", " #0a4fb3")),
}


def subject():
    """The subject of these rules: samconfig.toml, the part of the template that it speaks to, the
    data's template and the policy of its stack."""
    template = render.source()
    return {
        "Config": tomllib.loads(CONFIG.read_text()),
        "Parameters": template["Parameters"],
        "Rules": template["Rules"],
        "Expands": "Transform" in template and bool(of_type(template, "AWS::CloudFormation::Stack")),
        "Bytes": len((render.INFRA / "template.yaml").read_bytes()),
        "Data": {
            **render.source("data.yaml"),
            "Bytes": len((render.INFRA / "data.yaml").read_bytes()),
        },
        "Policy": json.loads(POLICY.read_text()),
    }


def environments(subject):
    return {name: entry for name, entry in subject["Config"].items() if isinstance(entry, dict)}


def is_data(name):
    return name == "data" or name.endswith("-data")


def data_of(name):
    """The environment of a service's data."""
    return "data" if name == "default" else f"{name}-data"


def template_of(subject, name):
    return subject["Data"] if is_data(name) else subject


def overrides(environment):
    return environment["global"]["parameters"].get("parameter_overrides", [])


def given(environment):
    """The parameters that an environment sets, as SAM reads them."""
    return CfnParameterOverridesType().convert(overrides(environment), None, None) or {}


def fits(parameter, value):
    return (
        value in map(str, parameter.get("AllowedValues", [value]))
        and len(value) <= int(parameter.get("MaxLength", longest.PARAMETER))
        and re.fullmatch(parameter.get("AllowedPattern", ".*"), value) is not None
    )


def environments_fit_the_template(subject):
    """Every parameter that an environment sets exists, and may have that value."""
    problems = []
    for name, environment in environments(subject).items():
        parameters = template_of(subject, name).get("Parameters", {})
        for parameter, value in given(environment).items():
            if parameter not in parameters:
                problems.append(f"{name}: there is no parameter {parameter}")
            elif not fits(parameters[parameter], value):
                problems.append(f"{name}: {parameter} cannot be {value}")
    return problems


def sam_hands_on_what_is_written(subject):
    """SAM takes several parameters in one string, so that a space ends a value: what comes behind
    it is lost without a word."""
    problems = []
    for name, environment in environments(subject).items():
        for override in overrides(environment):
            parameter, _, value = override.partition("=")
            if parameter == "AppName" and re.fullmatch(r'"[^"\\]*"', value):
                value = value.strip('"')
            try:
                read = CfnParameterOverridesType().convert([override], None, None)
            except click.BadParameter as error:
                read = error.message
            if read != {parameter: value}:
                problems.append(f"{name}: of {override} SAM makes {read}")
    return problems


def return_addresses_are_commas_apart(subject):
    """The parameter takes what the functions take, but for spaces, and SAM hands it on whole."""
    parameter = subject["Parameters"].get("ReturnToAllowlist", {})
    problems = [f"{text!r} is refused" for text in ADDRESSES if not fits(parameter, text)]
    problems += [f"{text!r} is taken" for text in NO_ADDRESSES if fits(parameter, text)]
    for text in filter(None, ADDRESSES):
        read = CfnParameterOverridesType().convert([f"ReturnToAllowlist={text}"], None, None)
        if read != {"ReturnToAllowlist": text}:
            problems.append(f"of {text!r} SAM makes {read}")
    return problems


def webhooks_are_posted_over_tls(subject):
    """The parameter takes https alone, with nothing in it that a log or a page would show."""
    parameter = subject["Parameters"].get("WebhookUrl", {})
    problems = [f"{text!r} is refused" for text in RECEIVERS if not fits(parameter, text)]
    problems += [f"{text!r} is taken" for text in NO_RECEIVERS if fits(parameter, text)]
    for text in filter(None, RECEIVERS):
        read = CfnParameterOverridesType().convert([f"WebhookUrl={text}"], None, None)
        if read != {"WebhookUrl": text}:
            problems.append(f"of {text!r} SAM makes {read}")
    return problems


def pages_show_what_they_can(subject):
    """The parameters take what the functions take, and SAM hands it on whole: a name in quotes,
    because it may have spaces."""
    problems = []
    for name, (fit, unfit) in SHOWN.items():
        parameter = subject["Parameters"].get(name, {})
        problems += [f"{name} cannot be {value!r}" for value in fit if not fits(parameter, value)]
        problems += [f"{name} can be {value!r}" for value in unfit if fits(parameter, value)]
        for value in filter(None, fit):
            written = '"' + value.replace('"', '\\"') + '"' if name == "AppName" else value
            read = CfnParameterOverridesType().convert([f"{name}={written}"], None, None)
            if read != {name: value}:
                problems.append(f"of {name}={written} SAM makes {read}")
    return problems


def values_have_no_spaces(subject):
    """A parameter whose value may have a space is one that SAM cuts, but for the name of the app,
    which has quotes around it."""
    return [
        f"{name} may have a space"
        for template in (subject, subject["Data"])
        for name, parameter in template.get("Parameters", {}).items()
        if parameter["Type"] == "String"
        and name != "AppName"
        and "AllowedValues" not in parameter
        and fits(parameter, parameter.get("Default", DATA.get(name, "")) + " x")
    ]


def region_of(arn):
    return arn.split(":")[3] if arn else None


def environments_can_be_deployed(subject):
    """Each has a stack's name that everything can be named after, and a region, which has all that
    it needs."""
    problems, stacks = [], []
    for name, environment in environments(subject).items():
        settings, deploy, parameters = environment["global"]["parameters"], environment["deploy"]["parameters"], given(environment)
        template = template_of(subject, name)
        stack, region = settings["stack_name"], settings.get("region")
        stacks.append(stack)
        is_too_long = not is_data(name) and len(stack) > len(longest.STACK_NAME)
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", stack) or is_too_long or stack == "default":
            problems.append(f"{name}: no stack of ours can be called {stack}")
        if not region:
            problems.append(f"{name} has no region")
        problems += [f"{name}: {why}" for why in refused(template, parameters, region)]
        has_edge = parameters.get("Edge") == "true"
        if region_of(parameters.get("CertificateArn")) not in (None, "us-east-1" if has_edge else region):
            problems.append(f"{name}: the certificate is in another region")
        if region_of(parameters.get("AlarmTopicArn")) not in (None, region):
            problems.append(f"{name}: the alarms' topic is in another region")
        if template["Bytes"] > 51_200 and not (deploy.get("resolve_s3") or deploy.get("s3_bucket")):
            problems.append(f"{name}: a template of {template['Bytes']} bytes has to go through S3")
        # SAM splits the text at its spaces.
        capabilities = deploy.get("capabilities", "").split()
        if "CAPABILITY_IAM" not in capabilities:
            problems.append(f"{name} may not make roles")
        if template.get("Expands") and "CAPABILITY_AUTO_EXPAND" not in capabilities:
            problems.append(f"{name} may not expand a template with a stack inside")
    problems += [f"{stacks.count(stack)} environments have the stack {stack}" for stack in sorted(set(stacks)) if stacks.count(stack) > 1]
    return problems


def nothing_shadows_global(subject):
    """A command's own part hides the value that `global` sets: `sam deploy --guided` writes all
    parameters there."""
    return [
        f"{name}: {command} hides {key} of global"
        for name, environment in environments(subject).items()
        for command, sections in environment.items()
        for key in sections["parameters"]
        if command != "global" and key in environment["global"]["parameters"]
    ]


def each_service_has_its_data(subject):
    """The data of an environment is a stack beside it, in its region, which nothing has to be built
    for."""
    every, problems = environments(subject), []
    services = {name for name in every if not is_data(name)}
    problems += [f"{name} is nobody's data" for name in sorted(every.keys() - services - set(map(data_of, services)))]
    for name in sorted(services):
        if data_of(name) not in every:
            problems.append(f"{name} has no {data_of(name)}")
            continue
        service, data = (every[one]["global"]["parameters"] for one in (name, data_of(name)))
        if data["stack_name"] != f"{service['stack_name']}-data" or data.get("region") != service.get("region"):
            problems.append(f"{data_of(name)} is not beside {name}")
        if every[data_of(name)]["deploy"]["parameters"].get("template_file") != "infra/data.yaml":
            problems.append(f"{data_of(name)} would deploy what was built")
        if every[name]["deploy"]["parameters"].get("template_file"):
            problems.append(f"{name} would not deploy what was built")
    return problems


def the_service_takes_what_the_data_gives(subject):
    """The data's outputs are called like the service's parameters, which take them as they are and
    take nothing that looks like them. None has a value that somebody would deploy unchanged."""
    problems = [
        f"{name} is an output of one and a parameter of the other"
        for name in sorted(DATA.keys() - (subject["Data"]["Outputs"].keys() & subject["Parameters"].keys()))
    ]
    for name, value in DATA.items():
        parameter = subject["Parameters"].get(name, {})
        if CfnParameterOverridesType().convert([f"{name}={value}"], None, None) != {name: value} or not fits(parameter, value):
            problems.append(f"{name} cannot be {value}")
        if fits(parameter, NO_DATA[name]):
            problems.append(f"{name} may be {NO_DATA[name]!r}")
        if "Default" in parameter:
            problems.append(f"{name} has a value of its own")
        problems += [f"{one} names somebody's {name}" for one, entry in environments(subject).items() if name in given(entry)]
    for one, other in (("GrantsTableName", "ShortLivedTableName"), ("AppSecretArn", "KeyringSecretArn")):
        if not refused(subject, DATA | {one: DATA[other]}, "eu-central-1"):
            problems.append(f"{one} may be {other}")
    return problems


def the_stacks_policy_protects_the_data(subject):
    """CloudFormation replaces what it cannot change, and one edit of the template is enough for it.
    All else may be updated."""

    def denies(statement, action, kind):
        kinds = statement.get("Condition", {}).get("StringEquals", {}).get("ResourceType", [kind])
        return statement["Effect"] == "Deny" and action in statement["Action"] and statement["Resource"] == "*" and kind in kinds

    statements = subject["Policy"]["Statement"]
    problems = [
        f"an update may {action.removeprefix('Update:').lower()} an {kind}"
        for kind in sorted(set(KEPT_DATA.values()))
        for action in ("Update:Replace", "Update:Delete")
        if not any(denies(statement, action, kind) for statement in statements)
    ]
    if {"Effect": "Allow", "Principal": "*", "Action": "Update:*", "Resource": "*"} not in statements:
        problems.append("nothing may be updated")
    return problems


RULES = [
    environments_fit_the_template,
    sam_hands_on_what_is_written,
    return_addresses_are_commas_apart,
    webhooks_are_posted_over_tls,
    pages_show_what_they_can,
    values_have_no_spaces,
    environments_can_be_deployed,
    nothing_shadows_global,
    each_service_has_its_data,
    the_service_takes_what_the_data_gives,
    the_stacks_policy_protects_the_data,
]
