//! The stream and its durable consumer.

use super::args::Consume;
use super::connect::causes;
use crate::failure::Failure;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer};
use async_nats::jetstream::context::{GetStreamError, GetStreamErrorKind};
use async_nats::jetstream::{Context, ErrorCode};
use futures_util::TryStreamExt;
use std::time::Duration;

/// The consumer, which is made if it is not there, and the subjects that it gets; none: all of the stream.
pub async fn consumer(context: &Context, args: &Consume) -> Result<(PullConsumer, Vec<String>), Failure> {
    let stream = match context.get_stream(&args.stream).await {
        Ok(stream) => stream,
        Err(error) => return Err(no_stream(context, &args.stream, &error).await),
    };
    let mut config = Config {
        durable_name: Some(args.durable.clone()),
        description: Some("capture-pipeline consume".into()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(args.ack_wait),
        ..Config::default()
    };
    match &args.filters[..] {
        [] => {}
        [one] => config.filter_subject.clone_from(one),
        several => config.filter_subjects = several.to_vec(),
    }
    let consumer: PullConsumer =
        stream.get_or_create_consumer(&args.durable, config).await.map_err(|error| {
            Failure::new(format!(
                "consumer {} of stream {}: {}; give another --durable, or delete it",
                args.durable,
                args.stream,
                causes(&error)
            ))
        })?;
    let made = &consumer.cached_info().config;
    if made.ack_policy != AckPolicy::Explicit {
        return Err(Failure::new(format!(
            "consumer {} of stream {}: its acknowledgements are {:?}, and explicit ones are needed; give another --durable",
            args.durable, args.stream, made.ack_policy
        )));
    }
    let mut filters = made.filter_subjects.clone();
    if !made.filter_subject.is_empty() {
        filters.push(made.filter_subject.clone());
    }
    let (mut given, mut has) = (args.filters.clone(), filters.clone());
    given.sort();
    has.sort();
    if !given.is_empty() && given != has {
        return Err(Failure::new(format!(
            "consumer {} of stream {}: it is there already, with {}; leave --filter out, or give another --durable",
            args.durable,
            args.stream,
            if has.is_empty() {
                "all subjects".to_owned()
            } else {
                format!("the subjects {}", has.join(" "))
            }
        )));
    }
    Ok((consumer, filters))
}

async fn no_stream(context: &Context, name: &str, error: &GetStreamError) -> Failure {
    let not_found = matches!(
        error.kind(),
        GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND
    );
    if !not_found {
        return Failure::new(format!("stream {name}: {}", causes(error)));
    }
    let mut names: Vec<String> = context.stream_names().try_collect().await.unwrap_or_default();
    names.sort();
    let there = if names.is_empty() {
        "there are no streams".into()
    } else {
        format!("there are {}", names.join(" "))
    };
    Failure::new(format!("stream {name}: the server has no such stream; {there}"))
}
