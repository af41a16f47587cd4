//! A request, as its bytes came.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

pub(super) struct Request {
    bytes: Vec<u8>,
    /// AWS's name of the operation, or the path without a version.
    pub(super) operation: String,
}

impl Request {
    /// Reads one request with a body of a known length, as our clients send.
    pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(at) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
        let header = |wanted: &str| {
            let headers = text.lines().filter_map(|line| line.split_once(':'));
            let mut named = headers.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            named.next().map(|(_, value)| value.trim().to_owned())
        };
        let length = header("content-length").map_or(0, |length| length.parse().unwrap());
        while bytes.len() < head + length {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let target = header("x-amz-target");
        let operation = target.map_or_else(|| path(&text), |target| last(&target, '.'));
        Ok(Self { bytes, operation })
    }

    /// Returns the bytes of a request that is the only one of its connection, so that its answer
    /// ends with it.
    pub(super) fn alone(&self) -> Vec<u8> {
        let line = self.bytes.windows(2).position(|end| end == b"\r\n").map_or(0, |at| at + 2);
        [&self.bytes[..line], b"connection: close\r\n", &self.bytes[line..]].concat()
    }

    /// Returns what a server may repeat in an error: the path with its query, and the body.
    pub(super) fn echo(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let line = text.lines().next().unwrap_or_default().to_owned();
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        format!("{line} {body}")
    }
}

fn path(text: &str) -> String {
    let path = text.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    path.strip_prefix("/v1.0").unwrap_or(path).to_owned()
}

fn last(text: &str, separator: char) -> String {
    text.rsplit(separator).next().unwrap_or_default().to_owned()
}
