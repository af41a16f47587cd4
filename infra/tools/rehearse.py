"""A deployment rehearsed: the built functions and the template on an emulator of AWS that is not ours, against our sandbox of Threads.

Arguments: the folder of `sam build`'s result, the sandbox's line of JSON (`threads-auth dev --json`), `sam`, and our
command. AWS_ENDPOINT_URL is the emulator's, which enforces IAM: what a function's role does not allow fails here too. Prints each step as it passes.
"""

import json
import sys
import time

import least_privilege
from rehearsal import backends, deployment, doctor, events, people, rollback, runtimes, sweeps, watching
from rehearsal.stage import Stage

STEPS = [
    deployment.deploy,
    deployment.routes,
    deployment.unconfigured,
    deployment.configure,
    events.listen,
    people.login,
    doctor.drills,
    doctor.without_permissions,
    people.callback_of_another_browser,
    people.nowhere,
    backends.private_routes,
    backends.policies,
    backends.connect_session,
    backends.vending,
    backends.disconnecting,
    people.deauthorize,
    people.deletion,
    sweeps.sweep,
    sweeps.sweep_by_hand,
    events.arrive,
    sweeps.unclaimed,
    least_privilege.roles_hold_what_is_used,
    least_privilege.roles_matter,
    runtimes.under_the_runtime_emulator,
    runtimes.under_cargo_lambda,
    watching.metrics,
    deployment.upgrade,
    rollback.roll_back,
    watching.logs,
    watching.dead_letters,
]


def main(build, sandbox, sam, command):
    with open(sandbox) as file:
        stage = Stage(build, json.load(file), sam, command)
    for step in STEPS:
        began = time.monotonic()
        try:
            result = step(stage)
        except SystemExit:
            for group, message in watching.messages():
                print(group, message.rstrip(), file=sys.stderr)
            raise
        sentence = " ".join(step.__doc__.split())
        print(f"ok   {time.monotonic() - began:5.1f} s  {sentence}{f' ({result})' if result else ''}", flush=True)
    print(f"{len(STEPS)} passed, 0 failed")


if __name__ == "__main__":
    main(*sys.argv[1:])
