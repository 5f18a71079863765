"""CreateFunction, GetFunction, GetFunctionConfiguration, ListFunctions, UpdateFunctionCode, UpdateFunctionConfiguration,
DeleteFunction."""

import base64
import hashlib
import json
import threading
import urllib.request
import uuid

from support import (
    ACCOUNT,
    ARCHITECTURE,
    REGION,
    ROLE,
    FunctionTest,
    error_code,
    function_arn,
    handler_zip,
    new_name,
    plain_handler_zip,
)

MISMATCH = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
)
TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000$"


def sha256(code):
    return base64.b64encode(hashlib.sha256(code).digest()).decode()


class Create(FunctionTest):
    def defaults(self, name):
        return {
            "FunctionName": name,
            "FunctionArn": function_arn(name),
            "Runtime": "provided.al2023",
            "Role": ROLE,
            "Handler": "bootstrap",
            "CodeSize": len(plain_handler_zip()),
            "CodeSha256": sha256(plain_handler_zip()),
            "Description": "",
            "Timeout": 3,
            "MemorySize": 128,
            "Version": "$LATEST",
            "TracingConfig": {"Mode": "PassThrough"},
            "PackageType": "Zip",
            "Architectures": [ARCHITECTURE],
            "EphemeralStorage": {"Size": 512},
            "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
            "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
        }

    def stripped(self, configuration):
        """The members that can be foretold; the others are checked here."""
        configuration = dict(configuration)
        configuration.pop("ResponseMetadata", None)
        self.assertRegex(configuration.pop("LastModified"), TIME)
        self.assertEqual(str(uuid.UUID(configuration["RevisionId"])), configuration.pop("RevisionId"))
        runtime = configuration.pop("RuntimeVersionConfig")
        self.assertTrue(runtime["RuntimeVersionArn"].startswith(f"arn:aws:lambda:{REGION}::runtime:"), runtime)
        return configuration

    def test_answers_pending_with_every_default(self):
        name = self.create(wait=False, Timeout=None)
        self.status(201, self.created)
        pending = {"State": "Pending", "StateReason": "The function is being created.", "StateReasonCode": "Creating"}
        self.assertEqual(self.stripped(self.created), {**self.defaults(name), **pending})

    def test_becomes_active_with_every_default(self):
        name = self.create(Timeout=None)
        found = self.aws.get_function_configuration(FunctionName=name)
        self.status(200, found)
        ready = {"State": "Active", "LastUpdateStatus": "Successful"}
        self.assertEqual(self.stripped(found), {**self.defaults(name), **ready})

    def test_all_waiters_see_it_become_ready(self):
        name = self.create(wait=False)
        for waiter in ["function_exists", "function_active_v2", "function_updated_v2", "function_active", "function_updated"]:
            self.aws.get_waiter(waiter).wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})

    def test_keeps_every_setting(self):
        settings = {
            "Description": "scores",
            "Timeout": 900,
            "MemorySize": 256,
            "EphemeralStorage": {"Size": 1024},
            "Environment": {"Variables": {"ONE": "1", "B_2": "ä \" \\"}},
            "TracingConfig": {"Mode": "Active"},
            "Architectures": [ARCHITECTURE],
            "KMSKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1",
            "DeadLetterConfig": {"TargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"},
            "LoggingConfig": {
                "LogFormat": "JSON",
                "ApplicationLogLevel": "WARN",
                "SystemLogLevel": "DEBUG",
                "LogGroup": "/my/group",
            },
        }
        name = self.create(**settings)
        found = self.aws.get_function_configuration(FunctionName=name)
        self.assertEqual({key: found[key] for key in settings}, settings)

    def test_json_logs_have_levels_by_default(self):
        self.create(LoggingConfig={"LogFormat": "JSON"})
        logging = self.created["LoggingConfig"]
        self.assertEqual((logging["ApplicationLogLevel"], logging["SystemLogLevel"]), ("INFO", "INFO"))

    def test_publishes_a_version_if_asked(self):
        name = self.create(Publish=True)
        self.assertEqual(self.created["Version"], "1")
        self.assertEqual(self.created["FunctionArn"], function_arn(name))
        self.aws.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1")
        self.assertEqual(self.invoke(name, Qualifier="1")["ExecutedVersion"], "1")

    def test_takes_a_partial_or_a_full_arn_as_name(self):
        for spell in [f"{ACCOUNT}:function:%s", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:%s"]:
            name = new_name()
            self.create(wait=False, FunctionName=spell % name)
            self.assertEqual(self.created["FunctionName"], name)

    def test_refuses_a_name_that_is_taken(self):
        name = self.create()
        error = self.refused(
            "ResourceConflictException", self.create, f"Function already exist: {name}", 409, FunctionName=name
        )
        self.assertEqual(error["Type"], "User")

    def test_refuses_code_that_is_missing_or_no_zip(self):
        for code, message in [
            ({}, "Please provide a source for function code."),
            ({"ZipFile": b"no zip"}, "Could not unzip uploaded file. Please check your file, then try to upload again."),
            ({"ZipFile": plain_handler_zip()[:-10]}, "Could not unzip uploaded file"),
            ({"S3Bucket": "bucket"}, "S3Key"),
        ]:
            with self.subTest(message):
                self.refused("InvalidParameterValueException", self.create, message, 400, Code=code)

    def test_refuses_parameters_that_exclude_each_other(self):
        mandatory = "Runtime and Handler are mandatory parameters for functions created with deployment packages."
        image = "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image."
        for settings, message in [
            ({"Runtime": None}, mandatory),
            ({"Handler": None}, mandatory),
            ({"PackageType": "Image", "Code": {"ImageUri": "localhost/x"}}, image),
            ({"LoggingConfig": {"LogFormat": "Text", "SystemLogLevel": "WARN"}}, "LogLevel is not supported"),
        ]:
            with self.subTest(settings):
                self.refused("InvalidParameterValueException", self.create, message, 400, **settings)

    def test_refuses_variables_that_are_reserved_or_too_long(self):
        for variables, message in [
            ({"AWS_REGION": "x", "MINE": "y"}, "Reserved keys used in this request: AWS_REGION"),
            ({"LAMBDA_TASK_ROOT": "x"}, "Reserved keys used in this request: LAMBDA_TASK_ROOT"),
            ({"LONG": "x" * 4096}, "exceeded the 4KB limit. String measured: {\"LONG\":\"xxx"),
        ]:
            with self.subTest(message):
                environment = {"Variables": variables}
                self.refused("InvalidParameterValueException", self.create, message, 400, Environment=environment)

    def test_refuses_runtimes_that_it_does_not_have(self):
        for runtime in ["provided.al9999", "PYTHON3.9", "java21"]:
            codes = ("InvalidParameterValueException", "ValidationException")
            self.refused(codes, self.create, runtime, 400, Runtime=runtime)


class CreateValidation(FunctionTest):
    def create_unchecked(self, **settings):
        base = {
            "FunctionName": new_name(),
            "Role": ROLE,
            "Code": {"ZipFile": b"none"},
            "Runtime": "provided.al2023",
            "Handler": "bootstrap",
        }
        settings = {name: value for name, value in {**base, **settings}.items() if value is not None}
        return self.unchecked.create_function(**settings)

    def test_follows_the_model(self):
        for place, constraint, settings in [
            ("timeout", "Member must have value greater than or equal to 1", {"Timeout": 0}),
            ("memorySize", "Member must have value greater than or equal to 128", {"MemorySize": 127}),
            ("ephemeralStorage.size", "Member must have value greater than or equal to 512", {"EphemeralStorage": {"Size": 511}}),
            ("description", "Member must have length less than or equal to 256", {"Description": "x" * 257}),
            ("handler", "Member must satisfy regular expression pattern", {"Handler": "two words"}),
            ("handler", "Member must have length less than or equal to 128", {"Handler": "x" * 129}),
            ("role", "Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::", {"Role": "r1"}),
            ("role", "Member must not be null", {"Role": None}),
            ("code", "Member must not be null", {"Code": None}),
            ("packageType", "Member must satisfy enum value set: [", {"PackageType": "Tar"}),
            ("architectures", "Member must have length less than or equal to 1", {"Architectures": ["x86_64", "arm64"]}),
            ("architectures", "Member must satisfy enum value set: [x86_64, arm64]", {"Architectures": ["X86_64"]}),
            ("tracingConfig.mode", "Member must satisfy enum value set: [", {"TracingConfig": {"Mode": "On"}}),
            ("loggingConfig.logGroup", "Member must satisfy regular expression pattern", {"LoggingConfig": {"LogGroup": "a b"}}),
            ("environment.variables", "Map keys must satisfy constraint", {"Environment": {"Variables": {"1A": "x"}}}),
        ]:
            with self.subTest(place, constraint=constraint):
                self.invalid(place, constraint, self.create_unchecked, **settings)

    def test_names_are_checked(self):
        for name, constraint in [
            ("a b", "pattern"),
            ("*", "pattern"),
            ("invalid:function:name", "pattern"),
            ("../../etc", "pattern"),
            ("a" * 141, "Member must have length less than or equal to 140"),
            (f"arn:aws:lambda:{REGION}::function:f", "pattern"),
            (f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance:i-1", "pattern"),
        ]:
            with self.subTest(name):
                self.invalid("functionName", constraint, self.create_unchecked, FunctionName=name)
        message = "at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64"
        self.refused("InvalidParameterValueException", self.create_unchecked, message, 400, FunctionName="a" * 65)

    def test_all_violations_are_told_at_once(self):
        error = self.invalid("timeout", "greater", self.create_unchecked, Timeout=0, MemorySize=1)
        self.assertTrue(error["Error"]["Message"].startswith("2 validation errors detected: "), error)
        self.assertIn("at 'memorySize'", error["Error"]["Message"])

    def test_quotas_are_lambdas_where_the_model_allows_more(self):
        codes = ("InvalidParameterValueException", "ValidationException")
        for settings, limit in [
            ({"Timeout": 901}, "less than or equal to 900"),
            ({"MemorySize": 10_241}, "less than or equal to 10240"),
            ({"EphemeralStorage": {"Size": 10_241}}, "less than or equal to 10240"),
        ]:
            with self.subTest(settings):
                self.refused(codes, self.create_unchecked, limit, 400, **settings)

    def test_values_of_the_wrong_kind_are_refused(self):
        for settings in [{"Timeout": "soon"}, {"Timeout": 1.5}, {"Publish": "yes"}, {"Tags": ["a"]}, {"Description": 7}]:
            with self.subTest(settings):
                body = {"FunctionName": "f", "Role": ROLE, "Code": {"ZipFile": "UEs="}, **settings}
                answer = self.sent("POST", "/2015-03-31/functions", json.dumps(body).encode())
                self.assertEqual(answer.status, 400)
                self.assertEqual(error_code(answer), "SerializationException")


class Read(FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.name = cls.create_shared(Tags={"team": "a"})

    def test_get_function_gives_configuration_code_and_tags(self):
        found = self.aws.get_function(FunctionName=self.name)
        found.pop("ResponseMetadata")
        self.assertEqual(set(found), {"Configuration", "Code", "Tags"})
        self.assertEqual(found["Tags"], {"team": "a"})
        self.assertEqual(found["Code"]["RepositoryType"], "S3")
        configuration = self.aws.get_function_configuration(FunctionName=self.name)
        configuration.pop("ResponseMetadata")
        self.assertEqual(found["Configuration"], configuration)

    def test_the_code_can_be_fetched(self):
        location = self.aws.get_function(FunctionName=self.name)["Code"]["Location"]
        with urllib.request.urlopen(location) as response:
            self.assertEqual(response.read(), plain_handler_zip())

    def test_every_spelling_of_the_name_finds_it(self):
        for spelling in [
            self.name,
            f"function:{self.name}",
            f"{ACCOUNT}:function:{self.name}",
            f"{REGION}:{ACCOUNT}:function:{self.name}",
            function_arn(self.name),
        ]:
            with self.subTest(spelling):
                found = self.aws.get_function(FunctionName=spelling)["Configuration"]
                self.assertEqual(found["FunctionArn"], function_arn(self.name))
        latest = function_arn(self.name, "$LATEST")
        for spelling, qualifier in [(self.name, "$LATEST"), (f"{self.name}:$LATEST", None), (latest, "$LATEST")]:
            with self.subTest(spelling, qualifier=qualifier):
                options = {"Qualifier": qualifier} if qualifier else {}
                found = self.aws.get_function_configuration(FunctionName=spelling, **options)
                self.assertEqual(found["FunctionArn"], latest)

    def test_what_is_not_there_is_not_found(self):
        for call in [self.aws.get_function, self.aws.get_function_configuration, self.aws.delete_function]:
            error = self.missing(call, f"Function not found: {function_arn('no-such')}", FunctionName="no-such")
            self.assertEqual(error["Type"], "User")
        for qualifier in ["7", "no-alias", "$latest"]:
            expected = f"Function not found: {function_arn(self.name, qualifier)}"
            self.missing(self.aws.get_function, expected, FunctionName=self.name, Qualifier=qualifier)

    def test_two_qualifiers_must_agree(self):
        message = "The derived qualifier from the function name does not match the specified qualifier."
        for call in [self.aws.get_function, self.aws.get_function_configuration, self.aws.delete_function, self.aws.invoke]:
            arguments = {"FunctionName": function_arn(self.name, "1"), "Qualifier": "$LATEST"}
            self.refused("InvalidParameterValueException", call, message, 400, **arguments)

    def test_other_regions_and_accounts_are_out_of_reach(self):
        elsewhere = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:{self.name}"
        message = f"Functions from 'eu-west-1' are not reachable in this region ('{REGION}')"
        self.missing(self.aws.get_function, message, FunctionName=elsewhere)
        stranger = f"arn:aws:lambda:{REGION}:999999999999:function:{self.name}"
        for call in [self.aws.get_function, self.aws.invoke, self.aws.delete_function]:
            self.refused("AccessDeniedException", call, status=403, FunctionName=stranger)

    def test_names_and_qualifiers_are_checked(self):
        get = self.unchecked.get_function
        self.invalid("functionName", "pattern", get, FunctionName="my-function!")
        self.invalid("functionName", "pattern", get, FunctionName="f:$LATES")
        self.invalid("qualifier", "pattern", get, FunctionName="f", Qualifier="invalid!")
        self.invalid("qualifier", "length less than or equal to 128", get, FunctionName="f", Qualifier="a" * 129)

    def test_errors_have_the_shape_of_the_model(self):
        answer = self.sent("GET", "/2015-03-31/functions/no-such")
        self.assertEqual(answer.status, 404)
        self.assertEqual(error_code(answer), "ResourceNotFoundException")
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(str(uuid.UUID(answer.headers["x-amzn-requestid"])), answer.headers["x-amzn-requestid"])
        expected = {"Type": "User", "Message": f"Function not found: {function_arn('no-such')}"}
        self.assertEqual(json.loads(answer.body), expected)
        answer = self.sent("GET", f"/2015-03-31/functions/{self.name}:1?Qualifier=2")
        self.assertEqual(set(json.loads(answer.body)), {"Type", "message"})


class List(FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.names = sorted(cls.create_shared() for _ in range(3))
        cls.aws.publish_version(FunctionName=cls.names[0])

    def mine(self, functions):
        return [(found["FunctionName"], found["Version"]) for found in functions if found["FunctionName"] in self.names]

    def test_all_functions_are_listed(self):
        found = self.aws.list_functions()
        self.assertEqual(sorted(self.mine(found["Functions"])), [(name, "$LATEST") for name in self.names])
        for function in found["Functions"]:
            self.assertEqual(function["FunctionArn"], function_arn(function["FunctionName"]))
            for member in ["State", "LastUpdateStatus", "StateReason", "RuntimeVersionConfig"]:
                self.assertNotIn(member, function)

    def test_pages_join_to_the_whole(self):
        self.assertEqual(sorted(self.mine(self.pages(self.aws.list_functions, "Functions"))), [(name, "$LATEST") for name in self.names])
        pages = self.aws.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})
        self.assertEqual(len(self.mine([function for page in pages for function in page["Functions"]])), 3)

    def test_all_versions_are_listed_if_asked(self):
        for found in [
            self.aws.list_functions(FunctionVersion="ALL")["Functions"],
            self.pages(self.aws.list_functions, "Functions", FunctionVersion="ALL"),
        ]:
            expected = [(name, "$LATEST") for name in self.names] + [(self.names[0], "1")]
            self.assertEqual(sorted(self.mine(found)), sorted(expected))
            arns = {(item["FunctionName"], item["Version"]): item["FunctionArn"] for item in found}
            self.assertEqual(arns[(self.names[0], "1")], function_arn(self.names[0], "1"))
            self.assertEqual(arns[(self.names[0], "$LATEST")], function_arn(self.names[0], "$LATEST"))

    def test_requests_are_checked(self):
        call = self.unchecked.list_functions
        self.invalid("maxItems", "greater than or equal to 1", call, MaxItems=0)
        self.invalid("maxItems", "less than or equal to 10000", call, MaxItems=10_001)
        self.invalid("functionVersion", "enum value set: [ALL]", call, FunctionVersion="invalid")
        self.refused("InvalidParameterValueException", call, status=400, Marker="no marker")


class UpdateCode(FunctionTest):
    def test_new_code_runs(self):
        name = self.create(Code={"ZipFile": handler_zip(model="first")})
        self.assertEqual(self.ask(name, {"do": "read", "path": "/var/task/model"}), {"content": "first"})
        code = handler_zip(model="second")
        changed = self.status(200, self.aws.update_function_code(FunctionName=name, ZipFile=code))
        self.assertEqual((changed["CodeSha256"], changed["CodeSize"]), (sha256(code), len(code)))
        self.assertEqual((changed["State"], changed["LastUpdateStatus"]), ("Active", "InProgress"))
        self.assertEqual(changed["LastUpdateStatusReason"], "The function is being created.")
        self.assertEqual(changed["LastUpdateStatusReasonCode"], "Creating")
        self.assertEqual(changed["FunctionArn"], function_arn(name))
        self.assertNotEqual(changed["RevisionId"], self.created["RevisionId"])
        found = self.active(name)
        self.assertNotIn("LastUpdateStatusReason", found)
        self.assertEqual(self.ask(name, {"do": "read", "path": "/var/task/model"}), {"content": "second"})

    def test_a_dry_run_changes_nothing(self):
        name = self.create()
        before = self.aws.get_function_configuration(FunctionName=name)
        code = handler_zip(model="other")
        self.assertEqual(self.aws.update_function_code(FunctionName=name, ZipFile=code, DryRun=True)["CodeSha256"], sha256(code))
        after = self.aws.get_function_configuration(FunctionName=name)
        self.assertEqual((before["CodeSha256"], before["RevisionId"]), (after["CodeSha256"], after["RevisionId"]))

    def test_publishes_if_asked(self):
        name = self.create()
        changed = self.aws.update_function_code(FunctionName=name, ZipFile=handler_zip(model="v1"), Publish=True)
        self.assertEqual((changed["Version"], changed["FunctionArn"]), ("1", function_arn(name, "1")))
        self.aws.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1")
        self.assertEqual(self.ask(name, {"do": "read", "path": "/var/task/model"}, Qualifier="1"), {"content": "v1"})

    def test_refusals(self):
        name = self.create()
        call, code = self.aws.update_function_code, plain_handler_zip()
        self.refused("PreconditionFailedException", call, MISMATCH, 412, FunctionName=name, ZipFile=code, RevisionId="other")
        image = "Please don't provide ImageUri when updating a function with packageType Zip."
        self.refused("InvalidParameterValueException", call, image, 400, FunctionName=name, ImageUri="localhost/x")
        unzip = "Could not unzip uploaded file"
        self.refused("InvalidParameterValueException", call, unzip, 400, FunctionName=name, ZipFile=b"no zip")
        self.missing(call, f"Function not found: {function_arn('no-such')}", FunctionName="no-such", ZipFile=code)
        revision = self.aws.get_function_configuration(FunctionName=name)["RevisionId"]
        self.status(200, call(FunctionName=name, ZipFile=code, RevisionId=revision))

    def test_no_request_fails_while_code_and_configuration_change(self):
        name = self.create()
        over, problems, answered = threading.Event(), [], []

        def keep_invoking():
            while not over.is_set():
                response = self.invoke(name, {"do": "echo"})
                (problems if "FunctionError" in response else answered).append(response["Payload"])

        threads = [threading.Thread(target=keep_invoking) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for number in range(2):
                self.aws.update_function_code(FunctionName=name, ZipFile=handler_zip(model=str(number)))
                self.active(name)
                variables = {"Variables": {"NUMBER": str(number)}}
                self.aws.update_function_configuration(FunctionName=name, Environment=variables)
                self.active(name)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        self.assertEqual(problems, [])
        self.assertGreater(len(answered), 4)


class UpdateConfiguration(FunctionTest):
    def test_changes_what_is_given_and_nothing_else(self):
        name = self.create(Description="before", Environment={"Variables": {"GREETING": "hello", "OTHER": "x"}})
        self.assertEqual(self.ask(name, {"do": "version"}), "hello")
        changes = {
            "Timeout": 7,
            "MemorySize": 192,
            "EphemeralStorage": {"Size": 600},
            "Environment": {"Variables": {"GREETING": "good evening"}},
            "Handler": "other",
            "Runtime": "provided.al2",
        }
        changed = self.status(200, self.aws.update_function_configuration(FunctionName=name, **changes))
        self.assertEqual({member: changed[member] for member in changes}, changes)
        self.assertEqual((changed["Description"], changed["LastUpdateStatus"]), ("before", "InProgress"))
        self.assertEqual(changed["LastUpdateStatusReason"], "The function is being created.")
        self.assertNotEqual(changed["RevisionId"], self.created["RevisionId"])
        self.active(name)
        self.assertEqual(self.ask(name, {"do": "version"}), "good evening")
        environment = self.ask(name, {"do": "environment"})
        self.assertNotIn("OTHER", environment)
        self.assertEqual((environment["_HANDLER"], environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]), ("other", "192"))
        self.assertEqual(environment["AWS_EXECUTION_ENV"], "AWS_Lambda_provided.al2")

    def test_variables_can_be_taken_away(self):
        name = self.create(Environment={"Variables": {"GREETING": "hello"}})
        self.aws.update_function_configuration(FunctionName=name, Environment={"Variables": {}})
        self.active(name)
        self.assertNotIn("GREETING", self.ask(name, {"do": "environment"}))

    def test_the_same_again_is_no_error(self):
        name = self.create(Description="same")
        for _ in range(2):
            self.aws.update_function_configuration(FunctionName=name, Description="same")
            self.assertEqual(self.active(name)["Description"], "same")

    def test_refusals(self):
        name = self.create()
        call = self.unchecked.update_function_configuration
        self.refused("PreconditionFailedException", call, MISMATCH, 412, FunctionName=name, Timeout=1, RevisionId="other")
        self.invalid("timeout", "greater than or equal to 1", call, FunctionName=name, Timeout=0)
        self.invalid("role", "pattern", call, FunctionName=name, Role="r1")
        self.missing(call, f"Function not found: {function_arn('no-such')}", FunctionName="no-such", Timeout=1)
        reserved = {"Variables": {"LAMBDA_TASK_ROOT": "/"}}
        self.refused("InvalidParameterValueException", call, "LAMBDA_TASK_ROOT", 400, FunctionName=name, Environment=reserved)
        found = self.aws.get_function_configuration(FunctionName=name)
        self.assertEqual(found["LastUpdateStatus"], "Successful")
        self.status(200, call(FunctionName=name, Timeout=2, RevisionId=found["RevisionId"]))


class Delete(FunctionTest):
    def test_a_deleted_function_is_gone(self):
        name = self.create()
        self.ask(name)
        self.status(204, self.aws.delete_function(FunctionName=name))
        for call in [self.aws.get_function, self.aws.delete_function, self.aws.invoke]:
            self.missing(call, f"Function not found: {function_arn(name)}", FunctionName=name)

    def test_all_that_hung_on_it_is_gone_too(self):
        name = self.create(Tags={"a": "b"}, Publish=True)
        self.aws.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        self.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
        self.aws.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
        self.aws.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")
        self.aws.add_permission(FunctionName=name, StatementId="s", Action="lambda:InvokeFunction", Principal="*")
        self.aws.delete_function(FunctionName=name)
        self.create(FunctionName=name)
        found = self.aws.get_function(FunctionName=name)
        self.assertNotIn("Tags", found)
        self.assertNotIn("Concurrency", found)
        self.assertEqual(len(self.aws.list_versions_by_function(FunctionName=name)["Versions"]), 1)
        self.assertEqual(self.aws.list_aliases(FunctionName=name)["Aliases"], [])
        self.assertEqual(self.aws.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"], [])
        self.missing(self.aws.get_policy, FunctionName=name)
        self.missing(self.aws.get_function_event_invoke_config, FunctionName=name)

    def test_some_qualifiers_cannot_be_deleted(self):
        name = self.create()
        latest = "$LATEST version cannot be deleted without deleting the function."
        call = self.aws.delete_function
        self.refused("InvalidParameterValueException", call, latest, 400, FunctionName=name, Qualifier="$LATEST")
        alias = "Deletion of aliases is not currently supported."
        self.refused("InvalidParameterValueException", call, alias, 400, FunctionName=name, Qualifier="live")
        self.status(204, call(FunctionName=name, Qualifier="1233"))
        self.aws.get_function(FunctionName=name)
