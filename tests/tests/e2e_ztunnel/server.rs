//! The server pod: answers each question with the number in it and the address it saw, which is the waypoint's where there
//! was one.

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};

use anyhow::Result;

use super::line::{answer, read_line, read_question};
use super::listener::Listener;
use super::mesh::{Family, SERVER_PORT};
use super::network::Namespace;

/// Serves until it is dropped.
pub(crate) fn serve(pod: &Namespace) -> Result<Listener> {
    let address = match pod.family {
        Family::V4 => SocketAddr::from((Ipv4Addr::UNSPECIFIED, SERVER_PORT)),
        Family::V6 => SocketAddr::from((Ipv6Addr::UNSPECIFIED, SERVER_PORT)),
    };
    Listener::start("server", pod, address, |stream| {
        // Who was not answered says so.
        let _unanswered = reply(stream);
    })
}

fn reply(mut stream: TcpStream) -> Result<()> {
    let via = stream.peer_addr()?.ip();
    let connection = read_question(&read_line(&mut stream)?)?;
    Ok(stream.write_all(&answer(connection, via))?)
}
