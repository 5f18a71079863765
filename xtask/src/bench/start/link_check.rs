//! Is the link what it should be? A server that sends as many bytes as it is asked for, behind the link, with and without
//! the delay proxy.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::far::{Delay, FarProxy};
use super::helper::{Helper, READY};
use super::link::{FAR, Link, Ports};
use super::samples::Samples;

const PORTS: Ports = Ports {
    server: 9101,
    proxy: 9100,
};
/// Sent in one piece: half a second at 1 Gb/s.
const RATE_BYTES: u64 = 64 << 20;
const RATE_RUNS: usize = 5;
const ROUND_TRIPS: usize = 50;
/// Bytes in a second that 1 Gb/s may carry: 125 MB less headers, and something for a machine that works on other things.
const RATE_MIN: f64 = 100e6;
const RATE_MAX: f64 = 125e6;

/// Where to listen.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    listen: SocketAddr,
}

/// The process: sends on each connection as many bytes as eight bytes, little-endian, ask for, again and again.
pub(super) fn run(options: &Options) -> Result<()> {
    let listener = TcpListener::bind(options.listen).with_context(|| format!("listening on {}", options.listen))?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away is its own business.
            thread::spawn(move || serve(stream).ok());
        }
    });
    println!("{READY}");
    io::stdin().lock().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let zeros = vec![0; 256 << 10];
    loop {
        let mut asked = [0; 8];
        stream.read_exact(&mut asked)?;
        let mut left = u64::from_le_bytes(asked) as usize;
        while left > 0 {
            left -= stream.write(&zeros[..left.min(zeros.len())])?;
        }
    }
}

/// A link as it was measured.
pub(super) struct LinkCheck {
    /// Bytes in a second over one connection, to the near side.
    pub(super) rate: Samples,
    pub(super) rate_delayed: Samples,
    /// Milliseconds of a byte asked for on an open connection.
    pub(super) round_trip_ms: Samples,
    pub(super) round_trip_delayed_ms: Samples,
    /// Milliseconds of a byte asked for on a new connection, with the delay.
    pub(super) first_byte_ms: Samples,
}

/// Measures; fails when the link is not what the bench is about.
pub(super) fn check(link: &Link, delay: &Delay) -> Result<LinkCheck> {
    // Beside the proxy, to see the shape alone.
    let open = format!("{FAR}:{}", PORTS.server + 1);
    let mut source = link.far_part("source")?;
    let _open = Helper::start(source.args(["--listen", &open]))?;
    let proxy = FarProxy::with_server(link, "source", PORTS, delay, &[])?;
    let address = &proxy.address;
    let check = LinkCheck {
        rate: rates(&open)?,
        rate_delayed: rates(address)?,
        round_trip_ms: round_trips(&open)?,
        round_trip_delayed_ms: round_trips(address)?,
        first_byte_ms: first_bytes(address)?,
    };
    // The best of each: other work on the machine makes some of them worse, a wrong link makes all of them wrong.
    let (rate, round_trip) = (check.rate_delayed.range().1, check.round_trip_delayed_ms.range().0);
    ensure!(
        (RATE_MIN..RATE_MAX).contains(&rate),
        "the link carries {:.0} MB/s and not 125 less headers",
        rate / 1e6
    );
    let wanted = 2e3 * delay.one_way.as_secs_f64();
    ensure!(
        (wanted..wanted + 2.0).contains(&round_trip),
        "a round trip takes {round_trip:.1} ms and not {wanted:.1}"
    );
    Ok(check)
}

fn rates(address: &str) -> Result<Samples> {
    let mut stream = connect(address)?;
    (0..RATE_RUNS)
        .map(|_| Ok(RATE_BYTES as f64 / fetch(&mut stream, RATE_BYTES)?.as_secs_f64()))
        .collect::<Result<Vec<f64>>>()
        .map(Samples::from_iter)
}

fn round_trips(address: &str) -> Result<Samples> {
    let mut stream = connect(address)?;
    fetch(&mut stream, 1)?;
    (0..ROUND_TRIPS)
        .map(|_| Ok(fetch(&mut stream, 1)?.as_secs_f64() * 1e3))
        .collect::<Result<Vec<f64>>>()
        .map(Samples::from_iter)
}

fn first_bytes(address: &str) -> Result<Samples> {
    let once = || {
        let begin = Instant::now();
        fetch(&mut connect(address)?, 1)?;
        Ok(begin.elapsed().as_secs_f64() * 1e3)
    };
    (0..RATE_RUNS)
        .map(|_| once())
        .collect::<Result<Vec<f64>>>()
        .map(Samples::from_iter)
}

fn connect(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn fetch(stream: &mut TcpStream, bytes: u64) -> Result<Duration> {
    let begin = Instant::now();
    stream.write_all(&bytes.to_le_bytes())?;
    let mut left = bytes as usize;
    let mut buffer = vec![0; (256 << 10).min(left)];
    while left > 0 {
        let read = stream.read(&mut buffer)?;
        ensure!(read > 0, "the far side hung up");
        left -= read;
    }
    Ok(begin.elapsed())
}
