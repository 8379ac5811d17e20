//! The connection to the servers, by the official client.

use crate::options::{Login, Options};
use crate::status::Shared;
use crate::stream::chain;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// The client, connected or, with `start_offline`, connecting. An error names what is wrong.
pub async fn connect(
    options: &Options,
    status: &Arc<Shared>,
    events: UnboundedSender<Event>,
) -> Result<Client, String> {
    let reconnect_max = options.reconnect_max;
    let pool = Arc::clone(status);
    let mut connect = ConnectOptions::new()
        .name(&options.name)
        .connection_timeout(options.connect_timeout)
        .request_timeout(Some(options.ack_timeout))
        .max_reconnects(None)
        .reconnect_delay_callback(move |attempts| delay(attempts, reconnect_max))
        // Room for every message that may be on its way, twice: what a lost connection had not sent yet stays in the queue, and is published again.
        .client_capacity(options.pending_messages * 2 + 64)
        .subscription_capacity(options.pending_messages * 2 + 64)
        .event_callback(move |event| {
            let _ = events.send(event);
            std::future::ready(())
        })
        // It chooses nothing. It is told of every server's last failure.
        .reconnect_to_server_callback(move |servers, _| {
            let failed: Vec<String> = servers
                .iter()
                .filter_map(|server| {
                    let error = server.last_error.as_ref()?;
                    let (host, port) = (server.addr.host(), server.addr.port());
                    Some(format!("{host}:{port}: {error} ({} tries)", server.failed_attempts))
                })
                .collect();
            if !failed.is_empty() {
                pool.write(|status| status.text = format!("no server is connected; {}", failed.join("; ")));
            }
            std::future::ready(None)
        });
    connect = match &options.login {
        Login::None => connect,
        Login::User { user, password } => connect.user_and_password(user.clone(), password.clone()),
        Login::Token(token) => connect.token(token.clone()),
        Login::Nkey(seed) => connect.nkey(seed.clone()),
        Login::Credentials(text) => connect
            .credentials(text)
            .map_err(|error| format!("credentials_file: no JWT and seed in it: {error}"))?,
    };
    if options.tls.first {
        connect = connect.tls_first();
    } else if options.tls.required {
        connect = connect.require_tls(true);
    }
    if let Some(file) = &options.tls.ca_file {
        connect = connect.add_root_certificates(file.into());
    }
    if let Some((certificate, key)) = &options.tls.client {
        connect = connect.add_client_certificate(certificate.into(), key.into());
    }
    if options.start_offline {
        connect = connect.retry_on_initial_connect();
    }
    connect.connect(options.servers.clone()).await.map_err(|error| explain(options, &error))
}

/// Milliseconds from 10 on, doubled each time.
fn delay(attempts: usize, most: Duration) -> Duration {
    if attempts <= 1 {
        return Duration::ZERO;
    }
    let doubled = 10u64.checked_shl(u32::try_from(attempts - 2).unwrap_or(63)).filter(|&ms| ms >= 10);
    Duration::from_millis(doubled.unwrap_or(u64::MAX)).min(most)
}

fn explain(options: &Options, error: &async_nats::ConnectError) -> String {
    let servers = options.shown_servers();
    let words = chain(error);
    let advice = match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => match options.login {
            Login::None => {
                "The server wants a login: set user and password, token, nkey_seed or credentials_file"
            }
            _ => {
                "The server does not accept this login: check user and password, token, nkey_seed or credentials_file"
            }
        },
        ConnectErrorKind::Tls => {
            "Check tls_ca_file, tls_certificate_file and tls_key_file, and that the address is a name in the server's certificate"
        }
        ConnectErrorKind::Dns => "Check the name",
        _ if words.contains("certificate") || words.contains("tls") => {
            "Check tls_ca_file, tls_certificate_file and tls_key_file, and that the address is a name in the server's certificate"
        }
        _ => "Check that a server runs there, or set PIPELINE_NATS_START_OFFLINE to start without one",
    };
    format!("servers: {servers}: {words}. {advice}")
}

#[cfg(test)]
mod tests {
    use super::{Duration, delay};

    #[test]
    fn the_pause_grows_up_to_its_limit() {
        let most = Duration::from_millis(500);
        assert_eq!(delay(0, most), Duration::ZERO);
        assert_eq!(delay(1, most), Duration::ZERO);
        assert_eq!(delay(2, most), Duration::from_millis(10));
        assert_eq!(delay(4, most), Duration::from_millis(40));
        for attempts in 8..200 {
            assert_eq!(delay(attempts, most), most, "{attempts}");
        }
    }
}
