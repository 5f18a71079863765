"""Scenarios against a gateway, with boto3 and botocore as they come from PyPI. Run by main.rs."""

import base64
import datetime
import gzip
import hashlib
import http.client
import io
import json
import os
import sys
import tarfile
import time
import urllib.parse

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions

HOST = os.environ["ENDPOINT"]
ENDPOINT = f"http://{HOST}"
ACCOUNT = os.environ["ACCOUNT"]
KEY = (os.environ["KEY_ID"], os.environ["KEY_SECRET"])
REVOKED = (os.environ["REVOKED_ID"], os.environ["REVOKED_SECRET"])
LIST = "/2015-03-31/functions"


def client(service, key=KEY, region="us-east-1"):
    config = botocore.config.Config(retries={"total_max_attempts": 1}, parameter_validation=False, read_timeout=30)
    return boto3.client(
        service, endpoint_url=ENDPOINT, region_name=region, aws_access_key_id=key[0], aws_secret_access_key=key[1], config=config
    )


def send(method, path, body=b"", headers=None):
    """A request as it stands: no library tidies it up."""
    connection = http.client.HTTPConnection(HOST, timeout=30)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    headers = dict(headers or {})
    headers.setdefault("Host", HOST)
    headers.setdefault("Content-Length", str(len(body)))
    for name, value in headers.items():
        for one in value if isinstance(value, list) else [value]:
            connection.putheader(name, one)
    connection.endheaders(body)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, data


class At:
    """Signs as at another time."""

    def __init__(self, seconds):
        self.seconds = seconds

    def __enter__(self):
        now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.seconds)
        for name in ("get_current_datetime",):
            if hasattr(botocore.auth, name):
                self.before = getattr(botocore.auth, name)
                setattr(botocore.auth, name, lambda remove_tzinfo=True: now.replace(tzinfo=None) if remove_tzinfo else now)
                return
        raise SystemExit("this botocore takes its time from elsewhere")

    def __exit__(self, *_):
        botocore.auth.get_current_datetime = self.before


def signed(method, path, body=b"", headers=None, key=KEY, service="lambda", region="us-east-1", expires=None, token=None):
    """Path and headers of a request that botocore has signed."""
    request = botocore.awsrequest.AWSRequest(method, ENDPOINT + path, headers=dict(headers or {}), data=body)
    request.headers["Host"] = HOST
    credentials = botocore.credentials.Credentials(key[0], key[1], token)
    if expires is None:
        signer = botocore.auth.SigV4Auth(credentials, service, region)
    else:
        signer = botocore.auth.SigV4QueryAuth(credentials, service, region, expires=expires)
    signer.add_auth(request)
    prepared = request.url[len(ENDPOINT) :]
    return prepared, {name: value for name, value in request.headers.items()}


def check(what, answer, status, code=None, part=None):
    found, headers, data = answer
    kind = headers.get("x-amzn-errortype")
    text = data.decode("utf-8", "replace")
    assert found == status, f"{what}: {found} {kind} {text}, expected {status}"
    assert kind == code, f"{what}: {kind} {text}, expected {code}"
    assert part is None or part in text, f"{what}: {part!r} is not in {text}"
    assert len(headers["x-amzn-requestid"]) == 36, f"{what}: {headers}"
    print("ok", what)
    return answer


def good(what, method, path, body=b"", send_body=None, status=200, **how):
    path, headers = signed(method, path, body, **how)
    return check(what, send(method, path, body if send_body is None else send_body, headers), status)


def signatures():
    good("a header", "GET", LIST)
    good("a trailing slash", "GET", LIST + "/")
    good("a query", "GET", LIST + "?MaxItems=5&FunctionVersion=ALL")
    arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:nobody"
    for name in (arn, arn + ":$LATEST", f"{ACCOUNT}:function:nobody", "nobody:prod"):
        for quoted in (urllib.parse.quote(name, safe=""), urllib.parse.quote(name, safe=":$")):
            path, headers = signed("GET", f"{LIST}/{quoted}")
            check(f"an ARN in the path: {quoted}", send("GET", path, headers=headers), 404, "ResourceNotFoundException")
    good("a query with spaces", "GET", LIST + "?MaxItems=5&Other=a%20b%2Bc&Other=%C3%A9")
    good("a payload hash", "GET", LIST, headers={"X-Amz-Content-SHA256": hashlib.sha256(b"").hexdigest()})
    good("an unsigned payload", "GET", LIST, headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    good("a header with spaces", "GET", LIST, headers={"X-Amz-Meta": "  a   b  "})
    good("another region", "GET", LIST, region="eu-central-1")
    good("presigned", "GET", LIST, expires=60)
    good("presigned with a query", "GET", LIST + "?MaxItems=5", expires=60)
    for seconds in (-4 * 60, 4 * 60):
        with At(seconds):
            request = signed("GET", LIST)
        check(f"{seconds} s off", send("GET", request[0], headers=request[1]), 200)
    with At(-3000):
        request = signed("GET", LIST, expires=3600)
    check("presigned long ago, for long", send("GET", request[0], headers=request[1]), 200)
    assert client("sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"
    assert client("logs").describe_log_groups()["logGroups"] == []
    assert client("lambda").list_functions()["Functions"] == []
    bad_signatures()


def bad_signatures():
    mismatch = (403, "InvalidSignatureException", "does not match the signature you provided")
    check("nothing", send("GET", LIST), 403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    unknown = (403, "UnrecognizedClientException", "The security token included in the request is invalid.")

    def bad(what, expected, method="GET", path=LIST, body=b"", change=None, send_body=None, **how):
        path, headers = signed(method, path, body, **how)
        method, path, headers = change(method, path, headers) if change else (method, path, headers)
        check(what, send(method, path, body if send_body is None else send_body, headers), *expected)

    bad("a wrong secret", mismatch, key=(KEY[0], "x" * 40))
    bad("an unknown key", unknown, key=("AKIAAAAAAAAAAAAAAAAA", KEY[1]))
    bad("a revoked key", unknown, key=REVOKED)
    bad("a session token", unknown, token="token")
    bad("a session token in the query", unknown, token="token", expires=60)
    bad("another method", mismatch, change=lambda m, p, h: ("POST", p, h))
    bad("another path", mismatch, change=lambda m, p, h: (m, p + "/x", h))
    bad("another query", mismatch, change=lambda m, p, h: (m, p + "?MaxItems=5", h))
    bad("another body", mismatch, method="POST", body=b"{}", send_body=b"[]")
    bad("another host", mismatch, change=lambda m, p, h: (m, p, {**h, "Host": "evil.example"}))
    bad("another date", mismatch, change=lambda m, p, h: (m, p, {**h, "X-Amz-Date": h["X-Amz-Date"][:9] + later(h["X-Amz-Date"])}))
    differs = (403, "InvalidSignatureException", "'x-amz-content-sha256' header does not match")
    sha = {"X-Amz-Content-SHA256": hashlib.sha256(b"{}").hexdigest()}
    bad("a body that is not the hash's", differs, method="POST", body=b"{}", headers=sha, send_body=b"[]")
    unsigned = (403, "InvalidSignatureException", "must be a 'SignedHeader'")
    bad("an unsigned header", unsigned, change=lambda m, p, h: (m, p, {**h, "X-Amz-Invocation-Type": "Event"}))
    wrong_service = (403, "InvalidSignatureException", "correct service: 'lambda'")
    bad("another service", wrong_service, service="s3")
    for seconds, text in ((-6 * 60, "Signature expired"), (6 * 60, "Signature not yet current")):
        with At(seconds):
            request = signed("GET", LIST)
        check(f"{seconds} s off", send("GET", request[0], headers=request[1]), 403, "InvalidSignatureException", text)
    with At(-120):
        request = signed("GET", LIST, expires=60)
    check("presigned too long ago", send("GET", request[0], headers=request[1]), 403, "InvalidSignatureException", "expired")
    incomplete = (403, "IncompleteSignatureException", None)
    bad("presigned for a month", incomplete, expires=30 * 24 * 3600)
    for what, value in (
        ("half a header", "AWS4-HMAC-SHA256 Credential=a"),
        ("another scheme", "Bearer token"),
        ("a broken signature", "AWS4-HMAC-SHA256 Credential=A/20260101/r/lambda/aws4_request, SignedHeaders=host, Signature=zz"),
        ("nothing in it", ""),
        ("bytes", "AWS4-HMAC-SHA256 \xff\xfe"),
    ):
        bad(what, incomplete, change=lambda m, p, h, value=value: (m, p, {**h, "Authorization": value}))
    bad("no date", incomplete, change=lambda m, p, h: (m, p, {k: v for k, v in h.items() if k != "X-Amz-Date"}))
    for what, call, code in (
        ("sts", client("sts", ("AKIAAAAAAAAAAAAAAAAA", "x")).get_caller_identity, "InvalidClientTokenId"),
        ("sts", client("sts", (KEY[0], "x")).get_caller_identity, "SignatureDoesNotMatch"),
        ("logs", client("logs", REVOKED).describe_log_groups, "UnrecognizedClientException"),
        ("lambda", client("lambda", REVOKED).list_functions, "UnrecognizedClientException"),
    ):
        fails(what, call, code)


def later(date):
    """The time of a date, some seconds later."""
    hour = (int(date[9:11]) * 3600 + int(date[11:13]) * 60 + int(date[13:15]) + 7) % 86400
    return f"{hour // 3600:02}{hour // 60 % 60:02}{hour % 60:02}Z"


def fails(what, call, code, status=None, part=None):
    try:
        answer = call()
    except botocore.exceptions.ClientError as error:
        found = error.response["Error"]["Code"]
        assert found == code, f"{what}: {error.response}, expected {code}"
        assert status in (None, error.response["ResponseMetadata"]["HTTPStatusCode"]), f"{what}: {error.response}"
        assert part is None or part in error.response["Error"]["Message"], f"{what}: {error.response}"
        print("ok", what, code)
        return error.response
    raise AssertionError(f"{what}: {answer}, expected {code}")


def bad_requests():
    aws = client("lambda")
    check("an unknown path", send("GET", "/2015-03-31/nothing"), 404, "UnknownOperationException", "UnknownOperationException")

    def bad(what, method, path, body, *expected, headers=None):
        path, headers = signed(method, path, body, headers=headers)
        check(what, send(method, path, body, headers), *expected)

    for body in (b"{", b"[]", b"\xff", b'{"a":', b"[" * 200_000):
        bad(f"a body {body[:10]}", "POST", LIST, body, 400, "SerializationException")
    bad("a wrong kind", "POST", LIST, b'{"FunctionName": 7}', 400, "SerializationException", "NUMBER_VALUE")
    bad("a missing member", "POST", LIST, b"{}", 400, "ValidationException", "Value null at 'code'")
    bad("a bad name", "GET", LIST + "/a%20b", b"", 400, "ValidationException", "Value 'a b' at 'functionName' failed")
    bad("an endless name", "GET", f"{LIST}/{'a' * 3000}", b"", 400, "ValidationException", "length less than or equal to")
    bad("a climbing name", "GET", LIST + "/..%2F..%2Fetc%2Fpasswd", b"", 400, "ValidationException")
    bad("a body of 1 MiB and a byte", "PUT", LIST + "/f/configuration", b" " * (1024 * 1024 + 1), 413, "RequestTooLargeException")
    not_here = "Lambent does not implement"
    fails("an operation that is not there", aws.list_code_signing_configs, "InvalidParameterValueException", 400, not_here)
    fails("a wrong enumeration", lambda: aws.list_functions(FunctionVersion="SOME"), "ValidationException", 400, "[ALL]")
    fails("a wrong range", lambda: aws.list_functions(MaxItems=0), "ValidationException", 400, "greater than or equal to 1")
    other = f"arn:aws:lambda:us-east-1:{'9' * 12}:function:f"
    fails("another account", lambda: aws.get_function(FunctionName=other), "AccessDeniedException", 403)
    elsewhere = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:f"
    fails("another region", lambda: aws.get_function(FunctionName=elsewhere), "ResourceNotFoundException", 404, "eu-west-1")
    # A declared length beyond the limit is refused though no byte of it comes, and without a key nothing is read at all.
    path, headers = signed("POST", LIST + "/f/invocations", b"")
    status, answer, _ = send("POST", path, b"", {**headers, "Content-Length": str(7 * 1024 * 1024)})
    assert (status, answer["x-amzn-errortype"]) == (413, "RequestTooLargeException"), (status, answer)
    status, answer, _ = send("POST", LIST, b"", {"Content-Length": str(60 * 1024 * 1024)})
    assert (status, answer["x-amzn-errortype"]) == (403, "MissingAuthenticationTokenException"), (status, answer)


def push(name):
    """A tiny image, pushed to the built-in registry as its clients do; gives its URI."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for directory in ("var", "var/task", "tmp", "proc", "dev", "etc"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        entry = tarfile.TarInfo("bootstrap")
        entry.mode, entry.size = 0o755, 10
        tar.addfile(entry, io.BytesIO(b"#!/bin/sh\n"))
    layer = layer.getvalue()
    packed = gzip.compress(layer)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    config = {
        "architecture": machine,
        "os": "linux",
        "config": {"Entrypoint": ["/bootstrap"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
    }
    config = json.dumps(config).encode()
    basic = {"Authorization": "Basic " + base64.b64encode(":".join(KEY).encode()).decode()}
    described = []
    for kind, blob in (("config.v1+json", config), ("layer.v1.tar+gzip", packed)):
        digest = "sha256:" + hashlib.sha256(blob).hexdigest()
        status, headers, data = send("POST", f"/v2/{name}/blobs/uploads/", headers=basic)
        assert status == 202, (status, data)
        location = urllib.parse.urlsplit(headers["location"])
        joiner = "&" if location.query else "?"
        target = location.path + (f"?{location.query}" if location.query else "") + f"{joiner}digest={digest}"
        status, _, data = send("PUT", target, blob, basic)
        assert status == 201, (status, data)
        kind = f"application/vnd.oci.image.{'config' if 'config' in kind else 'layer'}.{kind.split('.', 1)[1]}"
        described.append({"mediaType": kind, "digest": digest, "size": len(blob)})
    media = "application/vnd.oci.image.manifest.v1+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": media, "config": described[0], "layers": described[1:]}).encode()
    status, _, data = send("PUT", f"/v2/{name}/manifests/v1", manifest, {**basic, "Content-Type": media})
    assert status == 201, (status, data)
    return f"{HOST}/{name}:v1"


def make(aws, name="f"):
    uri = push("test/image")
    aws.create_function(
        FunctionName=name, PackageType="Image", Code={"ImageUri": uri}, Role=f"arn:aws:iam::{ACCOUNT}:role/r"
    )
    aws.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.2, "MaxAttempts": 300})


def ask(aws, event, **more):
    answer = aws.invoke(FunctionName=more.pop("FunctionName", "f"), Payload=json.dumps(event), **more)
    return answer, answer["Payload"].read()


def invoke():
    aws = client("lambda")
    fails("no such function", lambda: ask(aws, {}, FunctionName="nobody"), "ResourceNotFoundException", 404, "Function not found")
    make(aws)
    arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"
    answer, body = ask(aws, {"a": [1]})
    seen = json.loads(body)
    assert (answer["StatusCode"], answer["ExecutedVersion"], answer.get("FunctionError")) == (200, "$LATEST", None), answer
    assert seen["event"] == {"a": [1]} and seen["arn"] == arn and seen["version"] == "$LATEST", seen
    assert seen["requestId"] == answer["ResponseMetadata"]["RequestId"], (seen, answer)
    assert seen["traceId"].startswith("Root=1-"), seen
    for name in ("f:$LATEST", arn, arn + ":$LATEST", f"{ACCOUNT}:function:f"):
        seen = json.loads(ask(aws, {}, FunctionName=name)[1])
        assert seen["name"] == "f" and seen["arn"] == (arn + ":$LATEST" if name.endswith("LATEST") else arn), seen
    answer = aws.invoke(FunctionName="f")
    assert json.loads(answer["Payload"].read())["event"] == {}, "no payload is an empty object"
    context = base64.b64encode(b'{"custom": {"a": "b"}}').decode()
    seen = json.loads(ask(aws, {}, ClientContext=context)[1])
    assert json.loads(seen["clientContext"]) == {"custom": {"a": "b"}}, seen
    refused = "InvalidRequestContentException"
    fails("a bad client context", lambda: ask(aws, {}, ClientContext="***"), refused, 400, "Client context")
    fails("no JSON", lambda: aws.invoke(FunctionName="f", Payload=b"{a}"), refused, 400, "Could not parse request body into json")
    answer, _ = ask(aws, {}, LogType="Tail")
    assert base64.b64decode(answer["LogResult"]) == b"REPORT the end", answer
    answer, body = ask(aws, {"do": "raise", "kind": "KeyError"})
    assert answer["FunctionError"] == "Unhandled" and json.loads(body)["errorType"] == "KeyError", (answer, body)
    answer, body = ask(aws, {"do": "entrypoint"})
    assert answer["FunctionError"] == "Unhandled" and json.loads(body)["errorType"] == "Runtime.InvalidEntrypoint", body
    reason = fails("no capacity", lambda: ask(aws, {"do": "no-capacity"}), "TooManyRequestsException", 429)
    assert reason["Reason"] == "ConcurrentInvocationLimitExceeded", reason
    fails("no start", lambda: ask(aws, {"do": "cannot-start"}), "ServiceException", 500)
    assert ask(aws, {}, InvocationType="DryRun")[0]["StatusCode"] == 204
    fails("a wrong type", lambda: ask(aws, {}, InvocationType="Sometimes"), "ValidationException", 400)
    fails("a wrong log type", lambda: ask(aws, {}, LogType="Head"), "ValidationException", 400)
    fails("dry and unknown", lambda: ask(aws, {}, FunctionName="nobody", InvocationType="DryRun"), "ResourceNotFoundException")
    fails("no such version", lambda: ask(aws, {}, Qualifier="7"), "ResourceNotFoundException", 404)
    fails("two qualifiers", lambda: ask(aws, {}, FunctionName="f:a", Qualifier="b"), "InvalidParameterValueException", 400)
    large = {"x": "y" * (6 * 1024 * 1024 - 100)}
    assert len(ask(aws, large)[1]) > 6 * 1024 * 1024 - 100
    text = "Request must be smaller than 6291456 bytes for the InvokeFunction operation"
    fails("too large", lambda: ask(aws, {"x": "y" * (6 * 1024 * 1024)}), "RequestTooLargeException", 413, text)
    weights(aws)


def weights(aws):
    aws.publish_version(FunctionName="f")
    aws.update_function_configuration(FunctionName="f", MemorySize=256)
    aws.get_waiter("function_updated_v2").wait(FunctionName="f", WaiterConfig={"Delay": 0.2, "MaxAttempts": 300})
    aws.publish_version(FunctionName="f")
    for version in ("1", "2"):
        config = {"Delay": 0.2, "MaxAttempts": 300}
        aws.get_waiter("published_version_active").wait(FunctionName="f", Qualifier=version, WaiterConfig=config)
    aws.create_alias(FunctionName="f", Name="live", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {"2": 0.3}})
    seen = [ask(aws, {}, Qualifier="live")[0]["ExecutedVersion"] for _ in range(200)]
    # Seven standard deviations (6.5) around the mean.
    assert set(seen) == {"1", "2"} and 15 < seen.count("2") < 105, seen.count("2")
    seen = json.loads(ask(aws, {}, FunctionName="f:live")[1])
    assert seen["arn"].endswith(":function:f:live") and seen["version"] in "12", seen


def streams():
    aws = client("lambda")
    make(aws)

    def events(event, **more):
        answer = aws.invoke_with_response_stream(FunctionName="f", Payload=json.dumps(event), **more)
        return answer, list(answer["EventStream"])

    def chunks(events):
        return [event["PayloadChunk"]["Payload"] for event in events if "PayloadChunk" in event]

    answer, seen = events({"do": "stream", "pieces": ["one", "two", "three"]}, LogType="Tail")
    assert chunks(seen) == [b"one", b"two", b"three"], seen
    assert seen[-1]["InvokeComplete"] == {"LogResult": base64.b64encode(b"REPORT the end").decode()}, seen[-1]
    assert answer["ExecutedVersion"] == "$LATEST" and answer["ResponseStreamContentType"] == "text/plain", answer
    _, seen = events({"do": "stream-fail", "pieces": ["one"]})
    assert chunks(seen) == [b"one"], seen
    complete = seen[-1]["InvokeComplete"]
    assert (complete["ErrorCode"], complete["ErrorDetails"]) == ("Function.Broke", "half way"), complete
    _, seen = events({"do": "stream", "pieces": []})
    assert chunks(seen) == [] and "ErrorCode" not in seen[-1]["InvokeComplete"], seen
    _, seen = events({"do": "answer", "answer": "x" * 3_000_000})
    assert [len(chunk) for chunk in chunks(seen)] == [1048576, 1048576, 902850], [len(chunk) for chunk in chunks(seen)]
    _, seen = events({"do": "raise", "kind": "KeyError"})
    assert chunks(seen) == [] and seen[-1]["InvokeComplete"]["ErrorCode"] == "KeyError", seen
    answer = aws.invoke_with_response_stream(FunctionName="f", InvocationType="DryRun")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204, answer
    fails("an event", lambda: events({}, InvocationType="Event"), "ValidationException", 400)
    # A reader that leaves takes nobody down.
    aws.invoke_with_response_stream(FunctionName="f", Payload=json.dumps({"do": "stream", "pieces": ["x" * 1000] * 1000}))["EventStream"].close()
    assert ask(aws, {})[0]["StatusCode"] == 200


def tries(aws, request_id):
    return int(ask(aws, {"do": "tries", "of": request_id})[1])


def until(what, condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def event(aws, event, **more):
    answer, body = ask(aws, event, InvocationType="Event", **more)
    assert (answer["StatusCode"], body) == (202, b""), (answer, body)
    return answer["ResponseMetadata"]["RequestId"]


def events():
    aws = client("lambda")
    make(aws)
    once = event(aws, {})
    until("it runs", lambda: tries(aws, once) == 1)
    thrice = event(aws, {"do": "raise"})
    until("it runs three times", lambda: tries(aws, thrice) == 3)
    again = event(aws, {"do": "fail-first", "times": 1})
    until("it runs again", lambda: tries(aws, again) == 2)
    refused = event(aws, {"do": "refuse-first", "times": 5})
    until("it is tried until there is room", lambda: tries(aws, refused) == 6)
    aws.put_function_event_invoke_config(FunctionName="f", MaximumRetryAttempts=0)
    never = event(aws, {"do": "raise"})
    until("it runs once", lambda: tries(aws, never) == 1)
    old = aws.invoke_async(FunctionName="f", InvokeArgs=b"{}")
    assert old["Status"] == 202, old
    until("the old way", lambda: tries(aws, old["ResponseMetadata"]["RequestId"]) == 1)
    large = {"x": "y" * (1024 * 1024)}
    text = "Request must be smaller than 1048576 bytes for the InvokeFunction operation"
    fails("too large", lambda: ask(aws, large, InvocationType="Event"), "RequestTooLargeException", 413, text)
    fails("no such function", lambda: ask(aws, {}, FunctionName="g", InvocationType="Event"), "ResourceNotFoundException")
    fails("no JSON", lambda: aws.invoke(FunctionName="f", Payload=b"{", InvocationType="Event"), "InvalidRequestContentException")
    # A burst of events all run, each once.
    burst = [event(aws, {"n": n}) for n in range(60)]
    until("all run", lambda: all(tries(aws, one) >= 1 for one in burst))
    counts = [tries(aws, one) for one in (*burst, once, never)]
    assert counts == [1] * len(counts), counts
    assert tries(aws, thrice) == 3


def leave_event():
    aws = client("lambda")
    make(aws)
    left = event(aws, {"do": "hold"})
    until("it has begun", lambda: tries(aws, left) == 1)


def count_left_event():
    """The event left the record, so it ran; and the function still answers."""
    assert ask(client("lambda"), {})[0]["StatusCode"] == 200


def concurrency():
    aws = client("lambda")
    make(aws)
    body = json.dumps({"do": "hold"}).encode()

    def hold():
        """Begins an invocation that does not end; gives the connection."""
        path, headers = signed("POST", f"{LIST}/f/invocations", body)
        connection = http.client.HTTPConnection(HOST, timeout=30)
        connection.request("POST", path, body, headers)
        return connection

    held = [hold(), hold()]

    def throttled():
        try:
            ask(aws, {})
        except botocore.exceptions.ClientError as error:
            assert error.response["Reason"] == "ConcurrentInvocationLimitExceeded", error.response
            assert error.response["Error"]["Message"] == "Rate Exceeded.", error.response
            return True
        return False

    until("the account's limit is reached", throttled)
    # A caller that hangs up does not end what it began: the slot stays taken.
    for connection in held:
        connection.close()
    for _ in range(20):
        assert throttled()
        time.sleep(0.01)
    # Reserved concurrency is a limit of its own, with a reason of its own.
    make(aws, "g")
    # The account of this test is too small for the operation to reserve from it; zero is always allowed.
    aws.put_function_concurrency(FunctionName="g", ReservedConcurrentExecutions=0)
    reason = fails("none reserved", lambda: ask(aws, {}, FunctionName="g"), "TooManyRequestsException", 429)
    assert reason["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded", reason


def urls():
    aws = client("lambda")
    make(aws)
    aws.create_function_url_config(FunctionName="f", AuthType="NONE", Cors={"AllowOrigins": ["https://a.example"], "AllowMethods": ["GET"]})
    url = aws.get_function_url_config(FunctionName="f")["FunctionUrl"]
    path = urllib.parse.urlsplit(url).path
    assert path.startswith("/_url/"), url
    identity = path.split("/")[2]
    forbidden = send("GET", path)
    assert forbidden[0] == 403 and b"Forbidden" in forbidden[2], forbidden
    permission = {"StatementId": "public", "Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"}
    aws.add_permission(FunctionName="f", **permission)
    status, headers, data = send("POST", path + "a/b?x=1&x=2", b'{"k": 1}', {"Content-Type": "application/json", "Cookie": "c=d"})
    seen = json.loads(data)["event"]
    assert status == 200 and headers["content-type"] == "application/json", (status, headers)
    assert seen["rawPath"] == "/a/b" and seen["queryStringParameters"] == {"x": "1,2"} and seen["body"] == '{"k": 1}', seen
    assert seen["requestContext"]["http"]["method"] == "POST" and seen["cookies"] == ["c=d"], seen
    status, _, data = send("GET", "/by/host", headers={"Host": f"{identity}.lambda-url.us-east-1.localhost"})
    assert status == 200 and json.loads(data)["event"]["rawPath"] == "/by/host", (status, data)
    status, _, data = send("GET", path + "?do=raise")
    assert (status, data) == (502, b"Internal Server Error"), (status, data)
    assert send("GET", path + "?do=no-capacity")[0] == 429
    assert send("GET", "/_url/nobody/")[0] == 404
    assert send("POST", path, b"", {"Content-Length": str(6 * 1024 * 1024 + 1)})[0] == 413
    status, headers, _ = send("OPTIONS", path, headers={"Origin": "https://a.example", "Access-Control-Request-Method": "GET"})
    assert status == 200 and headers["access-control-allow-methods"] == "GET", (status, headers)
    headers = send("GET", path, headers={"Origin": "https://a.example"})[1]
    assert headers["access-control-allow-origin"] == "https://a.example", headers
    streamed_url(aws, path)
    signed_url(aws, path)


def streamed_url(aws, path):
    aws.update_function_url_config(FunctionName="f", InvokeMode="RESPONSE_STREAM")
    status, headers, data = send("GET", path + "?do=http-stream")
    assert (status, data) == (206, b"one,two"), (status, data)
    assert headers["x-streamed"] == "yes" and headers["set-cookie"] == "a=b", headers
    status, _, data = send("GET", path)
    assert status == 200 and json.loads(data)["version"] == "$LATEST", (status, data)
    assert send("GET", path + "?do=raise")[0] == 502
    aws.update_function_url_config(FunctionName="f", InvokeMode="BUFFERED")


def signed_url(aws, path):
    aws.update_function_url_config(FunctionName="f", AuthType="AWS_IAM")
    assert send("GET", path)[0] == 403
    target, headers = signed("POST", path + "x?q=1", b"body")
    status, _, data = send("POST", target, b"body", headers)
    assert status == 200, (status, data)
    iam = json.loads(data)["event"]["requestContext"]["authorizer"]["iam"]
    assert iam["accountId"] == ACCOUNT and iam["accessKey"] == KEY[0], iam
    assert send("POST", target, b"other", headers)[0] == 403
    target, headers = signed("GET", path, key=REVOKED)
    assert send("GET", target, headers=headers)[0] == 403


def operators():
    assert send("GET", "/_lambent/health")[2] == b"ok\n"
    assert send("GET", "/_lambent/nothing")[0] == 404
    assert send("GET", "/_lambent/code/nothing")[0] == 403
    aws = client("lambda")
    make(aws)
    ask(aws, {})
    text = send("GET", "/metrics")[2].decode()
    for line in (
        'lambent_requests_total{operation="Invoke",status="200"} 1',
        'lambent_requests_total{operation="CreateFunction",status="201"} 1',
        "lambent_invoke_seconds_count 1",
        'lambent_cold_start_seconds_count{part="mount"} 1',
        'lambent_environments{state="idle"} 1',
    ):
        assert line in text.splitlines(), f"{line} is not in\n{text}"
    fails("an unknown form", client("sts").get_session_token, "InvalidAction", 400)
    assert len(client("ecr").get_authorization_token()["authorizationData"]) == 1


globals()[sys.argv[1]]()
