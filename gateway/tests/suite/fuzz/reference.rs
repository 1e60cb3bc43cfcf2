//! What a client has framed, by a reading of RFC 9112 that shares nothing with the gateway's: slow, whole, and
//! strict.

/// A request as the client framed it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) body: Vec<u8>,
}

/// The requests that `bytes` are, up to what is none or is incomplete.
pub(super) fn requests(bytes: &[u8]) -> Vec<Request> {
    let mut rest = bytes;
    let mut found = Vec::new();
    loop {
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
        let Some((request, after)) = request(rest) else { return found };
        found.push(request);
        rest = after;
    }
}

fn request(bytes: &[u8]) -> Option<(Request, &[u8])> {
    let end = find(bytes, b"\r\n\r\n")?;
    let (head, mut rest) = (&bytes[..end], &bytes[end + 4..]);
    let mut lines = lines(head)?.into_iter();
    let line = lines.next()?;
    let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = parts[..] else { return None };
    if !is_token(method) || target.is_empty() || !version.starts_with(b"HTTP/1.") {
        return None;
    }
    let (mut length, mut chunked) = (None, false);
    for line in lines {
        let colon = find(line, b":")?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if !is_token(name) {
            return None;
        }
        match &*name.to_ascii_lowercase() {
            b"content-length" if length.is_none() => {
                let digits = std::str::from_utf8(value).ok()?;
                let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                length = Some(plain.then(|| digits.parse::<usize>().ok()).flatten()?);
            }
            b"transfer-encoding" if !chunked && value.eq_ignore_ascii_case(b"chunked") => {
                chunked = true;
            }
            b"content-length" | b"transfer-encoding" => return None,
            _ => {}
        }
    }
    let body = match (length, chunked) {
        (Some(_), true) => return None,
        (None, true) => {
            let (body, after) = chunks(rest)?;
            rest = after;
            body
        }
        (length, false) => {
            let length = length.unwrap_or(0);
            let body = rest.get(..length)?.to_vec();
            rest = &rest[length..];
            body
        }
    };
    Some((Request { method: String::from_utf8(method.to_vec()).ok()?, body }, rest))
}

/// The lines of a head; none if a CR or LF stands alone in it.
fn lines(head: &[u8]) -> Option<Vec<&[u8]>> {
    let mut lines = Vec::new();
    let mut rest = head;
    loop {
        let end = find(rest, b"\r\n").unwrap_or(rest.len());
        let line = &rest[..end];
        if line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return None;
        }
        lines.push(line);
        match rest.get(end + 2..) {
            Some(after) => rest = after,
            None => return Some(lines),
        }
    }
}

fn chunks(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    let mut rest = bytes;
    loop {
        let end = find(rest, b"\r\n")?;
        let line = &rest[..end];
        rest = &rest[end + 2..];
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let extension = line[digits..].trim_ascii_start();
        if line.contains(&b'\n') || !(line.len() == digits || extension.starts_with(b";")) {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
    loop {
        let end = find(rest, b"\r\n")?;
        let line = &rest[..end];
        rest = &rest[end + 2..];
        if line.is_empty() {
            return Some((body, rest));
        }
        if line.contains(&b'\n') || !is_token(&line[..find(line, b":")?]) {
            return None;
        }
    }
}

/// The statuses of the final responses in `bytes` that are complete, the first to the first of `methods`.
///
/// # Errors
/// What is not a response, or comes after one that said that it is the last.
pub(super) fn responses(bytes: &[u8], methods: &[&str]) -> Result<Vec<u16>, String> {
    let mut rest = bytes;
    let mut found = Vec::new();
    let mut last = false;
    while !rest.is_empty() {
        if last {
            return Err("something follows the last response".into());
        }
        if !rest.starts_with(&b"HTTP/1.1 "[..rest.len().min(9)]) {
            return Err("no status line".into());
        }
        let Some(end) = find(rest, b"\r\n\r\n") else { return Ok(found) };
        let head = String::from_utf8_lossy(&rest[..end]).to_ascii_lowercase();
        if head.contains("pingora") {
            return Err("the product is named".into());
        }
        rest = &rest[end + 4..];
        let status: u16 =
            head[9..].split(' ').next().unwrap_or("").parse().map_err(|_| "no status")?;
        if status < 200 {
            continue;
        }
        let value = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(field, _)| *field == name).map(|(_, value)| value.trim().to_owned())
        };
        last = value("connection").as_deref() == Some("close");
        // What answers no request is a refusal, of which a HEAD that is malformed has no body.
        let head_only = methods.get(found.len()).is_some_and(|method| *method == "HEAD");
        let length = value("content-length").map_or(Ok(0), |length| length.parse::<usize>());
        let length = length.map_err(|_| "no length")?;
        let refused_head = found.len() >= methods.len() && rest.is_empty();
        let is_bodiless = head_only || refused_head && last;
        if !is_bodiless {
            if rest.len() < length {
                return Ok(found);
            }
            rest = &rest[length..];
        }
        found.push(status);
    }
    Ok(found)
}

fn is_token(bytes: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_tchar)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
