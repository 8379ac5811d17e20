//! The connection to the servers.

use super::args::{Access, Consume};
use crate::failure::Failure;
use crate::messages;
use async_nats::{Client, ConnectOptions, Event};
use std::path::Path;
use std::time::Duration;

/// Connects. `quiet` says nothing of what the connection goes through later.
pub async fn connect(args: &Consume) -> Result<Client, Failure> {
    let access = &args.access;
    let mut options = ConnectOptions::new()
        .name("capture-pipeline consume")
        .connection_timeout(Duration::from_secs(5))
        .request_timeout(Some(Duration::from_secs(10)))
        .reconnect_delay_callback(|attempts| Duration::from_millis((20 << attempts.min(5)).min(500)))
        .event_callback(|event| async move {
            match event {
                Event::Disconnected => {
                    messages::tell("the connection to the server is lost; connecting again")
                }
                Event::Connected => {}
                Event::SlowConsumer(_) | Event::LameDuckMode | Event::Draining | Event::Closed => {}
                other => messages::tell(format!("the server or the connection says: {other}")),
            }
        });
    let ways = [
        ("--user", access.user.is_some()),
        ("--token-file", access.token_file.is_some()),
        ("--nkey-file", access.nkey_file.is_some()),
        ("--creds", access.creds.is_some()),
    ];
    let given: Vec<&str> = ways.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    if given.len() > 1 {
        return Err(Failure::new(format!("{}: give one of them", given.join(" and "))));
    }
    if let Some(user) = &access.user {
        options = options.user_and_password(user.clone(), password(access)?);
    }
    if let Some(file) = &access.token_file {
        options = options.token(first_line(file)?);
    }
    if let Some(file) = &access.nkey_file {
        options = options.nkey(first_line(file)?);
    }
    if let Some(file) = &access.creds {
        options = options.credentials_file(file).await.map_err(|error| Failure::of(file, &error))?;
    }
    if let Some(file) = &access.tls_ca {
        readable(file)?;
        options = options.add_root_certificates(file.clone());
    }
    if let (Some(certificate), Some(key)) = (&access.tls_cert, &access.tls_key) {
        readable(certificate)?;
        readable(key)?;
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    if access.tls || access.tls_ca.is_some() || access.tls_cert.is_some() {
        options = options.require_tls(true);
    }
    let servers = args.servers.join(",");
    options.connect(args.servers.as_slice()).await.map_err(|error| {
        Failure::new(format!(
            "{servers}: {}; check the address, the server and the access options",
            causes(&error)
        ))
    })
}

/// An error with what caused it.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn password(access: &Access) -> Result<String, Failure> {
    match &access.password_file {
        Some(file) => first_line(file),
        None => std::env::var("NATS_PASSWORD").map_err(|_| {
            Failure::new(
                "--user: give the password in the environment variable NATS_PASSWORD, or in --password-file",
            )
        }),
    }
}

fn first_line(file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::of(file, &error))?;
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(Failure::new(format!("{}: its first line is empty", file.display()))),
    }
}

fn readable(file: &Path) -> Result<(), Failure> {
    std::fs::File::open(file).map(drop).map_err(|error| Failure::of(file, &error))
}
