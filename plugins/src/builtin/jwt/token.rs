//! What a token must be to be accepted.

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::keys::Keys;

/// What a token says.
pub(super) type Claims = Map<String, Value>;

/// The longest token that is looked at. Header fields of a request are bounded by the gateway; tokens
/// over this are a mistake or an attack.
pub(super) const TOKEN_BYTES_MAX: usize = 8 << 10;

/// Signatures that are checked for a token that names none of the keys. Each costs CPU that a refused
/// client can ask for, up to 0.4 ms; issuers that name no keys have a few.
const UNNAMED_KEYS_TRIED_MAX: usize = 16;

/// Why a request is refused. For the log alone: the client learns none of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("there is no token")]
    NoToken,
    #[error("there are several tokens")]
    SeveralTokens,
    #[error("the token is over 8 KiB")]
    TooLong,
    #[error("the token is not ASCII")]
    NotAscii,
    #[error("the token has critical extensions")]
    Critical,
    #[error("its algorithm is not allowed")]
    Algorithm,
    #[error("no key fits its kid and algorithm")]
    UnknownKey,
    #[error("it has no claim {0:?}")]
    NoClaim(Box<str>),
    #[error("it is for an audience, and `audience` is not set")]
    Audience,
    #[error(transparent)]
    Invalid(#[from] Error),
}

/// The rules of one place in the configuration.
#[derive(Debug)]
pub(super) struct Checks {
    /// One for each algorithm allowed.
    validations: Vec<Validation>,
    required: Vec<Box<str>>,
    has_audience: bool,
}

/// What the configuration says of tokens.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) issuer: Option<Box<str>>,
    pub(super) audience: Vec<Box<str>>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) leeway_seconds: u64,
    pub(super) required: Vec<Box<str>>,
}

impl Checks {
    pub(super) fn new(rules: Rules) -> Self {
        let validation = |algorithm: &Algorithm| {
            let mut validation = Validation::new(*algorithm);
            validation.leeway = rules.leeway_seconds;
            validation.validate_nbf = true;
            let mut required: Vec<&str> = rules.required.iter().map(AsRef::as_ref).collect();
            if let Some(issuer) = &rules.issuer {
                validation.set_issuer(&[issuer]);
                required.push("iss");
            }
            if !rules.audience.is_empty() {
                validation.set_audience(&rules.audience);
                required.push("aud");
            }
            validation.set_required_spec_claims(&required);
            validation
        };
        Self {
            validations: rules.algorithms.iter().map(validation).collect(),
            has_audience: !rules.audience.is_empty(),
            required: rules.required,
        }
    }

    /// What `token` says, if it was signed by one of `keys` and keeps the rules.
    ///
    /// # Errors
    /// If not.
    pub(super) fn verify(&self, keys: &Keys, token: &str) -> Result<Claims, Refusal> {
        let header = decode_header(token)?;
        if header.crit.is_some() || header.extras.inner().contains_key("b64") {
            return Err(Refusal::Critical);
        }
        let mut validations = self.validations.iter();
        let validation = validations.find(|rules| rules.algorithms.contains(&header.alg));
        let validation = validation.ok_or(Refusal::Algorithm)?;
        let mut refusal = Refusal::UnknownKey;
        for key in keys.fitting(header.kid.as_deref(), header.alg, UNNAMED_KEYS_TRIED_MAX) {
            match decode::<Claims>(token, &key.key, validation) {
                Ok(token) => return self.claims(token.claims),
                Err(error) if *error.kind() == ErrorKind::InvalidSignature => {
                    refusal = error.into();
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(refusal)
    }

    fn claims(&self, claims: Claims) -> Result<Claims, Refusal> {
        let missing = self.required.iter().find(|name| !claims.contains_key(&***name));
        if let Some(name) = missing {
            return Err(Refusal::NoClaim(name.clone()));
        }
        // RFC 7519, 4.1.3: whoever is not named in `aud` must refuse the token.
        if !self.has_audience && claims.contains_key("aud") {
            return Err(Refusal::Audience);
        }
        Ok(claims)
    }
}
