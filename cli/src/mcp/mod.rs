//! `mcp`: a server of the Model Context Protocol on the standard input and output, by which AI assistants ask about journals.
//!
//! [`tools`] says which tools there are, [`arguments`] what they take, [`answer`] how much they answer. [`state`], [`events`] and [`slowest`] read the
//! journals, one at a time, on a thread of their own: reading blocks. [`journals`] has the journals of the command line. A request opens no others.

mod answer;
mod arguments;
mod events;
mod journals;
mod slowest;
mod state;
mod tools;

use crate::args::Mcp;
use crate::failure::{Failure, Outcome};
use journals::Journals;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation,
    ListResourcesResult, ListToolsResult, PaginatedRequestParams, ReadResourceRequestParams,
    ReadResourceResponse, ReadResourceResult, Resource, ResourceContents, ServerCapabilities, ServerConfig,
};
use rmcp::service::{RequestContext, RoleServer, ServerInitializeError};
use rmcp::{ServerHandler, ServiceExt};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What a client is told about the server.
const INSTRUCTIONS: &str = "Reads the journals of capture_pipeline: events that programs have captured, with their kinds, times, threads and fields. \
Begin with `health`: it lists the journals and their runs. `kinds` has the fields that `where` may compare. Answers are JSON, of at most 1 MiB; `query` and \
`kinds` answer in pages (`next_cursor`). Ids, times in nanoseconds, counts and other integers of 64 bits are strings. Nothing is ever changed.";

/// The start of a resource's URI; the journal's place in the list follows.
const KINDS: &str = "capture-pipeline://kinds/";

/// Serves until the client closes the standard input.
pub fn run(args: &Mcp) -> Result<Outcome, Failure> {
    let server =
        Server { journals: Arc::new(Journals::new(&args.paths)?), turn: Arc::new(Semaphore::new(1)) };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Failure::new(format!("the server cannot start: {error}; free memory or threads")))?;
    let served = runtime.block_on(async {
        let running = server.serve(rmcp::transport::stdio()).await?;
        // The reason says no more than that the client has gone.
        let _ = running.waiting().await;
        Ok::<(), ServerInitializeError>(())
    });
    // A journal that is still being read, and a read of the standard input, are not waited for.
    runtime.shutdown_background();
    match served {
        Ok(()) | Err(ServerInitializeError::ConnectionClosed(_)) => Ok(Outcome::Well),
        Err(ServerInitializeError::ExpectedInitializeRequest(_)) => Err(Failure::new(
            "the client's first message is no request; it must begin with initialize or server/discover, as the Model Context Protocol says",
        )),
        Err(error) => Err(Failure::new(format!("the client's first messages: {error}"))),
    }
}

#[derive(Clone)]
struct Server {
    journals: Arc<Journals>,
    /// One journal is read at a time, so that memory is bounded.
    turn: Arc<Semaphore>,
}

impl Server {
    /// Does what blocks on another thread. A request that is cancelled is not waited for: what is done for it ends by itself, and only then comes the next one.
    async fn read(
        &self,
        context: RequestContext<RoleServer>,
        work: impl FnOnce(&Journals, &dyn Fn() -> bool) -> Result<String, Failure> + Send + 'static,
    ) -> Result<String, Failure> {
        let (turn, journals, watched) = (self.turn.clone(), self.journals.clone(), context.ct.clone());
        let done = async move {
            let permit = turn.acquire_owned().await;
            let task = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                work(&journals, &|| watched.is_cancelled())
            });
            task.await
                .unwrap_or_else(|error| Err(Failure::new(format!("the request was not answered: {error}"))))
        };
        let done = context.ct.run_until_cancelled(done).await;
        done.unwrap_or_else(|| Err(answer::cancelled()))
    }
}

/// The text of a failure.
fn message(failure: Failure) -> String {
    match failure {
        Failure::Told(message) => message,
        Failure::BrokenPipe => "a pipe was closed".into(),
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_resources().build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("capture-pipeline", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::all().iter().map(tools::Tool::described).collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = tools::all().into_iter().find(|tool| tool.name == request.name) else {
            return Err(ErrorData::invalid_params(format!("there is no tool {}", request.name), None));
        };
        let arguments = request.arguments.unwrap_or_default();
        let answer = self
            .read(context, move |journals, stopped| (tool.run)(journals, arguments, stopped))
            .await
            .and_then(answer::bounded);
        // A failure is shown to whoever asks. It has no structured content, which clients would compare with a schema.
        Ok(match answer {
            Ok(text) => CallToolResult::success(vec![ContentBlock::text(text)]),
            Err(failure) => CallToolResult::error(vec![ContentBlock::text(message(failure))]),
        }
        .into())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let resource = |(at, name): (usize, &str)| {
            Resource::new(format!("{KINDS}{at}"), format!("kinds of {name}"))
                .with_description(format!("The kinds of events in the journal {name}, with their fields"))
                .with_mime_type("application/json")
        };
        Ok(ListResourcesResult::with_all_items(self.journals.names().enumerate().map(resource).collect()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = request.uri;
        let place = uri.strip_prefix(KINDS).and_then(|at| at.parse::<usize>().ok());
        let Some(place) = place.filter(|at| *at < self.journals.names().count()) else {
            return Err(ErrorData::resource_not_found(format!("there is no resource {uri}"), None));
        };
        let text = self
            .read(context, move |journals, _| state::all_kinds(journals, place))
            .await
            .and_then(answer::bounded)
            .map_err(|failure| ErrorData::internal_error(message(failure), None))?;
        let contents = ResourceContents::text(text, uri).with_mime_type("application/json");
        Ok(ReadResourceResult::new(vec![contents]).into())
    }
}

#[cfg(test)]
mod tests;
