defmodule ElixirScope.Capture.MCP do
  @moduledoc """
  Tools by which AI assistants ask about a running pipeline, for any server of the Model Context Protocol: TidewaveScope, Tidewave, or your own. They are plain data and
  functions; this module is no server and needs no other package.

      tools = ElixirScope.Capture.MCP.tools(ElixirScope.Capture.PipelineManager)
      {:ok, %{"status" => "healthy"}} = ElixirScope.Capture.MCP.call(ElixirScope.Capture.PipelineManager, "health", %{})

  For journals on a disk, also of programs in other languages, there is the server `capture-pipeline mcp`, whose tools have the same names.

  ## Tools

  | name | arguments | answer |
  | --- | --- | --- |
  | `health` | | status, reasons, and under `storage` whether events can be read |
  | `metrics` | | the figures; under `ledger` where the events of a capture have gone |
  | `latest` | `limit` (20, up to 1,000), `correlation_id`, `ast_node_id` | the events that were stored last |
  | `query` | `limit` (100, up to 10,000), `correlation_id`, `ast_node_id`, `cursor` | events, the oldest first, in pages |
  | `scale` | `workers` | sets the number of writers; changes the pipeline |
  | `update_config` | options of the pipeline | changes options of the pipeline |

  `scale` and `update_config` are there only with `changes: true`: without it an assistant can change nothing.

  ## A tool

  A map with `:name`, `:description`, `:inputSchema` (JSON Schema), `:annotations` (`readOnlyHint` and others) and `:callback`, a function that is given the arguments as they
  come from JSON. It returns `{:ok, answer}`, where the answer is a map of what JSON can say, or `{:error, text}`. The text names the argument, what is allowed and the value. It never
  raises. With `encode: &Jason.encode!/1`, or any function that makes a text of the map, the answer is that text, as Tidewave's server wants it:

      ElixirScope.Capture.MCP.tools(MyApp.Pipeline, encode: &Jason.encode!/1)

  ## The pipeline

  The pid or name of an `ElixirScope.Capture.PipelineManager`, or an `ElixirScope.Capture.Capture` that has a native storage and needs no manager. A manager of another node is asked there.

  ## Where events are read

  From what the pipeline stores into, as far as that can be read:

    * an `ElixirScope.Capture.EtsStorage`, which is also the default storage of a pipeline: at once, by its indexes;
    * a journal (`ElixirScope.Capture.NativeStorage.journal/2`): in the order of time. A request looks at up to 500,000 events behind its cursor, and says with `is_complete` whether there
      are more;
    * nothing else. A process, a function or a module that stores is not asked anything: an unknown call would end some servers. A SQLite database cannot be read in this VM.
      Then `latest` and `query` return an error that says so, `health` says why, and the other tools work.

  The option `:events` names another place: an `EtsStorage`, a journal by its path or as a `NativeStorage`, or a function that reads them. The function is given
  `%{correlation_id: id, ast_node_id: id, limit: n, order: :oldest_first | :newest_first}` (an id that is not asked for is nil), and returns a list of events, `{:ok, events}` or
  `{:error, reason}`. It may ignore what it is given: the tools choose, order and cut what it returns. For the event store of ElixirScope:

      events: fn _ -> ElixirScope.Storage.EventStore.query_events(MyApp.EventStore, %{}) end

  ## Answers

  Maps with texts as keys; atoms are texts, tuples are lists, structs are maps without a call of their modules, processes and functions are shown as text. A binary that is no text is
  `%{"bytes" => size, "hex" => first bytes}`. Integers beyond 2^53 are texts, because some clients round them; correlation ids, node ids and times always are. An answer has at most
  about 1 MiB, and one event 256 KiB of it; of a larger event the beginning is shown, with `"is_cut" => true`.

  A correlation id is found as text and as number: "17" finds `17` and `"17"`.

  **What events contain is shown to the assistant**, also what a struct's `Inspect` would hide. The option `:view` is a function that is given each event and returns what is shown
  of it (of a journal, the map that is shown).
  """

  alias ElixirScope.Capture.{Capture, PipelineManager, Remote}
  alias ElixirScope.Capture.MCP.{Arguments, Control, Events, Source}

  @typedoc "The pipeline that is asked about."
  @type target :: Supervisor.supervisor() | Capture.t()
  @type tool :: %{
          name: String.t(),
          description: String.t(),
          inputSchema: map(),
          annotations: map(),
          callback: (map() -> {:ok, map() | String.t()} | {:error, String.t()})
        }
  @type option ::
          {:events, term()}
          | {:changes, boolean()}
          | {:prefix, String.t()}
          | {:encode, (map() -> String.t())}
          | {:view, (term() -> term())}

  @ids [
    {:correlation_id, :id,
     "Only events with this correlation id. A number may be given as a text, decimal or 0x hexadecimal."},
    {:ast_node_id, :id,
     "Only events with this ast_node_id (the node id of the capture). A number may be given as a text."}
  ]
  @config [
    {:async_writer_pool_size, {:integer, 0, 1_024}, "How many writers there are; 0 only buffers."},
    {:batch_size, {:integer, 1, 1_000_000}, "Events that a writer takes at once, at most."},
    {:poll_interval_ms, {:integer, 1, 86_400_000}, "Milliseconds after which a writer looks for events at the latest."},
    {:max_backlog, {:limit, 1}, "More waiting events than this for a second degrade the health."},
    {:retry_limit, {:limit, 1}, "Attempts until an event is dead-lettered."},
    {:retry_initial_ms, {:integer, 1, 86_400_000}, "The first pause before another attempt, in milliseconds."},
    {:retry_max_ms, {:integer, 1, 86_400_000}, "The longest pause before another attempt, in milliseconds."},
    {:storage_timeout_ms, {:limit, 1}, "How long a call of the storage may take, in milliseconds."},
    {:sampling_max_weight, :weight, "Under load a kept event stands for this many at most; 0: nothing is sampled."},
    {:sampling_hold_ms, {:integer, 1, 86_400_000}, "How long a sampling rate stays at least, in milliseconds."},
    {:watermark_percent, {:integer, 1, 100}, "How full a ring is when sampling begins."},
    {:share, {:integer, 1, 1_000}, "The pipeline's share of the storage calls of all pipelines."}
  ]
  @of_capture [:batch_size, :poll_interval_ms, :sampling_max_weight, :sampling_hold_ms, :watermark_percent, :share]

  @doc """
  The tools for a pipeline.

    * `changes: true`: also `scale` and `update_config`;
    * `:prefix`: what all names begin with, `"capture_"` by default, because a server has tools of others too; `""` for none;
    * `:encode`, `:events`, `:view`: see above.

  An option that is unknown or has a wrong value raises `ArgumentError`.

      iex> {:ok, capture} = ElixirScope.Capture.Capture.new()
      iex> tools = ElixirScope.Capture.MCP.tools(capture)
      iex> Enum.map(tools, & &1.name)
      ["capture_health", "capture_metrics", "capture_latest", "capture_query"]
      iex> {:ok, %{"ledger" => %{"offered" => 0}}} = Enum.at(tools, 1).callback.(%{})
      iex> {:error, "limit: an integer from 1 to 1000 expected, 0 given"} = Enum.at(tools, 2).callback.(%{"limit" => 0})
      iex> ElixirScope.Capture.MCP.tools(capture, changes: true) |> Enum.map(& &1.annotations.readOnlyHint)
      [true, true, true, true, false, false]
  """
  @spec tools(target(), [option()]) :: [tool()]
  def tools(target \\ PipelineManager, options \\ []) do
    checked!(options)
    encode = Keyword.get(options, :encode, & &1)

    for {name, description, arguments, required, changes?} <- definitions(target),
        options[:changes] == true or not changes? do
      %{
        name: Keyword.get(options, :prefix, "capture_") <> name,
        description: description,
        inputSchema: Arguments.schema(arguments, required),
        annotations: %{
          readOnlyHint: not changes?,
          destructiveHint: false,
          idempotentHint: true,
          openWorldHint: false
        },
        callback: fn given -> with {:ok, answer} <- call(target, name, given, options), do: {:ok, encode.(answer)} end
      }
    end
  end

  @doc """
  Does what the tool of that name (without a prefix) does. `options` are those of `tools/2`: `:changes`, `:events`, `:view`. It never raises on a name, an argument or a pipeline.

      iex> ElixirScope.Capture.MCP.call(:there_is_no_such_pipeline, "scale", %{"workers" => 2})
      {:error, "scale changes the pipeline, which is not allowed here; give MCP.tools/2 the option changes: true"}
      iex> ElixirScope.Capture.MCP.call(:there_is_no_such_pipeline, "scale", %{"workers" => -1}, changes: true)
      {:error, "workers: an integer from 0 to 1024 expected, -1 given"}
      iex> ElixirScope.Capture.MCP.call(:there_is_no_such_pipeline, "latest", %{})
      {:error, "events cannot be read: the pipeline does not run"}
  """
  @spec call(target(), String.t(), map(), [option()]) :: {:ok, map()} | {:error, String.t()}
  def call(target, name, given, options \\ []) do
    checked!(options)
    here = fn -> protect(fn -> run(target, name, given, options) end) end

    case target do
      %Capture{} -> here.()
      server -> server |> Remote.ask(__MODULE__, :call, [name, given, options], here) |> remote()
    end
  end

  defp remote({:error, {:remote, node, reason}}),
    do: {:error, "the node #{node} cannot be asked: #{inspect(reason, structs: false)}"}

  defp remote(answer), do: answer

  # ---- what there is ----

  # {name, description, arguments, those that must be given, whether it changes something}
  defp definitions(target) do
    [
      {"health",
       "Whether the capture pipeline of this application works: its status, the reasons if it is degraded, its workers, and under `storage` whether and from where events can be read.",
       [], [], false},
      {"metrics",
       "The figures of the capture pipeline: how many events were read, stored, retried, dead-lettered, the rate and the backlog; under `ledger` how many were offered to the capture and where each has gone.",
       [], [], false},
      {"latest",
       "The events that were stored last (20; `limit` up to 1000), the oldest of them first; only those with a correlation id or an ast_node_id, if given. At most about 1 MiB.",
       [{:limit, {:integer, 1, 1_000}, "At most so many; 20 by default."} | @ids], [], false},
      {"query",
       "Stored events, the oldest first, such as all of one correlation id or one ast_node_id; in pages of up to `limit` events (100; up to 10000) and 1 MiB.",
       [
         {:limit, {:integer, 1, 10_000}, "At most so many; 100 by default."},
         {:cursor, :text, "The `next_cursor` of the page before, with the same other arguments."} | @ids
       ], [], false},
      {"scale", "Sets the number of writers of the capture pipeline. This changes the running application.",
       [{:workers, {:integer, 0, 1_024}, "How many writers; 0 only buffers."}], [:workers], true},
      {"update_config",
       "Changes options of the running capture pipeline: all that are given, or none. Returns the new values and those before. This changes the running application.",
       config(target), [], true}
    ]
  end

  defp config(%Capture{}), do: Enum.filter(@config, &(elem(&1, 0) in @of_capture))
  defp config(_manager), do: @config

  # ---- a call ----

  defp run(target, name, given, options) do
    case List.keyfind(definitions(target), name, 0) do
      nil ->
        names = target |> definitions() |> Enum.map_join(", ", &elem(&1, 0))
        {:error, "there is no tool #{inspect(name, printable_limit: 64)}; there are #{names}"}

      {name, _, arguments, required, changes?} ->
        if changes? and options[:changes] != true do
          {:error, "#{name} changes the pipeline, which is not allowed here; give MCP.tools/2 the option changes: true"}
        else
          with {:ok, read} <- Arguments.read(given, arguments, required), do: do_call(name, target, read, options)
        end
    end
  end

  defp do_call("health", target, _, options), do: Control.health(target, Source.of(target, options[:events]))
  defp do_call("metrics", target, _, options), do: Control.metrics(target, Source.of(target, options[:events]))
  defp do_call("scale", target, %{workers: workers}, _), do: Control.scale(target, workers)
  defp do_call("update_config", target, given, _), do: Control.update_config(target, given)

  defp do_call("latest", target, read, options),
    do: target |> Source.of(options[:events]) |> Events.latest(Map.put_new(read, :limit, 20), view(options))

  defp do_call("query", target, read, options),
    do: target |> Source.of(options[:events]) |> Events.query(Map.put_new(read, :limit, 100), view(options))

  defp view(options), do: Keyword.get(options, :view, & &1)

  # A pipeline may end meanwhile, and functions of the caller may do anything.
  defp protect(body) do
    body.()
  catch
    {:mcp, text} ->
      {:error, text}

    :exit, reason ->
      {:error, "the pipeline ended meanwhile, or does not answer: #{inspect(reason, limit: 10, structs: false)}"}

    kind, reason ->
      {:error, "the request failed: #{failure(kind, reason)}"}
  end

  defp failure(:error, %{__exception__: true, __struct__: module} = error), do: "#{inspect(module)}: #{message(error)}"
  defp failure(kind, reason), do: "#{kind} #{inspect(reason, limit: 10, structs: false)}"

  defp message(error), do: error |> Exception.message() |> String.slice(0, 1_000)

  # ---- options ----

  defp checked!(options) do
    case Enum.find(options, fn {key, value} -> not valid?(key, value) end) do
      nil -> :ok
      {key, _} -> raise ArgumentError, "MCP: the option #{inspect(key)} is unknown or has a value that it cannot have"
    end
  end

  defp valid?(:events, events), do: Source.valid?(events)
  defp valid?(:changes, changes), do: is_boolean(changes)
  defp valid?(:prefix, prefix), do: is_binary(prefix)
  defp valid?(key, function) when key in [:encode, :view], do: is_function(function, 1)
  defp valid?(_, _), do: false
end
