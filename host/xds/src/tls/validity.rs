//! When a certificate is valid: two times, read from its bytes. Nothing else of it is looked at here; whether it is good
//! is for the TLS library to say.

use tokio_rustls::rustls::pki_types::CertificateDer;
use yasna::{ASN1Error, ASN1ErrorKind, ASN1Result, BERReader, Tag};

/// From when until when, in seconds since 1970, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: i64,
    pub(super) until: i64,
}

impl Validity {
    /// Whether that is now.
    pub(super) fn holds(self, now: i64) -> bool {
        (self.from..=self.until).contains(&now)
    }
}

/// Nothing if it cannot be read.
pub(super) fn of(certificate: &CertificateDer<'static>) -> Option<Validity> {
    yasna::parse_der(certificate, |outer| {
        outer.read_sequence(|outer| {
            let validity = outer.next().read_sequence(|body| {
                // RFC 5280, section 4.1: version, serial number, signature, issuer, validity, and more.
                body.read_optional(|version| version.read_tagged(Tag::context(0), |it| it.read_u8()))?;
                body.next().read_bigint_bytes().map(drop)?;
                body.next().read_der().map(drop)?;
                body.next().read_der().map(drop)?;
                let validity = body
                    .next()
                    .read_sequence(|times| Ok(Validity { from: time(times.next())?, until: time(times.next())? }))?;
                while body.read_optional(|it| it.read_der())?.is_some() {}
                Ok(validity)
            })?;
            outer.next().read_der().map(drop)?;
            outer.next().read_der().map(drop)?;
            Ok(validity)
        })
    })
    .ok()
}

/// Two digits for the year until 2049, four from then on.
fn time(reader: BERReader<'_, '_>) -> ASN1Result<i64> {
    match reader.lookahead_tag()? {
        yasna::tags::TAG_UTCTIME => reader.read_utctime().map(|it| it.datetime().unix_timestamp()),
        yasna::tags::TAG_GENERALIZEDTIME => reader.read_generalized_time().map(|it| it.datetime().unix_timestamp()),
        _ => Err(ASN1Error::new(ASN1ErrorKind::Invalid)),
    }
}
