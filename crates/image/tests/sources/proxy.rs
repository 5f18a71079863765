//! A TCP proxy that cuts connections, as bad networks do.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// What the proxy does to the traffic.
#[derive(Clone, Copy)]
pub(crate) struct Faults {
    /// Bytes of answers on one connection before it is cut.
    pub(crate) cut_after: u64,
    /// How many connections are cut; later ones live.
    pub(crate) cuts: usize,
    /// Renames the header `range`, as a server does that does not know it.
    pub(crate) hide_ranges: bool,
}

/// Listens on a free loopback port until it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    connections: Mutex<usize>,
    requests: Mutex<Vec<u8>>,
}

impl Proxy {
    pub(crate) fn start(upstream: u16, faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, stop) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
        let (seen_inside, stop_inside) = (Arc::clone(&seen), Arc::clone(&stop));
        let listener = thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if stop_inside.load(Ordering::SeqCst) {
                    return;
                }
                connect(client, upstream, faults, &seen_inside);
            }
        });
        Self {
            address,
            seen,
            stop,
            listener: Some(listener),
        }
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.seen.connections.lock().unwrap()
    }

    /// The offsets at which clients resumed.
    pub(crate) fn resumed_at(&self) -> Vec<u64> {
        let requests = self.seen.requests.lock().unwrap();
        let text = String::from_utf8_lossy(&requests).to_lowercase();
        let offsets = text
            .lines()
            .filter_map(|line| line.split_once("ange: bytes=")?.1.split('-').next()?.parse().ok());
        offsets.filter(|offset| *offset > 0).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the listener, which then sees the flag; should it be gone already, nothing is left to wake.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

/// The two copying threads end when either side closes, at the latest with the registry that the test ends.
fn connect(client: TcpStream, upstream: u16, faults: Faults, seen: &Arc<Seen>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)) else {
        return;
    };
    let number = {
        let mut connections = seen.connections.lock().unwrap();
        *connections += 1;
        *connections
    };
    let cut_after = if number <= faults.cuts {
        faults.cut_after
    } else {
        u64::MAX
    };
    let (client_inside, server_inside) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let seen = Arc::clone(seen);
    thread::spawn(move || {
        let _ = copy((&client_inside, &server_inside), u64::MAX, |bytes| {
            if faults.hide_ranges {
                hide_ranges(bytes);
            }
            seen.requests.lock().unwrap().extend_from_slice(bytes);
        });
    });
    thread::spawn(move || {
        let _ = copy((&server, &client), cut_after, |_| {});
    });
}

fn copy((mut from, mut to): (&TcpStream, &TcpStream), most: u64, mut change: impl FnMut(&mut [u8])) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    let mut left = most;
    while left > 0 {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        let passed = read.min(usize::try_from(left).unwrap_or(usize::MAX));
        change(&mut buffer[..passed]);
        to.write_all(&buffer[..passed])?;
        left -= passed as u64;
    }
    // Both ends of both, so that the other direction ends too.
    let _ = from.shutdown(Shutdown::Both);
    to.shutdown(Shutdown::Both)
}

fn hide_ranges(bytes: &mut [u8]) {
    const HEADER: &[u8] = b"\r\nrange: ";
    for start in 0..bytes.len().saturating_sub(HEADER.len()) {
        if bytes[start..].starts_with(HEADER) {
            bytes[start + 2] = b'x';
        }
    }
}
