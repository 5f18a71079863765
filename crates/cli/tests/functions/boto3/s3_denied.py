"""Code in S3 where the operator's secret is wrong."""

import unittest

import support


class Denied(support.FunctionTest):
    def test_a_wrong_secret_is_refused_in_s3s_words(self):
        self.refused(
            "InvalidParameterValueException",
            self.aws.create_function,
            "Your access has been denied by S3, please make sure your request credentials have permission to GetObject "
            "for code/there.zip. S3 Error Code: SignatureDoesNotMatch.",
            400,
            FunctionName="denied",
            Runtime="provided.al2023",
            Handler="bootstrap",
            Role=support.ROLE,
            Code={"S3Bucket": "code", "S3Key": "there.zip"},
        )


if __name__ == "__main__":
    unittest.main()
