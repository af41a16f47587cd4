"""Events are posted to an app's backend, with WebhookUrl and without a trace of it otherwise."""

import base64
import hashlib
import hmac
import http.server
import json
import queue
import threading

import least_privilege

from . import people
from .deployment import sam_deploy
from .operators import filled, holder, operate
from .stage import PATIENCE, client, expect


class Receiver:
    """A backend that answers as it is told, and remembers what was posted."""

    def __init__(self):
        receiver = self
        self.posts, self.answers = queue.Queue(), []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.posts.put((dict(self.headers.items()), body))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}/threads"

    def next(self, secret):
        """The next event, with its id and for each signature whether the secret has made it."""
        headers, body = self.posts.get(timeout=PATIENCE)
        event_id, at = headers["webhook-id"], headers["webhook-timestamp"]
        key = base64.b64decode(secret.removeprefix("whsec_"))
        made = hmac.new(key, f"{event_id}.{at}.".encode() + body, hashlib.sha256).digest()
        expected = f"v1,{base64.b64encode(made).decode()}"
        return json.loads(body), event_id, [one == expected for one in headers["webhook-signature"].split(" ")]


def told(stage, *arguments, **environment):
    """A command's result, of one that succeeds."""
    code, report, said = operate(stage, *arguments, **environment)
    expect(f"{arguments}", code == 0, (code, report, said))
    return report


def posted(stage):
    """With WebhookUrl every event is posted, signed with both secrets after a rotation. One that a
    backend has refused comes again, and one that it wants no more is a dead letter and comes back
    from there. The function's role allows what it uses, and an operator's policy opens the
    secret."""
    # Its roots are Mozilla's, which no certificate of this machine leads to: so the address is
    # changed to one on loopback, where the function takes plain http.
    sam_deploy(stage, LogLevel="TRACE", WebhookUrl="https://webhook.rehearsal.test/threads")
    operator = holder(stage, "webhooks", filled(stage, "operate"))
    before = told(stage, "webhook", "secret", **operator)["secret"]
    told(stage, "webhook", "rotate", **operator)
    secret = told(stage, "webhook", "secret", **operator)["secret"]
    stage.canaries += [one.removeprefix("whsec_") for one in (before, secret)]
    receiver, function = Receiver(), stage.ids["WebhookFunction"]
    receiver.answers += [500]
    variables = client("lambda").get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    changed = {**variables, "WEBHOOK_URL": receiver.url}
    client("lambda").update_function_configuration(FunctionName=function, Environment={"Variables": changed})
    wanda, _ = people.connect(stage, "wanda")
    (first, first_id, by_new), (again, again_id, _) = receiver.next(secret), receiver.next(secret)
    expect("her event", (first["type"], first["user_id"]) == ("account.connected", wanda), first)
    expect("the same once more", (again, again_id) == (first, first_id) and first_id == first["id"], (first, again))
    expect("two signatures, of the new secret first", by_new == [True, False], by_new)

    receiver.answers += [410]
    bus = stage.outputs["EventBusName"]
    event = {"id": "rehearsal:account.refreshed", "type": "account.refreshed", "user_id": wanda}
    entry = {"EventBusName": bus, "Source": "threads-auth", "DetailType": event["type"], "Detail": json.dumps(event)}
    client("events").put_events(Entries=[entry])
    expect("the event", receiver.next(before)[2] == [False, True])
    letters = []
    while not letters:
        letters = told(stage, "dead-letters", "show")["letters"]
    known = [(letter["queue"], letter["reason"], letter["event_id"], letter["user_ids"]) for letter in letters]
    expect("one letter", known == [("webhook", "gone", event["id"], [wanda])], letters)
    told(stage, "dead-letters", "replay", "--id", event["id"])
    expect("it is posted again", receiver.next(secret)[:2] == (event, event["id"]))
    expect("no letter", told(stage, "dead-letters", "show")["letters"] == [])
    least_privilege.roles_hold_what_is_used(stage, ("Webhook",))
    return "4 deliveries of 2 events"


def gone(stage):
    """Without WebhookUrl nothing of it is left."""
    # SAM takes an empty value in quotation marks only.
    sam_deploy(stage, LogLevel="TRACE", WebhookUrl='""')
    left = [name for name in (*stage.ids, *stage.outputs) if name.startswith("Webhook")]
    expect("nothing is left", left == [], left)
