"""Functions and a layer of different zips, and one function that is deleted again."""

import unittest

import support


class BeforeReclaim(unittest.TestCase):
    def test_make_and_delete(self):
        aws = support.client("lambda")
        layer = aws.publish_layer_version(LayerName="kept", Content={"ZipFile": support.zip_of({"a": "layer"})})
        for name, greeting in [("kept", "kept"), ("again", "again"), ("updated", "old"), ("deleted", "deleted")]:
            aws.create_function(
                FunctionName=name,
                Runtime="provided.al2023",
                Handler="bootstrap",
                Role=support.ROLE,
                Timeout=10,
                Layers=[layer["LayerVersionArn"]],
                Code={"ZipFile": support.handler_zip(greeting=greeting)},
            )
            self.assertEqual(support.settled(aws, name)["State"], "Active")
        # A layer that is deleted stays for the functions that use it, and an old version keeps its code.
        aws.delete_layer_version(LayerName="kept", VersionNumber=1)
        aws.publish_version(FunctionName="updated")
        aws.update_function_code(FunctionName="updated", ZipFile=support.handler_zip(greeting="new"))
        self.assertEqual(support.settled(aws, "updated")["LastUpdateStatus"], "Successful")
        aws.delete_function(FunctionName="deleted")


if __name__ == "__main__":
    unittest.main()
