//! The S3 server of the far side: s3s with its file system, and reads of our own.
//!
//! s3s-fs answers a read in pieces of 4 KiB, each of which crosses a thread pool: at the link's rate that takes more of
//! this machine's two cores than the program under test. Objects here have at most some MiB and lie in memory, so a read
//! is one piece. Everything else, signatures included, is theirs.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::dto::*;
use s3s::service::S3ServiceBuilder;
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

use super::helper::READY;

/// The only user.
pub(in crate::bench) const CREDENTIALS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];
/// The only bucket.
pub(in crate::bench) const BUCKET: &str = "bucket";

/// What to serve and where.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    folder: PathBuf,
    #[arg(long)]
    listen: SocketAddr,
}

/// The process: serves until its input ends.
pub(super) fn run(options: &Options) -> Result<()> {
    std::fs::create_dir_all(options.folder.join(BUCKET))?;
    let files =
        FileSystem::new(&options.folder).map_err(|error| anyhow!("opening the S3 server's folder: {error:?}"))?;
    let mut builder = S3ServiceBuilder::new(Objects {
        files,
        folder: options.folder.clone(),
    });
    let [(_, key), (_, secret)] = CREDENTIALS;
    builder.set_auth(SimpleAuth::from_single(key, secret));
    let service = builder.build();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let listener = runtime
        .block_on(TcpListener::bind(options.listen))
        .with_context(|| format!("listening on {}", options.listen))?;
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let connection = Builder::new(TokioExecutor::new());
                // A client that goes away is its own business.
                connection.serve_connection(TokioIo::new(stream), service).await.ok();
            });
        }
    });
    println!("{READY}");
    io::stdin().lock().read_to_end(&mut Vec::new())?;
    Ok(())
}

struct Objects {
    files: FileSystem,
    folder: PathBuf,
}

impl Objects {
    fn get(&self, input: &GetObjectInput) -> S3Result<GetObjectOutput> {
        let key = Path::new(&input.key);
        if !key.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(s3_error!(InvalidArgument));
        }
        let missing = |_| s3_error!(NoSuchKey);
        let file = std::fs::File::open(self.folder.join(&input.bucket).join(key)).map_err(missing)?;
        let metadata = file.metadata().map_err(missing)?;
        let range = match input.range {
            Some(range) => range.check(metadata.len())?,
            None => 0..metadata.len(),
        };
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact_at(&mut bytes, range.start)
            .map_err(|_| s3_error!(InternalError))?;
        let is_part = input.range.is_some();
        Ok(GetObjectOutput {
            content_length: Some(bytes.len() as i64),
            content_range: is_part.then(|| format!("bytes {}-{}/{}", range.start, range.end - 1, metadata.len())),
            e_tag: Some(ETag::Strong(format!(
                "{:x}-{:x}",
                metadata.mtime_nsec(),
                metadata.ino()
            ))),
            last_modified: metadata.modified().ok().map(Timestamp::from),
            body: Some(StreamingBlob::from(Body::from(bytes))),
            ..GetObjectOutput::default()
        })
    }
}

#[async_trait::async_trait]
impl S3 for Objects {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.get(&request.input).map(S3Response::new)
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.files.put_object(request).await
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.files.head_object(request).await
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        self.files.copy_object(request).await
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.files.delete_object(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.files.list_objects_v2(request).await
    }
}
