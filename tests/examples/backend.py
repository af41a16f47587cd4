"""An app's backend in Python: three calls, signed by botocore (`pip install boto3 requests`).

    python backend.py start user-7                 a session: send the person to its url
    python backend.py complete SESSION COMPLETION USER
                                                   who came back, for the user who is logged in
    python backend.py token USER_ID                a token that works

It reads THREADS_AUTH_URL (the stack's ApiUrl), AWS_REGION, and credentials as every program of AWS
does.
"""

import json
import os
import sys
import time

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.session import Session


def call(method: str, path: str, body: dict | None = None) -> tuple[int, dict]:
    url = os.environ["THREADS_AUTH_URL"].rstrip("/") + path
    data = json.dumps(body) if body is not None else None
    request = AWSRequest(method, url, data=data, headers={"content-type": "application/json"})
    SigV4Auth(Session().get_credentials(), "execute-api", os.environ["AWS_REGION"]).add_auth(request)
    for _ in range(5):
        answer = requests.request(method, url, data=data, headers=dict(request.headers), timeout=30)
        if answer.status_code != 503:
            break
        time.sleep(int(answer.headers["retry-after"]))
    return answer.status_code, answer.json()


def main(command: str, *given: str) -> tuple[int, dict]:
    match command, given:
        case "start", [reference]:
            return call("POST", "/sessions", {"reference": reference, "return_to": os.environ.get("RETURN_TO")})
        case "complete", [session, completion, logged_in]:
            # The user who is logged in now, from your own session: not from an address.
            return call("POST", f"/sessions/{session}/complete", {"completion": completion, "reference": logged_in})
        case "token", [user_id]:
            status, answer = call("GET", f"/users/{user_id}/token?min_valid=3600")
            if status == 409:
                # The person has to come back: the answer has the session for that, but for your
                # fields.
                body = answer["reconnect"]["body"] | {"reference": "user-7", "return_to": os.environ.get("RETURN_TO")}
                return call("POST", "/sessions", body)
            return status, answer
    sys.exit(__doc__)


status, answer = main(*(sys.argv[1:] or [""]))
print(json.dumps(answer))
sys.exit(status >= 400)
