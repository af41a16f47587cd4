"""Starts ministack with six gaps of its closed, in version 1.5.33:

API Gateway's payload format 2.0 hands a request's cookies over as a list of their own. It leaves
them in the header `cookie`, where our functions do not look, because AWS takes them out of there.

A secret that a template gives no value has none, and asking for it finds nothing. It gives such a
secret an empty value.

`ExcludePunctuation` of a secret that a template has generated: it generates punctuation all the
same, which no header takes.

Dynamic references in a nested stack: it hands them on as they are written.

CloudFormation imports secrets too.

A deployment lets a function's invocations under way come to their end: it kills them, and whoever
called gets 502.
"""

import json
import secrets
import string
import threading
import time

from ministack.app import main
from ministack.core import lambda_runtime
from ministack.services import lambda_svc, secretsmanager
from ministack.services.cloudformation import engine, provisioners

execute = lambda_svc._execute_function_with_config_scope
secret = provisioners._RESOURCE_HANDLERS["AWS::SecretsManager::Secret"]
create = secret["create"]


def with_cookies(record, event, *others, **named):
    if isinstance(event, dict) and event.get("version") == "2.0":
        if cookies := event["headers"].pop("cookie", None):
            event["cookies"] = [cookie.strip() for cookie in cookies.split(";")]
    return execute(record, event, *others, **named)


def with_value(logical_id, properties, stack_name):
    """A secret with the value that AWS would give it."""
    generator = properties.get("GenerateSecretString", {})
    if generator.get("ExcludePunctuation"):
        value = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(int(generator["PasswordLength"])))
        text = json.dumps({**json.loads(generator["SecretStringTemplate"]), generator["GenerateStringKey"]: value})
        properties = {key: kept for key, kept in properties.items() if key != "GenerateSecretString"} | {"SecretString": text}
    name, attributes = create(logical_id, properties, stack_name)
    if not {"SecretString", "GenerateSecretString"} & set(properties):
        secretsmanager._secrets[name]["Versions"] = {}
    return name, attributes


def imported(identifier):
    name, found = next((name, found) for name, found in secretsmanager._secrets.items() if found["ARN"] == identifier["Id"])
    return name, {"Id": found["ARN"], "Arn": found["ARN"]}


def with_references(handle):
    """A handler of a resource that is given what its references lead to."""

    def resolved(*arguments, **named):
        return handle(*(engine._resolve_dynamic_references(argument)[0] for argument in arguments), **named)

    return resolved


invalidate, kill = lambda_svc.invalidate_worker, lambda_runtime.kill_workers
replacing = threading.local()


def when_replaced(*arguments, **named):
    """`invalidate_worker`, whose workers may end the invocation that they are at."""
    replacing.now = True
    try:
        invalidate(*arguments, **named)
    finally:
        replacing.now = False


def at_their_end(workers):
    busy = [worker for worker in workers if worker.in_use] if getattr(replacing, "now", False) else []
    kill([worker for worker in workers if worker not in busy])
    if busy:
        # Elsewhere: what they wait for may be what this thread serves.
        threading.Thread(target=kill_once_idle, args=(busy,), daemon=True).start()


def kill_once_idle(workers):
    while any(worker.in_use for worker in workers):
        time.sleep(0.02)
    kill(workers)


distribution = provisioners._RESOURCE_HANDLERS["AWS::CloudFront::Distribution"]
for verb in ("create", "update"):
    distribution[verb] = with_references(distribution[verb])
lambda_svc._execute_function_with_config_scope = with_cookies
lambda_svc.invalidate_worker = when_replaced
lambda_runtime.kill_workers = at_their_end
secret["create"] = with_value
secret["import"] = imported

main()
