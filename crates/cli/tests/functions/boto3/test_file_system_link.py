"""Somebody who may write beside a shared directory puts a symbolic link to another one in its place."""

import os
import pathlib
import unittest

from support import FunctionTest


class FileSystemLink(FunctionTest):
    def make(self):
        return self.create(FileSystemConfigs=[{"Arn": os.environ["FILE_SYSTEM"], "LocalMountPath": "/mnt/shared"}])

    def read(self, function):
        return self.ask(function, {"do": "read", "path": "/mnt/shared/whose"})

    def test_no_function_starts_behind_a_link(self):
        shared, secret = pathlib.Path(os.environ["SHARED"]), pathlib.Path(os.environ["SECRET"])
        before = self.make()
        self.assertEqual(self.read(before), {"content": str(shared)})
        moved = shared.with_name("moved")
        shared.rename(moved)
        shared.symlink_to(secret)
        after = self.make()
        code = ("ServiceException", "EFSMountFailureException", "InvalidParameterValueException")
        error = self.refused(code, self.aws.invoke, FunctionName=after, Payload='{"do": "read", "path": "/mnt/shared/whose"}')
        self.assertNotIn(str(secret), error["Error"]["Message"].replace(str(shared), ""))
        shared.unlink()
        moved.rename(shared)
        self.assertEqual(self.read(after), {"content": str(shared)})


if __name__ == "__main__":
    unittest.main()
