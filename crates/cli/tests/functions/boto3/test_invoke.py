"""Invoke, synchronously."""

import base64
import json
import re
import time
import uuid

from support import ACCOUNT, REGION, FunctionTest, function_arn, new_name

REPORT = (
    r"REPORT RequestId: {id}\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\tMemory Size: {memory} MB\t"
    r"Max Memory Used: \d+ MB\t(Init Duration: \d+\.\d\d ms\t)?"
)


class Invoke(FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.name = cls.create_shared(Environment={"Variables": {"GREETING": "hello", "UMLAUT": "ä\t\"\\"}}, MemorySize=160)

    def test_the_answer_is_the_functions(self):
        response = self.invoke(self.name, {"do": "echo", "text": "ä€𝄞"})
        self.assertEqual(response["StatusCode"], 200)
        self.assertEqual(response["ExecutedVersion"], "$LATEST")
        self.assertEqual(json.loads(response["Payload"]), {"do": "echo", "text": "ä€𝄞"})
        self.assertNotIn("FunctionError", response)
        self.assertNotIn("LogResult", response)
        self.assertEqual(response["ResponseMetadata"]["HTTPHeaders"]["content-type"], "application/json")

    def test_any_json_is_an_event(self):
        for payload in [b"7", b"null", b"true", b'"text"', b"[1, [2]]", b' {"a" :1} ', '"ü"'.encode(), b"[" * 500 + b"]" * 500]:
            with self.subTest(payload[:20]):
                response = self.aws.invoke(FunctionName=self.name, Payload=payload)
                self.assertEqual(response["Payload"].read(), payload)

    def test_no_payload_is_an_empty_event(self):
        for options in [{}, {"Payload": b""}]:
            response = self.aws.invoke(FunctionName=self.name, **options)
            self.assertEqual(json.loads(response["Payload"].read()), {})

    def test_every_spelling_of_the_name_invokes(self):
        for spelling in [
            self.name,
            f"{self.name}:$LATEST",
            f"function:{self.name}",
            f"{ACCOUNT}:function:{self.name}",
            f"{ACCOUNT}:function:{self.name}:$LATEST",
            function_arn(self.name),
            function_arn(self.name, "$LATEST"),
        ]:
            with self.subTest(spelling):
                self.assertEqual(self.ask(spelling, {"do": "version"}), "hello")

    def test_an_environment_is_used_again(self):
        name = self.create()
        counts = [self.ask(name, {"do": "count"})["invocations"] for _ in range(3)]
        self.assertEqual(counts, [1, 2, 3])

    def test_variables_are_in_the_environment(self):
        environment = self.ask(self.name, {"do": "environment"})
        self.assertEqual((environment["GREETING"], environment["UMLAUT"]), ("hello", "ä\t\"\\"))

    def test_the_runtime_is_told_about_the_invocation(self):
        before = time.time() * 1000
        response = self.invoke(self.name, {"do": "headers"})
        headers = json.loads(response["Payload"])
        request_id = response["ResponseMetadata"]["RequestId"]
        self.assertEqual(str(uuid.UUID(request_id)), request_id)
        self.assertEqual(headers["lambda-runtime-aws-request-id"], request_id)
        self.assertEqual(headers["lambda-runtime-invoked-function-arn"], function_arn(self.name))
        self.assertRegex(headers["lambda-runtime-trace-id"], r"^Root=1-[0-9a-f]{8}-[0-9a-f]{24};")
        deadline = int(headers["lambda-runtime-deadline-ms"])
        self.assertTrue(before + 9_000 <= deadline <= time.time() * 1000 + 10_000, deadline - before)

    def test_the_client_context_arrives(self):
        context = {"client": {"installation_id": "x"}, "custom": {"ä": 1}}
        encoded = base64.b64encode(json.dumps(context).encode()).decode()
        headers = self.ask(self.name, {"do": "headers"}, ClientContext=encoded)
        self.assertEqual(json.loads(headers["lambda-runtime-client-context"]), context)
        self.assertNotIn("lambda-runtime-client-context", self.ask(self.name, {"do": "headers"}))
        for bad in ["%%%", base64.b64encode(b"no json").decode()]:
            call = self.aws.invoke
            self.refused("InvalidRequestContentException", call, status=400, FunctionName=self.name, ClientContext=bad)

    def test_the_tail_of_the_log_comes_with_the_answer(self):
        response = self.invoke(self.name, {"do": "version", "marker": "here"}, LogType="Tail")
        request_id = response["ResponseMetadata"]["RequestId"]
        log = base64.b64decode(response["LogResult"]).decode()
        report = REPORT.format(id=request_id, memory=160)
        expected = (
            rf"^START RequestId: {request_id} Version: \$LATEST\n"
            rf".*event {re.escape(json.dumps({'do': 'version', 'marker': 'here'}))}\n.*"
            rf"END RequestId: {request_id}\n{report}\n$"
        )
        self.assertRegex(log, re.compile(expected, re.DOTALL))
        self.assertNotIn("LogResult", self.invoke(self.name, LogType="None"))

    def test_the_tail_has_four_kilobytes(self):
        response = self.invoke(self.name, {"do": "log", "lines": 1000, "of": "many"}, LogType="Tail")
        log = base64.b64decode(response["LogResult"])
        self.assertLessEqual(len(log), 4096)
        self.assertGreater(len(log), 3000)
        self.assertIn(b"line 999 of many\n", log)
        self.assertRegex(log, rb"REPORT RequestId: [0-9a-f-]{36}\t")

    def test_init_duration_is_in_the_first_report_only(self):
        name = self.create()
        reports = [base64.b64decode(self.invoke(name, LogType="Tail")["LogResult"]).decode() for _ in range(2)]
        self.assertIn("Init Duration: ", reports[0])
        self.assertNotIn("Init Duration: ", reports[1])

    def test_an_error_of_the_function_is_an_answer(self):
        response = self.invoke(self.name, {"do": "fail"}, LogType="Tail")
        self.assertEqual((response["StatusCode"], response["FunctionError"]), (200, "Unhandled"))
        self.assertEqual(response["ExecutedVersion"], "$LATEST")
        self.assertEqual(json.loads(response["Payload"]), {"errorType": "Asked", "errorMessage": "as you wish"})
        self.assertIn("LogResult", response)
        self.assertEqual(self.ask(self.name, {"do": "version"}), "hello")

    def test_a_dry_run_only_checks(self):
        name = self.create()
        response = self.invoke(name, {"do": "exit"}, InvocationType="DryRun")
        self.assertEqual((response["StatusCode"], response["Payload"]), (204, b""))
        self.assertNotIn("ExecutedVersion", response)
        self.assertEqual(self.ask(name, {"do": "count"})["invocations"], 1)
        missing = new_name()
        self.missing(self.aws.invoke, "Function not found", FunctionName=missing, InvocationType="DryRun")

    def test_large_payloads_go_both_ways(self):
        text = "x" * (6_291_456 - len('{"do": "echo", "text": ""}'))
        response = self.invoke(self.name, {"do": "echo", "text": text})
        self.assertNotIn("FunctionError", response)
        self.assertEqual(len(response["Payload"]), 6_291_456)

    def test_requests_are_checked(self):
        invoke = self.unchecked.invoke
        self.invalid("invocationType", "enum value set: [", invoke, FunctionName=self.name, InvocationType="Later")
        self.invalid("logType", "enum value set: [", invoke, FunctionName=self.name, LogType="All")
        self.invalid("functionName", "pattern", invoke, FunctionName=f"arn:aws:lambda:{REGION}:123400000000@function:f")
        self.invalid("qualifier", "pattern", invoke, FunctionName=self.name, Qualifier="invalid!")
        self.missing(invoke, f"Function not found: {function_arn('no-such')}", FunctionName="no-such")

    def test_the_older_runtime_runs(self):
        name = self.create(Runtime="provided.al2")
        self.assertEqual(self.ask(name, {"do": "environment"})["AWS_EXECUTION_ENV"], "AWS_Lambda_provided.al2")

    def test_a_trace_header_is_passed_on(self):
        trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
        path = f"/2015-03-31/functions/{self.name}/invocations"
        answer = self.sent("POST", path, b'{"do": "headers"}', {"X-Amzn-Trace-Id": trace})
        self.assertEqual(answer.status, 200)
        root = json.loads(answer.body)["lambda-runtime-trace-id"].split(";")[0]
        self.assertEqual(root, trace.split(";")[0])
