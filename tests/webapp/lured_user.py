"""Threat lured-user: somebody is tricked into connecting their Threads account to somebody else's
user of the app.

Vera is the victim, Mallory the attacker; each has a jar of cookies, a user of the app and a Threads
account. Mallory can make Vera open any address, reads whatever the app or a page shows to him, and
sees addresses that Vera's browser was sent to, where it says so.
"""

import secrets
import string
from urllib.parse import parse_qs, urlencode, urlsplit

from stack import APP, Jar, Stack, check

GUESSES = 100


class Scene:
    """The two, and what they are allowed to end up with: the attempts are counted here."""

    def __init__(self, stack: Stack):
        self.vera, self.mallory = Jar().sign_in("Vera"), Jar().sign_in("Mallory")
        self.veras, self.mallorys = stack.account("vera"), stack.account("mallory")
        self.attempts, self.links, self.expected = 0, 0, {"Vera": "", "Mallory": ""}

    def attempt(self, jar: Jar, url: str, **parameters):
        """Opens an address in one of the browsers, follows it to its end, and looks for a link that
        should not be."""
        self.attempts += 1
        jar.get(url, params=parameters)
        self.look()

    def look(self):
        found = {shown["user"]: shown["account"] for shown in (self.vera.shown(), self.mallory.shown())}
        if found != self.expected:
            print(f"webapp: threat lured-user: attempt {self.attempts} linked an account", flush=True)
            self.links += 1
            self.expected = found


def back(url: str) -> tuple[str, str]:
    """The session and the completion code in an address that leads back to the app."""
    query = parse_qs(urlsplit(url).query)
    return query["session_id"][0], query["completion"][0]


def lures(stack: Stack, scene: Scene):
    """Vera opens what Mallory sends her."""
    vera, mallory = scene.vera, scene.mallory
    # The whole of it: his session, her consent. She comes back as herself, and the session is not
    # hers.
    for victim in (vera, Jar(), vera):
        scene.attempt(victim, victim.consent(mallory.start(), scene.veras))
    # The consent page of his flow: she comes back to us with his state, and without his cookie.
    before = calls(stack)
    meta_url = mallory.at_meta(mallory.start())
    scene.attempt(vera, vera.agree(meta_url, scene.veras))
    # His own callback, with a good code for his own account.
    scene.attempt(vera, mallory.agree(mallory.at_meta(mallory.start()), scene.mallorys))
    check("a flow of another browser costs Meta no call", calls(stack) == before, say=False)
    # His own account, ready to be completed, so that she would post to it.
    returned = mallory.consent(mallory.start(), scene.mallorys)
    session_id, completion = back(returned)
    scene.attempt(vera, returned)
    hers = vera.start().partition("session=")[2]
    scene.attempt(vera, f"{APP}/connected", session_id=hers, completion=completion)
    scene.attempt(vera, f"{APP}/connected?{urlencode({'session_id': session_id})}&session_id={hers}&completion={completion}")
    scene.attempt(vera, f"{APP}/connected?{urlencode({'session_id': hers})}&session_id={session_id}&completion={completion}")


def calls(stack: Stack) -> int:
    return stack.control("GET", "state")["calls"].get("exchange_code", 0)


def replays(stack: Stack, scene: Scene):
    """Mallory has the address by which Vera's browser came back."""
    vera, mallory = scene.vera, scene.mallory
    returned = vera.consent(vera.start(), scene.veras)
    session_id, completion = back(returned)
    his = mallory.start().partition("session=")[2]
    lured = back(vera.consent(mallory.start(), scene.veras))[0]
    for jar in (mallory, Jar()):
        scene.attempt(jar, returned)
        scene.attempt(jar, f"{APP}/connected", session_id=session_id)
    for mixed in (his, lured):
        scene.attempt(mallory, f"{APP}/connected", session_id=mixed, completion=completion)
    # None of that has spent it.
    scene.expected["Vera"] = scene.veras
    vera.get(returned)
    check("the victim's own connection still succeeds", vera.shown()["account"] == scene.veras, say=False)
    # And now it is spent, for everybody but her, who may load the page again.
    for jar in (mallory, vera):
        scene.attempt(jar, returned)

    def redeem(user: str) -> int:
        body = {"completion": completion, "reference": user}
        return stack.call("POST", f"/sessions/{session_id}/complete", body).status_code

    check("a code is redeemed by one user", (redeem("Mallory"), redeem("Vera")) == (403, 200), say=False)
    stack.advance(600)
    check("and after ten minutes by nobody", (redeem("Mallory"), redeem("Vera")) == (409, 409), say=False)


def guesses(stack: Stack, scene: Scene):
    """Vera was lured into Mallory's session, so that one code is all that he lacks. The app lets
    him try: the session is his."""
    vera, mallory = scene.vera, scene.mallory
    session_id, code = back(vera.consent(mallory.start(), scene.veras))
    elsewhere = back(vera.consent(vera.start(), scene.veras))[1]
    told = stack.call("GET", f"/sessions/{session_id}").text
    check("a session tells nobody who came back", scene.veras not in told and '"connected"' in told, say=False)

    def other(letter: str) -> str:
        return "b" if letter == "a" else "a"

    near = [code[:n] + other(code[n]) + code[n + 1:] for n in range(len(code))]
    shapes = ["", "a", code[:-1], code[1:], code + "a", code + "=", " " + code, code + "\n", code + "\0", code.swapcase(),
              code * 2, elsewhere, session_id, "null", "[]", "*", "a" * 5_000]
    alphabet = string.ascii_letters + string.digits + "-_"
    random = ["".join(secrets.choice(alphabet) for _ in code) for _ in range(GUESSES)]
    for guess in near + shapes + random:
        scene.attempt(mallory, f"{APP}/connected", session_id=session_id, completion=guess)
    scene.attempt(mallory, f"{APP}/connected", session_id=session_id)
    for wrong in (None, 1, [code], {"is": code}, True):
        answer = stack.call("POST", f"/sessions/{session_id}/complete", {"completion": wrong, "reference": "Mallory"})
        check("a code of another type is refused", answer.status_code == 400, say=False)
        scene.attempts += 1
    # He was one code away all the time: only it would have told him.
    answer = stack.call("POST", f"/sessions/{session_id}/complete", {"completion": code, "reference": "Mallory"})
    check("only the code itself would have done it", answer.ok and answer.json()["user_id"] == scene.veras, say=False)

    # Another one, too late.
    session_id, code = back(vera.consent(mallory.start(), scene.veras))
    stack.advance(1_801)
    late = stack.call("POST", f"/sessions/{session_id}/complete", {"completion": code, "reference": "Mallory"})
    check("a code ends with its session", late.status_code == 410, say=False)
    scene.attempt(mallory, f"{APP}/connected", session_id=session_id, completion=code)


def attacks(stack: Stack):
    scene = Scene(stack)
    for part in (lures, replays, guesses):
        before = scene.attempts
        part(stack, scene)
        print(f"webapp: threat lured-user: {part.__name__}: {scene.attempts - before} attempts", flush=True)
    scene.look()
    check(f"threat lured-user: {scene.attempts} attempts, {scene.links} links", scene.links == 0)
