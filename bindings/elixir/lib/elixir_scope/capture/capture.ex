defmodule ElixirScope.Capture.Capture do
  @moduledoc """
  Captures terms and binaries from any process, at the cost of a copy: without a message, a lock or a wait.

      {:ok, capture} = ElixirScope.Capture.Capture.new()
      {:ok, _} = ElixirScope.Capture.PipelineManager.start_link(ring_buffer: capture)
      :ok = ElixirScope.Capture.Capture.event(capture, %{module: MyApp, function: :run})

  Each scheduler has a native ring of its own. Batches go to the `ElixirScope.Capture.AsyncWriter` processes that have this capture as their
  `ring_buffer` (its consumers), or, with a native storage, from native threads directly into SQLite:

      storage = ElixirScope.Capture.NativeStorage.sqlite("events.db")
      {:ok, capture} = ElixirScope.Capture.Capture.new(storage: storage)

  An event stays in its ring until the storage has acknowledged it. The struct may be kept anywhere: in application environment, an Agent,
  `:persistent_term`, a process dictionary. The pipeline lives as long as a reference to it exists. Call `close/2` to be sure that its events are
  stored.

  ## Options of `new/1`

    * `:storage`: an `ElixirScope.Capture.NativeStorage`. By default there is none: batches go to writers;
    * `:overflow`: what a capture does when its ring is full: `:drop_newest` (default), `:drop_oldest`, or `:block`;
    * `:block_timeout_ms`: how long a caller waits under `:block` (0 by default). The calling process waits, not a scheduler;
    * `:ring_dir`: a directory on tmpfs, such as one in `/dev/shm`, for a file that has the rings. What was captured and is not stored outlives the VM, however that
      ends: the next `new/1` with this directory delivers it, under the same identities. `:ring_disk`: 1 allows a directory on a disk. See "What outlives the VM" in
      `docs/elixir.md`;
    * `:terms`: `:blocks` captures no term as flat words, which costs more; by default the way of `capture_info/0` is taken;
    * `:rules`: a list of rules, a text, or `{:file, path}`: see `ElixirScope.Capture.Rules`;
    * `:attributes`: a keyword list or map of what is the same for all events, such as `[service: "shop", version: "1.2"]`: see `attribute/3`;
    * `:sampling_max_weight` (a power of two; by default nothing is sampled), `:sampling_hold_ms`, `:sampling_traces`, `:sampling_seed`, `:watermark_percent`: adaptive
      sampling by `correlation_id`, which begins when a ring is filled beyond the watermark;
    * `:priority_ring_bytes`: the size of a scheduler's second ring, for events with priority; `:share`: what `:elixir_scope_capture_pipeline.limit_calls/1` divides;
    * `:ring_bytes` of each scheduler's ring, which is charged with the memory that an event takes, `:max_event_bytes`, `:batch_size`, `:name`, and
      all others of `t:elixir_scope_capture_pipeline.config/0`.

  ## Refusals

  `{:error, reason}` with `:full`, `:too_large`, `:closed`, `:badarg`, `:busy` or a rarer one. No function here raises on a payload. Each refusal
  is counted in `metrics/1`. `{:error, :sampled}` and `{:error, :dropped_by_rule}` are no failures: sampling or a rule has left the event out, which
  `metrics/1` counts as `dropped_sampled` and `dropped_rule`. The functions of the ingestor (`ingest_function_call/6` and so on) return `:ok` for these: code that was
  written for the ingestor takes any other answer for a failure, and rules may be set while it runs.
  """

  alias ElixirScope.Capture.Capture.Event
  alias ElixirScope.Capture.Capture.UnderLoad
  alias ElixirScope.Capture.{CaptureKind, NativeStorage, Options}
  alias :elixir_scope_capture_pipeline, as: Pipeline
  alias :elixir_scope_capture_pipeline_nif, as: Nif

  @enforce_keys [:native, :block_ms, :storage]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          native: reference(),
          block_ms: non_neg_integer() | :infinity,
          storage: NativeStorage.t() | nil
        }
  @typedoc "The kind of an event, by the caller's own numbers below 0x7FFE0000."
  @type kind :: 0..0x7FFEFFFF
  @typedoc "An id of 64 bits; 0 is none."
  @type id :: 0..0xFFFFFFFFFFFFFFFF
  @type answer :: :ok | {:error, atom()}

  # ---- start and end ----

  @doc "Starts a pipeline. `{:error, {:badarg, key}}` names an invalid option."
  @spec new(keyword() | map()) :: {:ok, t()} | {:error, term()}
  def new(options \\ []) do
    {own, config} = options |> Options.to_map() |> Map.split([:storage, :block_timeout_ms, :rules, :attributes])
    storage = Map.get(own, :storage)
    block_ms = if config[:overflow] == :block, do: Map.get(own, :block_timeout_ms, 0), else: 0

    with :ok <- check_block(block_ms),
         {:ok, native_storage} <- native_storage(storage),
         {:ok, native} <- Pipeline.start(Map.merge(never_block(config), config), native_storage) do
      UnderLoad.begin(%__MODULE__{native: native, block_ms: block_ms, storage: storage}, own)
    end
  end

  defp check_block(:infinity), do: :ok
  defp check_block(ms) when is_integer(ms) and ms >= 0, do: :ok
  defp check_block(_), do: {:error, {:badarg, :block_timeout_ms}}

  # The caller waits in Elixir, never in the NIF.
  defp never_block(%{overflow: :block}), do: %{block_timeout_us: 0}
  defp never_block(_), do: %{}

  defp native_storage(nil), do: {:ok, :notices}
  defp native_storage(%NativeStorage{} = storage), do: {:ok, NativeStorage.description(storage)}
  defp native_storage(_), do: {:error, {:badarg, :storage}}

  @doc """
  Refuses new events, stores the remaining ones, and ends the pipeline. Waits for at most `timeout` milliseconds. After `{:error, {:timeout, _}}`
  the metrics tell how many events are left, and another `close/2` goes on.
  """
  @spec close(t(), timeout()) :: :ok | {:error, term()}
  def close(%__MODULE__{native: native}, timeout \\ 5_000), do: Pipeline.close(native, timeout)

  @doc "Waits until every event captured before is stored or dead-lettered. The calling process waits, not a scheduler. A storage must not call it."
  @spec flush(t(), timeout()) :: :ok | {:error, term()}
  def flush(%__MODULE__{native: native}, timeout \\ 5_000), do: Pipeline.flush(native, timeout)

  @doc "The native pipeline, for `:elixir_scope_capture_pipeline`."
  @spec pipeline(t()) :: reference()
  def pipeline(%__MODULE__{native: native}), do: native

  @doc """
  How terms are captured in this VM: `:flat` words, or environment `:blocks`, which cost more; the reason, and the version of the emulator. See
  `:elixir_scope_capture_pipeline.capture_info/0`.
  """
  @spec capture_info() :: %{terms: :flat | :blocks, reason: :tested | :version | :layout, erts: String.t()}
  defdelegate capture_info(), to: Pipeline

  # ---- captures ----

  @doc "Captures a term of kind 0. A binary is captured as its bytes; any other term is delivered equal to the captured one."
  @spec event(t(), term()) :: answer()
  def event(capture, term), do: event(capture, 0, term)

  @doc "Captures a term."
  @spec event(t(), kind(), term()) :: answer()
  def event(%__MODULE__{} = capture, kind, term) when is_binary(term), do: binary(capture, kind, term)

  def event(%__MODULE__{native: native} = capture, kind, term) do
    case Nif.capture_term(native, kind, term) do
      :ok -> :ok
      answer -> slow_path(answer, capture, kind, term, 0, 0)
    end
  end

  @doc "Captures a term with a correlation id."
  @spec event(t(), kind(), term(), id()) :: answer()
  def event(capture, kind, term, correlation_id), do: event(capture, kind, term, correlation_id, 0)

  @doc "Captures a term with a correlation id and a node id (the `ast_node_id` as a number)."
  @spec event(t(), kind(), term(), id(), id()) :: answer()
  def event(%__MODULE__{} = capture, kind, term, correlation_id, node_id) when is_binary(term),
    do: binary(capture, kind, term, correlation_id, node_id)

  def event(%__MODULE__{native: native} = capture, kind, term, correlation_id, node_id) do
    case Nif.capture_term(native, kind, term, correlation_id, node_id) do
      :ok -> :ok
      answer -> slow_path(answer, capture, kind, term, correlation_id, node_id)
    end
  end

  @doc "Captures the bytes of a binary, of kind 0."
  @spec binary(t(), binary()) :: answer()
  def binary(capture, binary), do: binary(capture, 0, binary)

  @doc "Captures the bytes of a binary."
  @spec binary(t(), kind(), binary()) :: answer()
  def binary(%__MODULE__{native: native} = capture, kind, binary) do
    case Nif.capture_binary(native, kind, binary) do
      :ok -> :ok
      answer -> slow_path(answer, capture, kind, binary, 0, 0)
    end
  end

  @doc "Captures the bytes of a binary with a correlation id."
  @spec binary(t(), kind(), binary(), id()) :: answer()
  def binary(capture, kind, binary, correlation_id), do: binary(capture, kind, binary, correlation_id, 0)

  @doc "Captures the bytes of a binary with a correlation id and a node id."
  @spec binary(t(), kind(), binary(), id(), id()) :: answer()
  def binary(%__MODULE__{native: native} = capture, kind, binary, correlation_id, node_id) do
    case Nif.capture_binary(native, kind, binary, correlation_id, node_id) do
      :ok -> :ok
      answer -> slow_path(answer, capture, kind, binary, correlation_id, node_id)
    end
  end

  @doc """
  Captures a term with what is given: `:kind`, `:correlation_id`, `:node_id`, `:timestamp_ns`, and `priority: true` for an event that matters more than
  others. That one has a ring of its own, so it finds room where the others have filled theirs, and it is stored before them.

      iex> {:ok, capture} = ElixirScope.Capture.Capture.new()
      iex> ElixirScope.Capture.Capture.offer(capture, %{payment: 7}, correlation_id: 3, priority: true)
      :ok
      iex> {:ok, %{captured_priority: 1}} = ElixirScope.Capture.Capture.metrics(capture)
  """
  @spec offer(t(), term(), keyword() | map()) :: answer()
  defdelegate offer(capture, term, options \\ []), to: UnderLoad

  # ---- typed kinds ----

  @doc """
  Defines a kind: storages then show the fields of its payloads. With the same layout again `:ok`; with another one `{:error, {:fixed, text}}`.

  Instead of a `ElixirScope.Capture.CaptureKind` the number and the options of `ElixirScope.Capture.CaptureKind.new/2` may be given: see `define/3`.
  """
  @spec define(t(), CaptureKind.t()) :: :ok | {:error, term()}
  def define(%__MODULE__{native: native}, %CaptureKind{native: kind}), do: Pipeline.kind_define(native, kind)

  @doc "Makes a kind and defines it."
  @spec define(t(), kind(), keyword() | map()) :: {:ok, CaptureKind.t()} | {:error, term()}
  def define(%__MODULE__{} = capture, number, options) do
    with {:ok, kind} <- CaptureKind.new(number, options),
         :ok <- define(capture, kind),
         do: {:ok, kind}
  end

  @doc "Captures an event of a typed kind: the binary that `ElixirScope.Capture.CaptureKind.encode/2` makes of the values."
  @spec typed(t(), CaptureKind.t(), CaptureKind.values(), id(), id()) :: answer() | {:error, {:invalid, String.t()}}
  def typed(%__MODULE__{} = capture, %CaptureKind{} = kind, values, correlation_id \\ 0, node_id \\ 0) do
    with {:ok, payload} <- CaptureKind.encode(kind, values),
         do: binary(capture, kind.number, payload, correlation_id, node_id)
  end

  # The slow path: a term that native code cannot measure, or a full ring and a caller that waits for space.
  defp slow_path({:opaque, _}, capture, kind, term, correlation_id, node_id) do
    answer = Pipeline.capture(capture.native, kind, term, correlation_id, node_id)
    if answer == :ok, do: :ok, else: slow_path(answer, capture, kind, term, correlation_id, node_id)
  end

  defp slow_path({:error, :full}, %{block_ms: ms} = capture, kind, term, correlation_id, node_id) when ms != 0,
    do: Pipeline.capture_wait(capture.native, kind, term, correlation_id, node_id, ms)

  defp slow_path({:error, _} = refusal, _capture, _kind, _term, _correlation_id, _node_id), do: refusal

  # ---- helpers with the functions of the ingestor ----

  @doc """
  Captures a function call, as a small tuple. The writer builds the map with `id`, `timestamp`, `wall_time` and the other keys. `correlation_id`
  may be any term. A number is also captured as the event's own correlation id.
  """
  @spec ingest_function_call(t(), module(), atom(), [term()], pid(), term()) :: answer()
  def ingest_function_call(capture, module, function, args, caller_pid, correlation_id) do
    ingest(
      capture,
      :function_call,
      {Event, :function_call, module, function, args, caller_pid, correlation_id},
      correlation_id
    )
  end

  @doc "Captures the return of a function."
  @spec ingest_function_return(t(), term(), non_neg_integer(), term()) :: answer()
  def ingest_function_return(capture, return_value, duration_ns, correlation_id) do
    ingest(
      capture,
      :function_return,
      {Event, :function_return, return_value, duration_ns, self(), correlation_id},
      correlation_id
    )
  end

  @doc "Captures that a process has started another."
  @spec ingest_process_spawn(t(), pid(), pid()) :: answer()
  def ingest_process_spawn(capture, parent_pid, child_pid) do
    ingest(capture, :process_spawn, {Event, :process_spawn, parent_pid, child_pid}, 0)
  end

  @doc "Captures that a message is sent."
  @spec ingest_message_send(t(), pid(), pid(), term()) :: answer()
  def ingest_message_send(capture, from_pid, to_pid, message) do
    ingest(capture, :message_send, {Event, :message_send, from_pid, to_pid, message}, 0)
  end

  @doc "Captures that a message is received."
  @spec ingest_message_receive(t(), pid(), term()) :: answer()
  def ingest_message_receive(capture, pid, message) do
    ingest(capture, :message_receive, {Event, :message_receive, pid, message}, 0)
  end

  @doc "Captures that the state of a server has changed."
  @spec ingest_state_change(t(), pid(), term(), term()) :: answer()
  def ingest_state_change(capture, server_pid, old_state, new_state) do
    ingest(capture, :state_change, {Event, :state_change, server_pid, old_state, new_state}, 0)
  end

  @doc "Captures a measurement."
  @spec ingest_performance_metric(t(), atom(), number(), map()) :: answer()
  def ingest_performance_metric(capture, name, value, metadata \\ %{}) do
    ingest(capture, :performance_metric, {Event, :performance_metric, name, value, metadata, self()}, 0)
  end

  @doc "Captures an error."
  @spec ingest_error(t(), term(), term(), list()) :: answer()
  def ingest_error(capture, type, message, stacktrace) do
    ingest(capture, :error, {Event, :error, type, message, stacktrace, self()}, 0)
  end

  @doc """
  Captures a list of events in order, up to the first one that is refused. Returns how many were captured; those that sampling or a rule leaves out count as
  well, and the list goes on behind them.
  """
  @spec ingest_batch(t(), [term()]) :: {:ok, non_neg_integer()} | {:error, atom()}
  def ingest_batch(%__MODULE__{native: native}, events) do
    case Pipeline.capture_many(native, 0, events) do
      {:ok, count} -> {:ok, count}
      {:error, reason, 0, _rest} -> {:error, reason}
      {:error, _reason, count, _rest} -> {:ok, count}
    end
  end

  defp ingest(capture, type, tuple, id) when is_integer(id) and id in 0..0xFFFFFFFFFFFFFFFF,
    do: capture |> event(Event.kind(type), tuple, id, 0) |> ingested()

  defp ingest(capture, type, tuple, _), do: capture |> event(Event.kind(type), tuple, 0, 0) |> ingested()

  # Code that was written for the ingestor takes anything but `:ok` for a failure, and may try again. What was left out on purpose is none.
  defp ingested({:error, reason}) when reason in [:sampled, :dropped_by_rule], do: :ok
  defp ingested(answer), do: answer

  # ---- figures ----

  @doc """
  All figures: those of `pipeline_metrics_t`, with the ledger (`offered`, `captured`, `stored`, `dropped_full`, `buffered`, `in_flight` …), and the
  number of attached writers under the key `faces`.
  """
  @spec metrics(t()) :: {:ok, map()} | {:error, term()}
  def metrics(%__MODULE__{native: native}), do: Pipeline.metrics(native)

  @doc "The health: `status` (`:healthy`, `:degraded`, `:failing`), `reasons`, `message`, and more."
  @spec health(t()) :: {:ok, map()} | {:error, term()}
  def health(%__MODULE__{native: native}), do: Pipeline.health(native)

  @doc "How many events are captured and not yet stored."
  @spec backlog(t()) :: non_neg_integer()
  def backlog(%__MODULE__{} = capture) do
    case metrics(capture) do
      {:ok, %{buffered: buffered, in_flight: in_flight, in_doubt: in_doubt}} -> buffered + in_flight + in_doubt
      _ -> 0
    end
  end

  @doc """
  How urgently the pipeline needs relief, 0 to 100: how full its fullest ring is, or how old its oldest event is against `:pressure_age_ms` (5 s),
  whichever is more. It reads one word, so it may be asked before each capture:

      iex> {:ok, capture} = ElixirScope.Capture.Capture.new()
      iex> ElixirScope.Capture.Capture.pressure(capture)
      0
  """
  @spec pressure(t()) :: 0..100
  def pressure(%__MODULE__{native: native}), do: Pipeline.pressure(native)

  @doc """
  Has the calling process told when the pressure rises to `high`, and then when it falls to `low`, and so on by turns: by messages
  `{:capture_pressure, ref, pressure, :high | :low}`. A capture tells one process; who calls last takes the place of the one before.
  `unwatch_pressure/1` ends it.
  """
  @spec watch_pressure(t(), 0..100, 0..100) :: {:ok, reference()} | {:error, term()}
  def watch_pressure(%__MODULE__{native: native}, low, high), do: Pipeline.watch_pressure(native, {low, high})

  @doc "Ends what `watch_pressure/3` has begun. A message may still be on its way."
  @spec unwatch_pressure(t()) :: :ok | {:error, term()}
  def unwatch_pressure(%__MODULE__{native: native}), do: Pipeline.unwatch_pressure(native)

  @doc """
  Changes options of `t:elixir_scope_capture_pipeline.config/0` while the capture runs: all that are given, or none. `{:error, {:fixed, text}}` names one that
  cannot change.

      iex> {:ok, capture} = ElixirScope.Capture.Capture.new()
      iex> ElixirScope.Capture.Capture.update(capture, sampling_max_weight: 64, share: 3)
      :ok
      iex> ElixirScope.Capture.Capture.update(capture, sampling_max_weight: 3)
      {:error, {:invalid, "pipeline_config_t.sampling_max_weight: 0, or a power of two allowed, 3 given"}}
  """
  @spec update(t(), keyword() | map()) :: :ok | {:error, term()}
  def update(%__MODULE__{native: native}, options), do: Pipeline.update(native, Options.to_map(options))

  @doc """
  Sets an attribute of the capture: what is the same for all of its events, such as the host, the service or the version. A native storage keeps it once,
  not in each event. Of several values of one name the last one counts.
  """
  @spec attribute(t(), atom() | String.t(), atom() | String.t()) :: :ok | {:error, term()}
  def attribute(%__MODULE__{native: native}, name, value), do: Pipeline.attribute(native, name, value)

  @doc """
  Writes what lies in the ring buffers, and is not stored yet, to the directory `dir`, as a journal that `ElixirScope.Capture.CaptureJournal` reads. It changes
  nothing, and captures go on meanwhile. Terms that are captured as handles are left out, and counted as `left_out`.
  """
  @spec snapshot(t(), Path.t()) :: {:ok, map()} | {:error, term()}
  def snapshot(%__MODULE__{native: native}, dir), do: Pipeline.snapshot(native, dir)

  @doc "Sets the directory of the snapshots that rules with `snapshot: true` ask for; `:none` ends that."
  @spec snapshot_on_trigger(t(), Path.t() | :none) :: :ok | {:error, term()}
  def snapshot_on_trigger(%__MODULE__{native: native}, dir), do: Pipeline.snapshot_on_trigger(native, dir)

  # ---- delivery: for the writers ----

  @doc false
  @spec native_storage?(t()) :: boolean()
  def native_storage?(%__MODULE__{storage: storage}), do: storage != nil

  @doc false
  @spec attach(t()) :: :ok | {:error, term()}
  def attach(%__MODULE__{native: native}), do: Pipeline.attach(native)
end
