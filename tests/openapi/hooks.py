"""Signs schemathesis' calls of the backend's routes as AWS does, by botocore."""

import json
import os
from urllib.parse import urlsplit

import schemathesis
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ADDRESSES = json.load(open(os.environ["DEV_JSON"], encoding="utf-8"))
CREDENTIALS = Credentials(ADDRESSES["access_key_id"], ADDRESSES["secret_access_key"])


class Signature:
    """Signs what is about to be sent, to the byte."""

    def __call__(self, request):
        signed = AWSRequest(request.method, request.url, data=request.body or b"")
        signed.headers["Host"] = urlsplit(request.url).netloc
        SigV4Auth(CREDENTIALS, "execute-api", ADDRESSES["region"]).add_auth(signed)
        request.headers.update(dict(signed.headers.items()))
        return request


schemathesis.auth.set_from_requests(Signature()).apply_to(path_regex="^/(sessions|users)")
