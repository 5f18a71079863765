"""PutFunctionEventInvokeConfig, UpdateFunctionEventInvokeConfig, GetFunctionEventInvokeConfig,
DeleteFunctionEventInvokeConfig, ListFunctionEventInvokeConfigs."""

import datetime

from support import ACCOUNT, REGION, FunctionTest, function_arn

QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:answers"


class EventInvoke(FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.name = cls.create_shared(Publish=True)
        cls.aws.create_alias(FunctionName=cls.name, Name="live", FunctionVersion="1")

    def put(self, **settings):
        found = self.aws.put_function_event_invoke_config(FunctionName=self.name, **settings)
        qualifier = {"Qualifier": settings["Qualifier"]} if "Qualifier" in settings else {}
        self.addCleanup(self.forget, **qualifier)
        return found

    def forget(self, **qualifier):
        try:
            self.aws.delete_function_event_invoke_config(FunctionName=self.name, **qualifier)
        except self.aws.exceptions.ResourceNotFoundException:
            pass

    def get(self, **options):
        found = self.aws.get_function_event_invoke_config(FunctionName=self.name, **options)
        found.pop("ResponseMetadata")
        return found

    def absent(self, qualifier="$LATEST", name=None):
        return f"The function {function_arn(name or self.name, qualifier)} doesn't have an EventInvokeConfig"

    def test_a_configuration_is_kept(self):
        put = self.status(200, self.put(MaximumRetryAttempts=1, MaximumEventAgeInSeconds=60))
        put.pop("ResponseMetadata")
        age = datetime.datetime.now(datetime.timezone.utc) - put.pop("LastModified")
        self.assertLess(abs(age), datetime.timedelta(seconds=60))
        expected = {
            "FunctionArn": function_arn(self.name, "$LATEST"),
            "MaximumRetryAttempts": 1,
            "MaximumEventAgeInSeconds": 60,
            "DestinationConfig": {"OnSuccess": {}, "OnFailure": {}},
        }
        self.assertEqual(put, expected)
        found = self.get()
        found.pop("LastModified")
        self.assertEqual(found, expected)

    def test_put_replaces_and_update_changes(self):
        self.put(MaximumRetryAttempts=0, MaximumEventAgeInSeconds=120)
        update = self.aws.update_function_event_invoke_config
        changed = self.status(200, update(FunctionName=self.name, MaximumRetryAttempts=2))
        self.assertEqual((changed["MaximumRetryAttempts"], changed["MaximumEventAgeInSeconds"]), (2, 120))
        destinations = {"OnFailure": {"Destination": QUEUE}}
        changed = update(FunctionName=self.name, DestinationConfig=destinations)
        self.assertEqual(changed["DestinationConfig"]["OnFailure"], {"Destination": QUEUE})
        self.assertEqual(changed["MaximumEventAgeInSeconds"], 120)
        self.put(MaximumEventAgeInSeconds=21_600)
        found = self.get()
        self.assertNotIn("MaximumRetryAttempts", found)
        self.assertEqual(found["MaximumEventAgeInSeconds"], 21_600)
        self.assertEqual(found["DestinationConfig"], {"OnSuccess": {}, "OnFailure": {}})

    def test_versions_and_aliases_have_their_own(self):
        self.put(MaximumRetryAttempts=0)
        self.put(MaximumRetryAttempts=1, Qualifier="1")
        self.put(MaximumRetryAttempts=2, Qualifier="live")
        for qualifier, retries in [("$LATEST", 0), ("1", 1), ("live", 2)]:
            found = self.get(Qualifier=qualifier)
            self.assertEqual((found["FunctionArn"], found["MaximumRetryAttempts"]), (function_arn(self.name, qualifier), retries))
        arns = sorted(function_arn(self.name, qualifier) for qualifier in ["$LATEST", "1", "live"])
        listed = self.aws.list_function_event_invoke_configs(FunctionName=self.name)
        self.assertEqual(sorted(found["FunctionArn"] for found in listed["FunctionEventInvokeConfigs"]), arns)
        call = self.aws.list_function_event_invoke_configs
        paged = self.pages(call, "FunctionEventInvokeConfigs", FunctionName=self.name)
        self.assertEqual(sorted(found["FunctionArn"] for found in paged), arns)

    def test_a_deleted_configuration_is_gone(self):
        self.put(MaximumRetryAttempts=0)
        self.status(204, self.aws.delete_function_event_invoke_config(FunctionName=self.name))
        for call in [
            self.aws.get_function_event_invoke_config,
            self.aws.delete_function_event_invoke_config,
        ]:
            self.missing(call, self.absent(), FunctionName=self.name)
        update = self.aws.update_function_event_invoke_config
        self.missing(update, self.absent(), FunctionName=self.name, MaximumRetryAttempts=0)
        listed = self.aws.list_function_event_invoke_configs(FunctionName=self.name)
        self.assertEqual(listed["FunctionEventInvokeConfigs"], [])

    def test_what_is_not_there_has_none(self):
        get = self.aws.get_function_event_invoke_config
        self.missing(get, self.absent(name="no-such"), FunctionName="no-such")
        self.missing(get, self.absent("no-alias"), FunctionName=self.name, Qualifier="no-alias")
        self.missing(get, self.absent("1221"), FunctionName=self.name, Qualifier="1221")
        put = self.aws.put_function_event_invoke_config
        self.missing(put, "The function doesn't exist.", FunctionName="no-such", MaximumRetryAttempts=0)

    def test_settings_are_checked(self):
        put = self.unchecked.put_function_event_invoke_config
        for place, constraint, settings in [
            ("maximumRetryAttempts", "less than or equal to 2", {"MaximumRetryAttempts": 3}),
            ("maximumRetryAttempts", "greater than or equal to 0", {"MaximumRetryAttempts": -1}),
            ("maximumEventAgeInSeconds", "greater than or equal to 60", {"MaximumEventAgeInSeconds": 59}),
            ("maximumEventAgeInSeconds", "less than or equal to 21600", {"MaximumEventAgeInSeconds": 21_601}),
            ("destinationConfig.onFailure.destination", "pattern", {"DestinationConfig": {"OnFailure": {"Destination": "arn:x"}}}),
        ]:
            with self.subTest(place, constraint=constraint):
                self.invalid(place, constraint, put, FunctionName=self.name, **settings)

    def test_destinations_are_checked(self):
        put = self.aws.put_function_event_invoke_config
        success = lambda arn: {"DestinationConfig": {"OnSuccess": {"Destination": arn}}}
        own = f"arn:aws:iam:{REGION}:{ACCOUNT}:function:{self.name}"
        for message, settings in [
            ("You must specify at least one of error handling or destination setting.", {}),
            ("You can't specify the function as a destination for itself.", success(function_arn(self.name))),
            (f"The destination ARN {function_arn('no-such')} is invalid.", success(function_arn("no-such"))),
            (
                f"The provided destination config DestinationConfig(onSuccess=OnSuccess(destination={own}), onFailure=null) is invalid.",
                success(own),
            ),
        ]:
            with self.subTest(message):
                self.refused("InvalidParameterValueException", put, message, 400, FunctionName=self.name, **settings)
