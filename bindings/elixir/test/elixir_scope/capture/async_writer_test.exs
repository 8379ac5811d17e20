defmodule ElixirScope.Capture.AsyncWriterTest do
  # ELIXIR.md, "AsyncWriter".
  use ExUnit.Case, async: false

  import CapturePipeline.Test.Wait
  alias CapturePipeline.Test.{KeyedStorage, Sources}
  alias ElixirScope.Capture.{AsyncWriter, AsyncWriterPool, Capture, NativeRingBuffer}

  defmodule Call do
    defstruct [:id, :module, :correlation_id]
  end

  setup do
    Process.flag(:trap_exit, true)
    :ok
  end

  defp start!(opts) do
    {:ok, writer} = AsyncWriter.start_link(opts)
    writer
  end

  test "has no registered name, state and defaults" do
    writer = start!(nil)
    assert Process.info(writer, :registered_name) == {:registered_name, []}
    state = AsyncWriter.get_state(writer)

    assert state |> Map.from_struct() |> Map.keys() |> Enum.sort() ==
             Enum.sort([
               :config,
               :current_position,
               :events_read,
               :events_processed,
               :batches_processed,
               :processing_rate,
               :error_count,
               :start_time,
               :last_poll_time,
               :processing_order
             ])

    assert %{current_position: 0, events_read: 0, processing_order: 0, error_count: 0} = state
    assert state.config == %{ring_buffer: nil, batch_size: 50, poll_interval_ms: 100, max_backlog: 1000}

    assert %{events_read: 0, events_processed: 0, batches_processed: 0, processing_rate: _, error_count: 0} =
             AsyncWriter.get_metrics(writer)
  end

  # How many milliseconds after its start a writer has stored a batch that is not full.
  defp stored_after(kind, poll_interval_ms) do
    source = Sources.fill(Sources.new(kind), Sources.events(1..3))
    storage = KeyedStorage.new()
    started_at = System.monotonic_time(:millisecond)
    writer = start!(ring_buffer: source, storage: storage, poll_interval_ms: poll_interval_ms)
    eventually(fn -> KeyedStorage.count(storage) == 3 end)
    took = System.monotonic_time(:millisecond) - started_at
    eventually(fn -> AsyncWriter.get_state(writer).events_processed == 3 end)
    state = AsyncWriter.get_state(writer)
    assert %{current_position: 3, events_read: 3, batches_processed: 1} = state
    assert state.processing_order > 0 and state.processing_rate > 0
    AsyncWriter.stop(writer)
    took
  end

  for kind <- [:foreign, :native, :capture] do
    @kind kind
    test "alone it is a complete consumer; partial batches go out within one poll interval of the start: #{kind}" do
      # One of some, because a busy machine may delay any of them.
      assert Enum.any?(1..20, fn _ -> stored_after(@kind, 1_000) < 1_000 end)
    end
  end

  for kind <- [:foreign, :native] do
    @kind kind
    test "set_position moves the cursor at any time: #{kind}" do
      source = Sources.fill(Sources.new(@kind), Sources.events(1..60))
      test = self()

      store = fn events ->
        send(test, {:stored, Enum.map(events, & &1.n)})
        :ok
      end

      writer = start!(ring_buffer: source, storage: store, poll_interval_ms: 300, batch_size: 100)
      # Before its first poll.
      assert AsyncWriter.set_position(writer, 57) == :ok
      assert_receive {:stored, [58, 59, 60]}
      # Backwards (a native ring no longer holds acknowledged or skipped events), and past the end.
      assert AsyncWriter.set_position(writer, 10) == :ok

      if @kind == :foreign do
        assert_receive {:stored, [11 | _] = stored}
        assert List.last(stored) == 60
      end

      assert AsyncWriter.set_position(writer, 62) == :ok
      Sources.fill(source, Sources.events(61..63))
      assert_receive {:stored, [63]}
      assert {:error, _} = AsyncWriter.set_position(writer, -1)
      assert {:error, _} = AsyncWriter.set_position(writer, :start)
      AsyncWriter.stop(writer)
    end

    test "set_position answers while the storage holds a batch, and in a pool moves the cursor of all: #{kind}" do
      source = Sources.fill(Sources.new(@kind), Sources.events(1..100))
      test = self()

      store = fn events ->
        send(test, {:holding, self(), length(events)})
        receive do: (:go -> :ok)
      end

      {:ok, pool} = AsyncWriterPool.start_link(ring_buffer: source, storage: store, pool_size: 2, poll_interval_ms: 5)
      assert_receive {:holding, one, 50}
      assert_receive {:holding, two, 50}
      [worker | _] = AsyncWriterPool.get_state(pool).workers
      assert AsyncWriter.set_position(worker, 95) == :ok
      for loop <- [one, two], do: send(loop, :go)
      assert_receive {:holding, loop, 5}
      send(loop, :go)
      eventually(fn -> AsyncWriterPool.get_metrics(pool).total_events_processed == 105 end)
      AsyncWriterPool.stop(pool)
    end
  end

  test "set_position of a capture, which has no positions, is :ok" do
    writer = start!(ring_buffer: Sources.new(:capture))
    assert AsyncWriter.set_position(writer, 5) == :ok
    AsyncWriter.stop(writer)
  end

  describe "enrich_event" do
    test "answers the same map or struct with keys put in" do
      for event <- [%{id: 1}, %Call{id: 1, module: __MODULE__}, %{"id" => 1}] do
        enriched = AsyncWriter.enrich_event(event)
        assert Map.take(enriched, Map.keys(event) -- [:correlation_id]) == Map.delete(event, :correlation_id)
        assert enriched.processed_by == node()
        assert is_binary(enriched.correlation_id)
        assert abs(enriched.enriched_at - System.monotonic_time(:nanosecond)) < 1_000_000_000
        assert is_integer(enriched.processing_order) and enriched.processing_order > 0
      end

      assert %Call{} = AsyncWriter.enrich_event(%Call{})
    end

    test "a correlation id is put in only if nil or absent" do
      assert AsyncWriter.enrich_event(%{correlation_id: :mine}).correlation_id == :mine
      assert AsyncWriter.enrich_event(%{correlation_id: false}).correlation_id == false
      assert AsyncWriter.enrich_event(%Call{correlation_id: 7}).correlation_id == 7
      assert AsyncWriter.enrich_event(%Call{}).correlation_id != nil
    end

    test "processing_order is unique, correlation ids too" do
      enriched = for _ <- 1..1_000, do: AsyncWriter.enrich_event(%{})

      for key <- [:processing_order, :correlation_id],
          do: assert(enriched |> Enum.uniq_by(& &1[key]) |> length() == 1_000)
    end

    test "a non-map is answered unchanged" do
      for other <- [nil, 1, :atom, "binary", [a: 1], [1 | 2], {1, 2}, self(), make_ref(), &is_nil/1, <<1::3>>] do
        assert AsyncWriter.enrich_event(other) === other
      end
    end
  end

  test "correlation_enabled: false leaves correlation ids alone" do
    source = Sources.fill(Sources.new(:foreign), [%{n: 1}, %{n: 2, correlation_id: 5}])
    storage = KeyedStorage.new()
    writer = start!(ring_buffer: source, storage: storage, poll_interval_ms: 5, correlation_enabled: false)
    eventually(fn -> KeyedStorage.count(storage) == 2 end)

    assert [nil, 5] ==
             storage |> KeyedStorage.events() |> Enum.sort_by(& &1.n) |> Enum.map(&Map.get(&1, :correlation_id))

    AsyncWriter.stop(writer)
  end

  for kind <- [:native, :capture] do
    @kind kind
    test "a stopped writer returns the events that it could not store: #{kind}" do
      source = Sources.fill(Sources.new(@kind), Sources.events(1..10))
      writer = start!(ring_buffer: source, storage: :nowhere, poll_interval_ms: 5)
      eventually(fn -> AsyncWriter.get_metrics(writer).error_count > 0 end)
      assert AsyncWriter.health_check(writer).reasons == [:storage_unavailable]
      assert AsyncWriter.stop(writer) == :ok
      assert left(source) == 0
      storage = KeyedStorage.new()
      next = start!(ring_buffer: source, storage: storage, poll_interval_ms: 5)
      eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..10) end)
      assert AsyncWriter.stop(next) == :ok
      eventually(fn -> left(source) == 10 end)
    end
  end

  # How many events have left the source, by its own figures.
  defp left(%Capture{} = capture) do
    {:ok, %{stored: stored, captured: 10, dead_lettered: 0, discarded: 0}} = Capture.metrics(capture)
    stored
  end

  defp left(%NativeRingBuffer{} = ring), do: 10 - NativeRingBuffer.stats(ring).available_events
end
