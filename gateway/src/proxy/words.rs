//! Pingora's errors in words: their own text is made of the names of Rust's variants.

use pingora_error::Error;

/// What went wrong, from the outside in: `connect refused: Connection refused (os error 111)`.
pub(super) fn in_words(error: &Error) -> String {
    let mut words = spaced(error.etype().as_str());
    let mut add = |text: &str| {
        let text = text.trim();
        if !text.is_empty() && !words.contains(text) {
            words.push_str(": ");
            words.push_str(text);
        }
    };
    let mut error = error;
    loop {
        add(error.context.as_ref().map_or("", |context| context.as_str()));
        let Some(cause) = &error.cause else { break };
        match cause.downcast_ref::<Box<Error>>().map(|cause| &**cause).or(cause.downcast_ref()) {
            Some(inner) => {
                add(&spaced(inner.etype().as_str()));
                error = inner;
            }
            None => {
                add(&cause.to_string());
                break;
            }
        }
    }
    words
}

/// `ConnectRefused` as `connect refused`.
fn spaced(name: &str) -> String {
    let mut words = String::new();
    for character in name.chars() {
        if character.is_uppercase() && words.ends_with(char::is_lowercase) {
            words.push(' ');
        }
        words.extend(character.to_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use std::io;

    use pingora_error::{Error, ErrorType};

    use super::in_words;

    #[test]
    fn an_error_is_told_from_the_outside_in_without_names_of_variants() {
        let refused = || io::Error::from_raw_os_error(111);
        let connect = || Error::because(ErrorType::ConnectRefused, "", refused());
        assert_eq!(in_words(&connect()), "connect refused: Connection refused (os error 111)");
        let outer = Error::because(ErrorType::InternalError, "while asking", connect());
        let said = in_words(&outer);
        assert!(said.starts_with("internal error: while asking: "), "{said}");
        assert!(said.contains("Connection refused"), "{said}");
        assert_eq!(in_words(&Error::new(ErrorType::ReadTimedout)), "read timedout");
    }
}
