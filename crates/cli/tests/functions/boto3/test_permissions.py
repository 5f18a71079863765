"""AddPermission, GetPolicy, RemovePermission."""

import json

from support import ACCOUNT, FunctionTest, function_arn

MISMATCH = "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id"


class Permissions(FunctionTest):
    def setUp(self):
        self.name = self.create(wait=False)

    def add(self, **settings):
        base = {
            "FunctionName": self.name,
            "StatementId": "s3",
            "Action": "lambda:InvokeFunction",
            "Principal": "s3.amazonaws.com",
        }
        return self.aws.add_permission(**{**base, **settings})

    def policy(self, **options):
        found = self.status(200, self.aws.get_policy(FunctionName=self.name, **options))
        return json.loads(found["Policy"]), found["RevisionId"]

    def test_a_statement_is_answered_and_kept(self):
        added = self.status(201, self.add(SourceArn="arn:aws:s3:::bucket"))
        statement = {
            "Sid": "s3",
            "Effect": "Allow",
            "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "lambda:InvokeFunction",
            "Resource": function_arn(self.name),
            "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"}},
        }
        self.assertEqual(json.loads(added["Statement"]), statement)
        policy, revision = self.policy()
        self.assertEqual(policy, {"Version": "2012-10-17", "Id": "default", "Statement": [statement]})
        self.assertRegex(revision, r"^[0-9a-f-]{36}$")

    def test_every_kind_of_principal_and_condition(self):
        for number, (settings, principal, condition) in enumerate(
            [
                ({"Principal": "*"}, "*", None),
                ({"Principal": "999999999999"}, {"AWS": "arn:aws:iam::999999999999:root"}, None),
                ({"Principal": "arn:aws:iam::999999999999:root"}, {"AWS": "arn:aws:iam::999999999999:root"}, None),
                ({"SourceAccount": ACCOUNT}, {"Service": "s3.amazonaws.com"}, {"StringEquals": {"AWS:SourceAccount": ACCOUNT}}),
                (
                    {"EventSourceToken": "token"},
                    {"Service": "s3.amazonaws.com"},
                    {"StringEquals": {"lambda:EventSourceToken": "token"}},
                ),
                (
                    {"Principal": "*", "PrincipalOrgID": "o-1234567890"},
                    "*",
                    {"StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}},
                ),
                (
                    {"Principal": "*", "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
                    "*",
                    {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
                ),
            ]
        ):
            with self.subTest(settings):
                statement = json.loads(self.add(StatementId=f"s{number}", **settings)["Statement"])
                self.assertEqual((statement["Principal"], statement.get("Condition")), (principal, condition))
        self.assertEqual(len(self.policy()[0]["Statement"]), 7)

    def test_statements_have_names_of_their_own(self):
        self.add()
        message = (
            "The statement id (s3) provided already exists. "
            "Please provide a new statement id, or remove the existing statement."
        )
        self.refused("ResourceConflictException", self.add, message, 409)

    def test_a_statement_can_be_removed(self):
        self.add()
        self.add(StatementId="other")
        self.status(204, self.aws.remove_permission(FunctionName=self.name, StatementId="s3"))
        self.assertEqual([statement["Sid"] for statement in self.policy()[0]["Statement"]], ["other"])
        remove = self.aws.remove_permission
        message = "Statement non-existent is not found in resource policy."
        self.missing(remove, message, FunctionName=self.name, StatementId="non-existent")
        remove(FunctionName=self.name, StatementId="other")
        self.missing(self.aws.get_policy, "The resource you requested does not exist.", FunctionName=self.name)

    def test_where_there_is_no_policy(self):
        self.missing(self.aws.get_policy, "The resource you requested does not exist.", FunctionName=self.name)
        self.missing(self.aws.get_policy, "The resource you requested does not exist.", FunctionName="no-such")
        remove = self.aws.remove_permission
        message = "No policy is associated with the given resource."
        self.missing(remove, message, FunctionName=self.name, StatementId="s3")
        message = f"No policy found for: {function_arn('no-such')}"
        self.missing(remove, message, FunctionName="no-such", StatementId="s3")
        self.missing(self.add, f"Function not found: {function_arn('no-such')}", FunctionName="no-such")

    def test_versions_and_aliases_have_policies_of_their_own(self):
        self.active(self.name)
        self.aws.publish_version(FunctionName=self.name)
        self.aws.create_alias(FunctionName=self.name, Name="live", FunctionVersion="1")
        for qualifier in ["1", "live"]:
            self.missing(self.aws.get_policy, FunctionName=self.name, Qualifier=qualifier)
            statement = json.loads(self.add(Qualifier=qualifier)["Statement"])
            self.assertEqual(statement["Resource"], function_arn(self.name, qualifier))
            self.assertEqual(self.policy(Qualifier=qualifier)[0]["Statement"], [statement])
        self.missing(self.aws.get_policy, FunctionName=self.name)
        missing = f"Function not found: {function_arn(self.name, '42')}"
        self.missing(self.add, missing, Qualifier="42")
        missing = f"Cannot find alias arn: {function_arn(self.name, 'no-alias')}"
        self.missing(self.add, missing, Qualifier="no-alias")

    def test_only_the_expected_revision_is_changed(self):
        self.add()
        before = self.policy()[1]
        self.refused("PreconditionFailedException", self.add, MISMATCH, 412, StatementId="x", RevisionId="other")
        self.add(StatementId="next", RevisionId=before)
        after = self.policy()[1]
        self.assertNotEqual(before, after)
        remove = self.aws.remove_permission
        message = "The Revision Id provided does not match the latest Revision Id."
        arguments = {"FunctionName": self.name, "StatementId": "next"}
        self.refused("PreconditionFailedException", remove, message, 412, RevisionId=before, **arguments)
        self.status(204, remove(RevisionId=after, **arguments))

    def test_requests_are_checked(self):
        latest = "We currently do not support adding policies for $LATEST."
        self.refused("InvalidParameterValueException", self.add, latest, 400, Qualifier="$LATEST")
        principal = "The provided principal was invalid. Please check the principal and try again."
        self.refused("InvalidParameterValueException", self.add, principal, 400, Principal="invalid.nonaws.com")
        self.invalid("statementId", "pattern: ([a-zA-Z0-9-_]+)", self.add, StatementId="example.com")
        self.invalid("action", "pattern", self.add, Action="s3:GetObject")
        self.invalid("qualifier", "pattern", self.add, Qualifier="invalid-?")

    def test_a_policy_has_twenty_kilobytes(self):
        error = None
        for number in range(200):
            try:
                self.add(StatementId=f"{number:0100d}")
            except self.aws.exceptions.ClientError as caught:
                error = caught.response
                break
        self.assertIsNotNone(error, "a policy without an end")
        self.assertEqual(error["Error"]["Code"], "PolicyLengthExceededException")
        self.status(400, error)
        self.assertIn("(20480)", error["Error"]["Message"])
