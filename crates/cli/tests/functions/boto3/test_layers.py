"""PublishLayerVersion, GetLayerVersion, GetLayerVersionByArn, ListLayerVersions, ListLayers, DeleteLayerVersion, the
permissions of layers, and layers in functions."""

import base64
import hashlib
import json
import urllib.request
import uuid

from support import ACCOUNT, ARCHITECTURE, REGION, FunctionTest, handler_zip, zip_of

ABSENT = "The resource you requested does not exist."


def layer_arn(name, version=None):
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:{name}"
    return arn if version is None else f"{arn}:{version}"


class LayerTest(FunctionTest):
    def publish_layer(self, name=None, files=None, **settings):
        name = name or f"l-{uuid.uuid4().hex[:12]}"
        content = settings.pop("Content", {"ZipFile": zip_of(files or {"weights": f"of {name}"})})
        published = self.aws.publish_layer_version(LayerName=name, Content=content, **settings)
        layer, version = published["LayerArn"], published["Version"]
        self.addCleanup(self.aws.delete_layer_version, LayerName=layer, VersionNumber=version)
        return published


class Layers(LayerTest):
    def test_a_version_has_what_it_was_given(self):
        code = zip_of({"weights": "1 2 3"})
        described = {
            "Description": "weights",
            "CompatibleRuntimes": ["python3.12", "provided.al2023"],
            "CompatibleArchitectures": [ARCHITECTURE],
            "LicenseInfo": "MIT",
        }
        name = f"l-{uuid.uuid4().hex[:12]}"
        published = self.status(201, self.publish_layer(name, Content={"ZipFile": code}, **described))
        self.assertEqual({member: published[member] for member in described}, described)
        self.assertEqual((published["Version"], published["LayerArn"]), (1, layer_arn(name)))
        self.assertEqual(published["LayerVersionArn"], layer_arn(name, 1))
        self.assertRegex(published["CreatedDate"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000$")
        content = published["Content"]
        sha256 = base64.b64encode(hashlib.sha256(code).digest()).decode()
        self.assertEqual((content["CodeSha256"], content["CodeSize"]), (sha256, len(code)))
        for found in [
            self.aws.get_layer_version(LayerName=name, VersionNumber=1),
            self.aws.get_layer_version(LayerName=layer_arn(name), VersionNumber=1),
            self.aws.get_layer_version_by_arn(Arn=layer_arn(name, 1)),
        ]:
            self.status(200, found)
            with urllib.request.urlopen(found["Content"]["Location"]) as response:
                self.assertEqual(response.read(), code)
            self.assertEqual({member: found[member] for member in described}, described)
            self.assertEqual(found["CreatedDate"], published["CreatedDate"])

    def test_what_is_not_given_is_left_out(self):
        published = self.publish_layer()
        self.assertEqual(published["Description"], "")
        for member in ["CompatibleRuntimes", "CompatibleArchitectures", "LicenseInfo"]:
            self.assertNotIn(member, published)

    def test_numbers_go_up_and_are_not_given_again(self):
        name = f"l-{uuid.uuid4().hex[:12]}"
        self.assertEqual([self.publish_layer(name)["Version"] for _ in range(2)], [1, 2])
        for _ in range(2):
            self.status(204, self.aws.delete_layer_version(LayerName=name, VersionNumber=2))
        self.missing(self.aws.get_layer_version, ABSENT, LayerName=name, VersionNumber=2)
        self.missing(self.aws.get_layer_version_by_arn, ABSENT, Arn=layer_arn(name, 2))
        self.assertEqual(self.publish_layer(name)["Version"], 3)

    def test_versions_are_listed_newest_first(self):
        name = f"l-{uuid.uuid4().hex[:12]}"
        for runtime in ["python3.11", "python3.12", "python3.12"]:
            self.publish_layer(name, CompatibleRuntimes=[runtime])
        listed = self.aws.list_layer_versions(LayerName=name)
        self.assertNotIn("NextMarker", listed)
        numbers = [version["Version"] for version in listed["LayerVersions"]]
        self.assertEqual(numbers, [3, 2, 1])
        self.assertNotIn("Content", listed["LayerVersions"][0])
        self.assertEqual(listed["LayerVersions"][0]["LayerVersionArn"], layer_arn(name, 3))
        paged = self.pages(self.aws.list_layer_versions, "LayerVersions", LayerName=name)
        self.assertEqual([version["Version"] for version in paged], numbers)
        filtered = self.aws.list_layer_versions(LayerName=name, CompatibleRuntime="python3.11")["LayerVersions"]
        self.assertEqual([version["Version"] for version in filtered], [1])
        self.assertEqual(self.aws.list_layer_versions(LayerName="no-such")["LayerVersions"], [])

    def test_layers_are_listed_with_their_newest_version(self):
        names = sorted(f"l-{uuid.uuid4().hex[:12]}" for _ in range(3))
        for name in names:
            self.publish_layer(name, CompatibleRuntimes=["python3.12"])
            self.publish_layer(name)
        mine = lambda layers: {
            layer["LayerName"]: layer["LatestMatchingVersion"]["Version"] for layer in layers if layer["LayerName"] in names
        }
        for layers in [
            self.aws.list_layers()["Layers"],
            self.pages(self.aws.list_layers, "Layers"),
        ]:
            self.assertEqual(mine(layers), {name: 2 for name in names})
            self.assertIn(layer_arn(names[0]), [layer["LayerArn"] for layer in layers])
        filtered = self.aws.list_layers(CompatibleRuntime="python3.12")["Layers"]
        self.assertEqual(mine(filtered), {name: 1 for name in names})

    def test_requests_are_checked(self):
        publish = self.unchecked.publish_layer_version
        content = {"ZipFile": zip_of({"a": "b"})}
        self.invalid("layerName", "pattern", publish, LayerName="a b", Content=content)
        self.invalid("content", "must not be null", publish, LayerName="a")
        self.invalid("description", "less than or equal to 256", publish, LayerName="a", Content=content, Description="x" * 257)
        self.invalid("licenseInfo", "less than or equal to 512", publish, LayerName="a", Content=content, LicenseInfo="x" * 513)
        self.invalid("compatibleRuntimes", "enum value set", publish, LayerName="a", Content=content, CompatibleRuntimes=["x"])
        call = self.unchecked.list_layers
        self.invalid("compatibleRuntime", "enum value set", call, CompatibleRuntime="runtimedoesnotexist")
        architectures = "enum value set: [x86_64, arm64]"
        self.invalid("compatibleArchitecture", architectures, call, CompatibleArchitecture="archdoesnotexist")
        self.invalid("arn", "pattern", self.unchecked.get_layer_version_by_arn, Arn=layer_arn("a"))
        get = self.unchecked.get_layer_version
        below = "Layer Version Cannot be less than 1"
        self.refused("InvalidParameterValueException", get, below, 400, LayerName="a", VersionNumber=-1)
        self.missing(get, ABSENT, LayerName="no-such", VersionNumber=1)
        unzip = "Could not unzip uploaded file"
        self.refused("InvalidParameterValueException", publish, unzip, 400, LayerName="a", Content={"ZipFile": b"no zip"})


class Permissions(LayerTest):
    def add(self, layer, **settings):
        base = {"StatementId": "s1", "Action": "lambda:GetLayerVersion", "Principal": "*"}
        arguments = {"LayerName": layer, "VersionNumber": 1, **base, **settings}
        return self.unchecked.add_layer_version_permission(**arguments)

    def test_statements_are_added_read_and_removed(self):
        layer = self.publish_layer()["LayerArn"]
        added = self.status(201, self.add(layer))
        statement = {
            "Sid": "s1",
            "Effect": "Allow",
            "Principal": "*",
            "Action": "lambda:GetLayerVersion",
            "Resource": f"{layer}:1",
        }
        self.assertEqual(json.loads(added["Statement"]), statement)
        policy = self.status(200, self.aws.get_layer_version_policy(LayerName=layer, VersionNumber=1))
        self.assertEqual(json.loads(policy["Policy"]), {"Version": "2012-10-17", "Id": "default", "Statement": [statement]})
        self.assertEqual(policy["RevisionId"], added["RevisionId"])
        second = self.add(layer, StatementId="s2", Principal="999999999999", RevisionId=added["RevisionId"])
        self.assertNotEqual(second["RevisionId"], added["RevisionId"])
        remove = self.aws.remove_layer_version_permission
        self.status(204, remove(LayerName=layer, VersionNumber=1, StatementId="s1", RevisionId=second["RevisionId"]))
        policy = json.loads(self.aws.get_layer_version_policy(LayerName=layer, VersionNumber=1)["Policy"])
        self.assertEqual([statement["Sid"] for statement in policy["Statement"]], ["s2"])
        absent = "Statement s1 is not found in resource policy."
        self.missing(remove, absent, LayerName=layer, VersionNumber=1, StatementId="s1")

    def test_requests_are_checked(self):
        layer = self.publish_layer()["LayerArn"]
        message = "No policy is associated with the given resource."
        self.missing(self.aws.get_layer_version_policy, message, LayerName=layer, VersionNumber=1)
        self.invalid("action", "pattern: lambda:GetLayerVersion", self.add, layer=layer, Action="*")
        self.add(layer)
        message = "The statement id (s1) provided already exists."
        self.refused("ResourceConflictException", self.add, message, 409, layer=layer)
        message = "does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the latest Revision Id"
        self.refused("PreconditionFailedException", self.add, message, 412, layer=layer, StatementId="x", RevisionId="other")
        message = f"Layer version {layer}:2 does not exist."
        self.missing(self.add, message, layer=layer, VersionNumber=2)
        self.missing(self.aws.get_layer_version_policy, message, LayerName=layer, VersionNumber=2)


class InFunctions(LayerTest):
    def test_layers_lie_over_each_other_at_opt(self):
        first = self.publish_layer(files={"name": "first", "only/first": "1"})["LayerVersionArn"]
        second = self.publish_layer(files={"name": "second", "only/second": "2"})["LayerVersionArn"]
        name = self.create(Layers=[first, second])
        layers = self.aws.get_function_configuration(FunctionName=name)["Layers"]
        self.assertEqual([layer["Arn"] for layer in layers], [first, second])
        self.assertTrue(all(layer["CodeSize"] > 0 for layer in layers))
        self.assertEqual(self.ask(name, {"do": "read", "path": "/opt/name"}), {"content": "second"})
        self.assertEqual(self.ask(name, {"do": "list", "path": "/opt/only"}), ["first", "second"])
        self.aws.update_function_configuration(FunctionName=name, Layers=[first])
        self.active(name)
        self.assertEqual(self.ask(name, {"do": "read", "path": "/opt/name"}), {"content": "first"})
        self.aws.update_function_configuration(FunctionName=name, Layers=[])
        self.assertNotIn("Layers", self.active(name))
        self.assertEqual(self.ask(name, {"do": "list", "path": "/opt"}), [])

    def test_the_bootstrap_can_be_in_a_layer(self):
        layer = self.publish_layer(Content={"ZipFile": handler_zip()})["LayerVersionArn"]
        name = self.create(Layers=[layer], Code={"ZipFile": zip_of({"model": "m"})})
        self.assertEqual(self.ask(name, {"do": "read", "path": "/var/task/model"}), {"content": "m"})

    def test_a_deleted_layer_stays_with_its_functions(self):
        published = self.publish_layer(files={"name": "kept"})
        name = self.create(Layers=[published["LayerVersionArn"]])
        self.aws.delete_layer_version(LayerName=published["LayerArn"], VersionNumber=1)
        self.assertEqual(self.ask(name, {"do": "read", "path": "/opt/name"}), {"content": "kept"})
        layers = self.aws.get_function_configuration(FunctionName=name)["Layers"]
        self.assertEqual([layer["Arn"] for layer in layers], [published["LayerVersionArn"]])

    def test_layers_of_functions_are_checked(self):
        name = f"l-{uuid.uuid4().hex[:12]}"
        first, second = (self.publish_layer(name)["LayerVersionArn"] for _ in range(2))
        others = [self.publish_layer()["LayerVersionArn"] for _ in range(6)]
        versions = "Two different versions of the same layer are not allowed to be referenced in the same function."
        elsewhere = f"Layers are not in the same region as the function. Layers are expected to be in region {REGION}."
        for message, layers in [
            ("Cannot reference more than 5 layers.", others),
            (f"{versions} {first} and {second} are versions of the same layer.", [first, second]),
            (f"Layer version {layer_arn('no-such', 1)} does not exist.", [layer_arn("no-such", 1)]),
            (f"Layer version {layer_arn(name, 9)} does not exist.", [layer_arn(name, 9)]),
            (elsewhere, [first.replace(REGION, "eu-west-1")]),
        ]:
            with self.subTest(message):
                self.refused("InvalidParameterValueException", self.create, message, 400, Layers=layers)
        self.invalid("layers", "Member must satisfy constraint", self.create, Layers=[layer_arn(name)])
