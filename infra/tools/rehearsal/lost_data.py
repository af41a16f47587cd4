"""Data that is lost and comes back, and data that moves into a stack of its own."""

import json
import pathlib
import subprocess
import sys
import tempfile

from samcli.yamlhelper import yaml_parse

import adopt
import render
import wiring
from .deployment import deploy_data, deployed, for_the_emulator, ids_of, outputs_of, parameters, refusal, sam, sam_deploy, vend, written
from .first_deployment import present
from .operators import operate
from .stage import REGION, STACK, client, expect, until

FORMER = f"{STACK}-former"


def upgraded_keyring(stage):
    """`keyring upgrade`, before anything is sealed: from then on tokens open under any name of the
    table."""
    code, _, said = operate(stage, "keyring", "upgrade", "--wait", "0")
    expect("upgraded", code == 0, said)


def a_lost_table(stage):
    """The table of grants is lost: its point in time is restored under a new name, gets what a
    restore leaves out, and the service is deployed with it. Ada's token is handed out."""
    dynamodb, lost = client("dynamodb"), stage.data["GrantsTableName"]
    restored = f"{lost}-restored"
    dynamodb.restore_table_to_point_in_time(SourceTableName=lost, TargetTableName=restored, UseLatestRestorableTime=True)
    active = lambda: dynamodb.describe_table(TableName=restored)["Table"]["TableStatus"] == "ACTIVE"
    until("it is restored", active)
    left_out = dynamodb.describe_table(TableName=restored)["Table"]
    expect("a restore leaves these out", not left_out["DeletionProtectionEnabled"] and "LatestStreamArn" not in left_out, left_out)
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    dynamodb.update_table(TableName=restored, DeletionProtectionEnabled=True, StreamSpecification=stream)
    recovery = {"PointInTimeRecoveryEnabled": True}
    dynamodb.update_continuous_backups(TableName=restored, PointInTimeRecoverySpecification=recovery)
    until("it is active", active)
    dynamodb.update_table(TableName=lost, DeletionProtectionEnabled=False)
    dynamodb.delete_table(TableName=lost)
    stage.data |= {"GrantsTableName": restored, "GrantsStreamArn": dynamodb.describe_table(TableName=restored)["Table"]["LatestStreamArn"]}
    sam_deploy(stage, LogLevel="TRACE")
    present(stage)
    vend(stage)


def of_before(stage):
    """The template as it was: everything in one stack."""
    file, _ = for_the_emulator(stage)
    template = yaml_parse(pathlib.Path(file).read_text())
    data = render.source("data.yaml")["Resources"]
    for name in wiring.KEPT_DATA:
        data[name].pop("DependsOn", None)
        data[name].pop("Metadata", None)
        if name in ("ShortLivedTable", "AppSecret"):
            data[name] |= {"DeletionPolicy": "Delete", "UpdateReplacePolicy": "Delete"}
    references = {
        "GrantsTableName": {"Ref": "GrantsTable"},
        "GrantsStreamArn": {"Fn::GetAtt": ["GrantsTable", "StreamArn"]},
        "ShortLivedTableName": {"Ref": "ShortLivedTable"},
        "DataKeyArn": {"Fn::GetAtt": ["DataKey", "Arn"]},
        "AppSecretArn": {"Fn::GetAtt": ["AppSecret", "Id"]},
        "KeyringSecretArn": {"Fn::GetAtt": ["KeyringSecret", "Id"]},
    }

    def own(value):
        match value:
            case {"Ref": name} if name in references:
                return references[name]
            case {"Fn::Sub": str(text)}:
                return {"Fn::Sub": text.replace("TableName}", "Table}")}
            case dict():
                return {key: own(inner) for key, inner in value.items()}
            case list():
                return [own(inner) for inner in value]
        return value

    for name in references:
        del template["Parameters"][name]
    del template["Rules"]["DataIsNotMixedUp"], template["Metadata"]
    template = own(template)
    template["Resources"] |= {name: data[name] for name in wiring.KEPT_DATA}
    # Its table has no index of references yet.
    grants = template["Resources"]["GrantsTable"]["Properties"]
    grants["GlobalSecondaryIndexes"] = [index for index in grants["GlobalSecondaryIndexes"] if index["IndexName"] == "due"]
    grants["AttributeDefinitions"] = [one for one in grants["AttributeDefinitions"] if one["AttributeName"] != "reference"]
    return template


def a_stack_of_before(stage):
    """A stack that has everything in one gets a stack for its data by UPGRADING.md's steps: nothing
    is deleted or made anew."""
    known = {name: value for name, value in parameters(stage, DomainName="former.rehearsal.test").items() if name not in stage.data}
    former = of_before(stage)
    deployed(sam(stage, written(stage, "former", former), FORMER, **known))
    before = ids_of(FORMER)
    deployed(sam(stage, written(stage, "kept", adopt.kept(former)), FORMER, **known))
    # The service by parameters.
    outputs, dynamodb = outputs_of(FORMER), client("dynamodb")
    given = {name: outputs[name] for name in wiring.DATA if name in outputs}
    table = dynamodb.describe_table(TableName=given["GrantsTableName"])["Table"]
    given["GrantsStreamArn"] = table["LatestStreamArn"]
    indexes = [index["IndexName"] for index in table["GlobalSecondaryIndexes"]]
    template, _ = for_the_emulator(stage)
    deployed(sam(stage, template, FORMER, **known, **given))
    left = ids_of(FORMER)
    moved = {name: id for name, id in before.items() if name in wiring.KEPT_DATA}
    changed = {name for name in before.keys() - moved.keys() if before[name] != left.get(name)}
    expect("only the data has left", not changed and not left.keys() & moved.keys(), changed)
    # The import.
    data_stack, cloudformation = f"{FORMER}-data", client("cloudformation")
    with tempfile.TemporaryDirectory() as folder:
        described = json.dumps(cloudformation.describe_stacks(StackName=FORMER), default=str)
        subprocess.run([sys.executable, "adopt.py", "import", folder, *indexes], input=described, text=True, check=True)
        template, resources = (pathlib.Path(folder, f"{name}.json").read_text() for name in ("template", "resources"))
    cloudformation.create_change_set(
        StackName=data_stack,
        ChangeSetName="import",
        ChangeSetType="IMPORT",
        TemplateBody=template,
        ResourcesToImport=json.loads(resources),
    )
    described = cloudformation.describe_change_set(StackName=data_stack, ChangeSetName="import")
    expect("an import of five", [c["ResourceChange"]["Action"] for c in described["Changes"]] == ["Import"] * 5, described)
    cloudformation.execute_change_set(StackName=data_stack, ChangeSetName="import")
    status = lambda: cloudformation.describe_stacks(StackName=data_stack)["Stacks"][0]["StackStatus"]
    until("it is imported", lambda: status() == "IMPORT_COMPLETE")
    found = deploy_data(stage, FORMER)
    expect("the outputs are what the service has", found == given, (found, given))
    kept = ids_of(data_stack)
    expect("nothing was made anew", {name: kept[name] for name in moved} == moved, (kept, moved))
    active = lambda: {
        index["IndexName"]
        for index in dynamodb.describe_table(TableName=given["GrantsTableName"])["Table"]["GlobalSecondaryIndexes"]
        if index["IndexStatus"] == "ACTIVE"
    }
    until("the table has got the index that it lacked", lambda: active() == {"due", "reference"})


def dangers(stage):
    """The data's stack gets a topic and backups; the rules that CloudFormation made know the calls
    that endanger this data, and no others, by the emulator's own reading of their patterns."""
    outputs = deploy_data(stage, STACK, AlarmEmail="operations@example.com", BackupDays="30")
    expect("a topic for both stacks", outputs.pop("AlarmTopicArn", None), outputs)
    ids, events = ids_of(f"{STACK}-data"), client("events")
    made = wiring.of_type(render.source("data.yaml"), "AWS::Events::Rule")
    rules = {name: events.describe_rule(Name=ids[name].rpartition("|")[2])["EventPattern"] for name in made}
    real = {wiring.ARNS["AWS::KMS::Key"].format("DataKey"): stage.data["DataKeyArn"]}
    real |= {wiring.ARNS["AWS::SecretsManager::Secret"].format(name): stage.data[f"{name}Arn"] for name in ("AppSecret", "KeyringSecret")}
    for name in ("GrantsTable", "ShortLivedTable"):
        arn = client("dynamodb").describe_table(TableName=ids[name])["Table"]["TableArn"]
        real |= {f"{wiring.TABLE}{name}": arn, f'"{name}"': f'"{ids[name]}"'}
    real['"BackupVault"'] = f'"{ids["BackupVault"]}"'
    count = 0
    for expected, event in [*wiring.DANGERS, *((None, event) for event in wiring.HARMLESS)]:
        envelope = {"id": "1", "account": "000000000000", "time": "2026-01-01T00:00:00Z", "region": REGION, "resources": []}
        text = json.dumps(envelope | event)
        for written_as, found in real.items():
            text = text.replace(written_as, found)
        matching = [name for name, rule in rules.items() if events.test_event_pattern(EventPattern=rule, Event=text)["Result"]]
        expect("who is told", matching == [expected] * (expected is not None), (text, matching))
        count += 1
    return f"{len(rules)} rules, {count} calls"
