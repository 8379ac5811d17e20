//! The arguments of `consume`.

use crate::deliver::place::Place;
use clap::Args;
use std::path::PathBuf;

/// `consume`
#[derive(Debug, Args)]
pub struct Consume {
    /// The servers, as nats://HOST:4222 or tls://HOST:4222; several of a cluster may be given
    #[arg(value_name = "URL", required = true)]
    pub servers: Vec<String>,
    /// The stream
    #[arg(long, value_name = "STREAM")]
    pub stream: String,
    /// The durable consumer of the stream, which keeps what is acknowledged; it is made if it is not there
    #[arg(long, value_name = "NAME")]
    pub durable: String,
    /// Where the events go: sqlite:FILE, journal:DIRECTORY, ndjson (the standard output) or ndjson:FILE
    #[arg(long, value_name = "TARGET", value_parser = Place::parse)]
    pub to: Place,
    /// Only messages with this subject, where * stands for one part and > for the rest; may be given several times (from server 2.10 on). For a consumer that is made
    #[arg(long = "filter", value_name = "SUBJECT")]
    pub filters: Vec<String>,
    /// Publishes messages that cannot be read to this subject, with the reason, and goes on; a stream must have it
    #[arg(long, value_name = "SUBJECT")]
    pub dead_letter: Option<String>,
    /// Leaves out messages that cannot be read, with a message for each, and goes on
    #[arg(long, conflicts_with = "dead_letter")]
    pub skip: bool,
    /// Ends when all messages of the stream are stored and acknowledged
    #[arg(long)]
    pub once: bool,
    /// Prints nothing but warnings and errors
    #[arg(short, long)]
    pub quiet: bool,
    /// For a consumer that is made: seconds after which the server gives a message again that is not acknowledged
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub ack_wait: u64,
    #[command(flatten)]
    pub access: Access,
}

/// How the command proves to the server who it is, and the server to the command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access")]
pub struct Access {
    /// The name of a user; the password is in the environment variable NATS_PASSWORD, or in --password-file
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// A file with the user's password in its first line
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// A file with a token in its first line
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// A file with an nkey seed in its first line
    #[arg(long, value_name = "FILE")]
    pub nkey_file: Option<PathBuf>,
    /// A file with credentials (a JWT and a seed), as nsc writes it
    #[arg(long, value_name = "FILE")]
    pub creds: Option<PathBuf>,
    /// A file with the certificates of authorities that are trusted, in PEM
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// The command's own certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The key of that certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Refuses a connection without TLS
    #[arg(long)]
    pub tls: bool,
}
