//! Rules on what a good token must say: `claims:`.

use serde_json::Value;

use super::token::Claims;

/// What claims must say for a request to pass.
#[derive(Debug, Default)]
pub(super) struct ClaimRules {
    /// Each of these must hold.
    pub(super) all: Vec<ClaimRule>,
    /// One of these must hold, where there are any.
    pub(super) any: Vec<ClaimRule>,
}

/// A claim and the values of which it must have one.
#[derive(Debug)]
pub(super) struct ClaimRule {
    pub(super) claim: ClaimPath,
    /// Without any, the claim must be there and not null.
    pub(super) values: Vec<Box<str>>,
}

/// Where a claim is: its name, or the names that lead to it, with a dot between each two.
///
/// A claim whose own name has dots in it, as in `https://example.com/roles`, comes before a nested
/// one.
#[derive(Clone, Debug)]
pub(super) struct ClaimPath(Box<str>);

impl From<Box<str>> for ClaimPath {
    fn from(path: Box<str>) -> Self {
        Self(path)
    }
}

impl ClaimPath {
    /// The claim's value.
    pub(super) fn find<'c>(&self, claims: &'c Claims) -> Option<&'c Value> {
        find(claims, &self.0)
    }

    /// Whether its value is a list of words in one text: RFC 8693, 4.2.
    fn is_scope(&self) -> bool {
        matches!(&*self.0, "scope" | "scp")
    }
}

fn find<'c>(claims: &'c Claims, path: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    // The longest name first, so that a name with dots is found at every depth.
    path.rmatch_indices('.').find_map(|(dot, _)| {
        let nested = claims.get(&path[..dot])?.as_object()?;
        find(nested, &path[dot + 1..])
    })
}

impl ClaimRules {
    /// Whether a token that says this may pass.
    pub(super) fn hold(&self, claims: &Claims) -> bool {
        self.all.iter().all(|rule| rule.holds(claims))
            && (self.any.is_empty() || self.any.iter().any(|rule| rule.holds(claims)))
    }
}

impl ClaimRule {
    fn holds(&self, claims: &Claims) -> bool {
        let Some(value) = self.claim.find(claims) else { return false };
        if self.values.is_empty() {
            return !value.is_null();
        }
        match value {
            Value::Array(items) => items.iter().any(|item| self.is_one(item)),
            Value::String(words) if self.claim.is_scope() => {
                words.split(' ').any(|word| self.names(word))
            }
            value => self.is_one(value),
        }
    }

    fn is_one(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.names(text),
            Value::Bool(_) | Value::Number(_) => self.names(&value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        }
    }

    fn names(&self, text: &str) -> bool {
        self.values.iter().any(|value| **value == *text)
    }
}
