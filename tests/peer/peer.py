#!/usr/bin/env python3
"""A follower and a leader in another language, to be put opposite to the real ones.

  peer.py pull URL ROLE [TAG]     asks the real leader for its files, checks and opens the answer
  peer.py report URL REVISION     tells it that the revision runs
  peer.py ask URL METHOD PATH     any other question
  peer.py serve ADDRESS FILE      a leader: serves the bundles in FILE to the real follower, and lies when told to

The key comes in `PEER_KEY` (`MACHINE.VERSION BASE64URL`). `PEER_AHEAD` sets its clock off, in seconds. Each question prints
one JSON document; exit code 1 says that the answer is not to be believed, and why.
"""

import json
import os
import sys

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


def main():
    verb, *arguments = sys.argv[1:]
    key = wire.Key.parse(os.environ["PEER_KEY"])
    if verb == "serve":
        import lying
        return lying.serve(key, *arguments)
    url, *arguments = arguments
    leader = wire.Leader(url, key, int(os.environ.get("PEER_AHEAD", "0")))
    try:
        print(json.dumps({"pull": pull, "report": report, "ask": ask}[verb](leader, *arguments)))
    except wire.Distrust as why:
        sys.exit("not to be believed: %s" % why)


if __name__ == "__main__":
    main()
