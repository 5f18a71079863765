"""GetAccountSettings, GetRuntimeManagementConfig, PutRuntimeManagementConfig, GetFunctionRecursionConfig,
PutFunctionRecursionConfig, GetFunctionCodeSigningConfig, GetCallerIdentity of STS, and what there is not."""

from support import ACCOUNT, REGION, FunctionTest, client, error_code, function_arn, plain_handler_zip


class Account(FunctionTest):
    def test_limits_are_lambdas(self):
        limit = self.status(200, self.aws.get_account_settings())["AccountLimit"]
        self.assertEqual(limit["CodeSizeUnzipped"], 262_144_000)
        self.assertEqual(limit["CodeSizeZipped"], 52_428_800)
        self.assertEqual(limit["TotalCodeSize"], 80_530_636_800)
        self.assertGreaterEqual(limit["ConcurrentExecutions"], 200)
        self.assertLessEqual(limit["UnreservedConcurrentExecutions"], limit["ConcurrentExecutions"])

    def test_usage_follows_functions(self):
        usage = lambda: self.aws.get_account_settings()["AccountUsage"]
        before = usage()
        name = self.create()
        during = usage()
        self.assertEqual(during["FunctionCount"], before["FunctionCount"] + 1)
        self.assertEqual(during["TotalCodeSize"], before["TotalCodeSize"] + len(plain_handler_zip()))
        self.aws.delete_function(FunctionName=name)
        self.assertEqual(usage(), before)

    def test_the_caller_is_the_account(self):
        identity = self.status(200, client("sts").get_caller_identity())
        self.assertEqual(identity["Account"], ACCOUNT)
        self.assertTrue(identity["Arn"].startswith(f"arn:aws:iam::{ACCOUNT}:"), identity)
        self.assertTrue(identity["UserId"])


class Settings(FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.name = cls.create_shared()

    def test_runtimes_are_updated_as_they_come_unless_somebody_says_else(self):
        get = lambda: self.status(200, self.aws.get_runtime_management_config(FunctionName=self.name))
        self.assertEqual((get()["UpdateRuntimeOn"], get().get("RuntimeVersionArn")), ("Auto", None))
        self.assertIn(get()["FunctionArn"], [function_arn(self.name), function_arn(self.name, "$LATEST")])
        put = self.aws.put_runtime_management_config
        arn = f"arn:aws:lambda:{REGION}::runtime:{'ab' * 32}"
        changed = self.status(200, put(FunctionName=self.name, UpdateRuntimeOn="Manual", RuntimeVersionArn=arn))
        self.assertEqual((changed["UpdateRuntimeOn"], changed["RuntimeVersionArn"]), ("Manual", arn))
        self.assertEqual((get()["UpdateRuntimeOn"], get()["RuntimeVersionArn"]), ("Manual", arn))
        put(FunctionName=self.name, UpdateRuntimeOn="FunctionUpdate")
        self.assertEqual((get()["UpdateRuntimeOn"], get().get("RuntimeVersionArn")), ("FunctionUpdate", None))

    def test_runtime_management_is_checked(self):
        put = self.unchecked.put_runtime_management_config
        self.invalid("updateRuntimeOn", "enum value set: [", put, FunctionName=self.name, UpdateRuntimeOn="Never")
        self.invalid("updateRuntimeOn", "must not be null", put, FunctionName=self.name)
        self.refused("InvalidParameterValueException", put, status=400, FunctionName=self.name, UpdateRuntimeOn="Manual")
        self.missing(self.aws.get_runtime_management_config, "Function not found", FunctionName="no-such")
        self.missing(put, "Function not found", FunctionName="no-such", UpdateRuntimeOn="Auto")

    def test_loops_are_ended_unless_somebody_says_else(self):
        get = lambda: self.status(200, self.aws.get_function_recursion_config(FunctionName=self.name))["RecursiveLoop"]
        self.assertEqual(get(), "Terminate")
        for setting in ["Allow", "Terminate"]:
            changed = self.aws.put_function_recursion_config(FunctionName=self.name, RecursiveLoop=setting)
            self.assertEqual(self.status(200, changed)["RecursiveLoop"], setting)
            self.assertEqual(get(), setting)

    def test_loop_settings_are_checked(self):
        put = self.unchecked.put_function_recursion_config
        self.invalid("recursiveLoop", "enum value set: [", put, FunctionName=self.name, RecursiveLoop="InvalidValue")
        self.missing(put, "Function not found", FunctionName="no-such", RecursiveLoop="Allow")
        self.missing(self.aws.get_function_recursion_config, "Function not found", FunctionName="no-such")

    def test_no_function_has_a_code_signing_configuration(self):
        found = self.status(200, self.aws.get_function_code_signing_config(FunctionName=self.name))
        self.assertEqual((found["FunctionName"], found["CodeSigningConfigArn"]), (self.name, ""))
        self.missing(self.aws.get_function_code_signing_config, "Function not found", FunctionName="no-such")


class Missing(FunctionTest):
    def test_what_is_not_implemented_says_so(self):
        for call, arguments in [
            (self.aws.list_code_signing_configs, {}),
            (self.aws.list_capacity_providers, {}),
            (self.aws.get_durable_execution, {"DurableExecutionArn": f"{function_arn('f', '1')}/durable-execution/a/b"}),
            (self.aws.get_function_scaling_config, {"FunctionName": "f", "Qualifier": "1"}),
        ]:
            name = call.__name__.replace("_", "")
            with self.subTest(name):
                with self.assertRaises(self.aws.exceptions.ClientError) as caught:
                    call(**arguments)
                error = caught.exception.response
                self.assertIn(error["ResponseMetadata"]["HTTPStatusCode"], [400, 501])
                self.assertIn(name, error["Error"]["Message"].lower())
                self.assertIn("not implement", error["Error"]["Message"])

    def test_settings_that_would_do_nothing_are_refused(self):
        tenancy = {"TenantIsolationMode": "PER_TENANT"}
        self.refused("InvalidParameterValueException", self.create, "TenancyConfig", 400, TenancyConfig=tenancy)

    def test_paths_that_no_operation_has_are_not_found(self):
        for method, path in [("GET", "/2015-03-31/nothing"), ("PATCH", "/2015-03-31/functions"), ("GET", "/2010-01-01/functions")]:
            with self.subTest(path):
                answer = self.sent(method, path)
                self.assertEqual(answer.status, 404)
                self.assertEqual(error_code(answer), "UnknownOperationException")

    def test_other_services_are_refused(self):
        headers = {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Content-Type": "application/x-amz-json-1.0"}
        answer = self.sent("POST", "/", b"{}", headers, service="dynamodb")
        self.assertIn(answer.status, [400, 404])
        self.assertIn(b"UnknownOperationException", answer.body)
