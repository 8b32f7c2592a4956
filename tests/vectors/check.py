#!/usr/bin/env python3
"""Recomputes every vector in this folder with Python's standard library alone.

The Rust tests read the same files. What both agree on is the wire, whatever either of them looks like inside.
Run it from anywhere: `python3 tests/vectors/check.py`; it says what it checked and fails at the first difference.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent


def load(name):
    return json.loads((HERE / name).read_text("utf-8"))


# --- keys: HKDF-SHA256 (RFC 5869) -----------------------------------------------------------------------------------

def hkdf(secret, salt, info, length=32):
    pseudorandom = hmac.new(salt or bytes(32), secret, hashlib.sha256).digest()
    output, block = b"", b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.new(pseudorandom, block + info + bytes([number]), hashlib.sha256).digest()
        output += block
    return output[:length]


def derive(enrolment_key, key_id, purpose):
    return hkdf(enrolment_key, b"pconf-v1", purpose.encode() + b"\0" + key_id.encode())


# --- signatures: RFC 9421, profile pconf-v1 -------------------------------------------------------------------------

REQUEST_FIELDS = ["accept", "content-type", "if-none-match", "prefer"]
ANSWER_FIELDS = ["content-type", "etag", "retry-after", "conf-revision"]


def content_digest(body):
    return "sha-256=:%s:" % base64.b64encode(hashlib.sha256(body).digest()).decode()


def signed(label, components, parameters, key):
    covered = "(%s)%s" % (" ".join(name for name, _ in components), parameters)
    base = "\n".join("%s: %s" % component for component in components + [('"@signature-params"', covered)])
    mac = base64.b64encode(hmac.new(key, base.encode(), hashlib.sha256).digest()).decode()
    return {"base": base, "signature-input": label + "=" + covered, "signature": "%s=:%s:" % (label, mac)}


def target(request, suffix=""):
    values = [request["method"], request["authority"], request["path"], "?" + request.get("query", "")]
    names = ["@method", "@authority", "@path", "@query"]
    return [('"%s"%s' % (name, suffix), value) for name, value in zip(names, values)]


def fields(headers, names):
    present = dict(headers)
    return [('"%s"' % name, present[name]) for name in names if name in present]


def sign_request(request, key_id, key):
    digest = content_digest(body_of(request))
    components = target(request) + [('"content-digest"', digest)] + fields(request["headers"], REQUEST_FIELDS)
    parameters = ';created=%d;expires=%d;nonce="%s";alg="hmac-sha256";keyid="%s";tag="pconf-v1"' % (
        request["created"], request["created"] + 60, request["nonce"], key_id)
    return {"content-digest": digest, **signed("req", components, parameters, key)}


def sign_answer(answer, request, key_id, key):
    digest = content_digest(body_of(answer))
    components = [('"@status"', str(answer["status"])), ('"content-digest"', digest)]
    components += fields(answer["headers"], ANSWER_FIELDS) + target(request, ";req")
    components += [('"signature";req;key="req"', request["expected"]["signature"].removeprefix("req="))]
    parameters = ';created=%d;alg="hmac-sha256";keyid="%s";tag="pconf-v1"' % (answer["created"], key_id)
    return {"content-digest": digest, **signed("res", components, parameters, key)}


def body_of(message):
    return bytes.fromhex(message["body-hex"]) if "body-hex" in message else message["body"].encode()


# --- seals: XChaCha20-Poly1305 (RFC 8439 and draft-irtf-cfrg-xchacha) -----------------------------------------------

def rounds(state):
    x = list(state)

    def quarter(a, b, c, d):
        for first, second, third, shift in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            x[first] = (x[first] + x[second]) & 0xFFFFFFFF
            mixed = x[third] ^ x[first]
            x[third] = ((mixed << shift) | (mixed >> (32 - shift))) & 0xFFFFFFFF

    for _ in range(10):
        for column in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
            quarter(*column)
        for diagonal in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            quarter(*diagonal)
    return x


CONSTANTS = struct.unpack("<4I", b"expand 32-byte k")


def block(key, counter, nonce):
    state = CONSTANTS + struct.unpack("<8I", key) + (counter,) + struct.unpack("<3I", nonce)
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(rounds(state), state)))


def hchacha(key, nonce):
    x = rounds(CONSTANTS + struct.unpack("<8I", key) + struct.unpack("<4I", nonce))
    return struct.pack("<8I", *(x[:4] + x[12:]))


def poly1305(key, message):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for start in range(0, len(message), 16):
        total = (total + int.from_bytes(message[start:start + 16] + b"\x01", "little")) * r % ((1 << 130) - 5)
    return ((total + int.from_bytes(key[16:], "little")) % (1 << 128)).to_bytes(16, "little")


def seal(key, nonce, associated, plaintext):
    subkey, short = hchacha(key, nonce[:16]), bytes(4) + nonce[16:]
    stream = b"".join(block(subkey, 1 + n, short) for n in range(len(plaintext) // 64 + 1))
    ciphertext = bytes(a ^ b for a, b in zip(plaintext, stream))

    def padded(data):
        return data + bytes(-len(data) % 16)

    lengths = struct.pack("<QQ", len(associated), len(ciphertext))
    tag = poly1305(block(subkey, 0, short)[:32], padded(associated) + padded(ciphertext) + lengths)
    return nonce + ciphertext + tag


# --- enrolment: X25519 (RFC 7748 section 5) --------------------------------------------------------------------------

PRIME = (1 << 255) - 19


def x25519(secret, point):
    scalar = int.from_bytes(secret, "little") & ~7 & ~(1 << 255) | 1 << 254
    x = int.from_bytes(point, "little") & ((1 << 255) - 1)
    x2, z2, x3, z3, swapped = 1, 0, x, 1, 0
    for bit in range(254, -1, -1):
        wanted = scalar >> bit & 1
        if swapped != wanted:
            x2, z2, x3, z3 = x3, z3, x2, z2
        swapped = wanted
        sum2, difference2, sum3, difference3 = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        cross, other = difference3 * sum2 % PRIME, sum3 * difference2 % PRIME
        x3, z3 = (cross + other) ** 2 % PRIME, x * (cross - other) ** 2 % PRIME
        x2 = sum2 ** 2 * difference2 ** 2 % PRIME
        difference = sum2 ** 2 - difference2 ** 2
        z2 = difference * (sum2 ** 2 + 121665 * difference) % PRIME
    if swapped:
        x2, z2 = x3, z3
    return (x2 * pow(z2, PRIME - 2, PRIME) % PRIME).to_bytes(32, "little")


BASE_POINT = (9).to_bytes(32, "little")


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def seal_identity(case):
    token, key_id = bytes.fromhex(case["token"]), case["key-id"]
    machine, leader = bytes.fromhex(case["machine-secret"]), bytes.fromhex(case["leader-secret"])
    publics = [x25519(secret, BASE_POINT) for secret in (machine, leader)]
    enrolment_id = base64url(bytes.fromhex(case["enrolment-id"]))
    material = derive(token, key_id, "seal l2f") + x25519(leader, publics[0])
    key = hkdf(material, b"pconf-v1", "\0".join(["enroll l2f", key_id, enrolment_id]).encode())
    associated = "\0".join(["pconf-v1", key_id, "enroll"] + [public.hex() for public in publics]).encode()
    body = json.dumps({"id": enrolment_id, "ephemeral": base64url(publics[0])}, separators=(",", ":"))
    sealed = seal(key, bytes.fromhex(case["nonce"]), associated, case["plaintext"].encode())
    return {"request": body, "sealed": (publics[1] + sealed).hex()}


def join_string(case):
    written = {"url": case["url"], "ca_spki_sha256": base64url(hashlib.sha256(case["public-key"].encode()).digest()),
               "keyid": case["key-id"], "role": case["role"], "token": base64url(bytes.fromhex(case["token"])),
               "expires": case["expires"]}
    return "pconf1:" + base64url(json.dumps(written, separators=(",", ":")).encode())


def entity_tag(plaintext):
    bundle = json.loads(plaintext)
    control = bundle.pop("control", None)
    digest = hashlib.sha256(json.dumps(bundle, separators=(",", ":")).encode()).hexdigest()[:16]
    return '"%s-%s%s"' % (bundle["revision"], digest, "-%d" % control["serial"] if control else "")


# --- the checks -----------------------------------------------------------------------------------------------------

CHECKED = []


def same(what, computed, expected):
    if computed != expected:
        sys.exit("%s differs\n computed %s\n expected %s" % (what, computed, expected))
    CHECKED.append(what)


def main():
    standards = load("standards.json")
    example = standards["rfc9421-b.2.5"]
    outcome = signed("sig-b25", [('"%s"' % n, v) for n, v in example["components"]], example["parameters"],
                     base64.b64decode(example["key"]))
    same("RFC 9421 B.2.5 base", outcome["base"], example["base"])
    same("RFC 9421 B.2.5 signature", outcome["signature"], "sig-b25=:%s:" % example["signature"])
    for case in standards["rfc9530"]["bodies"]:
        same("RFC 9530 %r" % case["body"], content_digest(case["body"].encode()), case["content-digest"])
    for case in standards["rfc4231"]["cases"]:
        key, data, expected = (bytes.fromhex(case[name]) for name in ("key", "data", "hmac-sha256"))
        same("RFC 4231 case %d" % case["case"], hmac.new(key, data, hashlib.sha256).digest()[:len(expected)], expected)
    for case in standards["rfc5869"]["cases"]:
        secret, salt, info, expected = (bytes.fromhex(case[name]) for name in ("ikm", "salt", "info", "okm"))
        same("RFC 5869 %s" % case["case"], hkdf(secret, salt, info, len(expected)), expected)
    for case in standards["rfc7748"]["cases"]:
        same("RFC 7748 %s" % case["case"],
             x25519(bytes.fromhex(case["scalar"]), bytes.fromhex(case["u"])).hex(), case["output"])
    for case in standards["rfc9421-2.2"]["examples"]:
        path, _, query = case["target"].partition("?")
        lines = target({"method": case["method"], "authority": case["host"], "path": path, "query": query})
        same("RFC 9421 %s" % case["section"], case["line"] in ["%s: %s" % line for line in lines], True)
    example = standards["xchacha-a.3.1"]
    same("draft-irtf-cfrg-xchacha A.3.1",
         seal(*(bytes.fromhex(example[n]) for n in ("key", "nonce", "associated", "plaintext"))).hex(),
         example["nonce"] + example["ciphertext"] + example["tag"])

    for case in load("keys.json"):
        for purpose, expected in case["derived"].items():
            same("key %s, %s" % (case["key-id"], purpose),
                 derive(bytes.fromhex(case["enrolment-key"]), case["key-id"], purpose).hex(), expected)

    messages = load("messages.json")
    enrolment_key, key_id = bytes.fromhex(messages["enrolment-key"]), messages["key-id"]
    for exchange in messages["exchanges"]:
        there, back = ("f2l", "l2f") if exchange["direction"] == "to-leader" else ("l2f", "f2l")
        request = exchange["request"]
        same(exchange["name"] + " request",
             sign_request(request, key_id, derive(enrolment_key, key_id, "mac " + there)), request["expected"])
        for answer in exchange["answers"]:
            same(answer["name"],
                 sign_answer(answer, request, key_id, derive(enrolment_key, key_id, "mac " + back)), answer["expected"])

    seals = load("seals.json")
    for case in seals["cases"]:
        key = derive(bytes.fromhex(seals["enrolment-key"]), seals["key-id"], case["purpose"])
        associated = "\0".join(["pconf-v1", seals["key-id"]] + case["names"]).encode()
        same("seal " + case["name"],
             seal(key, bytes.fromhex(case["nonce"]), associated, case["plaintext"].encode()).hex(), case["sealed"])

        if "etag" in case:
            same("tag of " + case["name"], entity_tag(case["plaintext"]), case["etag"])

    enrolment = load("enrolment.json")
    same("join string", join_string(enrolment), enrolment["join-string"])
    same("enrolment", seal_identity(enrolment), {name: enrolment[name] for name in ("request", "sealed")})

    print("%d vectors agree" % len(CHECKED))


if __name__ == "__main__":
    main()
