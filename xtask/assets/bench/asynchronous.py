"""Measures asynchronous events through the gateway; prints Markdown.

Arguments: BOOTSTRAP PID EVENTS RUNS. Whole requests as a client makes them: signed, over HTTP, each acknowledged when its
commit is on the disk. PID is the endpoint's, whose memory is read.
"""

import pathlib
import re
import sys
import time

import botocore.auth
import botocore.awsrequest

from deploy import create, invocations, metrics, program, session
from load import Target, flood, flood_once

BOOTSTRAP, PID = sys.argv[1:3]
EVENTS, RUNS = int(sys.argv[3]), int(sys.argv[4])
CALLERS = 64
EVENT = '{"a": 1}'
SLOW_EVENT = '{"sleep_ms": 300}'
NAME = "asynchronous"


class Events(Target):
    """As a target of load.py, with the header that makes an invocation asynchronous."""

    def headers(self, body):
        headers = {"Content-Type": "application/json", "X-Amz-Invocation-Type": "Event"}
        request = botocore.awsrequest.AWSRequest("POST", self.url, data=body, headers=headers)
        botocore.auth.SigV4Auth(session.get_credentials(), "lambda", session.region_name).add_auth(request)
        return {name: request.headers[name] for name in ("Authorization", "X-Amz-Date", "X-Amz-Invocation-Type")}


def ended():
    return metrics().get('lambent_asynchronous_events_total{condition="Success"}', 0)


def accepted():
    return metrics().get('lambent_requests_total{operation="Invoke",status="202"}', 0)


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


create(NAME, **program(BOOTSTRAP))
target = Events(invocations(NAME))
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
