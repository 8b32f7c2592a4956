"""A leader in another language: honest until it is told which lie to tell.

`POST /__lie__` with the name of a lie (or `none`) changes what the next questions for files are answered;
`GET /__heard__` tells what was heard so far. Neither is part of the wire.
"""

import http.server
import json
import os
import time

import wire


class Exchange:
    """One verified question."""

    def __init__(self, key, target, signature, headers):
        self.key, self.target, self.signature, self.headers = key, target, signature, headers

    def answer(self, status, headers=(), body=b"", key=None, direction=wire.LEADER, signature=None):
        """A signed answer; whatever is named otherwise makes it a false one."""
        headers = wire.sign_answer(key or self.key, direction, self.target, signature or self.signature,
                                   status, list(headers), body, int(time.time()))
        return status, headers, body


def files(exchange, bundle, role=None, **falsely):
    """The answer that holds the bundle."""
    plaintext = json.dumps(bundle).encode()
    tag = '"%s-%s%s"' % (bundle["revision"], wire.check.hashlib.sha256(plaintext).hexdigest()[:16],
                         "-%d" % bundle["control"]["serial"] if "control" in bundle else "")
    if wire.once(exchange.headers, "if-none-match") == tag:
        return exchange.answer(304, [("etag", tag)], **falsely)
    sealed = wire.seal(exchange.key, wire.LEADER, (role or bundle["role"], bundle["revision"]), plaintext)
    headers = [("content-type", wire.SEALED_BUNDLE), ("etag", tag), ("conf-revision", bundle["revision"])]
    return exchange.answer(200, headers, sealed, **falsely)


def without(headers, *names):
    return [(name, value) for name, value in headers if name not in names]


def unsigned(status, *headers, body=b""):
    return lambda exchange, bundle: (status, list(headers), body)


def another_key(exchange, bundle):
    return files(exchange, bundle, key=wire.Key(exchange.key.id, os.urandom(32)))


def another_key_version(exchange, bundle):
    return files(exchange, bundle, key=wire.Key(exchange.key.machine + ".9", exchange.key.secret))


def reflected(exchange, bundle):
    return files(exchange, bundle, direction=wire.FOLLOWER)


def another_question(exchange, bundle):
    _, signature = wire.sign_request(exchange.key, wire.FOLLOWER, exchange.target, exchange.headers, b"", int(time.time()))
    return files(exchange, bundle, signature=signature)


def another_path(exchange, bundle):
    target = wire.Target("GET", exchange.target.authority, "/conf/other")
    return files(Exchange(exchange.key, target, exchange.signature, exchange.headers), bundle)


def stripped(exchange, bundle):
    status, headers, body = files(exchange, bundle)
    return status, without(headers, "signature", "signature-input"), body


def another_status(exchange, bundle):
    _, headers, body = files(exchange, bundle)
    return 203, headers, body


def made_unchanged(exchange, bundle):
    _, headers, _ = files(exchange, bundle)
    return 304, headers, b""


def another_revision(exchange, bundle):
    status, headers, body = files(exchange, bundle)
    return status, without(headers, "conf-revision") + [("conf-revision", "1.99")], body


def another_body(exchange, bundle):
    status, headers, body = files(exchange, bundle)
    return status, headers, body[:-1] + bytes([body[-1] ^ 1])


def another_role(exchange, bundle):
    return files(exchange, bundle, role="other")


def another_machine(exchange, bundle):
    return files(exchange, {**bundle, "machine": "other"})


def coded(exchange, bundle):
    status, headers, body = files(exchange, bundle)
    return status, headers + [("content-encoding", "identity")], body


def signed_twice(exchange, bundle):
    status, headers, body = files(exchange, bundle)
    return status, headers + [header for header in headers if header[0] == "signature"], body


def signed_redirect(exchange, bundle):
    return exchange.answer(302, [("location", "/elsewhere")])


LIES = {lie.__name__: lie for lie in (
    another_key, another_key_version, reflected, another_question, another_path, stripped, another_status,
    made_unchanged, another_revision, another_body, another_role, another_machine, coded, signed_twice, signed_redirect)}
LIES |= {
    "unsigned_bundle": unsigned(200, ("content-type", wire.SEALED_BUNDLE), ("conf-revision", "1.99"), body=b"x" * 64),
    "unsigned_unchanged": unsigned(304),
    "unsigned_redirect": unsigned(302, ("location", "/elsewhere")),
    "unsigned_unknown": unsigned(404, body=b"{}"),
    "unsigned_gone": unsigned(410),
    "unsigned_stranger": unsigned(401),
}


class State:
    lie, seen, heard, reports, snapshots, recorded = "none", set(), [], [], [], None


def serve(key, address, file):
    # The key that was handed out last is good besides the one before.
    keys = {key.id: key}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def send(self, status, headers, body):
            # Not `send_response`: it would add headers of its own.
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            if status not in (204, 304):
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            if status not in (204, 304):
                self.wfile.write(body)

        def handle_question(self):
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            if self.path == "/__lie__":
                State.lie = body.decode()
                known = State.lie in LIES or State.lie in ("none", "recorded")
                return self.send(200 if known else 404, [], json.dumps(sorted(LIES) + ["recorded"]).encode())
            if self.path == "/__heard__":
                said = {"questions": State.heard, "reports": State.reports, "snapshots": State.snapshots}
                return self.send(200, [], json.dumps(said).encode())
            headers = self.headers.items()
            target = wire.Target(self.command, self.headers["host"], self.path)
            said = {"question": "%s %s" % (self.command, self.path), "lie": State.lie}
            State.heard.append(said)
            try:
                signed_by, signature = wire.verify_request(
                    keys, wire.FOLLOWER, target, headers, body, int(time.time()), State.seen)
            except wire.Distrust as why:
                said["refused"] = str(why)
                return self.send(401, [], b"")
            said["key"] = signed_by.id
            self.send(*self.answer(Exchange(signed_by, target, signature, headers), body))

        do_GET = do_POST = handle_question

        def answer(self, exchange, body):
            if exchange.target.path == "/reports":
                State.reports.append(json.loads(wire.unseal(exchange.key, wire.FOLLOWER, ("report",), body)))
                return exchange.answer(204)
            if exchange.target.path == "/snapshots":
                State.snapshots.append(json.loads(wire.unseal(exchange.key, wire.FOLLOWER, ("snapshot",), body)))
                return exchange.answer(204)
            with open(file, encoding="utf-8") as text:
                bundle = json.load(text)
            handed_out = bundle.get("control", {}).get("nextKey")
            if handed_out:
                key_id = "%s.%d" % (key.machine, handed_out["version"])
                keys[key_id] = wire.Key(key_id, wire.from_unpadded(handed_out["key"]))
            if State.lie == "recorded":
                return State.recorded
            if State.lie != "none":
                return LIES[State.lie](exchange, bundle)
            answer = files(exchange, bundle)
            if answer[0] == 200:
                State.recorded = answer
            return answer

    host, port = address.rsplit(":", 1)
    http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
