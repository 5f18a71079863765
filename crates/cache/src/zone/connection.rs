//! One connection to one node: questions go out as they come, answers are taken in their order.
//!
//! An answer that nobody waits for any more is read and dropped, so that a read that has its four fragments leaves the
//! fifth behind at no cost to the next. A node that does not answer in time loses the connection with all that is
//! outstanding on it: later answers could only come later.

use super::fleet::Access;
use super::protocol::{Command, Dialect, ProtocolError, Replies, Reply};
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// Questions on a connection without an answer; further ones wait in the node's queue. 64 fragments are 8 MiB.
const OUTSTANDING_MAX: usize = 64;

/// A question and who wants to know.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) command: Command,
    /// Closed when the one who asked has enough already; dropped without a word when the node fails; `None` when
    /// nobody cares.
    pub(crate) reply: Option<oneshot::Sender<Answer>>,
}

impl Request {
    fn is_wanted(&self) -> bool {
        self.reply.as_ref().is_none_or(|reply| !reply.is_closed())
    }
}

/// What came of a question.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The fragment of the chunk that was asked for.
    Fragment(super::fragment::Fragment),
    /// The value of the name that was asked for, or so the node says.
    Value(Bytes),
    /// The node has none.
    Nothing,
    /// The node had something else, or would not.
    Refused,
    /// Done.
    Done,
}

/// A question that has been sent.
struct Outstanding {
    request: Request,
    at: Instant,
}

/// Why a node could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("no connection within {0:?}")]
    ConnectSilent(Duration),
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// Open, and logged in.
pub(crate) struct Connection {
    replies: Replies<ReadHalf<Box<dyn Transport>>>,
    output: WriteHalf<Box<dyn Transport>>,
    dialect: Dialect,
    answer_max: Duration,
}

impl Connection {
    pub(crate) async fn open(node: &str, access: &Access) -> Result<Self, ConnectionError> {
        let connect_max = access.connect_max();
        timeout(connect_max, Self::open_slowly(node, access))
            .await
            .map_err(|_| ConnectionError::ConnectSilent(connect_max))?
    }

    async fn open_slowly(node: &str, access: &Access) -> Result<Self, ConnectionError> {
        let transport = connect(node, access).await.map_err(ConnectionError::Connect)?;
        let dialect = access.dialect();
        let (input, output) = tokio::io::split(transport);
        let replies = Replies::new(input, dialect);
        let mut connection = Self {
            replies,
            output,
            dialect,
            answer_max: access.answer_max,
        };
        if let Some(login) = &access.login {
            let bytes = dialect.login(&login.user, &login.password);
            connection.output.write_all(&bytes).await.map_err(ProtocolError::Io)?;
            connection.output.flush().await.map_err(ProtocolError::Io)?;
            connection.replies.login().await?;
        }
        Ok(connection)
    }

    /// Serves `first` and then what comes, until the node fails or nobody is left who could ask. `settle` says what an
    /// answer is worth.
    pub(crate) async fn serve(
        self,
        first: Request,
        requests: &mut mpsc::Receiver<Request>,
        settle: impl FnMut(&Command, Reply) -> Answer,
    ) -> Result<(), ConnectionError> {
        let (sent, outstanding) = mpsc::channel(OUTSTANDING_MAX);
        let ask = ask_all(self.output, self.dialect, (first, requests), sent);
        let answer = answer_all((self.replies, self.answer_max), outstanding, settle);
        tokio::select! {
            biased;
            answered = answer => answered,
            asked = ask => asked,
        }
    }
}

async fn connect(node: &str, access: &Access) -> io::Result<Box<dyn Transport>> {
    let stream = TcpStream::connect(node).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = &access.tls else {
        return Ok(Box::new(stream));
    };
    let host = node.rsplit_once(':').map_or(node, |(host, _)| host);
    let name = tls.name.as_deref().unwrap_or(host).trim_matches(['[', ']']);
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let connector = TlsConnector::from(Arc::clone(&tls.client));
    Ok(Box::new(connector.connect(name, stream).await?))
}

/// Ends when nobody can ask any more; its work is then done only when the answers are in, which drops this future.
async fn ask_all(
    mut output: impl AsyncWrite + Unpin,
    dialect: Dialect,
    (first, requests): (Request, &mut mpsc::Receiver<Request>),
    sent: mpsc::Sender<Outstanding>,
) -> Result<(), ConnectionError> {
    let mut next = Some(first);
    while let Some(request) = next {
        if request.is_wanted() {
            let mut bytes = dialect.command(&request.command);
            let at = Instant::now();
            // Before it is written: an answer always finds its question, and a write that hangs has a deadline.
            if sent.send(Outstanding { request, at }).await.is_err() {
                break;
            }
            output.write_all_buf(&mut bytes).await.map_err(ProtocolError::Io)?;
            output.flush().await.map_err(ProtocolError::Io)?;
        }
        next = requests.recv().await;
    }
    drop(sent);
    std::future::pending().await
}

async fn answer_all<R: AsyncRead + Unpin>(
    (mut replies, answer_max): (Replies<R>, Duration),
    mut outstanding: mpsc::Receiver<Outstanding>,
    mut settle: impl FnMut(&Command, Reply) -> Answer,
) -> Result<(), ConnectionError> {
    loop {
        let next = tokio::select! {
            biased;
            next = outstanding.recv() => next,
            error = replies.unasked() => return Err(error.into()),
        };
        let Some(Outstanding { request, at }) = next else {
            return Ok(());
        };
        let reply = timeout_at(at + answer_max, replies.next()).await;
        let reply = reply.map_err(|_| ConnectionError::Silent(answer_max))??;
        let answer = settle(&request.command, reply);
        if let Some(reply) = request.reply {
            // Whoever asked may have what it needs from others.
            let _ = reply.send(answer);
        }
    }
}
