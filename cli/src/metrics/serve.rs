//! Serves the text over HTTP: `GET /metrics` and nothing else.

use crate::failure::{Failure, Outcome};
use crate::http::{self, Request};
use crate::messages::tell;
use capture_pipeline::exposition::Format;

/// Makes the text.
pub type Make<'a> = dyn Fn(Format) -> Result<String, Failure> + Sync + 'a;

/// Serves until the process is ended.
pub fn serve(listen: &str, hosts: &[String], make: &Make<'_>) -> Result<Outcome, Failure> {
    let listener = http::listen(listen)?;
    let address = listener.local_addr().map_err(|error| Failure::new(format!("--listen: {error}")))?;
    tell(format_args!("serving http://{address}/metrics"));
    http::serve(&listener, hosts, &|request, response| match answer(request, make) {
        Ok((kind, text)) => response.send("200 OK", kind, text.as_bytes()),
        Err((status, why)) => response.refuse(status, why),
    })?;
    Ok(Outcome::Well)
}

/// The type of the content and the content; or the status and why.
fn answer(
    request: &Request,
    make: &Make<'_>,
) -> Result<(&'static str, String), (&'static str, &'static str)> {
    if request.path != "/metrics" {
        return Err(("404 Not Found", "there is /metrics alone"));
    }
    let open = request.accepts.iter().any(|accept| accept.contains("application/openmetrics-text"));
    let (format, kind) = if open {
        (Format::OpenMetrics, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    } else {
        (Format::Prometheus, "text/plain; version=0.0.4; charset=utf-8")
    };
    match make(format) {
        Ok(text) => Ok((kind, text)),
        Err(Failure::Told(why)) => {
            tell(why);
            Err(("500 Internal Server Error", "the figures cannot be read; the server has said why"))
        }
        Err(Failure::BrokenPipe) => Err(("500 Internal Server Error", "the figures cannot be read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(path: &str, accept: &str) -> Result<(&'static str, String), &'static str> {
        let request = Request { path: path.into(), accepts: vec![accept.into()], ..Request::default() };
        answer(&request, &|format| Ok(format!("{format:?}"))).map_err(|(status, _)| status)
    }

    #[test]
    fn the_format_is_the_one_that_is_accepted() {
        let open = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        let text = |accept: &str| ask("/metrics", accept).expect("it is there").1;
        assert_eq!(
            (text(open), text("text/plain"), text("*/*")),
            ("OpenMetrics".into(), "Prometheus".into(), "Prometheus".into())
        );
    }

    #[test]
    fn there_is_nothing_but_the_metrics() {
        for path in ["/", "/../metrics", "/metrics/", "metrics"] {
            assert_eq!(ask(path, "*/*"), Err("404 Not Found"), "{path}");
        }
        let fails: &Make<'_> = &|_| Err(Failure::new("as told"));
        let request = Request { path: "/metrics".into(), ..Request::default() };
        assert_eq!(answer(&request, fails).map_err(|(status, _)| status), Err("500 Internal Server Error"));
    }
}
