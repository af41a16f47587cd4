"""Rules of ours that need more than one resource at a time. Each looks at a transformed template, and gives a list of problems."""

import functools
import json
import operator
import pathlib
import re
import tomllib

import parliament

INFRA = pathlib.Path(__file__).resolve().parent.parent

# Every route, who may call it, and which function answers. The template is compared with this, not the other way round.
ROUTES = {
    "GET /authorize": ("NONE", "Authorize"),
    "GET /callback": ("NONE", "Callback"),
    "GET /callback/{proxy+}": ("NONE", "Callback"),
    "GET /connected": ("NONE", "Callback"),
    "GET /finishing": ("NONE", "Callback"),
    "POST /deauthorize": ("NONE", "Deauthorize"),
    "POST /data-deletion": ("NONE", "Deletion"),
    "GET /data-deletion/{code}": ("NONE", "Deletion"),
    "$default": ("NONE", "Callback"),
    "POST /sessions": ("AWS_IAM", "Sessions"),
    "GET /sessions/{id}": ("AWS_IAM", "Sessions"),
    "POST /sessions/{id}/complete": ("AWS_IAM", "Sessions"),
    "GET /users": ("AWS_IAM", "Token"),
    "GET /users/{user_id}": ("AWS_IAM", "Token"),
    "GET /users/{user_id}/token": ("AWS_IAM", "Token"),
    "DELETE /users/{user_id}": ("AWS_IAM", "Token"),
}

# Our own code says the longest time that a failing token is left alone, and names the outcomes of a
# look at it and of a login.
SCHEDULE = INFRA.parent / "shared/model/src/schedule.rs"
OUTCOMES = {
    "Refreshes": INFRA.parent / "shared/threads-auth/src/refresh/outcome.rs",
    "Connects": INFRA.parent / "shared/threads-auth/src/connect/error.rs",
}

# The good ends of a login, and the failures that neither its person nor a stranger can cause. Whoever
# has begun one can make up a code or an error of Meta's, and whoever has not a whole callback.
SUCCEEDED = ("connected", "finishing")
FAILED = ("misconfigured", "threads_unavailable", "unavailable")

# The alarms on what only a look at that one token tells.
PATIENT = ("OldestOverdueAlarm", "WeakestTokenAlarm", "RefreshesFailingAlarm", "AppRefusedAlarm")

# What an alarm must exist for.
WATCHED = {
    "OldestOverdueSeconds",
    "SweepSeconds",
    "WeakestTokenDays",
    "DecryptFailures",
    "Refreshes",
    "Connects",
    "Wave",
    "BrokenRows",
    "UnreadableShards",
    "Paused",
    "Drift",
    "ApproximateNumberOfMessagesVisible",
    "IteratorAge",
    "Errors",
    "5xx",
}


# What Meta posts when a person leaves: no address of its is turned away.
FROM_META = (("POST", "/deauthorize"), ("POST", "/data-deletion"))

# Requests that look like these, and are none of Meta's.
NOT_FROM_META = (
    ("GET", "/deauthorize"),
    ("GET", "/data-deletion"),
    ("GET", "/data-deletion/code"),
    ("POST", "/data-deletion/"),
    ("POST", "/data-deletion/code"),
    ("POST", "/deauthorize/x"),
    ("POST", "/x/deauthorize"),
    ("POST", "/sessions"),
    ("GET", "/authorize"),
    ("GET", "/callback"),
)


def of_type(template, kind):
    return {name: r for name, r in template["Resources"].items() if r["Type"] == kind}


def every_route_exists(template):
    """SAM accepts an HTTP event with the id of a native Api, and makes no route of it: so the result is what counts."""
    integrations = {
        name: r["Properties"]["IntegrationUri"]["Fn::GetAtt"][0]
        for name, r in of_type(template, "AWS::ApiGatewayV2::Integration").items()
    }
    found = {}
    for name, route in of_type(template, "AWS::ApiGatewayV2::Route").items():
        properties = route["Properties"]
        integration = re.fullmatch(r"integrations/\$\{(\w+)\}", properties["Target"]["Fn::Sub"])
        function = integrations.get(integration[1] if integration else None, "")
        found[properties["RouteKey"]] = (properties.get("AuthorizationType"), function.removesuffix("Function"))
    return [
        f"{key}: expected {ROUTES.get(key)}, found {found.get(key)}"
        for key in sorted(ROUTES | found)
        if ROUTES.get(key) != found.get(key)
    ]


def the_api_may_invoke_what_it_integrates(template):
    integrated = {
        r["Properties"]["IntegrationUri"]["Fn::GetAtt"][0]
        for r in of_type(template, "AWS::ApiGatewayV2::Integration").values()
    }
    permitted = {r["Properties"]["FunctionName"]["Ref"] for r in of_type(template, "AWS::Lambda::Permission").values()}
    return [f"{name} and the API do not fit" for name in sorted(integrated ^ permitted)]


def each_function_has_a_role_and_a_log_of_its_own(template):
    problems = []
    for name, function in of_type(template, "AWS::Lambda::Function").items():
        base = name.removesuffix("Function")
        if function["Properties"]["Role"] != {"Fn::GetAtt": [f"{base}Role", "Arn"]}:
            problems.append(f"{name} does not run as {base}Role")
        if function["Properties"]["LoggingConfig"].get("LogGroup") != {"Ref": f"{base}Logs"}:
            problems.append(f"{name} does not log to {base}Logs")
    return problems


def signed_routes_have_throttles_of_their_own(template):
    """A flood of what anybody can call must not shut out the backend. A setting for a route that is not there fails a deployment."""
    routes = {
        r["Properties"]["RouteKey"]: name
        for name, r in of_type(template, "AWS::ApiGatewayV2::Route").items()
        if r["Properties"].get("AuthorizationType") == "AWS_IAM"
    }
    problems = []
    for name, stage in of_type(template, "AWS::ApiGatewayV2::Stage").items():
        settings = stage["Properties"].get("RouteSettings", {})
        problems += [f"{name} limits {key}, which is no signed route" for key in sorted(settings.keys() - routes.keys() - {"$default"})]
        for key, route in sorted(routes.items()):
            for limit in ("ThrottlingRateLimit", "ThrottlingBurstLimit"):
                # CloudFormation makes a number of a parameter's text only where it knows the property's type, as it does not here.
                if not isinstance(settings.get(key, {}).get(limit), int):
                    problems.append(f"{key} has no number as its own {limit}")
            if route not in stage.get("DependsOn", []):
                problems.append(f"{name} may be made before {route}")
    return problems


def what_no_route_takes_has_a_small_throttle(template):
    """Strangers and robots find paths that do not exist. They use up neither the limit that people
    share nor the processes of the function that people wait for."""
    resources, problems = template["Resources"], []
    routes = [name for name, r in of_type(template, "AWS::ApiGatewayV2::Route").items() if r["Properties"]["RouteKey"] == "$default"]
    for name, stage in of_type(template, "AWS::ApiGatewayV2::Stage").items():
        limits = stage["Properties"].get("RouteSettings", {}).get("$default", {})
        for limit, of_people in (("ThrottlingRateLimit", "ThrottleRate"), ("ThrottlingBurstLimit", "ThrottleBurst")):
            value = limits.get(limit)
            if not isinstance(value, int) or not 0 < value < int(template["Parameters"][of_people]["Default"]):
                problems.append(f"$default has {value} as its {limit}")
        processes = resources["CallbackFunction"]["Properties"].get("ReservedConcurrentExecutions", {}).get("Fn::If", [None, 0])[1]
        if limits.get("ThrottlingBurstLimit", 0) >= processes:
            problems.append(f"$default may take all of {processes} processes")
        problems += [f"{name} may be made before {route}" for route in routes if route not in stage.get("DependsOn", [])]
    return problems


def matches(statement, method, path):
    """Whether WAF's statement matches a request, as far as ours need it."""
    match statement:
        case {"NotStatement": {"Statement": inner}}:
            return not matches(inner, method, path)
        case {"AndStatement": {"Statements": inner}}:
            return all(matches(one, method, path) for one in inner)
        case {"OrStatement": {"Statements": inner}}:
            return any(matches(one, method, path) for one in inner)
        case {"ByteMatchStatement": {"FieldToMatch": field, "SearchString": text, "PositionalConstraint": where, **more}}:
            value = method if "Method" in field else path if "UriPath" in field else None
            if value is None or [change["Type"] for change in more["TextTransformations"]] != ["NONE"]:
                raise ValueError(f"not understood: {statement}")
            return {
                "EXACTLY": value == text,
                "STARTS_WITH": value.startswith(text),
                "ENDS_WITH": value.endswith(text),
                "CONTAINS": text in value,
            }[where]
    raise ValueError(f"not understood: {statement}")


def edge_lets_meta_through(template):
    """WAF's limit for each address and its list of bad ones look at everything but Meta's two POSTs. Deletions that are turned
    away are a duty that is missed; anything else that is let through is a hole."""
    problems = []
    for acl in of_type(template, "AWS::WAFv2::WebACL").values():
        for rule in acl["Properties"]["Rules"]:
            statement = rule["Statement"].get("RateBasedStatement") or rule["Statement"].get("ManagedRuleGroupStatement", {})
            if "AggregateKeyType" not in statement and "IpReputation" not in statement.get("Name", ""):
                continue
            scope = statement.get("ScopeDownStatement")
            for request, is_meta in [*((r, True) for r in FROM_META), *((r, False) for r in NOT_FROM_META)]:
                if (scope is None or matches(scope, *request)) == is_meta:
                    problems.append(f"{rule['Name']} {'stops' if is_meta else 'misses'} {' '.join(request)}")
    return problems


def everything_of_note_has_an_alarm(template):
    text = json.dumps(of_type(template, "AWS::CloudWatch::Alarm"))
    watched = set(re.findall(r'"MetricName": "([^"]+)"', text))
    return [f"no alarm on {metric}" for metric in sorted(WATCHED - watched)]


def every_alarm_is_in_the_runbook(template):
    runbook = re.findall(r"^### ([a-z-]+)$", (INFRA / "README.md").read_text(), re.MULTILINE)
    problems = []
    for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items():
        properties = alarm["Properties"]
        short = properties["AlarmName"]["Fn::Sub"].removeprefix("${AWS::StackName}-")
        if short not in runbook:
            problems.append(f"{name} has no heading {short} in README.md")
        if not properties["AlarmDescription"].endswith(f"Runbook: infra/README.md, {short}."):
            problems.append(f"{name} does not point at {short}")
    return problems


def every_alarm_is_on_the_dashboard(template):
    body = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    alarms = of_type(template, "AWS::CloudWatch::Alarm")
    return [f"the dashboard does not show {name}" for name in alarms if f"${{{name}.Arn}}" not in body]


def periods_of(alarm):
    properties = alarm["Properties"]
    windows = [properties, *(metric.get("MetricStat", metric) for metric in properties.get("Metrics", []))]
    return {int(window["Period"]) for window in windows if "Period" in window}


def a_failing_token_is_seen_between_two_looks(template):
    """A token that fails is tried again within the longest backoff, and no sweep between tells of it: an alarm must see one look in
    as many of its periods as it needs."""
    hours = re.search(r"MAX_BACKOFF: Duration = Duration::from_hours\((\d+)\)", SCHEDULE.read_text())
    if hours is None:
        return ["schedule.rs does not say the longest backoff in hours"]
    problems = []
    for name in PATIENT:
        alarm = template["Resources"].get(name, {"Properties": {"EvaluationPeriods": 0}})
        of = int(alarm["Properties"]["EvaluationPeriods"])
        needed = int(alarm["Properties"].get("DatapointsToAlarm", of))
        for period in periods_of(alarm) or {0}:
            if (seen := period * (of - needed + 1)) <= int(hours[1]) * 3_600:
                problems.append(f"{name} sees {seen} s, and a look comes every {hours[1]} h")
    return problems


def metrics_of(alarm):
    properties = alarm["Properties"]
    return [query["MetricStat"]["Metric"] for query in properties.get("Metrics", []) if "MetricStat" in query] or [properties]


def outcome_of(metric):
    return next((dimension["Value"] for dimension in metric["Dimensions"] if dimension["Name"] == "Outcome"), None)


@functools.cache
def outcomes(metric):
    """The outcomes that our code knows under a metric. Other metrics have none."""
    return re.findall(r'=> "(\w+)"', OUTCOMES[metric].read_text()) if metric in OUTCOMES else [None]


def alarms_name_outcomes_that_exist(template):
    """A metric under an outcome that nothing has is silent for ever. Refreshes and logins have
    outcomes of their own."""
    return [
        f"{name}: {metric['MetricName']} has no outcome {outcome_of(metric)}"
        for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items()
        for metric in metrics_of(alarm)
        if outcome_of(metric) not in outcomes(metric["MetricName"])
    ]


def rings(alarm, counts):
    """Says if an alarm on a sum rings when outcomes come so often in each of its periods. It knows as
    much of CloudWatch's metric math as ours needs: an outcome that does not come has no value, and
    neither has a sum with it, and without a value nothing rings."""
    properties = alarm["Properties"]
    queries = {query["Id"]: query for query in properties.get("Metrics", [])}
    functions = {
        "IF": lambda test, then, otherwise: then if test else otherwise,
        "FILL": lambda found, otherwise: otherwise if found is None else found,
    }

    def value(id):
        if "MetricStat" in queries[id]:
            return counts.get(outcome_of(queries[id]["MetricStat"]["Metric"]))
        expression = queries[id]["Expression"]
        try:
            return eval(expression, functions | {other: value(other) for other in re.findall(r"\b[a-z]\w*", expression)})
        except (KeyError, TypeError):
            return None

    compare = {"GreaterThanThreshold": operator.gt, "GreaterThanOrEqualToThreshold": operator.ge}[properties["ComparisonOperator"]]
    found = next((value(id) for id, query in queries.items() if query.get("ReturnData", True)), None)
    return found is not None and compare(found, properties["Threshold"])


def logins_that_fail_ring_within_the_hour(template):
    """A login that failed is a 303 as one that succeeded, so this alarm alone tells of them. Nothing
    that a stranger can do rings it."""
    alarm = template["Resources"].get("ConnectsFailingAlarm")
    if alarm is None:
        return ["there is no ConnectsFailingAlarm"]
    needed = int(alarm["Properties"].get("DatapointsToAlarm", alarm["Properties"]["EvaluationPeriods"]))
    problems = [
        f"three failures within an hour have to ring, and it wants {needed} periods of {period} s"
        for period in periods_of(alarm)
        if (period, needed) != (3_600, 1)
    ]
    if alarm["Properties"]["TreatMissingData"] != "notBreaching":
        problems.append("it rings where nobody logs in")
    cases = [({outcome: 3}, outcome in FAILED) for outcome in outcomes("Connects")]
    cases += [(dict.fromkeys(FAILED, 1), True), ({}, False)]
    for failed in FAILED:
        cases += [({failed: 2}, False), *(({failed: 3, succeeded: 3}, False) for succeeded in SUCCEEDED)]
        cases += [({failed: 3, "connected": 2}, True), ({failed: 3, "connected": 2, "finishing": 1}, False)]
    said = {True: "rings", False: "does not ring"}
    return problems + [f"it {said[not expected]} for {counts}" for counts, expected in cases if rings(alarm, counts) != expected]


# Resources that AWS may refuse in somebody's account: for a name that is taken, a certificate, an
# address, or because of CloudFront.
REFUSABLE = (
    "AWS::ApiGatewayV2::DomainName",
    "AWS::CloudFormation::Stack",
    "AWS::Events::EventBus",
    "AWS::Logs::LogGroup",
    "AWS::Scheduler::ScheduleGroup",
    "AWS::SNS::Topic",
)


def the_table_comes_after_what_may_be_refused(template):
    """A first deployment that fails cannot take the protected table away, so it fails before there
    is one, as far as it can."""
    table = template["Resources"].get("GrantsTable", {})
    awaited = json.dumps([table.get("DependsOn", []), table.get("Metadata", {}).get("After", [])])
    may_be_refused = [name for kind in REFUSABLE for name in of_type(template, kind)]
    return [f"the table may be there before {name}" for name in may_be_refused if f'"{name}"' not in awaited]


def ids_stay_what_they_were(template):
    """A table, key or secret under another logical id is a new and empty one."""
    kept = {
        "DataKey": "AWS::KMS::Key",
        "GrantsTable": "AWS::DynamoDB::Table",
        "ShortLivedTable": "AWS::DynamoDB::Table",
        "AppSecret": "AWS::SecretsManager::Secret",
        "KeyringSecret": "AWS::SecretsManager::Secret",
        "EventBus": "AWS::Events::EventBus",
        "Api": "AWS::ApiGatewayV2::Api",
    }
    found = {name: r["Type"] for name, r in template["Resources"].items() if r["Type"] in kept.values()}
    return [f"{name}: expected {kept.get(name)}, found {found.get(name)}" for name in sorted(kept | found) if kept.get(name) != found.get(name)]


ARNS = {
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:eu-central-1:123456789012:table/{}",
    "AWS::KMS::Key": "arn:aws:kms:eu-central-1:123456789012:key/{}",
    "AWS::SecretsManager::Secret": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:{}",
    "AWS::Logs::LogGroup": "arn:aws:logs:eu-central-1:123456789012:log-group:{}:*",
    "AWS::SQS::Queue": "arn:aws:sqs:eu-central-1:123456789012:{}",
    "AWS::Events::EventBus": "arn:aws:events:eu-central-1:123456789012:event-bus/{}",
    "AWS::Lambda::Function": "arn:aws:lambda:eu-central-1:123456789012:function:{}",
}
PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": "eu-central-1",
    "AWS::AccountId": "123456789012",
    "AWS::StackName": "threads-auth",
    "AWS::URLSuffix": "amazonaws.com",
}


def resolved(template, value):
    """`value` with every reference replaced by an ARN as AWS would make it."""

    def arn(name, attribute="Arn"):
        if name in PSEUDO:
            return PSEUDO[name]
        kind = template["Resources"][name]["Type"]
        text = ARNS.get(kind, "{}").format(name)
        return f"{text}/stream/label" if attribute == "StreamArn" else text

    match value:
        case {"Ref": name}:
            return arn(name)
        case {"Fn::GetAtt": [name, attribute]}:
            return arn(name, attribute)
        case {"Fn::Sub": str(text)}:
            return re.sub(r"\$\{([\w:]+)(?:\.(\w+))?\}", lambda m: arn(m[1], m[2] or "Arn"), text)
        case dict():
            return {key: resolved(template, inner) for key, inner in value.items()}
        case list():
            return [resolved(template, inner) for inner in value]
    return value


def policies(template):
    """Every policy of the template by name, resolved."""
    found = {}
    for name, resource in template["Resources"].items():
        for policy in resource.get("Properties", {}).get("Policies", []) if resource["Type"] == "AWS::IAM::Role" else []:
            found[name] = resolved(template, policy["PolicyDocument"])
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            found[name] = resolved(template, resource["Properties"]["PolicyDocument"])
    return found


def accepted(finding):
    """parliament takes `ListStreams` for an action without resources. AWS's tutorial on streams with Lambda and SAM's own policy
    template name the table's streams for it, and Lambda accepts that; `*` would be every table of the account."""
    return finding.issue == "RESOURCE_MISMATCH" and [d["action"] for d in finding.detail] == ["dynamodb:ListStreams"]


@functools.cache
def found_in(document):
    return [f"{f.issue} {f.detail}" for f in parliament.analyze_policy_string(document).findings if not accepted(f)]


def parliament_finds_nothing(template):
    return [f"{name}: {found}" for name, document in policies(template).items() for found in found_in(json.dumps(document))]


def the_template_says_its_version(template):
    """The output by which an operator and `doctor` know what is deployed is the version of the code."""
    version = tomllib.loads((INFRA.parent / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    said = template["Outputs"].get("ServiceVersion", {}).get("Value")
    return [] if said == version else [f"ServiceVersion is {said}, and Cargo.toml says {version}"]


RULES = [
    every_route_exists,
    the_api_may_invoke_what_it_integrates,
    each_function_has_a_role_and_a_log_of_its_own,
    signed_routes_have_throttles_of_their_own,
    what_no_route_takes_has_a_small_throttle,
    everything_of_note_has_an_alarm,
    every_alarm_is_in_the_runbook,
    every_alarm_is_on_the_dashboard,
    a_failing_token_is_seen_between_two_looks,
    alarms_name_outcomes_that_exist,
    logins_that_fail_ring_within_the_hour,
    the_table_comes_after_what_may_be_refused,
    ids_stay_what_they_were,
    the_template_says_its_version,
    parliament_finds_nothing,
]

EDGE_RULES = [
    edge_lets_meta_through,
]
