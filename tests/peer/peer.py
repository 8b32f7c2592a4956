#!/usr/bin/env python3
"""A follower and a leader in another language, to be put opposite to the real ones.

  peer.py pull URL ROLE [TAG]     asks the real leader for its files, checks and opens the answer
  peer.py report URL REVISION     tells it that the revision runs
  peer.py ask URL METHOD PATH     any other question
  peer.py join STRING SEED        enrols; the same seed makes the same enrolment again
  peer.py serve ADDRESS FILE      a leader: serves the bundles in FILE to the real follower, and lies when told to

The key, where one is needed, comes in `PEER_KEY` (`MACHINE.VERSION BASE64URL`). `PEER_AHEAD` sets its clock off, in seconds. Each question prints
one JSON document; exit code 1 says that the answer is not to be believed, and why.
"""

import json
import os
import sys

import lying
import wire


def told(leader, answer, **more):
    return {"status": answer.status, "code": answer.problem(), "askedAgain": leader.asked_again, **more}


def pull(leader, role, known=None):
    answer, bundle = leader.pull(role, known)
    return told(leader, answer, tag=wire.once(answer.headers, "etag"), bundle=bundle)


def report(leader, revision):
    said = {"verdict": {"state": "running", "revision": revision},
            "written": [], "removed": [], "readByNothing": [], "services": []}
    return told(leader, leader.report(said))


def ask(leader, method, path):
    return told(leader, leader.ask(method, path))


def join(line, seed):
    leader, answer, enrolled = wire.Enrolment(line, seed.encode()).join()
    return told(leader, answer, enrolled=enrolled)


def answered(verb, arguments):
    if verb == "join":
        return join(*arguments)
    url, *arguments = arguments
    key = wire.Key.parse(os.environ["PEER_KEY"])
    leader = wire.Leader(url, key, int(os.environ.get("PEER_AHEAD", "0")))
    return {"pull": pull, "report": report, "ask": ask}[verb](leader, *arguments)


def main():
    verb, *arguments = sys.argv[1:]
    if verb == "serve":
        return lying.serve(wire.Key.parse(os.environ["PEER_KEY"]), *arguments)
    try:
        print(json.dumps(answered(verb, arguments)))
    except wire.Distrust as why:
        sys.exit("not to be believed: %s" % why)


if __name__ == "__main__":
    main()
