"""PutFunctionConcurrency, GetFunctionConcurrency, DeleteFunctionConcurrency, the same for provisioned concurrency, and
what limits do to invocations."""

import json
import time

import botocore.exceptions
from support import FunctionTest, error_code, function_arn, together

ONLY_FUNCTIONS = (
    "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
    "Please specify either a function name or an unqualified function ARN."
)


class Reserved(FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.name = cls.create_shared()

    def tearDown(self):
        self.aws.delete_function_concurrency(FunctionName=self.name)

    def test_a_reservation_is_kept_until_it_is_deleted(self):
        self.assertNotIn("ReservedConcurrentExecutions", self.aws.get_function_concurrency(FunctionName=self.name))
        for count in [0, 3]:
            put = self.aws.put_function_concurrency(FunctionName=self.name, ReservedConcurrentExecutions=count)
            self.assertEqual(self.status(200, put)["ReservedConcurrentExecutions"], count)
            found = self.status(200, self.aws.get_function_concurrency(FunctionName=self.name))
            self.assertEqual(found["ReservedConcurrentExecutions"], count)
            found = self.aws.get_function(FunctionName=self.name)
            self.assertEqual(found["Concurrency"], {"ReservedConcurrentExecutions": count})
        for _ in range(2):
            self.status(204, self.aws.delete_function_concurrency(FunctionName=self.name))
        self.assertNotIn("ReservedConcurrentExecutions", self.aws.get_function_concurrency(FunctionName=self.name))
        self.assertNotIn("Concurrency", self.aws.get_function(FunctionName=self.name))

    def test_what_is_reserved_is_taken_from_the_account(self):
        unreserved = lambda: self.aws.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
        before = unreserved()
        self.aws.put_function_concurrency(FunctionName=self.name, ReservedConcurrentExecutions=7)
        self.assertEqual(unreserved(), before - 7)

    def test_a_hundred_stay_unreserved(self):
        limit = self.aws.get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
        put = self.aws.put_function_concurrency
        self.assertEqual(put(FunctionName=self.name, ReservedConcurrentExecutions=limit - 100)["ReservedConcurrentExecutions"], limit - 100)
        message = (
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
            "below its minimum value of [100]."
        )
        arguments = {"FunctionName": self.name, "ReservedConcurrentExecutions": limit - 99}
        self.refused("InvalidParameterValueException", put, message, 400, **arguments)

    def test_only_functions_that_are_there_have_reservations(self):
        put = self.aws.put_function_concurrency
        missing = f"Function not found: {function_arn('no-such')}"
        self.missing(put, missing, FunctionName="no-such", ReservedConcurrentExecutions=1)
        self.missing(self.aws.get_function_concurrency, missing, FunctionName="no-such")
        self.missing(self.aws.delete_function_concurrency, missing, FunctionName="no-such")
        arn = function_arn(self.name, "$LATEST")
        arguments = {"FunctionName": arn, "ReservedConcurrentExecutions": 1}
        self.refused("InvalidParameterValueException", put, ONLY_FUNCTIONS, 400, **arguments)
        unchecked = self.unchecked.put_function_concurrency
        place = "reservedConcurrentExecutions"
        self.invalid(place, "greater than or equal to 0", unchecked, FunctionName=self.name, ReservedConcurrentExecutions=-1)
        self.invalid(place, "must not be null", unchecked, FunctionName=self.name)

    def throttled(self, error):
        self.assertIsInstance(error, self.aws.exceptions.TooManyRequestsException)
        response = error.response
        self.status(429, response)
        self.assertEqual(response["Error"], {"Code": "TooManyRequestsException", "Message": "Rate Exceeded."})
        self.assertEqual((response["Reason"], response["Type"]), ("ReservedFunctionConcurrentInvocationLimitExceeded", "User"))
        self.assertGreaterEqual(int(response["retryAfterSeconds"]), 1)
        self.assertGreaterEqual(int(response["ResponseMetadata"]["HTTPHeaders"]["retry-after"]), 1)

    def test_none_reserved_throttles_all(self):
        self.aws.put_function_concurrency(FunctionName=self.name, ReservedConcurrentExecutions=0)
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            self.invoke(self.name)
        self.throttled(caught.exception)
        self.assertEqual(self.invoke(self.name, InvocationType="DryRun")["StatusCode"], 204)
        self.aws.delete_function_concurrency(FunctionName=self.name)
        self.assertEqual(self.ask(self.name, {"do": "echo"}), {"do": "echo"})

    def test_beyond_the_reservation_is_throttled(self):
        self.aws.put_function_concurrency(FunctionName=self.name, ReservedConcurrentExecutions=1)
        sleep = lambda: self.ask(self.name, {"do": "sleep", "ms": 2500})
        results = together([sleep] * 3)
        errors = [result for result in results if isinstance(result, Exception)]
        self.assertEqual([result for result in results if not isinstance(result, Exception)], ["slept"])
        for error in errors:
            self.throttled(error)
        self.assertEqual(self.ask(self.name, {"do": "echo"}), {"do": "echo"})

    def test_one_after_the_other_is_never_too_many(self):
        self.aws.put_function_concurrency(FunctionName=self.name, ReservedConcurrentExecutions=1)
        for _ in range(200):
            self.assertEqual(self.ask(self.name, {"do": "echo"}), {"do": "echo"})

    def test_the_answer_to_one_too_many_has_the_shape_of_the_model(self):
        self.aws.put_function_concurrency(FunctionName=self.name, ReservedConcurrentExecutions=0)
        answer = self.sent("POST", f"/2015-03-31/functions/{self.name}/invocations", b"{}")
        self.assertEqual(answer.status, 429)
        self.assertEqual(error_code(answer), "TooManyRequestsException")
        self.assertGreaterEqual(int(answer.headers["retry-after"]), 1)
        expected = {"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "Type": "User", "message": "Rate Exceeded."}
        self.assertEqual(json.loads(answer.body), expected)


class ScaleOut(FunctionTest):
    def test_five_at_once_have_five_environments(self):
        name = self.create()
        begin = time.monotonic()
        results = together([lambda: self.ask(name, {"do": "sleep", "ms": 3000})] * 5)
        self.assertEqual(results, ["slept"] * 5)
        # One after the other takes 15 s.
        self.assertLess(time.monotonic() - begin, 12)
        self.logged(name, "REPORT RequestId: ", 5)
        streams = self.logs.describe_log_streams(logGroupName=f"/aws/lambda/{name}")["logStreams"]
        self.assertEqual(len(streams), 5)

    def test_environments_are_used_again_after_a_burst(self):
        name = self.create()
        together([lambda: self.ask(name, {"do": "sleep", "ms": 500})] * 3)
        counts = [self.ask(name, {"do": "count"})["invocations"] for _ in range(3)]
        # None is of a new environment. One that has just answered may be on its way to rest, and another serves then.
        self.assertGreaterEqual(min(counts), 2, counts)


class Provisioned(FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.name = cls.create_shared(Publish=True)
        cls.aws.get_waiter("published_version_active").wait(FunctionName=cls.name, Qualifier="1")
        cls.aws.create_alias(FunctionName=cls.name, Name="live", FunctionVersion="1")

    def put(self, qualifier, count=1):
        call = self.aws.put_provisioned_concurrency_config
        put = call(FunctionName=self.name, Qualifier=qualifier, ProvisionedConcurrentExecutions=count)
        self.addCleanup(self.aws.delete_provisioned_concurrency_config, FunctionName=self.name, Qualifier=qualifier)
        return put

    def test_a_request_is_accepted_and_kept(self):
        put = self.status(202, self.put("1", 2))
        self.assertEqual((put["RequestedProvisionedConcurrentExecutions"], put["Status"]), (2, "IN_PROGRESS"))
        self.assertNotIn("StatusReason", put)
        self.assertEqual(put["AllocatedProvisionedConcurrentExecutions"], 0)
        self.assertEqual(put["AvailableProvisionedConcurrentExecutions"], 0)
        found = self.aws.get_provisioned_concurrency_config(FunctionName=self.name, Qualifier="1")
        self.status(200, found)
        self.assertEqual(found["RequestedProvisionedConcurrentExecutions"], 2)
        self.assertEqual(found["LastModified"], put["LastModified"])
        listed = self.aws.list_provisioned_concurrency_configs(FunctionName=self.name)["ProvisionedConcurrencyConfigs"]
        self.assertEqual([item["FunctionArn"] for item in listed], [function_arn(self.name, "1")])
        self.assertEqual(self.ask(self.name, {"do": "echo"}, Qualifier="1"), {"do": "echo"})

    def test_a_deleted_request_is_gone(self):
        self.put("live")
        self.status(204, self.aws.delete_provisioned_concurrency_config(FunctionName=self.name, Qualifier="live"))
        error = self.refused(
            "ProvisionedConcurrencyConfigNotFoundException",
            self.aws.get_provisioned_concurrency_config,
            "No Provisioned Concurrency Config found for this function",
            404,
            FunctionName=self.name,
            Qualifier="live",
        )
        self.assertEqual(error["Type"], "User")
        listed = self.aws.list_provisioned_concurrency_configs(FunctionName=self.name)
        self.assertEqual(listed["ProvisionedConcurrencyConfigs"], [])

    def test_a_version_and_its_alias_exclude_each_other(self):
        put = self.aws.put_provisioned_concurrency_config
        arguments = {"FunctionName": self.name, "ProvisionedConcurrentExecutions": 1}
        self.put("1")
        message = "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
        self.refused("ResourceConflictException", put, message, 409, Qualifier="live", **arguments)
        self.aws.delete_provisioned_concurrency_config(FunctionName=self.name, Qualifier="1")
        self.put("live")
        message = "Version is pointed by a Provisioned Concurrency alias"
        self.refused("ResourceConflictException", put, message, 409, Qualifier="1", **arguments)

    def test_requests_are_checked(self):
        put = self.unchecked.put_provisioned_concurrency_config
        arguments = {"FunctionName": self.name, "ProvisionedConcurrentExecutions": 1}
        message = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
        self.refused("InvalidParameterValueException", put, message, 400, Qualifier="$LATEST", **arguments)
        missing = f"Cannot find alias arn: {function_arn(self.name, 'no-alias')}"
        self.missing(put, missing, Qualifier="no-alias", **arguments)
        self.missing(put, f"Function not found: {function_arn(self.name, '9')}", Qualifier="9", **arguments)
        place, constraint = "provisionedConcurrentExecutions", "greater than or equal to 1"
        self.invalid(place, constraint, put, FunctionName=self.name, Qualifier="1", ProvisionedConcurrentExecutions=0)
        get = self.aws.get_provisioned_concurrency_config
        message = "The function resource provided must be an alias or a published version."
        self.refused("InvalidParameterValueException", get, message, 400, FunctionName=self.name, Qualifier="$LATEST")

    def test_an_alias_that_splits_traffic_cannot_have_it(self):
        name = self.create()
        self.publish(name, "one")
        self.publish(name, "two")
        weights = {"AdditionalVersionWeights": {"2": 0.5}}
        self.aws.create_alias(FunctionName=name, Name="split", FunctionVersion="1", RoutingConfig=weights)
        message = "Alias with weights can not be used with Provisioned Concurrency"
        arguments = {"FunctionName": name, "Qualifier": "split", "ProvisionedConcurrentExecutions": 1}
        codes = ("InvalidParameterValueException", "ResourceConflictException")
        self.refused(codes, self.aws.put_provisioned_concurrency_config, message, **arguments)
