"""Measures answers from the response cache, and prints Markdown. Arguments: BOOTSTRAP RUNS.

The question: how many hits a second does the gateway answer, each with its signature checked, and how late is the slowest
of a hundred? Beside it the same function without the tag.
"""

import sys

from deploy import aws, create, program
from load import flood, wait_for_rest

BOOTSTRAP, RUNS = sys.argv[1], int(sys.argv[2])
# 600 bytes: a short question with its parameters. 20 KiB: a prompt.
EVENTS = {"600 B": '{"prompt": "' + "a" * 585 + '"}', "20 KiB": '{"prompt": "' + "a" * 20_465 + '"}'}
CALLERS = [1, 8, 32]


def state(name, event):
    """What the cache had."""
    response = aws.invoke(FunctionName=name, Payload=event)
    response["Payload"].read()
    return response["ResponseMetadata"]["HTTPHeaders"].get("x-lambent-cache")


def main():
    tags = {"lambent:response-cache": "ttl:3600,max:64MiB"}
    targets = {"hit": create("cached", Tags=tags, **program(BOOTSTRAP)), "warm invocation": create("plain", **program(BOOTSTRAP))}
    print("| event | callers | answered by | requests/s | p50 ms | p99 ms |\n|---|---|---|---|---|---|")
    for size, event in EVENTS.items():
        state("cached", event)
        if state("cached", event) != "hit":
            raise SystemExit("the second of two equal requests is no hit")
        for callers in CALLERS:
            for kind, target in targets.items():
                wait_for_rest()
                p50, p99, rate = flood(target, callers, event, RUNS)
                print(f"| {size} | {callers} | {kind} | {rate:,.0f} | {p50:.2f} | {p99:.2f} |", flush=True)
    print()


main()
