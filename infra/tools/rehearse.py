"""A deployment rehearsed: the built functions and the template on an emulator of AWS that is not
ours, against our sandbox of Threads.

Arguments: the folder of `sam build`'s result, the sandbox's line of JSON
(`threads-auth dev --json`), `sam`, and our command; then `drills`, if these are to be made instead
of the steps. AWS_ENDPOINT_URL is the emulator's, which enforces IAM: what a function's role does
not allow fails here too. Prints each step as it passes.
"""

import json
import sys
import time

import least_privilege
from rehearsal import (
    backends,
    damage,
    deployment,
    doctor,
    edge,
    events,
    first_deployment,
    letters,
    lost_data,
    operators,
    people,
    rollback,
    runtimes,
    sweeps,
    two_stacks,
    watching,
)
from rehearsal.stage import Stage

STEPS = [
    deployment.data,
    first_deployment.a_name_that_is_taken,
    deployment.deploy,
    deployment.routes,
    deployment.unconfigured,
    letters.unconfigured,
    deployment.configure,
    events.listen,
    people.login,
    doctor.drills,
    doctor.without_permissions,
    damage.spoilt_rows,
    damage.lost_keys,
    damage.test_alarm,
    people.callback_of_another_browser,
    people.nowhere,
    backends.private_routes,
    backends.permissions,
    backends.connect_session,
    backends.vending,
    backends.references,
    backends.disconnecting,
    people.deauthorize,
    people.deletion,
    sweeps.sweep,
    sweeps.sweep_by_hand,
    events.arrive,
    sweeps.unclaimed,
    operators.people_hold_enough,
    least_privilege.roles_hold_what_is_used,
    least_privilege.roles_matter,
    letters.given_up,
    letters.purged,
    runtimes.under_the_runtime_emulator,
    runtimes.under_cargo_lambda,
    watching.metrics,
    deployment.upgrade,
    rollback.roll_back,
    edge.backends_move,
    edge.moves_in_front,
    edge.changes_its_secret,
    edge.comes_again,
    edge.goes,
    watching.logs,
    watching.dead_letters,
]

# `.ci/full drills` makes these, which take longer.
DRILLS = [
    deployment.data,
    first_deployment.without_data,
    deployment.deploy,
    deployment.configure,
    lost_data.upgraded_keyring,
    people.login,
    backends.permissions,
    deployment.vend,
    two_stacks.beside,
    two_stacks.doctors,
    first_deployment.deleted,
    lost_data.dangers,
    lost_data.a_lost_table,
    lost_data.a_stack_of_before,
]


def main(build, sandbox, sam, command, part="steps"):
    with open(sandbox) as file:
        stage = Stage(build, json.load(file), sam, command)
    steps = DRILLS if part == "drills" else STEPS
    for step in steps:
        began = time.monotonic()
        try:
            result = step(stage)
        except SystemExit:
            for group, message in watching.messages():
                print(group, message.rstrip(), file=sys.stderr)
            raise
        sentence = " ".join(step.__doc__.split())
        print(f"ok   {time.monotonic() - began:5.1f} s  {sentence}{f' ({result})' if result else ''}", flush=True)
    print(f"{len(steps)} passed, 0 failed")


if __name__ == "__main__":
    main(*sys.argv[1:])
