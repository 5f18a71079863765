"""Measures micro-batching on the embedding function, and prints Markdown. Arguments: RUNS.

The question: what does handing requests over as lists give in throughput, at what p99, against one by one? The same
handler and the same model serve both; it takes a list or an event.
"""

import json
import sys

from deploy import create, zipped
from load import flood, wait_for_rest

RUNS = int(sys.argv[1])
EVENT = json.dumps({"sentences": ["The river rose quickly after the storm passed over the hills."]})
CALLERS = [1, 8, 32, 64]
SOURCE = """
import sys

sys.path.insert(0, "/function")
from handler import EMBEDDER

def handler(given, context):
    events = given if isinstance(given, list) else [given]
    rows = EMBEDDER.embed([sentence for event in events for sentence in event["sentences"]]).tolist()
    answers = [{"embeddings": [rows.pop(0) for _ in event["sentences"]]} for event in events]
    return answers if isinstance(given, list) else answers[0]
"""
TAGS = {"one by one": {}, "max:32,wait:5ms": {"lambent:batch": "max:32,wait:5ms"}, "max:32,wait:50ms": {"lambent:batch": "max:32,wait:50ms"}}


def main():
    settings = {"Runtime": "python3.11", "Handler": "app.handler", "MemorySize": 1769, "Code": zipped("app.py", SOURCE)}
    targets = {kind: create(f"embedder-{number}", Tags=tags, **settings) for number, (kind, tags) in enumerate(TAGS.items())}
    print("| callers | handed over | requests/s | p50 ms | p99 ms |\n|---|---|---|---|---|")
    for callers in CALLERS:
        for kind, target in targets.items():
            wait_for_rest()
            p50, p99, rate = flood(target, callers, EVENT, RUNS)
            print(f"| {callers} | {kind} | {rate:,.1f} | {p50:.1f} | {p99:.1f} |", flush=True)
    print()


main()
