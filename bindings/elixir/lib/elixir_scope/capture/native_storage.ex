defmodule ElixirScope.Capture.NativeStorage do
  @moduledoc """
  SQLite, written by native threads.

  For an `ElixirScope.Capture.Capture` the events never enter the VM again:

      {:ok, capture} = Capture.new(storage: NativeStorage.sqlite("events.db"))

  For ring buffers it is a storage like any other, once it is started:

      {:ok, storage} = NativeStorage.start("events.db")
      {:ok, _} = PipelineManager.start_link(ring_buffer: ring, storage: storage)

  A batch counts as stored when SQLite has committed it. Events that come from a ring buffer are in the external term format
  (`:erlang.binary_to_term/1` of the column `payload`), binaries as they are; their `timestamp`, if it is a number, becomes the event's
  time, and numbers as `correlation_id` and `ast_node_id` its ids. A batch that is delivered twice is in the database twice:
  what identifies events there is given by SQLite's own pipeline. From a capture each event is stored once.

  Options: `:max_bytes`, `:max_age_ms`, `:min_free_disk`, `:on_full` (`:delete_oldest` or `:reject`), `:synchronous`
  (`:off`, `:normal`, `:full`), and what else `t:elixir_scope_capture_pipeline.sqlite_options/0` has.
  """

  @behaviour ElixirScope.Capture.Storage

  alias ElixirScope.Capture.{Batch, Options}
  alias ElixirScope.Capture.Capture.Event
  alias :elixir_scope_capture_pipeline, as: Pipeline

  @enforce_keys [:path, :options]
  defstruct [:path, :options, :native]

  @type t :: %__MODULE__{path: Path.t(), options: map(), native: reference() | nil}

  # How long one batch waits for the commit before it is tried again.
  @commit_ms 10_000

  @doc "The description of a database, for `ElixirScope.Capture.Capture.new/1`."
  @spec sqlite(Path.t(), keyword() | map()) :: t()
  def sqlite(path, options \\ []), do: %__MODULE__{path: path, options: Options.to_map(options)}

  @doc "Opens a database as a storage for writers of ring buffers. It lives as long as somebody holds it, or until `close/2`."
  @spec start(Path.t(), keyword() | map()) :: {:ok, t()} | {:error, term()}
  def start(path, options \\ []) do
    storage = sqlite(path, options)
    config = %{overflow: :drop_newest, ring_bytes: 8 * 1024 * 1024, max_event_bytes: 1024 * 1024}
    with {:ok, native} <- Pipeline.start(config, description(storage)), do: {:ok, %{storage | native: native}}
  end

  @doc "Commits what there is and closes the database; waits for at most so many milliseconds."
  @spec close(t(), timeout()) :: :ok | {:error, term()}
  def close(%__MODULE__{native: native}, timeout \\ 5_000), do: Pipeline.close(native, timeout)

  @doc "The figures of the database's own pipeline."
  @spec metrics(t()) :: {:ok, map()} | {:error, term()}
  def metrics(%__MODULE__{native: native}), do: Pipeline.metrics(native)

  @doc false
  @spec description(t()) :: {:sqlite, Path.t(), map()}
  def description(%__MODULE__{path: path, options: options}), do: {:sqlite, path, options}

  @doc "Stores events and waits for the commit."
  @impl true
  @spec store_events(t(), [term()]) :: :ok | {:ok, non_neg_integer()} | {:error, term()}
  def store_events(storage, events),
    do: store_batch(storage, %Batch{entries: for(event <- events, do: {event, nil, nil})})

  @doc "Stores the events of a batch and waits for the commit."
  @impl true
  @spec store_batch(t(), Batch.t()) :: :ok | {:ok, non_neg_integer()} | {:error, term()}
  def store_batch(%__MODULE__{native: nil}, _batch), do: {:error, {:unavailable, :not_started}}

  def store_batch(%__MODULE__{native: native}, %Batch{entries: entries}) do
    shift = Event.clock_shift()

    case capture_all(entries, native, shift, 0) do
      {:ok, _} -> committed(native, :ok)
      {{:error, reason}, 0} when reason in [:closed, :busy, :no_ring] -> {:error, {:unavailable, reason}}
      {{:error, reason}, 0} -> {:error, reason}
      {{:error, _}, count} -> committed(native, {:ok, count})
    end
  end

  defp capture_all([], _native, _shift, count), do: {:ok, count}

  defp capture_all([{event, _, stamp} | rest] = entries, native, shift, count) do
    case Pipeline.capture_event(native, captured(event, stamp, shift)) do
      :ok ->
        capture_all(rest, native, shift, count + 1)

      {:error, :full} ->
        case Pipeline.flush(native, @commit_ms) do
          :ok -> capture_all(entries, native, shift, count)
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

  defp captured(event, stamp, shift) do
    ids = %{
      payload: event,
      kind: (stamp && stamp.kind) || 0,
      correlation_id: number(event, :correlation_id, stamp),
      node_id: number(event, :ast_node_id, stamp)
    }

    case event do
      %{timestamp: time} when is_integer(time) and time - shift >= 0 -> Map.put(ids, :timestamp_ns, time - shift)
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
