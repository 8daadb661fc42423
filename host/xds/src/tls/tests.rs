//! Real handshakes over loopback, with certificates that are good and others.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{CertificateError, ClientConfig, ProtocolVersion, RootCertStore};
use tokio_stream::StreamExt as _;

use super::incoming::{Limits, incoming};
use super::*;

/// An authority, and the two files it fills.
pub(super) struct Operator {
    folder: tempfile::TempDir,
    ca: CertificateParams,
    ca_key: KeyPair,
    root: CertificateDer<'static>,
}

impl Operator {
    pub(super) fn new() -> Self {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = ca.self_signed(&ca_key).unwrap().der().clone();
        Self { folder: tempfile::tempdir().unwrap(), ca, ca_key, root }
    }

    pub(super) fn paths(&self) -> (PathBuf, PathBuf) {
        (self.folder.path().join("tls.crt"), self.folder.path().join("tls.key"))
    }

    /// Certificate and key as PEM, valid from and until so many seconds from now.
    fn issue_for(&self, name: &str, from: i64, until: i64) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds(SystemTime::now()).unsigned_abs());
        let shifted = |by: i64| {
            let by_abs = Duration::from_secs(by.unsigned_abs());
            if by < 0 { now - by_abs } else { now + by_abs }
        };
        (params.not_before, params.not_after) = (shifted(from), shifted(until));
        let certificate = params.signed_by(&key, &Issuer::from_params(&self.ca, &self.ca_key)).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    pub(super) fn install(&self, (certificate, key): &(String, String)) {
        std::fs::write(self.paths().0, certificate).unwrap();
        std::fs::write(self.paths().1, key).unwrap();
    }

    pub(super) fn issue(&self, name: &str) -> (String, String) {
        self.issue_for(name, -60, 3600)
    }

    /// A server with the files as they are, that looks at them each time.
    pub(super) fn server(&self, versions: Versions) -> Result<ServerTls, TlsError> {
        let (certificate, key) = self.paths();
        let files = pair::Files { certificate, key, now: SystemTime::now };
        ServerTls::new(Reloaded::new(files, Duration::ZERO)?, versions)
    }

    pub(super) fn client(&self) -> ClientConfig {
        client(&self.root, &[&TLS13])
    }
}

fn client(root: &CertificateDer<'static>, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![H2.into()];
    config
}

/// Listens, and sends back what comes on each connection.
pub(super) async fn serve(tls: &ServerTls, limits: Limits) -> (SocketAddr, Arc<incoming::Counters>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut connections = incoming(listener, tls, limits);
    let counters = connections.counters();
    tokio::spawn(async move {
        while let Some(connection) = connections.next().await {
            let mut connection = connection.unwrap();
            tokio::spawn(async move {
                let mut byte = [0];
                while connection.read_exact(&mut byte).await.is_ok() && connection.write_all(&byte).await.is_ok() {
                    connection.flush().await.unwrap();
                }
            });
        }
    });
    (address, counters)
}

pub(super) async fn connect(address: SocketAddr, config: ClientConfig, name: &str) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await
}

/// Whether what is sent comes back.
pub(super) async fn echoes(stream: &mut TlsStream<TcpStream>) -> bool {
    let mut byte = [0];
    stream.write_all(b"x").await.is_ok() && stream.read_exact(&mut byte).await.is_ok() && byte == *b"x"
}

fn certificate_error(error: io::Error) -> CertificateError {
    match error.into_inner().unwrap().downcast::<rustls::Error>().map(|it| *it) {
        Ok(rustls::Error::InvalidCertificate(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_connects_with_tls_1_3_and_http_2() {
    let operator = Operator::new();
    operator.install(&operator.issue("localhost"));
    let (address, counters) = serve(&operator.server(Versions::Tls13).unwrap(), Limits::default()).await;
    let mut stream = connect(address, operator.client(), "localhost").await.unwrap();
    assert!(echoes(&mut stream).await);
    let connection = stream.get_ref().1;
    assert_eq!(connection.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(connection.alpn_protocol(), Some(H2));
    // It echoed, so the handshake was counted.
    assert_eq!(counters.connected.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_client_refuses_another_name_and_another_authority() {
    let operator = Operator::new();
    operator.install(&operator.issue("localhost"));
    let (address, counters) = serve(&operator.server(Versions::Tls13).unwrap(), Limits::default()).await;
    let error = connect(address, operator.client(), "istiod.istio-system.svc").await.unwrap_err();
    assert!(matches!(certificate_error(error), CertificateError::NotValidForNameContext { .. }));
    let error = connect(address, Operator::new().client(), "localhost").await.unwrap_err();
    assert!(matches!(certificate_error(error), CertificateError::UnknownIssuer | CertificateError::BadSignature));
    // Others are served on.
    assert!(echoes(&mut connect(address, operator.client(), "localhost").await.unwrap()).await);
    while counters.failed.load(Ordering::Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_certificate_that_is_not_valid_now_is_refused_at_the_start() {
    let operator = Operator::new();
    for (from, until) in [(-7200, -3600), (3600, 7200)] {
        operator.install(&operator.issue_for("localhost", from, until));
        let refused = operator.server(Versions::Tls13).err();
        assert!(matches!(refused, Some(TlsError::NotNow { .. })), "{refused:?}");
    }
}

#[test]
fn files_that_are_no_pair_are_refused_with_path_and_reason() {
    let operator = Operator::new();
    let good = operator.issue("localhost");
    let (certificate, key) = operator.paths();
    let refused = || operator.server(Versions::Tls13).map(drop).unwrap_err();
    assert!(matches!(refused(), TlsError::File(FileError::Io { path, .. }) if path == certificate));
    let broken = "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n".to_owned();
    for (damaged, expected) in [
        ((String::new(), good.1.clone()), "no usable certificates in"),
        ((broken, good.1.clone()), "no usable certificates in"),
        ((good.1.clone(), good.1.clone()), "no usable certificates in"),
        ((good.0.clone(), String::new()), "no usable private key in"),
        ((good.0.clone(), good.0.clone()), "no usable private key in"),
        ((good.0.clone(), operator.issue("localhost").1), "does not go with the key in"),
    ] {
        operator.install(&damaged);
        let text = refused().to_string();
        assert!(text.contains(expected) && text.contains(certificate.parent().unwrap().to_str().unwrap()), "{text}");
        assert!(!text.contains(good.1.lines().nth(1).unwrap()), "a key in an error: {text}");
    }
    operator.install(&good);
    std::fs::write(&key, vec![b'\n'; 300 << 10]).unwrap();
    assert!(matches!(refused(), TlsError::File(FileError::TooLarge { .. })));
}

#[tokio::test]
async fn a_new_certificate_is_served_at_once_and_open_connections_live_on() {
    let operator = Operator::new();
    let (first, second) = (operator.issue("localhost"), operator.issue("localhost"));
    operator.install(&first);
    let tls = operator.server(Versions::Tls13).unwrap();
    let (address, _) = serve(&tls, Limits::default()).await;
    let shown = |stream: &TlsStream<TcpStream>| stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let of = |pair: &(String, String)| CertificateDer::from_pem_slice(pair.0.as_bytes()).unwrap();

    let mut before = connect(address, operator.client(), "localhost").await.unwrap();
    assert_eq!(shown(&before), of(&first));
    operator.install(&second);
    let mut after = connect(address, operator.client(), "localhost").await.unwrap();
    assert_eq!(shown(&after), of(&second));

    // Half a change: the certificate, and not its key; then one whose time is over.
    for broken in [(operator.issue("localhost").0, second.1.clone()), operator.issue_for("localhost", -7200, -3600)] {
        operator.install(&broken);
        let mut stream = connect(address, operator.client(), "localhost").await.unwrap();
        assert_eq!(shown(&stream), of(&second));
        assert!(echoes(&mut stream).await);
        assert!(tls.problem().unwrap().contains("tls.crt"), "{:?}", tls.problem());
    }
    assert!(echoes(&mut before).await && echoes(&mut after).await);
    operator.install(&first);
    assert_eq!(shown(&connect(address, operator.client(), "localhost").await.unwrap()), of(&first));
    assert_eq!(tls.problem(), None);
}

#[tokio::test]
async fn tls_1_2_is_spoken_only_where_asked_for() {
    let operator = Operator::new();
    operator.install(&operator.issue("localhost"));
    let old = || client(&operator.root, &[&TLS12]);
    let (address, _) = serve(&operator.server(Versions::Tls13).unwrap(), Limits::default()).await;
    assert!(connect(address, old(), "localhost").await.is_err());
    let (address, _) = serve(&operator.server(Versions::Tls12And13).unwrap(), Limits::default()).await;
    assert!(echoes(&mut connect(address, old(), "localhost").await.unwrap()).await);
    let both = connect(address, client(&operator.root, &[&TLS12, &TLS13]), "localhost").await.unwrap();
    assert_eq!(both.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
}

#[tokio::test]
async fn a_client_without_http_2_gets_no_connection() {
    let operator = Operator::new();
    operator.install(&operator.issue("localhost"));
    let (address, _) = serve(&operator.server(Versions::Tls13).unwrap(), Limits::default()).await;
    for protocols in [vec![], vec![b"http/1.1".to_vec()]] {
        let mut config = operator.client();
        config.alpn_protocols = protocols;
        let connected = connect(address, config, "localhost").await;
        assert!(match connected {
            Ok(mut stream) => !echoes(&mut stream).await,
            Err(_) => true,
        });
    }
}

#[tokio::test]
async fn a_certificate_of_our_own_is_trusted_by_who_has_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let of = SelfSigned {
        private: folder.path().join("private"),
        shared: folder.path().join("shared"),
        names: ["localhost", "127.0.0.1", "::1", "wayswitch.istio-system.svc"].map(String::from).into(),
    };
    let tls = ServerTls::self_signed(&of, Versions::Tls13).unwrap();
    let (address, _) = serve(&tls, Limits::default()).await;
    let root = CertificateDer::from_pem_file(of.shared.join(ROOT_CERT)).unwrap();
    for name in &of.names {
        let mut stream = connect(address, client(&root, &[&TLS13]), name).await.unwrap();
        assert!(echoes(&mut stream).await, "{name}");
    }
    let error = connect(address, client(&root, &[&TLS13]), "elsewhere").await.unwrap_err();
    assert!(matches!(certificate_error(error), CertificateError::NotValidForNameContext { .. }));
    let days = (tls.valid_until().unwrap() - seconds(SystemTime::now())) / 86400;
    assert!((89..=90).contains(&days), "{days}");
}
