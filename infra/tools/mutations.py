"""Ways to break the templates, each with the rule that must refuse it."""

import json
from functools import reduce
from operator import getitem

from wiring import DATA, KEPT_DATA

MUTATIONS = []


def breaks(rule, what, template="template"):
    """Registers a change of a template as a mutation that `rule` must catch."""

    def register(change):
        MUTATIONS.append((what, rule, template, change))
        return change

    return register


def resource(template, name):
    return template["Resources"][name]


def put_at(rule, what, path, value, template="template"):
    """Registers a mutation that sets one value."""
    *folders, last = path

    def change(mutant):
        reduce(getitem, folders, mutant)[last] = value

    MUTATIONS.append((what, rule, template, change))


def drop_at(rule, what, path, template="template"):
    """Registers a mutation that takes one value away."""
    *folders, last = path

    def change(mutant):
        del reduce(getitem, folders, mutant)[last]

    MUTATIONS.append((what, rule, template, change))


def put(rule, what, name, path, value, template="template"):
    """The same as `put_at`, of a resource."""
    put_at(rule, what, ["Resources", name, *path], value, template)


def drop(rule, what, name, path, template="template"):
    """The same as `drop_at`, of a resource."""
    drop_at(rule, what, ["Resources", name, *path], template)


P = "Properties"

# Data
put("grants_have_no_ttl", "a TTL on grants", "GrantsTable", [P, "TimeToLiveSpecification"], {"AttributeName": "expires_at", "Enabled": True}, "data")
put("grants_cannot_be_deleted", "grants without deletion protection", "GrantsTable", [P, "DeletionProtectionEnabled"], False, "data")
drop("grants_cannot_be_deleted", "deletion protection left out", "GrantsTable", [P, "DeletionProtectionEnabled"], "data")
drop("grants_can_be_restored", "no point-in-time recovery", "GrantsTable", [P, "PointInTimeRecoverySpecification"], "data")
put("grants_have_a_stream", "a stream of new images only", "GrantsTable", [P, "StreamSpecification", "StreamViewType"], "NEW_IMAGE", "data")
put("indexes_have_keys_only", "tokens copied into the index", "GrantsTable", [P, "GlobalSecondaryIndexes", 0, "Projection", "ProjectionType"], "ALL", "data")
put("indexes_have_keys_only", "the index under another name", "GrantsTable", [P, "GlobalSecondaryIndexes", 0, "IndexName"], "due2", "data")
put("indexes_have_keys_only", "usernames copied into the index", "GrantsTable", [P, "GlobalSecondaryIndexes", 1, "Projection"], {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["username"]}, "data")
drop("indexes_have_keys_only", "no index of references", "GrantsTable", [P, "GlobalSecondaryIndexes", 1], "data")
put("indexes_have_keys_only", "an index of all rows", "GrantsTable", [P, "GlobalSecondaryIndexes", 1, "KeySchema", 0, "AttributeName"], "pk", "data")
put("short_lived_items_end", "the TTL on another attribute", "ShortLivedTable", [P, "TimeToLiveSpecification", "AttributeName"], "expires_at", "data")
put("short_lived_items_end", "the TTL off", "ShortLivedTable", [P, "TimeToLiveSpecification", "Enabled"], False, "data")
drop("tables_use_our_key", "a table under AWS's own key", "ShortLivedTable", [P, "SSESpecification"], "data")
put("tables_use_our_key", "grants under another key", "GrantsTable", [P, "SSESpecification", "KMSMasterKeyId"], "alias/aws/dynamodb", "data")
put("tables_are_on_demand", "provisioned capacity", "GrantsTable", [P, "BillingMode"], "PROVISIONED", "data")
put("key_is_rotated", "the key never rotated", "DataKey", [P, "EnableKeyRotation"], False, "data")
drop("key_decrypts_only_through_services", "decrypting directly", "DataKey", [P, "KeyPolicy", "Statement", 1, "Condition"], "data")
put("key_decrypts_only_through_services", "kms:* for the account", "DataKey", [P, "KeyPolicy", "Statement", 0, "Action"], "kms:*", "data")
put("secrets_have_no_value_here", "an app secret in the template", "AppSecret", [P, "SecretString"], '{"app_id":"1","app_secret":"x"}', "data")
put("secrets_have_no_value_here", "a keyring that CloudFormation makes", "KeyringSecret", [P, "GenerateSecretString"], {"PasswordLength": 44}, "data")
drop("secrets_have_no_value_here", "a secret under AWS's own key", "KeyringSecret", [P, "KmsKeyId"], "data")
drop("queues_are_encrypted_and_patient", "a queue in the clear", "SweepDeadLetters", [P, "SqsManagedSseEnabled"])
put("queues_are_encrypted_and_patient", "dead letters that go after an hour", "EventsDeadLetters", [P, "MessageRetentionPeriod"], 3600)


for name in (*KEPT_DATA, "BackupVault"):
    put("data_is_kept", f"{name} deleted with the stack", name, ["DeletionPolicy"], "Delete", "data")
    put("data_is_kept", f"{name} left behind by a first try", name, ["DeletionPolicy"], "Retain", "data")
    drop("data_is_kept", f"{name} deleted when replaced", name, ["UpdateReplacePolicy"], "data")
for name in KEPT_DATA:

    @breaks("nothing_here_keeps_data", f"{name} in the service's stack")
    def _(mutant, name=name):
        mutant["Resources"][name] = {"Type": KEPT_DATA[name], "Properties": {}}


put("the_table_comes_last", "a table before what may be refused", "GrantsTable", ["DependsOn"], ["ShortLivedTable", "AppSecret"], "data")


@breaks("data_stays_what_it_was", "the grants table renamed", "data")
def _(mutant):
    text = json.dumps(mutant).replace("GrantsTable", "TokensTable")
    mutant.clear()
    mutant.update(json.loads(text))


@breaks("ids_stay_what_they_were", "the bus renamed")
def _(mutant):
    text = json.dumps(mutant).replace('"EventBus"', '"Bus"')
    mutant.clear()
    mutant.update(json.loads(text))


def detail(*path):
    return [P, "EventPattern", "detail", *path]


RINGS = "destroying_the_data_rings"
put(RINGS, "a key that may be switched off unheard", "KeyInDanger", detail("eventName"), ["ScheduleKeyDeletion"], "data")
put(RINGS, "a key whose deletion nobody hears of", "KeyInDanger", detail("eventName"), ["DisableKey"], "data")
put(RINGS, "a key that may be given away unheard", "KeyInDanger", detail("eventName"), ["DisableKey", "ScheduleKeyDeletion"], "data")
put(RINGS, "backups that may be deleted unheard", "BackupsInDanger", detail("eventName"), ["DeleteBackupVault"], "data")
drop(RINGS, "every vault of the account", "BackupsInDanger", detail("requestParameters"), "data")
put(RINGS, "backups that fail unheard", "BackupFailed", [P, "EventPattern", "detail-type"], ["Copy Job State Change"], "data")
put(RINGS, "copies that fail unheard", "BackupFailed", [P, "EventPattern", "detail-type"], ["Backup Job State Change"], "data")
put(RINGS, "backups that nobody could begin, unheard", "BackupFailed", detail("state"), ["ABORTED", "FAILED", "PARTIAL"], "data")
drop(RINGS, "every table that is backed up", "BackupFailed", detail("resourceArn"), "data")
drop(RINGS, "every backup that succeeds", "BackupFailed", detail("state"), "data")
drop(RINGS, "every key of the account", "KeyInDanger", detail("resources"), "data")
drop(RINGS, "calls that were refused", "KeyInDanger", detail("errorCode"), "data")
put(RINGS, "a key that may be switched on", "KeyInDanger", detail("eventName"), ["DisableKey", "EnableKey", "ScheduleKeyDeletion"], "data")
put(RINGS, "a message that is switched off", "KeyInDanger", [P, "State"], "DISABLED", "data")
put(RINGS, "messages of another service's", "KeyInDanger", [P, "EventPattern", "source"], ["aws.s3"], "data")
put(RINGS, "messages that are no calls", "KeyInDanger", [P, "EventPattern", "detail-type"], ["AWS Service Event via CloudTrail"], "data")
drop(RINGS, "a keyring that may be deleted unheard", "SecretsInDanger", detail("responseElements", "aRN", 1), "data")
drop(RINGS, "every secret of the account", "SecretsInDanger", detail("responseElements"), "data")
drop(RINGS, "a table that may be deleted unheard", "TablesInDanger", detail("$or", 0), "data")
drop(RINGS, "a protection that may be switched off unheard", "TablesInDanger", detail("$or", 1), "data")
drop(RINGS, "backups that may be switched off unheard", "TablesInDanger", detail("$or", 2), "data")
drop(RINGS, "a table that is named by its ARN", "TablesInDanger", detail("$or", 0, "requestParameters", "tableName", 1), "data")
drop(RINGS, "every change of the table", "TablesInDanger", detail("$or", 1, "requestParameters", "deletionProtectionEnabled"), "data")
put(RINGS, "a protection that is switched on", "TablesInDanger", detail("$or", 1, "requestParameters", "deletionProtectionEnabled"), [False, True], "data")

TOLD = "dangers_are_told_in_words"
TRANSFORMER = [P, "Targets", 0, "InputTransformer"]
drop(TOLD, "a message of 2 KB of JSON", "KeyInDanger", TRANSFORMER, "data")
put(TOLD, "a message without quotes", "KeyInDanger", [*TRANSFORMER, "InputTemplate"], "<who> has called <what>. Runbook: infra/README.md, data-in-danger.", "data")
put(TOLD, "a message without a runbook", "KeyInDanger", [*TRANSFORMER, "InputTemplate"], '"<who> has called <what>."', "data")
drop(TOLD, "a message of nobody", "SecretsInDanger", [*TRANSFORMER, "InputPathsMap", "who"], "data")
put(TOLD, "a message without its table", "TablesInDanger", [*TRANSFORMER, "InputPathsMap", "table"], "$.detail.tableName", "data")
put(TOLD, "a message with a runbook that is not there", "BackupFailed", [*TRANSFORMER, "InputTemplate"], '"<what>: <state> at <when>. Runbook: infra/README.md, backups."', "data")
put(TOLD, "a message to nobody", "KeyInDanger", [P, "Targets", 0, "Arn"], {"Ref": "AlarmTopicArn"}, "data")

TOPIC = "the_topic_takes_alarms_and_events"
PUBLISHING = [P, "PolicyDocument", "Statement"]
drop(TOPIC, "a topic that no alarm reaches", "AlarmTopicPolicy", [*PUBLISHING, 0], "data")
drop(TOPIC, "a topic that no event reaches", "AlarmTopicPolicy", [*PUBLISHING, 1], "data")
drop(TOPIC, "alarms of every account", "AlarmTopicPolicy", [*PUBLISHING, 0, "Condition"], "data")
put(TOPIC, "a condition that refuses every event", "AlarmTopicPolicy", [*PUBLISHING, 1, "Condition"], {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}, "data")
put(TOPIC, "a topic for everybody", "AlarmTopicPolicy", [*PUBLISHING, 1, "Principal"], "*", "data")

GRANTS_ALONE = "backups_see_the_grants_alone"
BACKING_UP = [P, "PolicyDocument", "Statement"]
put(GRANTS_ALONE, "backups of every table", "BackupRolePolicy", [*BACKING_UP, 0, "Resource"], {"Fn::Sub": "arn:aws:dynamodb:${AWS::Region}:${AWS::AccountId}:table/*"}, "data")
put(GRANTS_ALONE, "a role that reads rows", "BackupRolePolicy", [*BACKING_UP, 0, "Action"], ["dynamodb:Scan"], "data")
drop(GRANTS_ALONE, "a backup's role that uses the key directly", "BackupRolePolicy", [*BACKING_UP, 2, "Condition"], "data")
drop(GRANTS_ALONE, "backups without the table's tags", "BackupRolePolicy", [*BACKING_UP, 3], "data")
drop(GRANTS_ALONE, "copies of what the role may not read", "BackupRolePolicy", [*BACKING_UP, 5], "data")
put(GRANTS_ALONE, "copies into a vault that nobody looks at before", "BackupRolePolicy", [*BACKING_UP, 4, "Fn::If", 1, "Action"], "backup:CopyIntoBackupVault", "data")
put(GRANTS_ALONE, "copies into any vault", "BackupRolePolicy", [*BACKING_UP, 4, "Fn::If", 1, "Resource"], {"Fn::Sub": "arn:aws:backup:*:${AWS::AccountId}:backup-vault:*"}, "data")
put(GRANTS_ALONE, "a role for the functions too", "BackupRole", [P, "AssumeRolePolicyDocument", "Statement", 0, "Principal"], {"Service": ["backup.amazonaws.com", "lambda.amazonaws.com"]}, "data")
drop(GRANTS_ALONE, "AWS Backup for another account", "BackupRole", [P, "AssumeRolePolicyDocument", "Statement", 0, "Condition"], "data")
put(GRANTS_ALONE, "backups of sessions", "BackupSelection", [P, "BackupSelection", "Resources"], [{"Fn::GetAtt": ["ShortLivedTable", "Arn"]}], "data")

END = "backups_end_as_somebody_has_said"
PLAN = [P, "BackupPlan", "BackupPlanRule", 0]
drop(END, "a plan that nobody has asked for", "BackupPlan", ["Condition"], "data")
drop(END, "backups kept for ever", "BackupPlan", [*PLAN, "Lifecycle"], "data")
drop(END, "copies kept for ever", "BackupPlan", [*PLAN, "CopyActions", "Fn::If", 1, 0, "Lifecycle"], "data")
put(END, "backups kept for a year", "BackupPlan", [*PLAN, "Lifecycle", "DeleteAfterDays"], 365, "data")
put_at(END, "backups unless somebody says otherwise", ["Parameters", "BackupDays", "Default"], 30, "data")
drop("the_table_comes_last", "a table before its messages", "GrantsTable", ["Metadata", "After", 1], "data")
drop("the_table_comes_last", "a table before its backups' role", "GrantsTable", ["Metadata", "After", 2], "data")
drop("the_table_comes_last", "a table before the message on its backups", "GrantsTable", ["Metadata", "After", 3], "data")

# The environments
E = "environments"


def environment(mutant, name="prod"):
    return mutant["Config"][name]["global"]["parameters"]


def overridden(rule, what, override):
    """Registers a mutation of what prod sets."""

    @breaks(rule, what, E)
    def _(mutant):
        environment(mutant)["parameter_overrides"].append(override)


@breaks("environments_fit_the_template", "a parameter that environments set, renamed", E)
def _(mutant):
    mutant["Parameters"]["ReturnTo"] = mutant["Parameters"].pop("ReturnToAllowlist")


put_at("environments_fit_the_template", "a value that environments set, not allowed any more", ["Parameters", "AuthorizeAccess", "AllowedValues"], ["session"], E)


overridden("environments_fit_the_template", "a list that is too long", f"ReturnToAllowlist=https://a.example/{'x' * 1_360}")
overridden("sam_hands_on_what_is_written", "a list with a space, cut by SAM", "ReturnToAllowlist=https://a.example/, https://b.example/")
overridden("sam_hands_on_what_is_written", "a value in quotes, opened by SAM", 'Scopes="threads_basic"')

OVER_TLS = "webhooks_are_posted_over_tls"


@breaks(OVER_TLS, "a receiver on plain http", "environments")
def _(mutant):
    mutant["Parameters"]["WebhookUrl"]["AllowedPattern"] = "^(https?://[^ @#]+)?$"


@breaks(OVER_TLS, "a receiver with a password in its URL", "environments")
def _(mutant):
    mutant["Parameters"]["WebhookUrl"]["AllowedPattern"] = "^(https://[^ #]+)?$"


@breaks(OVER_TLS, "a receiver that cannot have a path", "environments")
def _(mutant):
    mutant["Parameters"]["WebhookUrl"]["AllowedPattern"] = "^(https://[A-Za-z0-9.-]+/?)?$"


ADDRESSES = "return_addresses_are_commas_apart"
for what, pattern in {
    "spaces between return addresses": "^[^,]+(,? ?[^,]+)*$",
    "one return address only": "^$|^https?://[^ ,]+$",
    "any address to return to": "^[^ ]*$",
    "https only to return to": "^$|^https://[^ ,@?#]+(,https://[^ ,@?#]+)*$",
}.items():

    @breaks(ADDRESSES, what, E)
    def _(mutant, pattern=pattern):
        mutant["Parameters"]["ReturnToAllowlist"]["AllowedPattern"] = pattern


overridden("sam_hands_on_what_is_written", "an app's name without quotes", "AppName=Photo Planner")

PAGES_SHOW = "pages_show_what_they_can"
for what, parameter, pattern in (
    ("any name of the app", "AppName", ".*"),
    ("an app's name in ASCII only", "AppName", "^$|^[!-~]([ -~]*[!-~])?$"),
    ("an app's name that turns the text around", "AppName", r"^$|^[^ \x00-\x1F\x7F-\x9F]([^\x00-\x1F\x7F-\x9F]*[^ \x00-\x1F\x7F-\x9F])?$"),
    ("plain http to the app", "HomeUrl", "^$|^https?://[!-~]+$"),
    ("any address of support", "SupportUrl", ".*"),
    ("a privacy policy with a user", "PrivacyUrl", "^$|^https://[!-~]+$"),
    ("a colour by its name", "AccentColor", "^$|^#?[0-9A-Za-z]+$"),
):
    put_at(PAGES_SHOW, what, ["Parameters", parameter, "AllowedPattern"], pattern, E)
drop_at(PAGES_SHOW, "an app's name of any length", ["Parameters", "AppName", "MaxLength"], E)


drop_at("values_have_no_spaces", "scopes with spaces between", ["Parameters", "Scopes", "AllowedPattern"], E)


CAN = "environments_can_be_deployed"
overridden(CAN, "a certificate of another region", "CertificateArn=arn:aws:acm:us-east-1:123456789012:certificate/0")
overridden(CAN, "an edge outside us-east-1", "Edge=true")
overridden(CAN, "a topic of another region", "AlarmTopicArn=arn:aws:sns:us-east-1:123456789012:alarms")


@breaks(CAN, "CloudFront with the region's certificate", E)
def _(mutant):
    web_acl = "EdgeWebAclArn=arn:aws:wafv2:us-east-1:123456789012:global/webacl/a/b"
    environment(mutant)["parameter_overrides"] += ["Edge=true", web_acl]


for what, key, value in (
    ("a stack name longer than a schedule group's", "stack_name", "s" * 65),
    ("a stack name that no dashboard takes", "stack_name", "threads.auth"),
    ("the stack of another environment", "stack_name", "threads-auth-staging"),
    ("no region", "region", None),
):

    @breaks(CAN, what, E)
    def _(mutant, key=key, value=value):
        environment(mutant)[key] = value


drop_at(CAN, "a template too long for a request", ["Config", "prod", "deploy", "parameters", "resolve_s3"], E)
drop_at(CAN, "an environment that may not make roles", ["Config", "staging", "deploy", "parameters", "capabilities"], E)
put_at(CAN, "an environment that may not expand SAM's template", ["Config", "prod", "deploy", "parameters", "capabilities"], "CAPABILITY_IAM", E)
put_at("nothing_shadows_global", "parameters that a guided deployment has written", ["Config", "prod", "deploy", "parameters", "parameter_overrides"], "Architecture=arm64", E)


DATAS = "each_service_has_its_data"


drop_at(DATAS, "an environment without data", ["Config", "prod-data"], E)


@breaks(DATAS, "data of nobody", E)
def _(mutant):
    mutant["Config"]["test-data"] = mutant["Config"]["prod-data"]


@breaks(DATAS, "the data of staging for prod", E)
def _(mutant):
    mutant["Config"]["prod-data"] = mutant["Config"]["staging-data"]


@breaks(DATAS, "data in another region", E)
def _(mutant):
    environment(mutant, "data")["region"] = "us-east-1"


drop_at(DATAS, "what was built deployed as data", ["Config", "staging-data", "deploy", "parameters", "template_file"], E)
put_at(DATAS, "a service that is not built", ["Config", "staging", "deploy", "parameters", "template_file"], "infra/template.yaml", E)


GIVES = "the_service_takes_what_the_data_gives"


@breaks(GIVES, "an output of the data's that the service does not take", E)
def _(mutant):
    mutant["Parameters"]["KeyArn"] = mutant["Parameters"].pop("DataKeyArn")


drop_at(GIVES, "a parameter that the data does not give", ["Data", "Outputs", "GrantsStreamArn"], E)
put_at(GIVES, "a key that somebody would deploy unchanged", ["Parameters", "DataKeyArn", "Default"], "arn:aws:kms:eu-central-1:123456789012:key/0", E)
drop_at(GIVES, "two tables that are one", ["Rules", "DataIsNotMixedUp", "Assertions", 0], E)
drop_at(GIVES, "two secrets that are one", ["Rules", "DataIsNotMixedUp", "Assertions", 1], E)


overridden(GIVES, "a table that is somebody's", "GrantsTableName=threads-auth-prod-data-GrantsTable-1")
for parameter in DATA:

    @breaks(GIVES, f"anything for {parameter}", E)
    def _(mutant, parameter=parameter):
        del mutant["Parameters"][parameter]["AllowedPattern"]


POLICY = "the_stacks_policy_protects_the_data"
for what, path, value in (
    ("a table that an update may replace", [1, "Action"], ["Update:Delete"]),
    ("a key that an update may delete", [1, "Action"], ["Update:Replace"]),
    ("secrets that the stack's policy forgets", [1, "Condition", "StringEquals", "ResourceType"], ["AWS::DynamoDB::Table", "AWS::KMS::Key"]),
    ("one table alone protected", [1, "Resource"], "LogicalResourceId/GrantsTable"),
    ("a stack that nobody may update", [0, "Action"], "Update:Modify"),
):

    @breaks(POLICY, what, E)
    def _(mutant, path=path, value=value):
        *folders, last = path
        place = mutant["Policy"]["Statement"]
        for folder in folders:
            place = place[folder]
        place[last] = value


# Functions, and what invokes them
put("functions_run_on_al2023", "an older runtime", "TokenFunction", [P, "Runtime"], "provided.al2")
put("functions_run_on_al2023", "a fixed architecture", "TokenFunction", [P, "Architectures"], ["x86_64"])
drop("functions_have_reserved_concurrency", "no reserved concurrency", "CallbackFunction", [P, "ReservedConcurrentExecutions"])
put("functions_log_json_to_a_group_of_ours", "logs as text", "EventsFunction", [P, "LoggingConfig", "LogFormat"], "Text")
put("functions_log_json_to_a_group_of_ours", "metrics filtered away", "RefreshFunction", [P, "LoggingConfig", "ApplicationLogLevel"], "WARN")
drop("functions_log_json_to_a_group_of_ours", "logs to a group that nobody made", "EventsFunction", [P, "LoggingConfig", "LogGroup"])
drop("logs_end_when_the_operator_says", "logs kept for ever", "TokenLogs", [P, "RetentionInDays"])
put("logs_end_when_the_operator_says", "access logs kept for ten years", "ApiLogs", [P, "RetentionInDays"], 3653)
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
put("events_neither_block_nor_vanish", "an hour that is twenty tries", "EventsMapping", [P, "MaximumRetryAttempts"], 20)
drop("events_neither_block_nor_vanish", "a mapping that nobody hears of when it stops", "EventsMapping", [P, "MetricsConfig"])
put("events_neither_block_nor_vanish", "a mapping that is off", "EventsMapping", [P, "Enabled"], False)
LATER = "lambda_gives_up_after_the_function"
put(LATER, "records tried until the stream ends", "EventsMapping", [P, "MaximumRecordAgeInSeconds"], -1)
drop(LATER, "records tried for as long as Lambda likes", "EventsMapping", [P, "MaximumRecordAgeInSeconds"])
put(LATER, "Lambda's letter before the function's", "EventsMapping", [P, "MaximumRecordAgeInSeconds"], 3600)
QUEUE = "the_function_knows_its_dead_letters"
KNOW = "pages_know_the_app"
put(KNOW, "a page that leads to another site", "CallbackFunction", [P, "Environment", "Variables", "HOME_URL"], {"Ref": "SupportUrl"})
drop(KNOW, "a page that does not name the app", "DeletionFunction", [P, "Environment", "Variables", "APP_NAME"])
put(KNOW, "a name for programs", "TokenFunction", [P, "Environment"], {"Variables": {"APP_NAME": {"Ref": "AppName"}}})

drop(QUEUE, "a function without a queue for its letters", "EventsFunction", [P, "Environment"])
put(QUEUE, "events among the dead sweeps", "EventsFunction", [P, "Environment", "Variables", "EVENTS_DEAD_LETTERS"], {"Ref": "SweepDeadLetters"})


for name in ("SweepDeadLettersUrl", "EventsDeadLettersUrl", "WebhookDeadLettersUrl", "WebhookQueueUrl"):

    @breaks("dead_letters_are_in_the_outputs", f"no output {name}")
    def _(mutant, name=name):
        del mutant["Outputs"][name]


put("each_function_has_a_role_and_a_log_of_its_own", "two functions with one role", "AuthorizeFunction", [P, "Role"], {"Fn::GetAtt": ["CallbackRole", "Arn"]})
drop("each_function_has_a_role_and_a_log_of_its_own", "a role that SAM makes up", "AuthorizeFunction", [P, "Role"])

# Routes that the world can reach
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


drop_at("every_route_exists", "a route left out", ["Resources", "FinishingRoute"])


@breaks("every_route_exists", "a route as a SAM event on the native Api")
def _(mutant):
    del mutant["Resources"]["FinishingRoute"]
    event = {"Type": "HttpApi", "Properties": {"ApiId": {"Ref": "Api"}, "Method": "GET", "Path": "/finishing"}}
    mutant["Resources"]["CallbackFunction"]["Properties"]["Events"] = {"Finishing": event}


put("every_route_exists", "a route to the wrong function", "ReadTokenRoute", [P, "Target"], {"Fn::Sub": "integrations/${SessionsIntegration}"})
put("every_route_exists", "a misspelt path", "DeauthorizeRoute", [P, "RouteKey"], "POST /deauthorise")
drop_at("the_api_may_invoke_what_it_integrates", "a function that the API may not call", ["Resources", "DeletionPermission"])


LOG = [P, "AccessLogSettings", "Format"]
put("access_logs_hold_no_request", "queries in the access log", "ApiStage", LOG, '{"id":"$context.requestId","q":"$context.queryString"}')
put("access_logs_hold_no_request", "addresses in the access log", "ApiStage", LOG, '{"id":"$context.requestId","ip":"$context.identity.sourceIp"}')
put("access_logs_hold_no_request", "paths in the access log", "ApiStage", LOG, '{"id":"$context.requestId","path":"$context.path"}')
for variable in (
    "authorizer.claims.sub",
    "domainName",
    "identity.accessKey",
    "identity.userAgent",
    "requestOverride.querystring.code",
    "customDomain.basePathMatched",
    "error.message",
):
    put("access_logs_hold_no_request", f"{variable} in the access log", "ApiStage", LOG, f'{{"id":"$context.requestId","x":"$context.{variable}"}}')


for variable in ("integrationErrorMessage", "integration.integrationStatus", "integrationLatency", "responseLatency", "identity.userArn"):

    @breaks("access_logs_tell_what_failed", f"an access log without {variable}")
    def _(mutant, variable=variable):
        settings = resource(mutant, "ApiStage")[P]["AccessLogSettings"]
        settings["Format"] = settings["Format"].replace(f"$context.{variable}", "-")


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


SMALL = "what_no_route_takes_has_a_small_throttle"
STRANGERS = [P, "RouteSettings", "$default"]
drop(SMALL, "robots that use up people's limit", "ApiStage", STRANGERS)
drop(SMALL, "robots without a burst of their own", "ApiStage", [*STRANGERS, "ThrottlingBurstLimit"])
put(SMALL, "people's limit for robots", "ApiStage", [*STRANGERS, "ThrottlingRateLimit"], {"Ref": "ThrottleRate"})
put(SMALL, "as much for robots as for people", "ApiStage", [*STRANGERS, "ThrottlingRateLimit"], 50)
put(SMALL, "robots in each process of the callback", "ApiStage", [*STRANGERS, "ThrottlingBurstLimit"], 60)
drop(SMALL, "a stage that may be made before $default", "ApiStage", ["DependsOn", 8])
put("every_route_exists", "paths that do not exist, at the backend's function", "DefaultRoute", [P, "Target"], {"Fn::Sub": "integrations/${SessionsIntegration}"})
put("every_route_exists", "a signature for a page that says that there is nothing", "DefaultRoute", [P, "AuthorizationType"], "AWS_IAM")


@breaks("every_route_exists", "API Gateway's own answer to a path that does not exist")
def _(mutant):
    del mutant["Resources"]["DefaultRoute"]
    mutant["Resources"]["ApiStage"]["DependsOn"].remove("DefaultRoute")


put("nothing_but_the_domain_is_open", "AWS's address beside the domain", "Api", [P, "DisableExecuteApiEndpoint"], False)
put("no_other_site_may_call", "CORS for everybody", "Api", [P, "CorsConfiguration"], {"AllowOrigins": ["*"]})
put("integrations_pass_the_raw_query", "payload format 1.0", "CallbackIntegration", [P, "PayloadFormatVersion"], "1.0")
put("integrations_pass_the_raw_query", "a query that is rewritten", "CallbackIntegration", [P, "RequestParameters"], {"remove:querystring.state": "''"})
put("domains_speak_modern_tls", "TLS 1.0", "ApiDomain", [P, "DomainNameConfigurations", 0, "SecurityPolicy"], "TLS_1_0")
drop("only_our_api_invokes", "a function that every API may call", "TokenPermission", [P, "SourceArn"])
put("only_our_api_invokes", "a function that anybody may call", "TokenPermission", [P, "Principal"], "*")

# Permissions of the functions
STATEMENT = [P, "Policies", 0, "PolicyDocument", "Statement", 1]
TABLE = "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/"
for what, text in {
    "every table, without a star alone": f"{TABLE}*",
    "tables whose names begin alike": f"{TABLE}${{GrantsTableName}}*",
    "the table of another service": f"{TABLE}threads-auth-prod-GrantsTable-1",
}.items():
    put("roles_name_no_other_data", what, "TokenRole", [*STATEMENT, "Resource"], {"Fn::Sub": text})
put("roles_name_no_other_data", "every index", "TokenRole", [P, "Policies", 0, "PolicyDocument", "Statement", 2, "Resource"], {"Fn::Sub": f"{TABLE}${{GrantsTableName}}/index/*"})
put("roles_name_no_other_data", "every secret called alike", "ReadSecretsPolicy", [P, "PolicyDocument", "Statement", 0, "Resource"], {"Fn::Sub": "${AppSecretArn}*"})
put("actions_are_spelled_out", "dynamodb:* for a function", "TokenRole", [*STATEMENT, "Action"], "dynamodb:*")
put("actions_are_spelled_out", "dynamodb:Get* in a list", "TokenRole", [*STATEMENT, "Action"], ["dynamodb:Scan", "dynamodb:Get*"])
put("actions_are_spelled_out", "everything but one action", "TokenRole", STATEMENT, {"Effect": "Allow", "NotAction": "iam:PassRole", "Resource": "*"})
put("actions_are_spelled_out", "secretsmanager:* in a managed policy", "ReadSecretsPolicy", [P, "PolicyDocument", "Statement", 0, "Action"], "secretsmanager:*")
put("resources_are_named", "every table", "TokenRole", [*STATEMENT, "Resource"], "*")
put("resources_are_named", "every table, in a list", "TokenRole", [*STATEMENT, "Resource"], [{"Fn::Sub": f"{TABLE}${{GrantsTableName}}"}, "*"])
put("resources_are_named", "every secret", "ReadSecretsPolicy", [P, "PolicyDocument", "Statement", 0, "Resource"], "*")
put("roles_are_for_one_service", "a role for another account", "TokenRole", [P, "AssumeRolePolicyDocument", "Statement", 0, "Principal"], {"AWS": "*"})
put("roles_are_for_one_service", "a role for EC2", "TokenRole", [P, "AssumeRolePolicyDocument", "Statement", 0, "Principal"], {"Service": "ec2.amazonaws.com"})
drop("keys_are_used_through_services", "a key used directly", "UseTableKeyPolicy", [P, "PolicyDocument", "Statement", 0, "Condition"])
put("keys_are_used_through_services", "a key in a function's own policy", "TokenRole", STATEMENT, {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": {"Ref": "DataKeyArn"}})
put("parliament_finds_nothing", "an action that does not exist", "TokenRole", [*STATEMENT, "Action"], "dynamodb:FetchItem")
put("parliament_finds_nothing", "an action on the wrong kind of resource", "RefreshRole", [P, "Policies", 0, "PolicyDocument", "Statement", 2, "Resource"], {"Fn::GetAtt": ["SweepDeadLetters", "Arn"]})

# Somebody hears of it
drop("alarms_reach_somebody", "an alarm that nobody hears", "WeakestTokenAlarm", [P, "AlarmActions"])
put("alarms_reach_somebody", "an alarm that is off", "WeakestTokenAlarm", [P, "ActionsEnabled"], False)
put("alarms_have_a_runbook", "an alarm without a runbook", "DecryptFailureAlarm", [P, "AlarmDescription"], "Something is wrong.")
put("every_alarm_is_in_the_runbook", "a runbook that does not exist", "DecryptFailureAlarm", [P, "AlarmName"], {"Fn::Sub": "${AWS::StackName}-undecryptable"})
put("silence_is_an_alarm", "a dead schedule that counts as health", "SweepMissedAlarm", [P, "TreatMissingData"], "notBreaching")
put("silence_is_an_alarm", "a mapping that is off and counts as health", "EventsStoppedAlarm", [P, "TreatMissingData"], "notBreaching")
put("silence_is_an_alarm", "a quiet stream that counts as a dead one", "EventsStoppedAlarm", [P, "Statistic"], "Sum")

STARTS = "what_does_not_start_rings"
put(STARTS, "sweeps whose absence is health", "SweepMissedAlarm", [P, "TreatMissingData"], "notBreaching")
put(STARTS, "sweeps that are missed after a day", "SweepMissedAlarm", [P, "Period"], 86_400)
put(STARTS, "sweeps that are missed by what nothing prints", "SweepMissedAlarm", [P, "MetricName"], "Sweeps")
put(STARTS, "a stream that is watched for another mapping", "EventsStoppedAlarm", [P, "Dimensions", 0, "Value"], {"Ref": "WebhookMapping"})
drop(STARTS, "a queue whose hidden events count for nothing", "WebhookBehindAlarm", [P, "Metrics", 2])


@breaks(STARTS, "a second stream that nobody watches")
def _(mutant):
    mutant["Resources"]["MoreMapping"] = dict(resource(mutant, "EventsMapping"))


GIVEN_UP = "what_is_given_up_rings"
drop(GIVEN_UP, "a schedule that drops a sweep", "SweepSchedule", [P, "Target", "DeadLetterConfig"])
put(GIVEN_UP, "letters that ring from the second on", "SweepDeadLettersAlarm", [P, "Threshold"], 1)
put(GIVEN_UP, "letters whose alarm is about others", "EventsDeadLettersAlarm", [P, "Dimensions", 0, "Value"], {"Fn::GetAtt": ["SweepDeadLetters", "QueueName"]})
THROTTLED = "a_throttled_function_rings"
put(THROTTLED, "a stream that gets old unseen", "EventsBehindAlarm", [P, "Dimensions", 0, "Value"], {"Ref": "RefreshFunction"})
put(THROTTLED, "throttles that API Gateway alone knows", "ServerErrorsAlarm", [P, "Metrics", 3, "MetricStat", "Metric", "MetricName"], "4xx")

WINDOW = "every_alarm_looks_back_as_far_as_it_may"
put(WINDOW, "twelve days of an alarm", "WeakestTokenAlarm", [P, "EvaluationPeriods"], 24)
put(WINDOW, "two days of short periods", "EventsBehindAlarm", [P, "EvaluationPeriods"], 576)
put(WINDOW, "more datapoints than periods", "WeakestTokenAlarm", [P, "DatapointsToAlarm"], 3)
put(WINDOW, "eight days of an alarm on a sum", "ServerErrorsAlarm", [P, "Metrics", 1, "MetricStat", "Period"], 691_200)
put(WINDOW, "two days of short periods of a sum", "FunctionErrorsAlarm", [P, "EvaluationPeriods"], 192)
put(WINDOW, "more datapoints than periods of a sum", "ServerErrorsAlarm", [P, "DatapointsToAlarm"], 4)
drop(WINDOW, "an alarm without a period", "EventsBehindAlarm", [P, "Period"])
put(WINDOW, "a period of a minute and a half", "EventsBehindAlarm", [P, "Period"], 90)

SUMS = "alarms_on_sums_return_one_value"
drop(SUMS, "an alarm on a sum that returns two values", "ServerErrorsAlarm", [P, "Metrics", 1, "ReturnData"])
put(SUMS, "an alarm on a sum that returns nothing", "ServerErrorsAlarm", [P, "Metrics", 0, "ReturnData"], False)


@breaks(SUMS, "an alarm on eleven metrics")
def _(mutant):
    metrics = resource(mutant, "RefreshesFailingAlarm")[P]["Metrics"]
    metrics += [{**metrics[1], "Id": f"more{number}"} for number in range(2)]


SEEN = "a_failing_token_is_seen_between_two_looks"
put(SEEN, "half an hour for a token that waits", "OldestOverdueAlarm", [P, "Period"], 1800)
drop(SEEN, "half a day for the weakest token", "WeakestTokenAlarm", [P, "DatapointsToAlarm"])
put(SEEN, "half a day of failing refreshes", "RefreshesFailingAlarm", [P, "Metrics", 5, "MetricStat", "Period"], 43_200)
put(SEEN, "an hour of an app that is refused", "AppRefusedAlarm", [P, "Period"], 3600)
OUTCOMES = "alarms_name_outcomes_that_exist"
put(OUTCOMES, "an outcome that nothing has", "AppRefusedAlarm", [P, "Dimensions", 1, "Value"], "configuration")
put(OUTCOMES, "an outcome that nothing has, in a sum", "RefreshesFailingAlarm", [P, "Metrics", 5, "MetricStat", "Metric", "Dimensions", 1, "Value"], "failed")
put(OUTCOMES, "a login's outcome for refreshes", "AppRefusedAlarm", [P, "Dimensions", 1, "Value"], "unavailable")
put(OUTCOMES, "an outcome where there is none", "WaveAlarm", [P, "Dimensions", 0], {"Name": "Outcome", "Value": "refreshed"})
drop(OUTCOMES, "logins of every outcome", "ConnectsFailingAlarm", [P, "Metrics", 1, "MetricStat", "Metric", "Dimensions", 1])

LOGINS = "logins_that_fail_ring_within_the_hour"
FAILING, CONNECTED, FINISHING, MISCONFIGURED, THREADS, OURS, FAILURES, SUCCESSES = range(8)


def login(what, part, outcome, rule=LOGINS):
    """Registers a mutation of the outcome that a part of the sum counts."""
    path = [P, "Metrics", part, "MetricStat", "Metric", "Dimensions", 1, "Value"]
    put(rule, what, "ConnectsFailingAlarm", path, outcome)


login("a refresh's outcome for logins", CONNECTED, "refreshed", OUTCOMES)
login("codes that anybody can make up", OURS, "code_refused")
login("errors that anybody can make up", THREADS, "threads_failed")
login("callbacks that belong to nobody", MISCONFIGURED, "wrong_browser")
login("pages that are loaded again, as successes", FINISHING, "replayed")
for what, part, expression in (
    ("failures among many successes", FAILING, "failed"),
    ("as many successes as failures", FAILING, "IF(failed >= succeeded, failed, 0)"),
    ("an outcome that hides the others by not coming", FAILURES, "misconfigured + FILL(threads_unavailable, 0) + FILL(unavailable, 0)"),
    ("successes that hide failures by not coming", SUCCESSES, "FILL(connected, 0) + finishing"),
    ("failures of Meta's that nobody hears of", FAILURES, "FILL(misconfigured, 0) + FILL(unavailable, 0)"),
    ("unfinished logins that count for nothing", SUCCESSES, "FILL(connected, 0)"),
):
    put(LOGINS, what, "ConnectsFailingAlarm", [P, "Metrics", part, "Expression"], expression)
drop(LOGINS, "a sum of what is not there", "ConnectsFailingAlarm", [P, "Metrics", FAILURES])
put(LOGINS, "one person who tries twice", "ConnectsFailingAlarm", [P, "Threshold"], 2)
put(LOGINS, "a fourth login that has to fail", "ConnectsFailingAlarm", [P, "ComparisonOperator"], "GreaterThanThreshold")
put(LOGINS, "a quiet hour that rings", "ConnectsFailingAlarm", [P, "TreatMissingData"], "breaching")
put(LOGINS, "two hours of failures", "ConnectsFailingAlarm", [P, "EvaluationPeriods"], 2)
put(LOGINS, "a quarter of an hour of failures", "ConnectsFailingAlarm", [P, "Metrics", 1, "MetricStat", "Period"], 900)

SMALL_SERVICE = "failures_ring_in_a_small_service"
SHARE, UNEXPECTED, LATER_ONES, FAULTS, REFUSED, REQUESTS, COUNTED, FAILED, SERVED = range(9)


def answers(what, part, expression):
    """Registers a mutation of a part of the sum of what failed unexpectedly."""
    put(SMALL_SERVICE, what, "ServerErrorsAlarm", [P, "Metrics", part, "Expression"], expression)


answers("every 503 as a failure", FAILED, "FILL(faults, 0)")
answers("failures of API Gateway's that nobody hears of", FAILED, "FILL(unexpected, 0)")
answers("a metric that hides the others by not coming", FAILED, "unexpected + IF(faults > counted, faults - counted, 0)")
answers("retries that hide a failure", SERVED, "FILL(requests, 0) - FILL(refused, 0)")
answers("robots that hide a failure", SERVED, "FILL(requests, 0) - FILL(later, 0)")
answers("one failure among very many", SHARE, "failed")
answers("a service that is large or silent", SHARE, "IF(served >= 20, failed, 0)")
put(SMALL_SERVICE, "one failure", "ServerErrorsAlarm", [P, "Threshold"], 1)
put(SMALL_SERVICE, "a quiet hour of answers that rings", "ServerErrorsAlarm", [P, "TreatMissingData"], "breaching")
put(SMALL_SERVICE, "five minutes of failures", "ServerErrorsAlarm", [P, "Metrics", UNEXPECTED, "MetricStat", "Period"], 300)
put(OUTCOMES, "an answer's outcome that nothing has", "ServerErrorsAlarm", [P, "Metrics", LATER_ONES, "MetricStat", "Metric", "Dimensions", 1, "Value"], "pending")
put("http_apis_have_these_metrics", "a metric of REST APIs", "ServerErrorsAlarm", [P, "Metrics", FAULTS, "MetricStat", "Metric", "MetricName"], "5XXError")
PRINTED = "metrics_of_ours_are_printed"
put(PRINTED, "an alarm on what nothing prints", "PausedAlarm", [P, "MetricName"], "Pauses")


@breaks(PRINTED, "a line of the dashboard that is always empty")
def _(mutant):
    body = resource(mutant, "Dashboard")[P]["DashboardBody"]
    body["Fn::Sub"][0] = body["Fn::Sub"][0].replace('["ThreadsAuth","Unconfigured"', '["ThreadsAuth","NotConfigured"')


@breaks("every_alarm_is_on_the_dashboard", "an alarm that the dashboard does not show")
def _(mutant):
    body = resource(mutant, "Dashboard")[P]["DashboardBody"]
    body["Fn::Sub"][0] = body["Fn::Sub"][0].replace('"${PausedAlarm.Arn}",', "")


@breaks("every_alarm_is_on_the_dashboard", "webhooks that the dashboard does not show")
def _(mutant):
    resource(mutant, "Dashboard")[P]["DashboardBody"]["Fn::Sub"][1]["WebhookAlarms"]["Fn::If"][1]["Fn::Sub"] = ""


for alarm in ("WebhookBehind", "WeakestToken", "ConnectsFailing", "EventsStopped", "ServerErrors", "Wave", "BrokenRows", "UnreadableShards", "StaleSecrets", "Paused", "Drift"):

    @breaks("everything_of_note_has_an_alarm", f"no alarm {alarm}")
    def _(mutant, name=f"{alarm}Alarm"):
        del mutant["Resources"][name]


@breaks("everything_of_note_has_an_alarm", "no alarm on refreshes")
def _(mutant):
    del mutant["Resources"]["RefreshesFailingAlarm"], mutant["Resources"]["AppRefusedAlarm"]


# Limits that only AWS enforces
put("Lambda.Function.Timeout", "a sweep of an hour", "RefreshFunction", [P, "Timeout"], 3_600)
put("Lambda.Function.MemorySize", "64 MB for a function", "TokenFunction", [P, "MemorySize"], 64)
put("Lambda.EventSourceMapping.BatchSize", "a batch of 20,000", "EventsMapping", [P, "BatchSize"], 20_000)
put("Lambda.EventSourceMapping.MaximumBatchingWindowInSeconds", "ten minutes for a batch", "EventsMapping", [P, "MaximumBatchingWindowInSeconds"], 600)
put("Lambda.EventSourceMapping.MaximumRecordAgeInSeconds", "records of eight days", "EventsMapping", [P, "MaximumRecordAgeInSeconds"], 691_200)
put("Lambda.EventSourceMapping.MaximumRetryAttempts", "20,000 retries", "EventsMapping", [P, "MaximumRetryAttempts"], 20_000)
put("Lambda.EventSourceMapping.ParallelizationFactor", "twenty batches of a shard at once", "EventsMapping", [P, "ParallelizationFactor"], 20)
put("Lambda.EventSourceMapping.MetricsConfig.Metrics.*", "Kafka's metrics of a stream", "EventsMapping", [P, "MetricsConfig", "Metrics"], ["EventCount", "ErrorCount"])
put("Lambda.EventSourceMapping.StartingPosition", "a stream read from a time", "EventsMapping", [P, "StartingPosition"], "AT_TIMESTAMP")
FILTERS = [P, "FilterCriteria", "Filters"]
put("Lambda.EventSourceMapping.FilterCriteria.Filters", "six filters", "EventsMapping", FILTERS, [{"Pattern": "{}"}] * 6)
put("Lambda.EventSourceMapping.FilterCriteria.Filters.*.Pattern", "a filter of 5,000 characters", "EventsMapping", [*FILTERS, 0, "Pattern"], "x" * 5_000)
put("Lambda.EventInvokeConfig.MaximumEventAgeInSeconds", "a sweep that waits for seconds only", "RefreshFunction", [P, "EventInvokeConfig", "MaximumEventAgeInSeconds"], 30)
put("Lambda.EventInvokeConfig.MaximumRetryAttempts", "a sweep tried five times", "RefreshFunction", [P, "EventInvokeConfig", "MaximumRetryAttempts"], 5)
put("Scheduler.Schedule.Target.RetryPolicy.MaximumEventAgeInSeconds", "a delivery tried for half a minute", "SweepSchedule", [P, "Target", "RetryPolicy", "MaximumEventAgeInSeconds"], 30)
put("Scheduler.Schedule.Target.RetryPolicy.MaximumRetryAttempts", "a delivery tried 200 times", "SweepSchedule", [P, "Target", "RetryPolicy", "MaximumRetryAttempts"], 200)
put("Scheduler.Schedule.FlexibleTimeWindow.MaximumWindowInMinutes", "a window of no minute", "SweepSchedule", [P, "FlexibleTimeWindow", "MaximumWindowInMinutes"], 0)
put("Scheduler.Schedule.Target.Input", "300 KB handed to a sweep", "SweepSchedule", [P, "Target", "Input"], "x" * 300_000)
put("Scheduler.Schedule.Description", "a schedule's long description", "SweepSchedule", [P, "Description"], "x" * 513)
put("SQS.Queue.MessageRetentionPeriod", "dead letters kept for a month", "SweepDeadLetters", [P, "MessageRetentionPeriod"], 2_592_000)
put("Logs.LogGroup.RetentionInDays", "logs of 31 days", "TokenLogs", [P, "RetentionInDays"], 31)
put("KMS.Key.PendingWindowInDays", "a key that is gone tomorrow", "DataKey", [P, "PendingWindowInDays"], 1, "data")
put("ApiGatewayV2.Integration.TimeoutInMillis", "a minute for API Gateway", "TokenIntegration", [P, "TimeoutInMillis"], 60_000)
put("ApiGatewayV2.Stage.AccessLogSettings.Format", "4 KB for a line of the access log", "ApiStage", LOG, "$context.requestId" + "x" * 4_000)
put_at("ApiGatewayV2.Stage.DefaultRouteSettings.ThrottlingRateLimit", "a throttle above the account's", ["Parameters", "ThrottleRate", "MaxValue"], 20_000)
drop_at("ApiGatewayV2.Stage.DefaultRouteSettings.ThrottlingBurstLimit", "a burst without an end", ["Parameters", "ThrottleBurst", "MaxValue"])
put("ApiGatewayV2.Stage.RouteSettings.*.ThrottlingRateLimit", "a signed route's throttle above the account's", "ApiStage", [*TOKEN_LIMITS, "ThrottlingRateLimit"], 20_000)
put("ApiGatewayV2.Stage.RouteSettings.*.ThrottlingBurstLimit", "a signed route's burst above the account's", "ApiStage", [*TOKEN_LIMITS, "ThrottlingBurstLimit"], 20_000)
put("CloudWatch.Alarm.AlarmDescription", "an alarm's long description", "WaveAlarm", [P, "AlarmDescription"], "x" * 1_025)
put("CloudWatch.Alarm.AlarmActions", "six actions of an alarm", "WaveAlarm", [P, "AlarmActions"], ["arn:aws:sns:eu-central-1:123456789012:a"] * 6)
put("CloudWatch.Alarm.Dimensions", "31 dimensions", "WaveAlarm", [P, "Dimensions"], [{"Name": f"d{n}", "Value": "x"} for n in range(31)])
put("CloudWatch.Alarm.Metrics.*.Expression", "a sum of 3,000 characters", "ServerErrorsAlarm", [P, "Metrics", 0, "Expression"], "failures + " * 300)
put("CloudWatch.Alarm.Metrics.*.Id", "a sum called with a capital", "ServerErrorsAlarm", [P, "Metrics", 0, "Id"], "Percent")
put("IAM.ManagedPolicy.Description", "a policy's long description", "ReadSecretsPolicy", [P, "Description"], "x" * 1_001)
put("SecretsManager.Secret.Description", "a secret's long description", "AppSecret", [P, "Description"], "x" * 2_049, "data")
put("Events.EventBus.Description", "a bus's long description", "EventBus", [P, "Description"], "x" * 513)
put("Events.EventBus.Name", "a bus named like a path", "EventBus", [P, "Name"], {"Fn::Sub": "${AWS::StackName}/events"})
put("Scheduler.ScheduleGroup.Name", "a group with a name longer than 64", "ScheduleGroup", [P, "Name"], {"Fn::Sub": "${AWS::StackName}-sweeps"})
put("ApiGatewayV2.Api.Name", "an API with a name longer than 128", "Api", [P, "Name"], {"Fn::Sub": "${AWS::StackName}-${AWS::StackName}"})
put("Logs.LogGroup.LogGroupName", "a log group named with a space", "ApiLogs", [P, "LogGroupName"], {"Fn::Sub": "/aws/vendedlogs/${AWS::StackName} api"})
put("CloudWatch.Alarm.AlarmName", "an alarm with a name longer than 255", "WaveAlarm", [P, "AlarmName"], {"Fn::Sub": "${AWS::StackName}-" * 4 + "wave"})
put("Events.Rule.Description", "a message's long description", "KeyInDanger", [P, "Description"], "x" * 513, "data")
put("Events.Rule.Targets", "a message to six topics", "KeyInDanger", [P, "Targets"], [{"Id": "a", "Arn": {"Ref": "AlarmTopicArn"}}] * 6, "data")
put("Events.Rule.Targets.*.InputTransformer.InputPathsMap", "a message of 101 parts", "KeyInDanger", [*TRANSFORMER, "InputPathsMap"], {f"p{n}": "$.id" for n in range(101)}, "data")
put("Events.Rule.Targets.*.InputTransformer.InputTemplate", "a message of 9 KB", "KeyInDanger", [*TRANSFORMER, "InputTemplate"], "x" * 9_000, "data")
put("event_patterns_are_not_too_long", "a pattern of 3 KB", "KeyInDanger", detail("awsRegion"), ["x" * 3_000], "data")
put("Events.Rule.EventPattern.detail-type.*", "jobs that AWS Backup calls otherwise", "BackupFailed", [P, "EventPattern", "detail-type", 1], "Copy Job Failed", "data")
put("Events.Rule.EventPattern.detail.state.*", "a state that no job has", "BackupFailed", detail("state", 1), "TIMED_OUT", "data")
put("Backup.BackupVault.BackupVaultName", "a vault with the stack's name", "BackupVault", [P, "BackupVaultName"], {"Ref": "AWS::StackName"}, "data")
put("Backup.BackupPlan.BackupPlan.BackupPlanName", "a plan with the stack's name", "BackupPlan", [P, "BackupPlan", "BackupPlanName"], {"Ref": "AWS::StackName"}, "data")
put("Backup.BackupPlan.BackupPlan.BackupPlanRule.*.RuleName", "a rule of a plan with a space", "BackupPlan", [*PLAN, "RuleName"], "each day", "data")
put("Backup.BackupPlan.BackupPlan.BackupPlanRule.*.StartWindowMinutes", "a backup that begins within a minute", "BackupPlan", [*PLAN, "StartWindowMinutes"], 1, "data")
put("Backup.BackupSelection.BackupSelection.SelectionName", "a selection with a space", "BackupSelection", [P, "BackupSelection", "SelectionName"], "the grants", "data")
put("CloudWatch.Dashboard.DashboardName", "a dashboard named with a dot", "Dashboard", [P, "DashboardName"], {"Fn::Sub": "${AWS::StackName}.${AWS::Region}"})
put("dashboards_are_named_for_their_region", "one dashboard for all regions", "Dashboard", [P, "DashboardName"], {"Ref": "AWS::StackName"})

SIZES = "policies_are_not_too_long"
LONG = [{"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": {"Fn::Sub": f"{TABLE}${{GrantsTableName}}"}}] * 50
put(SIZES, "a managed policy of 7,000 characters", "ReadSecretsPolicy", [P, "PolicyDocument", "Statement"], LONG)
put(SIZES, "a role with 11,000 characters of policies", "TokenRole", [P, "Policies", 0, "PolicyDocument", "Statement"], LONG * 2)
put(SIZES, "a trust of 2,500 characters", "TokenRole", [P, "AssumeRolePolicyDocument", "Statement"], [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}] * 25)
put(SIZES, "eleven managed policies", "TokenRole", [P, "ManagedPolicyArns"], [{"Ref": "ReadSecretsPolicy"}] * 11)

LOCKOUT = "the_keys_policy_locks_nobody_out"
KEY_STATEMENT = [P, "KeyPolicy", "Statement", 0]
put(LOCKOUT, "a key whose policy nobody may change", "DataKey", [*KEY_STATEMENT, "Action"], ["kms:DescribeKey"], "data")
put(LOCKOUT, "a key whose policy is changed through a service", "DataKey", [*KEY_STATEMENT, "Condition"], {"StringEquals": {"kms:ViaService": "x"}}, "data")
put(LOCKOUT, "a key that only its users administer", "DataKey", [*KEY_STATEMENT, "Principal"], {"AWS": {"Fn::Sub": "arn:aws:iam::${AWS::AccountId}:role/admin"}}, "data")
put(LOCKOUT, "a key made without the check for a lockout", "DataKey", [P, "BypassPolicyLockoutSafetyCheck"], True, "data")
put(LOCKOUT, "a key's policy of 33 KB", "DataKey", [*KEY_STATEMENT, "Sid"], "x" * 33_000, "data")

IMPORTED = "the_data_can_be_imported"
put(IMPORTED, "a key that AWS Backup's role may use, in an import without that role", "DataKey", [*KEY_STATEMENT, "Principal"], {"AWS": {"Fn::GetAtt": ["BackupRole", "Arn"]}}, "data")
drop(IMPORTED, "a table that an import may replace", "GrantsTable", ["UpdateReplacePolicy"], "data")
put(IMPORTED, "a table that cannot be imported", "ShortLivedTable", ["Type"], "AWS::SQS::Queue", "data")

KILOBYTES = "environments_fit_into_four_kilobytes"
for parameter in ("ReturnToAllowlist", "ThreadsGraphUrl", "AppName", "SupportUrl"):

    @breaks(KILOBYTES, f"any length of {parameter}")
    def _(mutant, parameter=parameter):
        del mutant["Parameters"][parameter]["MaxLength"]


put_at(KILOBYTES, "2 KB for one more variable", ["Globals", "Function", "Environment", "Variables", "MORE"], "x" * 2_000)
put("functions_end_before_their_integration", "an integration that waits as long as its function", "CallbackIntegration", [P, "TimeoutInMillis"], 29_000)

NEW_ACCOUNT = "a_new_account_can_deploy"
put(NEW_ACCOUNT, "a share for everybody", "TokenFunction", [P, "ReservedConcurrentExecutions"], 50)
put(NEW_ACCOUNT, "a share that needs a larger quota", "TokenFunction", [P, "ReservedConcurrentExecutions", "Fn::If", 1], 60)
put_at(NEW_ACCOUNT, "shares unless somebody says otherwise", ["Parameters", "ReserveConcurrency", "Default"], "true")


TEMPLATE = "the_template_is_not_too_large"


@breaks(TEMPLATE, "201 parameters")
def _(mutant):
    mutant["Parameters"] |= {f"More{n}": {"Type": "String", "Default": ""} for n in range(201)}


@breaks(TEMPLATE, "201 outputs")
def _(mutant):
    mutant["Outputs"] |= {f"More{n}": {"Value": "x"} for n in range(201)}


@breaks(TEMPLATE, "501 resources")
def _(mutant):
    mutant["Resources"] |= {f"More{n}": {"Type": "AWS::CloudFormation::WaitConditionHandle"} for n in range(501)}


put_at(TEMPLATE, "a template described in 2 KB", ["Description"], "x" * 2_000)
put_at(TEMPLATE, "a template of more than 1 MB", ["Metadata", "More"], "x" * 1_000_000)
put_at("parameters_are_described_in_short", "a parameter described in 5,000 characters", ["Parameters", "Scopes", "Description"], "x" * 5_000)
put_at("outputs_are_described_in_short", "an output described in 2 KB", ["Outputs", "ApiUrl", "Description"], "x" * 2_000)


ROUTES = "routes_are_what_api_gateway_takes"
put(ROUTES, "a route that ends with a slash", "CallbackSlashRoute", [P, "RouteKey"], "GET /callback/")
put(ROUTES, "a route that is there twice", "ReadUserRoute", [P, "RouteKey"], "GET /users")
put(ROUTES, "a greedy parameter in the middle", "ReadTokenRoute", [P, "RouteKey"], "GET /users/{user_id+}/token")

ORDER = "routes_are_made_one_after_another"
drop(ORDER, "a route beside the first one", "ReadUserRoute", ["DependsOn"])
put(ORDER, "two routes after the same one", "ReadUserRoute", ["DependsOn"], "StartSessionRoute")
drop(ORDER, "a stage beside its routes", "ApiStage", ["DependsOn"])
put(ORDER, "a stage before the last route", "ApiStage", ["DependsOn"], "ReadTokenRoute")

REFUSED = "edge_is_refused_where_it_cannot_be"


drop_at(REFUSED, "an edge that fails after half an hour", ["Rules", "EdgeIsWhereWebAclsAre"])


@breaks(REFUSED, "no edge outside us-east-1, whatever its web ACL")
def _(mutant):
    assertion = mutant["Rules"]["EdgeIsWhereWebAclsAre"]["Assertions"][0]
    assertion["Assert"] = {"Fn::Equals": [{"Ref": "AWS::Region"}, "us-east-1"]}


VERSION = "the_version_is_that_of_the_code"


put_at(VERSION, "another version than that of the code", ["Outputs", "ServiceVersion", "Value"], "0.0.9")
drop_at(VERSION, "a stack that does not tell its version", ["Outputs", "ServiceVersion"])


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


put("WAFv2.WebACL.Scope", "a web ACL that CloudFront does not see", "WebAcl", [P, "Scope"], "REGIONAL", "edge")
LIMIT = [P, "Rules", 0, "Statement", "RateBasedStatement"]
put("WAFv2.WebACL.Rules.*.Statement.RateBasedStatement.Limit", "five requests for an address", "WebAcl", [*LIMIT, "Limit"], 5, "edge")
put("WAFv2.WebACL.Rules.*.Statement.RateBasedStatement.EvaluationWindowSec", "requests counted in 90 s", "WebAcl", [*LIMIT, "EvaluationWindowSec"], 90, "edge")
put("WAFv2.WebACL.Rules.*.VisibilityConfig.MetricName", "a metric named with a space", "WebAcl", [P, "Rules", 0, "VisibilityConfig", "MetricName"], "the rate", "edge")
CDN = [P, "DistributionConfig"]
put("CloudFront.Distribution.DistributionConfig.Comment", "a distribution's long comment", "Distribution", [*CDN, "Comment"], "x" * 129, "edge")
put("CloudFront.Distribution.DistributionConfig.Origins.*.CustomOriginConfig.OriginReadTimeout", "an edge less patient than the API", "Distribution", [*CDN, "Origins", 0, "CustomOriginConfig", "OriginReadTimeout"], 10, "edge")
ERRORS = [*CDN, "CustomErrorResponses"]
drop("edge_keeps_no_error", "everybody's 503 at the edge", "Distribution", ERRORS, "edge")
drop("edge_keeps_no_error", "one status kept at the edge", "Distribution", [*ERRORS, 9], "edge")
put("edge_keeps_no_error", "a 500 kept for a minute", "Distribution", [*ERRORS, 6, "ErrorCachingMinTTL"], 60, "edge")
put("edge_keeps_no_error", "a setting that CloudFront does not have", "Distribution", [*ERRORS, 5, "ErrorCode"], 410, "edge")


@breaks("web_acls_are_small", "a web ACL of more than 1,500 units", "edge")
def _(mutant):
    rules = resource(mutant, "WebAcl")[P]["Rules"]
    rules += [rules[2]] * 7


put("edge_has_no_record_of_its_own", "a distribution on IPv4 only", "Distribution", [*CDN, "IPV6Enabled"], False, "edge")
put_at("edge_has_no_record_of_its_own", "a second record of the same name", ["Resources", "Record"], {"Type": "AWS::Route53::RecordSet", "Properties": {"Type": "A"}}, "edge")


RECORD = "the_name_has_one_record_of_a_type"
put(RECORD, "a name that leads past CloudFront", "ApiDomainRecord", [P, "AliasTarget"], {"DNSName": {"Fn::GetAtt": ["ApiDomain", "RegionalDomainName"]}})
put(RECORD, "a record that goes when Edge comes", "ApiDomainRecord", ["Condition"], "HasApiDomain")
put(RECORD, "IPv6 for an API that has none", "Ipv6Record", ["Condition"], "HasRecord")
drop_at(RECORD, "no name on IPv6", ["Resources", "Ipv6Record"])


# Webhooks
ON_DEMAND = "webhooks_are_made_on_demand_alone"
for name in ("WebhookFunction", "WebhookQueue", "WebhookSecret", "WebhookBehindAlarm"):
    drop(ON_DEMAND, f"{name} in every stack", name, ["Condition"])
put(ON_DEMAND, "a bus that is made with webhooks alone", "EventBus", ["Condition"], "HasWebhook")


@breaks(ON_DEMAND, "a receiver that nobody has named")
def _(mutant):
    mutant["Parameters"]["WebhookUrl"]["Default"] = "https://webhook.example.com/"


@breaks(ON_DEMAND, "webhooks with Edge")
def _(mutant):
    mutant["Conditions"]["HasWebhook"] = {"Fn::Equals": [{"Ref": "Edge"}, "true"]}


POSTED = "every_event_of_ours_is_posted_as_it_is"
TARGET = [P, "Targets", 0]
drop(POSTED, "a rule of the account's own bus", "WebhookRule", [P, "EventBusName"])
put(POSTED, "one kind of event alone", "WebhookRule", [P, "EventPattern"], {"source": ["threads-auth"], "detail-type": ["account.connected"]})
put(POSTED, "a rule that is off", "WebhookRule", [P, "State"], "DISABLED")
drop(POSTED, "EventBridge's envelope for the backend", "WebhookRule", [*TARGET, "InputPath"])
drop(POSTED, "events that EventBridge drops after a day", "WebhookRule", [*TARGET, "DeadLetterConfig"])
put(POSTED, "events that never reach the queue", "WebhookRule", [*TARGET, "Arn"], {"Fn::GetAtt": ["EventsDeadLetters", "Arn"]})
put(POSTED, "ten deliveries again for one that failed", "WebhookMapping", [P, "FunctionResponseTypes"], [])
put(POSTED, "a queue that nobody reads", "WebhookMapping", [P, "Enabled"], False)
put(POSTED, "letters that are posted at once", "WebhookMapping", [P, "EventSourceArn"], {"Fn::GetAtt": ["WebhookDeadLetters", "Arn"]})
put(POSTED, "events for the function of the stream", "WebhookMapping", [P, "FunctionName"], {"Ref": "EventsFunction"})
RECEIVER = "the_function_knows_its_receiver_and_queues"
WEBHOOK_VARIABLES = [P, "Environment", "Variables"]
drop(RECEIVER, "letters that nothing takes", "WebhookFunction", [*WEBHOOK_VARIABLES, "WEBHOOK_DEAD_LETTERS"])
put(RECEIVER, "a receiver in the code", "WebhookFunction", [*WEBHOOK_VARIABLES, "WEBHOOK_URL"], "https://webhook.example.com/")
put(RECEIVER, "the receiver in another function", "TokenFunction", [P, "Environment"], {"Variables": {"WEBHOOK_URL": {"Ref": "WebhookUrl"}}})
FROM_RULE = "the_queues_take_from_the_rule_alone"
SENDERS = [P, "PolicyDocument", "Statement", 0]
drop(FROM_RULE, "a queue that any rule of anybody's fills", "WebhookQueuePolicy", [*SENDERS, "Condition"])
put(FROM_RULE, "a queue that everybody fills", "WebhookDeadLettersPolicy", [*SENDERS, "Principal"], "*")
put(FROM_RULE, "a queue that EventBridge reads", "WebhookQueuePolicy", [*SENDERS, "Action"], "sqs:*")
put(FROM_RULE, "dead sweeps that a rule writes", "WebhookDeadLettersPolicy", [P, "Queues"], [{"Ref": "WebhookDeadLetters"}, {"Ref": "SweepDeadLetters"}])
OUTLAST = "undelivered_events_outlast_an_outage"
put(OUTLAST, "an event given up after five tries", "WebhookQueue", [P, "RedrivePolicy", "maxReceiveCount"], 5)
drop(OUTLAST, "an event that ends the function for ever", "WebhookQueue", [P, "RedrivePolicy"])
put(OUTLAST, "an event that expires while it is tried", "WebhookQueue", [P, "MessageRetentionPeriod"], 86_400)
BY_ONE = "the_webhooks_secret_is_made_and_read_by_one"
put(BY_ONE, "a webhook's secret of 16 bytes", "WebhookSecret", [P, "GenerateSecretString", "PasswordLength"], 22)
put(BY_ONE, "a webhook's secret that is no base64", "WebhookSecret", [P, "GenerateSecretString", "ExcludePunctuation"], False)
put(BY_ONE, "a webhook's secret in the template", "WebhookSecret", [P, "SecretString"], '{"secret":"x"}')
drop(BY_ONE, "a webhook's secret under AWS's own key", "WebhookSecret", [P, "KmsKeyId"])
put(BY_ONE, "a webhook's secret among the variables", "WebhookFunction", [*WEBHOOK_VARIABLES, "KEY"], {"Fn::Sub": "{{resolve:secretsmanager:${WebhookSecret.Id}:SecretString:secret}}"})
put(BY_ONE, "a webhook's secret for every function", "ReadSecretsPolicy", [P, "PolicyDocument", "Statement", 0, "Resource"], [{"Ref": "AppSecretArn"}, {"Ref": "KeyringSecretArn"}, {"Fn::GetAtt": ["WebhookSecret", "Id"]}])
HIDDEN = "queues_hide_what_is_worked_at"
put(HIDDEN, "a queue that hands out what is being posted", "WebhookQueue", [P, "VisibilityTimeout"], 240)
put(HIDDEN, "a hundred events at once", "WebhookMapping", [P, "BatchSize"], 100)
FEW = "a_queue_is_read_by_few"
drop(FEW, "a receiver that is flooded", "WebhookMapping", [P, "ScalingConfig"])
put(FEW, "a receiver that is asked by fifty", "WebhookMapping", [P, "ScalingConfig", "MaximumConcurrency"], 50)
put(FEW, "messages received by nobody", "WebhookFunction", [P, "ReservedConcurrentExecutions", "Fn::If", 1], 1)
put("functions_behind_the_api_answer_in_time", "a batch that is cut off", "WebhookFunction", [P, "Timeout"], 29)
put("queues_are_encrypted_and_patient", "events in the clear", "WebhookQueue", [P, "SqsManagedSseEnabled"], False)
put("SQS.Queue.VisibilityTimeout", "a message hidden for a day", "WebhookQueue", [P, "VisibilityTimeout"], 86_400)
put("SQS.Queue.RedrivePolicy.maxReceiveCount", "two thousand receipts", "WebhookQueue", [P, "RedrivePolicy", "maxReceiveCount"], 2_000)
put("Lambda.EventSourceMapping.ScalingConfig.MaximumConcurrency", "one process for a queue", "WebhookMapping", [P, "ScalingConfig", "MaximumConcurrency"], 1)
put("Events.Rule.Description", "a rule's long description", "WebhookRule", [P, "Description"], "x" * 513)

# The origin secret
DEMANDED = "public_functions_demand_the_origin_secret"
SECRETS = [P, "Environment", "Variables", "ORIGIN_SECRETS"]
drop(DEMANDED, "a callback past CloudFront", "CallbackFunction", SECRETS)
put(DEMANDED, "an origin secret in the template", "AuthorizeFunction", SECRETS, "0123456789012345678901234567890123456789")
put(DEMANDED, "a secret that is demanded without Edge", "DeletionFunction", [*SECRETS, "Fn::If", 2], "0123456789012345678901234567890123456789")
put(DEMANDED, "one function with half the secrets", "DeauthorizeFunction", [*SECRETS, "Fn::If", 1, "Fn::Sub"], "{{resolve:secretsmanager:${OriginSecret.Id}:SecretString:send::${OriginSecretVersion}}}")
put(DEMANDED, "a secret that CloudFormation reads once only", "CallbackFunction", [*SECRETS, "Fn::If", 1, "Fn::Sub"], "{{resolve:secretsmanager:${OriginSecret.Id}:SecretString:send}},{{resolve:secretsmanager:${OriginSecret.Id}:SecretString:accept}}")
put(DEMANDED, "backends that have to come through CloudFront", "TokenFunction", [P, "Environment"], {"Variables": {"ORIGIN_SECRETS": "x"}})
put_at(DEMANDED, "the secret in every function", ["Globals", "Function", "Environment", "Variables", "ORIGIN_SECRETS"], "x")
put_at(DEMANDED, "an edge that can be walked around by default", ["Parameters", "EdgeOnly", "Default"], "false")


SAME = "the_edge_is_given_the_same_secret"
drop(SAME, "an edge that keeps the old secret", "EdgeStack", [P, "Parameters", "OriginSecretVersion"])
put(SAME, "an edge with another secret", "EdgeStack", [P, "Parameters", "OriginSecretArn"], {"Fn::GetAtt": ["AppSecret", "Id"]})
MADE = "the_origin_secret_is_made_with_the_edge"
GENERATOR = [P, "GenerateSecretString"]
drop(MADE, "a paid secret that nobody uses", "OriginSecret", ["Condition"])
drop(MADE, "an origin secret that somebody has to write", "OriginSecret", GENERATOR)
put(MADE, "an origin secret of eight characters", "OriginSecret", [*GENERATOR, "PasswordLength"], 8)
put(MADE, "a header with punctuation", "OriginSecret", [*GENERATOR, "ExcludePunctuation"], False)
put(MADE, "a secret that goes with Edge, and its versions with it", "OriginSecret", ["Condition"], "HasEdge")
put(MADE, "an empty second secret", "OriginSecret", [*GENERATOR, "SecretStringTemplate"], '{"accept":""}')


MOVE = "backends_can_move_before_the_edge_does"
put(MOVE, "backends whose address goes when Edge comes", "Api", [P, "DisableExecuteApiEndpoint", "Fn::If", 0], "HasApiDomain")
put_at(MOVE, "an address that no parameter keeps open", ["Conditions", "ClosesApiAddress"], {"Condition": "HasApiDomain"})


@breaks(MOVE, "an address beside the domain that nobody has asked for")
def _(mutant):
    mutant["Parameters"]["ApiAddress"]["Default"] = "true"
    mutant["Conditions"]["ClosesApiAddress"] = {"Fn::Not": [{"Condition": "HasEdge"}]}


put_at(MOVE, "an ApiUrl that is closed", ["Outputs", "ApiUrl", "Value", "Fn::If", 0], "HasApiDomain")


NAME = "the_name_leads_in_while_it_moves"
put(NAME, "a domain without an API behind it", "ApiDomainMapping", ["Condition"], "ClosesApiAddress")
put_at(NAME, "a name that leads nowhere until its record follows", ["Conditions", "HasApiDomain"], {"Fn::And": [{"Condition": "HasDomain"}, {"Fn::Not": [{"Condition": "HasEdge"}]}]})
put_at(NAME, "an API with a certificate of another region", ["Conditions", "HasApiDomain", "Fn::And", 1, "Fn::Or", 1], {"Fn::Equals": [{"Ref": "EdgeOnly"}, "false"]})
put_at(NAME, "nothing to point the name at on the way back", ["Outputs", "ApiDomainTarget", "Condition"], "ClosesApiAddress")
put_at("nothing_of_the_secret_can_be_read_off_the_stack", "the origin secret as an output", ["Outputs", "Origin"], {"Value": {"Fn::Sub": "{{resolve:secretsmanager:${OriginSecret.Id}:SecretString:send}}"}})


SHOWN = "cloudfront_shows_the_origin_secret"
HEADERS = [*CDN, "Origins", 0, "OriginCustomHeaders"]
drop(SHOWN, "a CloudFront that nobody knows", "Distribution", HEADERS, "edge")
put(SHOWN, "a header that CloudFront does not add", "Distribution", [*HEADERS, 0, "HeaderName"], "X-Edge-Origin", "edge")
put(SHOWN, "the secret that is still to come", "Distribution", [*HEADERS, 0, "HeaderValue"], {"Fn::Sub": "{{resolve:secretsmanager:${OriginSecretArn}:SecretString:accept::${OriginSecretVersion}}}"}, "edge")
put(SHOWN, "a header that is read once only", "Distribution", [*HEADERS, 0, "HeaderValue"], {"Fn::Sub": "{{resolve:secretsmanager:${OriginSecretArn}:SecretString:send}}"}, "edge")
HEADER = "CloudFront.Distribution.DistributionConfig.Origins.*.OriginCustomHeaders"
put(HEADER, "eleven headers", "Distribution", HEADERS, [{"HeaderName": "x", "HeaderValue": "y"}] * 11, "edge")
put(f"{HEADER}.*.HeaderName", "a header with a long name", "Distribution", [*HEADERS, 0, "HeaderName"], "x" * 257, "edge")
put(f"{HEADER}.*.HeaderValue", "a header of 2 KB", "Distribution", [*HEADERS, 0, "HeaderValue"], "x" * 2_000, "edge")

# Certificates
WHERE = "certificates_are_made_where_they_are_used"


drop_at(WHERE, "no certificate made for CloudFront that it would not take", ["Rules", "EdgeCertificateIsMadeInUsEast1"])
drop_at(WHERE, "a name without a certificate", ["Rules", "DomainHasCertificate"])
put_at(WHERE, "a certificate beside the one that is given", ["Conditions", "MakesCertificate"], {"Condition": "HasRecord"})


@breaks(WHERE, "nobody makes a certificate")
def _(mutant):
    assertion = mutant["Rules"]["DomainHasCertificate"]["Assertions"][0]
    assertion["Assert"] = {"Fn::Not": [{"Fn::Equals": [{"Ref": "CertificateArn"}, ""]}]}


drop(WHERE, "a certificate that waits for a person", "Certificate", [P, "DomainValidationOptions"])
put(WHERE, "a made certificate that nobody uses", "ApiDomain", [P, "DomainNameConfigurations", 0, "CertificateArn"], {"Ref": "CertificateArn"})
put("CertificateManager.Certificate.ValidationMethod", "a certificate by mail", "Certificate", [P, "ValidationMethod"], "EMAIL")
put_at("CertificateManager.Certificate.DomainName", "a name longer than DNS allows", ["Parameters", "DomainName", "MaxLength"], 300)
put_at("throttles_by_themselves_fit_every_region", "a throttle that newer regions do not have", ["Parameters", "ThrottleBurst", "Default"], 2_000)
put_at(TEMPLATE, "201 mappings", ["Mappings"], {f"More{n}": {"a": {"b": "c"}} for n in range(201)})


for section, entry in (("Parameters", {"Type": "String", "Default": ""}), ("Outputs", {"Value": "x"}), ("Mappings", {"a": {"b": "c"}})):

    @breaks(TEMPLATE, f"a name of 256 characters in {section}")
    def _(mutant, section=section, entry=entry):
        mutant.setdefault(section, {})["x" * 256] = entry


# Backends
B = "backend"
OPENS = "permissions_open_their_routes_only"
BACKEND = [P, "Policies"]


def policy(number, *path):
    return [*BACKEND, number, "Fn::If", 1, "PolicyDocument", "Statement", *path]


EVERY_ROUTE = {"Fn::Sub": "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${ApiId}/*"}
drop(OPENS, "a reader who gets tokens", "BackendRole", policy(1, 1), B)
put(OPENS, "a backend that vends and is denied it", "BackendRole", policy(1, 1, "Fn::If", 1), {"Effect": "Deny", "Action": "execute-api:Invoke", "Resource": "*"}, B)
put(OPENS, "sessions that open every route", "BackendRole", policy(0, 0, "Resource"), EVERY_ROUTE, B)
put(OPENS, "every permission that vends", "BackendRole", [*BACKEND, 2, "Fn::If", 0], "Read", B)
put(OPENS, "a session's backend that assigns accounts", "BackendRole", policy(0, 0, "Resource", 0, "Fn::Sub"), EVERY_ROUTE["Fn::Sub"].replace("/*", "/$default/PATCH/users/*"), B)
put(OPENS, "disconnecting with every method", "BackendRole", policy(3, 0, "Resource", 0, "Fn::Sub"), EVERY_ROUTE["Fn::Sub"].replace("/*", "/$default/*/users/*"), B)
drop(OPENS, "a permission that is left out", "BackendRole", [*BACKEND, 3], B)
drop("roles_trust_whom_they_are_told", "no external id", "BackendRole", [P, "AssumeRolePolicyDocument", "Fn::Sub", 1, "Statements", "Fn::Join", 1, 0], B)
put("roles_trust_whom_they_are_told", "Google's audience under GitHub's name", "BackendRole", [P, "AssumeRolePolicyDocument", "Fn::Sub", 1, "Statements", "Fn::Join", 1, 1, "Fn::If", 1, "Fn::Sub", 1, "Audience"], "aud", B)
put("sessions_of_backends_are_short", "a role for twelve hours", "BackendRole", [P, "MaxSessionDuration"], 43_200, B)
for name in ("SomebodyMayTakeIt", "ItMayDoSomething", "PrincipalsSayAnExternalId", "OidcIsForOneWorkload"):

    @breaks("nobody_is_let_in_by_omission", f"without the rule {name}", B)
    def _(mutant, name=name):
        del mutant["Rules"][name]


drop_at("nobody_is_let_in_by_omission", "any subject of a provider", ["Rules", "OidcIsForOneWorkload", "Assertions", 1], B)


QUOTED = "parameters_take_no_wildcard_and_no_quotation_mark"
for name in ("BackendPrincipals", "BackendExternalId", "OidcProvider", "OidcAudience", "OidcSubjects"):

    @breaks(QUOTED, f"anything as {name}", B)
    def _(mutant, name=name):
        mutant["Parameters"][name]["AllowedPattern"] = ".*"


put_at("backends_trust_is_not_too_long", "a hundred subjects", ["Parameters", "OidcSubjects", "MaxLength"], 1_500, B)
put("parliament_finds_nothing_in_backends", "an action that does not exist", "BackendRole", policy(2, 0, "Action"), "execute-api:Call", B)


# Policies of people's, and of backends in the same account
F = "policies"


def in_file(rule, what, name, change):
    """Registers a mutation of the statements of a policy."""

    @breaks(rule, what, F)
    def _(mutant):
        change(mutant["Files"][name]["Statement"])


def grant(actions, resource="*", **more):
    return lambda statements: statements.append({"Sid": "More", "Effect": "Allow", "Action": actions, "Resource": resource, **more})


put_at("each_signed_route_has_one_permission", "a route that no permission opens", ["Routes", "GET /sessions"], ("AWS_IAM", "Sessions"), F)


FILES_OPEN = "policies_as_files_open_the_same"
in_file(FILES_OPEN, "a reader's file that vends", "backend-read.json", lambda statements: statements.pop())
in_file(FILES_OPEN, "a file that assigns nothing", "backend-manage.json", lambda statements: statements[0]["Resource"].pop())
in_file(FILES_OPEN, "a file that disconnects nobody", "backend-manage.json", lambda statements: statements.clear())


drop_at(FILES_OPEN, "a file that is not there", ["Files", "backend-vend.json"], F)


OPERATORS = "operators_may_what_commands_call"
in_file(OPERATORS, "operators who may not sweep", "operate.json", lambda statements: statements.pop(4))
in_file(OPERATORS, "operators who may delete secrets", "operate.json", grant(["secretsmanager:DeleteSecret"], "{AppSecretArn}"))
READERS = "readers_open_and_change_nothing"
in_file(READERS, "readers of the keyring", "read.json", grant(["secretsmanager:GetSecretValue"], "{KeyringSecretArn}"))
in_file(READERS, "readers who write", "read.json", grant(["dynamodb:UpdateItem"], "arn:{Partition}:dynamodb:{Region}:{Account}:table/{GrantsTableName}"))
in_file(READERS, "readers without alarms", "read.json", lambda statements: statements.pop(1))
DEPLOYS = "deployers_may_what_a_deployment_calls"
in_file(DEPLOYS, "deployers who may make no roles", "deploy.json", lambda statements: statements.pop(5))
in_file(DEPLOYS, "deployers of machines", "deploy.json", grant(["ec2:RunInstances"]))
in_file(DEPLOYS, "deployers who read rows", "deploy-data.json", grant(["dynamodb:GetItem"], "arn:{Partition}:dynamodb:{Region}:{Account}:table/{Stack}-*"))


@breaks(DEPLOYS, "a type of resource that nobody may make", F)
def _(mutant):
    mutant["Types"].append("AWS::StepFunctions::StateMachine")




@breaks(DEPLOYS, "deployers who may not change what the access log goes to", F)
def _(mutant):
    statement(mutant, "deploy.json", "WhatHasNoName")["Action"].remove("logs:UpdateLogDelivery")


@breaks(DEPLOYS, "deployers who may not give SAM's bucket its tags", F)
def _(mutant):
    statement(mutant, "deploy.json", "SamsBucket")["Action"].remove("s3:TagResource")


def statement(mutant, name, sid):
    return next(one for one in mutant["Files"][name]["Statement"] if one["Sid"] == sid)


def on_another(rule, what, name, sid, former, resource):
    """Registers a mutation of what a statement is about."""

    @breaks(rule, what, F)
    def _(mutant):
        changed = statement(mutant, name, sid)
        changed["Resource"] = json.loads(json.dumps(changed["Resource"]).replace(former, resource))


REACH = "deployers_reach_what_is_made"
on_another(REACH, "functions that are called otherwise", "deploy.json", "Functions", "function:{Stack}-", "function:{Stack}_")
on_another(REACH, "a group of schedules with a hyphen", "deploy.json", "Schedules", "schedule-group/{Stack}", "schedule-group/{Stack}-*")
on_another(REACH, "an edge whose stack is called otherwise", "deploy.json", "Stacks", "-EdgeStack-", "-Edge-")
on_another(REACH, "a secret that is called like its stack", "deploy-data.json", "Secrets", "secret:*App", "secret:{Stack}-App")
on_another(REACH, "a topic of the data that nobody may make", "deploy-data.json", "Topics", "{Stack}-data-", "{Stack}-")
on_another(REACH, "a vault that is called like its stack", "deploy-data.json", "Backups", "backup-vault:*", "backup-vault:{Stack}-*")


@breaks(REACH, "messages that nobody may give the stack's tags", F)
def _(mutant):
    statement(mutant, "deploy-data.json", "Messages")["Action"].remove("events:TagResource")


@breaks(REACH, "a type of resource without an ARN", F)
def _(mutant):
    mutant["Types"].append("AWS::StepFunctions::StateMachine")


OPERATED = "operators_reach_what_is_made"
on_another(OPERATED, "operators of other queues", "operate.json", "ReadAndEmptyQueues", "{Stack}-*", "{Stack}-Dead*")
on_another(OPERATED, "readers who see nothing of what protects the data", "read.json", "FindTheStack", "{Stack}-data/*", "{Stack}-date/*")
on_another(OPERATED, "readers of a schedule without its group", "read.json", "LookAtTheSchedule", "{Stack}/*", "{Stack}-*")
LEAVES = "whoever_deploys_the_service_leaves_its_data"
on_another(LEAVES, "every stack whose name begins alike", "deploy.json", "Stacks", "-EdgeStack-", "-")
on_another(LEAVES, "every topic whose name begins alike", "deploy.json", "Topics", "-AlarmTopic-", "-")
on_another(LEAVES, "every secret", "deploy.json", "MadeSecrets", "*OriginSecret-", "*Secret-")
in_file(LEAVES, "tables for whoever deploys the service", "deploy.json", grant(["dynamodb:DeleteTable"], "arn:{Partition}:dynamodb:{Region}:{Account}:table/{Stack}-*"))
in_file(LEAVES, "keys that whoever deploys a name may delete", "deploy-domain.json", grant(["kms:ScheduleKeyDeletion"], "arn:{Partition}:kms:{Region}:{Account}:key/*"))
HOLD = "people_hold_what_is_named"
in_file(HOLD, "every role of the account", "deploy.json", grant(["iam:PutRolePolicy"]))
in_file(HOLD, "every action", "deploy.json", grant(["*"], "arn:{Partition}:sqs:{Region}:{Account}:{Stack}-*"))
in_file(HOLD, "a pattern for operators", "operate.json", grant(["kms:*"], "{DataKeyArn}"))
in_file(HOLD, "roles handed to any service", "deploy.json", grant(["iam:PassRole"], "arn:{Partition}:iam::{Account}:role/{Stack}-*"))
in_file("peoples_policies_are_not_too_long", "a policy of 7,000 characters", "deploy.json", grant(["sqs:CreateQueue"], ["arn:{Partition}:sqs:{Region}:{Account}:{Stack}-*"] * 40))
in_file("parliament_finds_nothing_in_peoples_policies", "an action that does not exist, for operators", "operate.json", grant(["kms:Open"], "{DataKeyArn}"))
