"""Measures answers from the response cache, and prints Markdown. Arguments: BOOTSTRAP RUNS.

The question: how many hits a second does the gateway answer, each with its signature checked, and how late is the slowest
of a hundred? Beside it the same function without the tag.
"""

import io
import pathlib
import sys
import zipfile

import boto3
import botocore.config

from load import Target, flood, wait_for_rest

BOOTSTRAP, RUNS = sys.argv[1], int(sys.argv[2])
# 600 bytes: a short question with its parameters. 20 KiB: a prompt.
EVENTS = {"600 B": '{"prompt": "' + "a" * 585 + '"}', "20 KiB": '{"prompt": "' + "a" * 20_465 + '"}'}
CALLERS = [1, 8, 32]
session = boto3.Session()
aws = session.client("lambda", config=botocore.config.Config(read_timeout=60, retries={"total_max_attempts": 1}))


def create(name, tags):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, pathlib.Path(BOOTSTRAP).read_bytes())
    aws.create_function(
        FunctionName=name,
        Role="arn:aws:iam::000000000000:role/bench",
        Timeout=60,
        Runtime="provided.al2023",
        Handler="bootstrap",
        Code={"ZipFile": buffer.getvalue()},
        Tags=tags,
    )
    aws.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})
    return Target(f"{aws.meta.endpoint_url}/2015-03-31/functions/{name}/invocations", session)


def state(name, event):
    """What the cache had."""
    response = aws.invoke(FunctionName=name, Payload=event)
    response["Payload"].read()
    return response["ResponseMetadata"]["HTTPHeaders"].get("x-lambent-cache")


def main():
    targets = {"hit": create("cached", {"lambent:response-cache": "ttl:3600,max:64MiB"}), "warm invocation": create("plain", {})}
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
