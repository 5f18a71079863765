"""Scenarios about functions, versions and aliases, with boto3 as it comes from PyPI. Run by main.rs."""

import base64
import hashlib
import io
import os
import re
import sys
import urllib.request
import zipfile

import boto3
import botocore.config
import botocore.exceptions

ACCOUNT = os.environ["ACCOUNT"]
ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"
ARN = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"
aws = boto3.client(
    "lambda",
    endpoint_url=f"http://{os.environ['ENDPOINT']}",
    region_name="us-east-1",
    aws_access_key_id=os.environ["KEY_ID"],
    aws_secret_access_key=os.environ["KEY_SECRET"],
    config=botocore.config.Config(retries={"total_max_attempts": 1}, parameter_validation=False, read_timeout=30),
)


def zipped(text):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("bootstrap", text)
    return file.getvalue()


def wait(waiter, **more):
    aws.get_waiter(waiter).wait(FunctionName="f", WaiterConfig={"Delay": 0.1, "MaxAttempts": 300}, **more)


def create(**more):
    defaults = {"FunctionName": "f", "Runtime": "provided.al2023", "Handler": "bootstrap", "Role": ROLE, "Code": {"ZipFile": zipped("1")}}
    return aws.create_function(**{**defaults, **more})


def update(**more):
    answer = aws.update_function_configuration(FunctionName="f", **more)
    assert answer["LastUpdateStatus"] == "InProgress", answer
    wait("function_updated_v2")
    return answer


def fails(code, status, text, call, **more):
    try:
        call(**more)
    except botocore.exceptions.ClientError as error:
        found = (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])
        assert found == (code, status), (found, error)
        assert text in error.response["Error"]["Message"], error
    else:
        raise AssertionError(f"no {code} from {more}")


def functions():
    created = create(
        Description="d", Timeout=9, Environment={"Variables": {"AB": "b"}}, Tags={"team": "a"},
        LoggingConfig={"LogFormat": "JSON", "SystemLogLevel": "WARN"}, DeadLetterConfig={"TargetArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:q"},
    )
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 201
    code = zipped("1")
    del created["ResponseMetadata"]
    revision, modified = created.pop("RevisionId"), created.pop("LastModified")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", revision), revision
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", modified), modified
    expected = {
        "FunctionName": "f", "FunctionArn": ARN, "Version": "$LATEST", "Runtime": "provided.al2023", "Handler": "bootstrap",
        "Role": ROLE, "Description": "d", "Timeout": 9, "MemorySize": 128, "PackageType": "Zip", "Architectures": ["x86_64"],
        "CodeSize": len(code), "CodeSha256": base64.b64encode(hashlib.sha256(code).digest()).decode(),
        "EphemeralStorage": {"Size": 512}, "TracingConfig": {"Mode": "PassThrough"}, "Environment": {"Variables": {"AB": "b"}},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "RuntimeVersionConfig": {"RuntimeVersionArn": "arn:aws:lambda:us-east-1::runtime:provided.al2023"},
        "LoggingConfig": {"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "WARN", "LogGroup": "/aws/lambda/f"},
        "DeadLetterConfig": {"TargetArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:q"},
        "State": "Pending", "StateReason": "The function is being created.", "StateReasonCode": "Creating",
    }
    assert created == expected, created
    wait("function_exists")
    wait("function_active_v2")
    got = aws.get_function(FunctionName="f")
    assert (got["Configuration"]["State"], got["Configuration"]["LastUpdateStatus"]) == ("Active", "Successful"), got
    assert "StateReason" not in got["Configuration"] and got["Tags"] == {"team": "a"} and "Concurrency" not in got, got
    assert got["Configuration"]["RevisionId"] == revision
    assert got["Code"]["RepositoryType"] == "S3"
    assert urllib.request.urlopen(got["Code"]["Location"]).read() == code
    aws.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=3)
    assert aws.get_function(FunctionName=ARN)["Concurrency"] == {"ReservedConcurrentExecutions": 3}

    update(MemorySize=256, Environment={"Variables": {}}, DeadLetterConfig={"TargetArn": ""})
    configuration = aws.get_function_configuration(FunctionName="f", Qualifier="$LATEST")
    assert configuration["FunctionArn"] == ARN + ":$LATEST", configuration
    assert (configuration["MemorySize"], configuration["Timeout"], configuration["Environment"]) == (256, 9, {"Variables": {}})
    assert "DeadLetterConfig" not in configuration, configuration

    dry = aws.update_function_code(FunctionName="f", ZipFile=zipped("2"), DryRun=True)
    assert dry["CodeSha256"] != created["CodeSha256"]
    assert aws.get_function_configuration(FunctionName="f")["CodeSha256"] == created["CodeSha256"]
    second = aws.update_function_code(FunctionName="f", ZipFile=zipped("2"), Publish=True)
    assert (second["Version"], second["FunctionArn"], second["CodeSha256"]) == ("1", ARN + ":1", dry["CodeSha256"]), second
    wait("published_version_active", Qualifier="1")
    wait("function_updated_v2")

    for name in ("g", "h"):
        create(FunctionName=name)
    pages = list(aws.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))
    assert [[item["FunctionName"] for item in page["Functions"]] for page in pages] == [["f", "g"], ["h"]], pages
    assert not {"State", "LastUpdateStatus", "RuntimeVersionConfig"} & set(pages[0]["Functions"][0]), pages
    everything = aws.list_functions(FunctionVersion="ALL")["Functions"]
    assert [item["FunctionArn"].split("function:")[1] for item in everything] == ["f:$LATEST", "f:1", "g:$LATEST", "h:$LATEST"]

    assert aws.delete_function(FunctionName="f", Qualifier="1")["ResponseMetadata"]["HTTPStatusCode"] == 204
    fails("ResourceNotFoundException", 404, f"Function not found: {ARN}:1", aws.get_function, FunctionName="f:1")
    aws.delete_function(FunctionName="f")
    fails("ResourceNotFoundException", 404, f"Function not found: {ARN}", aws.get_function, FunctionName="f")
    fails("ResourceNotFoundException", 404, f"Function not found: {ARN}", aws.delete_function, FunctionName="f")


def versions():
    create()
    wait("function_active_v2")
    first = aws.publish_version(FunctionName="f", Description="one")
    assert first["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (first["Version"], first["FunctionArn"], first["Description"]) == ("1", ARN + ":1", "one"), first
    assert aws.publish_version(FunctionName="f")["Version"] == "1"
    update(MemorySize=256)
    latest = aws.get_function_configuration(FunctionName="f")
    fails(
        "PreconditionFailedException", 412, "The Revision Id provided does not match", aws.publish_version, FunctionName="f",
        RevisionId=first["RevisionId"],
    )
    fails("InvalidParameterValueException", 400, "CodeSHA256 (x) is different", aws.publish_version, FunctionName="f", CodeSha256="x")
    second = aws.publish_version(FunctionName="f", RevisionId=latest["RevisionId"], CodeSha256=latest["CodeSha256"])
    assert (second["Version"], second["State"]) == ("2", "Active"), second
    listed = aws.list_versions_by_function(FunctionName="f")
    assert [item["FunctionArn"] for item in listed["Versions"]] == [ARN + ":$LATEST", ARN + ":1", ARN + ":2"], listed
    assert "NextMarker" not in listed
    assert len(aws.list_versions_by_function(FunctionName="f", MaxItems=2)["NextMarker"]) > 0

    alias = aws.create_alias(FunctionName="f", Name="live", FunctionVersion="1", Description="a")
    assert alias.pop("ResponseMetadata")["HTTPStatusCode"] == 201
    revision = alias.pop("RevisionId")
    assert alias == {"AliasArn": ARN + ":live", "Name": "live", "FunctionVersion": "1", "Description": "a"}, alias
    weights = {"AdditionalVersionWeights": {"2": 0.25}}
    weighted = aws.update_alias(FunctionName="f", Name="live", RoutingConfig=weights, RevisionId=revision)
    assert weighted["RoutingConfig"] == weights, weighted
    assert aws.get_alias(FunctionName="f", Name="live")["RoutingConfig"] == weights
    named = aws.get_function(FunctionName="f:live")["Configuration"]
    assert (named["FunctionArn"], named["Version"], named["MemorySize"]) == (ARN + ":live", "1", 128), named
    fails("ResourceConflictException", 409, "Alias already exists", aws.create_alias, FunctionName="f", Name="live", FunctionVersion="1")
    in_use = "Unable to delete version because the following aliases reference it: [live]"
    fails("ResourceConflictException", 409, in_use, aws.delete_function, FunctionName="f", Qualifier="2")
    plain = aws.update_alias(FunctionName="f", Name="live", FunctionVersion="2", RoutingConfig={})
    assert "RoutingConfig" not in plain and plain["FunctionVersion"] == "2", plain
    aws.create_alias(FunctionName="f", Name="next", FunctionVersion="$LATEST")
    assert [item["Name"] for item in aws.list_aliases(FunctionName="f")["Aliases"]] == ["live", "next"]
    assert [item["Name"] for item in aws.list_aliases(FunctionName="f", FunctionVersion="2")["Aliases"]] == ["live"]
    assert aws.delete_alias(FunctionName="f", Name="live")["ResponseMetadata"]["HTTPStatusCode"] == 204
    fails("ResourceNotFoundException", 404, f"Cannot find alias arn: {ARN}:live", aws.get_alias, FunctionName="f", Name="live")


def refusals():
    create()
    wait("function_active_v2")
    invalid = "InvalidParameterValueException"
    fails("ResourceConflictException", 409, "Function already exist: f", create)
    fails(invalid, 400, "Runtime and Handler are mandatory", aws.create_function, FunctionName="x", Role=ROLE, Code={"ZipFile": zipped("1")})
    fails(invalid, 400, "Please provide a source for function code.", create, FunctionName="x", Code={})
    fails(invalid, 400, "unzip", create, FunctionName="x", Code={"ZipFile": b"no zip"})
    fails(invalid, 400, "reserved keys", create, FunctionName="x", Environment={"Variables": {"AWS_REGION": "x"}})
    fails(invalid, 400, "exceeded the 4KB limit", create, FunctionName="x", Environment={"Variables": {"AA": "x" * 4096}})
    fails(invalid, 400, "java21 is not supported", create, FunctionName="x", Runtime="java21")
    fails(invalid, 400, "arm64 cannot be run here", create, FunctionName="x", Architectures=["arm64"])
    fails(invalid, 400, "less than or equal to 10240", create, FunctionName="x", MemorySize=10241)
    fails(invalid, 400, "less than or equal to 900", create, FunctionName="x", Timeout=901)
    fails(invalid, 400, "TenancyConfig", create, FunctionName="x", TenancyConfig={"TenantIsolationMode": "PER_TENANT"})
    fails(
        invalid, 400, "Please don't provide Handler or Runtime or Layer", create, FunctionName="x", PackageType="Image",
        Code={"ImageUri": "localhost/x"},
    )
    fails(
        invalid, 400, "", aws.create_function, FunctionName="x", PackageType="Image", Role=ROLE,
        Code={"ImageUri": os.environ["ENDPOINT"] + "/nothing:here"},
    )
    fails("ResourceNotFoundException", 404, "Function not found", aws.get_function, FunctionName="x")
    fails(
        "PreconditionFailedException", 412, "The Revision Id provided does not match", aws.update_function_configuration,
        FunctionName="f", MemorySize=256, RevisionId="x",
    )
    fails(invalid, 400, "Please don't provide ImageUri when updating", aws.update_function_code, FunctionName="f", ImageUri="x")
    fails(invalid, 400, "LATEST version cannot be deleted", aws.delete_function, FunctionName="f", Qualifier="$LATEST")


def snapshots():
    def version(outcome, number):
        update(Environment={"Variables": {"SNAPSHOT": outcome}})
        published = aws.publish_version(FunctionName="f")
        found = [published[name] for name in ("Version", "State", "StateReasonCode", "LastUpdateStatus")]
        assert found == [number, "Pending", "Creating", "InProgress"], found
        try:
            wait("published_version_active", Qualifier=number)
        except botocore.exceptions.WaiterError:
            assert outcome == "failed"
        found = aws.get_function_configuration(FunctionName="f", Qualifier=number)
        assert found["SnapStart"]["ApplyOn"] == "PublishedVersions", found
        return [found["State"], found["SnapStart"]["OptimizationStatus"], found.get("StateReasonCode"), found.get("StateReason")]

    create(SnapStart={"ApplyOn": "PublishedVersions"})
    wait("function_active_v2")
    assert version("taken", "1") == ["Active", "On", None, None]
    assert version("taken-second", "2") == ["Active", "On", None, None]
    found = version("failed", "3")
    assert found == ["Failed", "Off", "FunctionError.RuntimeInitError", "Runtime.ExitError: exit status 1"], found
    fails("ResourceConflictException", 409, "following state: Failed", aws.invoke, FunctionName="f", Qualifier="3")
    reason = "The function has no snapshot and starts as an ordinary one: this worker plays"
    found = version("other", "4")
    assert found == ["Active", "Off", None, reason], found
    for qualifier in ("1", "2", "4", "$LATEST"):
        assert "FunctionError" not in aws.invoke(FunctionName="f", Qualifier=qualifier), qualifier
    latest = aws.get_function_configuration(FunctionName="f")
    assert latest["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}, latest
    metrics = urllib.request.urlopen(f"http://{os.environ['ENDPOINT']}/metrics").read().decode()
    for result, count in (("on", 2), ("off", 1), ("failed", 1)):
        assert f'lambent_snapshots_total{{result="{result}"}} {count}\n' in metrics, metrics


globals()[sys.argv[1]]()
