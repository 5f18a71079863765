"""PublishVersion, ListVersionsByFunction, and versions in every other operation."""

from support import ACCOUNT, REGION, FunctionTest, function_arn


class Publish(FunctionTest):
    def test_a_version_is_latest_as_it_was(self):
        name = self.create(Description="model", Environment={"Variables": {"GREETING": "one"}})
        latest = self.aws.get_function_configuration(FunctionName=name)
        version = self.status(201, self.aws.publish_version(FunctionName=name))
        self.assertEqual((version["Version"], version["FunctionArn"]), ("1", function_arn(name, "1")))
        self.assertEqual((version["State"], version["LastUpdateStatus"]), ("Active", "Successful"))
        self.assertNotEqual(version["RevisionId"], latest["RevisionId"])
        for member in ["CodeSha256", "CodeSize", "Description", "Environment", "Handler", "MemorySize", "Role", "Runtime", "Timeout"]:
            self.assertEqual(version[member], latest[member], member)
        found = self.aws.get_function_configuration(FunctionName=name, Qualifier="1")
        self.assertEqual(found["RevisionId"], version["RevisionId"])
        self.aws.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1")

    def test_a_version_never_changes(self):
        name = self.create()
        self.assertEqual(self.publish(name, "one"), "1")
        self.assertEqual(self.publish(name, "two"), "2")
        self.aws.update_function_configuration(FunctionName=name, Environment={"Variables": {"GREETING": "three"}})
        self.active(name)
        for qualifier, greeting in [("1", "one"), ("2", "two"), ("$LATEST", "three")]:
            response = self.invoke(name, {"do": "version"}, Qualifier=qualifier)
            self.assertEqual((response["Payload"], response["ExecutedVersion"]), (b'"%s"' % greeting.encode(), qualifier))
            self.assertEqual(self.ask(f"{name}:{qualifier}", {"do": "version"}), greeting)
            self.assertEqual(self.ask(f"{ACCOUNT}:function:{name}:{qualifier}", {"do": "version"}), greeting)
            self.assertEqual(self.ask(function_arn(name, qualifier), {"do": "version"}), greeting)
            environment = self.ask(name, {"do": "environment"}, Qualifier=qualifier)
            self.assertEqual(environment["AWS_LAMBDA_FUNCTION_VERSION"], qualifier)

    def test_nothing_new_gives_the_last_version_again(self):
        name = self.create()
        first = self.aws.publish_version(FunctionName=name, Description="first")
        again = self.status(201, self.aws.publish_version(FunctionName=name, Description="second"))
        self.assertEqual((again["Version"], again["RevisionId"]), ("1", first["RevisionId"]))
        self.assertEqual(first["Description"], "first")
        self.assertEqual(len(self.aws.list_versions_by_function(FunctionName=name)["Versions"]), 2)

    def test_a_description_of_the_function_is_a_change_and_one_of_the_version_is_none(self):
        name = self.create(Description="a")
        self.assertEqual(self.aws.publish_version(FunctionName=name, Description="of 1")["Version"], "1")
        self.assertEqual(self.aws.publish_version(FunctionName=name)["Version"], "1")
        self.aws.update_function_configuration(FunctionName=name, Description="b")
        self.active(name)
        second = self.aws.publish_version(FunctionName=name)
        self.assertEqual((second["Version"], second["Description"]), ("2", "b"))
        self.assertEqual(self.aws.publish_version(FunctionName=name, Description="c")["Version"], "2")

    def test_only_the_expected_code_and_revision_are_published(self):
        name = self.create()
        found = self.aws.get_function_configuration(FunctionName=name)
        sha256 = found["CodeSha256"]
        self.refused(
            "InvalidParameterValueException",
            self.aws.publish_version,
            f"CodeSHA256 (other) is different from current CodeSHA256 in $LATEST ({sha256}). "
            "Please try again with the CodeSHA256 in $LATEST.",
            400,
            FunctionName=name,
            CodeSha256="other",
        )
        message = "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API"
        self.refused("PreconditionFailedException", self.aws.publish_version, message, 412, FunctionName=name, RevisionId="other")
        version = self.aws.publish_version(FunctionName=name, CodeSha256=sha256, RevisionId=found["RevisionId"])
        self.assertEqual(version["Version"], "1")

    def test_a_function_that_is_not_there_has_no_versions(self):
        arn = function_arn("no-such")
        self.missing(self.aws.publish_version, f"Function not found: {arn}", FunctionName="no-such")
        self.missing(self.aws.list_versions_by_function, f"Function not found: {arn}", FunctionName="no-such")


class Versions(FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.name = cls.create_shared()

    def setUp(self):
        self.numbers = [self.publish(self.name, f"{self.id()} {number}") for number in range(2)]

    def listed(self):
        return [version["Version"] for version in self.aws.list_versions_by_function(FunctionName=self.name)["Versions"]]

    def test_the_list_goes_from_the_oldest_to_the_newest(self):
        numbers = self.listed()
        self.assertEqual(numbers[0], "$LATEST")
        self.assertEqual(numbers[1:], sorted(numbers[1:], key=int))
        self.assertEqual(numbers[-2:], self.numbers)
        paged = self.pages(self.aws.list_versions_by_function, "Versions", FunctionName=self.name)
        self.assertEqual([version["Version"] for version in paged], numbers)
        paginator = self.aws.get_paginator("list_versions_by_function").paginate(FunctionName=self.name)
        self.assertEqual([version["Version"] for page in paginator for version in page["Versions"]], numbers)
        for version in paged:
            self.assertEqual(version["FunctionArn"], function_arn(self.name, version["Version"]))
            self.assertNotIn("State", version)

    def test_the_last_page_has_no_marker(self):
        count = len(self.listed())
        self.assertNotIn("NextMarker", self.aws.list_versions_by_function(FunctionName=self.name, MaxItems=count))
        self.assertTrue(self.aws.list_versions_by_function(FunctionName=self.name, MaxItems=count - 1)["NextMarker"])

    def test_a_deleted_version_is_gone_and_its_number_is_not_given_again(self):
        gone = self.numbers[-1]
        self.status(204, self.aws.delete_function(FunctionName=self.name, Qualifier=gone))
        self.assertNotIn(gone, self.listed())
        expected = f"Function not found: {function_arn(self.name, gone)}"
        self.missing(self.aws.get_function, expected, FunctionName=self.name, Qualifier=gone)
        self.missing(self.aws.invoke, expected, FunctionName=self.name, Qualifier=gone)
        self.assertEqual(int(self.publish(self.name, f"{self.id()} again")), int(gone) + 1)

    def test_a_version_with_an_alias_stays(self):
        number = self.numbers[-1]
        self.aws.create_alias(FunctionName=self.name, Name="keep", FunctionVersion=number)
        self.addCleanup(self.aws.delete_alias, FunctionName=self.name, Name="keep")
        message = "Unable to delete version because the following aliases reference it: [keep]"
        call = self.aws.delete_function
        self.refused("ResourceConflictException", call, message, 409, FunctionName=self.name, Qualifier=number)

    def test_a_version_cannot_be_changed(self):
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.name}:{self.numbers[0]}"
        before = self.aws.get_function_configuration(FunctionName=arn)
        codes = ("InvalidParameterValueException", "ResourceConflictException", "ValidationException")
        self.refused(codes, self.aws.update_function_configuration, FunctionName=arn, Timeout=1)
        after = self.aws.get_function_configuration(FunctionName=arn)
        self.assertEqual((before["Timeout"], before["RevisionId"]), (after["Timeout"], after["RevisionId"]))
