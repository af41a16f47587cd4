"""Two services in one account, whose names begin alike."""

from .deployment import deploy_data, deployed, for_the_emulator, ids_of, parameters, sam
from .operators import operate
from .stage import STACK, client, expect

OTHER = f"{STACK}-dev"


def beside(stage):
    """A second service with its own data is deployed beside the first one, whose resources stay
    what they are."""
    before = ids_of(STACK)
    data = deploy_data(stage, OTHER)
    template, _ = for_the_emulator(stage)
    changed = data | {"DomainName": "dev.rehearsal.test"}
    deployed(sam(stage, template, OTHER, **parameters(stage, **changed)))
    expect("the first one is what it was", ids_of(STACK) == before)
    # Each API has a stage of this name.
    shared = set(ids_of(OTHER).values()) & set(before.values()) - {"$default"}
    expect("nothing is shared", not shared, shared)


def doctors(stage):
    """`threads-auth doctor` of each sees its own alarms and functions, and not the other one's."""
    alarms = client("cloudwatch")
    for stack in (STACK, OTHER):
        for name in ids_of(stack):
            if name.endswith("Alarm"):
                alarms.set_alarm_state(AlarmName=ids_of(stack)[name], StateValue="OK", StateReason="rehearsed")
    alarms.set_alarm_state(AlarmName=f"{OTHER}-sweep-missed", StateValue="ALARM", StateReason="rehearsed")
    expect("the other one rings", "sweep-missed" in alarms_of(stage, OTHER)["detail"], alarms_of(stage, OTHER))
    expect("and the first does not", alarms_of(stage, STACK)["level"] == "ok", alarms_of(stage, STACK))
    alarms.delete_alarms(AlarmNames=[f"{STACK}-sweep-missed"])
    found = alarms_of(stage, STACK)
    expect("an alarm that only the other one has is gone", "gone: sweep-missed" in found["detail"], found)


def alarms_of(stage, stack):
    _, report, said = operate(stage, "doctor", stack=stack)
    expect("doctor looks", "checks" in report, said)
    return next(one for one in report["checks"] if one["check"] == "alarms")
