defmodule ElixirScope.Capture.SourcesTest do
  # ELIXIR.md, "Ring buffers as sources".
  use ExUnit.Case, async: false

  import CapturePipeline.Test.Wait
  alias CapturePipeline.Test.{ForeignRing, KeyedStorage, Sources}
  alias ElixirScope.Capture.{AsyncWriter, AsyncWriterPool, NativeRingBuffer}

  defmodule PlainRing do
    # A ring with read_batch/3 only.
    defstruct [:events]

    def read_batch(%__MODULE__{events: events}, from, count),
      do: {Enum.slice(events, from, count), min(from + count, max(length(events), from))}
  end

  defmodule NoRing do
    defstruct [:events]
  end

  setup do
    Process.flag(:trap_exit, true)
    :ok
  end

  defp start!(source, storage, opts \\ []) do
    {:ok, pool} = AsyncWriterPool.start_link([ring_buffer: source, storage: storage, poll_interval_ms: 5] ++ opts)
    pool
  end

  test "foreign rings and ours work side by side" do
    plain = %PlainRing{events: Sources.events(1..130)}

    sources = [
      plain,
      Sources.fill(Sources.new(:foreign), Sources.events(1..130)),
      Sources.fill(Sources.new(:native), Sources.events(1..130))
    ]

    for source <- sources do
      storage = KeyedStorage.new()
      pool = start!(source, storage)
      eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..130) end)
      assert AsyncWriterPool.get_metrics(pool).total_events_read == 130
      AsyncWriterPool.stop(pool)
    end
  end

  test "a struct without read_batch/3 is no ring" do
    pool = start!(%NoRing{events: []}, KeyedStorage.new(), pool_size: 1)
    assert eventually(fn -> AsyncWriterPool.health_check(pool).reasons == [:invalid_ring_buffer] end)
    AsyncWriterPool.stop(pool)
  end

  test "lapping is counted as overwritten, and the reader jumps" do
    source = Sources.fill(Sources.new(:foreign, size: 64), Sources.events(1..1000))
    storage = KeyedStorage.new()
    pool = start!(source, storage, pool_size: 2)
    eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(937..1000) end)
    assert AsyncWriterPool.get_metrics(pool).overwritten == 936
    AsyncWriterPool.stop(pool)
  end

  test "events that were lapped between two reads are counted, every other event is stored once" do
    for kind <- [:foreign, :native] do
      source = Sources.new(kind, size: 256)
      storage = KeyedStorage.new()
      pool = start!(source, storage, batch_size: 10)
      for n <- 1..20_000, do: Sources.write(source, %{n: n})
      eventually(fn -> KeyedStorage.count(storage) + AsyncWriterPool.get_metrics(pool).overwritten == 20_000 end)
      numbers = KeyedStorage.numbers(storage)
      assert numbers == Enum.uniq(numbers)
      assert List.last(numbers) == 20_000
      AsyncWriterPool.stop(pool)
    end
  end

  test "a hole is read again, not skipped: in the first round" do
    source = Sources.fill(Sources.new(:foreign), Sources.events(1..10))
    {:ok, position} = ForeignRing.claim(source)
    Sources.fill(source, Sources.events(12..20))
    storage = KeyedStorage.new()
    pool = start!(source, storage)
    eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..10) end)
    holds(fn -> KeyedStorage.count(storage) == 10 end, 100)
    ForeignRing.fill(source, position, %{n: 11})
    eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..20) end)
    assert AsyncWriterPool.get_metrics(pool).skipped == 0
    AsyncWriterPool.stop(pool)
  end

  test "a hole is read again, not skipped: in a later round, where the event of the last one lies in it" do
    source = Sources.fill(Sources.new(:foreign, size: 64), Sources.events(1..64))
    storage = KeyedStorage.new()
    pool = start!(source, storage)
    eventually(fn -> KeyedStorage.count(storage) == 64 end)
    :atomics.add(source.atomics_ref, 2, 10)
    {:ok, position} = ForeignRing.claim(source)
    Sources.fill(source, Sources.events(66..68))
    holds(fn -> KeyedStorage.count(storage) == 64 end, 100)
    ForeignRing.fill(source, position, %{n: 65})
    eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..68) end)
    AsyncWriterPool.stop(pool)
  end

  test "a hole that is never written is skipped after a while, and counted" do
    source = Sources.fill(Sources.new(:foreign), Sources.events(1..10))
    {:ok, _} = ForeignRing.claim(source)
    Sources.fill(source, Sources.events(12..20))
    storage = KeyedStorage.new()
    pool = start!(source, storage, pool_size: 1)
    eventually(fn -> KeyedStorage.count(storage) == 19 end)
    assert AsyncWriterPool.get_metrics(pool).skipped == 1
    # total_writes stays one behind for ever; later holes are still recognized.
    {:ok, position} = ForeignRing.claim(source)
    Sources.fill(source, Sources.events(22..25))
    holds(fn -> KeyedStorage.count(storage) == 19 end, 100)
    ForeignRing.fill(source, position, %{n: 21})
    eventually(fn -> KeyedStorage.count(storage) == 24 end)
    AsyncWriterPool.stop(pool)
  end

  test "several writers and a small ring: nothing twice, everything accounted for" do
    source = Sources.new(:foreign, size: 1024)
    storage = KeyedStorage.new()
    pool = start!(source, storage, batch_size: 20)

    1..4
    |> Task.async_stream(fn w -> for n <- 1..5_000, do: Sources.write(source, %{n: {w, n}}) end, timeout: :infinity)
    |> Stream.run()

    eventually(fn -> AsyncWriterPool.get_metrics(pool).backlog_size == 0 end)
    metrics = AsyncWriterPool.get_metrics(pool)
    assert KeyedStorage.count(storage) + metrics.overwritten + metrics.skipped == 20_000
    numbers = KeyedStorage.numbers(storage)
    doubtful = length(numbers) - length(Enum.uniq(numbers))
    # In a ring whose writers lap the reader, an event may rarely be read in place of another.
    assert doubtful <= 20
    AsyncWriterPool.stop(pool)
  end

  test "a ring that was cleared is read from 0 again" do
    for kind <- [:foreign, :native] do
      source = Sources.fill(Sources.new(kind), Sources.events(1..100))
      storage = KeyedStorage.new()
      pool = start!(source, storage)
      eventually(fn -> KeyedStorage.count(storage) == 100 end)
      eventually(fn -> AsyncWriterPool.get_metrics(pool).backlog_size == 0 end)
      :ok = source.__struct__.clear(source)
      Sources.fill(source, Sources.events(101..103))
      eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..103) end)
      AsyncWriterPool.stop(pool)
    end
  end

  test "a ring that is destroyed is an error and a reason, and no reason to die" do
    for kind <- [:foreign, :native] do
      source = Sources.fill(Sources.new(kind), Sources.events(1..3))
      {:ok, writer} = AsyncWriter.start_link(ring_buffer: source, poll_interval_ms: 50)
      :ok = source.__struct__.destroy(source)
      eventually(fn -> AsyncWriter.get_metrics(writer).error_count > 2 end)
      assert AsyncWriter.health_check(writer).reasons == [:ring_buffer_failing]
      AsyncWriter.stop(writer)
    end
  end

  test "an acknowledgement frees slots in a native ring" do
    for overflow <- [:drop_newest, :block] do
      source = Sources.new(:native, size: 16, overflow_strategy: overflow)
      Sources.fill(source, Sources.events(1..16))
      assert Sources.write(source, %{n: 17}) == {:error, :buffer_full}
      storage = KeyedStorage.new()
      pool = start!(source, storage)
      eventually(fn -> Sources.write(source, %{n: 17}) == :ok end)
      eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..17) end)
      eventually(fn -> NativeRingBuffer.stats(source).read_position == 17 end)
      AsyncWriterPool.stop(pool)
    end
  end

  test "a native ring wakes its writer" do
    source = Sources.new(:native)
    storage = KeyedStorage.new()
    pool = start!(source, storage, poll_interval_ms: 60_000)
    # The first poll comes after half an interval: move it.
    [worker | _] = AsyncWriterPool.get_state(pool).workers
    Process.exit(worker, :kill)
    eventually(fn -> AsyncWriterPool.get_metrics(pool).worker_restarts == 1 end)

    for n <- 1..5 do
      Sources.write(source, %{n: n})
      eventually(fn -> KeyedStorage.count(storage) == n end)
    end

    AsyncWriterPool.stop(pool)
  end
end
