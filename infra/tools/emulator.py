"""Starts ministack with one gap of its closed: API Gateway's payload format 2.0 hands a request's cookies over as a list of their own.

Version 1.5.33 leaves them in the header `cookie`, where our functions do not look, because AWS takes them out of there.
"""

from ministack.app import main
from ministack.services import lambda_svc

execute = lambda_svc._execute_function_with_config_scope


def with_cookies(record, event, *others, **named):
    if isinstance(event, dict) and event.get("version") == "2.0":
        if cookies := event["headers"].pop("cookie", None):
            event["cookies"] = [cookie.strip() for cookie in cookies.split(";")]
    return execute(record, event, *others, **named)


lambda_svc._execute_function_with_config_scope = with_cookies

main()
