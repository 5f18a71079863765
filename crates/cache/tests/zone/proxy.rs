//! What lies between a worker and a node, and what can go wrong there.

use bytes::BytesMut;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What happens to answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing.
    None,
    /// They come later. Many at once are each as late.
    Delay(Duration),
    /// A bit is flipped in the middle of whatever is long enough to be a fragment's own bytes.
    FlippedBits,
    /// They become other bytes altogether.
    Noise,
    /// They do not come.
    Silence,
}

/// One node's proxy; it ends with this.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    trouble: Arc<Mutex<Trouble>>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(node: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let trouble = Arc::new(Mutex::new(Trouble::None));
        let task = tokio::spawn(accept_all(listener, node, Arc::clone(&trouble)));
        Self { port, trouble, task }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn make(&self, trouble: Trouble) {
        *self.trouble.lock().unwrap() = trouble;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept_all(listener: TcpListener, node: String, trouble: Arc<Mutex<Trouble>>) {
    while let Ok((client, _)) = listener.accept().await {
        // Without a node the client's connection is closed at once.
        if let Ok(server) = TcpStream::connect(&node).await {
            tokio::spawn(pass(client, server, Arc::clone(&trouble)));
        }
    }
}

/// Ends when either side closes.
async fn pass(client: TcpStream, server: TcpStream, trouble: Arc<Mutex<Trouble>>) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (client_input, client_output) = client.into_split();
    let (server_input, server_output) = server.into_split();
    tokio::select! {
        () = questions(client_input, server_output) => {}
        () = answers(server_input, client_output, trouble) => {}
    }
}

async fn questions(mut input: OwnedReadHalf, mut output: OwnedWriteHalf) {
    let _ = tokio::io::copy(&mut input, &mut output).await;
}

async fn answers(mut input: OwnedReadHalf, mut output: OwnedWriteHalf, trouble: Arc<Mutex<Trouble>>) {
    let (sender, mut late) = mpsc::channel::<(Instant, BytesMut)>(1024);
    let read = async move {
        loop {
            let mut block = BytesMut::with_capacity(64 * 1024);
            if !matches!(input.read_buf(&mut block).await, Ok(1..)) {
                return;
            }
            let now = *trouble.lock().unwrap();
            let at = Instant::now();
            let sent = match spoil(now, &mut block) {
                Some(delay) => sender.send((at + delay, block)).await,
                None => continue,
            };
            if sent.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((at, block)) = late.recv().await {
            tokio::time::sleep_until(at).await;
            if output.write_all(&block).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}

/// How late the block is to come; `None` for never.
fn spoil(trouble: Trouble, block: &mut BytesMut) -> Option<Duration> {
    match trouble {
        Trouble::Delay(delay) => return Some(delay),
        Trouble::Silence => return None,
        Trouble::FlippedBits if block.len() > 1000 => {
            let middle = block.len() / 2;
            block[middle] ^= 1;
        }
        Trouble::Noise => block
            .iter_mut()
            .for_each(|byte| *byte = byte.wrapping_mul(167).wrapping_add(13)),
        Trouble::None | Trouble::FlippedBits => {}
    }
    Some(Duration::ZERO)
}
