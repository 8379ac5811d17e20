defmodule ElixirScope.Capture.Tally do
  @moduledoc false
  # The figures of one AsyncWriter, in atomics. Mostly its loop changes them. The writer, its pool and the manager read them, so that none of
  # them has to ask a loop that is busy storing.

  alias ElixirScope.Capture.Rate

  @fields [
    :position,
    :events_read,
    :events_processed,
    :batches_processed,
    :error_count,
    :last_poll_time,
    :storing_since,
    :source_trouble,
    :storage_trouble,
    :processing_order,
    :busy_since,
    :control_version,
    :range_scope,
    :range_from,
    :range_to
  ]

  @enforce_keys [:figures, :rate]
  defstruct [:figures, :rate]

  @type t :: %__MODULE__{figures: :atomics.atomics_ref(), rate: Rate.t()}

  # A trouble is its number in the atomics; 0 is none.
  @troubles [
    :invalid_ring_buffer,
    :ring_buffer_failing,
    :storage_unavailable,
    :storage_failing,
    :storage_function_purged
  ]

  @doc "The pool's health reports a writer that has been storing one batch for longer than this."
  @spec slow_ms() :: pos_integer()
  def slow_ms, do: 5_000

  @spec new() :: t()
  def new do
    tally = %__MODULE__{figures: :atomics.new(length(@fields), signed: true), rate: Rate.new()}
    put(tally, :last_poll_time, System.monotonic_time(:nanosecond))
    tally
  end

  @spec get(t(), atom()) :: integer()
  @spec put(t(), atom(), integer()) :: :ok
  @spec add(t(), atom(), integer()) :: :ok
  for {field, index} <- Enum.with_index(@fields, 1) do
    def get(%__MODULE__{figures: figures}, unquote(field)), do: :atomics.get(figures, unquote(index))
    def put(%__MODULE__{figures: figures}, unquote(field), value), do: :atomics.put(figures, unquote(index), value)
    def add(%__MODULE__{figures: figures}, unquote(field), value), do: :atomics.add(figures, unquote(index), value)
  end

  @doc "Sets the trouble of the writer's source or storage; nil: none."
  @spec set_trouble(t(), :source_trouble | :storage_trouble, atom() | nil) :: :ok
  def set_trouble(tally, field, nil), do: put(tally, field, 0)

  for {trouble, number} <- Enum.with_index(@troubles, 1) do
    def set_trouble(tally, field, unquote(trouble)), do: put(tally, field, unquote(number))
  end

  @spec trouble(t(), :source_trouble | :storage_trouble) :: atom() | nil
  def trouble(tally, field), do: tally |> get(field) |> trouble()

  @doc "The storage is about to get these positions. It has them until `storing_since` is 0 again."
  @spec storing(t(), {integer(), integer(), integer()}) :: :ok
  def storing(tally, {scope, from, to}) do
    put(tally, :range_scope, scope)
    put(tally, :range_from, from)
    put(tally, :range_to, to)
    since = since()
    # A writer that stores one batch in many calls is not stuck.
    put(tally, :busy_since, since)
    put(tally, :storing_since, since)
  end

  @spec range(t()) :: {integer(), integer(), integer()}
  def range(tally), do: {get(tally, :range_scope), get(tally, :range_from), get(tally, :range_to)}

  @doc "The current time in milliseconds for the fields that end in `_since`, in which 0 means never."
  @spec since() :: integer()
  def since do
    case System.monotonic_time(:millisecond) do
      0 -> 1
      time -> time
    end
  end

  @doc "The reasons for which this writer is not healthy. `loop`: the process that stores its events."
  @spec reasons(t(), pid() | nil) :: [atom()]
  def reasons(tally, loop) do
    troubles = Enum.reject([trouble(get(tally, :source_trouble)), trouble(get(tally, :storage_trouble))], &is_nil/1)

    cond do
      suspended?(loop) -> [:writer_suspended | troubles]
      slow?(get(tally, :storing_since)) -> troubles ++ [:storage_slow]
      troubles == [] and get(tally, :storing_since) == 0 and slow?(get(tally, :busy_since)) -> [:writer_stuck]
      true -> troubles
    end
  end

  # By :erlang.suspend_process/1, a debugger or a tracer: the process does not run and cannot report it.
  defp suspended?(loop), do: is_pid(loop) and Process.info(loop, :status) == {:status, :suspended}

  defp trouble(0), do: nil
  defp trouble(number), do: Enum.at(@troubles, number - 1)

  defp slow?(0), do: false
  defp slow?(since), do: System.monotonic_time(:millisecond) - since > slow_ms()
end
