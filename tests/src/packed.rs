//! Bytes as a ConfigMap holds them.

use std::io::Write as _;

use base64::Engine as _;

/// Packed with gzip.
///
/// # Errors
/// Of the packer.
pub fn gzip(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(bytes)?;
    Ok(packed.finish()?)
}

/// As `binaryData` has them.
pub fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
