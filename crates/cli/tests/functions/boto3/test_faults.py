"""Bad input and functions that misbehave: each gets Lambda's answer, and no other function notices."""

import base64
import io
import json
import time
import zipfile

from support import (
    ACCOUNT,
    REGION,
    FunctionTest,
    error_code,
    function_arn,
    handler_zip,
    plain_handler_zip,
    send,
    settled,
    signed_headers,
    together,
    zip_of,
)

TOO_LARGE = ("RequestTooLargeException", "RequestEntityTooLargeException")


class BadInput(FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.name = cls.create_shared()

    def tearDown(self):
        self.assertEqual(self.ask(self.name, {"do": "echo"}), {"do": "echo"}, "another function goes on")

    def test_payloads_that_are_no_json(self):
        for payload in [b"{", b"{no: json}", b"\xff\xfe", b'{"a": "\x87r"}', b"NaN", b"'a'", b"{} {}", b"\0"]:
            with self.subTest(payload):
                message = "Could not parse request body into json: "
                call = self.aws.invoke
                error = self.refused("InvalidRequestContentException", call, message, 400, FunctionName=self.name, Payload=payload)
                self.assertEqual(error["Type"], "User")

    def test_requests_that_are_no_json(self):
        for body in [b"{", b"[]", b'"text"', b"\xff", b"{} {}", b"[" * 100_000, b'{"FunctionName": "f"' + b" " * 1000]:
            with self.subTest(body[:20]):
                answer = self.sent("POST", "/2015-03-31/functions", body)
                self.assertEqual(answer.status, 400, answer)
                code = error_code(answer)
                self.assertIn(code, ["SerializationException", "InvalidRequestContentException", "ValidationException"])

    def test_payloads_beyond_the_limit(self):
        payload = json.dumps("x" * 6_291_455)
        self.assertEqual(len(payload), 6_291_457)
        self.refused(TOO_LARGE, self.aws.invoke, "6291456", 413, FunctionName=self.name, Payload=payload)

    def test_requests_beyond_the_limit(self):
        answer = self.sent("POST", f"/2015-03-31/functions/{self.name}/aliases", b'{"Description": "' + b"x" * 3_000_000 + b'"}')
        self.assertIn(answer.status, [400, 413])
        code = {"ZipFile": b"\0" * 52_700_000}
        message = "Request must be smaller than 70167211 bytes for the CreateFunction operation"
        self.refused(TOO_LARGE, self.create, message, 413, Code=code)

    def test_answers_beyond_the_limit(self):
        expected = {
            "errorType": "Function.ResponseSizeTooLarge",
            "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        }
        name = self.create(MemorySize=512)
        for size in [6_291_555, 20_000_000]:
            self.assertEqual(self.failure(name, {"do": "large", "bytes": size}), expected)
        self.assertEqual(len(self.ask(name, {"do": "large", "bytes": 6_291_500})), 6_291_500)

    def test_hostile_names(self):
        odd = ["..", "../../etc/passwd", "a/b", "a%2Fb", "a\0b", "a\nb", "a b", "ä", "%", "?", "#", "'; DROP TABLE functions; --"]
        for name in [*odd, "f" * 5000]:
            with self.subTest(name[:30]):
                with self.assertRaises(self.aws.exceptions.ClientError) as caught:
                    self.unchecked.get_function(FunctionName=name)
                self.assertIn(caught.exception.response["ResponseMetadata"]["HTTPStatusCode"], [400, 403, 404])
        functions = "/2015-03-31/functions"
        for path in ["/../functions", "//", "/%00", "/%zz", "/%ff", "/a/../b", "/%2e%2e", "/f/invocations/more"]:
            with self.subTest(path):
                path = functions + path
                url = self.endpoint + path
                self.assertIn(send("GET", url, b"", signed_headers("GET", url)).status, [400, 403, 404])

    def test_values_with_odd_letters_survive(self):
        description = "'; DROP TABLE functions; -- \" \\ ä € 𝄞 \u2028 <script> ${x} %s {}"
        self.aws.update_function_configuration(FunctionName=self.name, Description=description)
        self.assertEqual(self.active(self.name)["Description"], description)

    def test_headers_that_are_odd(self):
        path = f"/2015-03-31/functions/{self.name}/invocations"
        for headers in [{"X-Amz-Client-Context": "!"}, {"X-Amz-Log-Type": "x" * 1000}, {"X-Amz-Invocation-Type": "\u00e4"}]:
            with self.subTest(headers):
                self.assertIn(self.sent("POST", path, b"{}", headers).status, [400, 403])

    def test_a_million_empty_bytes_are_no_request(self):
        answer = self.sent("PUT", f"/2015-03-31/functions/{self.name}/configuration", b" " * 1_000_000)
        self.assertIn(answer.status, [200, 400])


class BadZips(FunctionTest):
    def refuse(self, code, message):
        self.refused("InvalidParameterValueException", self.create, message, 400, Code={"ZipFile": code})

    def zip_with(self, name, mode=0o644, content=b"x"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            entry = zipfile.ZipInfo("placeholder")
            entry.external_attr = mode << 16
            entry.filename = name
            archive.writestr(entry, content)
        return buffer.getvalue()

    def test_bombs(self):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            with archive.open("bomb", "w", force_zip64=True) as entry:
                for _ in range(263):
                    entry.write(b"\0" * 1_000_000)
        self.refuse(buffer.getvalue(), "Unzipped size must be smaller than 262144000 bytes")

    def test_bombs_that_lie_about_their_size(self):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            with archive.open("bomb", "w") as entry:
                for _ in range(270):
                    entry.write(b"\0" * 1_000_000)
        code = buffer.getvalue()
        size = (270_000_000).to_bytes(4, "little")
        self.assertGreaterEqual(code.count(size), 1)
        begin = time.monotonic()
        self.refuse(code.replace(size, (1000).to_bytes(4, "little")), "nzip")
        self.assertLess(time.monotonic() - begin, 20)

    def test_paths_that_escape(self):
        for name in ["../outside", "a/../../outside", "/absolute", "..", "a/./../../b"]:
            with self.subTest(name):
                self.refuse(self.zip_with(name), "Could not unzip uploaded file")

    def test_links_and_devices_that_escape(self):
        link_then_file = io.BytesIO()
        with zipfile.ZipFile(link_then_file, "w") as archive:
            link = zipfile.ZipInfo("dir")
            link.external_attr = 0o120777 << 16
            archive.writestr(link, "/etc")
            archive.writestr("dir/passwd", "root")
        self.refuse(link_then_file.getvalue(), "Could not unzip uploaded file")
        self.refuse(self.zip_with("device", 0o020666), "Could not unzip uploaded file")
        name = self.create(Code={"ZipFile": self.with_link("secret", "/etc/hostname")})
        inside = self.ask(name, {"do": "read", "path": "/var/task/secret"})
        with open("/etc/hostname") as file:
            self.assertNotEqual(inside.get("content"), file.read().strip())

    def with_link(self, name, target):
        buffer = io.BytesIO(plain_handler_zip())
        with zipfile.ZipFile(buffer, "a") as archive:
            link = zipfile.ZipInfo(name)
            link.external_attr = 0o120777 << 16
            archive.writestr(link, target)
        return buffer.getvalue()

    def test_zips_that_are_broken(self):
        good = plain_handler_zip()
        for code in [b"PK", b"", b"PK\x05\x06" + b"\0" * 17, good[: len(good) // 2], good[:-22]]:
            with self.subTest(len(code)):
                with self.assertRaises(self.aws.exceptions.InvalidParameterValueException):
                    self.create(Code={"ZipFile": code})
        middle = len(good) // 2
        damaged = good[:middle] + bytes(255 - byte for byte in good[middle : middle + 64]) + good[middle + 64 :]
        self.refuse(damaged, "Could not unzip uploaded file")

    def test_a_zip_without_a_bootstrap(self):
        name = self.create(Code={"ZipFile": zip_of({"readme": "nothing here"})})
        error = self.failure(name)
        self.assertEqual(error["errorType"], "Runtime.InvalidEntrypoint")
        self.assertIn("bootstrap", error["errorMessage"])

    def test_a_bootstrap_that_cannot_run(self):
        for content, mode in [(b"no program", 0o755), (b"#!/no/such/shell\n", 0o755), (b"", 0o755)]:
            name = self.create(Code={"ZipFile": self.zip_with("bootstrap", mode, content)})
            error = self.failure(name)
            self.assertIn(error["errorType"], ["Runtime.InvalidEntrypoint", "Runtime.ExitError"], content)


class BadImages(FunctionTest):
    def test_images_that_are_not_there(self):
        host = self.endpoint.removeprefix("http://")
        for uri in [
            f"{host}/no-such:latest",
            f"{host}/no-such@sha256:{'0' * 64}",
            f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/no-such:latest",
        ]:
            with self.subTest(uri):
                self.fails(uri, f"Source image {uri} does not exist. Provide a valid source image.")

    def test_references_that_are_none(self):
        host = self.endpoint.removeprefix("http://")
        for uri in ["", "UPPER/case", "a b", f"{host}/x@sha256:short", f"{host}/../../etc:latest", "x" * 3000, "127.0.0.1:1/none:latest"]:
            with self.subTest(uri[:40]):
                self.fails(uri)

    def fails(self, uri, message=""):
        """At once, or when the image is looked for; either way with a reason."""
        settings = {"PackageType": "Image", "Code": {"ImageUri": uri}, "Runtime": None, "Handler": None}
        try:
            name = self.create(wait=False, **settings)
        except self.aws.exceptions.ClientError as caught:
            self.assertEqual(caught.response["Error"]["Code"], "InvalidParameterValueException", caught.response)
            self.assertIn(message, caught.response["Error"]["Message"])
            return
        found = settled(self.aws, name)
        self.assertEqual(found["State"], "Failed", found)
        self.assertIn(found["StateReasonCode"], ["InvalidImage", "ImageAccessDenied", "ImageDeleted"])
        self.assertIn(message, found["StateReason"])
        self.refused("ResourceConflictException", self.aws.invoke, "Failed", 409, FunctionName=name)


class Misbehaviour(FunctionTest):
    """Each misbehaving function runs beside a witness that must not notice."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.witness = cls.create_shared()

    def setUp(self):
        self.count = self.ask(self.witness, {"do": "count"})["invocations"]

    def tearDown(self):
        self.assertEqual(self.ask(self.witness, {"do": "count"})["invocations"], self.count + 1, "the witness was disturbed")

    def fails_and_recovers(self, event, error_type, message, **settings):
        """The error of one bad invocation, after which a new environment answers; gives the log."""
        name = self.create(**settings)
        response = self.invoke(name, event, LogType="Tail")
        self.assertEqual((response["StatusCode"], response.get("FunctionError")), (200, "Unhandled"), response["Payload"])
        error = json.loads(response["Payload"])
        request_id = response["ResponseMetadata"]["RequestId"]
        self.assertEqual(error["errorType"], error_type, error)
        self.assertEqual(error["errorMessage"], f"RequestId: {request_id} Error: {message}")
        self.assertEqual(self.ask(name, {"do": "count"})["invocations"], 1)
        return base64.b64decode(response["LogResult"]).decode()

    def test_exits(self):
        for event, message in [
            ({"do": "exit"}, "Runtime exited without providing a reason"),
            ({"do": "exit", "code": 1}, "Runtime exited with error: exit status 1"),
            ({"do": "exit", "code": 127}, "Runtime exited with error: exit status 127"),
            ({"do": "abort"}, "Runtime exited with error: signal: aborted"),
        ]:
            with self.subTest(event):
                log = self.fails_and_recovers(event, "Runtime.ExitError", message)
                self.assertIn("END RequestId: ", log)
                self.assertRegex(log, r"REPORT RequestId: .*\tStatus: error\tError Type: Runtime.ExitError")

    def test_timeouts(self):
        begin = time.monotonic()
        message = "Task timed out after 1.00 seconds"
        log = self.fails_and_recovers({"do": "sleep", "ms": 60_000}, "Sandbox.Timedout", message, Timeout=1)
        self.assertLess(time.monotonic() - begin, 15)
        self.assertIn(message, log)
        self.assertRegex(log, r"REPORT RequestId: .*\tStatus: timeout")

    def test_sockets_that_are_closed(self):
        message = "Task timed out after 1.00 seconds"
        self.fails_and_recovers({"do": "close sockets"}, "Sandbox.Timedout", message, Timeout=1)

    def test_out_of_memory(self):
        log = self.fails_and_recovers_from_memory()
        self.assertRegex(log, r"REPORT RequestId: .*\tMemory Size: 128 MB\tMax Memory Used: 12\d MB")

    def fails_and_recovers_from_memory(self):
        name = self.create(MemorySize=128, Timeout=30)
        response = self.invoke(name, {"do": "eat memory"}, LogType="Tail")
        self.assertEqual(response.get("FunctionError"), "Unhandled", response["Payload"])
        error = json.loads(response["Payload"])
        self.assertIn(error["errorType"], ["Runtime.OutOfMemory", "Runtime.ExitError"])
        self.assertTrue(error["errorMessage"].endswith("Runtime exited with error: signal: killed"), error)
        self.assertEqual(self.ask(name, {"do": "count"})["invocations"], 1)
        return base64.b64decode(response["LogResult"]).decode()

    def test_forks_without_end(self):
        name = self.create(MemorySize=512, Timeout=60)
        results = together([lambda: self.ask(name, {"do": "fork"}), lambda: self.ask(self.witness, {"do": "echo"})])
        self.count += 1
        self.assertEqual(results[1], {"do": "echo"})
        self.assertIn("processes", results[0])

    def test_a_full_tmp(self):
        name = self.create(MemorySize=1024, Timeout=60)
        for _ in range(2):
            self.assertIn("No space left", self.ask(name, {"do": "fill tmp"})["error"])

    def test_two_answers(self):
        name = self.create()
        self.assertEqual(self.ask(name, {"do": "answer twice"}), "first")
        self.assertEqual(self.ask(name, {"do": "count"})["invocations"], 2)
        self.assertRegex(self.logged(name, "second answer: status ")[0], r"status 4\d\d$")

    def test_answers_to_anothers_request(self):
        name = self.create()
        stranger = self.invoke(self.witness, {"do": "echo"})["ResponseMetadata"]["RequestId"]
        self.count += 1
        for identity in [stranger, "00000000-0000-4000-8000-000000000000", "none", "../../2018-06-01/runtime/init/error"]:
            self.assertEqual(self.ask(name, {"do": "answer another", "id": identity}), "mine")
        for line in self.logged(name, "another's answer: status ", 4):
            self.assertRegex(line, r"status 4\d\d$")

    def test_errors_that_it_reports_while_it_starts(self):
        name = self.create(Environment={"Variables": {"REPORT_INIT": "1"}})
        for _ in range(2):
            error = self.failure(name)
            self.assertEqual(error, {"errorType": "Model.Missing", "errorMessage": "no weights"})

    def test_exits_while_it_starts(self):
        name = self.create(Environment={"Variables": {"FAIL_INIT": "1"}})
        for _ in range(2):
            response = self.invoke(name, LogType="Tail")
            error = json.loads(response["Payload"])
            self.assertEqual((response["FunctionError"], error["errorType"]), ("Unhandled", "Runtime.ExitError"))
            self.assertTrue(error["errorMessage"].endswith("Error: Runtime exited with error: exit status 3"), error)
        self.assertIn("going down", base64.b64decode(response["LogResult"]).decode())
        self.aws.update_function_configuration(FunctionName=name, Environment={"Variables": {}})
        self.active(name)
        self.assertEqual(self.ask(name, {"do": "echo"}), {"do": "echo"})

    def test_a_start_that_never_ends(self):
        name = self.create(Environment={"Variables": {"SLOW_INIT": "1"}}, Timeout=2)
        begin = time.monotonic()
        error = self.failure(name)
        # The init phase has 10 s, then it is tried once more within the function's own timeout.
        self.assertTrue(10 <= time.monotonic() - begin < 20)
        self.assertEqual(error["errorType"], "Sandbox.Timedout")
        self.assertIn("Task timed out after 2.00 seconds", error["errorMessage"])
        self.logged(name, "INIT_REPORT Init Duration: ")

    def test_many_faults_at_once(self):
        name = self.create(Timeout=2)
        events = [{"do": "exit"}, {"do": "sleep", "ms": 9000}, {"do": "fail"}, {"do": "abort"}, {"do": "count"}] * 2
        results = together([lambda event=event: self.invoke(name, event) for event in events])
        for event, result in zip(events, results):
            self.assertNotIsInstance(result, Exception, event)
            self.assertEqual("FunctionError" in result, event["do"] != "count", result["Payload"])


class Recovery(FunctionTest):
    def test_what_fails_can_still_be_removed(self):
        name = self.create(Environment={"Variables": {"FAIL_INIT": "1"}})
        self.failure(name)
        self.status(204, self.aws.delete_function(FunctionName=name))
        self.missing(self.aws.invoke, f"Function not found: {function_arn(name)}", FunctionName=name)

    def test_a_broken_update_leaves_the_function_as_it_was(self):
        name = self.create(Code={"ZipFile": handler_zip(model="good")})
        with self.assertRaises(self.aws.exceptions.InvalidParameterValueException):
            self.aws.update_function_code(FunctionName=name, ZipFile=b"no zip")
        self.assertEqual(self.ask(name, {"do": "read", "path": "/var/task/model"}), {"content": "good"})
