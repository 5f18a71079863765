"""What all tests share: clients of the endpoint, and functions of the handler that does as its event says."""

import collections
import functools
import http.client
import io
import json
import os
import pathlib
import platform
import threading
import time
import unittest
import urllib.parse
import uuid
import zipfile

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials

ROLE = "arn:aws:iam::000000000000:role/test"
ACCOUNT = "000000000000"
REGION = "us-east-1"
ARCHITECTURE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
NO_RETRIES = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=120, max_pool_connections=50)
# botocore checks lengths and kinds itself; with this the server has to.
UNCHECKED = NO_RETRIES.merge(botocore.config.Config(parameter_validation=False))
# Between two looks at something that is waited for, s.
LOOK_EVERY = 0.03

Answer = collections.namedtuple("Answer", "status headers body")


def client(service, config=NO_RETRIES, **options):
    """A client of the endpoint, which does not try again by itself."""
    return boto3.client(service, config=config, **options)


def function_arn(name, qualifier=None):
    """The ARN of a function of the account."""
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
    return arn if qualifier is None else f"{arn}:{qualifier}"


def new_name():
    """A name that no function has."""
    return f"f-{uuid.uuid4().hex[:12]}"


@functools.cache
def bootstrap():
    """The handler's program."""
    return pathlib.Path(os.environ["BOOTSTRAP"]).read_bytes()


@functools.cache
def plain_handler_zip():
    """A zip of the handler alone."""
    return handler_zip()


def handler_zip(files=None, **extra):
    """A zip of the handler, with further files by name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, bootstrap())
        for name, text in {**(files or {}), **extra}.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def zip_of(files):
    """A zip of texts by name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def eventually(look, what, seconds=30):
    """Looks again and again until there is something to see, and gives it."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(LOOK_EVERY)


def together(calls):
    """Runs calls at the same time, and gives what each returned or raised, in their order."""
    results = [None] * len(calls)
    begin = threading.Barrier(len(calls))

    def run(index, call):
        begin.wait()
        try:
            results[index] = call()
        except Exception as error:  # The caller looks at it.
            results[index] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def credentials():
    """The key of the profile."""
    return boto3.Session().get_credentials().get_frozen_credentials()


def signed_headers(method, url, body=b"", headers=None, service="lambda", key=None, signer=None):
    """The headers of a request, with a signature that botocore made."""
    request = botocore.awsrequest.AWSRequest(method=method, url=url, data=body, headers=headers or {})
    signer = signer or botocore.auth.SigV4Auth
    signer(key or credentials(), service, REGION).add_auth(request)
    headers = dict(request.prepare().headers.items())
    # It is not signed, and `send` knows the body that goes.
    headers.pop("Content-Length", None)
    return headers


def send(method, url, body=b"", headers=None):
    """Sends a request as it is, with nothing added or repaired."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        headers = {name.lower(): value for name, value in (headers or {}).items()}
        for name, value in {"host": parts.netloc, "content-length": str(len(body)), **headers}.items():
            connection.putheader(name, value)
        try:
            connection.endheaders(body or None)
        except (BrokenPipeError, ConnectionResetError):
            pass  # Whoever refuses a body answers before its end.
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def error_code(answer):
    """The error's code as botocore reads it from the header."""
    return (answer.headers["x-amzn-errortype"] or "").split(":")[0]


def make(aws, add_cleanup, settings):
    """Creates a function of the handler; gives the answer."""
    defaults = {
        "FunctionName": new_name(),
        "Runtime": "provided.al2023",
        "Handler": "bootstrap",
        "Role": ROLE,
        "Timeout": 10,
    }
    settings = {**defaults, **settings}
    if "Code" not in settings:
        settings["Code"] = {"ZipFile": plain_handler_zip()}
    created = aws.create_function(**{name: value for name, value in settings.items() if value is not None})
    add_cleanup(remove, aws, created["FunctionName"])
    return created


def remove(aws, name):
    """Removes a function that may be gone."""
    try:
        aws.delete_function(FunctionName=name)
    except aws.exceptions.ResourceNotFoundException:
        pass


def settled(aws, name):
    """Waits until a function is created and changed; gives its configuration, whether that went well or not."""

    def look():
        found = aws.get_function_configuration(FunctionName=name)
        return found if found["State"] != "Pending" and found["LastUpdateStatus"] != "InProgress" else None

    return eventually(look, f"{name} is prepared", 60)


def publish(aws, name, greeting):
    """Publishes a version that answers with its greeting; gives its number."""
    aws.update_function_configuration(FunctionName=name, Environment={"Variables": {"GREETING": greeting}})
    found = settled(aws, name)
    assert found["LastUpdateStatus"] == "Successful", found
    version = aws.publish_version(FunctionName=name)["Version"]
    aws.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=version)
    return version


class FunctionTest(unittest.TestCase):
    """Has clients, and makes functions that are removed afterwards."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.aws = client("lambda")
        cls.unchecked = client("lambda", UNCHECKED)
        cls.logs = client("logs")
        cls.endpoint = cls.aws.meta.endpoint_url

    def create(self, wait=True, **settings):
        """A function of the handler under a name of its own; gives the name. A setting of None is left out."""
        self.created = make(self.aws, self.addCleanup, settings)
        if wait:
            self.active(self.created["FunctionName"])
        return self.created["FunctionName"]

    @classmethod
    def create_shared(cls, **settings):
        """A function for all tests of the class; gives the name."""
        name = make(cls.aws, cls.addClassCleanup, settings)["FunctionName"]
        found = settled(cls.aws, name)
        assert found["State"] == "Active", found
        return name

    def active(self, name):
        """Waits until a function is ready, and expects that nothing failed; gives its configuration."""
        found = settled(self.aws, name)
        self.assertEqual((found["State"], found["LastUpdateStatus"]), ("Active", "Successful"), found)
        return found

    def publish(self, name, greeting):
        """Publishes a version that answers with its greeting; gives its number."""
        return publish(self.aws, name, greeting)

    def invoke(self, name, event=None, **options):
        """Invokes and gives the whole response, with the payload read."""
        payload = json.dumps(event if event is not None else {})
        response = self.aws.invoke(FunctionName=name, Payload=payload, **options)
        response["Payload"] = response["Payload"].read()
        return response

    def ask(self, name, event=None, **options):
        """Invokes, expects that nothing fails, and gives the answer."""
        response = self.invoke(name, event, **options)
        self.assertNotIn("FunctionError", response, response["Payload"])
        return json.loads(response["Payload"])

    def failure(self, name, event=None, **options):
        """Invokes, expects that the function fails, and gives the error that is the answer."""
        response = self.invoke(name, event, **options)
        self.assertEqual(response["StatusCode"], 200)
        self.assertEqual(response.get("FunctionError"), "Unhandled", response["Payload"])
        return json.loads(response["Payload"])

    def refused(self, code, call, message=None, status=None, **arguments):
        """Expects that a call is refused with an error code, or one of several; gives the error."""
        with self.assertRaises(self.aws.exceptions.ClientError) as caught:
            call(**arguments)
        error = caught.exception.response
        codes = (code,) if isinstance(code, str) else code
        self.assertIn(error["Error"]["Code"], codes, error)
        if message is not None:
            self.assertIn(message, error["Error"]["Message"])
        if status is not None:
            self.assertEqual(error["ResponseMetadata"]["HTTPStatusCode"], status)
        return error

    def missing(self, call, message=None, **arguments):
        """Expects that a call finds nothing."""
        return self.refused("ResourceNotFoundException", call, message, 404, **arguments)

    def invalid(self, place, constraint, call, **arguments):
        """Expects that the model's constraint on one value refuses a call."""
        error = self.refused("ValidationException", call, status=400, **arguments)
        self.assertRegex(error["Error"]["Message"], r"^[1-9]\d* validation errors? detected: Value ")
        self.assertIn(f"at '{place}' failed to satisfy constraint: ", error["Error"]["Message"])
        self.assertIn(constraint, error["Error"]["Message"])
        return error

    def status(self, expected, response):
        """Expects an HTTP status."""
        self.assertEqual(response["ResponseMetadata"]["HTTPStatusCode"], expected, response)
        return response

    def pages(self, call, result, **arguments):
        """All pages of a list, one item on each; gives the items."""
        items, marker = [], {}
        while True:
            page = call(MaxItems=1, **marker, **arguments)
            self.assertLessEqual(len(page[result]), 1)
            items += page[result]
            if not page.get("NextMarker"):
                return items
            self.assertEqual(len(page[result]), 1)
            marker = {"Marker": page["NextMarker"]}

    def sent(self, method, path, body=b"", headers=None, service="lambda"):
        """The answer to a signed request that is sent as it is."""
        url = self.endpoint + path
        return send(method, url, body, signed_headers(method, url, body, headers, service))

    def messages(self, name, pattern=None):
        """The lines of a function's log, oldest first."""
        found, token = [], {}
        pattern = {"filterPattern": pattern} if pattern else {}
        while True:
            try:
                page = self.logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", **pattern, **token)
            except self.logs.exceptions.ResourceNotFoundException:
                return []
            found += [event["message"].rstrip("\n") for event in page["events"]]
            if "nextToken" not in page:
                return found
            token = {"nextToken": page["nextToken"]}

    def logged(self, name, part, count=1):
        """Waits until that many lines of a function's log hold a text, and gives them."""

        def look():
            found = [line for line in self.messages(name) if part in line]
            return found if len(found) >= count else None

        return eventually(look, f"{name} logs {part!r}")
