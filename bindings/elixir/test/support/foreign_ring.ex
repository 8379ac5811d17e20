defmodule CapturePipeline.Test.ForeignRing do
  @moduledoc false
  # A ring buffer of the design that the existing app has: a position is claimed by an atomic, then the event is written into an ETS table.

  import Bitwise

  defstruct [:id, :size, :mask, :overflow_strategy, :atomics_ref, :buffer_table]

  @written 1
  @oldest 2
  @writes 3
  @reads 4
  @dropped 5

  def new(opts \\ []) do
    size = Keyword.get(opts, :size, 1024)

    {:ok,
     %__MODULE__{
       id: Keyword.get(opts, :name, :foreign),
       size: size,
       mask: size - 1,
       overflow_strategy: Keyword.get(opts, :overflow_strategy, :drop_oldest),
       atomics_ref: :atomics.new(5, []),
       buffer_table: :ets.new(:foreign_ring, [:public, :set, read_concurrency: true])
     }}
  end

  def size(%__MODULE__{size: size}), do: size

  def write(%__MODULE__{atomics_ref: ref} = ring, event) do
    case claim(ring) do
      {:ok, position} ->
        fill(ring, position, event)

      :full when ring.overflow_strategy == :drop_oldest ->
        :atomics.add(ref, @oldest, 1)
        :atomics.add(ref, @dropped, 1)
        write(ring, event)

      :full ->
        {:error, :buffer_full}
    end
  end

  # The two halves of a write, for tests that stop in between.
  def claim(%__MODULE__{atomics_ref: ref} = ring) do
    written = :atomics.get(ref, @written)

    cond do
      written - :atomics.get(ref, @oldest) >= ring.size -> :full
      :atomics.compare_exchange(ref, @written, written, written + 1) == :ok -> {:ok, written}
      true -> claim(ring)
    end
  end

  def fill(%__MODULE__{} = ring, position, event) do
    :ets.insert(ring.buffer_table, {position &&& ring.mask, event})
    :atomics.add(ring.atomics_ref, @writes, 1)
    :ok
  end

  def read_batch(%__MODULE__{} = ring, from, count) do
    count = min(count, max(0, :atomics.get(ring.atomics_ref, @written) - from))

    events =
      for position <- from..(from + count - 1)//1,
          {_, event} <- :ets.lookup(ring.buffer_table, position &&& ring.mask),
          event != nil,
          do: event

    :atomics.add(ring.atomics_ref, @reads, length(events))
    {events, from + count}
  end

  def stats(%__MODULE__{atomics_ref: ref, size: size}) do
    written = :atomics.get(ref, @written)
    oldest = :atomics.get(ref, @oldest)

    %{
      size: size,
      write_position: written,
      read_position: oldest,
      available_events: max(0, written - oldest),
      total_writes: :atomics.get(ref, @writes),
      total_reads: :atomics.get(ref, @reads),
      dropped_events: :atomics.get(ref, @dropped),
      utilization: max(0, written - oldest) / size
    }
  end

  def clear(%__MODULE__{atomics_ref: ref, buffer_table: table}) do
    for index <- 1..5, do: :atomics.put(ref, index, 0)
    :ets.delete_all_objects(table)
    :ok
  end

  def destroy(%__MODULE__{buffer_table: table}) do
    :ets.delete(table)
    :ok
  end
end
