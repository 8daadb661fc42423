//! Tokens that are good and every way in which they are not, signed with real keys of both kinds.
//! What the server does with a refusal is not tested here.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, KeyPair as _, RsaKeyPair, RsaPublicKeyComponents};
use serde_json::{Value, json};

use super::*;

/// The time in these tests.
const NOW: u64 = 1_800_000_000;
const NODE: &str = "node-a";
/// A key that signs nothing outside these tests.
const RSA_KEY: &[u8] = include_bytes!("testdata/rsa-for-tests-only.der");

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn ec_key() -> EcdsaKeyPair {
    let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &SystemRandom::new()).unwrap()
}

fn ec_jwk(key: &EcdsaKeyPair, kid: &str) -> Value {
    let point = key.public_key().as_ref();
    json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid,
        "x": base64(&point[1..33]), "y": base64(&point[33..])})
}

fn rsa_public(key: &RsaKeyPair) -> RsaPublicKeyComponents<Vec<u8>> {
    key.public().into()
}

fn rsa_jwk(key: &RsaKeyPair, kid: &str) -> Value {
    let public = rsa_public(key);
    json!({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid, "n": base64(public.n), "e": base64(public.e)})
}

fn claims() -> Value {
    json!({
        "aud": ["istio-ca"],
        "exp": NOW + 3600,
        "iat": NOW,
        "iss": "https://kubernetes.default.svc",
        "jti": "7a1b0e6c",
        "kubernetes.io": {
            "namespace": "istio-system",
            "node": {"name": NODE, "uid": "9d0c"},
            "pod": {"name": "ztunnel-x7k2p", "uid": "51f2"},
            "serviceaccount": {"name": "ztunnel", "uid": "c0de"}
        },
        "nbf": NOW,
        "sub": "system:serviceaccount:istio-system:ztunnel"
    })
}

/// The claims with some of them replaced, or with null removed.
fn claims_with(changes: Value) -> Value {
    fn change(to: &mut Value, by: Value) {
        match (to, by) {
            (Value::Object(to), Value::Object(by)) => {
                for (name, by) in by {
                    if by.is_null() {
                        to.remove(&name);
                    } else {
                        change(to.entry(name).or_insert(Value::Null), by);
                    }
                }
            }
            (to, by) => *to = by,
        }
    }
    let mut claims = claims();
    change(&mut claims, changes);
    claims
}

/// An issuer with one key of each kind, and what it signed.
struct Issuer {
    ec: EcdsaKeyPair,
    rsa: RsaKeyPair,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Issuer {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jwks.json");
        let issuer = Self { ec: ec_key(), rsa: RsaKeyPair::from_der(RSA_KEY).unwrap(), file, _folder: folder };
        issuer.publish(&json!({"keys": [ec_jwk(&issuer.ec, "ec"), rsa_jwk(&issuer.rsa, "rsa")]}));
        issuer
    }

    fn publish(&self, keys: &Value) {
        std::fs::write(&self.file, keys.to_string()).unwrap();
    }

    fn verifier(&self) -> IssuerKeys {
        let expected = Expected::of_istio("https://kubernetes.default.svc", NODE);
        IssuerKeys::new(&self.file, expected, Duration::ZERO, now).unwrap()
    }

    /// A token with this header and these claims, signed with the key that the header's algorithm is for.
    fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(header, &claims.to_string())
    }

    fn sign_text(&self, header: &Value, claims: &str) -> String {
        let signed = format!("{}.{}", base64(header.to_string()), base64(claims));
        let signature = match header["alg"].as_str() {
            Some("RS256") => {
                let mut signature = vec![0; self.rsa.public().modulus_len()];
                let padding = &signature::RSA_PKCS1_SHA256;
                self.rsa.sign(padding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
                signature
            }
            _ => self.ec.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{signed}.{}", base64(signature))
    }
}

fn verify(verifier: &dyn TokenVerifier, token: &str) -> Result<Identity, Refused> {
    let token = Token::new(token)?;
    let mut verdict = verifier.verify(&token);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match verdict.as_mut().poll(&mut context) {
        std::task::Poll::Ready(verdict) => verdict,
        std::task::Poll::Pending => panic!("has nothing to wait for"),
    }
}

/// What becomes of claims that are signed as they should be.
fn judged(claims: &Value) -> Result<Identity, Refused> {
    let issuer = Issuer::new();
    verify(&issuer.verifier(), &issuer.sign(&json!({"alg": "ES256", "kid": "ec"}), claims))
}

#[test]
fn a_token_of_ztunnel_is_good_by_either_algorithm() {
    let issuer = Issuer::new();
    let verifier = issuer.verifier();
    for (alg, kid) in [("ES256", "ec"), ("RS256", "rsa")] {
        let token = issuer.sign(&json!({"alg": alg, "kid": kid, "typ": "JWT"}), &claims());
        let identity = verify(&verifier, &token).unwrap();
        assert_eq!(identity.to_string(), "istio-system/ztunnel, pod ztunnel-x7k2p, node node-a");
    }
}

#[test]
fn a_token_without_pod_or_node_is_good_and_says_less() {
    let identity = judged(&claims_with(json!({"kubernetes.io": {"pod": null, "node": null}}))).unwrap();
    assert_eq!((identity.pod, identity.node), (None, None));
    assert!(judged(&claims_with(json!({"nbf": null, "aud": "istio-ca"}))).is_ok());
}

#[test]
fn times_hold_with_a_minute_of_leeway_and_not_more() {
    for (exp, ago) in [(NOW - 59, None), (NOW - 60, Some(60)), (NOW - 3600, Some(3600)), (0, Some(NOW))] {
        let expected = ago.map(|ago| Refused::Expired { ago });
        assert_eq!(judged(&claims_with(json!({"exp": exp}))).err(), expected, "exp {exp}");
    }
    for (nbf, wait) in [(NOW + 60, None), (NOW + 61, Some(61)), (u64::MAX, Some(u64::MAX - NOW))] {
        let expected = wait.map(|wait| Refused::NotYet { wait });
        assert_eq!(judged(&claims_with(json!({"nbf": nbf}))).err(), expected, "nbf {nbf}");
    }
    assert!(judged(&claims_with(json!({"exp": u64::MAX}))).is_ok());
}

#[test]
fn what_another_issuer_audience_account_or_node_was_given_is_refused() {
    let quoted = Quoted::new;
    let rows = [
        (json!({"iss": "https://other"}), Refused::Issuer { issuer: quoted("https://other") }),
        (json!({"aud": ["vault", "api"]}), Refused::Audience { audience: quoted("vault") }),
        (json!({"aud": []}), Refused::Audience { audience: quoted("") }),
        (json!({"aud": "istio-ca-2"}), Refused::Audience { audience: quoted("istio-ca-2") }),
        (
            json!({"kubernetes.io": {"node": {"name": "node-b"}}}),
            Refused::Node(WrongNode::Token { found: quoted("node-b"), here: NODE.into() }),
        ),
        (
            json!({"kubernetes.io": {"serviceaccount": {"name": "default"}}, "sub": "system:serviceaccount:istio-system:default"}),
            Refused::ServiceAccount { found: quoted("istio-system/default, pod ztunnel-x7k2p, node node-a") },
        ),
        (
            json!({"kubernetes.io": {"namespace": "evil"}, "sub": "system:serviceaccount:evil:ztunnel"}),
            Refused::ServiceAccount { found: quoted("evil/ztunnel, pod ztunnel-x7k2p, node node-a") },
        ),
    ];
    for (changes, refused) in rows {
        assert_eq!(judged(&claims_with(changes.clone())), Err(refused), "{changes}");
    }
}

#[test]
fn a_claim_that_is_missing_or_of_another_type_is_named() {
    for claim in ["iss", "aud", "sub", "exp", "kubernetes.io"] {
        assert_eq!(judged(&claims_with(json!({claim: null}))), Err(Refused::Claim { claim }), "without {claim}");
        for value in [json!(true), json!({"a": 1}), json!([1, 2]), json!(-1), json!(1.5)] {
            assert_eq!(judged(&claims_with_value(claim, &value)), Err(Refused::Claim { claim }), "{claim} = {value}");
        }
    }
    assert_eq!(judged(&claims_with_value("exp", &json!("1800003600"))), Err(Refused::Claim { claim: "exp" }));
    assert_eq!(judged(&claims_with_value("nbf", &json!("soon"))), Err(Refused::Claim { claim: "nbf" }));
    assert_eq!(
        judged(&claims_with(json!({"sub": "system:serviceaccount:istio-system:other"}))),
        Err(Refused::Claim { claim: "sub" })
    );
    let part = claims_with(json!({"kubernetes.io": {"serviceaccount": null}}));
    assert_eq!(judged(&part), Err(Refused::Claim { claim: "kubernetes.io" }));
}

fn claims_with_value(name: &str, value: &Value) -> Value {
    let mut claims = claims();
    claims[name] = value.clone();
    claims
}

#[test]
fn no_algorithm_and_a_public_key_as_a_secret_are_refused() {
    let issuer = Issuer::new();
    let verifier = issuer.verifier();
    for alg in ["none", "None", "NONE", "", "HS256", "RS512", "ES384", "PS256", "EdDSA"] {
        let header = json!({"alg": alg, "kid": "rsa"});
        let refused = Err(Refused::Algorithm { algorithm: Quoted::new(alg) });
        assert_eq!(verify(&verifier, &issuer.sign(&header, &claims())), refused, "{alg}");
        let unsigned = format!("{}.{}.", base64(header.to_string()), base64(claims().to_string()));
        assert_eq!(verify(&verifier, &unsigned), refused, "{alg} without a signature");
    }
    // The confusion itself: an HMAC whose secret is the public key as it is published, under either name.
    let modulus = rsa_public(&issuer.rsa).n;
    let published = rsa_jwk(&issuer.rsa, "rsa").to_string();
    for secret in [modulus, STANDARD.encode(issuer.rsa.public().as_ref()).into(), published.into()] {
        for alg in ["HS256", "RS256", "ES256"] {
            let kid = if alg == "ES256" { "ec" } else { "rsa" };
            let signed =
                format!("{}.{}", base64(json!({"alg": alg, "kid": kid}).to_string()), base64(claims().to_string()));
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
            let refused = verify(&verifier, &format!("{signed}.{}", base64(tag))).unwrap_err();
            assert!(matches!(refused, Refused::Algorithm { .. } | Refused::Signature), "{alg}: {refused}");
        }
    }
}

#[test]
fn a_key_signs_only_what_it_is_for_and_under_its_name() {
    let issuer = Issuer::new();
    let verifier = issuer.verifier();
    let refused = |header: Value| verify(&verifier, &issuer.sign(&header, &claims())).unwrap_err();
    let unknown = |kid: &str| Refused::UnknownKey { key: Quoted::new(kid) };
    assert_eq!(refused(json!({"alg": "ES256", "kid": "nobody's"})), unknown("nobody's"));
    assert_eq!(refused(json!({"alg": "ES256", "kid": "rsa"})), unknown("rsa"));
    assert_eq!(refused(json!({"alg": "RS256", "kid": "ec"})), unknown("ec"));
    assert_eq!(refused(json!({"alg": "ES256"})), Refused::Malformed("it names no key"));
    let critical = json!({"alg": "ES256", "kid": "ec", "crit": ["b64"], "b64": false});
    assert_eq!(refused(critical), Refused::Malformed("the header has critical extensions"));

    // Another issuer's key under a name that is known.
    let other = Issuer::new();
    let token = other.sign(&json!({"alg": "ES256", "kid": "ec"}), &claims());
    assert_eq!(verify(&verifier, &token), Err(Refused::Signature));
}

#[test]
fn a_token_that_was_cut_or_changed_is_refused_at_every_place() {
    let issuer = Issuer::new();
    let verifier = issuer.verifier();
    for (alg, kid) in [("ES256", "ec"), ("RS256", "rsa")] {
        let token = issuer.sign(&json!({"alg": alg, "kid": kid}), &claims());
        for end in 0..token.len() {
            assert!(verify(&verifier, &token[..end]).is_err(), "{alg} cut at {end}");
        }
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(verify(&verifier, std::str::from_utf8(&changed).unwrap()).is_err(), "{alg} changed at {at}");
        }
        assert!(verify(&verifier, &format!("{token}.")).is_err());
        assert!(verify(&verifier, &format!("{token}=")).is_err());
        assert!(verify(&verifier, &format!("{token}.{token}")).is_err());
    }
}

#[test]
fn parts_that_are_no_json_or_say_a_thing_twice_are_refused() {
    let issuer = Issuer::new();
    let verifier = issuer.verifier();
    let header = json!({"alg": "ES256", "kid": "ec"});
    let twice = claims().to_string().replacen('{', r#"{"exp":1,"#, 1);
    for payload in ["", "null", "[]", "\"text\"", "{", "\u{feff}{}", &twice, &"[".repeat(9000)] {
        let refused = verify(&verifier, &issuer.sign_text(&header, payload)).unwrap_err();
        assert!(matches!(refused, Refused::Malformed(_)), "{payload:.20}: {refused}");
    }
    for header in [json!(null), json!([]), json!({"kid": "ec"}), json!({"alg": 1, "kid": "ec"})] {
        let refused = verify(&verifier, &issuer.sign(&header, &claims())).unwrap_err();
        assert!(matches!(refused, Refused::Malformed(_)), "{header}: {refused}");
    }
}

#[test]
fn a_megabyte_is_not_even_looked_at() {
    let megabyte = "a".repeat(1 << 20);
    assert_eq!(Token::new(&megabyte).err(), Some(Refused::TooLong { bytes: 1 << 20 }));
    let mut metadata = MetadataMap::new();
    metadata.insert("authorization", format!("Bearer {megabyte}").parse().unwrap());
    assert!(bearer(&metadata).is_none());
    assert!(Token::new(&"a".repeat(TOKEN_BYTES_MAX)).is_ok());
}

#[test]
fn keys_are_replaced_when_the_file_is_and_a_broken_one_is_not_taken() {
    let issuer = Issuer::new();
    let verifier = issuer.verifier();
    let token = issuer.sign(&json!({"alg": "ES256", "kid": "ec"}), &claims());
    assert!(verify(&verifier, &token).is_ok());
    for broken in ["", "{", "[]", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AA","kid":"ec"}]}"#] {
        std::fs::write(&issuer.file, broken).unwrap();
        assert!(verify(&verifier, &token).is_ok(), "{broken}");
        assert!(verifier.problem().is_some(), "{broken}");
    }
    issuer.publish(&json!({"keys": [ec_jwk(&ec_key(), "ec-2")]}));
    assert_eq!(verify(&verifier, &token), Err(Refused::UnknownKey { key: Quoted::new("ec") }));
    assert_eq!(verifier.problem(), None);
}

#[test]
fn a_key_set_is_bounded_and_says_what_is_wrong_with_it() {
    let path = Path::new("jwks.json");
    let parse = |value: Value| keys::Keys::parse(value.to_string().as_bytes(), path).map(drop);
    let good = ec_jwk(&ec_key(), "ec");
    assert!(parse(json!({"keys": vec![good.clone(); 64]})).is_ok());
    assert!(matches!(parse(json!({"keys": vec![good.clone(); 65]})), Err(AuthError::TooManyKeys { found: 65, .. })));
    // Keys of other kinds are passed over.
    assert!(parse(json!({"keys": [{"kty": "OKP", "kid": "1"}, 7, null, good.clone()]})).is_ok());

    let small = json!({"kty": "RSA", "kid": "1", "n": base64([255; 128]), "e": "AQAB"});
    let mut rows = vec![(small, "it does not have 2048 to 8192 bits"), (json!(7), "not a key")];
    for (name, value, why) in [
        ("kid", Value::Null, "it has no kid"),
        ("use", json!("enc"), "it is not for signatures"),
        ("alg", json!("RS256"), "it is for another algorithm"),
        ("alg", json!("HS256"), "it is for another algorithm"),
        ("crv", json!("P-384"), "its curve is not P-256"),
        ("x", json!("AA"), "its point is not two numbers of 32 bytes"),
        ("kty", json!("oct"), "it is neither RSA nor EC"),
    ] {
        let mut key = good.clone();
        key[name] = value;
        rows.push((key, why));
    }
    for (key, expected) in rows {
        match parse(json!({"keys": [key]})) {
            Err(AuthError::NoKey { first: Some(why), .. }) => assert_eq!(why, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large");
    std::fs::write(&large, vec![b' '; (1 << 20) + 1]).unwrap();
    let refused = IssuerKeys::from_file(&large, Expected::of_istio("i", NODE)).err();
    assert!(matches!(refused, Some(AuthError::File(FileError::TooLarge { .. }))), "{refused:?}");
}

#[test]
fn the_bearer_token_is_the_one_of_the_request() {
    let of = |values: &[&str]| {
        let mut metadata = MetadataMap::new();
        for value in values {
            metadata.append("authorization", value.parse().unwrap());
        }
        bearer(&metadata).map(|it| it.secret().to_owned())
    };
    assert_eq!(of(&["Bearer abc"]).as_deref(), Some("abc"));
    assert_eq!(of(&["bearer  abc"]).as_deref(), Some("abc"));
    for none in [&[][..], &[""], &["abc"], &["Bearer"], &["Bearer "], &["Basic abc"], &["Bearer a b"]] {
        assert_eq!(of(none), None, "{none:?}");
    }
    assert_eq!(of(&["Bearer abc", "Bearer def"]), None, "which one is meant?");
}

#[test]
fn nothing_that_is_printed_holds_a_token() {
    let issuer = Issuer::new();
    let text = issuer.sign(&json!({"alg": "ES256", "kid": "ec"}), &claims_with(json!({"aud": "other"})));
    let token = Token::new(&text).unwrap();
    let refused = verify(&issuer.verifier(), &text).unwrap_err();
    for printed in [format!("{token:?}"), format!("{refused:?} {refused}"), format!("{:?}", refused.status())] {
        for part in text.split('.') {
            assert!(!printed.contains(part), "{printed}");
        }
    }
    assert_eq!(refused.status().message(), "unauthenticated");
}

#[test]
fn what_is_quoted_of_a_token_is_short_and_without_control_characters() {
    let text = Quoted::new(&format!("\n\u{1b}[31m{}", "x".repeat(1000))).to_string();
    assert!(text.len() < 100 && !text.contains(char::is_control), "{text}");
}

fn static_identity() -> Identity {
    Identity { namespace: "istio-system".into(), service_account: "ztunnel".into(), pod: None, node: None }
}

#[test]
fn a_static_token_is_made_once_and_only_it_is_good() {
    use std::os::unix::fs::PermissionsExt as _;
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("token");
    let verifier = StaticToken::made_in(&folder, static_identity()).unwrap();
    let file = folder.join(TOKEN_FILE);
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!((text.len(), std::fs::metadata(&file).unwrap().permissions().mode() & 0o777), (43, 0o600));
    assert_eq!(verify(&verifier, &text), Ok(static_identity()));
    for other in [&text[..42], &format!("{text}A"), &text.to_lowercase(), "token", &"x".repeat(43)] {
        assert_eq!(verify(&verifier, other), Err(Refused::Other), "{other}");
    }
    let again = StaticToken::made_in(&folder, static_identity()).unwrap();
    assert_eq!(verify(&again, &text), Ok(static_identity()), "kept over a restart");
    let elsewhere = StaticToken::made_in(&above.path().join("other"), static_identity()).unwrap();
    assert_eq!(verify(&elsewhere, &text), Err(Refused::Other), "every node has its own");
}

#[test]
fn a_static_token_is_read_again_and_an_unusable_one_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "the-first-token-there-is\n").unwrap();
    let verifier = StaticToken::new(&path, static_identity(), Duration::ZERO).unwrap();
    assert!(verify(&verifier, "the-first-token-there-is").is_ok());
    let large = "a".repeat(20_000);
    for unusable in [
        "",
        "\n",
        "short",
        "two words in one file here",
        "\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}",
        &large,
    ] {
        std::fs::write(&path, unusable).unwrap();
        assert!(verify(&verifier, "the-first-token-there-is").is_ok(), "{unusable:.20}");
        assert!(verifier.problem().is_some(), "{unusable:.20}");
        assert!(StaticToken::from_file(&path, static_identity()).is_err(), "{unusable:.20}");
    }
    std::fs::write(&path, "the-second-token-there-is").unwrap();
    assert_eq!(verify(&verifier, "the-first-token-there-is"), Err(Refused::Other));
    assert!(verify(&verifier, "the-second-token-there-is").is_ok());
}

#[test]
fn a_client_is_of_this_node_by_its_token_and_by_what_it_says() {
    let without = static_identity();
    let with = |node: &str| Identity { node: Some(node.into()), ..static_identity() };
    assert_eq!(check_node(&without, Some(NODE), NODE), Ok(()));
    assert_eq!(check_node(&with(NODE), Some(NODE), NODE), Ok(()));
    assert_eq!(check_node(&with(NODE), None, NODE), Err(WrongNode::Unsaid));
    assert_eq!(check_node(&without, Some(""), NODE), Err(WrongNode::Unsaid));
    let other = Quoted::new("node-b");
    let said = WrongNode::Said { found: other.clone(), here: NODE.into() };
    assert_eq!(check_node(&with(NODE), Some("node-b"), NODE), Err(said));
    let token = WrongNode::Token { found: other, here: NODE.into() };
    assert_eq!(check_node(&with("node-b"), Some(NODE), NODE), Err(token));
}
