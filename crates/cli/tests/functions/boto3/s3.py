"""Code in S3: moto's, which checks signatures and policies and keeps versions of objects."""

import base64
import hashlib
import os
import unittest

import boto3
import support


def digest(archive):
    """CodeSha256 of a zip."""
    return base64.b64encode(hashlib.sha256(archive).digest()).decode()


class CodeInS3(support.FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.s3 = boto3.client(
            "s3",
            endpoint_url=os.environ["S3_URL"],
            aws_access_key_id=os.environ["S3_KEY"],
            aws_secret_access_key=os.environ["S3_SECRET"],
            config=support.NO_RETRIES.merge(support.botocore.config.Config(s3={"addressing_style": "path"})),
        )
        for bucket in ["code", "secret-code"]:
            cls.s3.create_bucket(Bucket=bucket)
            cls.put("there.zip", "one", bucket)
        cls.s3.put_bucket_versioning(Bucket="code", VersioningConfiguration={"Status": "Enabled"})

    @classmethod
    def put(cls, key, greeting, bucket="code"):
        """Stores a zip whose function says a greeting; gives the zip and the version."""
        archive = support.handler_zip(greeting=greeting)
        return archive, cls.s3.put_object(Bucket=bucket, Key=key, Body=archive).get("VersionId")

    def greeting(self, name):
        return self.ask(name, {"do": "read", "path": "/var/task/greeting"})["content"]

    def not_created(self, message, **code):
        self.refused(
            "InvalidParameterValueException",
            self.aws.create_function,
            message,
            400,
            FunctionName="not-created",
            Runtime="provided.al2023",
            Handler="bootstrap",
            Role=support.ROLE,
            Code=code,
        )
        self.missing(self.aws.get_function, FunctionName="not-created")

    def test_functions_are_created_and_updated(self):
        first, _ = self.put("first.zip", "first")
        second, _ = self.put("a folder/zweites Stück+%41.zip", "second")
        name = self.create(Code={"S3Bucket": "code", "S3Key": "first.zip"})
        self.assertEqual((self.created["CodeSha256"], self.created["CodeSize"]), (digest(first), len(first)))
        self.assertEqual(self.greeting(name), "first")
        place = {"S3Bucket": "code", "S3Key": "a folder/zweites Stück+%41.zip"}
        updated = self.aws.update_function_code(FunctionName=name, **place)
        self.assertEqual(updated["CodeSha256"], digest(second))
        self.active(name)
        self.assertEqual(self.greeting(name), "second")
        # What runs is what was fetched, whatever becomes of the object.
        self.s3.delete_object(Bucket="code", Key=place["S3Key"])
        self.assertEqual(self.greeting(name), "second")

    def test_a_dry_run_changes_nothing(self):
        first, _ = self.put("dry.zip", "dry")
        other, _ = self.put("run.zip", "run")
        name = self.create(Code={"S3Bucket": "code", "S3Key": "dry.zip"})
        tried = self.aws.update_function_code(FunctionName=name, S3Bucket="code", S3Key="run.zip", DryRun=True)
        self.assertEqual(tried["CodeSha256"], digest(other))
        self.assertEqual(self.aws.get_function_configuration(FunctionName=name)["CodeSha256"], digest(first))

    def test_a_version_of_an_object_can_be_named(self):
        old, old_version = self.put("versions.zip", "old")
        new, _ = self.put("versions.zip", "new")
        place = {"S3Bucket": "code", "S3Key": "versions.zip"}
        name = self.create(Code={**place, "S3ObjectVersion": old_version})
        self.assertEqual(self.greeting(name), "old")
        self.assertEqual(self.aws.update_function_code(FunctionName=name, **place)["CodeSha256"], digest(new))
        self.active(name)
        again = self.aws.update_function_code(FunctionName=name, **place, S3ObjectVersion=old_version)
        self.assertEqual(again["CodeSha256"], digest(old))
        self.not_created("Error occurred while GetObject. S3 Error Code: ", **place, S3ObjectVersion="of-nothing")

    def test_layers_come_from_s3(self):
        self.s3.put_object(Bucket="code", Key="layer.zip", Body=support.zip_of({"shared": "layer"}))
        layer = self.aws.publish_layer_version(LayerName="from-s3", Content={"S3Bucket": "code", "S3Key": "layer.zip"})
        name = self.create(Layers=[layer["LayerVersionArn"]])
        self.assertEqual(self.ask(name, {"do": "read", "path": "/opt/shared"}), {"content": "layer"})

    def test_what_is_not_there_is_refused_in_s3s_words(self):
        self.not_created(
            "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist.",
            S3Bucket="code",
            S3Key="nothing.zip",
        )
        self.not_created(
            "Error occurred while GetObject. S3 Error Code: NoSuchBucket. S3 Error Message: The specified bucket does not "
            "exist",
            S3Bucket="no-such-bucket",
            S3Key="first.zip",
        )
        for key in ["/first.zip", "a//b.zip", "a/../first.zip"]:
            self.not_created("Copy the object to another key.", S3Bucket="code", S3Key=key)

    def test_what_may_not_be_read_is_refused(self):
        self.not_created(
            "Your access has been denied by S3, please make sure your request credentials have permission to GetObject "
            "for secret-code/there.zip. S3 Error Code: AccessDenied.",
            S3Bucket="secret-code",
            S3Key="there.zip",
        )

    def test_what_is_no_zip_is_refused(self):
        self.s3.put_object(Bucket="code", Key="text.zip", Body=b"this is no zip")
        self.not_created("Could not unzip uploaded file.", S3Bucket="code", S3Key="text.zip")


if __name__ == "__main__":
    unittest.main()
