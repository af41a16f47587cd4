"""Rules of ours that need more than one resource at a time. Each looks at a transformed template,
and gives a list of problems."""

import functools
import json
import operator
import pathlib
import re
import tomllib

import parliament

INFRA = pathlib.Path(__file__).resolve().parent.parent

# Every route, who may call it, and which function answers. The template is compared with this, not
# the other way round.
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
    "PATCH /users/{user_id}": ("AWS_IAM", "Token"),
    "DELETE /users/{user_id}": ("AWS_IAM", "Token"),
}

# Our own code says the longest time that a failing token is left alone, and names the outcomes of a
# look at it and of a login.
SCHEDULE = INFRA.parent / "shared/model/src/schedule.rs"
OUTCOMES = {
    "Refreshes": INFRA.parent / "shared/threads-auth/src/refresh/outcome.rs",
    "Connects": INFRA.parent / "shared/threads-auth/src/connect/error.rs",
    "ServerErrors": INFRA.parent / "shared/web/src/standing.rs",
}

# When the function gives an event up.
EVENTS = INFRA.parent / "functions/events/src/lib.rs"

# The functions, and what they share: every metric of ours is printed there.
SOURCES = [*INFRA.parent.glob("functions/*/src/**/*.rs"), *INFRA.parent.glob("shared/web/src/**/*.rs")]

# The good ends of a login, and the failures that neither its person nor a stranger can cause.
# Whoever has begun one can make up a code or an error of Meta's, and whoever has not a whole
# callback.
SUCCEEDED = ("connected", "finishing")
FAILED = ("misconfigured", "threads_unavailable", "unavailable")

# The alarms on what only a look at that one token tells.
PATIENT = ("OldestOverdueAlarm", "WeakestTokenAlarm", "RefreshesFailingAlarm", "AppRefusedAlarm")

# Metrics that must have an alarm.
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
    "SecretAgeSeconds",
    "Paused",
    "Drift",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesVisible",
    "IteratorAge",
    "PolledEventCount",
    "Errors",
    "ServerErrors",
    "5xx",
}


# Meta's posts when a person leaves: no address of its is turned away.
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
    """SAM accepts an HTTP event with the id of a native Api, and makes no route of it: so the
    result is what counts."""
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
    """A flood of what anybody can call must not shut out the backend. A setting for a route that is
    not there fails a deployment."""
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
                # CloudFormation makes a number of a parameter's text only where it knows the
                # property's type, as it does not here.
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
    """Returns True if WAF's statement matches a request. It knows the kinds that ours use."""
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
    """WAF's limit for each address and its list of bad ones look at everything but Meta's two
    POSTs. Deletions that are turned away are a duty that is missed; anything else that is let
    through is a hole."""
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


def dashboard(template):
    """The dashboard's text, with what it shows on condition."""
    text, variables = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    return text + "".join(given["Fn::If"][1]["Fn::Sub"] for given in variables.values())


def every_alarm_is_on_the_dashboard(template):
    body = dashboard(template)
    alarms = of_type(template, "AWS::CloudWatch::Alarm")
    return [f"the dashboard does not show {name}" for name in alarms if f"${{{name}.Arn}}" not in body]


def periods_of(alarm):
    properties = alarm["Properties"]
    windows = [properties, *(metric.get("MetricStat", metric) for metric in properties.get("Metrics", []))]
    return {int(window["Period"]) for window in windows if "Period" in window}


def a_failing_token_is_seen_between_two_looks(template):
    """A token that fails is tried again within the longest backoff, and no sweep between reports
    it: an alarm must see one look in as many of its periods as it needs."""
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


# The schedule and the mappings that start functions, each with the alarm that rings if it does not.
STARTED = {
    "SweepSchedule": "SweepMissedAlarm",
    "EventsMapping": "EventsStoppedAlarm",
    "WebhookMapping": "WebhookBehindAlarm",
}


def queue_of(arn):
    """The queue whose ARN this is, if it is one of the template's."""
    match arn:
        case {"Fn::GetAtt": [queue, "Arn"]}:
            return queue
    return None


def about(metric, name, value):
    return {"Name": name, "Value": value} in metric.get("Dimensions", [])


def rings_within_the_hour_of_silence(alarm):
    properties = alarm["Properties"]
    asked = properties.get("Statistic"), properties["ComparisonOperator"], properties["TreatMissingData"]
    looks_back = int(properties.get("Period", 0)) * int(properties["EvaluationPeriods"])
    return asked == ("SampleCount", "LessThanThreshold", "breaching") and 0 < looks_back <= 3_600


def what_does_not_start_rings(template):
    """A schedule or a mapping that is disabled, or whose function is throttled, fails nowhere. So
    an alarm rings where nothing comes from it, or where its queue fills."""
    resources, problems = template["Resources"], []
    starters = of_type(template, "AWS::Scheduler::Schedule") | of_type(template, "AWS::Lambda::EventSourceMapping")
    for name in starters.keys() | STARTED.keys():
        alarm = resources.get(STARTED.get(name))
        if name not in starters or alarm is None:
            problems.append(f"nobody hears that {name} starts nothing")
            continue
        metrics = metrics_of(alarm)
        queue = queue_of(starters[name]["Properties"].get("EventSourceArn"))
        if queue in of_type(template, "AWS::SQS::Queue"):
            waits = {metric["MetricName"] for metric in metrics if about(metric, "QueueName", {"Fn::GetAtt": [queue, "QueueName"]})}
            rings = waits == {"ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible"}
        elif starters[name]["Type"] == "AWS::Lambda::EventSourceMapping":
            rings = about(metrics[0], "EventSourceMappingUUID", {"Ref": name}) and rings_within_the_hour_of_silence(alarm)
        else:
            rings = metrics[0]["MetricName"] in printed() and rings_within_the_hour_of_silence(alarm)
        if not rings:
            problems.append(f"{STARTED[name]} is quiet while {name} starts nothing")
    return problems


def what_is_given_up_rings(template):
    """Lambda and EventBridge tell nobody of an invocation that they give up: they put it into a
    queue, or drop it."""
    given_up, problems = set(), []
    for name, resource in template["Resources"].items():
        properties = resource["Properties"] if "Properties" in resource else {}
        text = json.dumps([properties.get(key) for key in ("DestinationConfig", "Target", "Targets", "RedrivePolicy")])
        given_up |= set(re.findall(r'"(?:Destination|Arn|deadLetterTargetArn)": \{"Fn::GetAtt": \["(\w+Letters)", "Arn"\]', text))
        if resource["Type"] == "AWS::Lambda::EventInvokeConfig" and "DestinationConfig" not in properties:
            problems.append(f"{name} drops what it gives up")
        if resource["Type"] == "AWS::Scheduler::Schedule" and "DeadLetterConfig" not in properties["Target"]:
            problems.append(f"{name} drops what it gives up")
    for queue in of_type(template, "AWS::SQS::Queue"):
        heard = [
            alarm["Properties"]
            for alarm in of_type(template, "AWS::CloudWatch::Alarm").values()
            if about(alarm["Properties"], "QueueName", {"Fn::GetAtt": [queue, "QueueName"]})
        ]
        if queue in given_up and not any(
            (alarm["MetricName"], alarm["Threshold"], alarm["ComparisonOperator"]) == ("ApproximateNumberOfMessagesVisible", 0, "GreaterThanThreshold")
            for alarm in heard
        ):
            problems.append(f"nobody hears of what comes into {queue}")
    return problems


def a_throttled_function_rings(template):
    """A function that is throttled runs less often and says nothing. A stream gets older, and API
    Gateway answers in its place; a schedule's sweeps are missed, and a queue fills."""
    alarms = of_type(template, "AWS::CloudWatch::Alarm").values()
    metrics = [metric for alarm in alarms for metric in metrics_of(alarm)]
    mapped = {
        mapping["Properties"]["FunctionName"]["Ref"]: mapping["Properties"]["EventSourceArn"]
        for mapping in of_type(template, "AWS::Lambda::EventSourceMapping").values()
    }
    scheduled = {schedule["Properties"]["Target"]["Arn"]["Fn::GetAtt"][0] for schedule in of_type(template, "AWS::Scheduler::Schedule").values()}
    integrated = {
        route["Properties"]["IntegrationUri"]["Fn::GetAtt"][0]
        for route in of_type(template, "AWS::ApiGatewayV2::Integration").values()
    }
    problems = []
    for name in of_type(template, "AWS::Lambda::Function"):
        if name in integrated:
            rings = any(metric["MetricName"] == "5xx" and about(metric, "ApiId", {"Ref": "Api"}) for metric in metrics)
        elif name in mapped and queue_of(mapped[name]) is None:
            rings = any(metric["MetricName"] == "IteratorAge" and about(metric, "FunctionName", {"Ref": name}) for metric in metrics)
        else:
            # The rule on what does not start looks at these.
            rings = name in scheduled or name in mapped
        if not rings:
            problems.append(f"nobody hears that {name} is throttled")
    return problems


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


@functools.cache
def printed():
    """The metrics of ours that the functions print."""
    return set(re.findall(r'(?:Metric::(?:count|of)\(|\()\s*"([A-Z]\w+)",', "".join(file.read_text() for file in SOURCES)))


def metrics_of_ours_are_printed(template):
    """An alarm or a line of the dashboard on a metric that nothing prints is silent for ever."""
    alarms = [metric for alarm in of_type(template, "AWS::CloudWatch::Alarm").values() for metric in metrics_of(alarm)]
    read = {metric["MetricName"] for metric in alarms if metric["Namespace"] == "ThreadsAuth"}
    body = dashboard(template)
    read |= set(re.findall(r'\["ThreadsAuth","(\w+)"', body)) | set(re.findall(r'MetricName=\\"(\w+)', body))
    return [f"nothing prints {name}" for name in sorted(read - printed())]


def lambda_gives_up_after_the_function(template):
    """The function's letter has the whole event, and Lambda's a place in the stream. So the
    function has to have tried twice for long enough before Lambda gives up, and the stream is read
    before it forgets."""
    hours = re.search(r"TRIED_FOR: SignedDuration = SignedDuration::from_hours\((\d+)\)", EVENTS.read_text())
    if hours is None:
        return ["the events function does not say when it gives up"]
    least = 2 * 3_600 * int(hours[1])
    return [
        f"{name} gives up after {age} s, and the function after {hours[1]} h"
        for name, mapping in of_type(template, "AWS::Lambda::EventSourceMapping").items()
        if mapping["Properties"]["EventSourceArn"] == {"Ref": "GrantsStreamArn"}
        if not least <= (age := int(mapping["Properties"].get("MaximumRecordAgeInSeconds", -1))) <= 12 * 3_600
    ]


# The functions that show pages, and what pages show of the app.
SHOW_PAGES = ("AuthorizeFunction", "CallbackFunction", "DeletionFunction")
BRAND = {
    "APP_NAME": "AppName",
    "HOME_URL": "HomeUrl",
    "SUPPORT_URL": "SupportUrl",
    "PRIVACY_URL": "PrivacyUrl",
    "ACCENT_COLOR": "AccentColor",
}


def pages_know_the_app(template):
    """The functions that show pages are told what to show of the app, and no other is: their
    environment has room for it because the others' variables are not there."""
    problems = []
    for name, function in of_type(template, "AWS::Lambda::Function").items():
        variables = function["Properties"].get("Environment", {}).get("Variables", {})
        found = {key: variables[key] for key in BRAND if key in variables}
        expected = {key: {"Ref": parameter} for key, parameter in BRAND.items()} if name in SHOW_PAGES else {}
        if found != expected:
            problems.append(f"{name} is told {found} of the app")
    return problems


def the_function_knows_its_dead_letters(template):
    """Without the queue's address events wait for the bus, and Lambda writes the letters."""
    function = template["Resources"]["EventsFunction"]["Properties"]
    variable = function["Environment"]["Variables"].get("EVENTS_DEAD_LETTERS")
    mapping = template["Resources"]["EventsMapping"]["Properties"]
    lambdas = mapping.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination", {}).get("Fn::GetAtt", [None])[0]
    return [] if variable == {"Ref": lambdas} else [f"the function writes to {variable}, and Lambda to {lambdas}"]


def dead_letters_are_in_the_outputs(template):
    """`threads-auth dead-letters` finds its queues there."""
    outputs = {name: output["Value"] for name, output in template["Outputs"].items()}
    queues = {f"{name}Url": {"Ref": name} for name in of_type(template, "AWS::SQS::Queue")}
    return [f"{name} is {outputs.get(name)}" for name, value in sorted(queues.items()) if outputs.get(name) != value]


def rings(alarm, counts):
    """Returns True if an alarm on a sum rings when metrics or their outcomes come so often in each
    of its periods. It knows as much of CloudWatch's metric math as ours needs: an outcome that does
    not come has no value, and neither has a sum with it, and without a value nothing rings."""
    properties = alarm["Properties"]
    queries = {query["Id"]: query for query in properties.get("Metrics", [])}
    functions = {
        "IF": lambda test, then, otherwise: then if test else otherwise,
        "FILL": lambda found, otherwise: otherwise if found is None else found,
    }

    def value(id):
        if "MetricStat" in queries[id]:
            metric = queries[id]["MetricStat"]["Metric"]
            return counts.get(outcome_of(metric) or metric["MetricName"])
        expression = queries[id]["Expression"]
        try:
            return eval(expression, functions | {other: value(other) for other in re.findall(r"\b[a-z]\w*", expression)})
        except (KeyError, TypeError):
            return None

    compare = {"GreaterThanThreshold": operator.gt, "GreaterThanOrEqualToThreshold": operator.ge}[properties["ComparisonOperator"]]
    found = next((value(id) for id, query in queries.items() if query.get("ReturnData", True)), None)
    return found is not None and compare(found, properties["Threshold"])


def misses_its_cases(template, name, quiet, cases):
    """Tries an alarm on three failures within an hour, which rings or not for each of `cases`."""
    alarm = template["Resources"].get(name)
    if alarm is None:
        return [f"there is no {name}"]
    needed = int(alarm["Properties"].get("DatapointsToAlarm", alarm["Properties"]["EvaluationPeriods"]))
    problems = [
        f"three failures within an hour have to ring, and it wants {needed} periods of {period} s"
        for period in periods_of(alarm)
        if (period, needed) != (3_600, 1)
    ]
    if alarm["Properties"]["TreatMissingData"] != "notBreaching":
        problems.append(f"it rings where nobody {quiet}")
    said = {True: "rings", False: "does not ring"}
    return problems + [f"it {said[not expected]} for {counts}" for counts, expected in cases if rings(alarm, counts) != expected]


def logins_that_fail_ring_within_the_hour(template):
    """A login that failed is a 303 as one that succeeded, so only this alarm shows them.
    Nothing that a stranger can do rings it."""
    cases = [({outcome: 3}, outcome in FAILED) for outcome in outcomes("Connects")]
    cases += [(dict.fromkeys(FAILED, 1), True), ({}, False)]
    for failed in FAILED:
        cases += [({failed: 2}, False), *(({failed: 3, succeeded: 3}, False) for succeeded in SUCCEEDED)]
        cases += [({failed: 3, "connected": 2}, True), ({failed: 3, "connected": 2, "finishing": 1}, False)]
    return misses_its_cases(template, "ConnectsFailingAlarm", "logs in", cases)


def failures_ring_in_a_small_service(template):
    """Three unexpected failures of an hour ring where they are a share of what was answered. What
    is there by design does not, and neither robots nor retries hide a failure."""
    cases = [
        ({}, False),
        ({"Count": 1_000}, False),
        ({"Count": 3, "5xx": 3, "unexpected": 3}, True),
        ({"Count": 2, "5xx": 2, "unexpected": 2}, False),
        # Robots ask for what is not there.
        ({"Count": 9_003, "4xx": 9_000, "5xx": 3, "unexpected": 3}, True),
        # Backends ask again and again for what is to come.
        ({"Count": 9_000, "5xx": 9_000, "later": 9_000}, False),
        ({"Count": 9_003, "5xx": 9_003, "later": 9_000, "unexpected": 3}, True),
        # API Gateway fails, and no function knows.
        ({"Count": 3, "5xx": 3}, True),
        ({"Count": 900, "5xx": 903, "later": 900}, True),
        ({"Count": 20, "5xx": 2, "unexpected": 1}, False),
        # The functions' lines come before API Gateway's count.
        ({"Count": 9, "5xx": 1, "later": 9}, False),
        # A few among many.
        ({"Count": 10_000, "5xx": 400, "unexpected": 400}, False),
        ({"Count": 10_000, "5xx": 600, "unexpected": 600}, True),
    ]
    return misses_its_cases(template, "ServerErrorsAlarm", "asks", cases)


def mentions(template, value):
    """The resources that `value` refers to."""
    found = set()
    match value:
        case {"Ref": name} | {"Fn::GetAtt": [name, _]}:
            found.add(name)
        case {"Fn::Sub": text}:
            found |= set(re.findall(r"\$\{(\w+)", json.dumps(text)))
    if isinstance(value, dict | list):
        found |= {name for one in (value.values() if isinstance(value, dict) else value) for name in mentions(template, one)}
    return found & template["Resources"].keys()


def awaited(template, name):
    """The resources that CloudFormation makes before it makes this one."""
    found, waiting = set(), {name}
    while waiting:
        resource = template["Resources"].get(waiting.pop(), {})
        depends = resource.get("DependsOn", [])
        depends = {depends} if isinstance(depends, str) else set(depends)
        waiting |= (depends | mentions(template, [resource.get("Properties", {}), resource.get("Metadata", {})])) - found
        found |= waiting
    return found


def where(template, is_so):
    """The template where every condition is true, or where none is."""

    def chosen(value):
        match value:
            case {"Fn::If": [_, then, otherwise]}:
                return chosen(then if is_so else otherwise)
            case dict():
                return {key: chosen(inner) for key, inner in value.items()}
            case list():
                return [chosen(inner) for inner in value]
        return value

    made = {name: chosen(r) for name, r in template["Resources"].items() if is_so or "Condition" not in r}
    return {"Resources": made}


def the_table_comes_last(template):
    """A first deployment that fails cannot take the protected table away, so it fails before there
    is one: only what needs the table comes after it."""
    problems = []
    for made in (where(template, True), where(template, False)):
        before = awaited(made, "GrantsTable") | {"GrantsTable"}
        problems += [
            f"the table may be there before {name}"
            for name in made["Resources"]
            if name not in before and "GrantsTable" not in awaited(made, name)
        ]
    return problems


# Secrets that open no token: CloudFormation may make them again.
OPENERS = {"OriginSecret", "WebhookSecret"}
KEPT = {"EventBus": "AWS::Events::EventBus", "Api": "AWS::ApiGatewayV2::Api", **dict.fromkeys(OPENERS, "AWS::SecretsManager::Secret")}
KEPT_DATA = {
    "DataKey": "AWS::KMS::Key",
    "GrantsTable": "AWS::DynamoDB::Table",
    "ShortLivedTable": "AWS::DynamoDB::Table",
    "AppSecret": "AWS::SecretsManager::Secret",
    "KeyringSecret": "AWS::SecretsManager::Secret",
}


def changed(template, kept):
    found = {name: r["Type"] for name, r in template["Resources"].items() if r["Type"] in kept.values()}
    return [f"{name}: expected {kept.get(name)}, found {found.get(name)}" for name in sorted(kept | found) if kept.get(name) != found.get(name)]


def ids_stay_what_they_were(template):
    """A bus or API under another logical id is a new one."""
    return changed(template, KEPT)


def data_stays_what_it_was(template):
    """A table, key or secret under another logical id is a new and empty one."""
    return changed(template, KEPT_DATA)


def nothing_here_keeps_data(template):
    """The tokens outlive the service's stack."""
    found = {name for kind in KEPT_DATA.values() for name in of_type(template, kind)} - OPENERS
    return [f"{name} would go with the stack" for name in sorted(found)]


LABEL = "2026-01-01T00:00:00.000"
TABLE = "arn:aws:dynamodb:eu-central-1:123456789012:table/"
GRANTS = f"{TABLE}threads-auth-data-GrantsTable-1ABCDEFGHIJKL"
# The outputs of the data's stack that the service's takes.
DATA = {
    "GrantsTableName": GRANTS.removeprefix(TABLE),
    "GrantsStreamArn": f"{GRANTS}/stream/{LABEL}",
    "ShortLivedTableName": "threads-auth-data-ShortLivedTable-1ABCDEFGHIJKL",
    "DataKeyArn": "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    "AppSecretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:AppSecret-1aBcDeFgHiJk-AbCdEf",
    "KeyringSecretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:KeyringSecret-1aBcDeFgHiJk-AbCdEf",
}


def roles_name_no_other_data(template):
    """A policy may name the tables, the key and the secrets that the parameters name, and nothing
    beside or above them."""
    ours = {GRANTS, ARNS["AWS::SecretsManager::Secret"].format("WebhookSecret"), f"{GRANTS}/index/due", f"{GRANTS}/index/reference", f"{GRANTS}/stream/*", TABLE + DATA["ShortLivedTableName"], *DATA.values()}
    return [
        f"{name} names {resource}"
        for name, document in policies(template).items()
        for statement in document["Statement"]
        for resource in ([statement["Resource"]] if isinstance(statement["Resource"], str) else statement["Resource"])
        if re.match(r"arn:[^:]+:(dynamodb|kms|secretsmanager):", resource) and resource not in ours
    ]


ARNS = {
    "AWS::Backup::BackupVault": "arn:aws:backup:eu-central-1:123456789012:backup-vault:{}",
    "AWS::DynamoDB::Table": f"{TABLE}{{}}",
    "AWS::KMS::Key": "arn:aws:kms:eu-central-1:123456789012:key/{}",
    "AWS::SecretsManager::Secret": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:{}-AbCdEf",
    "AWS::SNS::Topic": "arn:aws:sns:eu-central-1:123456789012:{}",
    "AWS::Logs::LogGroup": "arn:aws:logs:eu-central-1:123456789012:log-group:{}:*",
    "AWS::SQS::Queue": "arn:aws:sqs:eu-central-1:123456789012:{}",
    "AWS::Events::EventBus": "arn:aws:events:eu-central-1:123456789012:event-bus/{}",
    "AWS::Events::Rule": "arn:aws:events:eu-central-1:123456789012:rule/threads-auth/{}",
    "AWS::Lambda::Function": "arn:aws:lambda:eu-central-1:123456789012:function:{}",
}
PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": "eu-central-1",
    "AWS::AccountId": "123456789012",
    "AWS::StackName": "threads-auth",
    "AWS::URLSuffix": "amazonaws.com",
}


# ARNs that an operator may have named.
NAMED = {
    "BackupDays": "30",
    "AlarmTopicArn": "arn:aws:sns:eu-central-1:123456789012:operations",
    "BackupCopyVaultArn": "arn:aws:backup:us-east-1:123456789012:backup-vault:copies",
}


def resolved(template, value):
    """`value` with every reference replaced by an ARN as AWS would make it, and with what is made
    on condition."""

    def arn(name):
        if name in PSEUDO | DATA | NAMED:
            return (PSEUDO | DATA | NAMED)[name]
        kind = template["Resources"][name]["Type"]
        return ARNS.get(kind, "{}").format(name)

    match value:
        case {"Ref": name} if template["Resources"].get(name, {}).get("Type") in ("AWS::Backup::BackupVault", "AWS::DynamoDB::Table"):
            return name
        case {"Ref": name} | {"Fn::GetAtt": [name, _]}:
            return arn(name)
        case {"Fn::If": [_, then, _]}:
            return resolved(template, then)
        case {"Fn::Sub": str(text)}:
            return re.sub(r"\$\{([\w:]+)(?:\.\w+)?\}", lambda m: arn(m[1]), text)
        case {"Fn::Sub": [text, variables]}:
            for name, inner in variables.items():
                text = text.replace(f"${{{name}}}", resolved(template, inner))
            return resolved(template, {"Fn::Sub": text})
        case {"Fn::Select": [index, {"Fn::Split": [by, inner]}]}:
            return resolved(template, inner).split(by)[index]
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
        if resource["Type"] in ("AWS::IAM::ManagedPolicy", "AWS::IAM::Policy"):
            found[name] = resolved(template, resource["Properties"]["PolicyDocument"])
    return found


def accepted(finding):
    """parliament takes `ListStreams` for an action without resources. AWS's tutorial on streams
    with Lambda and SAM's own policy template name the table's streams for it, and Lambda accepts
    that; `*` would be every table of the account."""
    return finding.issue == "RESOURCE_MISMATCH" and [d["action"] for d in finding.detail] == ["dynamodb:ListStreams"]


@functools.cache
def found_in(document):
    return [f"{f.issue} {f.detail}" for f in parliament.analyze_policy_string(document).findings if not accepted(f)]


def parliament_finds_nothing(template):
    # It takes an ARN apart at every colon, and a stream's has a time in it.
    texts = {name: json.dumps(document).replace(LABEL, "label") for name, document in policies(template).items()}
    return [f"{name}: {found}" for name, text in texts.items() for found in found_in(text)]


def happens(pattern, event):
    """Says if an event is one that a pattern of EventBridge's wants, as far as ours need it."""
    for key, wanted in pattern.items():
        if key == "$or":
            if not any(happens(one, event) for one in wanted):
                return False
        elif wanted == [{"exists": False}]:
            if key in event:
                return False
        else:
            found = event.get(key)
            found = found if isinstance(found, list) else [found]
            if isinstance(wanted, dict):
                if not any(isinstance(one, dict) and happens(wanted, one) for one in found):
                    return False
            elif not any(one is value or (one == value and type(one) is type(value)) for one in found for value in wanted):
                return False
    return True


def called(service, name, **detail):
    """A call as CloudTrail hands it to EventBridge."""
    who = {"eventTime": "2026-01-01T00:00:00Z", "userIdentity": {"arn": "arn:aws:iam::123456789012:user/somebody"}}
    detail = {"eventSource": f"{service}.amazonaws.com", "eventName": name, **who, **detail}
    return {"source": f"aws.{service}", "detail-type": "AWS API Call via CloudTrail", "detail": detail}


def on_key(name, key="DataKey", **more):
    resources = [{"accountId": "123456789012", "type": "AWS::KMS::Key", "ARN": ARNS["AWS::KMS::Key"].format(key)}]
    return called("kms", name, requestParameters={"keyId": key}, resources=resources, **more)


def on_secret(name, secret, **more):
    answer = {"name": secret, "aRN": ARNS["AWS::SecretsManager::Secret"].format(secret)}
    return called("secretsmanager", name, requestParameters={"secretId": secret}, responseElements=answer, **more)


def on_table(name, table, more=None, **request):
    return called("dynamodb", name, requestParameters={"tableName": table, **request}, **(more or {}))


def recovery(is_on):
    return {"pointInTimeRecoverySpecification": {"pointInTimeRecoveryEnabled": is_on}}


def on_backups(name, vault="BackupVault", **more):
    return called("backup", name, requestParameters={"backupVaultName": vault}, **more)


def job(kind, state, table="GrantsTable"):
    """A job of AWS Backup, as it tells EventBridge of it."""
    detail = {"state": state, "resourceArn": f"{TABLE}{table}", "resourceType": "DynamoDB"}
    return {"source": "aws.backup", "detail-type": f"{kind} Job State Change", "time": "2026-01-01T00:00:00Z", "detail": detail}


# After these calls tokens may be lost, and while they are being made they can still be saved.
DANGERS = [
    *(("KeyInDanger", on_key(name)) for name in ("DisableKey", "PutKeyPolicy", "ScheduleKeyDeletion")),
    *(("BackupsInDanger", on_backups(name)) for name in ("DeleteBackupVault", "DeleteRecoveryPoint", "UpdateRecoveryPointLifecycle")),
    *(("BackupFailed", job(kind, state)) for kind in ("Backup", "Copy") for state in ("ABORTED", "EXPIRED", "FAILED", "PARTIAL")),
    *(("SecretsInDanger", on_secret("DeleteSecret", name)) for name in ("AppSecret", "KeyringSecret")),
    *(("TablesInDanger", on_table("DeleteTable", name)) for table in ("GrantsTable", "ShortLivedTable") for name in (table, f"{TABLE}{table}")),
    *(("TablesInDanger", on_table("UpdateTable", name, deletionProtectionEnabled=False)) for name in ("GrantsTable", f"{TABLE}GrantsTable")),
    *(("TablesInDanger", on_table("UpdateContinuousBackups", name, **recovery(False))) for name in ("GrantsTable", f"{TABLE}GrantsTable")),
]
HARMLESS = [
    on_key("EnableKey"),
    on_key("CancelKeyDeletion"),
    on_key("PutKeyPolicy", "AnotherKey"),
    on_backups("DeleteRecoveryPoint", "another"),
    on_backups("DeleteRecoveryPoint", errorCode="AccessDenied"),
    on_backups("DescribeBackupVault"),
    job("Backup", "COMPLETED"),
    job("Copy", "RUNNING"),
    job("Backup", "FAILED", "AnotherTable"),
    job("Restore", "FAILED"),
    on_key("ScheduleKeyDeletion", "AnotherKey"),
    on_key("DisableKey", errorCode="AccessDenied"),
    on_secret("GetSecretValue", "KeyringSecret"),
    on_secret("DeleteSecret", "AnotherSecret"),
    called("secretsmanager", "DeleteSecret", requestParameters={"secretId": "KeyringSecret"}, errorCode="AccessDenied"),
    on_table("DeleteTable", "AnotherTable"),
    on_table("DeleteTable", "GrantsTable", {"errorCode": "ValidationException"}),
    on_table("UpdateTable", "GrantsTable", deletionProtectionEnabled=True),
    on_table("UpdateTable", "GrantsTable"),
    on_table("UpdateTable", "AnotherTable", deletionProtectionEnabled=False),
    on_table("UpdateContinuousBackups", "GrantsTable", **recovery(True)),
    on_table("UpdateContinuousBackups", "AnotherTable", **recovery(False)),
]


def destroying_the_data_rings(template):
    """Each call that endangers the data is told once, and nothing else is."""
    rules = of_type(template, "AWS::Events::Rule")
    patterns = {name: resolved(template, rule["Properties"]["EventPattern"]) for name, rule in rules.items()}
    problems = []
    for expected, event in [*DANGERS, *((None, event) for event in HARMLESS)]:
        ringing = [name for name, pattern in patterns.items() if happens(pattern, event)]
        if ringing != [expected] * (expected is not None):
            problems.append(f"{event['detail']} rings {ringing or 'nothing'}")
    problems += [f"{name} is off" for name, rule in rules.items() if rule["Properties"].get("State", "ENABLED") != "ENABLED"]
    return problems


def inside(value, path):
    for step in path.removeprefix("$.").split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def dangers_are_told_in_words(template):
    """The message is one string, as EventBridge wants it, has everything that it names, and leads
    to the runbook."""
    runbook = re.findall(r"^### ([a-z-]+)$", (INFRA / "README.md").read_text(), re.MULTILINE)
    problems = []
    for expected, event in DANGERS:
        for target in template["Resources"].get(expected, {}).get("Properties", {}).get("Targets", []):
            transformer = resolved(template, target.get("InputTransformer", {}))
            told = transformer.get("InputTemplate", "")
            for name, path in transformer.get("InputPathsMap", {}).items():
                told = told.replace(f"<{name}>", str(inside(event, path) or f"<{name}>"))
            says = re.fullmatch(r'"[^"<>\n]+ Runbook: infra/README\.md, ([a-z-]+)\."', told)
            if says is None or says[1] not in runbook:
                problems.append(f"{expected} says {told}")
            topic = {"Fn::If": ["HasAlarmTopic", {"Ref": "AlarmTopicArn"}, {"Ref": "AlarmTopic"}]}
            if target["Arn"] != topic:
                problems.append(f"{expected} is told to {target['Arn']}")
    return problems


def the_topic_takes_alarms_and_events(template):
    """With a policy of its own a topic takes what the policy says. EventBridge gives it no context,
    so that a condition would refuse everything; CloudWatch does."""
    expected = [
        ({"Service": "cloudwatch.amazonaws.com"}, {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}),
        ({"Service": "events.amazonaws.com"}, None),
    ]
    return [
        f"{name} lets publish: {found}"
        for name, policy in of_type(template, "AWS::SNS::TopicPolicy").items()
        for statements in [policy["Properties"]["PolicyDocument"]["Statement"]]
        if (found := [(one["Principal"], one.get("Condition")) for one in statements]) != expected
        or any((one["Effect"], one["Action"], one["Resource"]) != ("Allow", "sns:Publish", {"Ref": "AlarmTopic"}) for one in statements)
    ]


BACKUPS = {
    f"{TABLE}GrantsTable": {"dynamodb:CreateBackup", "dynamodb:DescribeTable", "dynamodb:ListTagsOfResource", "dynamodb:StartAwsBackupJob"},
    f"{TABLE}GrantsTable/backup/*": {"dynamodb:DeleteBackup", "dynamodb:DescribeBackup"},
    ARNS["AWS::KMS::Key"].format("DataKey"): {"kms:Decrypt", "kms:GenerateDataKey"},
    "arn:aws:backup:eu-central-1:123456789012:recovery-point:*": {"backup:CopyFromBackupVault", "backup:TagResource"},
    "arn:aws:backup:us-east-1:123456789012:recovery-point:*": {"backup:TagResource"},
    NAMED["BackupCopyVaultArn"]: {"backup:CopyIntoBackupVault", "backup:DescribeBackupVault"},
}


def backups_see_the_grants_alone(template):
    """AWS Backup may save the table of grants, use its key through DynamoDB, and copy to the vault
    that was named: no other table, and no reading of rows."""
    problems, found = [], {}
    for document in policies(template).values():
        for statement in document["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            found.setdefault(json.dumps(statement["Resource"]).strip('"'), set()).update(actions)
            if any(action.startswith("kms:") for action in actions) and "kms:ViaService" not in json.dumps(statement.get("Condition")):
                problems.append("the key may be used directly")
    if found != BACKUPS:
        problems.append(f"AWS Backup may {found}")
    for name, role in of_type(template, "AWS::IAM::Role").items():
        trust = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        if [one["Principal"] for one in trust] != [{"Service": "backup.amazonaws.com"}] or "aws:SourceAccount" not in json.dumps(trust):
            problems.append(f"{name} is not AWS Backup's alone")
    for name, selection in of_type(template, "AWS::Backup::BackupSelection").items():
        if resolved(template, selection["Properties"]["BackupSelection"].get("Resources")) != [f"{TABLE}GrantsTable"]:
            problems.append(f"{name} is not the table of grants")
    return problems


def backups_end_as_somebody_has_said(template):
    """No plan is made unless an operator says for how many days; then copies end as well."""
    problems = [
        f"{name} is made without being asked for"
        for name, resource in template["Resources"].items()
        if re.match(r"AWS::(Backup|IAM)::", resource["Type"]) and resource.get("Condition") != "HasBackups"
    ]
    if template["Parameters"]["BackupDays"]["Default"] != 0:
        problems.append("backups are made unless somebody says otherwise")
    for plan in of_type(template, "AWS::Backup::BackupPlan").values():
        for rule in plan["Properties"]["BackupPlan"]["BackupPlanRule"]:
            kept = [rule, *resolved(template, rule.get("CopyActions", []))]
            problems += [f"{one} is kept for ever" for one in kept if one.get("Lifecycle", {}).get("DeleteAfterDays") is None]
            if rule.get("Lifecycle") != {"DeleteAfterDays": {"Ref": "BackupDays"}}:
                problems.append("a backup is not kept for BackupDays")
    return problems


def the_version_is_that_of_the_code(template):
    workspace = tomllib.loads((INFRA.parent / "Cargo.toml").read_text())
    ours, told = workspace["workspace"]["package"]["version"], template["Outputs"].get("ServiceVersion", {}).get("Value")
    return [] if told == ours else [f"ServiceVersion is {told}, and Cargo.toml says {ours}"]


RULES = [
    the_version_is_that_of_the_code,
    every_route_exists,
    the_api_may_invoke_what_it_integrates,
    each_function_has_a_role_and_a_log_of_its_own,
    signed_routes_have_throttles_of_their_own,
    what_no_route_takes_has_a_small_throttle,
    everything_of_note_has_an_alarm,
    every_alarm_is_in_the_runbook,
    every_alarm_is_on_the_dashboard,
    a_failing_token_is_seen_between_two_looks,
    what_does_not_start_rings,
    what_is_given_up_rings,
    a_throttled_function_rings,
    alarms_name_outcomes_that_exist,
    metrics_of_ours_are_printed,
    failures_ring_in_a_small_service,
    lambda_gives_up_after_the_function,
    pages_know_the_app,
    the_function_knows_its_dead_letters,
    dead_letters_are_in_the_outputs,
    logins_that_fail_ring_within_the_hour,
    ids_stay_what_they_were,
    nothing_here_keeps_data,
    roles_name_no_other_data,
    parliament_finds_nothing,
]

DATA_RULES = [
    the_table_comes_last,
    data_stays_what_it_was,
    destroying_the_data_rings,
    dangers_are_told_in_words,
    the_topic_takes_alarms_and_events,
    backups_see_the_grants_alone,
    backups_end_as_somebody_has_said,
    parliament_finds_nothing,
]

EDGE_RULES = [
    edge_lets_meta_through,
]
