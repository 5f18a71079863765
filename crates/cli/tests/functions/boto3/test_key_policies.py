"""Keys whose holders may do what a policy says."""

import json
import os
import subprocess
import unittest

import accounts
import botocore.auth
import botocore.credentials
import support
from accounts import allow, deny
from support import ACCOUNT, REGION, FunctionTest, function_arn


class KeyPolicies(FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.name = cls.create_shared(FunctionName=f"score-{support.new_name()}")
        cls.arn = function_arn(cls.name)

    def holder(self, *statements, service="lambda"):
        """A client with a key that has these statements."""
        self.key = accounts.key(ACCOUNT, *statements)
        self.user = f"arn:aws:iam::{ACCOUNT}:user/{self.key['access_key_id']}"
        return accounts.client(service, self.key)

    def denied(self, call, message=None, status=403, **arguments):
        return self.refused("AccessDeniedException", call, message, status, **arguments)

    def test_a_key_that_may_only_invoke_some_functions(self):
        holder = self.holder(allow("lambda:InvokeFunction", f"arn:aws:lambda:*:{ACCOUNT}:function:score-*"))
        payload = json.dumps({"n": 1})
        self.assertEqual(json.loads(holder.invoke(FunctionName=self.name, Payload=payload)["Payload"].read()), {"n": 1})
        holder.invoke_with_response_stream(FunctionName=self.name, Payload=payload)
        holder.invoke(FunctionName=self.arn, InvocationType="Event", Payload=payload)
        other = self.create()
        for action, call, arguments, resource in [
            ("InvokeFunction", holder.invoke, {"FunctionName": other}, function_arn(other)),
            ("InvokeFunction", holder.invoke, {"FunctionName": "no-such"}, function_arn("no-such")),
            ("GetFunction", holder.get_function, {"FunctionName": self.name}, self.arn),
            ("DeleteFunction", holder.delete_function, {"FunctionName": self.name}, self.arn),
            ("ListFunctions", holder.list_functions, {}, "*"),
            ("ListTags", holder.list_tags, {"Resource": self.arn}, self.arn),
            ("GetAccountSettings", holder.get_account_settings, {}, "*"),
        ]:
            said = self.denied(call, **arguments)["Error"]["Message"]
            self.assertEqual(
                said,
                f"User: {self.user} is not authorized to perform: lambda:{action} on resource: {resource} because no "
                f"identity-based policy allows the lambda:{action} action",
            )
        logs = accounts.client("logs", self.key)
        self.denied(logs.describe_log_groups, "logs:DescribeLogGroups", 400)
        ecr = accounts.client("ecr", self.key)
        self.denied(ecr.get_authorization_token, "ecr:GetAuthorizationToken", 400)

    def test_what_denies_wins(self):
        holder = self.holder(allow("*"), deny(["lambda:Delete*", "lambda:UpdateFunctionCode"]))
        holder.get_function(FunctionName=self.name)
        self.assertIn(self.name, json.dumps(holder.list_functions()["Functions"]))
        said = self.denied(holder.delete_function, FunctionName=self.name)["Error"]["Message"]
        self.assertTrue(said.endswith(f"on resource: {self.arn} with an explicit deny in an identity-based policy"), said)
        self.denied(holder.update_function_code, FunctionName=self.name, ZipFile=support.plain_handler_zip())
        self.aws.get_function(FunctionName=self.name)

    def test_qualifiers_are_resources_of_their_own(self):
        name = self.create()
        version = self.publish(name, "one")
        self.aws.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
        holder = self.holder(allow("lambda:InvokeFunction", f"{function_arn(name)}:live"))
        holder.invoke(FunctionName=name, Qualifier="live")
        holder.invoke(FunctionName=f"{name}:live")
        for qualified in [{}, {"Qualifier": version}, {"Qualifier": "$LATEST"}]:
            self.denied(holder.invoke, FunctionName=name, **qualified)

    def test_a_qualifier_in_a_name_neither_escapes_nor_brings_anything(self):
        name = self.create()
        self.publish(name, "one")
        holder = self.holder(allow("*"), deny("lambda:UpdateFunctionCode", function_arn(name)))
        code = support.plain_handler_zip()
        for spelling in [name, f"{name}:$LATEST", f"{function_arn(name)}:$LATEST"]:
            self.denied(holder.update_function_code, "with an explicit deny", FunctionName=spelling, ZipFile=code)
        holder = self.holder(allow("lambda:*", f"{function_arn(name)}:dev"))
        alias = {"FunctionName": f"{name}:dev", "Name": "live", "FunctionVersion": "1"}
        for call, arguments in [
            (holder.create_alias, alias),
            (holder.update_alias, alias),
            (holder.publish_version, {"FunctionName": f"{name}:dev"}),
            (holder.list_versions_by_function, {"FunctionName": f"{name}:dev"}),
        ]:
            self.denied(call, f"on resource: {function_arn(name)} because", **arguments)
        # What such a name asks for is nothing that the operation does, whoever asks.
        for call, arguments in [(self.aws.create_alias, alias), (self.aws.publish_version, {"FunctionName": f"{name}:dev"})]:
            self.refused("InvalidParameterValueException", call, "permitted on Lambda functions only", 400, **arguments)
        self.assertEqual(self.aws.list_aliases(FunctionName=name)["Aliases"], [])

    def test_a_layer_that_may_not_be_read_is_not_brought_in(self):
        made = self.aws.publish_layer_version(LayerName=support.new_name(), Content={"ZipFile": support.zip_of({"a": "b"})})
        arn = made["LayerVersionArn"]
        self.addCleanup(self.aws.delete_layer_version, LayerName=made["LayerArn"], VersionNumber=1)
        name = self.create()
        holder = self.holder(allow("lambda:UpdateFunctionConfiguration", function_arn(name)))
        change = holder.update_function_configuration
        self.denied(change, f"lambda:GetLayerVersion on resource: {arn}", FunctionName=name, Layers=[arn])
        change(FunctionName=name, Description="changed")

    def test_logs_are_read_by_group(self):
        self.ask(self.name, {"do": "log", "of": "policies"})
        self.logged(self.name, "REPORT")
        group = f"/aws/lambda/{self.name}"
        resource = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:*"
        logs = self.holder(allow(["logs:FilterLogEvents", "logs:DescribeLogStreams"], resource), service="logs")
        self.assertTrue(logs.filter_log_events(logGroupName=group)["events"])
        self.assertTrue(logs.describe_log_streams(logGroupName=group)["logStreams"])
        self.denied(logs.filter_log_events, "logs:FilterLogEvents", 400, logGroupName="/aws/lambda/other")
        self.denied(logs.describe_log_groups, status=400)

    def call(self, target, body):
        """The answer to a call of a JSON service that the holder signs, sent as it is."""
        credentials = botocore.credentials.Credentials(self.key["access_key_id"], self.key["secret_access_key"])
        headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}
        headers = support.signed_headers("POST", self.endpoint + "/", body, headers, "logs", credentials)
        return support.send("POST", self.endpoint + "/", body, headers)

    def test_the_operation_that_is_checked_is_the_one_that_runs(self):
        self.holder(allow("*"), deny("logs:DescribeLogGroups"), service="logs")
        refused = self.call("Logs_20140328.DescribeLogGroups", b"{}")
        self.assertEqual((refused.status, support.error_code(refused)), (400, "AccessDeniedException"))
        for target in ["Logs_20140328.x.DescribeLogGroups", "Logs_20140328.DescribeLogGroups.x", "x.Logs_20140328.DescribeLogGroups"]:
            refused = self.call(target, b"{}")
            self.assertEqual((refused.status, support.error_code(refused)), (400, "UnknownOperationException"), target)

    def test_what_a_policy_cannot_read_is_refused(self):
        group = f"/aws/lambda/{self.name}"
        secret = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:*"
        self.holder(allow("logs:*"), deny("logs:*", secret), service="logs")
        named = json.dumps({"logGroupName": group})
        # Members that no handler reads, of a kind that not every reader of JSON takes.
        for body in [named, named[:-1] + ', "more": 1e999}', named[:-1] + ', "more": ' + "[" * 200 + "]" * 200 + "}", "{", "\xff"]:
            refused = self.call("Logs_20140328.DescribeLogStreams", body.encode("latin-1"))
            self.assertEqual((refused.status, support.error_code(refused)), (400, "AccessDeniedException"), body)
        # Either member may be the one that counts.
        body = json.dumps({"logGroupName": "/aws/lambda/other", "logGroupIdentifier": group})
        refused = self.call("Logs_20140328.FilterLogEvents", body.encode())
        self.assertEqual(support.error_code(refused), "AccessDeniedException")

    def test_an_arn_of_another_partition_is_the_same_resource(self):
        holder = self.holder(allow("*"), deny("*", self.arn))
        for arn in [self.arn, self.arn.replace("arn:aws:", "arn:aws-cn:"), self.arn.replace("arn:aws:", "arn:aws-us-gov:")]:
            self.denied(holder.list_tags, Resource=arn)
            self.denied(holder.tag_resource, Resource=arn, Tags={"a": "b"})
            self.denied(holder.untag_resource, Resource=arn, TagKeys=["a"])
            self.denied(holder.get_function, FunctionName=arn)
        made = self.aws.publish_layer_version(LayerName=support.new_name(), Content={"ZipFile": support.zip_of({"a": "b"})})
        arn = made["LayerVersionArn"]
        self.addCleanup(self.aws.delete_layer_version, LayerName=made["LayerArn"], VersionNumber=1)
        holder = self.holder(allow("*"), deny("lambda:GetLayerVersion", arn))
        for other in [arn, arn.replace("arn:aws:", "arn:aws-cn:"), arn[:-1] + "01"]:
            self.denied_or_invalid(holder.get_layer_version_by_arn, Arn=other)
            self.denied_or_invalid(holder.update_function_configuration, FunctionName=self.name, Layers=[other])

    def denied_or_invalid(self, call, **arguments):
        """The model lets some forms of an ARN through and others not; neither reaches the layer."""
        self.refused(("AccessDeniedException", "ValidationException", "InvalidParameterValueException"), call, **arguments)

    def test_repositories_are_made_by_name(self):
        ecr = self.holder(allow("ecr:*", f"arn:aws:ecr:*:*:repository/team/*"), service="ecr")
        name = f"team/{support.new_name()}"
        ecr.create_repository(repositoryName=name)
        ecr.delete_repository(repositoryName=name)
        self.denied(ecr.create_repository, "ecr:CreateRepository", 400, repositoryName="other")
        self.denied(ecr.get_authorization_token, status=400)

    def test_a_presigned_request_is_its_signers(self):
        holder = self.holder(allow("lambda:GetFunction", self.arn))
        credentials = botocore.credentials.Credentials(self.key["access_key_id"], self.key["secret_access_key"])
        for name, status in [(self.name, 200), ("other", 403)]:
            request = botocore.awsrequest.AWSRequest("GET", f"{self.endpoint}/2015-03-31/functions/{name}")
            botocore.auth.SigV4QueryAuth(credentials, "lambda", REGION, expires=60).add_auth(request)
            self.assertEqual(support.send("GET", request.prepare().url).status, status)
        holder.get_function(FunctionName=self.name)

    def test_a_function_url_asks_its_callers_policy(self):
        url = self.aws.create_function_url_config(FunctionName=self.name, AuthType="AWS_IAM")["FunctionUrl"]
        self.addCleanup(self.aws.delete_function_url_config, FunctionName=self.name)
        for statement, status in [(allow("lambda:InvokeFunctionUrl", self.arn), 200), (allow("lambda:InvokeFunction"), 403)]:
            self.holder(statement)
            credentials = botocore.credentials.Credentials(self.key["access_key_id"], self.key["secret_access_key"])
            answer = support.send("GET", url, headers=support.signed_headers("GET", url, key=credentials))
            self.assertEqual(answer.status, status, answer.body)

    def test_a_holder_knows_who_it_is(self):
        sts = self.holder(deny("*"), service="sts")
        identity = sts.get_caller_identity()
        self.assertEqual((identity["Account"], identity["Arn"]), (ACCOUNT, self.user))
        self.assertEqual(identity["UserId"], self.key["access_key_id"])

    def test_a_policy_is_listed_and_one_that_cannot_be_kept_is_refused(self):
        statement = allow("lambda:Get*")
        self.holder(statement)
        listed = {key["access_key_id"]: key for key in accounts.lambent("keys", "ls")}
        self.assertEqual(listed[self.key["access_key_id"]]["policy"]["Statement"], [statement])
        self.assertEqual([key["policy"] for key in listed.values()].count(None), 1)
        condition = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
        for statement, part in [
            ({**allow("lambda:*"), "Condition": condition}, "Condition is not evaluated here"),
            ({**allow("lambda:*"), "Principal": "*"}, "Principal is not evaluated here"),
            (allow("InvokeFunction"), "is no action"),
        ]:
            policy = json.dumps({"Version": "2012-10-17", "Statement": statement})
            words = [os.environ["LAMBENT"], "keys", "create", "--data", os.environ["LAMBENT_DATA"], "--policy", policy]
            done = subprocess.run(words, capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn(part, done.stderr)


if __name__ == "__main__":
    unittest.main()
