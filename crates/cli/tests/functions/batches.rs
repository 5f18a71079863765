//! Batches that read and write objects in a bucket.

use crate::endpoint::Endpoint;
use crate::servers::ObjectStore;

#[test]
fn a_batch_goes_from_bucket_to_bucket() {
    let store = ObjectStore::start();
    let endpoint = Endpoint::start();
    endpoint.boto3_with(
        "batch_s3",
        &[
            ("S3_URL", store.url().as_str()),
            ("S3_KEY", store.key.as_str()),
            ("S3_SECRET", store.secret.as_str()),
        ],
    );
}
