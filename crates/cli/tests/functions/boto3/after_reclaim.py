"""Everything that is named can be read, run and prepared anew."""

import io
import urllib.request
import unittest
import zipfile

import support


class AfterReclaim(support.FunctionTest):
    def greeting(self, name, **qualifier):
        location = self.aws.get_function(FunctionName=name, **qualifier)["Code"]["Location"]
        with urllib.request.urlopen(location) as answer:
            archive = zipfile.ZipFile(io.BytesIO(answer.read()))
        return archive.read("greeting").decode()

    def test_codes_of_functions_and_versions_are_there(self):
        self.assertEqual(self.greeting("kept"), "kept")
        self.assertEqual(self.greeting("updated"), "new")
        self.assertEqual(self.greeting("updated", Qualifier="1"), "old")
        self.assertEqual(self.ask("updated", {"do": "read", "path": "/var/task/greeting"}, Qualifier="1"), {"content": "old"})

    def test_a_device_can_be_made_anew_of_code_and_layer(self):
        self.aws.update_function_code(FunctionName="again", ZipFile=support.handler_zip(greeting="other"))
        self.active("again")
        self.assertEqual(self.ask("again", {"do": "read", "path": "/opt/a"}), {"content": "layer"})
        self.assertEqual(self.ask("again", {"do": "read", "path": "/var/task/greeting"}), {"content": "other"})

    def test_the_same_zip_can_be_uploaded_again(self):
        name = self.create(Code={"ZipFile": support.handler_zip(greeting="deleted")})
        self.assertEqual(self.ask(name, {"do": "read", "path": "/var/task/greeting"}), {"content": "deleted"})


if __name__ == "__main__":
    unittest.main()
