#!/usr/bin/env python3
"""Foreign clients against the sandbox: each logs in, exchanges twice, lets 25 hours pass and
refreshes, and a table says how.

    python tests/clients/run.py THREADS_AUTH OAUTH2_LOGIN FOLDER

THREADS_AUTH is the built command, whose `sandbox` is started here; OAUTH2_LOGIN the program of
`src/main.rs`; FOLDER has `clients.mjs` with its packages beside it. The Python packages are in
`requirements.txt`. The sandbox's own record of its calls decides. The table stands in the sandbox's
README, and the run fails if it differs there.

Clients are changed where they could not be run: addresses that are written into their code, checks
that refuse plain HTTP, the call that opens a browser, and a package that one of them loads and does
not need.
"""

import asyncio
import contextlib
import json
import logging
import os
import pathlib
import re
import subprocess
import sys
import types
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Callable
from unittest import mock
from urllib.parse import parse_qs, urldefrag, urlencode, urlsplit, urlunsplit

# pythreads asks for a certificate of the app's own, but not in CI. oauthlib asks for HTTPS.
os.environ |= {"CI": "true", "OAUTHLIB_INSECURE_TRANSPORT": "1", "NO_PROXY": "127.0.0.1"}
# threads-sdk's reports need it, and its tokens do not.
sys.modules["pandas"] = types.ModuleType("pandas")
sys.modules["pandas"].DataFrame = object

import httpx
import pythreads.threads
import requests
import threads.api as threads_sdk
from authlib.integrations.requests_client import OAuth2Session as Authlib
from httpx_oauth.oauth2 import BaseOAuth2
from pythreads.threads import Threads
from requests_oauthlib import OAuth2Session
from threads_client import ThreadsClient
from threadspipepy.threadspipe import ThreadsPipe

HERE = pathlib.Path(__file__).parent
README = HERE.parent.parent / "shared/threads-sandbox/README.md"
REDIRECT_URI = "https://app.example/callback"
SECONDS = 60
A_DAY_AND_AN_HOUR = 25 * 3600
META = "https://graph.threads.net"

LOGIN = [("authorize", 302), ("exchange_code", 200)]
REST = [("exchange_long_lived", 200), ("refresh", 200)]


class Sandbox:
    def __init__(self, program: str):
        self.process = subprocess.Popen(
            [program, "sandbox", "--port", "0", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        addresses = json.loads(self.process.stdout.readline())
        self.url, self.app_id, self.secret = (addresses[key] for key in ("threads_url", "app_id", "app_secret"))
        self.user_id = self.control("GET", "accounts")["accounts"][0]["user_id"]

    def control(self, method: str, path: str, body=None):
        answer = requests.request(method, f"{self.url}/control/{path}", json=body, timeout=SECONDS)
        answer.raise_for_status()
        return answer.json()

    def agree(self, page: str) -> str:
        """Opens a page at Threads as a browser would, but here, and presses Allow. Returns the
        address that then reaches the app's server, which gets no fragment."""
        own = urlsplit(self.url)
        query = f"{urlsplit(page).query}&auto_approve={self.user_id}"
        page = urlunsplit((own.scheme, own.netloc, urlsplit(page).path, query, ""))
        answer = requests.get(page, timeout=SECONDS, allow_redirects=False)
        return urldefrag(answer.headers["location"]).url

    def code(self, path: str = "oauth/authorize", **more) -> str:
        query = {"client_id": self.app_id, "redirect_uri": REDIRECT_URI, "scope": "threads_basic"} | more
        return code_in(self.agree(f"{self.url}/{path}?{urlencode(query)}"))

    def wait(self):
        self.control("POST", "clock", {"advance_seconds": A_DAY_AND_AN_HOUR})

    def form(self, code: str) -> dict:
        return {
            "client_id": self.app_id,
            "client_secret": self.secret,
            "grant_type": "authorization_code",
            "redirect_uri": REDIRECT_URI,
            "code": code,
        }

    def get(self, path: str, **query) -> dict:
        answer = requests.get(f"{self.url}/{path}", params=query, timeout=SECONDS)
        answer.raise_for_status()
        return answer.json()

    def rest(self, short: str, get: Callable | None = None):
        """The two calls that no OAuth library has, made with the library's own session where it has
        one."""
        get = get or (lambda url, **more: requests.get(url, timeout=SECONDS, **more))
        query = {"grant_type": "th_exchange_token", "client_secret": self.secret, "access_token": short}
        long = get(f"{self.url}/access_token", params=query).json()["access_token"]
        self.wait()
        query = {"grant_type": "th_refresh_token", "access_token": long}
        get(f"{self.url}/refresh_access_token", params=query).raise_for_status()


def code_in(location: str) -> str:
    return parse_qs(urlsplit(location).query)["code"][0]


def in_place_of_meta(sandbox: Sandbox, module):
    """Sends a module's requests for Meta to the sandbox, and refuses any other."""

    def redirected(real):
        def send(url, *rest, **more):
            url = url.replace(META, sandbox.url, 1)
            assert url.startswith(sandbox.url), "a request to somewhere else"
            return real(url, *rest, **({"timeout": SECONDS} | more))

        return send

    patches = contextlib.ExitStack()
    for name in ("get", "post"):
        patches.enter_context(mock.patch.object(module, name, redirected(getattr(module, name)), create=False))
    return patches


# The clients


def threadspipe(sandbox: Sandbox):
    pipe = ThreadsPipe(user_id=sandbox.user_id, access_token="none-yet", disable_logging=True)
    with in_place_of_meta(sandbox, requests), mock.patch("webbrowser.open") as browser:
        pipe.get_auth_token(sandbox.app_id, REDIRECT_URI, state="a-state")
        page = browser.call_args.args[0]
        assert urlsplit(page).path == "/oauth/authorize/", "ThreadsPipe has changed its address"
        got = pipe.get_access_tokens(sandbox.app_id, sandbox.secret, code_in(sandbox.agree(page)), REDIRECT_URI)
        assert str(got["user_id"]) == sandbox.user_id
        sandbox.wait()
        new = pipe.refresh_token(got["tokens"]["long_lived"]["access_token"])
        assert new["expires_in"] > 0, new.get("message")


def requests_oauthlib(**options):
    def run(sandbox: Sandbox):
        session = OAuth2Session(sandbox.app_id, redirect_uri=REDIRECT_URI, scope=["threads_basic"])
        page, _ = session.authorization_url(f"{sandbox.url}/oauth/authorize")
        token = session.fetch_token(
            f"{sandbox.url}/oauth/access_token", authorization_response=sandbox.agree(page),
            client_secret=sandbox.secret, timeout=SECONDS, **options,
        )
        sandbox.rest(token["access_token"], session.get)

    return run


def authlib(**options):
    def run(sandbox: Sandbox):
        session = Authlib(sandbox.app_id, sandbox.secret, scope="threads_basic", redirect_uri=REDIRECT_URI, **options)
        page, state = session.create_authorization_url(f"{sandbox.url}/oauth/authorize")
        session.fetch_token(
            f"{sandbox.url}/oauth/access_token", authorization_response=sandbox.agree(page), state=state, timeout=SECONDS
        )
        sandbox.rest(session.token["access_token"])

    return run


def httpx_oauth(**options):
    def run(sandbox: Sandbox):
        client = BaseOAuth2(
            sandbox.app_id, sandbox.secret, f"{sandbox.url}/oauth/authorize", f"{sandbox.url}/oauth/access_token", **options
        )

        async def login() -> str:
            page = await client.get_authorization_url(REDIRECT_URI, state="a-state", scope=["threads_basic"])
            return (await client.get_access_token(code_in(sandbox.agree(page)), REDIRECT_URI))["access_token"]

        sandbox.rest(asyncio.run(login()))

    return run


def pythreads_(sandbox: Sandbox):
    config = Threads.load_configuration(None, sandbox.app_id, sandbox.secret, REDIRECT_URI)
    with mock.patch.object(pythreads.threads, "GRAPH_API_BASE_URL", f"{sandbox.url}/"):
        page, state = Threads.authorization_url(config)
        credentials = Threads.complete_authorization(sandbox.agree(page), state, config=config)
        assert not credentials.short_lived and str(credentials.user_id) == sandbox.user_id
        sandbox.wait()
        Threads.refresh_long_lived_token(credentials)


def threads_client(sandbox: Sandbox):
    """It begins with a short-lived token."""
    short = requests.post(f"{sandbox.url}/oauth/access_token", data=sandbox.form(sandbox.code()), timeout=SECONDS)

    async def rest():
        async with httpx.AsyncClient(trust_env=False) as http:
            client = ThreadsClient(base_url=f"{sandbox.url}/v1.0", client=http)
            long = await client.tokens.exchange(short.json()["access_token"], sandbox.secret)
            sandbox.wait()
            await client.tokens.refresh(secret(long.access_token))

    asyncio.run(rest())


def secret(value) -> str:
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


def threads_sdk_(sandbox: Sandbox):
    """It begins with a short-lived token, and has no refresh."""
    short = requests.post(f"{sandbox.url}/oauth/access_token", data=sandbox.form(sandbox.code()), timeout=SECONDS).json()
    with in_place_of_meta(sandbox, requests):
        api = threads_sdk.ThreadsAPI(sandbox.user_id, short["access_token"], sandbox.secret)
        api.access_token = api.get_long_live_access_token()["access_token"]
        assert api.get_user_bio()["id"] == sandbox.user_id
    sandbox.wait()
    sandbox.get("v1.0/refresh_access_token", grant_type="th_refresh_token", access_token=api.access_token)


def sample(base: str):
    """The calls of fbsamples/threads_api, with `GRAPH_API_VERSION` and without; it has no
    refresh."""

    def run(sandbox: Sandbox):
        code = sandbox.code(scope="threads_basic,threads_content_publish,threads_delete", response_type="code")
        answer = requests.post(f"{sandbox.url}/{base}oauth/access_token", data=sandbox.form(code), timeout=SECONDS)
        short = answer.json()["access_token"]
        token = sandbox.get(
            f"{base}access_token", grant_type="th_exchange_token", client_secret=sandbox.secret, access_token=short
        )["access_token"]
        fields = "username,name,threads_profile_picture_url,threads_biography,is_verified"
        assert sandbox.get(f"{base}me", fields=fields, access_token=token)["id"] == sandbox.user_id
        # Its page of the token asks by the token itself, which is allowed to the app's testers.
        account = f"accounts/{sandbox.user_id}"
        sandbox.control("PATCH", account, {"tester": True})
        data = sandbox.get(f"{base}debug_token", input_token=token, access_token=token)["data"]
        sandbox.control("PATCH", account, {"tester": False})
        assert data["is_valid"] and data["user_id"] == sandbox.user_id
        sandbox.wait()
        sandbox.get(f"{base}refresh_access_token", grant_type="th_refresh_token", access_token=token)

    return run


def postman(sandbox: Sandbox):
    """The collection beside the sample: everything in the query, of a POST too, and nothing with a
    version."""
    form = sandbox.form(sandbox.code(response_type="code"))
    answer = requests.post(f"{sandbox.url}/oauth/access_token", params=form, data="", timeout=SECONDS)
    short = answer.json()["access_token"]
    token = sandbox.get(
        "access_token", grant_type="th_exchange_token", client_secret=sandbox.secret, access_token=short
    )["access_token"]
    fields = (
        "id,username,name,is_verified,threads_profile_picture_url,threads_biography,recently_searched_keywords,"
        "is_eligible_for_geo_gating"
    )
    assert sandbox.get("me", fields=fields, access_token=token)["id"] == sandbox.user_id
    app = sandbox.get(
        "oauth/access_token", grant_type="client_credentials", client_id=sandbox.app_id, client_secret=sandbox.secret
    )["access_token"]
    for caller in (app, f"TH|{sandbox.app_id}|{sandbox.secret}"):
        assert sandbox.get("debug_token", input_token=token, access_token=caller)["data"]["is_valid"]
    sandbox.wait()
    sandbox.get("refresh_access_token", grant_type="th_refresh_token", access_token=token)


def curl(sandbox: Sandbox):
    """The example of Meta's guide: a form of many parts."""
    options = [f'url = "{sandbox.url}/oauth/access_token"', 'noproxy = "*"', "silent", "fail"]
    options += [f'form-string = "{name}={value}"' for name, value in sandbox.form(sandbox.code(response_type="code")).items()]
    done = subprocess.run(
        ["curl", "--config", "-"], input="\n".join(options), capture_output=True, text=True, timeout=SECONDS, check=True
    )
    sandbox.rest(json.loads(done.stdout)["access_token"])


def postiz(sandbox: Sandbox):
    """The calls of gitroomhq/postiz-app: no response type, and the code in a GET."""
    answer = sandbox.get("oauth/access_token", **sandbox.form(sandbox.code(state="abc123")))
    sandbox.rest(answer["access_token"])


def program(*command: str):
    def run(sandbox: Sandbox):
        setting = {
            "url": sandbox.url,
            "app_id": sandbox.app_id,
            "app_secret": sandbox.secret,
            "redirect_uri": REDIRECT_URI,
            "user_id": sandbox.user_id,
            "seconds": A_DAY_AND_AN_HOUR,
        }
        done = subprocess.run(
            command, input=json.dumps(setting), capture_output=True, text=True, timeout=SECONDS, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr)

    return run


# The table


@dataclass
class Case:
    name: str
    version: str
    needs: str
    run: Callable
    here: str = "works"
    at_meta: str = "the same"
    # The calls that the sandbox gets, each with the status of its answer.
    calls: list = field(default_factory=lambda: LOGIN + REST)
    # A part of the client's error when it gives up.
    error: str | None = None
    token_type: bool = False

    def row(self) -> str:
        return f"| {self.name} | {self.version} | {self.needs} | {self.here} | {self.at_meta} |"


BASIC = {
    "here": "refused with code 101",
    "at_meta": "the same: it reads id and secret from parameters only",
    "calls": [("authorize", 302), ("exchange_code", 400)],
}
NO_TOKEN_TYPE = {
    "here": "gives up for want of `token_type`",
    "at_meta": "the same: it sends none with a short-lived token",
    "calls": LOGIN,
    "error": "token_type",
}
SWITCH = ", and the switch `exchange` on `with_token_type`"
OTHER_THAN_META = {"at_meta": "gives up", "token_type": True}
AS_IT_IS = "nothing"
BY_DEFAULT = "its default, HTTP Basic"


def cases(oauth2_login: str, folder: pathlib.Path) -> list[Case]:
    packages = json.loads((folder / "package.json").read_text())["dependencies"]

    def pypi(name: str, needs: str, run: Callable, **more) -> Case:
        return Case(f"{name} (PyPI)", version(name), needs, run, **more)

    def npm(name: str, needs: str, client: str | None = None, **more) -> Case:
        run = program("node", str(folder / "clients.mjs"), client or name)
        return Case(f"{name} (npm)", packages[name], needs, run, **more)

    def crate(needs: str, **more) -> Case:
        manifest = (HERE / "Cargo.toml").read_text()
        pinned = re.search(r'^oauth2 = \{ version = "=([^"]+)"', manifest, re.M)[1]
        return Case("oauth2 (crates.io)", pinned, needs, program(oauth2_login), **more)

    def sent(name: str, of: str, run: Callable, *between: str, needs: str = AS_IT_IS) -> Case:
        calls = [*LOGIN, REST[0], *((call, 200) for call in between), REST[1]]
        return Case(name, of, needs, run, calls=calls)

    tester = "a Threads tester, for its page of the token"

    return [
        sent("the calls of Meta's sample app", "January 2026", sample(""), "me", "debug_token", needs=tester),
        sent("the same with `GRAPH_API_VERSION=v1.0`", "", sample("v1.0/"), "me", "debug_token", needs=tester),
        sent("those of its Postman collection", "", postman, "me", "app_token", "debug_token", "debug_token"),
        sent("the `curl -F` of Meta's guide", "August 2026", curl),
        sent("the calls of Postiz", "2026", postiz),
        pypi("threadspipepy", AS_IT_IS, threadspipe),
        pypi("pythreads", AS_IT_IS, pythreads_),
        pypi("threads-client", "a short-lived token to begin with", threads_client),
        pypi("threads-sdk", "the same, and a refresh of one's own", threads_sdk_,
             calls=[*LOGIN, REST[0], ("me", 200), REST[1]]),
        pypi("requests-oauthlib", "`include_client_id=True`", requests_oauthlib(include_client_id=True)),
        pypi("requests-oauthlib", BY_DEFAULT, requests_oauthlib(), **BASIC, error="101"),
        pypi("Authlib", "`token_endpoint_auth_method=\"client_secret_post\"`",
             authlib(token_endpoint_auth_method="client_secret_post")),
        pypi("Authlib", BY_DEFAULT, authlib(), **BASIC, error="101"),
        pypi("httpx-oauth", "`token_endpoint_auth_method=\"client_secret_post\"`",
             httpx_oauth(token_endpoint_auth_method="client_secret_post")),
        npm("simple-oauth2", "`authorizationMethod: 'body'`"),
        npm("simple-oauth2", BY_DEFAULT, "simple-oauth2, basic", **BASIC, error="400"),
        npm("client-oauth2", "no `clientSecret`, but `body: { client_secret }`"),
        npm("passport-oauth2", AS_IT_IS),
        npm("oauth4webapi", "`ClientSecretPost`", **NO_TOKEN_TYPE),
        npm("oauth4webapi", f"`ClientSecretPost`{SWITCH}", **OTHER_THAN_META),
        npm("openid-client", "`ClientSecretPost`", **NO_TOKEN_TYPE),
        npm("openid-client", f"`ClientSecretPost`{SWITCH}", **OTHER_THAN_META),
        crate("`AuthType::RequestBody`", **NO_TOKEN_TYPE),
        crate(f"`AuthType::RequestBody`{SWITCH}", **OTHER_THAN_META),
    ]


def attempt(sandbox: Sandbox, case: Case) -> str | None:
    """Runs a case, and returns how it differs from what is written here, if it does."""
    sandbox.control("DELETE", "calls")
    sandbox.control("POST", "exchange", {"answer": "with_token_type" if case.token_type else "documented"})
    said = None
    try:
        case.run(sandbox)
    except Exception as error:
        said = re.sub(r"(THQVJ|AQB)[\w-]+|client_secret=[\w-]+", "(redacted)", f"{type(error).__name__}: {error}")
    calls = [(call["call"], call["status"]) for call in sandbox.control("GET", "calls")["calls"]]
    if calls != case.calls:
        return f"the sandbox was asked {calls}, and the client said {said}"
    if case.error is None and said is None or case.error and said and case.error in said:
        return None
    return f"the client said {said}"


def main():
    program_path, oauth2_login, folder = sys.argv[1:]
    # They log addresses, tokens included.
    logging.disable()
    sandbox = Sandbox(program_path)
    try:
        differ = []
        rows = ["| client | version | needs | here | at Meta |", "|---|---|---|---|---|"]
        print("\n".join(rows))
        for case in cases(oauth2_login, pathlib.Path(folder)):
            rows.append(case.row())
            difference = attempt(sandbox, case)
            print(f"{case.row()} DIFFERS: {difference}" if difference else case.row(), flush=True)
            if difference:
                differ.append(f"{case.name}, with {case.needs}: {difference}")
    finally:
        sandbox.process.terminate()
        sandbox.process.wait()
    table = "\n".join(rows)
    if differ:
        sys.exit("clients: FAILED\n" + "\n".join(differ))
    if f"\n{table}\n\n" not in README.read_text():
        sys.exit(f"clients: FAILED\nthe table in {README} is another than the one above")
    print(f"clients: {len(rows) - 2} ways to log in, each as the table says")


if __name__ == "__main__":
    main()
