"""Directories that the operator shares: FileSystemConfigs. DIRECTORIES names two, of an owner of their own."""

import os
import pathlib
import unittest

import support

OWNER = 34_567


class FileSystems(support.FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.written, cls.read_only = (pathlib.Path(path) for path in os.environ["DIRECTORIES"].split(":"))
        cls.arns = dict(pair.split("=") for pair in os.environ["FILE_SYSTEMS"].split(","))

    def config(self, name, path="/mnt/shared"):
        return [{"Arn": self.arns[name], "LocalMountPath": path}]

    def make(self, name="written", path="/mnt/shared", **settings):
        return self.create(FileSystemConfigs=self.config(name, path), **settings)

    def write(self, function, path, content="x"):
        return self.ask(function, {"do": "write", "path": path, "content": content})

    def read(self, function, path):
        return self.ask(function, {"do": "read", "path": path})

    def test_functions_share_what_lies_in_it(self):
        one, other = self.make(), self.make(path="/mnt/elsewhere")
        self.assertEqual(self.created["FileSystemConfigs"], self.config("written", "/mnt/elsewhere"))
        self.assertEqual(self.write(one, "/mnt/shared/note", "from one"), {"written": True})
        self.assertEqual(self.read(other, "/mnt/elsewhere/note"), {"content": "from one"})
        self.assertEqual(self.write(other, "/mnt/elsewhere/note", "from other"), {"written": True})
        note = self.written / "note"
        self.assertEqual(note.read_text(), "from other")
        # Root inside is the directory's owner outside.
        self.assertEqual((note.stat().st_uid, note.stat().st_gid), (OWNER, OWNER))

    def test_what_others_own_cannot_be_changed(self):
        theirs = self.written / "theirs"
        theirs.write_text("root's")
        theirs.chmod(0o644)
        secret = self.written / "secret"
        secret.write_text("root's")
        secret.chmod(0o600)
        function = self.make()
        self.assertEqual(self.read(function, "/mnt/shared/theirs"), {"content": "root's"})
        self.assertFalse(self.write(function, "/mnt/shared/theirs")["written"])
        self.assertIn("error", self.read(function, "/mnt/shared/secret"))

    def test_read_only_is_read_only(self):
        (self.read_only / "weights").write_text("1 2 3")
        function = self.make("read-only", "/mnt/models")
        self.assertEqual(self.read(function, "/mnt/models/weights"), {"content": "1 2 3"})
        self.assertFalse(self.write(function, "/mnt/models/weights")["written"])
        self.assertFalse(self.write(function, "/mnt/models/more")["written"])
        options = next(line for line in self.read(function, "/proc/self/mounts")["content"].splitlines() if " /mnt/models " in line)
        options = set(options.split(" ")[3].split(","))
        self.assertLessEqual({"ro", "nosuid", "nodev"}, options)

    def test_nothing_leads_out_of_it(self):
        link = self.written / "link"
        if not link.is_symlink():
            link.symlink_to(self.read_only)
        function = self.make()
        self.assertIn("error", self.read(function, "/mnt/shared/link/weights"))
        self.assertEqual(self.ask(function, {"do": "list", "path": "/mnt/shared/.."}), ["shared"])

    def test_versions_keep_it_and_updates_change_it(self):
        function = self.make("read-only")
        version = self.aws.publish_version(FunctionName=function)["Version"]
        self.aws.get_waiter("published_version_active").wait(FunctionName=function, Qualifier=version)
        self.aws.update_function_configuration(FunctionName=function, FileSystemConfigs=[])
        self.assertNotIn("FileSystemConfigs", self.active(function))
        self.assertEqual(self.ask(function, {"do": "list", "path": "/mnt"}), [])
        kept = self.aws.get_function_configuration(FunctionName=function, Qualifier=version)
        self.assertEqual(kept["FileSystemConfigs"], self.config("read-only"))
        self.assertEqual(self.ask(function, {"do": "list", "path": "/mnt"}, Qualifier=version), ["shared"])
        self.aws.update_function_configuration(FunctionName=function, FileSystemConfigs=self.config("written", "/mnt/other"))
        self.active(function)
        self.assertEqual(self.ask(function, {"do": "list", "path": "/mnt"}), ["other"])

    def test_a_name_that_is_not_there_is_refused(self):
        known = self.arns["written"]
        function = self.create()
        for arn in [known[:-17] + "0" * 17, known.replace(support.ACCOUNT, "111122223333")]:
            config = [{"Arn": arn, "LocalMountPath": "/mnt/shared"}]
            message = f"EFS access point {arn} does not exist."
            self.refused(
                "InvalidParameterValueException", self.aws.create_function, message, 400, FunctionName=support.new_name(),
                Runtime="provided.al2023", Handler="bootstrap", Role=support.ROLE, FileSystemConfigs=config,
                Code={"ZipFile": support.plain_handler_zip()},
            )  # fmt: skip
            change = self.aws.update_function_configuration
            self.refused("InvalidParameterValueException", change, message, 400, FunctionName=function, FileSystemConfigs=config)

    def test_snapshots_and_shared_directories_exclude_each_other(self):
        function = self.make()
        change = self.aws.update_function_configuration
        message = "SnapStart is not supported for functions with FileSystemConfigs."
        settings = {"FunctionName": function, "SnapStart": {"ApplyOn": "PublishedVersions"}}
        self.refused("InvalidParameterValueException", change, message, 400, **settings)

    def test_paths_are_below_mnt(self):
        function = self.create()
        change = self.unchecked.update_function_configuration
        for path in ["/opt/shared", "/mnt/a/b", "/mnt/"]:
            config = self.config("written", path)
            self.refused("ValidationException", change, status=400, FunctionName=function, FileSystemConfigs=config)
        for path in ["/mnt/.", "/mnt/.."]:
            config = self.config("written", path)
            message = "Local mount path"
            self.refused("InvalidParameterValueException", change, message, 400, FunctionName=function, FileSystemConfigs=config)
        two = self.config("written") + self.config("read-only", "/mnt/b")
        self.refused("ValidationException", change, status=400, FunctionName=function, FileSystemConfigs=two)


if __name__ == "__main__":
    unittest.main()
