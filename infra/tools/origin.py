"""Rules on what changes with CloudFront: the secret by which the functions know it is the same on
both sides, of the same version, and only public functions ask for it; and backends have an address
that answers before and after."""

import itertools
import re

import render
import wiring
from limits import holds

# Our own code says the header's name.
REQUEST = render.INFRA.parent / "shared/web/src/request.rs"

# Both values of a parameter that is on or off.
SWITCH = ("false", "true")

FUNCTION = "{{{{resolve:secretsmanager:${{OriginSecret.Id}}:SecretString:{key}::${{OriginSecretVersion}}}}}}"
EDGE = FUNCTION.replace("OriginSecret.Id}}:", "OriginSecretArn}}:")
VALUE = f"{FUNCTION.format(key='send')},{FUNCTION.format(key='accept')}"

# Headers that CloudFront does not add:
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/add-origin-custom-headers.html
REFUSED = re.compile(
    r"x-(amz|edge)-.*|accept-encoding|cache-control|connection|content-length|cookie|expect|host|if-.*|keep-alive|max-forwards|pragma"
    r"|proxy-.*|range|request-range|te|trailers?|transfer-encoding|upgrade|via|warning|x-accel-.*|x-forwarded-proto|x-http-.*|x-real-ip",
    re.IGNORECASE,
)


def public_functions_demand_the_origin_secret(template):
    public = {function for authorization, function in wiring.ROUTES.values() if authorization == "NONE"}
    signed = {function for authorization, function in wiring.ROUTES.values() if authorization != "NONE"}
    problems = [f"{name} answers public and signed routes" for name in sorted(public & signed)]
    demanded = {"Fn::If": ["DemandsEdge", {"Fn::Sub": VALUE}, ""]}
    for name, function in wiring.of_type(template, "AWS::Lambda::Function").items():
        given = function["Properties"].get("Environment", {}).get("Variables", {}).get("ORIGIN_SECRETS")
        expected = demanded if name.removesuffix("Function") in public else None
        if given != expected:
            problems.append(f"{name} demands {given}")
    both = {"Fn::And": [{"Condition": "HasEdge"}, {"Fn::Equals": [{"Ref": "EdgeOnly"}, "true"]}]}
    if template["Conditions"].get("DemandsEdge") != both or template["Parameters"]["EdgeOnly"]["Default"] != "true":
        problems.append("it is not demanded wherever Edge is on")
    return problems


def the_edge_is_given_the_same_secret(template):
    given = template["Resources"]["EdgeStack"]["Properties"]["Parameters"]
    return [
        f"EdgeStack has {name} {given.get(name)}"
        for name, of in (
            ("OriginSecretArn", {"Fn::GetAtt": ["OriginSecret", "Id"]}),
            ("OriginSecretVersion", {"Ref": "OriginSecretVersion"}),
        )
        if given.get(name) != of
    ]


def the_origin_secret_is_made_with_the_edge(template):
    """CloudFormation makes it, so that it is there for the first request: with a value that nobody
    can guess, and no second one."""
    secret = template["Resources"].get("OriginSecret", {"Properties": {}})
    generator = secret["Properties"].get("GenerateSecretString", {})
    problems = []
    # Its versions are its own: while one is named, it has to be this secret.
    stays = {"Fn::Or": [{"Condition": "HasEdge"}, {"Fn::Not": [{"Fn::Equals": [{"Ref": "OriginSecretVersion"}, ""]}]}]}
    if secret.get("Condition") != "HasOriginSecret" or template["Conditions"].get("HasOriginSecret") != stays:
        problems.append("it is there unasked, or goes with Edge while a version of it is named")
    if "SecretString" in secret["Properties"]:
        problems.append("it has a value in the template")
    if (generator.get("SecretStringTemplate"), generator.get("GenerateStringKey")) != ('{"accept":"-"}', "send"):
        problems.append(f"it begins as {generator}")
    if not 32 <= generator.get("PasswordLength", 0) <= 64 or generator.get("ExcludePunctuation") is not True:
        problems.append("the functions do not take what is generated")
    return problems


def backends_can_move_before_the_edge_does(template):
    """A signature names its host, and CloudFront hands on another one. So the API's own address can
    be open beside the domain, and then it is what ApiUrl says, with Edge or without."""
    match template["Resources"]["Api"]["Properties"]["DisableExecuteApiEndpoint"]:
        case {"Fn::If": [str(condition), True, False]}:
            pass
        case other:
            return [f"it is closed: {other}"]
    told = {"Fn::If": [condition, {"Fn::Sub": "https://${DomainName}"}, {"Fn::GetAtt": ["Api", "ApiEndpoint"]}]}
    problems = [] if template["Outputs"]["ApiUrl"]["Value"] == told else ["ApiUrl is not the address that is open"]
    defaults = {name: str(of.get("Default", "")) for name, of in template["Parameters"].items()}
    for domain in ("", "auth.example.com"):
        for edge in SWITCH:
            for stays in SWITCH:
                given = defaults | {"DomainName": domain, "Edge": edge, "ApiAddress": stays, "Conditions": template["Conditions"]}
                given["AWS::Region"] = "us-east-1"
                expected = (domain, edge, stays) == ("auth.example.com", "false", "false")
                if holds({"Condition": condition}, given) != expected:
                    problems.append(f"with {domain or 'no domain'}, Edge={edge}, ApiAddress={stays} it is {'open' if expected else 'closed'}")
    return problems


def the_name_leads_in_while_it_moves(template):
    """With Edge and without EdgeOnly the API answers to the domain beside CloudFront, for whoever
    remembers where the name led before. It needs a certificate of its own region for that, and
    CloudFront's is of us-east-1."""
    defaults = {name: str(of.get("Default", "")) for name, of in template["Parameters"].items()}
    parts = {name: template["Resources"][name] for name in ("ApiDomain", "ApiDomainMapping")}
    parts["ApiDomainTarget"] = template["Outputs"]["ApiDomainTarget"]
    problems = []
    for domain, edge, only, region in itertools.product(("", "auth.example.com"), SWITCH, SWITCH, ("us-east-1", "eu-central-1")):
        given = defaults | {"DomainName": domain, "Edge": edge, "EdgeOnly": only, "AWS::Region": region, "Conditions": template["Conditions"]}
        expected = bool(domain) and (edge == "false" or (only, region) == ("false", "us-east-1"))
        problems += [
            f"with {domain or 'no domain'}, Edge={edge}, EdgeOnly={only} in {region} there is {'no' if expected else 'a'} {name}"
            for name, part in parts.items()
            if holds({"Condition": part["Condition"]}, given) != expected
        ]
    return problems


def cloudfront_shows_the_origin_secret(template):
    header = re.search(r'const ORIGIN: &str = "([^"]+)"', REQUEST.read_text())[1]
    problems = [f"CloudFront does not add {header}"] if REFUSED.fullmatch(header) else []
    for name, distribution in wiring.of_type(template, "AWS::CloudFront::Distribution").items():
        for origin in distribution["Properties"]["DistributionConfig"]["Origins"]:
            expected = [{"HeaderName": header, "HeaderValue": {"Fn::Sub": EDGE.format(key="send")}}]
            if (shown := origin.get("OriginCustomHeaders")) != expected:
                problems.append(f"{name} shows {shown} to {origin['Id']}")
    return problems


def nothing_of_the_secret_can_be_read_off_the_stack(template):
    """Neither an output nor a description has it: both are shown to all who may describe it."""
    problems = []
    for section in ("Outputs", "Metadata", "Parameters"):
        for name, entry in template.get(section, {}).items():
            if "{{resolve:" in str(entry):
                problems.append(f"{section}: {name} resolves a secret")
    return problems


RULES = [
    public_functions_demand_the_origin_secret,
    the_edge_is_given_the_same_secret,
    the_origin_secret_is_made_with_the_edge,
    backends_can_move_before_the_edge_does,
    the_name_leads_in_while_it_moves,
    nothing_of_the_secret_can_be_read_off_the_stack,
]
EDGE_RULES = [cloudfront_shows_the_origin_secret, nothing_of_the_secret_can_be_read_off_the_stack]
