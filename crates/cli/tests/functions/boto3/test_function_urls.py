"""CreateFunctionUrlConfig, GetFunctionUrlConfig, UpdateFunctionUrlConfig, DeleteFunctionUrlConfig,
ListFunctionUrlConfigs, and requests to function URLs."""

import base64
import http.client
import json
import time
import urllib.parse
import urllib.request

import botocore.credentials
from support import ACCOUNT, FunctionTest, credentials, function_arn, send, signed_headers

FORBIDDEN = {
    "Message": "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
}
ABSENT = "The resource you requested does not exist."
NO_FUNCTION = "Function does not exist"


class UrlTest(FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.name = cls.create_shared(Publish=True, Environment={"Variables": {"GREETING": "hello"}})
        cls.aws.create_alias(FunctionName=cls.name, Name="live", FunctionVersion="1")

    def create_url(self, auth="NONE", public=True, **settings):
        created = self.aws.create_function_url_config(FunctionName=self.name, AuthType=auth, **settings)
        qualifier = {"Qualifier": settings["Qualifier"]} if "Qualifier" in settings else {}
        self.addCleanup(self.forget, self.aws.delete_function_url_config, FunctionName=self.name, **qualifier)
        if auth == "NONE" and public:
            self.aws.add_permission(
                FunctionName=self.name,
                StatementId="public",
                Action="lambda:InvokeFunctionUrl",
                Principal="*",
                FunctionUrlAuthType="NONE",
                **qualifier,
            )
            call = self.aws.remove_permission
            self.addCleanup(self.forget, call, FunctionName=self.name, StatementId="public", **qualifier)
        return created

    def forget(self, call, **arguments):
        try:
            call(**arguments)
        except self.aws.exceptions.ResourceNotFoundException:
            pass


class Settings(UrlTest):
    def test_a_url_is_kept(self):
        created = self.status(201, self.create_url())
        self.assertEqual((created["FunctionArn"], created["AuthType"]), (function_arn(self.name), "NONE"))
        self.assertTrue(40 <= len(created["FunctionUrl"]) <= 100)
        self.assertTrue(created["FunctionUrl"].endswith("/"))
        self.assertRegex(created["CreationTime"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$")
        self.assertNotIn("Cors", created)
        found = self.status(200, self.aws.get_function_url_config(FunctionName=self.name))
        for member in ["FunctionUrl", "FunctionArn", "AuthType", "CreationTime"]:
            self.assertEqual(found[member], created[member])
        self.assertEqual((found["InvokeMode"], found["LastModifiedTime"]), ("BUFFERED", created["CreationTime"]))

    def test_settings_change(self):
        created = self.create_url()
        cors = {
            "AllowCredentials": True,
            "AllowHeaders": ["x-a"],
            "AllowMethods": ["GET", "POST"],
            "AllowOrigins": ["https://example.org"],
            "ExposeHeaders": ["x-b"],
            "MaxAge": 60,
        }
        update = self.aws.update_function_url_config
        changed = self.status(200, update(FunctionName=self.name, AuthType="AWS_IAM", Cors=cors, InvokeMode="RESPONSE_STREAM"))
        self.assertEqual((changed["AuthType"], changed["Cors"], changed["InvokeMode"]), ("AWS_IAM", cors, "RESPONSE_STREAM"))
        self.assertEqual(changed["FunctionUrl"], created["FunctionUrl"])
        update(FunctionName=self.name, AuthType="NONE")
        found = self.aws.get_function_url_config(FunctionName=self.name)
        self.assertEqual((found["AuthType"], found["Cors"], found["InvokeMode"]), ("NONE", cors, "RESPONSE_STREAM"))

    def test_a_deleted_url_is_gone(self):
        url = self.create_url()["FunctionUrl"]
        self.status(204, self.aws.delete_function_url_config(FunctionName=self.name))
        for call in [self.aws.get_function_url_config, self.aws.delete_function_url_config]:
            self.missing(call, ABSENT, FunctionName=self.name)
        self.assertIn(send("GET", url).status, [403, 404])

    def test_a_function_and_its_aliases_have_one_each(self):
        self.create_url()
        self.create_url(Qualifier="live")
        arns = [function_arn(self.name), function_arn(self.name, "live")]
        listed = self.aws.list_function_url_configs(FunctionName=self.name)
        self.assertNotIn("NextMarker", listed)
        self.assertEqual([config["FunctionArn"] for config in listed["FunctionUrlConfigs"]], arns)
        paged = self.pages(self.aws.list_function_url_configs, "FunctionUrlConfigs", FunctionName=self.name)
        self.assertEqual([config["FunctionArn"] for config in paged], arns)
        self.assertEqual(len({config["FunctionUrl"] for config in paged}), 2)
        message = (
            f"Failed to create function url config for [functionArn = {function_arn(self.name)}]. "
            "Error message:  FunctionUrlConfig exists for this Lambda function"
        )
        create = self.aws.create_function_url_config
        self.refused("ResourceConflictException", create, message, 409, FunctionName=self.name, AuthType="NONE")

    def test_what_is_not_there_has_none(self):
        create, update = self.aws.create_function_url_config, self.aws.update_function_url_config
        for name, options in [("no-such", {}), (self.name, {"Qualifier": "no-alias"})]:
            self.missing(create, NO_FUNCTION, FunctionName=name, AuthType="NONE", **options)
            self.missing(update, NO_FUNCTION, FunctionName=name, AuthType="NONE", **options)
            self.missing(self.aws.get_function_url_config, ABSENT, FunctionName=name, **options)
            self.missing(self.aws.delete_function_url_config, ABSENT, FunctionName=name, **options)
        self.missing(self.aws.list_function_url_configs, NO_FUNCTION, FunctionName="no-such")
        self.missing(self.aws.get_function_url_config, ABSENT, FunctionName=self.name)

    def test_requests_are_checked(self):
        create = self.unchecked.create_function_url_config
        self.invalid("authType", "enum value set: [", create, FunctionName=self.name, AuthType="SOME")
        self.invalid("authType", "must not be null", create, FunctionName=self.name)
        self.invalid("invokeMode", "enum value set: [", create, FunctionName=self.name, AuthType="NONE", InvokeMode="UNKNOWN")
        pattern = r"pattern: ((?!^\d+$)^[0-9a-zA-Z-_]+$)"
        for qualifier in ["1", "$LATEST"]:
            self.invalid("qualifier", pattern, create, FunctionName=self.name, AuthType="NONE", Qualifier=qualifier)
            self.invalid("qualifier", pattern, self.unchecked.get_function_url_config, FunctionName=self.name, Qualifier=qualifier)
        cors = {"MaxAge": 86_401}
        self.invalid("cors.maxAge", "less than or equal to 86400", create, FunctionName=self.name, AuthType="NONE", Cors=cors)


class Requests(UrlTest):
    def event(self, method, url, body=b"", headers=None):
        answer = send(method, url, body, headers)
        self.assertEqual(answer.status, 200, answer)
        return json.loads(answer.body)

    def test_a_request_is_an_event_of_version_two(self):
        url = self.create_url()["FunctionUrl"]
        headers = {"X-Custom": "With WeiRd CapS", "Cookie": "a=1; b=2", "User-Agent": "test", "Content-Type": "application/json"}
        event = self.event("POST", url + "a/b%20c?do=echo&x=1&x=2&y=%2F+z", b'{"k": "\xc3\xa4"}', headers)
        self.assertEqual((event["version"], event["routeKey"]), ("2.0", "$default"))
        self.assertEqual(urllib.parse.unquote(event["rawPath"]), "/a/b c")
        self.assertEqual(event["rawQueryString"], "do=echo&x=1&x=2&y=%2F+z")
        self.assertEqual(event["queryStringParameters"], {"do": "echo", "x": "1,2", "y": "/ z"})
        self.assertEqual(event["cookies"], ["a=1", "b=2"])
        self.assertEqual((event["body"], event["isBase64Encoded"]), ('{"k": "ä"}', False))
        self.assertEqual((event["headers"]["x-custom"], event["headers"]["content-type"]), ("With WeiRd CapS", "application/json"))
        self.assertNotIn("cookie", event["headers"])
        self.assertEqual(event["headers"]["x-forwarded-for"], "127.0.0.1")
        context = event["requestContext"]
        self.assertEqual((context["accountId"], context["stage"], context["routeKey"]), ("anonymous", "$default", "$default"))
        self.assertEqual((context["http"]["method"], context["http"]["protocol"]), ("POST", "HTTP/1.1"))
        self.assertEqual((context["http"]["sourceIp"], context["http"]["userAgent"]), ("127.0.0.1", "test"))
        self.assertEqual(urllib.parse.unquote(context["http"]["path"]), "/a/b c")
        self.assertRegex(context["requestId"], r"^[0-9a-f-]{36}$")
        self.assertRegex(context["time"], r"^\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000$")
        self.assertLess(abs(context["timeEpoch"] / 1000 - time.time()), 60)
        self.assertNotIn("authorizer", context)

    def test_bytes_come_in_base64(self):
        url = self.create_url()["FunctionUrl"] + "?do=echo"
        event = self.event("PUT", url, b"\x89PNG\xff", {"Content-Type": "image/png"})
        self.assertTrue(event["isBase64Encoded"])
        self.assertEqual(base64.b64decode(event["body"]), b"\x89PNG\xff")
        event = self.event("GET", url)
        self.assertNotIn("body", event)
        self.assertFalse(event["isBase64Encoded"])

    def test_any_client_of_http_can_ask(self):
        url = self.create_url()["FunctionUrl"]
        with urllib.request.urlopen(url + "?do=echo") as response:
            self.assertEqual(response.status, 200)
            self.assertEqual(response.headers["content-type"], "application/json")
            self.assertEqual(json.load(response)["rawPath"], "/")

    def test_answers_are_read_as_responses(self):
        url = self.create_url()["FunctionUrl"]
        answer = send("GET", url + "?do=respond")
        self.assertEqual((answer.status, answer.body), (418, b"short and stout"))
        self.assertEqual((answer.headers["content-type"], answer.headers["x-pot"]), ("text/plain", "tea"))
        self.assertEqual(answer.headers.get_all("set-cookie"), ["a=1; Secure", "b=2"])
        answer = send("GET", url + "?do=count")
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/json"))
        self.assertEqual(set(json.loads(answer.body)), {"invocations", "ticks"})

    def test_a_text_is_a_body(self):
        answer = send("GET", self.create_url()["FunctionUrl"] + "?do=version")
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/json"))
        self.assertEqual(answer.body, b"hello")

    def test_a_function_that_fails_is_a_bad_gateway(self):
        url = self.create_url()["FunctionUrl"]
        for what in ["fail", "exit"]:
            answer = send("GET", url + f"?do={what}")
            self.assertEqual((answer.status, answer.body), (502, b"Internal Server Error"), what)
        self.assertEqual(send("GET", url + "?do=version").status, 200)

    def test_every_method_is_passed_on(self):
        url = self.create_url()["FunctionUrl"] + "?do=echo"
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]:
            self.assertEqual(self.event(method, url)["requestContext"]["http"]["method"], method)
        head = send("HEAD", url)
        self.assertEqual((head.status, head.body), (200, b""))

    def test_an_alias_has_its_version(self):
        url = self.create_url(Qualifier="live")["FunctionUrl"]
        environment = self.event("GET", url + "?do=environment")
        self.assertEqual(environment["AWS_LAMBDA_FUNCTION_VERSION"], "1")

    def test_reserved_concurrency_holds_here_too(self):
        url = self.create_url()["FunctionUrl"]
        self.aws.put_function_concurrency(FunctionName=self.name, ReservedConcurrentExecutions=0)
        self.addCleanup(self.aws.delete_function_concurrency, FunctionName=self.name)
        self.assertEqual(send("GET", url).status, 429)

    def test_requests_have_a_limit(self):
        url = self.create_url()["FunctionUrl"]
        self.assertEqual(send("POST", url, b"x" * (6_291_456 + 1)).status, 413)
        self.assertEqual(send("GET", url + "?do=version").status, 200)

    def test_unknown_urls_are_not_found(self):
        url = self.create_url()["FunctionUrl"]
        identity = [part for part in urllib.parse.urlsplit(url).path.split("/") if part][-1]
        answer = send("GET", url.replace(identity, "a" * len(identity)))
        self.assertIn(answer.status, [403, 404])


class Access(UrlTest):
    def test_without_a_statement_nobody_may(self):
        url = self.create_url(public=False)["FunctionUrl"]
        answer = send("GET", url)
        self.assertEqual((answer.status, json.loads(answer.body)), (403, FORBIDDEN))
        self.assertEqual(answer.headers["x-amzn-errortype"], "AccessDeniedException")

    def test_a_removed_statement_lets_nobody_in(self):
        url = self.create_url()["FunctionUrl"]
        self.assertEqual(send("GET", url).status, 200)
        self.aws.remove_permission(FunctionName=self.name, StatementId="public")
        self.assertEqual(send("GET", url).status, 403)

    def test_signed_requests_are_let_in(self):
        url = self.create_url("AWS_IAM")["FunctionUrl"] + "some/path?do=echo&q=a%20b"
        for method, body in [("GET", b""), ("POST", b'{"a": 1}')]:
            answer = send(method, url, body, signed_headers(method, url, body))
            self.assertEqual(answer.status, 200, answer)
            context = json.loads(answer.body)["requestContext"]
            self.assertEqual(context["accountId"], ACCOUNT)
            iam = context["authorizer"]["iam"]
            self.assertEqual((iam["accountId"], iam["accessKey"]), (ACCOUNT, credentials().access_key))

    def test_unsigned_and_badly_signed_requests_are_not(self):
        url = self.create_url("AWS_IAM")["FunctionUrl"]
        answer = send("GET", url)
        self.assertEqual((answer.status, json.loads(answer.body)), (403, FORBIDDEN))
        wrong = botocore.credentials.Credentials(credentials().access_key, "wrong")
        self.assertEqual(send("GET", url, b"", signed_headers("GET", url, key=wrong)).status, 403)
        signed = signed_headers("POST", url, b"one")
        self.assertEqual(send("POST", url, b"two", signed).status, 403)
        self.assertEqual(send("POST", url + "other", b"one", signed).status, 403)


class Cors(UrlTest):
    def cors(self):
        return {
            "AllowOrigins": ["https://example.org"],
            "AllowMethods": ["POST"],
            "AllowHeaders": ["x-a"],
            "ExposeHeaders": ["x-b"],
            "MaxAge": 60,
            "AllowCredentials": True,
        }

    def test_preflights_are_answered_without_the_function(self):
        name = self.name
        url = self.create_url(Cors=self.cors())["FunctionUrl"]
        before = self.ask(name, {"do": "count"})["invocations"]
        headers = {
            "Origin": "https://example.org",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-a",
        }
        answer = send("OPTIONS", url, headers=headers)
        self.assertIn(answer.status, [200, 204])
        self.assertEqual(answer.headers["access-control-allow-origin"], "https://example.org")
        self.assertIn("POST", answer.headers["access-control-allow-methods"])
        self.assertIn("x-a", answer.headers["access-control-allow-headers"].lower())
        self.assertEqual(answer.headers["access-control-max-age"], "60")
        self.assertEqual(answer.headers["access-control-allow-credentials"], "true")
        self.assertEqual(self.ask(name, {"do": "count"})["invocations"], before + 1)

    def test_answers_say_who_may_read_them(self):
        url = self.create_url(Cors=self.cors())["FunctionUrl"]
        answer = send("POST", url, headers={"Origin": "https://example.org"})
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["access-control-allow-origin"], "https://example.org")
        self.assertIn("x-b", answer.headers["access-control-expose-headers"].lower())
        answer = send("POST", url, headers={"Origin": "https://evil.example"})
        self.assertIsNone(answer.headers["access-control-allow-origin"])


class Streams(UrlTest):
    def open(self, url):
        parts = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
        self.addCleanup(connection.close)
        connection.request("GET", f"{parts.path}?{parts.query}")
        return connection.getresponse()

    def test_a_stream_comes_as_it_is_made(self):
        url = self.create_url(InvokeMode="RESPONSE_STREAM")["FunctionUrl"]
        response = self.open(url + "?do=stream")
        self.assertEqual((response.status, response.headers["content-type"]), (200, "text/plain"))
        self.assertEqual(response.headers["transfer-encoding"], "chunked")
        self.assertEqual(response.read(), b"part 0\npart 1\npart 2\n")

    def test_a_prelude_sets_status_headers_and_cookies(self):
        url = self.create_url(InvokeMode="RESPONSE_STREAM")["FunctionUrl"]
        response = self.open(url + "?do=stream&how=prelude")
        self.assertEqual((response.status, response.headers["content-type"]), (203, "text/html"))
        self.assertEqual((response.headers["x-pot"], response.headers["set-cookie"]), ("tea", "a=1"))
        self.assertEqual(response.read(), b"part 0\npart 1\npart 2\n")

    def test_a_stream_that_breaks_is_not_taken_for_whole(self):
        url = self.create_url(InvokeMode="RESPONSE_STREAM")["FunctionUrl"]
        response = self.open(url + "?do=stream&how=exit")
        with self.assertRaises(http.client.IncompleteRead):
            response.read()
