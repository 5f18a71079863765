"""TagResource, UntagResource, ListTags."""

from support import ACCOUNT, REGION, FunctionTest, function_arn


class Tags(FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.name = cls.create_shared()
        cls.arn = function_arn(cls.name)

    def tearDown(self):
        names = list(self.tags())
        if names:
            self.aws.untag_resource(Resource=self.arn, TagKeys=names)

    def tags(self):
        return self.status(200, self.aws.list_tags(Resource=self.arn))["Tags"]

    def tag(self, **tags):
        self.status(204, self.aws.tag_resource(Resource=self.arn, Tags=tags))

    def untag(self, *names):
        self.status(204, self.aws.untag_resource(Resource=self.arn, TagKeys=list(names)))

    def test_tags_are_added_changed_and_taken_away(self):
        self.assertEqual(self.tags(), {})
        self.tag(A="a")
        self.tag(B="b", C="c")
        self.assertEqual(self.tags(), {"A": "a", "B": "b", "C": "c"})
        self.tag(C="changed", D="")
        self.assertEqual(self.tags(), {"A": "a", "B": "b", "C": "changed", "D": ""})
        self.assertEqual(self.aws.get_function(FunctionName=self.name)["Tags"], self.tags())
        self.untag("A")
        self.untag("B", "no-such")
        self.untag("no-such")
        self.assertEqual(self.tags(), {"C": "changed", "D": ""})
        self.untag("C", "D")
        self.assertEqual(self.tags(), {})
        self.assertNotIn("Tags", self.aws.get_function(FunctionName=self.name))

    def test_tags_can_be_given_at_the_creation(self):
        name = self.create(Tags={"team": "Straße", "a b": "c=d"})
        self.assertEqual(self.aws.list_tags(Resource=function_arn(name))["Tags"], {"team": "Straße", "a b": "c=d"})

    def test_names_with_odd_letters_survive(self):
        tags = {"a b": "1", "c+d=e": "2", "f/g:h.i": "3", "@ü": "4"}
        self.status(204, self.aws.tag_resource(Resource=self.arn, Tags=tags))
        self.assertEqual(self.tags(), tags)
        self.untag(*tags)
        self.assertEqual(self.tags(), {})

    def test_fifty_are_the_most(self):
        self.tag(**{f"t{number}": "x" for number in range(50)})
        message = "Number of tags exceeds resource tag limit."
        call = self.aws.tag_resource
        self.refused("InvalidParameterValueException", call, message, 400, Resource=self.arn, Tags={"one-more": "x"})
        self.tag(t0="changed")
        self.assertEqual(len(self.tags()), 50)

    def test_what_is_no_function_has_none(self):
        missing = function_arn("no-such")
        message = f"Function not found: {missing}"
        self.missing(self.aws.list_tags, message, Resource=missing)
        self.missing(self.aws.tag_resource, message, Resource=missing, Tags={"a": "b"})
        self.missing(self.aws.untag_resource, message, Resource=missing, TagKeys=["a"])

    def test_versions_and_aliases_have_none(self):
        message = "Tags on function aliases and versions are not supported. Please specify a function ARN."
        for qualifier in ["1", "$LATEST", "live"]:
            arguments = {"Resource": function_arn(self.name, qualifier), "Tags": {"a": "b"}}
            self.refused("InvalidParameterValueException", self.aws.tag_resource, message, 400, **arguments)

    def test_requests_are_checked(self):
        call = self.unchecked.tag_resource
        for resource in ["arn:aws:something", self.name, f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:"]:
            self.invalid("resource", "pattern", call, Resource=resource, Tags={"a": "b"})
        message = "An error occurred and the request cannot be processed."
        self.refused("InvalidParameterValueException", call, message, 400, Resource=self.arn, Tags={})
        # Without a query; botocore always sends one.
        answer = self.sent("DELETE", "/2017-03-31/tags/" + self.arn.replace(":", "%3A"))
        self.assertEqual(answer.status, 400)
        self.assertIn(b"Value null at 'tagKeys' failed to satisfy constraint: Member must not be null", answer.body)
        long = {"a" * 129: "b"}
        self.refused(("InvalidParameterValueException", "ValidationException"), call, Resource=self.arn, Tags=long)
        self.refused(("InvalidParameterValueException", "ValidationException"), call, Resource=self.arn, Tags={"aws:x": "b"})
