"""The wire of leader and follower, written from its description alone, with Python's standard library alone.

Nothing in here was translated from the Rust programs: where both agree, the description is complete. The parts that the
vectors already needed (key derivation, key exchange, signature bases, sealing) are those of `../vectors/check.py`.
"""

import base64
import hmac
import http.client
import json
import os
import pathlib
import re
import sys
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "vectors"))
import check  # noqa: E402

SEALED_BUNDLE = "application/vnd.pconf.bundle+sealed"
SEALED_REPORT = "application/vnd.pconf.report+sealed"
SEALED_IDENTITY = "application/vnd.pconf.identity+sealed"

# Directions: who signs.
FOLLOWER, LEADER = "f2l", "l2f"


class Distrust(Exception):
    """A message that is not to be believed, and why."""


def unpadded(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def from_unpadded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# --- keys -----------------------------------------------------------------------------------------------------------

class Key:
    """One version of the key that one machine shares with its leader."""

    def __init__(self, key_id, secret):
        self.id, self.secret = key_id, secret

    @classmethod
    def parse(cls, text):
        """`MACHINE.VERSION BASE64URL`"""
        key_id, secret = text.split()
        return cls(key_id, from_unpadded(secret))

    @property
    def machine(self):
        return self.id.rpartition(".")[0]

    def derive(self, purpose):
        return check.derive(self.secret, self.id, purpose)


# --- seals ----------------------------------------------------------------------------------------------------------

def open_seal(key, associated, sealed):
    nonce, ciphertext = sealed[:24], sealed[24:-16]
    # A stream cipher is its own inverse, and sealing what came out gives the same bytes again, if they are good.
    plaintext = check.seal(key, nonce, b"", ciphertext)[24:-16]
    if not hmac.compare_digest(check.seal(key, nonce, associated, plaintext), sealed):
        raise Distrust("the seal does not fit")
    return plaintext


def associated(key, *names):
    return "\0".join(("pconf-v1", key.id) + names).encode()


def seal(key, direction, names, plaintext):
    return check.seal(key.derive("seal " + direction), os.urandom(24), associated(key, *names), plaintext)


def unseal(key, direction, names, sealed):
    return open_seal(key.derive("seal " + direction), associated(key, *names), sealed)


# --- messages -------------------------------------------------------------------------------------------------------

class Target:
    """What a request asks of whom."""

    def __init__(self, method, authority, path):
        path, _, query = path.partition("?")
        self.method, self.authority, self.path, self.query = method, authority, path, query

    def components(self, suffix=""):
        return check.target(vars(self), suffix)


def once(headers, name):
    values = [value for other, value in headers if other.lower() == name]
    if len(values) > 1:
        raise Distrust("`%s` is there twice" % name)
    return values[0] if values else None


def covered_fields(headers, names):
    present = [(name, once(headers, name)) for name in names]
    return [('"%s"' % name, value) for name, value in present if value is not None]


def request_base(target, headers, digest):
    return target.components() + [('"content-digest"', digest)] + covered_fields(headers, check.REQUEST_FIELDS)


def answer_base(status, target, signature, headers, digest):
    components = [('"@status"', str(status)), ('"content-digest"', digest)]
    components += covered_fields(headers, check.ANSWER_FIELDS) + target.components(";req")
    return components + [('"signature";req;key="req"', signature)]


def attach(headers, digest, outcome):
    return headers + [("content-digest", digest), ("signature-input", outcome["signature-input"]),
                      ("signature", outcome["signature"])]


def sign_request(key, direction, target, headers, body, now):
    """The signed headers, and the signature that the answer has to name."""
    digest = check.content_digest(body)
    parameters = ';created=%d;expires=%d;nonce="%s";alg="hmac-sha256";keyid="%s";tag="pconf-v1"' % (
        now, now + 60, unpadded(os.urandom(16)), key.id)
    outcome = check.signed("req", request_base(target, headers, digest), parameters, key.derive("mac " + direction))
    return attach(headers, digest, outcome), outcome["signature"].removeprefix("req=")


def sign_answer(key, direction, target, signature, status, headers, body, now):
    digest = check.content_digest(body)
    parameters = ';created=%d;alg="hmac-sha256";keyid="%s";tag="pconf-v1"' % (now, key.id)
    components = answer_base(status, target, signature, headers, digest)
    return attach(headers, digest, check.signed("res", components, parameters, key.derive("mac " + direction)))


def verified(label, pattern, components, headers, body, keys, direction):
    """The parameters of a good signature over `components`, and the key that made it."""
    if once(headers, "content-encoding") is not None:
        raise Distrust("a coding")
    given, signature = once(headers, "signature-input"), once(headers, "signature")
    if given is None or signature is None:
        raise Distrust("no signature")
    # Whatever is not written exactly as we would write it does not match: order, spelling and number are fixed.
    covered = "%s=(%s)" % (label, " ".join(name for name, _ in components))
    found = re.fullmatch(re.escape(covered) + pattern, given)
    if not found:
        raise Distrust("the signature covers something else: %s" % given)
    key = keys.get(found["keyid"])
    if key is None:
        raise Distrust("the key `%s` is unknown" % found["keyid"])
    expected = check.signed(label, components, given[len(covered):], key.derive("mac " + direction))
    if not hmac.compare_digest(expected["signature"], signature):
        raise Distrust("the MAC is not good")
    if not hmac.compare_digest(once(headers, "content-digest") or "", check.content_digest(body)):
        raise Distrust("the body is another")
    return found, key


PARAMETERS = r';alg="hmac-sha256";keyid="(?P<keyid>[A-Za-z0-9._~-]{1,128})";tag="pconf-v1"'
REQUEST_PARAMETERS = r';created=(?P<created>\d+);expires=(?P<expires>\d+);nonce="(?P<nonce>[\w-]{22,64})"' + PARAMETERS
ANSWER_PARAMETERS = r";created=(?P<created>\d+)" + PARAMETERS


def verify_request(keys, direction, target, headers, body, now, seen):
    """The key that signed it and the signature that an answer has to name."""
    components = request_base(target, headers, once(headers, "content-digest") or "")
    found, key = verified("req", REQUEST_PARAMETERS, components, headers, body, keys, direction)
    created, expires = int(found["created"]), int(found["expires"])
    if not (created <= now + 30 and expires >= now - 30 and 0 <= expires - created <= 60):
        raise Distrust("its time is another")
    if (key.id, found["nonce"]) in seen:
        raise Distrust("it was seen before")
    seen.add((key.id, found["nonce"]))
    return key, once(headers, "signature").removeprefix("req=")


def verify_answer(key, direction, target, signature, asked_for_changes, status, headers, body):
    """When it was signed, by the other side's clock."""
    components = answer_base(status, target, signature, headers, once(headers, "content-digest") or "")
    found, _ = verified("res", ANSWER_PARAMETERS, components, headers, body, {key.id: key}, direction)
    if status == 304 and not asked_for_changes:
        raise Distrust("nobody asked whether it has changed")
    if status in (204, 304) and body:
        raise Distrust("a body where there is none")
    return int(found["created"])


# --- asking ---------------------------------------------------------------------------------------------------------

class Answer:
    def __init__(self, status, headers, body, created):
        self.status, self.headers, self.body, self.created = status, headers, body, created

    def problem(self):
        return json.loads(self.body)["code"] if self.status >= 400 else None


class Leader:
    """The real one, asked by a follower in this language."""

    def __init__(self, url, key, ahead=0):
        self.authority, self.key, self.ahead = urllib.parse.urlsplit(url).netloc, key, ahead
        # The codes of the signed answers that made us ask again.
        self.asked_again = []

    def ask(self, method, path, headers=(), body=b""):
        answer = self.ask_once(method, path, list(headers), body)
        if answer.problem() == "clock_skew":
            # Its time is as good as the signature. It may have started in this very second, whose requests it refuses.
            self.asked_again.append(answer.problem())
            self.ahead = answer.created + 1 - int(time.time())
            time.sleep(1)
            answer = self.ask_once(method, path, list(headers), body)
        return answer

    def ask_once(self, method, path, headers, body):
        target = Target(method, self.authority, path)
        headers, signature = sign_request(
            self.key, FOLLOWER, target, headers, body, int(time.time()) + self.ahead)
        connection = http.client.HTTPConnection(self.authority, timeout=10)
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body:
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body or None)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        asked_for_changes = once(headers, "if-none-match") is not None
        created = verify_answer(
            self.key, LEADER, target, signature, asked_for_changes, response.status, response.getheaders(), body)
        return Answer(response.status, response.getheaders(), body, created)

    def pull(self, role, known=None):
        headers = [("accept", SEALED_BUNDLE)] + ([("if-none-match", known)] if known else [])
        answer = self.ask("GET", "/conf/" + role, headers)
        if answer.status != 200:
            return answer, None
        revision = once(answer.headers, "conf-revision")
        bundle = json.loads(unseal(self.key, LEADER, (role, revision), answer.body))
        if (bundle["machine"], bundle["role"], bundle["revision"]) != (self.key.machine, role, revision):
            raise Distrust("a bundle of another machine, role or revision")
        return answer, bundle

    def report(self, report):
        sealed = seal(self.key, FOLLOWER, ("report",), json.dumps(report).encode())
        return self.ask("POST", "/reports", [("content-type", SEALED_REPORT)], sealed)


# --- enrolment ------------------------------------------------------------------------------------------------------

class Enrolment:
    """One machine that joins: the token of its join string, and an ephemeral key of its own."""

    def __init__(self, line, seed):
        if not line.startswith("pconf1:"):
            raise Distrust("this is no join string")
        said = json.loads(from_unpadded(line.removeprefix("pconf1:")))
        self.url, self.role, self.token = said["url"], said["role"], Key(said["keyid"], from_unpadded(said["token"]))
        self.id, self.secret = check.hashlib.sha256(b"id" + seed).digest()[:16], check.hashlib.sha256(seed).digest()
        self.public = check.x25519(self.secret, check.BASE_POINT)

    def join(self, ahead=0):
        """The answer, and the identity in it if there is one."""
        leader = Leader(self.url, self.token, ahead)
        body = json.dumps({"id": unpadded(self.id), "ephemeral": unpadded(self.public)}).encode()
        answer = leader.ask("POST", "/enroll", [("content-type", "application/json")], body)
        if answer.status != 200:
            return leader, answer, None
        theirs, sealed = answer.body[:32], answer.body[32:]
        known = self.token.derive("seal " + LEADER)
        info = "\0".join(["enroll " + LEADER, self.token.id, unpadded(self.id)]).encode()
        key = check.hkdf(known + check.x25519(self.secret, theirs), b"pconf-v1", info)
        names = associated(self.token, "enroll", self.public.hex(), theirs.hex())
        return leader, answer, json.loads(open_seal(key, names, sealed))
