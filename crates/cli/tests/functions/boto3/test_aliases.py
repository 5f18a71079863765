"""CreateAlias, GetAlias, UpdateAlias, DeleteAlias, ListAliases, and traffic that an alias splits."""

import collections
import uuid

from support import FunctionTest, function_arn, publish


class AliasTest(FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.name = cls.create_shared()
        publish(cls.aws, cls.name, "one")
        publish(cls.aws, cls.name, "two")

    def create_alias(self, **settings):
        alias = self.aws.create_alias(**{"FunctionName": self.name, "Name": "live", "FunctionVersion": "1", **settings})
        self.addCleanup(self.aws.delete_alias, FunctionName=self.name, Name=alias["Name"])
        return alias


class Aliases(AliasTest):
    def test_an_alias_has_what_it_was_given(self):
        alias = self.status(201, self.create_alias())
        alias.pop("ResponseMetadata")
        self.assertEqual(str(uuid.UUID(alias["RevisionId"])), alias["RevisionId"])
        expected = {
            "AliasArn": function_arn(self.name, "live"),
            "Name": "live",
            "FunctionVersion": "1",
            "Description": "",
            "RevisionId": alias["RevisionId"],
        }
        self.assertEqual(alias, expected)
        found = self.status(200, self.aws.get_alias(FunctionName=self.name, Name="live"))
        found.pop("ResponseMetadata")
        self.assertEqual(found, expected)

    def test_an_alias_stands_for_its_version(self):
        self.create_alias(FunctionVersion="2", Description="best")
        for spelling, options in [(self.name, {"Qualifier": "live"}), (f"{self.name}:live", {}), (function_arn(self.name, "live"), {})]:
            response = self.invoke(spelling, {"do": "version"}, **options)
            self.assertEqual((response["Payload"], response["ExecutedVersion"]), (b'"two"', "2"))
            found = self.aws.get_function_configuration(FunctionName=spelling, **options)
            self.assertEqual((found["Version"], found["FunctionArn"]), ("2", function_arn(self.name, "live")))
        headers = self.ask(self.name, {"do": "headers"}, Qualifier="live")
        self.assertEqual(headers["lambda-runtime-invoked-function-arn"], function_arn(self.name, "live"))
        self.assertEqual(self.ask(self.name, {"do": "environment"}, Qualifier="live")["AWS_LAMBDA_FUNCTION_VERSION"], "2")

    def test_an_alias_can_stand_for_latest(self):
        self.create_alias(FunctionVersion="$LATEST")
        self.assertEqual(self.invoke(self.name, Qualifier="live")["ExecutedVersion"], "$LATEST")

    def test_an_alias_moves(self):
        before = self.create_alias(Description="mine")
        after = self.status(200, self.aws.update_alias(FunctionName=self.name, Name="live", FunctionVersion="2"))
        self.assertEqual((after["FunctionVersion"], after["Description"]), ("2", "mine"))
        self.assertNotEqual(after["RevisionId"], before["RevisionId"])
        self.assertEqual(self.invoke(self.name, Qualifier="live")["ExecutedVersion"], "2")
        described = self.aws.update_alias(FunctionName=self.name, Name="live", Description="", RevisionId=after["RevisionId"])
        self.assertEqual((described["FunctionVersion"], described["Description"]), ("2", ""))

    def test_only_the_expected_revision_is_changed(self):
        self.create_alias()
        message = "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API"
        arguments = {"FunctionName": self.name, "Name": "live", "Description": "x", "RevisionId": "other"}
        self.refused("PreconditionFailedException", self.aws.update_alias, message, 412, **arguments)

    def test_names_are_used_once(self):
        self.create_alias()
        message = f"Alias already exists: {function_arn(self.name, 'live')}"
        arguments = {"FunctionName": self.name, "Name": "live", "FunctionVersion": "2"}
        error = self.refused("ResourceConflictException", self.aws.create_alias, message, 409, **arguments)
        self.assertEqual(error["Type"], "User")

    def test_a_deleted_alias_is_gone(self):
        self.create_alias()
        for _ in range(2):
            self.status(204, self.aws.delete_alias(FunctionName=self.name, Name="live"))
        arn = function_arn(self.name, "live")
        self.missing(self.aws.get_alias, f"Cannot find alias arn: {arn}", FunctionName=self.name, Name="live")
        self.missing(self.aws.update_alias, f"Alias not found: {arn}", FunctionName=self.name, Name="live", Description="x")
        self.missing(self.aws.invoke, f"Function not found: {arn}", FunctionName=self.name, Qualifier="live")
        self.missing(self.aws.get_function, f"Function not found: {arn}", FunctionName=self.name, Qualifier="live")

    def test_what_an_alias_names_must_be_there(self):
        create = self.aws.create_alias
        missing = f"Function not found: {function_arn(self.name, '10')}"
        self.missing(create, missing, FunctionName=self.name, Name="a", FunctionVersion="10")
        missing = f"Function not found: {function_arn('no-such', '1')}"
        self.missing(create, missing, FunctionName="no-such", Name="a", FunctionVersion="1")
        self.create_alias()
        missing = f"Function not found: {function_arn(self.name, '10')}"
        self.missing(self.aws.update_alias, missing, FunctionName=self.name, Name="live", FunctionVersion="10")

    def test_names_are_checked(self):
        for name, constraint in [("1", "pattern"), ("a b", "pattern"), ("a" * 129, "less than or equal to 128"), ("a:b", "pattern")]:
            with self.subTest(name):
                call = self.unchecked.create_alias
                self.invalid("name", constraint, call, FunctionName=self.name, Name=name, FunctionVersion="1")
        call = self.unchecked.create_alias
        self.invalid("functionVersion", "pattern", call, FunctionName=self.name, Name="a", FunctionVersion="live")
        self.invalid("functionVersion", "must not be null", call, FunctionName=self.name, Name="a")

    def test_lists_are_by_name_and_can_be_filtered(self):
        for name, version in [("c", "1"), ("a", "2"), ("b", "1")]:
            self.create_alias(Name=name, FunctionVersion=version)
        names = lambda aliases: [alias["Name"] for alias in aliases]
        found = self.aws.list_aliases(FunctionName=self.name)
        self.assertNotIn("NextMarker", found)
        self.assertEqual(names(found["Aliases"]), ["a", "b", "c"])
        self.assertEqual(names(self.pages(self.aws.list_aliases, "Aliases", FunctionName=self.name)), ["a", "b", "c"])
        self.assertEqual(names(self.aws.list_aliases(FunctionName=self.name, FunctionVersion="1")["Aliases"]), ["b", "c"])
        paged = self.pages(self.aws.list_aliases, "Aliases", FunctionName=self.name, FunctionVersion="1")
        self.assertEqual(names(paged), ["b", "c"])
        self.missing(self.aws.list_aliases, f"Function not found: {function_arn('no-such')}", FunctionName="no-such")


class Weights(AliasTest):
    def route(self, weights):
        return {"RoutingConfig": {"AdditionalVersionWeights": weights}}

    def executed(self, count):
        responses = (self.invoke(self.name, {"do": "version"}, Qualifier="live") for _ in range(count))
        return collections.Counter((response["ExecutedVersion"], response["Payload"]) for response in responses)

    def test_traffic_is_split_by_weight(self):
        alias = self.create_alias(**self.route({"2": 0.3}))
        self.assertEqual(alias["RoutingConfig"], {"AdditionalVersionWeights": {"2": 0.3}})
        executed = self.executed(200)
        self.assertEqual(set(executed), {("1", b'"one"'), ("2", b'"two"')})
        # 60 are expected; 30 is 4.6 standard deviations away.
        self.assertTrue(30 <= executed[("2", b'"two"')] <= 90, executed)

    def test_all_and_nothing_are_weights(self):
        self.create_alias(**self.route({"2": 1.0}))
        self.assertEqual(set(self.executed(10)), {("2", b'"two"')})
        self.aws.update_alias(FunctionName=self.name, Name="live", **self.route({"2": 0.0}))
        self.assertEqual(set(self.executed(10)), {("1", b'"one"')})

    def test_weights_stay_until_they_are_taken_away(self):
        self.create_alias(**self.route({"2": 0.5}))
        kept = self.aws.update_alias(FunctionName=self.name, Name="live", Description="x")
        self.assertEqual(kept["RoutingConfig"], {"AdditionalVersionWeights": {"2": 0.5}})
        changed = self.aws.update_alias(FunctionName=self.name, Name="live", **self.route({}))
        self.assertNotIn("RoutingConfig", changed)
        self.assertNotIn("RoutingConfig", self.aws.get_alias(FunctionName=self.name, Name="live"))
        self.assertEqual(set(self.executed(10)), {("1", b'"one"')})

    def test_weights_are_checked(self):
        create = self.unchecked.create_alias
        base = {"FunctionName": self.name, "Name": "bad", "FunctionVersion": "1"}
        place = "routingConfig.additionalVersionWeights"
        for weight, constraint in [(2.0, "less than or equal to 1"), (-1.0, "greater than or equal to 0")]:
            self.invalid(place, constraint, create, **base, **self.route({"2": weight}))
        self.invalid(place, "Map keys must satisfy constraint", create, **base, **self.route({"$LATEST": 0.5}))
        for message, arguments in [
            ("Number of items in AdditionalVersionWeights cannot be greater than 1", {**base, **self.route({"1": 0.1, "2": 0.1})}),
            (
                "Invalid function version 1. Function version 1 is already included in routing configuration.",
                {**base, **self.route({"1": 0.5})},
            ),
            (
                "$LATEST is not supported for an alias pointing to more than 1 version",
                {**base, "FunctionVersion": "$LATEST", **self.route({"2": 0.5})},
            ),
        ]:
            with self.subTest(message):
                self.refused("InvalidParameterValueException", create, message, 400, **arguments)
        self.missing(create, "Function not found", **base, **self.route({"10": 0.5}))
        self.assertEqual(self.aws.list_aliases(FunctionName=self.name)["Aliases"], [])
