"""The function side of the demo, with boto3 as anybody would write it. Arguments: REGISTRY ASSETS STEP..."""

import json
import pathlib
import sys
import time

import boto3

REGISTRY = sys.argv[1]
CORPUS = pathlib.Path(sys.argv[2])
ROLE = "arn:aws:iam::000000000000:role/demo"

aws = boto3.client("lambda")
logs = boto3.client("logs")


def say(text):
    print(text, flush=True)


def milliseconds(since):
    return f"{(time.perf_counter() - since) * 1000:.0f} ms"


def create(name, image, **settings):
    began = time.perf_counter()
    aws.create_function(
        FunctionName=name, PackageType="Image", Code={"ImageUri": f"{REGISTRY}/{image}"}, Role=ROLE, Timeout=60, **settings
    )
    aws.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    say(f"create_function {name:<12} active after {milliseconds(began)}")


def invoke(name, event, what, **options):
    began = time.perf_counter()
    response = aws.invoke(FunctionName=name, Payload=json.dumps(event), **options)
    payload = json.loads(response["Payload"].read())
    if "FunctionError" in response:
        raise SystemExit(f"{name} failed: {payload}")
    text = json.dumps(payload)
    say(f"invoke {name:<12} {what:<5} {milliseconds(began):>8}  {text[:70]}{'…' if len(text) > 70 else ''}")
    return response, payload


def sample():
    """The scikit-learn application's sample, as the numbers of a request."""
    manifest = json.loads((CORPUS / "sample.json").read_text())
    return {"body": json.dumps({"features": list(manifest["instances"][0].values())})}


def score_and_embed():
    create("scorer", "scorer:v1", MemorySize=1769)
    create("embedder", "embedder:v1", MemorySize=1769)
    sentences = {"sentences": ["A cold start takes no time.", "The kettle is on."]}
    for name, event in (("scorer", sample()), ("embedder", sentences)):
        for what in ("cold", "warm", "warm"):
            invoke(name, event, what)


def split_traffic():
    """10 % of an alias's traffic goes to a new version."""
    first = aws.publish_version(FunctionName="scorer")["Version"]
    aws.update_function_configuration(FunctionName="scorer", Environment={"Variables": {"MODEL": "new"}})
    aws.get_waiter("function_updated_v2").wait(FunctionName="scorer", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    second = aws.publish_version(FunctionName="scorer")["Version"]
    for version in (first, second):
        aws.get_waiter("published_version_active").wait(
            FunctionName="scorer", Qualifier=version, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
    aws.create_alias(
        FunctionName="scorer",
        Name="live",
        FunctionVersion=first,
        RoutingConfig={"AdditionalVersionWeights": {second: 0.1}},
    )
    counts = {first: 0, second: 0}
    for _ in range(200):
        response = aws.invoke(FunctionName="scorer", Qualifier="live", Payload=json.dumps(sample()))
        response["Payload"].read()
        counts[response["ExecutedVersion"]] += 1
    for version, count in counts.items():
        say(f"version {version}: {count:>3} of 200  {'█' * (count // 4)}")


def stream():
    """The bytes of an answer as they come."""
    began = time.perf_counter()
    response = aws.invoke_with_response_stream(FunctionName="embedder", Payload=json.dumps({"sentences": ["Streamed."]}))
    received = 0
    for event in response["EventStream"]:
        if "PayloadChunk" in event:
            received += len(event["PayloadChunk"]["Payload"])
            say(f"{milliseconds(began):>8}  {received} bytes so far")
        if "InvokeComplete" in event:
            say(f"{milliseconds(began):>8}  complete")


def tail():
    """The end of the scorer's log."""
    deadline = time.monotonic() + 10
    lines = []
    while time.monotonic() < deadline and not any("REPORT" in line for line in lines):
        events = logs.filter_log_events(logGroupName="/aws/lambda/scorer", limit=1000)["events"]
        lines = [event["message"].strip() for event in events]
    if not any("REPORT" in line for line in lines):
        raise SystemExit("the log has no REPORT line")
    for line in lines[-4:]:
        say(line.replace("\t", "  "))


STEPS = {
    "score": score_and_embed,
    "split": split_traffic,
    "stream": stream,
    "tail": tail,
}

for step in sys.argv[3:]:
    STEPS[step]()
