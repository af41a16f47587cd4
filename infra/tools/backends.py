"""Rules on backend.yaml and on policies/backend-*.json: who may take a backend's role, and which
routes each permission opens. The template is evaluated as CloudFormation would, and the policies as
IAM would."""

import itertools
import json
import re

import render
import wiring
from limits import holds, limited, refused

# Each signed route is opened by one permission. The template is compared with this.
PERMISSIONS = {
    "Sessions": ("POST /sessions", "GET /sessions/{id}", "POST /sessions/{id}/complete"),
    "Read": ("GET /users", "GET /users/{user_id}"),
    "Vend": ("GET /users/{user_id}/token",),
    "Manage": ("DELETE /users/{user_id}", "PATCH /users/{user_id}"),
}
# The policies for roles of the same account, with what each opens.
FILES = {
    "backend-sessions.json": {"Sessions"},
    "backend-read.json": {"Read"},
    "backend-vend.json": {"Vend"},
    "backend-read-and-vend.json": {"Read", "Vend"},
    "backend-manage.json": {"Manage"},
}
POLICIES = render.INFRA / "policies"
# The names that stand in braces in these files.
PLACEHOLDERS = {"Partition": "aws", "Region": "eu-central-1", "Account": "123456789012", "ApiId": "a1b2c3d4e5"}
PSEUDO = {"AWS::Partition": "aws", "AWS::Region": "eu-central-1", "AWS::AccountId": "123456789012"}
API = "arn:aws:execute-api:eu-central-1:123456789012:a1b2c3d4e5/$default/"

GITHUB = "token.actions.githubusercontent.com"
GITHUB_ARN = f"arn:aws:iam::123456789012:oidc-provider/{GITHUB}"
ROLE = "arn:aws:iam::210987654321:role/app"
EXTERNAL_ID = "0123456789abcdef"
BY_PRINCIPALS = {"BackendPrincipals": f"{ROLE},210987654321", "BackendExternalId": EXTERNAL_ID}
BY_GITHUB = {"OidcProvider": GITHUB_ARN, "OidcAudience": "sts.amazonaws.com", "OidcSubjects": "repo:a/b:ref:refs/heads/main,repo:a/c:environment:prod"}
BY_GOOGLE = {"OidcProvider": "accounts.google.com", "OidcAudience": "threads-auth", "OidcSubjects": "100018646976219416293"}

RULES = []


def rule(function):
    RULES.append(function)
    return function


def evaluated(template, value, given):
    """A value as CloudFormation makes it of these parameters. `None` is nothing."""

    def of(inner, more=given):
        return evaluated(template, inner, more)

    match value:
        case {"Ref": "AWS::NoValue"}:
            return None
        case {"Ref": name}:
            return given[name]
        case {"Fn::If": [condition, one, other]}:
            return of(one if holds(template["Conditions"][condition], given) else other)
        case {"Fn::Join": [between, parts]}:
            return between.join(of(parts))
        case {"Fn::Split": [at, text]}:
            return of(text).split(at)
        case {"Fn::Select": [index, parts]}:
            return of(parts)[int(index)]
        case {"Fn::Sub": [text, variables]}:
            return of({"Fn::Sub": text}, given | {name: of(inner) for name, inner in variables.items()})
        case {"Fn::Sub": text}:
            return re.sub(r"\$\{([\w:]+)\}", lambda match: given[match[1]], text)
        case dict():
            return {key: of(inner) for key, inner in value.items()}
        case list():
            return [made for inner in value if (made := of(inner)) is not None]
    return value


def role(template, **parameters):
    """The trust and the policies of the role that these parameters make."""
    given = {name: parameter.get("Default", "") for name, parameter in template["Parameters"].items()}
    given |= PSEUDO | {"ApiId": "a1b2c3d4e5"} | parameters
    properties = evaluated(template, template["Resources"]["BackendRole"]["Properties"], given)
    return json.loads(properties["AssumeRolePolicyDocument"]), [policy["PolicyDocument"] for policy in properties["Policies"]]


def listed(value):
    return value if isinstance(value, list) else [value]


def allows(documents, resource):
    """Says if IAM lets somebody with these policies call a route. A `*` is any text, slashes
    included, and a denial wins."""

    def matches(statement):
        patterns = [re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".") for pattern in listed(statement["Resource"])]
        return "execute-api:Invoke" in listed(statement["Action"]) and any(re.fullmatch(pattern, resource) for pattern in patterns)

    effects = {statement["Effect"] for document in documents for statement in document["Statement"] if matches(statement)}
    return effects == {"Allow"}


def calls():
    """Every route as IAM may be asked for it: as it is declared, and with what a request has in
    place of its parameters. Each with the permission that has to open it, if there is one."""
    of = {route: permission for permission, routes in PERMISSIONS.items() for route in routes}
    for key in wiring.ROUTES:
        if key != "$default":
            method, path = key.split()
            for named in (path, re.sub(r"\{.*?\}", "17841405793187218", path), re.sub(r"\{.*?\}", "a-b_C", path)):
                yield f"{API}{method}{named}", of.get(key)
    # No permission is for these.
    for stray in ("PUT/users/1", "POST/users/1/token", "DELETE/sessions/1", "GET/authorize", "POST/deauthorize"):
        yield f"{API}{stray}", None
    yield API.replace("a1b2c3d4e5", "another") + "GET/users", None


def opened(documents, expected, whose):
    problems = []
    for resource, permission in calls():
        if allows(documents, resource) != (permission in expected):
            problems.append(f"{whose}: {resource.removeprefix(API)} is {'closed' if permission in expected else 'open'}")
    return problems


def each_signed_route_has_one_permission(subject):
    signed = sorted(key for key, (authorization, _) in subject["Routes"].items() if authorization == "AWS_IAM")
    permitted = sorted(itertools.chain(*PERMISSIONS.values()))
    return [] if signed == permitted else [f"signed are {signed}, and permissions are for {permitted}"]


@rule
def permissions_open_their_routes_only(template):
    """With every choice of permissions."""
    problems = []
    for flags in itertools.product((False, True), repeat=len(PERMISSIONS)):
        chosen = {name for name, flag in zip(PERMISSIONS, flags, strict=True) if flag}
        _, documents = role(template, **{f"May{name}": "true" for name in chosen}, **BY_PRINCIPALS)
        problems += opened(documents, chosen, "+".join(sorted(chosen)) or "nothing")
    return problems


def policies_as_files_open_the_same(subject):
    """The policies for roles of the same account, filled in."""
    found = {name: document for name, document in subject["Files"].items() if name.startswith("backend-")}
    problems = [f"{name} is not known" for name in found.keys() - FILES.keys()]
    for name, expected in FILES.items():
        text = re.sub(r"\{(\w+)\}", lambda match: PLACEHOLDERS[match[1]], json.dumps(found.get(name, {"Statement": []})))
        problems += opened([json.loads(text)], expected, name)
    return problems


# The statement of each way of taking the role, whole.
TRUSTS = (
    (
        BY_PRINCIPALS,
        [("AWS", [ROLE, "210987654321"], "sts:AssumeRole", {"sts:ExternalId": EXTERNAL_ID})],
    ),
    (
        BY_GITHUB,
        [
            (
                "Federated",
                GITHUB_ARN,
                "sts:AssumeRoleWithWebIdentity",
                {f"{GITHUB}:aud": "sts.amazonaws.com", f"{GITHUB}:sub": ["repo:a/b:ref:refs/heads/main", "repo:a/c:environment:prod"]},
            )
        ],
    ),
    (
        BY_GOOGLE,
        [
            (
                "Federated",
                "accounts.google.com",
                "sts:AssumeRoleWithWebIdentity",
                {"accounts.google.com:oaud": "threads-auth", "accounts.google.com:sub": ["100018646976219416293"]},
            )
        ],
    ),
)


@rule
def roles_trust_whom_they_are_told(template):
    cases = [*TRUSTS, (BY_PRINCIPALS | BY_GITHUB, TRUSTS[0][1] + TRUSTS[1][1])]
    problems = []
    for parameters, statements in cases:
        expected = [
            {"Effect": "Allow", "Principal": {kind: who}, "Action": action, "Condition": {"StringEquals": conditions}}
            for kind, who, action, conditions in statements
        ]
        if (trust := role(template, MayRead="true", **parameters)[0]["Statement"]) != expected:
            problems.append(f"for {parameters} the trust is {trust}")
    return problems


@rule
def sessions_of_backends_are_short(template):
    return [] if template["Resources"]["BackendRole"]["Properties"].get("MaxSessionDuration") == 3_600 else ["not an hour at most"]


@rule
def nobody_is_let_in_by_omission(template):
    """CloudFormation refuses what would be a role of nobody's, of everybody's, or for nothing."""
    read = {"MayRead": "true", "ApiId": "a1b2c3d4e5"}
    cases = [({**read, **way}, False) for way in (BY_PRINCIPALS, BY_GITHUB, BY_GOOGLE, BY_PRINCIPALS | BY_GITHUB)]
    cases += [({f"May{name}": "true", **BY_PRINCIPALS}, False) for name in PERMISSIONS]
    cases += [(BY_PRINCIPALS, True), (read, True)]
    for way in (BY_PRINCIPALS, BY_GITHUB, BY_GOOGLE):
        cases += [({**read, **way, left_out: ""}, True) for left_out in way]
    return [
        f"{parameters} is {'taken' if expected else 'refused'}"
        for parameters, expected in cases
        if bool(refused(template, parameters, "eu-central-1")) != expected
    ]


GOOD = {
    "BackendPrincipals": ("", "123456789012", ROLE, f"{ROLE},123456789012", "arn:aws:iam::123456789012:root", "arn:aws-us-gov:iam::123456789012:user/a/b"),
    "BackendExternalId": ("", EXTERNAL_ID),
    "OidcProvider": ("", "accounts.google.com", GITHUB_ARN, "arn:aws:iam::123456789012:oidc-provider/oidc.vercel.com/acme"),
    "OidcAudience": ("", "sts.amazonaws.com", "https://vercel.com/acme"),
    "OidcSubjects": ("", *BY_GITHUB["OidcSubjects"].split(","), BY_GITHUB["OidcSubjects"], "owner:acme:project:shop:environment:production", "100018646976219416293"),
    "ApiId": ("a1b2c3d4e5",),
}
BAD = {
    "BackendPrincipals": ("*", "arn:aws:iam::*:root", "arn:aws:iam::123456789012:role/*", f'{ROLE}"', f"{ROLE}, {ROLE}", f"{ROLE},", "12345", "ec2.amazonaws.com"),
    "BackendExternalId": ("short", "0123456789abcde*", '0123456789abcdef"', "0123456789 abcdef"),
    "OidcProvider": ("*", "https://accounts.google.com", "token.actions.githubusercontent.com", f'{GITHUB_ARN}"', "arn:aws:iam::123456789012:oidc-provider/*"),
    "OidcAudience": ("*", "a*", 'a"', "a b"),
    "OidcSubjects": ("*", "repo:a/*", "repo:a/b:*", "repo:a/b:ref:refs/heads/mai?", 'repo:a/b"', "repo:a/b:ref, repo:a/c:ref", "repo:a/b:ref,"),
    "ApiId": ("", "*", "a/b"),
}


def fits(parameter, value):
    return len(value) <= parameter.get("MaxLength", 4_096) and re.fullmatch(parameter["AllowedPattern"], value) is not None


@rule
def parameters_take_no_wildcard_and_no_quotation_mark(template):
    """They are put into a trust that is text."""
    parameters = template["Parameters"]
    problems = [f"{name} refuses {value!r}" for name, values in GOOD.items() for value in values if not fits(parameters[name], value)]
    return problems + [f"{name} takes {value!r}" for name, values in BAD.items() for value in values if fits(parameters[name], value)]


def longest(parameter, shortest_item):
    """As many items as there is place for: each brings quotation marks along."""
    return ",".join([shortest_item] * ((parameter["MaxLength"] + 1) // (len(shortest_item) + 1)))


@limited("a backend's trust: 2,048 characters, with the longest of every parameter", "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html", RULES)
def backends_trust_is_not_too_long(template):
    of = template["Parameters"]
    issuer = "arn:aws-us-gov:iam::123456789012:oidc-provider/"
    trust, _ = role(
        template,
        BackendPrincipals=longest(of["BackendPrincipals"], "123456789012"),
        BackendExternalId="x" * of["BackendExternalId"]["MaxLength"],
        OidcProvider=issuer + "x" * (of["OidcProvider"]["MaxLength"] - len(issuer)),
        OidcAudience="x" * of["OidcAudience"]["MaxLength"],
        OidcSubjects=longest(of["OidcSubjects"], "repo:a/b"),
    )
    taken = len(json.dumps(trust, separators=(",", ":")))
    return [f"it may have {taken}"] if taken > 2_048 else []


@rule
def parliament_finds_nothing_in_backends(template):
    _, documents = role(template, MaySessions="true", MayRead="true", MayManage="true", **BY_PRINCIPALS)
    _, vending = role(template, MayVend="true", **BY_PRINCIPALS)
    return [
        f"{name}: {found}"
        for name, document in enumerate(documents + vending)
        for found in wiring.found_in(json.dumps(document))
    ]
