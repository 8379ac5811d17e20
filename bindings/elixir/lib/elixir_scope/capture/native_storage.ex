defmodule ElixirScope.Capture.NativeStorage do
  @moduledoc """
  SQLite, a journal or traces for Perfetto as a storage, written by native threads.

  For an `ElixirScope.Capture.Capture` the events never enter the VM again:

      {:ok, capture} = Capture.new(storage: NativeStorage.sqlite("events.db"))
      {:ok, capture} = Capture.new(storage: NativeStorage.journal("events.journal"))
      {:ok, capture} = Capture.new(storage: NativeStorage.perfetto("traces"))

  A journal is a directory of files that are only appended to: it takes events many times as fast as a database.
  `ElixirScope.Capture.CaptureJournal` reads it back. Traces are a directory of files that `ui.perfetto.dev` opens; a line of
  time has the events of one scheduler. Nothing here reads them back.

  For ring buffers it is a storage like any other, after it is started:

      {:ok, storage} = NativeStorage.start(NativeStorage.journal("events.journal"))
      {:ok, _} = PipelineManager.start_link(ring_buffer: ring, storage: storage)

  A batch is stored when SQLite has committed it, or when it is in the journal's files. Events from a ring buffer are stored in the external term format
  (`:erlang.binary_to_term(payload, [:safe])` of the payload), binaries as they are. An integer `timestamp` becomes the event's time, and integer
  values of `correlation_id` and `ast_node_id` become its ids. A batch that is delivered twice is stored twice, because the storage's own pipeline
  makes the identities there. From a capture each event is stored once.

  Options of a database: `:max_bytes`, `:max_age_ms`, `:min_free_disk`, `:on_full` (`:delete_oldest` or `:reject`), `:synchronous`
  (`:off`, `:normal`, `:full`), `:file_mode` (default 0o600: only the owner has access), and all others of
  `t:elixir_scope_capture_pipeline.sqlite_options/0`. Those of a journal are `:max_bytes`, `:max_age_ms`, `:min_free_disk`, `:on_full`,
  `:sync` (`:never`, `:flush`, `:interval`, `:batch`), `:encoding` (`:raw`, `:columns`, `:columns_lz4`, `:columns_zstd`), `:file_mode`, `:live_figures`
  (true: a file in the directory has the pipeline's figures, which `capture-pipeline metrics` prints or serves for Prometheus), and all others
  of `t:elixir_scope_capture_pipeline.journal_options/0`. Those of traces are `:file_bytes`, `:file_age_ms`, `:max_bytes`, `:sync` (`:never`, `:flush`) and
  `:file_mode`.
  """

  @behaviour ElixirScope.Capture.Storage

  alias ElixirScope.Capture.{Batch, Clock, Options}
  alias :elixir_scope_capture_pipeline, as: Pipeline

  @enforce_keys [:path, :options]
  defstruct [:path, :options, :native, kind: :sqlite]

  @type t :: %__MODULE__{
          kind: :sqlite | :journal | :perfetto,
          path: Path.t(),
          options: map(),
          native: reference() | nil
        }

  # How long one batch waits for the commit before it is tried again.
  @commit_ms 10_000

  @doc "The description of a database, for `ElixirScope.Capture.Capture.new/1`."
  @spec sqlite(Path.t(), keyword() | map()) :: t()
  def sqlite(path, options \\ []), do: %__MODULE__{path: path, options: Options.to_map(options)}

  @doc "The description of a journal in a directory, which is made if it is missing, for `ElixirScope.Capture.Capture.new/1`."
  @spec journal(Path.t(), keyword() | map()) :: t()
  def journal(path, options \\ []), do: %__MODULE__{kind: :journal, path: path, options: Options.to_map(options)}

  @doc "The description of traces in a directory, which is made if it is missing, for `ElixirScope.Capture.Capture.new/1`."
  @spec perfetto(Path.t(), keyword() | map()) :: t()
  def perfetto(path, options \\ []), do: %__MODULE__{kind: :perfetto, path: path, options: Options.to_map(options)}

  @doc """
  Opens a storage for writers of ring buffers: what `sqlite/2`, `journal/2` or `perfetto/2` describes, or a database by its path. It lives as long as a reference to it
  exists, or until `close/2`.
  """
  @spec start(t() | Path.t(), keyword() | map()) :: {:ok, t()} | {:error, term()}
  def start(storage, options \\ [])

  def start(%__MODULE__{} = storage, []) do
    config = %{overflow: :drop_newest, ring_bytes: 8 * 1024 * 1024, max_event_bytes: 1024 * 1024}
    with {:ok, native} <- Pipeline.start(config, description(storage)), do: {:ok, %{storage | native: native}}
  end

  def start(path, options), do: start(sqlite(path, options))

  @doc "Stores the remaining events and closes the database, the journal or the trace. Waits for at most `timeout` milliseconds."
  @spec close(t(), timeout()) :: :ok | {:error, term()}
  def close(%__MODULE__{native: native}, timeout \\ 5_000), do: Pipeline.close(native, timeout)

  @doc "The figures of the storage's own pipeline."
  @spec metrics(t()) :: {:ok, map()} | {:error, term()}
  def metrics(%__MODULE__{native: native}), do: Pipeline.metrics(native)

  @doc false
  @spec description(t()) :: {:sqlite | :journal | :perfetto, Path.t(), map()}
  def description(%__MODULE__{kind: kind, path: path, options: options}), do: {kind, path, options}

  @doc "Stores events and waits until that is done."
  @impl true
  @spec store_events(t(), [term()]) :: :ok | {:ok, non_neg_integer()} | {:error, term()}
  def store_events(storage, events),
    do: store_batch(storage, %Batch{entries: for(event <- events, do: {event, nil, nil})})

  @doc "Stores the events of a batch and waits until that is done."
  @impl true
  @spec store_batch(t(), Batch.t()) :: :ok | {:ok, non_neg_integer()} | {:error, term()}
  def store_batch(%__MODULE__{native: nil}, _batch), do: {:error, {:unavailable, :not_started}}

  def store_batch(%__MODULE__{native: native}, %Batch{entries: entries}) do
    case capture_all(entries, native, 0) do
      {:ok, _} -> committed(native, :ok)
      {{:error, reason}, 0} when reason in [:closed, :busy, :no_ring] -> {:error, {:unavailable, reason}}
      {{:error, reason}, 0} -> {:error, reason}
      {{:error, _}, count} -> committed(native, {:ok, count})
    end
  end

  defp capture_all([], _native, count), do: {:ok, count}

  defp capture_all([{event, _, stamp} | rest] = entries, native, count) do
    case Pipeline.capture_event(native, captured(event, stamp)) do
      :ok ->
        capture_all(rest, native, count + 1)

      {:error, :full} ->
        case Pipeline.flush(native, @commit_ms) do
          :ok -> capture_all(entries, native, count)
          _ -> {{:error, {:unavailable, :full}}, count}
        end

      refusal ->
        {refusal, count}
    end
  end

  defp committed(native, answer) do
    case Pipeline.flush(native, @commit_ms) do
      :ok -> answer
      {:error, reason} -> {:error, {:unavailable, reason}}
    end
  end

  defp captured(event, stamp) do
    ids = %{
      payload: event,
      kind: (stamp && stamp.kind) || 0,
      correlation_id: number(event, :correlation_id, stamp),
      node_id: number(event, :ast_node_id, stamp)
    }

    with %{timestamp: time} when is_integer(time) <- event,
         system when system in 0..0xFFFFFFFFFFFFFFFF <- Clock.convert(time, Clock.piece(:system, time)) do
      Map.put(ids, :timestamp_ns, system)
    else
      _ -> ids
    end
  end

  defp number(event, key, stamp) do
    case event do
      %{^key => id} when is_integer(id) and id in 0..0xFFFFFFFFFFFFFFFF -> id
      _ when key == :correlation_id -> (stamp && stamp.correlation_id) || 0
      _ -> (stamp && stamp.node_id) || 0
    end
  end
end
