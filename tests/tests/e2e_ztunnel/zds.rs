//! Announces the pods to every ztunnel that connects, as the mesh's CNI agent would: one protobuf message a packet, each
//! answered before the next, and with each pod its network namespace. Pods do not come or go afterwards.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, accept_with, bind, listen, recv, sendmsg, socket_with,
};

use super::mesh::{NAMESPACE, Pod};
use super::network::Namespace;

/// How often the listener looks whether it should stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// ztunnel binds its listeners before it answers; more than this is a hang.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// Both sides read packets of at most this size.
const PACKET_BYTES_MAX: usize = 1024;

/// Fields of `istio.workload.zds`.
mod field {
    pub(super) const REQUEST_ADD: u8 = 1;
    pub(super) const REQUEST_SNAPSHOT_SENT: u8 = 3;
    pub(super) const ADD_UID: u8 = 1;
    pub(super) const ADD_INFO: u8 = 2;
    pub(super) const INFO_NAME: u8 = 1;
    pub(super) const INFO_NAMESPACE: u8 = 2;
    pub(super) const INFO_ACCOUNT: u8 = 3;
}
/// `ZdsHello` with version 1.
const HELLO: [u8; 2] = [0x08, 0x01];
/// `WorkloadResponse` with an `Ack` without an error.
const ACK: [u8; 2] = [0x0a, 0x00];

/// The announcer; dropping it ends it.
pub(crate) struct Zds {
    stop: Arc<AtomicBool>,
    announced: Receiver<Result<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Zds {
    /// Listens at `path`.
    pub(crate) fn listen(path: &Path, pods: Vec<(Pod, Arc<Namespace>)>) -> Result<Self> {
        let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        bind(&listener, &SocketAddrUnix::new(path)?).with_context(|| format!("cannot listen at {}", path.display()))?;
        listen(&listener, 8)?;
        set_socket_timeout(&listener, Timeout::Recv, Some(LOOK_EVERY))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, announced) = channel();
        let stopped = Arc::clone(&stop);
        let work = move || serve(&listener, &pods, &tell, &stopped);
        let thread = thread::Builder::new().name("zds".to_owned()).spawn(work)?;
        Ok(Self { stop, announced, thread: Some(thread) })
    }

    /// What went wrong with a ztunnel so far, for a failure.
    pub(crate) fn complaint(&self) -> String {
        let results: Vec<Result<()>> = self.announced.try_iter().collect();
        match results.iter().find_map(|result| result.as_ref().err()) {
            Some(error) => format!("it did not take the pods: {error:#}"),
            None if results.is_empty() => "it did not ask for the pods".to_owned(),
            None => "it took the pods".to_owned(),
        }
    }
}

impl Drop for Zds {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed, and showed as an announcer that ended.
            let _panicked = thread.join();
        }
    }
}

fn serve(listener: &OwnedFd, pods: &[(Pod, Arc<Namespace>)], tell: &Sender<Result<()>>, stop: &AtomicBool) {
    // Kept open: a connection that ends makes ztunnel announce itself anew.
    let mut connections = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match accept_with(listener, SocketFlags::CLOEXEC) {
            Ok(connection) => {
                let result = announce(&connection, pods);
                connections.push(connection);
                if tell.send(result).is_err() {
                    return;
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => {
                let _nobody_waits = tell.send(Err(error).context("no connection can be accepted"));
                return;
            }
        }
    }
}

fn announce(connection: &OwnedFd, pods: &[(Pod, Arc<Namespace>)]) -> Result<()> {
    set_socket_timeout(connection, Timeout::Recv, Some(ANSWER_TIME_MAX))?;
    ensure!(packet(connection)? == HELLO, "its first message is not the greeting of version 1");
    for (pod, namespace) in pods {
        request(connection, &add(pod), Some(namespace)).with_context(|| format!("it refuses {}", pod.name))?;
    }
    let snapshot_sent = message(field::REQUEST_SNAPSHOT_SENT, &[]);
    request(connection, &snapshot_sent, None).context("it refuses the end of the list")
}

fn request(connection: &OwnedFd, bytes: &[u8], namespace: Option<&Arc<Namespace>>) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut attached = SendAncillaryBuffer::new(&mut space);
    let handles: Vec<_> = namespace.iter().map(|namespace| namespace.as_fd()).collect();
    if !handles.is_empty() {
        ensure!(attached.push(SendAncillaryMessage::ScmRights(&handles)), "no room for a namespace");
    }
    sendmsg(connection, &[IoSlice::new(bytes)], &mut attached, SendFlags::NOSIGNAL)?;
    let answer = packet(connection)?;
    ensure!(answer == ACK, "it answers {:?}", String::from_utf8_lossy(&answer));
    Ok(())
}

fn packet(connection: &OwnedFd) -> Result<Vec<u8>> {
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    let (_, length) = recv(connection, &mut buffer, RecvFlags::empty()).context("no answer")?;
    ensure!(length > 0, "it closed the connection");
    buffer.truncate(length);
    Ok(buffer)
}

fn add(pod: &Pod) -> Vec<u8> {
    let mut info = message(field::INFO_NAME, pod.name.as_bytes());
    info.extend(message(field::INFO_NAMESPACE, NAMESPACE.as_bytes()));
    info.extend(message(field::INFO_ACCOUNT, pod.account().as_bytes()));
    let mut add = message(field::ADD_UID, pod.zds_uid().as_bytes());
    add.extend(message(field::ADD_INFO, &info));
    message(field::REQUEST_ADD, &add)
}

/// A field with a length; all of ours are far below 128 bytes but the outermost, so two bytes are always written.
fn message(number: u8, content: &[u8]) -> Vec<u8> {
    let low = u8::try_from(content.len() & 0x7f).unwrap_or(0);
    let high = u8::try_from(content.len() >> 7).unwrap_or(u8::MAX);
    // Overlong integers are valid, and a packet has at most 1024 bytes.
    let mut bytes = vec![number << 3 | 2, low | 0x80, high];
    bytes.extend(content);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_its_number_and_its_length() {
        assert_eq!(message(2, b"ab"), [0x12, 0x82, 0, b'a', b'b']);
        assert_eq!(message(1, &[7; 300])[..3], [0x0a, 0xac, 2]);
    }
}
