//! The owner of the other end of a connection on this machine.

use std::net::{IpAddr, SocketAddr};

/// Returns true if the connection is known to belong to another user. Only Linux reports it.
pub(super) fn is_somebody_else(peer: SocketAddr) -> bool {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let owner = tables.iter().find_map(|table| owner(&std::fs::read_to_string(table).ok()?, peer));
    let me = rustix::process::geteuid().as_raw();
    // A browser may run as root, or the command may. Root can read a token without a login.
    owner.is_some_and(|owner| owner != me && owner != 0 && me != 0)
}

/// Returns the user of the connection from this address, by a table such as `/proc/net/tcp`.
fn owner(table: &str, peer: SocketAddr) -> Option<u32> {
    let mapped = match peer.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().into(),
        ip @ IpAddr::V6(_) => ip,
    };
    // An IPv6 socket may connect to an IPv4 address.
    let wanted = [spelled(peer), spelled(SocketAddr::new(mapped, peer.port()))];
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let local = fields.nth(1)?;
        // The remote address, state, queues, timers and retransmissions stand between.
        let owner = fields.nth(5)?;
        wanted.iter().any(|wanted| wanted == local).then(|| owner.parse().ok()).flatten()
    })
}

/// Formats an address as the kernel does: words of four bytes in native byte order, and the port.
fn spelled(address: SocketAddr) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    for word in octets.chunks_exact(4) {
        let word = word.try_into().map_or(0, u32::from_ne_bytes);
        let _ = write!(text, "{word:08X}");
    }
    format!("{text}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_stands_in_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n\
             1: 0100007F:C001 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 2 1\n";
        if cfg!(target_endian = "little") {
            assert_eq!(owner(table, "127.0.0.1:49153".parse().unwrap()), Some(1000));
            assert_eq!(owner(table, "127.0.0.1:8080".parse().unwrap()), Some(0));
            assert_eq!(owner(table, "127.0.0.1:49154".parse().unwrap()), None);
            assert_eq!(spelled("[::1]:80".parse().unwrap()), "00000000000000000000000001000000:0050");
        }
    }

    #[test]
    fn a_connection_of_ones_own_is_not_somebody_elses() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(!is_somebody_else(client.local_addr().unwrap()));
        if let Ok(table) = std::fs::read_to_string("/proc/net/tcp") {
            let me = rustix::process::geteuid().as_raw();
            assert_eq!(owner(&table, client.local_addr().unwrap()), Some(me));
        }
        // The same for an IPv6 address, if this machine has those.
        let mapped =
            listener.local_addr().map(|at| (std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped(), at.port()));
        if let (Ok(client), Ok(table)) =
            (std::net::TcpStream::connect(mapped.unwrap()), std::fs::read_to_string("/proc/net/tcp6"))
        {
            let (_, peer) = (listener.accept().unwrap(), listener.accept().unwrap().1);
            let me = rustix::process::geteuid().as_raw();
            assert_eq!(owner(&table, peer), Some(me), "{client:?}");
        }
    }
}
