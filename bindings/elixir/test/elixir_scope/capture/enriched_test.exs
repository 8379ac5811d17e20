defmodule ElixirScope.Capture.EnrichedTest do
  # The enrichment of the events of a capture. Maps in flat words are enriched by the NIF while they are read, all others here: whoever does it, and
  # whatever storage gets them, an event is the same.
  use ExUnit.Case, async: false

  import CapturePipeline.Test.Wait
  alias ElixirScope.Capture.{AsyncWriterPool, Batch, Capture, Enrichment, Notice, PipelineManager, PlainBatch}
  alias :elixir_scope_capture_pipeline, as: Pipeline

  @enriched [:enriched_at, :processed_by, :processing_order]

  defmodule Call do
    defstruct [:id, :args, :correlation_id, :ast_node_id]
  end

  # The storage by a module, with the events alone, and with their identities.
  defmodule Plain do
    defstruct [:to]
    def store_events(%{to: to}, events), do: tell(to, events)

    def tell(to, events) do
      send(to, {:stored, events})
      :ok
    end
  end

  defmodule Whole do
    defstruct [:to]
    def store_events(_, _), do: raise("a storage that exports store_batch/2 gets batches")
    def store_batch(%{to: to}, batch), do: Plain.tell(to, Batch.events(batch))
  end

  setup do
    Process.flag(:trap_exit, true)
    :ok
  end

  defp wide(keys), do: Map.new(1..keys, &{:"key_#{&1}", &1})

  # Each with the ids that it is captured with. Maps of 32 keys and fewer are small; with the new keys some of these no longer are.
  defp events do
    maps = [
      %{},
      %{a: 1},
      %{"a" => 1, 2 => %{b: [1.5, "x"]}},
      %Call{},
      %Call{id: 1, args: [%Call{id: "two"}, {:three, make_ref(), self()}], correlation_id: "mine"},
      %Call{args: String.duplicate("long ", 100), correlation_id: nil, ast_node_id: "lib/a.ex:1"},
      %{correlation_id: nil, args: {}},
      %{correlation_id: false, ast_node_id: false},
      %{correlation_id: %{}, ast_node_id: nil},
      %{enriched_at: 1, processed_by: :somebody, processing_order: -1, z: %{}},
      %{enriched_at: :x, correlation_id: "mine", last: <<1, 2, 3>>},
      %{aaa: 1, zzz: String.duplicate("z", 200)},
      %{args: [%{}, {}]},
      %{args: [String.duplicate("first", 50)], zzz: [{}]},
      %{fun: &wide/1, pid: self()},
      %{bits: <<5::3>>},
      %{large: 0xFFFFFFFFFFFFFFFFFFFFFFFF, float: -0.5}
    ]

    terms = [{:tuple, 1}, [1, 2], "binary", 7, :atom, {Capture, :event}, {:trace, self(), :call, {Enum, :map, []}}]
    ids = [{0, 0}, {33, 0}, {0, 44}, {0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF}]

    for(event <- maps ++ terms, ids <- ids, do: {event, ids}) ++
      for(keys <- 26..34, id <- [nil, "mine"], ids <- ids, do: {keys |> wide() |> Map.put(:correlation_id, id), ids}) ++
      for(keys <- 26..34, ids <- ids, do: {wide(keys), ids})
  end

  # What the rule says of one event: without the keys that differ between batches.
  defp expected(%{} = event, {correlation_id, node_id}, correlate?) do
    event = event |> Map.drop(@enriched) |> put_nil(:correlation_id, correlation_id) |> put_nil(:ast_node_id, node_id)
    if correlate? and Map.get(event, :correlation_id) == nil, do: Map.put(event, :correlation_id, :made), else: event
  end

  defp expected(event, _ids, _), do: event

  defp put_nil(event, _key, 0), do: event
  defp put_nil(event, key, id), do: if(Map.get(event, key) == nil, do: Map.put(event, key, id), else: event)

  defp made(%{correlation_id: "corr_" <> number, processing_order: number_there} = event) do
    assert number == Integer.to_string(number_there)
    %{event | correlation_id: :made}
  end

  defp made(event), do: event

  defp check(stored, sent, correlate?) do
    assert length(stored) == length(sent)

    for {event, {was, ids}} <- Enum.zip(stored, sent) do
      if is_map(was) do
        assert %{enriched_at: at, processed_by: node, processing_order: order} = event
        assert is_integer(at) and node == node() and is_integer(order) and order > 0
        assert event |> made() |> Map.drop(@enriched) === expected(was, ids, correlate?)
        # The keys of a small map are sorted: a map whose words are wrong finds none of its own.
        for {key, value} <- :maps.to_list(event), do: assert(:erlang.map_get(key, event) === value)
        assert :erlang.binary_to_term(:erlang.term_to_binary(event)) === event
      else
        assert event === was
      end
    end

    orders = for %{processing_order: order} <- stored, do: order
    assert orders == Enum.uniq(orders)
  end

  defp stored(count, all \\ [])
  defp stored(count, all) when length(all) >= count, do: all

  defp stored(count, all) do
    receive do
      {:stored, events} -> stored(count, all ++ events)
    after
      30_000 -> flunk("#{length(all)} of #{count} events were stored")
    end
  end

  for terms <- [:default, :blocks],
      storage <- [:function, :module, :whole, :two],
      correlate? <- [true, false] do
    test "each kind of event: terms as #{terms}, storage #{storage}, correlation #{correlate?}" do
      test = self()

      storage =
        case unquote(storage) do
          :function -> &Plain.tell(test, &1)
          :module -> %Plain{to: test}
          :whole -> %Whole{to: test}
          :two -> fn events, _batch -> Plain.tell(test, events) end
        end

      options = if unquote(terms) == :blocks, do: [terms: :blocks], else: []
      {:ok, capture} = Capture.new([batch_size: 64] ++ options)

      {:ok, pool} =
        AsyncWriterPool.start_link(
          ring_buffer: capture,
          storage: storage,
          pool_size: 1,
          correlation_enabled: unquote(correlate?)
        )

      sent = events()

      for {event, {correlation_id, node_id}} <- sent,
          do: :ok = Capture.event(capture, 7, event, correlation_id, node_id)

      :ok = Capture.flush(capture, 60_000)

      # One process captures on more than one scheduler, each with a ring of its own: the events are sorted by what they are.
      found = length(sent) |> stored() |> Enum.sort_by(&key/1)

      check(
        found,
        Enum.sort_by(sent, fn {event, ids} -> event |> expected(ids, unquote(correlate?)) |> key() end),
        unquote(correlate?)
      )

      AsyncWriterPool.stop(pool)
    end
  end

  defp key(event), do: event |> made_or_self() |> drop() |> :erlang.phash2(4_294_967_296)
  defp made_or_self(%{processing_order: _} = event), do: made(event)
  defp made_or_self(event), do: event
  defp drop(%{} = event), do: Map.drop(event, @enriched)
  defp drop(event), do: event

  # The NIF and the module against each other, on the same batches.
  test "events that the NIF enriches are those that are enriched here" do
    {:ok, capture} = Capture.new(batch_size: 4_096)
    :ok = Capture.attach(capture)

    for _ <- 1..5 do
      :ok = Pipeline.pause(capture.native)
      # More than one call of the NIF reads.
      sent = Enum.concat([events(), events(), events(), events()])
      for {event, {c, n}} <- sent, do: :ok = Capture.event(capture, 7, event, c, n)
      :ok = Pipeline.resume(capture.native)
      compare(capture.native, length(sent))
    end

    :ok = Capture.flush(capture, 60_000)
  end

  defp compare(_native, 0), do: :ok

  defp compare(native, left) do
    assert_receive {:capture_batch, ^native, token, _, 1, count, {generation, offset}}, 30_000
    origin = {generation, Capture.Event.clock_shift(), offset}

    for correlate? <- [true, false] do
      common = Enrichment.common(correlate?)
      here = native |> Pipeline.events(token) |> Capture.Event.entries(origin, common)
      there = Notice.enriched(native, token, common, &Capture.Event.events(&1, origin, common, &2))
      assert there === for({event, _, _} <- here, do: event)
    end

    :ok = Pipeline.complete(native, token, :ok)
    compare(native, left - count)
  end

  test "a storage that wants the events alone gets them without identities, unless a writer died with the batch" do
    {:ok, capture} = Capture.new()
    native = capture.native
    :ok = Capture.attach(capture)
    :ok = Capture.event(capture, %{a: 1})
    assert_receive {:capture_batch, ^native, token, id, 1, 1, origin} = message, 30_000
    common = Enrichment.common(true)

    for storage <- [fn _ -> :ok end, %Plain{}, {Plain, :ref}, Plain],
        do: assert(%PlainBatch{events: [%{a: 1}], count: 1} = Notice.read(message, storage, common))

    for storage <- [fn _, _ -> :ok end, %Whole{}, {Whole, :ref}, Whole, self(), :nobody, {:global, :nobody}, nil],
        do: assert(%Batch{entries: [{%{a: 1}, {_, _, _}, %{}}], attempt: 1} = Notice.read(message, storage, common))

    again = {:capture_batch, native, token, id, 2, 1, origin}
    assert %Batch{attempt: 2} = Notice.read(again, %Plain{}, common)
    :ok = Pipeline.complete(native, token, :ok)
    assert Notice.read(message, %Plain{}, common) == :gone
    assert Notice.read(message, %Whole{}, common) == :gone
  end

  test "a map in flat words is enriched while it is read, one in a block is not" do
    for {options, expected} <- [{[], Capture.capture_info().terms == :flat}, {[terms: :blocks], false}] do
      {:ok, capture} = Capture.new(options)
      native = capture.native
      :ok = Capture.attach(capture)
      :ok = Capture.event(capture, %{a: 1})
      assert_receive {:capture_batch, ^native, token, _, _, 1, _}, 30_000

      {{whole, [event]}, :done} =
        :elixir_scope_capture_pipeline_nif.delivery_enriched(native, token, 0, {1, :n@h, true, 9})

      assert whole == expected

      if expected,
        do:
          assert(event === %{a: 1, correlation_id: "corr_9", enriched_at: 1, processed_by: :n@h, processing_order: 9}),
        else: assert({%{a: 1}, _, _, _, _, 0, 0} = event)

      # What is no enrichment is refused, and the batch is still this process's.
      for bad <- [nil, {1, :n, true}, {:x, :n, true, 9}, {1, "n", true, 9}, {1, :n, 0, 9}, {1, :n, true, -1}],
          do: {:error, :badarg} = :elixir_scope_capture_pipeline_nif.delivery_enriched(native, token, 0, bad)

      {:error, :unknown_token} =
        :elixir_scope_capture_pipeline_nif.delivery_enriched(native, token + 1, 0, {1, :n, true, 9})

      # Keys that it has already get new values in their places.
      if expected do
        was = %{a: 1, enriched_at: 0, processed_by: 0, processing_order: 0, correlation_id: nil, ast_node_id: nil}
        :ok = Capture.event(capture, 0, was, 5, 6)
        next = Pipeline.complete_next(native, token, :ok)
        {:capture_batch, _, token, _, _, 1, _} = if next == :ok, do: receive(do: (message -> message)), else: next

        assert {{true, [%{a: 1, correlation_id: 5, ast_node_id: 6, enriched_at: 1, processing_order: 9}]}, :done} =
                 :elixir_scope_capture_pipeline_nif.delivery_enriched(native, token, 0, {1, :n@h, true, 9})
      end
    end
  end

  test "an event is enriched once: it is the same at each attempt of its batch" do
    test = self()
    {:ok, attempts} = Agent.start_link(fn -> 0 end)

    storage = fn events ->
      send(test, {:offered, events})
      n = Agent.get_and_update(attempts, &{&1, &1 + 1})
      if n < 4 or length(events) > 1, do: {:error, :not_now}, else: :ok
    end

    {:ok, capture} = Capture.new(batch_size: 2)

    {:ok, pool} =
      AsyncWriterPool.start_link(
        ring_buffer: capture,
        storage: storage,
        pool_size: 1,
        retry_initial_ms: 1,
        retry_limit: 20
      )

    :ok = Capture.event(capture, %{a: 1})
    :ok = Capture.event(capture, %Call{id: 2})
    :ok = Capture.flush(capture, 60_000)
    AsyncWriterPool.stop(pool)
    offered = offered([])
    assert length(offered) >= 5
    assert [_, _] = offered |> List.flatten() |> Enum.uniq()
    assert {:ok, %{stored: 2, dead_lettered: 0}} = Capture.metrics(capture)
  end

  defp offered(all) do
    receive do
      {:offered, events} -> offered([events | all])
    after
      0 -> all
    end
  end

  test "a prefix that the storage has stored is not offered again" do
    test = self()

    storage = fn
      [first, _, _ | _] ->
        Plain.tell(test, [first])
        {:ok, 1}

      events ->
        Plain.tell(test, events)
    end

    {:ok, capture} = Capture.new(batch_size: 5, linger_us: 1_000_000)
    for i <- 1..5, do: :ok = Capture.event(capture, %{number: i})
    {:ok, pool} = AsyncWriterPool.start_link(ring_buffer: capture, storage: storage, pool_size: 1)
    :ok = Capture.flush(capture, 60_000)
    assert 5 |> stored() |> Enum.map(& &1.number) |> Enum.sort() == [1, 2, 3, 4, 5]
    AsyncWriterPool.stop(pool)
  end

  test "a batch that waits for its storage goes to the next one in the form that it wants, with the same events" do
    test = self()
    {:ok, capture} = Capture.new()

    seen = fn events ->
      send(test, {:offered, events})
      {:error, :unavailable}
    end

    {:ok, manager} =
      PipelineManager.start_link(
        ring_buffer: capture,
        storage: seen,
        async_writer_pool_size: 1,
        retry_initial_ms: 1,
        retry_max_ms: 5,
        name: __MODULE__
      )

    :ok = Capture.event(capture, 7, %{a: 1}, 33)
    assert_receive {:offered, [event]}, 30_000

    whole = fn events, batch ->
      send(test, {:whole, events, batch})
      :ok
    end

    :ok = PipelineManager.update_config(manager, storage: whole)
    assert_receive {:whole, [^event], %Batch{entries: [{^event, {_, _, _}, %{kind: 7, correlation_id: 33}}]}}, 30_000
    :ok = Capture.flush(capture, 60_000)
    PipelineManager.shutdown(manager)
  end

  test "a writer that loses its batch while it stores leaves it to the one that has it" do
    test = self()
    {:ok, capture} = Capture.new(batch_size: 1)
    {:ok, once} = Agent.start_link(fn -> true end)

    storage = fn events ->
      if Agent.get_and_update(once, &{&1, false}) do
        # The outstanding batches of a process that detaches go to another one.
        :ok = Pipeline.detach(capture.native)
        send(test, {:loop, self()})
        {:error, :lost}
      else
        Plain.tell(test, events)
      end
    end

    {:ok, pool} = AsyncWriterPool.start_link(ring_buffer: capture, storage: storage, pool_size: 2)
    :ok = Capture.event(capture, %{a: 1})
    :ok = Capture.flush(capture, 60_000)
    assert [%{a: 1}] = stored(1)
    eventually(fn -> AsyncWriterPool.get_metrics(pool).total_events_processed == 1 end)
    assert_receive {:loop, loop}
    # It goes on, and waits for its next message.
    eventually(fn ->
      assert {:current_function, {_, function, _}} = Process.info(loop, :current_function)
      function == :receive_next
    end)

    assert {:ok, %{captured: 1, stored: 1, dead_lettered: 0}} = Capture.metrics(capture)
    AsyncWriterPool.stop(pool)
  end
end
