"""Ways to break the templates, each with the rule that must refuse it."""

import json

MUTATIONS = []


def breaks(rule, what, template="template"):
    """Registers a change of a template as a mutation that `rule` must catch."""

    def register(change):
        MUTATIONS.append((what, rule, template, change))
        return change

    return register


def resource(template, name):
    return template["Resources"][name]


def put(rule, what, name, path, value, template="template"):
    """Registers a mutation that sets one value; `path` starts inside the resource."""

    def change(mutant):
        *folders, last = path
        place = resource(mutant, name)
        for folder in folders:
            place = place[folder]
        place[last] = value

    MUTATIONS.append((what, rule, template, change))


def drop(rule, what, name, path, template="template"):
    """Registers a mutation that takes one value away."""

    def change(mutant):
        *folders, last = path
        place = resource(mutant, name)
        for folder in folders:
            place = place[folder]
        del place[last]

    MUTATIONS.append((what, rule, template, change))


P = "Properties"

# Data
put("grants_have_no_ttl", "a TTL on grants", "GrantsTable", [P, "TimeToLiveSpecification"], {"AttributeName": "expires_at", "Enabled": True})
put("grants_cannot_be_deleted", "grants without deletion protection", "GrantsTable", [P, "DeletionProtectionEnabled"], False)
drop("grants_cannot_be_deleted", "deletion protection left out", "GrantsTable", [P, "DeletionProtectionEnabled"])
put("grants_cannot_be_deleted", "grants deleted with the stack", "GrantsTable", ["DeletionPolicy"], "Delete")
put("grants_cannot_be_deleted", "a table left behind by a first try", "GrantsTable", ["DeletionPolicy"], "Retain")
drop("grants_cannot_be_deleted", "grants deleted when replaced", "GrantsTable", ["UpdateReplacePolicy"])
drop("grants_can_be_restored", "no point-in-time recovery", "GrantsTable", [P, "PointInTimeRecoverySpecification"])
put("grants_have_a_stream", "a stream of new images only", "GrantsTable", [P, "StreamSpecification", "StreamViewType"], "NEW_IMAGE")
put("due_index_has_keys_only", "tokens copied into the index", "GrantsTable", [P, "GlobalSecondaryIndexes", 0, "Projection", "ProjectionType"], "ALL")
put("due_index_has_keys_only", "the index under another name", "GrantsTable", [P, "GlobalSecondaryIndexes", 0, "IndexName"], "due2")
put("short_lived_items_end", "the TTL on another attribute", "ShortLivedTable", [P, "TimeToLiveSpecification", "AttributeName"], "expires_at")
put("short_lived_items_end", "the TTL off", "ShortLivedTable", [P, "TimeToLiveSpecification", "Enabled"], False)
drop("tables_use_our_key", "a table under AWS's own key", "ShortLivedTable", [P, "SSESpecification"])
put("tables_use_our_key", "grants under another key", "GrantsTable", [P, "SSESpecification", "KMSMasterKeyId"], "alias/aws/dynamodb")
put("tables_are_on_demand", "provisioned capacity", "GrantsTable", [P, "BillingMode"], "PROVISIONED")
put("key_is_kept", "the key deleted with the stack", "DataKey", ["DeletionPolicy"], "Delete")
put("key_is_kept", "a paid key left behind by a first try", "DataKey", ["DeletionPolicy"], "Retain")
put("key_is_kept", "the key never rotated", "DataKey", [P, "EnableKeyRotation"], False)
drop("key_decrypts_only_through_services", "decrypting directly", "DataKey", [P, "KeyPolicy", "Statement", 1, "Condition"])
put("key_decrypts_only_through_services", "kms:* for the account", "DataKey", [P, "KeyPolicy", "Statement", 0, "Action"], "kms:*")
put("keyring_is_kept", "the keyring deleted with the stack", "KeyringSecret", ["DeletionPolicy"], "Delete")
put("keyring_is_kept", "a secret left behind by a first try", "KeyringSecret", ["DeletionPolicy"], "Retain")
drop("keyring_is_kept", "the keyring deleted when replaced", "KeyringSecret", ["UpdateReplacePolicy"])
put("secrets_have_no_value_here", "an app secret in the template", "AppSecret", [P, "SecretString"], '{"app_id":"1","app_secret":"x"}')
put("secrets_have_no_value_here", "a keyring that CloudFormation makes", "KeyringSecret", [P, "GenerateSecretString"], {"PasswordLength": 44})
drop("secrets_have_no_value_here", "a secret under AWS's own key", "KeyringSecret", [P, "KmsKeyId"])
drop("queues_are_encrypted_and_patient", "a queue in the clear", "SweepDeadLetters", [P, "SqsManagedSseEnabled"])
put("queues_are_encrypted_and_patient", "dead letters that go after an hour", "EventsDeadLetters", [P, "MessageRetentionPeriod"], 3600)


@breaks("ids_stay_what_they_were", "the grants table renamed")
def _(mutant):
    text = json.dumps(mutant).replace("GrantsTable", "TokensTable")
    mutant.clear()
    mutant.update(json.loads(text))




@breaks("environments_fit_the_template", "a parameter that environments set, renamed")
def _(mutant):
    mutant["Parameters"]["ReturnTo"] = mutant["Parameters"].pop("ReturnToAllowlist")
    variables = mutant["Globals"]["Function"]["Environment"]["Variables"]
    variables["RETURN_TO_ALLOWLIST"] = {"Ref": "ReturnTo"}


@breaks("environments_fit_the_template", "a value that environments set, not allowed any more")
def _(mutant):
    mutant["Parameters"]["AuthorizeAccess"]["AllowedValues"] = ["session"]


# Functions, and what invokes them
put("functions_run_on_al2023", "an older runtime", "TokenFunction", [P, "Runtime"], "provided.al2")
put("functions_run_on_al2023", "a fixed architecture", "TokenFunction", [P, "Architectures"], ["x86_64"])
drop("functions_have_reserved_concurrency", "no reserved concurrency", "CallbackFunction", [P, "ReservedConcurrentExecutions"])
put("functions_log_json_to_a_group_of_ours", "logs as text", "EventsFunction", [P, "LoggingConfig", "LogFormat"], "Text")
put("functions_log_json_to_a_group_of_ours", "metrics filtered away", "RefreshFunction", [P, "LoggingConfig", "ApplicationLogLevel"], "WARN")
drop("functions_log_json_to_a_group_of_ours", "logs to a group that nobody made", "EventsFunction", [P, "LoggingConfig", "LogGroup"])
drop("logs_end_after_30_days", "logs kept for ever", "TokenLogs", [P, "RetentionInDays"])
put("logs_end_after_30_days", "access logs kept for ten years", "ApiLogs", [P, "RetentionInDays"], 3653)
put("functions_behind_the_api_answer_in_time", "a callback slower than API Gateway waits", "CallbackFunction", [P, "Timeout"], 60)
put("functions_behind_the_api_answer_in_time", "a sweep cut off after a minute", "RefreshFunction", [P, "Timeout"], 60)
drop("sweep_is_scheduled_with_care", "a schedule without dead letters", "SweepSchedule", [P, "Target", "DeadLetterConfig"])
drop("sweep_is_scheduled_with_care", "a schedule with AWS's 185 retries in 24 hours", "SweepSchedule", [P, "Target", "RetryPolicy"])
put("sweep_is_scheduled_with_care", "a schedule on the minute", "SweepSchedule", [P, "FlexibleTimeWindow"], {"Mode": "OFF"})
put("sweep_is_scheduled_with_care", "a schedule that is off", "SweepSchedule", [P, "State"], "DISABLED")
drop("failed_sweeps_are_kept", "failed sweeps that nobody hears of", "RefreshFunction", [P, "EventInvokeConfig"])
put("failed_sweeps_are_kept", "sweeps queued for six hours", "RefreshFunction", [P, "EventInvokeConfig", "MaximumEventAgeInSeconds"], 21600)
drop("events_neither_block_nor_vanish", "events without dead letters", "EventsMapping", [P, "DestinationConfig"])
put("events_neither_block_nor_vanish", "a poison record that fails its whole batch", "EventsMapping", [P, "BisectBatchOnFunctionError"], False)
put("events_neither_block_nor_vanish", "a batch that fails as one", "EventsMapping", [P, "FunctionResponseTypes"], [])
put("events_neither_block_nor_vanish", "records tried until the stream ends", "EventsMapping", [P, "MaximumRecordAgeInSeconds"], -1)
put("events_neither_block_nor_vanish", "retries without end", "EventsMapping", [P, "MaximumRetryAttempts"], -1)
put("each_function_has_a_role_and_a_log_of_its_own", "two functions with one role", "AuthorizeFunction", [P, "Role"], {"Fn::GetAtt": ["CallbackRole", "Arn"]})
drop("each_function_has_a_role_and_a_log_of_its_own", "a role that SAM makes up", "AuthorizeFunction", [P, "Role"])

# What the world can reach
put("private_routes_want_a_signature", "tokens for everybody", "ReadTokenRoute", [P, "AuthorizationType"], "NONE")
drop("private_routes_want_a_signature", "sessions for everybody, by omission", "StartSessionRoute", [P, "AuthorizationType"])


@breaks("private_routes_want_a_signature", "a new public route")
def _(mutant):
    mutant["Resources"]["ExtraRoute"] = {
        "Type": "AWS::ApiGatewayV2::Route",
        "Properties": {
            "ApiId": {"Ref": "Api"},
            "RouteKey": "GET /admin",
            "AuthorizationType": "NONE",
            "Target": {"Fn::Sub": "integrations/${TokenIntegration}"},
        },
    }


@breaks("every_route_exists", "a route left out")
def _(mutant):
    del mutant["Resources"]["FinishingRoute"]


@breaks("every_route_exists", "a route as a SAM event on the native Api")
def _(mutant):
    del mutant["Resources"]["FinishingRoute"]
    event = {"Type": "HttpApi", "Properties": {"ApiId": {"Ref": "Api"}, "Method": "GET", "Path": "/finishing"}}
    mutant["Resources"]["CallbackFunction"]["Properties"]["Events"] = {"Finishing": event}


put("every_route_exists", "a route to the wrong function", "ReadTokenRoute", [P, "Target"], {"Fn::Sub": "integrations/${SessionsIntegration}"})
put("every_route_exists", "a misspelt path", "DeauthorizeRoute", [P, "RouteKey"], "POST /deauthorise")


@breaks("the_api_may_invoke_what_it_integrates", "a function that the API may not call")
def _(mutant):
    del mutant["Resources"]["DeletionPermission"]


LOG = [P, "AccessLogSettings", "Format"]
put("access_logs_hold_no_request", "queries in the access log", "ApiStage", LOG, '{"id":"$context.requestId","q":"$context.queryString"}')
put("access_logs_hold_no_request", "addresses in the access log", "ApiStage", LOG, '{"id":"$context.requestId","ip":"$context.identity.sourceIp"}')
put("access_logs_hold_no_request", "paths in the access log", "ApiStage", LOG, '{"id":"$context.requestId","path":"$context.path"}')
put("access_logs_hold_no_request", "the common log format", "ApiStage", LOG, '$context.identity.sourceIp - - [$context.requestTime] "$context.httpMethod $context.routeKey $context.protocol" $context.status')
drop("access_logs_hold_no_request", "no access log", "ApiStage", [P, "AccessLogSettings"])
drop("stages_are_throttled", "an API without throttle", "ApiStage", [P, "DefaultRouteSettings"])
SIGNED = "signed_routes_have_throttles_of_their_own"
TOKEN_LIMITS = [P, "RouteSettings", "GET /users/{user_id}/token"]
drop(SIGNED, "a backend that a flood of logins shuts out", "ApiStage", [P, "RouteSettings"])
drop(SIGNED, "tokens that share everybody's throttle", "ApiStage", TOKEN_LIMITS)
drop(SIGNED, "a signed route without a burst", "ApiStage", [*TOKEN_LIMITS, "ThrottlingBurstLimit"])
put(SIGNED, "everybody's limit for a signed route", "ApiStage", [*TOKEN_LIMITS, "ThrottlingRateLimit"], {"Ref": "ThrottleRate"})
drop(SIGNED, "a stage that may be made before its routes", "ApiStage", ["DependsOn", 5])


@breaks(SIGNED, "a limit for a route that is not there")
def _(mutant):
    settings = resource(mutant, "ApiStage")[P]["RouteSettings"]
    settings["GET /users/{id}/token"] = settings.pop("GET /users/{user_id}/token")


put("nothing_but_the_domain_is_open", "AWS's address beside the domain", "Api", [P, "DisableExecuteApiEndpoint"], False)
put("no_other_site_may_call", "CORS for everybody", "Api", [P, "CorsConfiguration"], {"AllowOrigins": ["*"]})
put("integrations_pass_the_raw_query", "payload format 1.0", "CallbackIntegration", [P, "PayloadFormatVersion"], "1.0")
put("integrations_pass_the_raw_query", "a query that is rewritten", "CallbackIntegration", [P, "RequestParameters"], {"remove:querystring.state": "''"})
put("domains_speak_modern_tls", "TLS 1.0", "ApiDomain", [P, "DomainNameConfigurations", 0, "SecurityPolicy"], "TLS_1_0")
drop("only_our_api_invokes", "a function that every API may call", "TokenPermission", [P, "SourceArn"])
put("only_our_api_invokes", "a function that anybody may call", "TokenPermission", [P, "Principal"], "*")

# What the functions may do
STATEMENT = [P, "Policies", 0, "PolicyDocument", "Statement", 1]
put("actions_are_spelled_out", "dynamodb:* for a function", "TokenRole", [*STATEMENT, "Action"], "dynamodb:*")
put("actions_are_spelled_out", "dynamodb:Get* in a list", "TokenRole", [*STATEMENT, "Action"], ["dynamodb:Scan", "dynamodb:Get*"])
put("actions_are_spelled_out", "everything but one action", "TokenRole", STATEMENT, {"Effect": "Allow", "NotAction": "iam:PassRole", "Resource": "*"})
put("actions_are_spelled_out", "secretsmanager:* in a managed policy", "ReadSecretsPolicy", [P, "PolicyDocument", "Statement", 0, "Action"], "secretsmanager:*")
put("resources_are_named", "every table", "TokenRole", [*STATEMENT, "Resource"], "*")
put("resources_are_named", "every table, in a list", "TokenRole", [*STATEMENT, "Resource"], [{"Fn::GetAtt": ["GrantsTable", "Arn"]}, "*"])
put("resources_are_named", "every secret", "ReadSecretsPolicy", [P, "PolicyDocument", "Statement", 0, "Resource"], "*")
put("roles_are_for_one_service", "a role for another account", "TokenRole", [P, "AssumeRolePolicyDocument", "Statement", 0, "Principal"], {"AWS": "*"})
put("roles_are_for_one_service", "a role for EC2", "TokenRole", [P, "AssumeRolePolicyDocument", "Statement", 0, "Principal"], {"Service": "ec2.amazonaws.com"})
drop("keys_are_used_through_services", "a key used directly", "UseTableKeyPolicy", [P, "PolicyDocument", "Statement", 0, "Condition"])
put("keys_are_used_through_services", "a key in a function's own policy", "TokenRole", STATEMENT, {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": {"Fn::GetAtt": ["DataKey", "Arn"]}})
put("parliament_finds_nothing", "an action that does not exist", "TokenRole", [*STATEMENT, "Action"], "dynamodb:FetchItem")
put("parliament_finds_nothing", "an action on the wrong kind of resource", "RefreshRole", [P, "Policies", 0, "PolicyDocument", "Statement", 2, "Resource"], {"Fn::GetAtt": ["SweepDeadLetters", "Arn"]})

# Somebody hears of it
drop("alarms_reach_somebody", "an alarm that nobody hears", "WeakestTokenAlarm", [P, "AlarmActions"])
put("alarms_reach_somebody", "an alarm that is off", "WeakestTokenAlarm", [P, "ActionsEnabled"], False)
put("alarms_have_a_runbook", "an alarm without a runbook", "DecryptFailureAlarm", [P, "AlarmDescription"], "Something is wrong.")
put("every_alarm_is_in_the_runbook", "a runbook that does not exist", "DecryptFailureAlarm", [P, "AlarmName"], {"Fn::Sub": "${AWS::StackName}-undecryptable"})
put("silence_is_an_alarm", "a dead schedule that counts as health", "SweepMissedAlarm", [P, "TreatMissingData"], "notBreaching")

WINDOW = "every_alarm_looks_back_as_far_as_it_may"
put(WINDOW, "twelve days of an alarm", "WeakestTokenAlarm", [P, "EvaluationPeriods"], 24)
put(WINDOW, "two days of short periods", "EventsBehindAlarm", [P, "EvaluationPeriods"], 576)
put(WINDOW, "more datapoints than periods", "WeakestTokenAlarm", [P, "DatapointsToAlarm"], 3)
put(WINDOW, "eight days of an alarm on a sum", "ServerErrorsAlarm", [P, "Metrics", 1, "MetricStat", "Period"], 230_400)
put(WINDOW, "two days of short periods of a sum", "ServerErrorsAlarm", [P, "EvaluationPeriods"], 576)
put(WINDOW, "more datapoints than periods of a sum", "ServerErrorsAlarm", [P, "DatapointsToAlarm"], 4)
drop(WINDOW, "an alarm without a period", "EventsBehindAlarm", [P, "Period"])


@breaks(WINDOW, "an alarm on eleven metrics")
def _(mutant):
    metrics = resource(mutant, "RefreshesFailingAlarm")[P]["Metrics"]
    metrics += [{**metrics[1], "Id": f"more{number}"} for number in range(2)]


SEEN = "a_failing_token_is_seen_between_two_looks"
put(SEEN, "half an hour for a token that waits", "OldestOverdueAlarm", [P, "Period"], 1800)
drop(SEEN, "half a day for the weakest token", "WeakestTokenAlarm", [P, "DatapointsToAlarm"])
put(SEEN, "half a day of failing refreshes", "RefreshesFailingAlarm", [P, "Metrics", 5, "MetricStat", "Period"], 43_200)
put(SEEN, "an hour of an app that is refused", "AppRefusedAlarm", [P, "Period"], 3600)
put("alarms_name_outcomes_that_exist", "an outcome that nothing has", "AppRefusedAlarm", [P, "Dimensions", 1, "Value"], "configuration")
put("alarms_name_outcomes_that_exist", "an outcome that nothing has, in a sum", "RefreshesFailingAlarm", [P, "Metrics", 5, "MetricStat", "Metric", "Dimensions", 1, "Value"], "failed")


@breaks("every_alarm_is_on_the_dashboard", "an alarm that the dashboard does not show")
def _(mutant):
    body = resource(mutant, "Dashboard")[P]["DashboardBody"]
    body["Fn::Sub"] = body["Fn::Sub"].replace('"${PausedAlarm.Arn}",', "")


for alarm in ("WeakestToken", "Wave", "BrokenRows", "UnreadableShards", "Paused", "Drift"):

    @breaks("everything_of_note_has_an_alarm", f"no alarm {alarm}")
    def _(mutant, name=f"{alarm}Alarm"):
        del mutant["Resources"][name]


@breaks("everything_of_note_has_an_alarm", "no alarm on refreshes")
def _(mutant):
    del mutant["Resources"]["RefreshesFailingAlarm"], mutant["Resources"]["AppRefusedAlarm"]


# The edge
ACL = [P, "VisibilityConfig", "SampledRequestsEnabled"]
put("edge_samples_no_requests", "samples of requests in the console", "WebAcl", ACL, True, "edge")
put("edge_samples_no_requests", "samples of one rule's requests", "WebAcl", [P, "Rules", 1, "VisibilityConfig", "SampledRequestsEnabled"], True, "edge")
drop("edge_limits_each_address", "no limit for an address", "WebAcl", [P, "Rules", 0], "edge")
put("edge_takes_https_only", "plain http at the edge", "Distribution", [P, "DistributionConfig", "DefaultCacheBehavior", "ViewerProtocolPolicy"], "allow-all", "edge")
put("edge_caches_and_logs_nothing", "a cache at the edge", "Distribution", [P, "DistributionConfig", "DefaultCacheBehavior", "CachePolicyId"], "658327ea-f89d-4fab-a63d-7e88639e58f6", "edge")
put("edge_caches_and_logs_nothing", "queries in the edge's logs", "Distribution", [P, "DistributionConfig", "Logging"], {"Bucket": "logs.s3.amazonaws.com"}, "edge")

META = "edge_lets_meta_through"
RATE = [P, "Rules", 0, "Statement", "RateBasedStatement", "ScopeDownStatement"]
LIST = [P, "Rules", 1, "Statement", "ManagedRuleGroupStatement", "ScopeDownStatement"]
EXEMPT = ["NotStatement", "Statement", "AndStatement", "Statements"]
PATHS = [1, "OrStatement", "Statements"]
drop(META, "Meta limited like a person", "WebAcl", RATE, "edge")
drop(META, "Meta on a list of bad addresses", "WebAcl", LIST, "edge")
drop(META, "Meta's deletions limited", "WebAcl", [*RATE, *EXEMPT, *PATHS, 1], "edge")
drop(META, "every GET of these addresses let through", "WebAcl", [*LIST, *EXEMPT, 0], "edge")
put(META, "all below an address let through", "WebAcl", [*RATE, *EXEMPT, *PATHS, 1, "ByteMatchStatement", "PositionalConstraint"], "STARTS_WITH", "edge")
put(META, "every address that ends so let through", "WebAcl", [*LIST, *EXEMPT, *PATHS, 0, "ByteMatchStatement", "PositionalConstraint"], "ENDS_WITH", "edge")


@breaks(META, "a limit for Meta alone", "edge")
def _(mutant):
    statement = resource(mutant, "WebAcl")[P]["Rules"][0]["Statement"]["RateBasedStatement"]
    statement["ScopeDownStatement"] = statement["ScopeDownStatement"]["NotStatement"]["Statement"]
