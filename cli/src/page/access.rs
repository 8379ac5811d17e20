//! Who may see the page: whoever has the token.

use crate::failure::Failure;
use crate::http::Request;
use std::fs::File;
use std::io::Read;

/// The token, and the cookie that keeps it.
pub struct Access {
    token: String,
    /// Cookies are the same for all ports of a machine: the name has the port.
    cookie: String,
}

/// What a request has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brought {
    /// The token, in the address: it is to be kept as a cookie.
    InAddress,
    /// The token, as a cookie or a header.
    Kept,
    /// None, or another one.
    Nothing,
}

/// Random bytes in hexadecimal.
pub fn random() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut text = Vec::new();
    crate::numbers::hexadecimal(&mut text, &bytes);
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Whether two texts are equal. The time it takes does not say where they differ.
fn equal(a: &str, b: &str) -> bool {
    let differences = a.bytes().zip(b.bytes()).fold(0, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
    a.len() == b.len() && differences == 0
}

impl Access {
    /// With a new token, for a server with this port.
    pub fn new(port: u16) -> Result<Self, Failure> {
        let token = random()
            .map_err(|error| Failure::new(format!("/dev/urandom: {error}; the page needs a token")))?;
        Ok(Self { token, cookie: format!("capture_pipeline_{port}") })
    }

    /// The token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The header that has a browser keep the token.
    pub fn set_cookie(&self) -> String {
        format!("{}={}; Path=/; HttpOnly; SameSite=Strict", self.cookie, self.token)
    }

    /// What a request has brought. `token`: that of its address.
    pub fn check(&self, request: &Request, token: Option<&str>) -> Brought {
        if let Some(token) = token {
            return if equal(token, &self.token) { Brought::InAddress } else { Brought::Nothing };
        }
        let bearer = request.authorizations.iter().filter_map(|value| value.strip_prefix("Bearer "));
        let cookies = request.cookies.iter().flat_map(|cookies| cookies.split("; "));
        let cookies = cookies.filter_map(|cookie| cookie.strip_prefix(&self.cookie)?.strip_prefix('='));
        // A browser sends cookies for pages of others, too, if it does not know SameSite.
        let is_own = request.sites.iter().all(|site| site == "same-origin" || site == "none");
        let kept = bearer.chain(cookies.filter(|_| is_own)).any(|token| equal(token, &self.token));
        if kept { Brought::Kept } else { Brought::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_in_the_address_a_header_or_a_cookie() {
        let access = Access::new(7).expect("a token");
        let token = access.token().to_owned();
        assert_eq!(token.len(), 32);
        let plain = Request::default();
        assert_eq!(access.check(&plain, None), Brought::Nothing);
        assert_eq!(access.check(&plain, Some(&token)), Brought::InAddress);
        for wrong in ["", &token[1..], &format!("{token}0"), &token.replace(&token[..1], "x")] {
            assert_eq!(access.check(&plain, Some(wrong)), Brought::Nothing, "{wrong}");
        }
        let header = |value: String| Request { authorizations: vec![value], ..Request::default() };
        assert_eq!(access.check(&header(format!("Bearer {token}")), None), Brought::Kept);
        assert_eq!(access.check(&header(token.clone()), None), Brought::Nothing);
        let cookie = |value: String, site: &str| {
            let request = Request { cookies: vec![value], sites: vec![site.into()], ..Request::default() };
            access.check(&request, None)
        };
        assert_eq!(cookie(format!("a=b; capture_pipeline_7={token}"), "same-origin"), Brought::Kept);
        assert_eq!(cookie(format!("capture_pipeline_7={token}"), "cross-site"), Brought::Nothing);
        assert_eq!(cookie(format!("capture_pipeline_8={token}"), "none"), Brought::Nothing);
        assert_eq!(cookie("capture_pipeline_7=".into(), "none"), Brought::Nothing);
        // A wrong one in the address counts, whatever else there is.
        let both = header(format!("Bearer {token}"));
        assert_eq!(access.check(&both, Some("x")), Brought::Nothing);
    }
}
