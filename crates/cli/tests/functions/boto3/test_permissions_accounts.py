"""What one account may do with functions and layers of another: what their policies say, and nothing else."""

import json
import uuid

import accounts
import support
from support import FunctionTest, function_arn, handler_zip, zip_of

OTHER = "111122223333"
THIRD = "444455556666"


class AccountTest(FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = accounts.client("lambda", accounts.key(OTHER))
        cls.third = accounts.client("lambda", accounts.key(THIRD))


class FunctionsOfOtherAccounts(AccountTest):
    def setUp(self):
        self.name = self.create()
        self.arn = function_arn(self.name)

    def permit(self, principal=OTHER, action="lambda:InvokeFunction", **settings):
        id = f"s-{uuid.uuid4().hex}"
        self.aws.add_permission(FunctionName=self.name, StatementId=id, Action=action, Principal=principal, **settings)
        return id

    def answer(self, client, name=None, **options):
        response = client.invoke(FunctionName=name or self.arn, Payload=json.dumps({"n": 1}), **options)
        return json.loads(response["Payload"].read() or b"null")

    def shut_out(self, client, name=None, **options):
        error = self.refused("AccessDeniedException", self.answer, None, 403, client=client, name=name, **options)
        return error["Error"]["Message"]

    def test_a_function_is_invoked_as_its_policy_says(self):
        message = self.shut_out(self.other)
        self.assertEqual(
            message,
            f"User: arn:aws:iam::{OTHER}:root is not authorized to perform: lambda:InvokeFunction on resource: {self.arn} "
            "because no resource-based policy allows the lambda:InvokeFunction action",
        )
        statement = self.permit()
        self.assertEqual(self.answer(self.other), {"n": 1})
        self.assertEqual(self.answer(self.other, f"{support.ACCOUNT}:function:{self.name}"), {"n": 1})
        self.assertIn("no resource-based policy", self.shut_out(self.third))
        self.aws.remove_permission(FunctionName=self.name, StatementId=statement)
        self.shut_out(self.other)

    def test_every_way_to_invoke_asks_the_same(self):
        ways = [
            lambda: self.other.invoke(FunctionName=self.arn, InvocationType="Event", Payload="{}"),
            lambda: self.other.invoke(FunctionName=self.arn, InvocationType="DryRun"),
            lambda: self.other.invoke_async(FunctionName=self.arn, InvokeArgs="{}"),
            lambda: self.other.invoke_with_response_stream(FunctionName=self.arn, Payload="{}"),
        ]
        for way in ways:
            self.refused("AccessDeniedException", way, None, 403)
        self.permit()
        for way in ways:
            way()
        self.logged(self.name, "START RequestId", 3)

    def test_a_policy_speaks_for_what_it_hangs_on(self):
        version = self.publish(self.name, "one")
        self.aws.create_alias(FunctionName=self.name, Name="live", FunctionVersion=version)
        self.permit(Qualifier="live")
        self.assertEqual(self.answer(self.other, f"{self.arn}:live"), {"n": 1})
        self.assertEqual(self.answer(self.other, Qualifier="live"), {"n": 1})
        for name in [self.arn, f"{self.arn}:{version}", f"{self.arn}:$LATEST", f"{self.arn}:none"]:
            self.shut_out(self.other, name)
        self.permit()
        self.assertEqual(self.answer(self.other), {"n": 1})
        for name in [f"{self.arn}:{version}", f"{self.arn}:$LATEST"]:
            self.shut_out(self.other, name)

    def test_principals_and_conditions_count(self):
        self.permit("s3.amazonaws.com")
        self.permit(action="lambda:GetFunction")
        self.permit(SourceAccount=OTHER)
        self.permit("*", PrincipalOrgID="o-1234567890")
        self.permit(action="lambda:InvokeFunctionUrl", FunctionUrlAuthType="NONE")
        self.shut_out(self.other)
        self.permit("*")
        for client in [self.other, self.third]:
            self.assertEqual(self.answer(client), {"n": 1})

    def test_what_is_not_there_and_what_may_not_be_seen_look_the_same(self):
        seen = self.shut_out(self.other).replace(self.name, "NAME")
        self.assertEqual(self.shut_out(self.other, function_arn("no-such")).replace("no-such", "NAME"), seen)

    def test_nothing_but_invoking_reaches_another_account(self):
        self.permit("*", action="lambda:*")
        for call in [self.other.get_function, self.other.delete_function, self.other.get_policy, self.other.list_aliases]:
            self.refused("AccessDeniedException", call, "is not authorized", 403, FunctionName=self.arn)
        self.assertEqual(self.other.list_functions()["Functions"], [])
        # The bare name is of the caller's own account.
        self.refused("ResourceNotFoundException", self.answer, None, 404, client=self.other, name=self.name)

    def test_an_invocation_counts_for_the_functions_owner(self):
        self.permit()
        self.aws.put_function_concurrency(FunctionName=self.name, ReservedConcurrentExecutions=0)
        self.refused("TooManyRequestsException", self.answer, None, 429, client=self.other)

    def test_a_key_of_the_other_account_needs_its_own_policy_too(self):
        self.permit()
        limited = accounts.client("lambda", accounts.key(OTHER, accounts.allow("lambda:Get*")))
        self.assertIn("because no identity-based policy allows", self.shut_out(limited))
        limited = accounts.client("lambda", accounts.key(OTHER, accounts.allow("lambda:InvokeFunction", self.arn)))
        self.assertEqual(self.answer(limited), {"n": 1})
        self.aws.add_permission(FunctionName=self.create(), StatementId="s", Action="lambda:*", Principal="*")
        self.assertIn("identity-based", self.shut_out(limited, self.created["FunctionArn"]))


class LayersOfOtherAccounts(AccountTest):
    def setUp(self):
        name = f"l-{uuid.uuid4().hex[:12]}"
        made = self.aws.publish_layer_version(LayerName=name, Content={"ZipFile": zip_of({"weights": "1 2 3"})})
        self.layer, self.arn = made["LayerArn"], made["LayerVersionArn"]
        self.addCleanup(self.aws.delete_layer_version, LayerName=self.layer, VersionNumber=1)

    def share(self, principal=OTHER, version=1):
        settings = {"StatementId": "share", "Action": "lambda:GetLayerVersion", "Principal": principal}
        self.aws.add_layer_version_permission(LayerName=self.layer, VersionNumber=version, **settings)

    def theirs(self):
        """A function of the other account that has the layer."""
        made = self.other.create_function(
            FunctionName=support.new_name(), Runtime="provided.al2023", Handler="bootstrap", Role=support.ROLE,
            Code={"ZipFile": handler_zip()}, Layers=[self.arn], Timeout=10,
        )  # fmt: skip
        self.addCleanup(support.remove, self.other, made["FunctionName"])
        return made["FunctionName"]

    def read(self, name):
        payload = json.dumps({"do": "read", "path": "/opt/weights"})
        return json.loads(self.other.invoke(FunctionName=name, Payload=payload)["Payload"].read())

    def test_a_layer_is_used_with_permission_alone(self):
        missing = f"Layer version {self.arn} does not exist."
        self.refused("InvalidParameterValueException", self.theirs, missing, 400)
        self.share()
        name = self.theirs()
        self.assertEqual(support.settled(self.other, name)["State"], "Active")
        self.assertEqual(self.read(name), {"content": "1 2 3"})
        # Who uses it keeps it when the permission goes, as in Lambda; nobody begins to.
        self.aws.remove_layer_version_permission(LayerName=self.layer, VersionNumber=1, StatementId="share")
        self.assertEqual(self.read(name), {"content": "1 2 3"})
        self.refused("InvalidParameterValueException", self.theirs, missing, 400)
        change = self.other.update_function_configuration
        self.refused("InvalidParameterValueException", change, missing, 400, FunctionName=name, Layers=[self.arn])

    def test_a_layer_is_seen_with_permission_alone(self):
        by_arn = lambda client: client.get_layer_version_by_arn(Arn=self.arn)
        by_name = lambda client: client.get_layer_version(LayerName=self.layer, VersionNumber=1)
        versions = lambda client: client.list_layer_versions(LayerName=self.layer)["LayerVersions"]
        for look in [by_arn, by_name]:
            self.refused("ResourceNotFoundException", lambda: look(self.other), None, 404)
        self.assertEqual(versions(self.other), [])
        self.share()
        for look in [by_arn, by_name]:
            self.assertEqual(look(self.other)["LayerVersionArn"], self.arn)
            self.refused("ResourceNotFoundException", lambda: look(self.third), None, 404)
        self.assertEqual([version["Version"] for version in versions(self.other)], [1])
        self.assertEqual(versions(self.third), [])
        self.assertEqual(self.other.list_layers()["Layers"], [])
        # A version more is not shared with it.
        more = self.aws.publish_layer_version(LayerName=self.layer, Content={"ZipFile": zip_of({"weights": "4"})})
        self.addCleanup(self.aws.delete_layer_version, LayerName=self.layer, VersionNumber=more["Version"])
        self.assertEqual([version["Version"] for version in versions(self.other)], [1])

    def test_a_layer_is_changed_by_its_owner_alone(self):
        self.share("*")
        key = {"LayerName": self.layer, "VersionNumber": 1}
        for call, more in [
            (self.other.delete_layer_version, {}),
            (self.other.get_layer_version_policy, {}),
            (self.other.remove_layer_version_permission, {"StatementId": "share"}),
            (
                self.other.add_layer_version_permission,
                {"StatementId": "mine", "Action": "lambda:GetLayerVersion", "Principal": OTHER},
            ),
        ]:
            self.refused("AccessDeniedException", call, "is not authorized", 403, **key, **more)
        content = {"ZipFile": zip_of({"a": "b"})}
        self.refused("AccessDeniedException", self.other.publish_layer_version, None, 403, LayerName=self.layer, Content=content)

