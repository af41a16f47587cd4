"""Rules on samconfig.toml: SAM's own code reads each environment's settings, and they are compared
with the template."""

import re
import tomllib

import click
from samcli.cli.types import CfnParameterOverridesType

import longest
import render
from limits import refused

CONFIG = render.INFRA.parent / "samconfig.toml"

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


def subject():
    """The subject of these rules: samconfig.toml, and the part of the template that it speaks
    to."""
    template = render.source()
    return {
        "Config": tomllib.loads(CONFIG.read_text()),
        "Parameters": template["Parameters"],
        "Rules": template["Rules"],
        "Bytes": len((render.INFRA / "template.yaml").read_bytes()),
    }


def environments(subject):
    return {name: entry for name, entry in subject["Config"].items() if isinstance(entry, dict)}


def given(environment):
    """The parameters that an environment sets, as SAM reads them."""
    overrides = environment["global"]["parameters"]["parameter_overrides"]
    return CfnParameterOverridesType().convert(overrides, None, None)


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
        for parameter, value in given(environment).items():
            if parameter not in subject["Parameters"]:
                problems.append(f"{name}: there is no parameter {parameter}")
            elif not fits(subject["Parameters"][parameter], value):
                problems.append(f"{name}: {parameter} cannot be {value}")
    return problems


def sam_hands_on_what_is_written(subject):
    """SAM takes several parameters in one string, so that a space ends a value: what comes behind
    it is lost without a word."""
    problems = []
    for name, environment in environments(subject).items():
        for override in environment["global"]["parameters"]["parameter_overrides"]:
            parameter, _, value = override.partition("=")
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


def values_have_no_spaces(subject):
    """A parameter whose value may have a space is one that SAM cuts."""
    return [
        f"{name} may have a space"
        for name, parameter in subject["Parameters"].items()
        if parameter["Type"] == "String" and "AllowedValues" not in parameter and fits(parameter, parameter["Default"] + " x")
    ]


def region_of(arn):
    return arn.split(":")[3] if arn else None


def environments_can_be_deployed(subject):
    """Each has a stack's name that everything can be named after, and a region, which has all that
    it needs."""
    problems, stacks = [], []
    for name, environment in environments(subject).items():
        settings, deploy, parameters = environment["global"]["parameters"], environment["deploy"]["parameters"], given(environment)
        stack, region = settings["stack_name"], settings.get("region")
        stacks.append(stack)
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", stack) or len(stack) > len(longest.STACK_NAME) or stack == "default":
            problems.append(f"{name}: no stack of ours can be called {stack}")
        if not region:
            problems.append(f"{name} has no region")
        problems += [f"{name}: {why}" for why in refused(subject, parameters, region)]
        has_edge = parameters.get("Edge") == "true"
        if region_of(parameters.get("CertificateArn")) not in (None, "us-east-1" if has_edge else region):
            problems.append(f"{name}: the certificate is in another region")
        if region_of(parameters.get("AlarmTopicArn")) not in (None, region):
            problems.append(f"{name}: the alarms' topic is in another region")
        if subject["Bytes"] > 51_200 and not (deploy.get("resolve_s3") or deploy.get("s3_bucket")):
            problems.append(f"{name}: a template of {subject['Bytes']} bytes has to go through S3")
        if "CAPABILITY_IAM" not in deploy.get("capabilities", ""):
            problems.append(f"{name} may not make roles")
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


RULES = [
    environments_fit_the_template,
    sam_hands_on_what_is_written,
    return_addresses_are_commas_apart,
    values_have_no_spaces,
    environments_can_be_deployed,
    nothing_shadows_global,
]
