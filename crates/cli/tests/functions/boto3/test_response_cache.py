"""Answers that are kept, for functions with the tag lambent:response-cache."""

import base64
import collections
import json

from support import FunctionTest, eventually, function_arn, send, together

TAG = "lambent:response-cache"


class ResponseCache(FunctionTest):
    def cached(self, value="ttl:300,max:1MiB", **settings):
        """A function with the tag."""
        return self.create(Tags={TAG: value}, **settings)

    def found(self, name, event=None, **options):
        """What the cache had, and the answer."""
        response = self.invoke(name, event, **options)
        return self.header(response), response["Payload"]

    def header(self, response):
        return response["ResponseMetadata"]["HTTPHeaders"].get("x-lambent-cache")

    def raw(self, name, payload, **options):
        """What the cache had for an event that is written just so."""
        response = self.aws.invoke(FunctionName=name, Payload=payload, **options)
        response["Payload"].read()
        return self.header(response)

    def counted(self, result):
        """How often the endpoint says that the cache had this."""
        text = send("GET", self.endpoint + "/metrics").body.decode()
        line = f'lambent_response_cache_total{{result="{result}"}} '
        return sum(int(row[len(line) :]) for row in text.splitlines() if row.startswith(line))

    def test_an_equal_request_is_answered_without_the_function(self):
        name = self.cached()
        hits = self.counted("hit")
        first = self.found(name, {"do": "count"})
        self.assertEqual((first[0], json.loads(first[1])["invocations"]), ("miss", 1))
        for _ in range(3):
            self.assertEqual(self.found(name, {"do": "count"}), ("hit", first[1]))
        self.assertGreaterEqual(self.counted("hit"), hits + 3)
        self.assertEqual(self.found(name, {"do": "count", "more": 1})[0], "miss")
        ids = {self.invoke(name, {"do": "count"})["ResponseMetadata"]["RequestId"] for _ in range(3)}
        self.assertEqual(len(ids), 3, "each answer has its own request id")
        self.assertEqual(self.invoke(name, {"do": "count"})["ExecutedVersion"], "$LATEST")

    def test_events_are_compared_by_what_they_mean(self):
        name = self.cached()
        self.assertEqual(self.raw(name, '{"a": 1, "b": "é"}'), "miss")
        for same in ['{"b":"\\u00e9","a":1}', '\n{ "a" : 1 ,\t"b" : "é" }', '{"\\u0061": 1, "b": "é"}']:
            self.assertEqual(self.raw(name, same), "hit", same)
        for other in ['{"a": 1.0, "b": "é"}', '{"a": 1e0, "b": "é"}', '{"a": 1, "a": 1, "b": "é"}', '[{"a": 1, "b": "é"}]']:
            self.assertEqual(self.raw(name, other), "miss", other)
        self.assertEqual(self.raw(name, "12345678901234567890"), "miss")
        self.assertEqual(self.raw(name, "12345678901234567891"), "miss")
        self.assertEqual(self.raw(name, ""), "miss")
        self.assertEqual(self.raw(name, "{}"), "hit")
        self.assertEqual(self.raw(name, "[" * 600 + "]" * 600), "miss")
        self.assertEqual(self.raw(name, "[" * 600 + "]" * 600), "miss")

    def test_a_handler_that_sees_another_context_answers_anew(self):
        name = self.cached()
        context = base64.b64encode(b'{"custom": {"a": "b"}}').decode()
        self.assertEqual(self.raw(name, "{}"), "miss")
        self.assertEqual(self.raw(name, "{}", ClientContext=context), "miss")
        self.assertEqual(self.raw(name, "{}", ClientContext=context), "hit")

    def test_fields_that_are_left_out_do_not_tell_requests_apart(self):
        name = self.cached("ttl:300,exclude:trace;user.session")
        self.assertEqual(self.found(name, {"q": 1, "trace": "a", "user": {"id": 1, "session": "x"}})[0], "miss")
        self.assertEqual(self.found(name, {"q": 1, "user": {"id": 1, "session": "y"}})[0], "hit")
        self.assertEqual(self.found(name, {"q": 1, "user": {"id": 2, "session": "y"}})[0], "miss")
        # With other fields left out nothing that was kept is found.
        self.aws.tag_resource(Resource=function_arn(name), Tags={TAG: "ttl:300 exclude:trace"})
        self.assertEqual(self.found(name, {"q": 1, "user": {"id": 1}})[0], "miss")

    def test_errors_are_never_kept(self):
        name = self.cached()
        for _ in range(2):
            response = self.invoke(name, {"do": "fail"})
            self.assertEqual((self.header(response), response["FunctionError"]), ("miss", "Unhandled"))
        results = together([lambda: self.invoke(name, {"do": "fail"}) for _ in range(6)])
        for response in results:
            self.assertEqual(response["FunctionError"], "Unhandled")
            self.assertEqual(self.header(response), "miss")

    def test_a_hit_takes_no_concurrency_and_costs_nothing(self):
        name = self.cached()
        self.assertEqual(self.found(name, {"do": "echo"})[0], "miss")
        self.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        self.assertEqual(self.found(name, {"do": "echo"})[0], "hit")
        self.refused("TooManyRequestsException", self.aws.invoke, None, 429, FunctionName=name, Payload="[]")
        response = self.invoke(name, {"do": "echo"}, LogType="Tail")
        log = base64.b64decode(response["LogResult"]).decode()
        self.assertIn(f"REPORT RequestId: {response['ResponseMetadata']['RequestId']}\t", log)
        self.assertIn("\tBilled Duration: 0 ms\t", log)

    def test_only_synchronous_answers_are_kept(self):
        name = self.cached()
        response = self.invoke(name, {"do": "count"}, InvocationType="DryRun")
        self.assertEqual((response["StatusCode"], self.header(response)), (204, None))
        self.invoke(name, {"do": "count"}, InvocationType="Event")
        self.logged(name, "REPORT RequestId")
        self.assertEqual(self.found(name, {"do": "count"})[0], "miss")
        stream = self.aws.invoke_with_response_stream(FunctionName=name, Payload='{"do": "count"}')
        events = list(stream["EventStream"])
        body = b"".join(event["PayloadChunk"]["Payload"] for event in events if "PayloadChunk" in event)
        self.assertNotEqual(json.loads(body)["invocations"], 1)
        self.assertIsNone(stream["ResponseMetadata"]["HTTPHeaders"].get("x-lambent-cache"))

    def test_another_version_is_asked_anew(self):
        name = self.cached()
        one = self.publish(name, "one")
        event = {"do": "version"}
        self.aws.create_alias(FunctionName=name, Name="live", FunctionVersion=one)
        self.assertEqual(self.found(name, event, Qualifier="live"), ("miss", b'"one"'))
        self.assertEqual(self.found(name, event, Qualifier=one), ("hit", b'"one"'))
        two = self.publish(name, "two")
        self.assertEqual(self.found(name, event, Qualifier="live"), ("hit", b'"one"'))
        self.aws.update_alias(FunctionName=name, Name="live", FunctionVersion=two)
        self.assertEqual(self.found(name, event, Qualifier="live"), ("miss", b'"two"'))
        self.assertEqual(self.found(name, event), ("miss", b'"two"'))
        self.aws.update_function_configuration(FunctionName=name, Environment={"Variables": {"GREETING": "three"}})
        self.active(name)
        self.assertEqual(self.found(name, event), ("miss", b'"three"'))

    def test_equal_requests_at_once_are_computed_once(self):
        name = self.cached()
        self.ask(name, {"do": "echo"})
        results = together([lambda: self.invoke(name, {"do": "sleep", "ms": 700}) for _ in range(12)])
        found = collections.Counter(self.header(response) for response in results)
        self.assertEqual(found["miss"], 1, found)
        self.assertEqual(found["shared"] + found["hit"], 11, found)
        self.assertEqual({response["Payload"] for response in results}, {b'"slept"'})
        self.assertEqual(len({response["ResponseMetadata"]["RequestId"] for response in results}), 12)

    def test_an_answer_is_good_for_its_time(self):
        name = self.cached("ttl:5")
        self.assertEqual(self.found(name)[0], "miss")
        eventually(lambda: self.found(name)[0] == "miss", "the answer grows old")
        self.assertEqual(self.found(name)[0], "hit")

    def test_what_is_larger_than_the_room_is_not_kept(self):
        name = self.cached("ttl:300,max:16KiB")
        for expected in ["miss", "miss"]:
            self.assertEqual(self.found(name, {"do": "large", "bytes": 20_000})[0], expected)
        for expected in ["miss", "hit"]:
            self.assertEqual(self.found(name, {"do": "large", "bytes": 5_000})[0], expected)

    def test_the_tag_can_be_taken_away_and_put_back(self):
        name = self.cached()
        self.assertEqual(self.found(name)[0], "miss")
        self.aws.untag_resource(Resource=function_arn(name), TagKeys=[TAG])
        self.assertIsNone(self.found(name)[0])
        self.aws.tag_resource(Resource=function_arn(name), Tags={TAG: "ttl:60"})
        self.assertEqual(self.found(name)[0], "hit")

    def test_function_urls_have_it_too(self):
        name = self.cached("ttl:300,exclude:requestContext;headers")
        url = self.aws.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
        self.aws.add_permission(
            FunctionName=name,
            StatementId="all",
            Action="lambda:InvokeFunctionUrl",
            Principal="*",
            FunctionUrlAuthType="NONE",
        )
        answers = [send("GET", url + "?do=respond") for _ in range(2)]
        self.assertEqual([answer.headers["X-Lambent-Cache"] for answer in answers], ["miss", "hit"])
        self.assertEqual(answers[0].body, answers[1].body)

    def test_tags_that_cannot_be_read_are_refused(self):
        for value, part in {
            "": "it needs ttl:SECONDS",
            "ttl:0": "ttl:0 is not a number from 1 to 2592000",
            "ttl:5,max:7": "max:7 has no unit",
            "ttl:5,size:1MiB": "'size' is none of ttl, max, exclude",
        }.items():
            message = f"The value '{value}' of tag '{TAG}' is not valid: {part}"
            code = "InvalidParameterValueException"
            self.refused(code, self.create, message, 400, Tags={TAG: value}, wait=False)
        name = self.cached()
        resource = {"Resource": function_arn(name)}
        self.refused(code, self.aws.tag_resource, "Lambent knows", 400, Tags={"lambent:cache": "ttl:5"}, **resource)
        self.refused(code, self.aws.tag_resource, None, 400, Tags={"other": "a,b"}, **resource)
        self.assertEqual(self.aws.list_tags(**resource)["Tags"], {TAG: "ttl:300,max:1MiB"})
