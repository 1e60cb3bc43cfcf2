//! The file of names and password hashes.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::str::FromStr;

use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params};
use bcrypt::HashParts;
use sallyport_config::{Node, Sink};

use super::credentials::Credentials;
use crate::kind::Setting;

/// Users of one file: beyond, a directory service is the place for them.
const USERS_MAX: usize = 10_000;

/// At 14 bcrypt takes a second, in which one client's guess occupies a core.
const BCRYPT_COST_MAX: u32 = 14;

/// bcrypt looks at no more, so a longer password would be as good with any other end.
const BCRYPT_PASSWORD_BYTES_MAX: usize = 72;

/// Each check in progress needs this much.
const ARGON2_MEMORY_KIB_MAX: u32 = 256 << 10;

/// Passes and lanes, which cost time as memory does.
const ARGON2_PASSES_MAX: u32 = 16;

/// The users.
#[derive(Debug)]
pub(super) struct Users {
    by_name: HashMap<Box<str>, usize>,
    hashes: Vec<Hash>,
    random: RandomState,
}

/// A password's hash, which says itself how it was made.
pub(super) enum Hash {
    Bcrypt(Box<str>),
    Argon2(Box<PasswordHash>),
}

/// Why a line of the file is not used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LineError {
    #[error("has no `:`")]
    NoColon,
    #[error("has no name, or one with control characters")]
    Name,
    #[error("has a name that came before")]
    Twice,
    #[error("has neither a bcrypt ($2a$, $2b$, $2y$) nor an argon2id hash")]
    UnknownHash,
    #[error("has a hash that is malformed")]
    Malformed,
    #[error("has a bcrypt cost of {0}, the most is {BCRYPT_COST_MAX}")]
    Cost(u32),
    #[error("has an argon2 memory of {0} KiB, the most is {ARGON2_MEMORY_KIB_MAX}")]
    Memory(u32),
    #[error("has more than {ARGON2_PASSES_MAX} argon2 passes or lanes")]
    Passes,
    #[error("is a user too many, {USERS_MAX} can be kept")]
    TooMany,
}

/// Reads the file that `node` names; notes every line that is wrong.
pub(super) fn read(node: Node<'_>, sink: &mut Sink, setting: &mut Setting<'_>) -> Option<Users> {
    let (path, text) = setting.file(node, sink)?;
    let path = path.display();
    let Ok(text) = String::from_utf8(text) else {
        return node.refuse(sink, format!("{path} is not UTF-8"), "write names in UTF-8");
    };
    let (users, errors) = Users::parse(&text);
    for (line, error) in &errors {
        let fix = "write NAME:HASH, as `htpasswd -B` and `argon2` make them";
        node.refuse::<()>(sink, format!("{path}:{line}: {error}"), fix);
    }
    if users.hashes.is_empty() && errors.is_empty() {
        return node.refuse(sink, format!("{path} names nobody"), "write at least one user");
    }
    errors.is_empty().then_some(users)
}

impl Users {
    /// Reads lines `NAME:HASH`; empty ones and those that begin with `#` are passed over. Errors have
    /// the line's number.
    pub(super) fn parse(text: &str) -> (Self, Vec<(usize, LineError)>) {
        let (by_name, hashes) = (HashMap::new(), Vec::new());
        let mut users = Self { by_name, hashes, random: RandomState::new() };
        let mut errors = Vec::new();
        for (line, number) in text.lines().map(str::trim).zip(1..) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Err(error) = users.add(line) {
                errors.push((number, error));
            }
        }
        (users, errors)
    }

    fn add(&mut self, line: &str) -> Result<(), LineError> {
        let (name, hash) = line.split_once(':').ok_or(LineError::NoColon)?;
        if name.is_empty() || name.contains(char::is_control) {
            return Err(LineError::Name);
        }
        if self.hashes.len() >= USERS_MAX {
            return Err(LineError::TooMany);
        }
        let hash = hash.parse()?;
        if self.by_name.insert(name.into(), self.hashes.len()).is_some() {
            return Err(LineError::Twice);
        }
        self.hashes.push(hash);
        Ok(())
    }

    /// Whether the file has this name with this password. Blocks for as long as a hash takes.
    pub(super) fn knows(&self, credentials: &Credentials) -> bool {
        let (hash, is_known) = self.hash_of(&credentials.name);
        hash.is_of(&credentials.password) && is_known
    }

    /// The hash to check for `name`. For a name that is not there it is somebody else's, always the same one,
    /// so that the time tells nothing of which names there are.
    pub(super) fn hash_of(&self, name: &str) -> (&Hash, bool) {
        match self.by_name.get(name) {
            Some(index) => (&self.hashes[*index], true),
            None => {
                let any = self.random.hash_one(name) % self.hashes.len() as u64;
                (&self.hashes[any as usize], false)
            }
        }
    }
}

impl FromStr for Hash {
    type Err = LineError;

    fn from_str(text: &str) -> Result<Self, LineError> {
        if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            let parts: HashParts = text.parse().map_err(|_| LineError::Malformed)?;
            return match parts.get_cost() {
                // bcrypt itself knows no cost below.
                0..4 => Err(LineError::Malformed),
                4..=BCRYPT_COST_MAX => Ok(Self::Bcrypt(text.into())),
                over => Err(LineError::Cost(over)),
            };
        }
        if !text.starts_with("$argon2id$") {
            return Err(LineError::UnknownHash);
        }
        let hash = PasswordHash::new(text).map_err(|_| LineError::Malformed)?;
        let params = Params::try_from(&hash).map_err(|_| LineError::Malformed)?;
        if params.m_cost() > ARGON2_MEMORY_KIB_MAX {
            return Err(LineError::Memory(params.m_cost()));
        }
        if params.t_cost() > ARGON2_PASSES_MAX || params.p_cost() > ARGON2_PASSES_MAX {
            return Err(LineError::Passes);
        }
        if hash.salt.is_none() || hash.hash.is_none() {
            return Err(LineError::Malformed);
        }
        Ok(Self::Argon2(Box::new(hash)))
    }
}

impl Hash {
    fn is_of(&self, password: &str) -> bool {
        match self {
            Self::Bcrypt(hash) => {
                // Hashed all the same, so that the time does not tell which hash a name has.
                let same = bcrypt::verify(password, hash).unwrap_or(false);
                same && password.len() <= BCRYPT_PASSWORD_BYTES_MAX
            }
            Self::Argon2(hash) => {
                Argon2::default().verify_password(password.as_bytes(), &**hash).is_ok()
            }
        }
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Bcrypt(_) => "bcrypt",
            Self::Argon2(_) => "argon2id",
        })
    }
}
