"""Limits that AWS's API enforces and no schema says: a table of properties, each with its limit and
the page of AWS's that has it.

`check.py limits` prints the table. Each row is a rule, and so is each function below it;
mutations.py has a broken template for each. Names and parameters count with the longest that they
may have: see longest.py.
"""

import json
import re

from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

import adopt
import longest
from longest import filled, text, values
from wiring import KEPT_DATA, mentions, metrics_of, of_type, periods_of

AWS = "https://docs.aws.amazon.com"
API_GATEWAY_QUOTAS = f"{AWS}/apigateway/latest/developerguide/http-api-quotas.html"
API_GATEWAY_THROTTLES = f"{AWS}/apigateway/latest/developerguide/limits.html"
API_GATEWAY_API = f"{AWS}/apigatewayv2/latest/api-reference/apis.html"
API_GATEWAY_METRICS = f"{AWS}/apigateway/latest/developerguide/http-api-metrics.html"
API_GATEWAY_ROUTES = f"{AWS}/apigateway/latest/developerguide/http-api-develop-routes.html"
BACKUP_EVENTS = f"{AWS}/eventbridge/latest/ref/events-ref-backup.html"
BACKUP_JOB = f"{AWS}/aws-backup/latest/devguide/API_BackupJob.html"
BACKUP_PLAN = f"{AWS}/aws-backup/latest/devguide/API_BackupPlanInput.html"
BACKUP_RULE = f"{AWS}/aws-backup/latest/devguide/API_BackupRuleInput.html"
BACKUP_SELECTION = f"{AWS}/aws-backup/latest/devguide/API_BackupSelection.html"
BACKUP_VAULT = f"{AWS}/aws-backup/latest/devguide/API_CreateBackupVault.html"
CERTIFICATE = f"{AWS}/acm/latest/APIReference/API_RequestCertificate.html"
CERTIFICATE_BY_STACK = f"{AWS}/AWSCloudFormation/latest/UserGuide/aws-resource-certificatemanager-certificate.html"
CERTIFICATE_REGION = f"{AWS}/AmazonCloudFront/latest/DeveloperGuide/cnames-and-https-requirements.html"
CLOUDFORMATION = f"{AWS}/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"
CLOUDFORMATION_OUTPUTS = f"{AWS}/AWSCloudFormation/latest/UserGuide/outputs-section-structure.html"
CLOUDFORMATION_PARAMETERS = f"{AWS}/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html"
CLOUDFRONT = f"{AWS}/cloudfront/latest/APIReference/API_DistributionConfig.html"
CLOUDFRONT_ERRORS = f"{AWS}/AmazonCloudFront/latest/DeveloperGuide/HTTPStatusCodes.html"
CLOUDFRONT_HEADERS = f"{AWS}/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html#limits-custom-headers"
CLOUDFRONT_ORIGIN = f"{AWS}/cloudfront/latest/APIReference/API_CustomOriginConfig.html"
EVENT_BUS = f"{AWS}/eventbridge/latest/APIReference/API_CreateEventBus.html"
EVENT_PATTERN = f"{AWS}/eventbridge/latest/userguide/eb-quota.html"
EVENT_RULE = f"{AWS}/eventbridge/latest/APIReference/API_PutRule.html"
EVENT_TEXT = f"{AWS}/eventbridge/latest/APIReference/API_InputTransformer.html"
IMPORT = f"{AWS}/AWSCloudFormation/latest/UserGuide/resource-import.html"
IAM = f"{AWS}/IAM/latest/UserGuide/reference_iam-quotas.html"
IAM_POLICY = f"{AWS}/IAM/latest/APIReference/API_CreatePolicy.html"
KMS_DELETION = f"{AWS}/kms/latest/APIReference/API_ScheduleKeyDeletion.html"
KMS_KEY = f"{AWS}/kms/latest/APIReference/API_CreateKey.html"
KMS_QUOTAS = f"{AWS}/kms/latest/developerguide/resource-limits.html"
LAMBDA_CONCURRENCY = f"{AWS}/lambda/latest/dg/configuration-concurrency.html"
LAMBDA_FILTERS = f"{AWS}/lambda/latest/dg/invocation-eventfiltering.html"
LAMBDA_INVOKE_CONFIG = f"{AWS}/lambda/latest/api/API_PutFunctionEventInvokeConfig.html"
LAMBDA_MAPPING = f"{AWS}/lambda/latest/api/API_CreateEventSourceMapping.html"
LAMBDA_METRICS = f"{AWS}/lambda/latest/api/API_EventSourceMappingMetricsConfig.html"
LAMBDA_QUOTAS = f"{AWS}/lambda/latest/dg/gettingstarted-limits.html"
LOG_GROUP = f"{AWS}/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html"
LOG_RETENTION = f"{AWS}/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html"
METRIC_ALARM = f"{AWS}/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html"
METRIC_DASHBOARD = f"{AWS}/AmazonCloudWatch/latest/APIReference/API_PutDashboard.html"
METRIC_MATH = f"{AWS}/AmazonCloudWatch/latest/monitoring/Create-alarm-on-metric-math-expression.html"
METRIC_QUERY = f"{AWS}/AmazonCloudWatch/latest/APIReference/API_MetricDataQuery.html"
SCHEDULER_GROUP = f"{AWS}/scheduler/latest/APIReference/API_CreateScheduleGroup.html"
SCHEDULER_QUOTAS = f"{AWS}/scheduler/latest/UserGuide/scheduler-quotas.html"
SCHEDULER_RETRY = f"{AWS}/scheduler/latest/APIReference/API_RetryPolicy.html"
SCHEDULER_SCHEDULE = f"{AWS}/scheduler/latest/APIReference/API_CreateSchedule.html"
SCHEDULER_WINDOW = f"{AWS}/scheduler/latest/APIReference/API_FlexibleTimeWindow.html"
SECRET = f"{AWS}/secretsmanager/latest/apireference/API_CreateSecret.html"
SQS_QUEUE = f"{AWS}/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html"
WAF_ACL = f"{AWS}/waf/latest/APIReference/API_CreateWebACL.html"
WAF_CAPACITY = f"{AWS}/waf/latest/developerguide/aws-waf-capacity-units.html"
WAF_METRIC = f"{AWS}/waf/latest/APIReference/API_VisibilityConfig.html"
WAF_RATE = f"{AWS}/waf/latest/APIReference/API_RateBasedStatement.html"

# The rows: the property, what it may be, and the page that says so.
TABLE = []
RULES = []
DATA_RULES = []
EDGE_RULES = []


def limit(kind, path, what, page, rules=RULES):
    """Registers a row as a rule. `what` is a sentence and the test that it stands for; `path` has
    `*` for each of a list."""
    says, takes = what

    def rule(template):
        problems = []
        for name, resource in of_type(template, kind).items():
            for found in at(resource.get("Properties", {}), path.split(".")):
                problems += [
                    f"{name}: {path} is {str(value)[:80]!r} and has to be {says}: {page}"
                    for value in values(template, found)
                    if not takes(value)
                ]
        return problems

    rule.__name__ = f"{kind.removeprefix('AWS::').replace('::', '.')}.{path}"
    TABLE.append((rule.__name__, says, page))
    rules.append(rule)


def limited(says, page, rules=RULES):
    """Registers a function as a rule, and its limit as a row."""

    def register(rule):
        TABLE.append((rule.__name__, says, page))
        rules.append(rule)
        return rule

    return register


def at(value, path):
    """All values at a path, if there are any."""
    if not path:
        return [value]
    step, *rest = path
    if isinstance(value, dict) and "Fn::If" in value:
        return [found for branch in value["Fn::If"][1:] for found in at(branch, path)]
    if step == "*":
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
        return [found for one in inner for found in at(one, rest)]
    return at(value[step], rest) if isinstance(value, dict) and step in value else []


def between(low, high, *others):
    says = f"from {low:,} to {high:,}" + "".join(f", or {other}" for other in others)
    return says, lambda value: low <= float(value) <= high or float(value) in others


def one_of(*allowed):
    return f"one of {', '.join(map(str, allowed))}", lambda value: value in allowed


def at_most(characters):
    return f"at most {characters:,} characters", lambda value: len(str(value)) <= characters


def few(count):
    return f"at most {count} of them", lambda value: len(value) <= count


def named(pattern, characters):
    says = f"at most {characters:,} characters like {pattern}"
    return says, lambda value: len(value) <= characters and re.fullmatch(f"({pattern})+", value, re.ASCII) is not None


limit("AWS::Lambda::Function", "Timeout", between(1, 900), LAMBDA_QUOTAS)
limit("AWS::Lambda::Function", "MemorySize", between(128, 10_240), LAMBDA_QUOTAS)
limit("AWS::Lambda::EventSourceMapping", "BatchSize", between(1, 10_000), LAMBDA_MAPPING)
limit("AWS::Lambda::EventSourceMapping", "MaximumBatchingWindowInSeconds", between(0, 300), LAMBDA_MAPPING)
limit("AWS::Lambda::EventSourceMapping", "MaximumRecordAgeInSeconds", between(60, 604_800, -1), LAMBDA_MAPPING)
limit("AWS::Lambda::EventSourceMapping", "MaximumRetryAttempts", between(-1, 10_000), LAMBDA_MAPPING)
limit("AWS::Lambda::EventSourceMapping", "MetricsConfig.Metrics.*", one_of("EventCount"), LAMBDA_METRICS)
limit("AWS::Lambda::EventSourceMapping", "ParallelizationFactor", between(1, 10), LAMBDA_MAPPING)
limit("AWS::Lambda::EventSourceMapping", "StartingPosition", one_of("TRIM_HORIZON", "LATEST"), LAMBDA_MAPPING)
limit("AWS::Lambda::EventSourceMapping", "FilterCriteria.Filters", few(5), LAMBDA_FILTERS)
limit("AWS::Lambda::EventSourceMapping", "FilterCriteria.Filters.*.Pattern", at_most(4_096), LAMBDA_FILTERS)
limit("AWS::Lambda::EventInvokeConfig", "MaximumEventAgeInSeconds", between(60, 21_600), LAMBDA_INVOKE_CONFIG)
limit("AWS::Lambda::EventInvokeConfig", "MaximumRetryAttempts", between(0, 2), LAMBDA_INVOKE_CONFIG)
limit("AWS::Scheduler::Schedule", "Target.RetryPolicy.MaximumEventAgeInSeconds", between(60, 86_400), SCHEDULER_RETRY)
limit("AWS::Scheduler::Schedule", "Target.RetryPolicy.MaximumRetryAttempts", between(0, 185), SCHEDULER_RETRY)
limit("AWS::Scheduler::Schedule", "FlexibleTimeWindow.MaximumWindowInMinutes", between(1, 1_440), SCHEDULER_WINDOW)
limit("AWS::Scheduler::Schedule", "Target.Input", at_most(262_144), SCHEDULER_QUOTAS)
limit("AWS::Scheduler::Schedule", "Description", at_most(512), SCHEDULER_SCHEDULE)
limit("AWS::SQS::Queue", "MessageRetentionPeriod", between(60, 1_209_600), SQS_QUEUE)
DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
limit("AWS::Logs::LogGroup", "RetentionInDays", one_of(*DAYS), LOG_RETENTION)
limit("AWS::KMS::Key", "PendingWindowInDays", between(7, 30), KMS_DELETION, DATA_RULES)
limit("AWS::ApiGatewayV2::Integration", "TimeoutInMillis", between(50, 30_000), API_GATEWAY_QUOTAS)
limit("AWS::ApiGatewayV2::Stage", "AccessLogSettings.Format", at_most(3_072), API_GATEWAY_QUOTAS)
limit("AWS::ApiGatewayV2::Stage", "DefaultRouteSettings.ThrottlingRateLimit", between(1, 10_000), API_GATEWAY_THROTTLES)
limit("AWS::ApiGatewayV2::Stage", "DefaultRouteSettings.ThrottlingBurstLimit", between(1, 5_000), API_GATEWAY_THROTTLES)
# An account has so much in the regions where it has least, such as Milan and Zurich.
limit("AWS::ApiGatewayV2::Stage", "RouteSettings.*.ThrottlingRateLimit", between(1, 2_500), API_GATEWAY_THROTTLES)
limit("AWS::ApiGatewayV2::Stage", "RouteSettings.*.ThrottlingBurstLimit", between(1, 1_250), API_GATEWAY_THROTTLES)
limit("AWS::CloudWatch::Alarm", "AlarmDescription", at_most(1_024), METRIC_ALARM)
limit("AWS::CloudWatch::Alarm", "AlarmActions", few(5), METRIC_ALARM)
limit("AWS::CloudWatch::Alarm", "Dimensions", few(30), METRIC_ALARM)
limit("AWS::CloudWatch::Alarm", "Metrics.*.Expression", at_most(2_048), METRIC_QUERY)
limit("AWS::CloudWatch::Alarm", "Metrics.*.Id", ("a small letter, then letters, digits or _", lambda id: re.fullmatch(r"[a-z]\w{0,254}", id)), METRIC_QUERY)
limit("AWS::IAM::ManagedPolicy", "Description", at_most(1_000), IAM_POLICY)
limit("AWS::SecretsManager::Secret", "Description", at_most(2_048), SECRET, DATA_RULES)
limit("AWS::Events::EventBus", "Description", at_most(512), EVENT_BUS)

# With the longest stack name, and the longest name of a region.
limit("AWS::Events::EventBus", "Name", named(r"[\w.-]", 256), EVENT_BUS)
limit("AWS::Scheduler::ScheduleGroup", "Name", named(r"[\w.-]", 64), SCHEDULER_GROUP)
limit("AWS::ApiGatewayV2::Api", "Name", at_most(128), API_GATEWAY_API)
limit("AWS::Logs::LogGroup", "LogGroupName", named(r"[\w./#-]", 512), LOG_GROUP)
limit("AWS::CloudWatch::Alarm", "AlarmName", at_most(255), METRIC_ALARM)
limit("AWS::CloudWatch::Dashboard", "DashboardName", named(r"[A-Za-z0-9_-]", 255), METRIC_DASHBOARD)

limit("AWS::CertificateManager::Certificate", "DomainName", at_most(253), CERTIFICATE)
limit("AWS::CertificateManager::Certificate", "ValidationMethod", one_of("DNS"), CERTIFICATE)
limit("AWS::Events::Rule", "Description", at_most(512), EVENT_RULE, DATA_RULES)
limit("AWS::Events::Rule", "Targets", few(5), EVENT_PATTERN, DATA_RULES)
limit("AWS::Events::Rule", "Targets.*.InputTransformer.InputPathsMap", few(100), EVENT_TEXT, DATA_RULES)
limit("AWS::Events::Rule", "Targets.*.InputTransformer.InputTemplate", at_most(8_192), EVENT_TEXT, DATA_RULES)
# A pattern with a word that AWS never says is silent for ever.
TOLD = ("AWS API Call via CloudTrail", "Backup Job State Change", "Copy Job State Change")
STATES = ("ABORTED", "ABORTING", "COMPLETED", "CREATED", "EXPIRED", "FAILED", "PARTIAL", "PENDING", "RUNNING")
limit("AWS::Events::Rule", "EventPattern.detail-type.*", one_of(*TOLD), BACKUP_EVENTS, DATA_RULES)
limit("AWS::Events::Rule", "EventPattern.detail.state.*", one_of(*STATES), BACKUP_JOB, DATA_RULES)
limit("AWS::Backup::BackupVault", "BackupVaultName", named(r"[A-Za-z0-9_-]", 50), BACKUP_VAULT, DATA_RULES)
limit("AWS::Backup::BackupPlan", "BackupPlan.BackupPlanName", named(r"[A-Za-z0-9_.-]", 50), BACKUP_PLAN, DATA_RULES)
limit("AWS::Backup::BackupPlan", "BackupPlan.BackupPlanRule.*.RuleName", named(r"[A-Za-z0-9_.-]", 50), BACKUP_RULE, DATA_RULES)
limit("AWS::Backup::BackupPlan", "BackupPlan.BackupPlanRule.*.StartWindowMinutes", between(60, 52_560_000), BACKUP_RULE, DATA_RULES)
limit("AWS::Backup::BackupSelection", "BackupSelection.SelectionName", named(r"[A-Za-z0-9_.-]", 50), BACKUP_SELECTION, DATA_RULES)

limit("AWS::WAFv2::WebACL", "Scope", one_of("CLOUDFRONT"), WAF_ACL, EDGE_RULES)
limit("AWS::WAFv2::WebACL", "Rules.*.Statement.RateBasedStatement.Limit", between(10, 2_000_000_000), WAF_RATE, EDGE_RULES)
limit("AWS::WAFv2::WebACL", "Rules.*.Statement.RateBasedStatement.EvaluationWindowSec", one_of(60, 120, 300, 600), WAF_RATE, EDGE_RULES)
limit("AWS::WAFv2::WebACL", "Rules.*.VisibilityConfig.MetricName", named(r"[A-Za-z0-9_-]", 128), WAF_METRIC, EDGE_RULES)
limit("AWS::CloudFront::Distribution", "DistributionConfig.Comment", at_most(128), CLOUDFRONT, EDGE_RULES)
# Not less than API Gateway's 30 s, or a slow answer is cut off here.
limit("AWS::CloudFront::Distribution", "DistributionConfig.Origins.*.CustomOriginConfig.OriginReadTimeout", between(30, 120), CLOUDFRONT_ORIGIN, EDGE_RULES)


limit("AWS::CloudFront::Distribution", "DistributionConfig.Origins.*.OriginCustomHeaders", few(10), CLOUDFRONT_HEADERS, EDGE_RULES)
limit("AWS::CloudFront::Distribution", "DistributionConfig.Origins.*.OriginCustomHeaders.*.HeaderName", at_most(256), CLOUDFRONT_HEADERS, EDGE_RULES)
limit("AWS::CloudFront::Distribution", "DistributionConfig.Origins.*.OriginCustomHeaders.*.HeaderValue", at_most(1_783), CLOUDFRONT_HEADERS, EDGE_RULES)


@limited("10,000 a second and bursts of 5,000 for an account, 2,500 and 1,250 in newer regions", API_GATEWAY_THROTTLES)
def throttles_by_themselves_fit_every_region(template):
    """An operator whose account has higher quotas may set more."""
    most = {"ThrottleRate": 2_500, "ThrottleBurst": 1_250}
    return [
        f"{name} is {default} unless somebody says otherwise"
        for name, bound in most.items()
        if (default := int(template["Parameters"][name]["Default"])) > bound
    ]


@limited("a dashboard's name holds the region: an account has one set of them for all regions", METRIC_DASHBOARD)
def dashboards_are_named_for_their_region(template):
    return [
        f"{name} would replace the one of another region"
        for name, dashboard in of_type(template, "AWS::CloudWatch::Dashboard").items()
        if longest.PSEUDO["AWS::Region"] not in text(template, dashboard["Properties"].get("DashboardName", ""))
    ]


@limited("7 days back, or 1 day for periods under an hour; M of N with M at most N; periods of 10, 20, 30 or n x 60 s", METRIC_ALARM)
def every_alarm_looks_back_as_far_as_it_may(template):
    problems = []
    for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items():
        properties, periods = alarm["Properties"], periods_of(alarm)
        datapoints_of = int(properties["EvaluationPeriods"])
        if not periods:
            problems.append(f"{name} has no period")
        for period in periods:
            if period * datapoints_of > (most := 604_800 if period >= 3_600 else 86_400):
                problems.append(f"{name} looks back {datapoints_of} x {period} s, and may {most} s")
            if period % 60 and period not in (10, 20, 30):
                problems.append(f"{name} has a period of {period} s")
        if int(properties.get("DatapointsToAlarm", datapoints_of)) > datapoints_of:
            problems.append(f"{name} wants more datapoints than the {datapoints_of} that it has")
    return problems


@limited("10 metrics, and one value that is returned", METRIC_MATH)
def alarms_on_sums_return_one_value(template):
    problems = []
    for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items():
        queries = alarm["Properties"].get("Metrics", [])
        if (metrics := sum("MetricStat" in query for query in queries)) > 10:
            problems.append(f"{name} looks at {metrics} metrics")
        if queries and (returned := sum(query.get("ReturnData", True) for query in queries)) != 1:
            problems.append(f"{name} returns {returned} values")
    return problems


@limited("4xx, 5xx, Count, DataProcessed, IntegrationLatency and Latency: an HTTP API counts no errors of integrations", API_GATEWAY_METRICS)
def http_apis_have_these_metrics(template):
    known = {"4xx", "5xx", "Count", "DataProcessed", "IntegrationLatency", "Latency"}
    return [
        f"{name}: an HTTP API has no {metric['MetricName']}"
        for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items()
        for metric in metrics_of(alarm)
        if metric["Namespace"] == "AWS/ApiGateway" and metric["MetricName"] not in known
    ]


def size(template, document):
    """The characters of a policy as IAM counts them: without white space."""
    return len(re.sub(r"\s", "", json.dumps(filled(template, document), separators=(",", ":"))))


@limited("managed: 6,144 characters; inline: 10,240 for a role; trust: 2,048; 10 managed policies for a role", IAM)
def policies_are_not_too_long(template):
    problems = []
    for name, policy in of_type(template, "AWS::IAM::ManagedPolicy").items():
        if (characters := size(template, policy["Properties"]["PolicyDocument"])) > 6_144:
            problems.append(f"{name} has {characters} characters, and may have 6,144")
    for name, role in of_type(template, "AWS::IAM::Role").items():
        properties = role["Properties"]
        inline = sum(size(template, policy["PolicyDocument"]) for policy in properties.get("Policies", []))
        if inline > 10_240:
            problems.append(f"{name} has {inline} characters of policies, and may have 10,240")
        if (trust := size(template, properties["AssumeRolePolicyDocument"])) > 2_048:
            problems.append(f"{name} has {trust} characters of trust, and may have 2,048")
        if (count := len(properties.get("ManagedPolicyArns", []))) > 10:
            problems.append(f"{name} has {count} managed policies, and may have 10")
    return problems


def listed(value):
    return value if isinstance(value, list) else [value]


@limited("32 KB; whoever makes the key may change its policy later", f"{KMS_QUOTAS} and {KMS_KEY}", DATA_RULES)
def the_keys_policy_locks_nobody_out(template):
    problems = []
    for name, key in of_type(template, "AWS::KMS::Key").items():
        properties = key["Properties"]
        if (characters := len(json.dumps(filled(template, properties["KeyPolicy"])))) > 32_768:
            problems.append(f"{name}'s policy has {characters} bytes")
        changes = [
            statement
            for statement in properties["KeyPolicy"]["Statement"]
            if statement["Effect"] == "Allow"
            and "kms:PutKeyPolicy" in listed(statement["Action"])
            and text(template, statement["Principal"].get("AWS", "")).endswith(":root")
            and statement.get("Resource") == "*"
            and "Condition" not in statement
        ]
        if not changes:
            problems.append(f"{name}: the account may not change the policy, so KMS refuses the key")
        if properties.get("BypassPolicyLockoutSafetyCheck"):
            problems.append(f"{name} is made without KMS's check that somebody may change its policy")
    return problems


@limited("2,048 characters, unless the account has asked for more", EVENT_PATTERN, DATA_RULES)
def event_patterns_are_not_too_long(template):
    problems = []
    for name, rule in of_type(template, "AWS::Events::Rule").items():
        pattern = json.dumps(filled(template, rule["Properties"]["EventPattern"]), separators=(",", ":"))
        if len(pattern) > 2_048:
            problems.append(f"{name} has a pattern of {len(pattern)} characters")
    return problems


@limited("an import takes what has a DeletionPolicy, by its type's primary identifier, and makes nothing else", IMPORT, DATA_RULES)
def the_data_can_be_imported(template):
    """adopt.py writes this for a stack of before."""
    if missing := sorted(KEPT_DATA.keys() - template["Resources"].keys()):
        return [f"{name} is not there" for name in missing]
    given = dict.fromkeys(("GrantsTableName", "ShortLivedTableName", "DataKeyArn", "AppSecretArn", "KeyringSecretArn"), "x")
    imported, named = adopt.template(template, "threads-auth", ("due", "reference")), adopt.resources(template, given)
    problems = [f"{name} is left out" for name in sorted(KEPT_DATA.keys() - imported["Resources"].keys())]
    for entry in named:
        name, kind = entry["LogicalResourceId"], entry["ResourceType"]
        resource = imported["Resources"][name]
        identifiers = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema["primaryIdentifier"]
        if identifiers != [f"/properties/{key}" for key in entry["ResourceIdentifier"]]:
            problems.append(f"{name} is known by {identifiers}")
        if resource["DeletionPolicy"] != "Retain" or resource.get("UpdateReplacePolicy") != "Retain":
            problems.append(f"{name} may be lost while it is imported")
        problems += [f"{name} needs {other}" for other in sorted(mentions(template, resource) - imported["Resources"].keys())]
    return problems


@limited("4 KB for all variables of a function", LAMBDA_QUOTAS)
def environments_fit_into_four_kilobytes(template):
    problems = []
    for name, function in of_type(template, "AWS::Lambda::Function").items():
        variables = function["Properties"].get("Environment", {}).get("Variables", {})
        taken = len(json.dumps({key: text(template, value) for key, value in variables.items()}, separators=(",", ":")))
        if taken > 4_096:
            problems.append(f"{name}: the longest names and parameters take {taken} bytes of environment")
    return problems


@limited("30 s for an integration; the function ends before", API_GATEWAY_QUOTAS)
def functions_end_before_their_integration(template):
    functions = of_type(template, "AWS::Lambda::Function")
    problems = []
    for name, integration in of_type(template, "AWS::ApiGatewayV2::Integration").items():
        waits = integration["Properties"].get("TimeoutInMillis", 30_000) / 1_000
        target = integration["Properties"]["IntegrationUri"]["Fn::GetAtt"][0]
        if functions[target]["Properties"]["Timeout"] >= waits:
            problems.append(f"{target} may take as long as {name} waits, {waits:g} s, and its answer is lost")
    return problems


@limited("100 stay unreserved; a new account's quota is 10", LAMBDA_CONCURRENCY)
def a_new_account_can_deploy(template):
    """A share is taken only if the operator says so, and the parameter says what quota all shares
    together need."""
    problems, together = [], 100
    for name, function in of_type(template, "AWS::Lambda::Function").items():
        match function["Properties"].get("ReservedConcurrentExecutions"):
            case {"Fn::If": ["HasReserve", int(share), {"Ref": "AWS::NoValue"}]}:
                together += share
            case share:
                problems.append(f"{name} reserves {share} without being asked to")
    parameter = template["Parameters"]["ReserveConcurrency"]
    if parameter["Default"] != "false":
        problems.append("functions have a share of the account's concurrency unless somebody says otherwise")
    if together > (said := int(re.search(r"quota is below (\d+)", parameter["Description"])[1])):
        problems.append(f"all shares and what has to be left need a quota of {together}, and ReserveConcurrency says {said}")
    return problems


@limited("1,024 bytes of description, 200 parameters, 200 outputs, 500 resources, 200 mappings, 1 MB", CLOUDFORMATION)
def the_template_is_not_too_large(template):
    counts = {
        "Parameters": (200, "parameters"),
        "Outputs": (200, "outputs"),
        "Resources": (500, "resources"),
        "Mappings": (200, "mappings"),
    }
    problems = [
        f"{len(template[section])} {what}, and {most} are allowed"
        for section, (most, what) in counts.items()
        if len(template.get(section, {})) > most
    ]
    problems += [
        f"{name} is a name of more than 255 characters"
        for section in counts
        for name in template.get(section, {})
        if len(name) > 255
    ]
    if len(template.get("Description", "").encode()) > 1_024:
        problems.append("the description has more than 1,024 bytes")
    if (taken := len(json.dumps(template))) > 1_000_000:
        problems.append(f"the template has {taken} bytes")
    return problems


@limited("4,000 characters for a parameter's", CLOUDFORMATION_PARAMETERS)
def parameters_are_described_in_short(template):
    return [
        f"{name} has too long a description"
        for name, parameter in template["Parameters"].items()
        if len(parameter.get("Description", "")) > 4_000 or len(parameter.get("ConstraintDescription", "")) > 4_000
    ]


@limited("1,024 bytes for an output's", CLOUDFORMATION_OUTPUTS)
def outputs_are_described_in_short(template):
    return [
        f"{name} has too long a description"
        for name, output in template["Outputs"].items()
        if len(output.get("Description", "").encode()) > 1_024
    ]


@limited("300 routes and 300 integrations; `$default`, or a method and a path that ends without a slash", f"{API_GATEWAY_QUOTAS} and {API_GATEWAY_ROUTES}")
def routes_are_what_api_gateway_takes(template):
    keys = [route["Properties"]["RouteKey"] for route in of_type(template, "AWS::ApiGatewayV2::Route").values()]
    part = r"(/[A-Za-z0-9._~-]+|/\{\w+\})"
    good = rf"\$default|(ANY|GET|HEAD|OPTIONS|PATCH|POST|PUT|DELETE) (/|{part}+(/\{{\w+\+\}})?|/\{{\w+\+\}})"
    problems = [f"{key} cannot be a route" for key in keys if not re.fullmatch(good, key)]
    problems += [f"{key} is there twice" for key in sorted({key for key in keys if keys.count(key) > 1})]
    for kind in ("Route", "Integration"):
        if (count := len(of_type(template, f"AWS::ApiGatewayV2::{kind}"))) > 300:
            problems.append(f"{count} {kind.lower()}s, and 300 are allowed")
    return problems


def before(template, name):
    """The names of the resources that a resource says it waits for."""
    return listed(template["Resources"][name].get("DependsOn", []))


@limited(
    "one route after the other, and the stage last: side by side they meet `concurrent modification`",
    "https://github.com/hashicorp/terraform-provider-aws/issues/18018",
)
def routes_are_made_one_after_another(template):
    routes = of_type(template, "AWS::ApiGatewayV2::Route")
    earlier = {name: [other for other in before(template, name) if other in routes] for name in routes}
    first = [name for name, others in earlier.items() if not others]
    problems = [f"{name} is made beside {first[0]}" for name in first[1:]]
    awaited = [other for others in earlier.values() for other in others]
    problems += [f"{awaited.count(name)} routes are made after {name}, side by side" for name in routes if awaited.count(name) > 1]
    for stage in of_type(template, "AWS::ApiGatewayV2::Stage"):
        seen, waiting = set(), before(template, stage)
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += earlier.get(name, [])
        problems += [f"{stage} may be made before {name}" for name in routes if name not in seen]
    return problems


def holds(condition, given):
    """Evaluates a condition of CloudFormation's `Rules`."""
    match condition:
        case {"Fn::Equals": [one, other]}:
            return holds(one, given) == holds(other, given)
        case {"Fn::Not": [inner]}:
            return not holds(inner, given)
        case {"Fn::Or": inner}:
            return any(holds(one, given) for one in inner)
        case {"Fn::And": inner}:
            return all(holds(one, given) for one in inner)
        case {"Ref": name}:
            return given[name]
        case {"Condition": name}:
            return holds(given["Conditions"][name], given)
        case str():
            return condition
    raise ValueError(f"not understood: {condition}")


def refused(template, parameters, region):
    """The reasons for which CloudFormation refuses these parameters before it makes anything."""
    given = {name: str(parameter.get("Default", name)) for name, parameter in template["Parameters"].items()}
    given |= parameters | {"AWS::Region": region}
    return [
        assertion["AssertDescription"]
        for rule in template.get("Rules", {}).values()
        if holds(rule.get("RuleCondition", {"Fn::Equals": ["", ""]}), given)
        for assertion in rule["Assertions"]
        if not holds(assertion["Assert"], given)
    ]


@limited("web ACLs of CloudFront's are made in us-east-1", WAF_ACL)
def edge_is_refused_where_it_cannot_be(template):
    named = {"Edge": "true", "EdgeWebAclArn": "arn:aws:wafv2:us-east-1:123456789012:global/webacl/a/b"}
    cases = [
        ({}, "eu-central-1", False),
        ({"Edge": "true"}, "eu-central-1", True),
        ({"Edge": "true"}, "us-east-1", False),
        (named, "eu-central-1", False),
        ({"DomainName": "auth.example.com"}, "eu-central-1", True),
    ]
    return [
        f"{parameters} in {region} is {'taken' if expected else 'refused'}"
        for parameters, region, expected in cases
        if bool(refused(template, parameters, region)) != expected
    ]


@limited("CloudFront takes certificates of us-east-1, and a stack makes one where it is", f"{CERTIFICATE_REGION} and {CERTIFICATE_BY_STACK}")
def certificates_are_made_where_they_are_used(template):
    """It is made for a name in a zone, once, and every other way to a name without a certificate is
    refused."""
    name, zone = {"DomainName": "auth.example.com"}, {"HostedZoneId": "Z0123456789"}
    given = {"CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/a"}
    edge = {"Edge": "true", "EdgeWebAclArn": "arn:aws:wafv2:us-east-1:123456789012:global/webacl/a/b"}
    cases = [
        (name, "eu-central-1", True, False),
        (name | zone, "eu-central-1", False, True),
        (name | given, "eu-central-1", False, False),
        (name | zone | given, "eu-central-1", False, False),
        (name | edge | zone, "us-east-1", False, True),
        (name | edge | zone, "eu-central-1", True, True),
        (name | edge | zone | given, "eu-central-1", False, False),
        (edge | zone, "eu-central-1", False, False),
        (zone, "eu-central-1", False, False),
    ]
    problems = []
    defaults = {parameter: str(of.get("Default", "")) for parameter, of in template["Parameters"].items()}
    for parameters, region, expected, is_made in cases:
        if bool(refused(template, parameters, region)) != expected:
            problems.append(f"{parameters} in {region} is {'taken' if expected else 'refused'}")
        conditions = {"Conditions": template["Conditions"]}
        if holds({"Condition": "MakesCertificate"}, defaults | parameters | conditions) != is_made:
            problems.append(f"{parameters} makes {'no' if is_made else 'a'} certificate")
    made = template["Resources"].get("Certificate", {})
    if made.get("Condition") != "MakesCertificate":
        problems.append("there is no certificate that is made under MakesCertificate")
    zones = made.get("Properties", {}).get("DomainValidationOptions", [])
    if zones != [{"DomainName": {"Ref": "DomainName"}, "HostedZoneId": {"Ref": "HostedZoneId"}}]:
        problems.append("nobody proves the name, and the deployment waits for it in vain")
    used = {"Fn::If": ["MakesCertificate", {"Ref": "Certificate"}, {"Ref": "CertificateArn"}]}
    uses = [
        template["Resources"]["ApiDomain"]["Properties"]["DomainNameConfigurations"][0]["CertificateArn"],
        template["Resources"]["EdgeStack"]["Properties"]["Parameters"]["CertificateArn"],
    ]
    return problems + [f"{use} is used" for use in uses if use != used]


# The errors that CloudFront keeps by itself, or once an answer asks for it, as far as
# CustomErrorResponses has a setting for them.
KEPT_ERRORS = {400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504}


@limited("errors are kept for 10 s unless ErrorCachingMinTTL says otherwise", CLOUDFRONT_ERRORS, EDGE_RULES)
def edge_keeps_no_error(template):
    problems = []
    for name, distribution in of_type(template, "AWS::CloudFront::Distribution").items():
        entries = distribution["Properties"]["DistributionConfig"].get("CustomErrorResponses", [])
        kept = {entry["ErrorCode"]: entry.get("ErrorCachingMinTTL", 10) for entry in entries}
        problems += [f"{name} keeps {code} for {kept.get(code, 10)} s" for code in sorted(KEPT_ERRORS) if kept.get(code, 10) != 0]
        problems += [f"{name}: there is no setting for {code}" for code in sorted(kept.keys() - KEPT_ERRORS)]
    return problems


# The capacity that a rule of AWS's takes. A rule of ours takes what its statements take.
MANAGED = {"AWSManagedRulesAmazonIpReputationList": 25, "AWSManagedRulesKnownBadInputsRuleSet": 200}


def capacity(statement):
    match statement:
        case {"RateBasedStatement": inner}:
            return 2 + capacity(inner.get("ScopeDownStatement", {}))
        case {"ManagedRuleGroupStatement": inner}:
            return MANAGED[inner["Name"]] + capacity(inner.get("ScopeDownStatement", {}))
        case {"NotStatement": {"Statement": inner}}:
            return capacity(inner)
        case {"AndStatement": {"Statements": inner}} | {"OrStatement": {"Statements": inner}}:
            return sum(map(capacity, inner))
        case {"ByteMatchStatement": inner}:
            # The dearest kind of match, and each transformation counted, `NONE` too.
            return 10 + 10 * len(inner["TextTransformations"])
        case {}:
            return 0
    raise ValueError(f"not understood: {statement}")


@limited("1,500 units of capacity; what is above costs more", WAF_CAPACITY, EDGE_RULES)
def web_acls_are_small(template):
    problems = []
    for name, acl in of_type(template, "AWS::WAFv2::WebACL").items():
        if (units := sum(capacity(rule["Statement"]) for rule in acl["Properties"]["Rules"])) > 1_500:
            problems.append(f"{name} takes {units} units")
    return problems


DATA_RULES += [the_template_is_not_too_large, parameters_are_described_in_short, outputs_are_described_in_short]
EDGE_RULES.append(the_template_is_not_too_large)
