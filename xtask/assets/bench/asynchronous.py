"""Measures asynchronous events through the gateway; prints Markdown.

Arguments: BOOTSTRAP PID EVENTS RUNS. Whole requests as a client makes them: signed, over HTTP, each acknowledged when its
commit is on the disk. PID is the endpoint's, whose memory is read.
"""

import io
import json
import pathlib
import re
import sys
import time
import urllib.request
import zipfile

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config

from load import Target, flood, flood_once

BOOTSTRAP, PID = sys.argv[1:3]
EVENTS, RUNS = int(sys.argv[3]), int(sys.argv[4])
CALLERS = 64
EVENT = '{"a": 1}'
SLOW_EVENT = '{"sleep_ms": 300}'
NAME = "asynchronous"
session = boto3.Session()
aws = session.client("lambda", config=botocore.config.Config(read_timeout=300, retries={"total_max_attempts": 1}))


class Events(Target):
    """As a target of load.py, with the header that makes an invocation asynchronous."""

    def headers(self, body):
        headers = {"Content-Type": "application/json", "X-Amz-Invocation-Type": "Event"}
        request = botocore.awsrequest.AWSRequest("POST", self.url, data=body, headers=headers)
        botocore.auth.SigV4Auth(session.get_credentials(), "lambda", session.region_name).add_auth(request)
        return {name: request.headers[name] for name in ("Authorization", "X-Amz-Date", "X-Amz-Invocation-Type")}


def create():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, pathlib.Path(BOOTSTRAP).read_bytes())
    role = "arn:aws:iam::000000000000:role/bench"
    code = {"ZipFile": buffer.getvalue()}
    aws.create_function(FunctionName=NAME, Role=role, Runtime="provided.al2023", Handler="bootstrap", Timeout=60, Code=code)
    aws.get_waiter("function_active_v2").wait(FunctionName=NAME, WaiterConfig={"Delay": 0.05, "MaxAttempts": 1200})


def metric(name):
    with urllib.request.urlopen(f"{aws.meta.endpoint_url}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + " ")), 0)


def ended():
    return metric('lambent_asynchronous_events_total{condition="Success"}')


def accepted():
    return metric('lambent_requests_total{operation="Invoke",status="202"}')


def resident_mib():
    """Of the endpoint itself; its functions are processes of their own."""
    status = pathlib.Path(f"/proc/{PID}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def drain(what):
    """Until all has run; events a second and the memory meanwhile. A request that wrk broke off at its end may have been
    accepted uncounted, so this waits until nothing has ended for a second."""
    begin, first, memory = time.monotonic(), ended(), [resident_mib()]
    last, at = first, begin
    while time.monotonic() - at < 1 or last < accepted():
        time.sleep(0.2)
        memory.append(resident_mib())
        now = ended()
        if now > last:
            last, at = now, time.monotonic()
            print(f"{what}: about {accepted() - last:.0f} left, {memory[-1]:.0f} MiB", file=sys.stderr, flush=True)
    return (last - first) / max(at - begin, 0.001), memory


create()
target = Events(f"{aws.meta.endpoint_url}/2015-03-31/functions/{NAME}/invocations")
p50, p99, rate = flood(target, CALLERS, EVENT, RUNS)
drain("first events")
# What waits is what came faster than it ran: at most as many run at once as the server lets, and each takes its time.
before, begin = accepted(), resident_mib()
while accepted() - before < EVENTS:
    flood_once(target, CALLERS, SLOW_EVENT)
left, full = accepted() - ended(), resident_mib()
drained, memory = drain("queue")
print("| what | figure |")
print("|---|---|")
print(f"| accepted a second, {CALLERS} callers, while they run as well | {rate:,.0f} |")
print(f"| from request to durable acknowledgement, p50 and p99 | {p50:.1f} ms, {p99:.1f} ms |")
print(f"| events of 300 ms that waited when the last was accepted, of {accepted() - before:,.0f} | {left:,.0f} |")
print(f"| run a second while the queue drained | {drained:,.0f} |")
print(f"| endpoint's memory before, with the queue full | {begin:.0f} MiB, {full:.0f} MiB |")
print(f"| endpoint's memory while it drained, least and most | {min(memory):.0f} MiB, {max(memory):.0f} MiB |")
