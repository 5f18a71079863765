"""Who is let in: signatures of requests, presigned URLs, keys that come and go, accounts apart from each other."""

import contextlib
import datetime
import json
import os
import sqlite3
import subprocess
import unittest.mock
import urllib.parse

import botocore.auth
import botocore.compat
import botocore.credentials
from support import REGION, FunctionTest, client, credentials, error_code, eventually, function_arn, send, signed_headers

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
OTHER_ACCOUNT = "111122223333"
# Until a running endpoint has noticed a key that another process made or revoked, s.
SOON = 5


def lambent(*arguments):
    """A command of lambent on the endpoint's data; gives what it prints as JSON."""
    command = [os.environ["LAMBENT"], *arguments, "--json", "--data", os.environ["LAMBENT_DATA"]]
    output = subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    return json.loads(output) if output.strip() else None


def add_account(number):
    """Puts an account into the record: there is no command for it."""
    database = sqlite3.connect(os.path.join(os.environ["LAMBENT_DATA"], "control.db"), timeout=30)
    with contextlib.closing(database), database:
        database.execute("INSERT OR IGNORE INTO accounts (account, created_ms) VALUES (?, 1)", [number])


def at(**distance):
    """A clock of the signer that goes wrong."""
    now = botocore.compat.get_current_datetime() + datetime.timedelta(**distance)
    return unittest.mock.patch("botocore.auth.get_current_datetime", lambda *_, **__: now)


def keyed(service, key):
    """A client with a key of its own."""
    pair = {"aws_access_key_id": key["access_key_id"], "aws_secret_access_key": key["secret_access_key"]}
    return client(service, **pair)


class UnsignedPayload(botocore.auth.SigV4Auth):
    """Leaves the body out of the signature."""

    def payload(self, request):
        return "UNSIGNED-PAYLOAD"


class SignatureTest(FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.name = cls.create_shared()
        cls.url = f"{cls.endpoint}/2015-03-31/functions/{cls.name}"

    def let_in(self, answer):
        self.assertEqual(answer.status, 200, answer)

    def kept_out(self, answer, code, message=None):
        self.assertEqual((answer.status, error_code(answer)), (403, code), answer)
        if message is not None:
            body = json.loads(answer.body)
            self.assertIn(message, body.get("message") or body.get("Message"))


class Headers(SignatureTest):
    def test_a_good_signature_is_let_in(self):
        self.let_in(send("GET", self.url, b"", signed_headers("GET", self.url)))

    def test_names_in_the_path_may_be_arns(self):
        for name in [function_arn(self.name), urllib.parse.quote(function_arn(self.name), safe=""), f"{self.name}:$LATEST"]:
            url = f"{self.endpoint}/2015-03-31/functions/{name}"
            self.let_in(send("GET", url, b"", signed_headers("GET", url)))

    def test_queries_are_signed_whatever_is_in_them(self):
        for query in ["MaxItems=1&FunctionVersion=ALL", "FunctionVersion=ALL&MaxItems=1", "MaxItems=1&x=a%20b%2F%C3%A4&x=", "y&MaxItems=1"]:
            url = f"{self.endpoint}/2015-03-31/functions?{query}"
            self.let_in(send("GET", url, b"", signed_headers("GET", url)))

    def test_without_a_signature_nothing_is_to_be_had(self):
        for method, path in [
            ("GET", "/2015-03-31/functions"),
            ("GET", f"/2015-03-31/functions/{self.name}"),
            ("POST", f"/2015-03-31/functions/{self.name}/invocations"),
            ("DELETE", f"/2015-03-31/functions/{self.name}"),
        ]:
            answer = send(method, self.endpoint + path)
            self.kept_out(answer, "MissingAuthenticationTokenException", "Missing Authentication Token")
        logs = {"X-Amz-Target": "Logs_20140328.DescribeLogGroups", "Content-Type": "application/x-amz-json-1.1"}
        self.assertIn(send("POST", self.endpoint + "/", b"{}", logs).status, [400, 403])
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        self.assertEqual(send("POST", self.endpoint + "/", b"Action=GetCallerIdentity&Version=2011-06-15", form).status, 403)
        self.assertEqual(send("GET", self.endpoint + "/v2/").status, 401)

    def test_a_wrong_secret_is_kept_out(self):
        key = botocore.credentials.Credentials(credentials().access_key, "wrong" * 8)
        self.kept_out(send("GET", self.url, b"", signed_headers("GET", self.url, key=key)), "InvalidSignatureException", MISMATCH)

    def test_an_unknown_key_is_kept_out(self):
        key = botocore.credentials.Credentials("AKIAIOSFODNN7EXAMPLE", credentials().secret_key)
        message = "The security token included in the request is invalid."
        for service, code in [("lambda", "UnrecognizedClientException"), ("sts", "InvalidClientTokenId")]:
            other = client(service, aws_access_key_id=key.access_key, aws_secret_access_key=key.secret_key)
            call = other.list_functions if service == "lambda" else other.get_caller_identity
            self.refused(code, call, message, 403)
        self.kept_out(send("GET", self.url, b"", signed_headers("GET", self.url, key=key)), "UnrecognizedClientException", message)

    def test_a_session_token_is_kept_out(self):
        key = botocore.credentials.Credentials(credentials().access_key, credentials().secret_key, "token")
        answer = send("GET", self.url, b"", signed_headers("GET", self.url, key=key))
        self.kept_out(answer, "UnrecognizedClientException")

    def test_a_clock_that_is_wrong_is_kept_out(self):
        for distance, message in [({"minutes": -16}, "Signature expired: "), ({"minutes": 16}, "Signature not yet current: ")]:
            with at(**distance):
                headers = signed_headers("GET", self.url)
            self.kept_out(send("GET", self.url, b"", headers), "InvalidSignatureException", message)
        for distance in [{"minutes": -4}, {"minutes": 4}]:
            with at(**distance):
                headers = signed_headers("GET", self.url)
            self.let_in(send("GET", self.url, b"", headers))

    def test_what_is_signed_cannot_be_changed(self):
        url = f"{self.url}/invocations"
        headers = signed_headers("POST", url, b'{"a": 1}', {"X-Amz-Log-Type": "None"})
        self.let_in(send("POST", url, b'{"a": 1}', headers))
        for what, answer in {
            "body": send("POST", url, b'{"a": 2}', headers),
            "path": send("POST", f"{self.url}x/invocations", b'{"a": 1}', headers),
            "query": send("POST", f"{url}?Qualifier=1", b'{"a": 1}', headers),
            "header": send("POST", url, b'{"a": 1}', {**headers, "X-Amz-Log-Type": "Tail"}),
            "host": send("POST", url, b'{"a": 1}', {**headers, "Host": "elsewhere"}),
            "added header": send("POST", url, b'{"a": 1}', {**headers, "X-Amz-Invocation-Type": "Event"}),
            "date": send("POST", url, b'{"a": 1}', {**headers, "X-Amz-Date": headers["X-Amz-Date"][:-5] + "0000Z"}),
        }.items():
            with self.subTest(what):
                self.assertEqual(answer.status, 403, answer)
        with self.subTest("method"):
            headers = signed_headers("GET", self.url)
            self.kept_out(send("DELETE", self.url, b"", headers), "InvalidSignatureException", MISMATCH)
            self.aws.get_function(FunctionName=self.name)

    def test_a_body_may_be_left_out_of_the_signature(self):
        url = f"{self.url}/invocations"
        unsigned = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
        headers = signed_headers("POST", url, b"{}", unsigned, signer=UnsignedPayload)
        self.let_in(send("POST", url, b'{"any": "body"}', headers))
        headers = signed_headers("POST", url, b"{}")
        self.assertEqual(send("POST", url, b'{"any": "body"}', {**headers, **unsigned}).status, 403)

    def test_a_signature_for_something_else_is_kept_out(self):
        answer = send("GET", self.url, b"", signed_headers("GET", self.url, service="s3"))
        self.kept_out(answer, "InvalidSignatureException", "Credential should be scoped to correct service: 'lambda'.")

    def test_a_signature_for_another_region_is_taken(self):
        """There is one region here: whoever has another one in the environment means this endpoint all the same."""
        with unittest.mock.patch("support.REGION", "eu-west-1"):
            headers = signed_headers("GET", self.url)
        self.assertIn("eu-west-1", headers["Authorization"])
        self.assertEqual(send("GET", self.url, b"", headers).status, 200)

    def test_broken_headers_are_refused(self):
        good = signed_headers("GET", self.url)
        authorization = good["Authorization"]
        for broken in [
            "Bearer token",
            "AWS4-HMAC-SHA256",
            "AWS4-HMAC-SHA256 Credential=x",
            authorization.replace("Signature=", "Signature=zz"),
            authorization.replace("SignedHeaders=", "Headers="),
            authorization.replace("/aws4_request", ""),
            authorization.replace("SignedHeaders=host;", "SignedHeaders="),
            authorization + "0",
            "AWS4-HMAC-SHA256 " + "x" * 8000,
        ]:
            with self.subTest(broken[:60]):
                self.assertIn(send("GET", self.url, b"", {**good, "Authorization": broken}).status, [400, 403])
        without_date = {name: value for name, value in good.items() if name.lower() != "x-amz-date"}
        self.assertIn(send("GET", self.url, b"", without_date).status, [400, 403])


class Presigned(SignatureTest):
    def presign(self, expires=60, **distance):
        with at(**distance):
            return self.aws.generate_presigned_url("get_function", {"FunctionName": self.name}, expires)

    def test_a_presigned_url_is_let_in(self):
        answer = send("GET", self.presign())
        self.let_in(answer)
        self.assertEqual(json.loads(answer.body)["Configuration"]["FunctionName"], self.name)

    def test_a_presigned_url_can_invoke(self):
        url = self.aws.generate_presigned_url("invoke", {"FunctionName": self.name}, 60)
        self.let_in(send("POST", url))

    def test_its_life_ends(self):
        self.kept_out(send("GET", self.presign(60, minutes=-3)), "InvalidSignatureException", "Signature expired")
        self.let_in(send("GET", self.presign(300, minutes=-3)))
        self.kept_out(send("GET", self.presign(60, hours=1)), "InvalidSignatureException", "Signature not yet current")

    def test_it_cannot_be_changed(self):
        url = self.presign()
        for changed in [
            url.replace("X-Amz-Expires=60", "X-Amz-Expires=600"),
            url.replace(self.name, f"{self.name}x"),
            url + "&Qualifier=1",
            url[:-1] + ("0" if url[-1] != "0" else "1"),
        ]:
            self.assertNotEqual(changed, url)
            self.kept_out(send("GET", changed), "InvalidSignatureException", MISMATCH)
        self.assertEqual(send("DELETE", url).status, 403)

    def test_a_week_is_the_longest_life(self):
        self.assertIn(send("GET", self.presign(604_801)).status, [400, 403])
        self.let_in(send("GET", self.presign(604_800)))


class Keys(FunctionTest):
    def make(self, *arguments):
        key = lambent("keys", "create", *arguments)
        self.addCleanup(self.revoke, key)
        return key

    def revoke(self, key):
        subprocess.run(
            [os.environ["LAMBENT"], "keys", "revoke", key["access_key_id"], "--data", os.environ["LAMBENT_DATA"]],
            check=False,
            capture_output=True,
        )

    def is_let_in(self, aws):
        try:
            return aws.list_functions() is not None
        except self.aws.exceptions.ClientError:
            return False

    def test_a_new_key_is_let_in_until_it_is_revoked(self):
        key = self.make()
        self.assertTrue({"access_key_id", "secret_access_key"} <= set(key), set(key))
        aws, sts = keyed("lambda", key), keyed("sts", key)
        eventually(lambda: self.is_let_in(aws), "a new key is let in", SOON)
        self.status(200, aws.list_functions())
        self.assertEqual(sts.get_caller_identity()["Account"], client("sts").get_caller_identity()["Account"])
        self.assertIn(key["access_key_id"], json.dumps(lambent("keys", "ls")))
        lambent("keys", "revoke", key["access_key_id"])
        eventually(lambda: not self.is_let_in(aws), "a revoked key is kept out", SOON)
        message = "The security token included in the request is invalid."
        self.refused("UnrecognizedClientException", aws.list_functions, message, 403)
        self.refused("InvalidClientTokenId", sts.get_caller_identity, status=403)
        self.status(200, self.aws.list_functions())

    def test_lists_of_keys_have_no_secrets(self):
        key = self.make()
        listed = json.dumps(lambent("keys", "ls"))
        self.assertNotIn(key["secret_access_key"], listed)
        self.assertNotIn(credentials().secret_key, listed)

    def test_another_account_sees_nothing(self):
        name = self.create(Publish=True)
        arn = function_arn(name)
        self.aws.invoke(FunctionName=name)
        add_account(OTHER_ACCOUNT)
        key = self.make("--account", OTHER_ACCOUNT)
        other, logs = keyed("lambda", key), keyed("logs", key)
        eventually(lambda: self.is_let_in(other), "a new key is let in", SOON)
        self.assertEqual(keyed("sts", key).get_caller_identity()["Account"], OTHER_ACCOUNT)
        self.assertEqual(other.list_functions()["Functions"], [])
        self.assertEqual(logs.describe_log_groups()["logGroups"], [])
        theirs = arn.replace("000000000000", OTHER_ACCOUNT)
        self.missing(other.get_function, f"Function not found: {theirs}", FunctionName=name)
        for call, arguments in [
            (other.get_function, {}),
            (other.invoke, {}),
            (other.delete_function, {}),
            (other.update_function_configuration, {"Timeout": 1}),
            (other.publish_version, {}),
            (other.add_permission, {"StatementId": "s", "Action": "lambda:*", "Principal": "*"}),
        ]:
            self.refused("AccessDeniedException", call, status=403, FunctionName=arn, **arguments)
        self.refused(("AccessDeniedException", "ResourceNotFoundException"), other.list_tags, Resource=arn)
        group = {"logGroupName": f"/aws/lambda/{name}"}
        self.refused("ResourceNotFoundException", logs.filter_log_events, **group)
        identifier = f"arn:aws:logs:{REGION}:000000000000:log-group:/aws/lambda/{name}"
        codes = ("ResourceNotFoundException", "AccessDeniedException")
        self.refused(codes, logs.filter_log_events, logGroupIdentifier=identifier)
        self.status(200, self.aws.get_function(FunctionName=name))


class Clients(FunctionTest):
    def test_a_client_whose_clock_is_wrong_is_told(self):
        with at(hours=2):
            self.refused("InvalidSignatureException", client("lambda").list_functions, "not yet current", 403)
            self.refused("SignatureDoesNotMatch", client("sts").get_caller_identity, "not yet current", 403)
