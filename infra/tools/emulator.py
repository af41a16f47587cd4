"""Starts ministack with three gaps of its closed, in version 1.5.33:

API Gateway's payload format 2.0 hands a request's cookies over as a list of their own. It leaves them in the header `cookie`, where our
functions do not look, because AWS takes them out of there.

A secret that a template gives no value has none, and asking for it finds nothing. It gives such a secret an empty value.

CloudFormation imports secrets too.
"""

from ministack.app import main
from ministack.services import lambda_svc, secretsmanager
from ministack.services.cloudformation import provisioners

execute = lambda_svc._execute_function_with_config_scope
secret = provisioners._RESOURCE_HANDLERS["AWS::SecretsManager::Secret"]
create = secret["create"]


def with_cookies(record, event, *others, **named):
    if isinstance(event, dict) and event.get("version") == "2.0":
        if cookies := event["headers"].pop("cookie", None):
            event["cookies"] = [cookie.strip() for cookie in cookies.split(";")]
    return execute(record, event, *others, **named)


def without_value(logical_id, properties, stack_name):
    name, attributes = create(logical_id, properties, stack_name)
    if not {"SecretString", "GenerateSecretString"} & set(properties):
        secretsmanager._secrets[name]["Versions"] = {}
    return name, attributes


def imported(identifier):
    name, found = next((name, found) for name, found in secretsmanager._secrets.items() if found["ARN"] == identifier["Id"])
    return name, {"Id": found["ARN"], "Arn": found["ARN"]}


lambda_svc._execute_function_with_config_scope = with_cookies
secret["create"] = without_value
secret["import"] = imported

main()
