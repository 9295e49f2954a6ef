//! The head of an HTTP request, as far as it has come. The fuzz target
//! `http_head` compiles this file on its own: it uses nothing of this crate.

/// Longest request head, in bytes.
pub(crate) const HEAD_LEN_MAX: usize = 8 << 10;
/// Most header lines.
pub(crate) const HEADERS_MAX: usize = 64;

/// What is heeded of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// What stands behind the question mark; only fail points heed it.
    #[allow(dead_code)]
    pub(crate) query: String,
}

/// What came so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Parsed {
    /// The whole head.
    Request(Request),
    /// More may follow.
    Unfinished,
    /// Not HTTP, or too long.
    Refused,
}

/// Reads what came so far.
pub(crate) fn parse(head: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {
            let (method, path) = (request.method.unwrap_or(""), request.path.unwrap_or(""));
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            Parsed::Request(Request {
                method: method.to_owned(),
                path: path.to_owned(),
                query: query.to_owned(),
            })
        }
        Ok(httparse::Status::Partial) if head.len() < HEAD_LEN_MAX => Parsed::Unfinished,
        _ => Parsed::Refused,
    }
}
