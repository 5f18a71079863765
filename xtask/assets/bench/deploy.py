"""What every bench asks of the endpoint that the environment names: functions of one file, and their metrics."""

import io
import pathlib
import urllib.request
import zipfile

import boto3
import botocore.config

from load import Target

OFTEN = {"Delay": 0.05, "MaxAttempts": 12000}
session = boto3.Session()
aws = session.client("lambda", config=botocore.config.Config(read_timeout=300, retries={"total_max_attempts": 1}))


def zipped(name, content):
    """Code of one file that may be run."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, content)
    return {"ZipFile": buffer.getvalue()}


def program(bootstrap):
    """Settings of a function that is one program."""
    return {"Runtime": "provided.al2023", "Handler": "bootstrap", "Code": zipped("bootstrap", pathlib.Path(bootstrap).read_bytes())}


def settled(name):
    aws.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=OFTEN)
    aws.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=OFTEN)


def create(name, **settings):
    """A function that is ready, and where its invocations go."""
    aws.create_function(FunctionName=name, Role="arn:aws:iam::000000000000:role/bench", **{"Timeout": 120, **settings})
    settled(name)
    return Target(invocations(name), session)


def invocations(name):
    return f"{aws.meta.endpoint_url}/2015-03-31/functions/{name}/invocations"


def metrics():
    """Values by name with labels, as Prometheus' text has them."""
    with urllib.request.urlopen(f"{aws.meta.endpoint_url}/metrics", timeout=60) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}
