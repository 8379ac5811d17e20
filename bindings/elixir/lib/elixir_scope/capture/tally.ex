defmodule ElixirScope.Capture.Tally do
  @moduledoc false
  # The figures of one AsyncWriter, in atomics: its loop alone changes them; the writer, its pool and the manager read them, so
  # that nobody has to ask a writer that is busy storing.

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
    :processing_order
  ]

  @enforce_keys [:figures, :rate]
  defstruct [:figures, :rate]

  @type t :: %__MODULE__{figures: :atomics.atomics_ref(), rate: Rate.t()}

  # Troubles, by their number in the atomics; 0 is none.
  @troubles [
    :invalid_ring_buffer,
    :ring_buffer_failing,
    :storage_unavailable,
    :storage_failing
  ]

  @doc "A writer that has been storing one batch for longer than this is named by its pool's health."
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

  @doc "What ails the source or the storage of this writer: one of the troubles, or nil."
  @spec set_trouble(t(), :source_trouble | :storage_trouble, atom() | nil) :: :ok
  def set_trouble(tally, field, nil), do: put(tally, field, 0)

  for {trouble, number} <- Enum.with_index(@troubles, 1) do
    def set_trouble(tally, field, unquote(trouble)), do: put(tally, field, unquote(number))
  end

  @doc "The reasons for which this writer is not healthy."
  @spec reasons(t()) :: [atom()]
  def reasons(tally) do
    [trouble(get(tally, :source_trouble)), trouble(get(tally, :storage_trouble)), slowness(get(tally, :storing_since))]
    |> Enum.reject(&is_nil/1)
  end

  defp trouble(0), do: nil
  defp trouble(number), do: Enum.at(@troubles, number - 1)

  defp slowness(0), do: nil

  defp slowness(since) do
    if System.monotonic_time(:millisecond) - since > slow_ms(), do: :storage_slow
  end
end
