//! One token, in a file that agent and ztunnel share: for a node where no Kubernetes issues tokens.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::{AuthError, Identity, Refused, TOKEN_BYTES_MAX, Token, TokenVerifier, Verdict};
use crate::files::{Folder, Readers, read_file};
use crate::reload::{Reloaded, Source};

/// The file of a token that was made here, in the folder that was given.
pub const TOKEN_FILE: &str = "token";

/// Bytes of a token in a file: shorter ones could be guessed.
pub(super) const TOKEN_BYTES_MIN: usize = 16;
/// Bytes of a token that was made here, before they are written as text.
const RANDOM_BYTES: usize = 32;
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Verifies that a token is the one in a file.
pub struct StaticToken {
    token: Reloaded<TokenFile>,
    identity: Identity,
}

/// The token as it is kept in memory: not itself, but something it can be recognised by in the same time whatever it is.
struct Mark {
    key: hmac::Key,
    tag: hmac::Tag,
}

struct TokenFile {
    path: PathBuf,
    key: hmac::Key,
}

impl Source for TokenFile {
    type Value = Mark;
    type Error = AuthError;
    const WHAT: &'static str = "the token of ztunnel";

    fn read(&self) -> Result<Vec<Vec<u8>>, AuthError> {
        Ok(vec![read_file(&self.path, TOKEN_BYTES_MAX as u64 + 2)?])
    }

    fn parse(&self, contents: &[Vec<u8>]) -> Result<Mark, AuthError> {
        let wrong = || AuthError::Token { path: self.path.clone() };
        let contents = contents.concat();
        // A line's end is not part of it.
        let text = std::str::from_utf8(&contents).map_err(|_| wrong())?.trim_ascii_end();
        if text.len() < TOKEN_BYTES_MIN || Token::new(text).is_err() {
            return Err(wrong());
        }
        Ok(Mark { key: self.key.clone(), tag: hmac::sign(&self.key, text.as_bytes()) })
    }
}

impl StaticToken {
    /// The token in this file, at least 16 visible characters. It is looked at again when a token comes, at most once a
    /// second; an unusable one does not replace the one before. Whoever has it is taken for `identity`.
    ///
    /// # Errors
    /// If there is no usable token to begin with.
    pub fn from_file(path: &Path, identity: Identity) -> Result<Self, AuthError> {
        Self::new(path, identity, LOOK_EVERY)
    }

    /// The token in [`TOKEN_FILE`] of this folder, made if there is none: 256 random bits, in a file with mode 0600. The
    /// folder is made with mode 0700; one that is open to others is refused.
    ///
    /// # Errors
    /// If the folder cannot be used, or what is in the file.
    pub fn made_in(folder: &Path, identity: Identity) -> Result<Self, AuthError> {
        let folder = Folder::open(folder, Readers::Owner)?;
        let path = folder.path(TOKEN_FILE);
        if folder.read(TOKEN_FILE, TOKEN_BYTES_MAX as u64 + 2)?.is_none() {
            let _lock = folder.lock()?;
            // Another agent may have made it meanwhile.
            if folder.read(TOKEN_FILE, TOKEN_BYTES_MAX as u64 + 2)?.is_none() {
                let mut random = [0; RANDOM_BYTES];
                SystemRandom::new().fill(&mut random).map_err(|_| AuthError::Random { path: path.clone() })?;
                folder.write(TOKEN_FILE, URL_SAFE_NO_PAD.encode(random).as_bytes())?;
                tracing::info!(path = %path.display(), "made a token for ztunnel");
            }
        }
        Self::from_file(&path, identity)
    }

    pub(super) fn new(path: &Path, identity: Identity, every: Duration) -> Result<Self, AuthError> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| AuthError::Random { path: path.into() })?;
        Ok(Self { token: Reloaded::new(TokenFile { path: path.into(), key }, every)?, identity })
    }

    fn check(&self, token: &Token) -> Result<Identity, Refused> {
        let mark = self.token.get();
        // Takes as long wherever they differ.
        hmac::verify(&mark.key, token.secret().as_bytes(), mark.tag.as_ref()).map_err(|_| Refused::Other)?;
        Ok(self.identity.clone())
    }
}

impl TokenVerifier for StaticToken {
    fn verify<'a>(&'a self, token: &'a Token) -> Verdict<'a> {
        Box::pin(std::future::ready(self.check(token)))
    }

    fn problem(&self) -> Option<String> {
        self.token.problem()
    }
}
