#!/usr/bin/env python3
"""One whole flow with the client that openapi-python-client makes of the OpenAPI document.

    threads-auth dev --ephemeral --port 0 --json > dev.json &
    openapi-python-client generate --path functions/openapi.yaml --meta none \
        --output-path FOLDER/threads_auth_client --config tests/openapi/generated/python.yaml
    PYTHONPATH=FOLDER python tests/openapi/generated/flow.py dev.json
"""

import json
import os
import sys

import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from threads_auth_client import Client
from threads_auth_client.api.accounts import disconnect_account, get_account, list_accounts, vend_token
from threads_auth_client.api.sessions import complete_session, create_session, get_session
from threads_auth_client.models import (
    AccountPage,
    ConnectedAccount,
    Disconnected,
    Error,
    GatewayMessage,
    KnownAccountStatus,
    KnownCause,
    KnownErrorCode,
    NeedsPerson,
    NewSession,
    Problem,
    Session,
    SessionCompletion,
    VendedToken,
)


class Signature(httpx.Auth):
    requires_request_body = True

    def __init__(self, addresses: dict):
        credentials = Credentials(addresses["access_key_id"], addresses["secret_access_key"])
        self.signer = SigV4Auth(credentials, "execute-api", addresses["region"])

    def auth_flow(self, request: httpx.Request):
        signed = AWSRequest(request.method, str(request.url), data=request.content)
        self.signer.add_auth(signed)
        request.headers.update(dict(signed.headers.items()))
        yield request


def consent(url: str, user_id: str) -> str:
    """Plays the person's browser: the code with which it comes back."""
    with httpx.Client() as browser:
        at_meta = browser.get(url).headers["location"]
        back = browser.get(f"{at_meta}&auto_approve={user_id}").headers["location"]
        landed = httpx.URL(browser.get(back.split("#")[0]).headers["location"])
    return landed.params["completion"]


def main():
    addresses = json.load(open(sys.argv[1], encoding="utf-8"))
    client = Client(
        addresses["service_url"].rstrip("/"), httpx_args={"auth": Signature(addresses)}, raise_on_unexpected_status=True
    )
    new = {"username": f"python{os.getpid()}"}
    user_id = httpx.post(f"{addresses['threads_url']}/control/accounts", json=new).json()["user_id"]

    session = create_session.sync(client=client, body=NewSession("user-7", "http://127.0.0.1:4000/done"))
    assert isinstance(session, Session), session
    completion = consent(session.url, user_id)
    wrong = complete_session.sync(session.id, client=client, body=SessionCompletion(completion, "user-8"))
    assert isinstance(wrong, Error) and wrong.error.code == KnownErrorCode.WRONG_REFERENCE, wrong
    connected = complete_session.sync(session.id, client=client, body=SessionCompletion(completion, "user-7"))
    assert isinstance(connected, ConnectedAccount) and connected.user_id == user_id, connected
    assert get_session.sync(session.id, client=client).status == "connected"

    vended = vend_token.sync(user_id, client=client, min_valid=3600)
    assert isinstance(vended, VendedToken), vended
    me = httpx.get(f"{addresses['threads_url']}/v1.0/me", params={"access_token": vended.access_token})
    assert me.json()["id"] == user_id, me.text

    found, more = [], {}
    while more is not None:
        page = list_accounts.sync(client=client, status=KnownAccountStatus.ACTIVE, limit=2, **more)
        assert isinstance(page, AccountPage), page
        found.extend(account.user_id for account in page.users)
        more = {"cursor": page.cursor} if page.cursor else None
    assert user_id in found, found

    ended = disconnect_account.sync(user_id, client=client)
    assert isinstance(ended, Disconnected), ended
    refused = vend_token.sync(user_id, client=client)
    assert isinstance(refused, NeedsPerson) and refused.error.cause == KnownCause.APP, refused
    assert get_account.sync(user_id, client=client).status == KnownAccountStatus.REVOKED
    again = create_session.sync(
        client=client,
        body=NewSession("user-7", "http://127.0.0.1:4000/done", user_id=refused.reconnect.body.user_id),
    )
    assert isinstance(again, Session), again

    # Words that a later version may have, and the answers that API Gateway gives by itself.
    later = Problem.from_dict({"code": "of_a_later_version", "message": "a text", "field": "of a later version"})
    assert later.code == "of_a_later_version"
    by_itself = {403: "Forbidden", 429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}
    for status, message in by_itself.items():
        answer = httpx.Response(status, json={"message": message})
        gateway = httpx.MockTransport(lambda _, answer=answer: answer)
        refused = vend_token.sync(user_id, client=Client("http://gateway", httpx_args={"transport": gateway}))
        assert isinstance(refused, GatewayMessage) and refused.message == message, refused
    print("openapi-python-client: connected, vended, listed, disconnected")


main()
