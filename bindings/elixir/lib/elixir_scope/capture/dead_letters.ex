defmodule ElixirScope.Capture.DeadLetters do
  @moduledoc """
  Events that a storage refused up to the retry limit, each once, with the reason. The newest ones are kept (option `:max_dead_letters`, 10,000 by
  default, or `:infinity`). Those that are removed to make space are counted as discarded.

  Read them with `ElixirScope.Capture.PipelineManager.dead_letters/1`, `ElixirScope.Capture.AsyncWriterPool.dead_letters/1` or
  `ElixirScope.Capture.AsyncWriter.dead_letters/1`. They live as long as the process at the top: the manager, or a pool or a writer that was
  started alone.
  """

  @enforce_keys [:table, :last, :max]
  defstruct [:table, :last, :max]

  @opaque t :: %__MODULE__{table: :ets.tid(), last: :atomics.atomics_ref(), max: pos_integer() | :infinity}

  @typedoc "A dead-lettered event: as the storage was last given it, and why that failed."
  @type letter :: %{event: term(), reason: term(), identity: term(), at: integer()}

  @doc false
  @spec new(pos_integer() | :infinity) :: t()
  def new(max) do
    %__MODULE__{table: :ets.new(:capture_dead_letters, [:ordered_set, :public]), last: :atomics.new(1, []), max: max}
  end

  # Returns how many were removed for it. The event is inserted before its identity: a writer that is killed in between leaves a dead letter
  # that may be kept twice, but none is lost.
  @doc false
  @spec put(t(), term(), term(), term()) :: non_neg_integer()
  def put(%__MODULE__{table: table} = letters, event, identity, reason) do
    if :ets.member(table, {:identity, identity}) do
      0
    else
      number = :atomics.add_get(letters.last, 1, 1)
      letter = %{event: event, reason: reason, identity: identity, at: System.monotonic_time(:nanosecond)}
      :ets.insert(table, {{:letter, number}, letter})
      :ets.insert(table, {{:identity, identity}, number})
      if letters.max == :infinity, do: 0, else: discard(table, number - letters.max)
    end
  end

  defp discard(_table, number) when number < 1, do: 0

  defp discard(table, number) do
    case :ets.take(table, {:letter, number}) do
      [{_, letter}] ->
        :ets.delete(table, {:identity, letter.identity})
        1

      [] ->
        0
    end
  end

  @doc false
  @spec list(t(), pos_integer() | :infinity) :: [letter()]
  def list(%__MODULE__{table: table}, limit) do
    pattern = [{{{:letter, :_}, :"$1"}, [], [:"$1"]}]

    case limit do
      :infinity -> :ets.select(table, pattern)
      _ -> with {letters, _} <- :ets.select(table, pattern, limit), do: letters, else: (_ -> [])
    end
  rescue
    # The owner of the table has ended.
    ArgumentError -> []
  end
end
