//! Bodies between the network and the disk: each blocking side has a thread, and a few frames lie between.

use super::error::RegistryError;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::StatusCode;
use futures::{StreamExt, stream};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use tokio::sync::mpsc;

/// Frames between the two sides. Eight of some 16 KiB (hyper's) or of [`READ_BYTES`] keep both busy.
const FRAMES_MAX: usize = 8;

/// Bytes read from a file at once.
const READ_BYTES: usize = 256 * 1024;

/// Runs work that blocks, off the threads that serve.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, RegistryError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(RegistryError::internal(format!("the request's work ended: {error}"))))
}

/// Hands a request's body to `take` frame by frame, on a thread that may block, and gives what `take` gives back.
///
/// When the client goes away in the middle, `take` has had what came before, and the answer is for nobody.
pub(super) async fn receive<T: Send + 'static>(
    body: Body,
    take: impl FnOnce(&mut dyn Iterator<Item = Bytes>) -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, RegistryError> {
    let (sender, mut receiver) = mpsc::channel(FRAMES_MAX);
    let pump = async move {
        let mut frames: BodyDataStream = body.into_data_stream();
        while let Some(frame) = frames.next().await {
            let Ok(frame) = frame else {
                return Err(cut_short());
            };
            // Nobody takes it any more: the reason is what `take` gives back.
            if sender.send(frame).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let taking = blocking(move || take(&mut std::iter::from_fn(|| receiver.blocking_recv())));
    let (pumped, taken) = tokio::join!(pump, taking);
    let taken = taken?;
    pumped.map(|()| taken)
}

/// A small body, whole; `bytes_max` more are an error of the client's.
pub(super) async fn receive_whole(body: Body, bytes_max: u64) -> Result<Vec<u8>, RegistryError> {
    let mut whole = Vec::new();
    let mut frames = body.into_data_stream();
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|_| cut_short())?;
        if (whole.len() + frame.len()) as u64 > bytes_max {
            return Err(RegistryError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "SIZE_INVALID",
                format!("a manifest may have at most {bytes_max} bytes"),
            ));
        }
        whole.extend_from_slice(&frame);
    }
    Ok(whole)
}

/// A part of a file as a body; it is read as the client takes it.
pub(super) fn send(file: File, start: u64, bytes: u64) -> Body {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(FRAMES_MAX);
    tokio::task::spawn_blocking(move || {
        let (mut offset, end) = (start, start + bytes);
        while offset < end {
            let frame = read_frame(&file, offset, end);
            let length = frame.as_ref().map_or(0, Bytes::len) as u64;
            // A client that goes away ends the reading, and so does a disk that fails.
            if sender.blocking_send(frame).is_err() || length == 0 {
                return;
            }
            offset += length;
        }
    });
    let frames = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|frame| (frame, receiver))
    });
    Body::from_stream(frames)
}

fn read_frame(file: &File, offset: u64, end: u64) -> io::Result<Bytes> {
    let length = usize::try_from(end - offset).unwrap_or(usize::MAX).min(READ_BYTES);
    let mut buffer = vec![0; length];
    file.read_exact_at(&mut buffer, offset)?;
    Ok(buffer.into())
}

fn cut_short() -> RegistryError {
    RegistryError::new(
        StatusCode::BAD_REQUEST,
        "BLOB_UPLOAD_INVALID",
        "the request's body was cut short; ask the upload for its offset and go on from there",
    )
}
