defmodule ElixirScope.Capture.RulesTest do
  # What matters under load, from Elixir: rules, priority, sampling, weights.
  use ExUnit.Case, async: false

  import CapturePipeline.Test.Wait
  alias ElixirScope.Capture.{AsyncWriter, AsyncWriterPool, Batch, Capture, CaptureKind, Enrichment, EtsStorage}
  alias ElixirScope.Capture.{Notice, PipelineManager, Rules}
  alias :elixir_scope_capture_pipeline, as: Pipeline

  doctest ElixirScope.Capture.Rules
  doctest ElixirScope.Capture.Batch
  doctest Capture, only: [offer: 3, update: 2]

  defp new!(options \\ []) do
    {:ok, capture} = Capture.new(options)
    on_exit(fn -> Capture.close(capture, 0) end)
    capture
  end

  defp collected(capture, form \\ :plain) do
    test = self()

    stored = fn some ->
      send(test, {:stored, some})
      :ok
    end

    storage =
      case form do
        :plain -> stored
        :batch -> fn _events, batch -> stored.(batch.entries) end
      end

    start_supervised!({AsyncWriterPool, ring_buffer: capture, storage: storage, pool_size: 1})
    assert Capture.flush(capture, 60_000) == :ok
    all([])
  end

  defp all(before) do
    receive do
      {:stored, some} -> all(before ++ some)
    after
      0 -> before
    end
  end

  defp figures(capture, key), do: with({:ok, rules} <- Rules.list(capture), do: Enum.map(rules, & &1[key]))

  test "rules are data: keyword lists and maps, with ranges, typed kinds and the names of the helpers' kinds" do
    capture = new!()
    kind = CaptureKind.new!(7, name: :request, fields: [status: :u16])

    :ok =
      Rules.set(capture, [
        [name: :messages, drop: true, kinds: [:message_send, kind, 9], payload_bytes: 0..100_000],
        %{name: "late", drop: true, kind_range: 20..30},
        [sample: 1, node_ids: :any]
      ])

    # Code that was written for the ingestor knows no other success than :ok.
    assert Capture.ingest_message_send(capture, self(), self(), :hello) == :ok
    assert Capture.ingest_message_receive(capture, self(), :hello) == :ok
    assert Capture.typed(capture, kind, status: 200) == {:error, :dropped_by_rule}
    assert Capture.event(capture, 9, %{a: 1}) == {:error, :dropped_by_rule}
    assert Capture.event(capture, 25, fn -> 1 end) == {:error, :dropped_by_rule}
    assert Capture.event(capture, 31, "bytes") == :ok
    assert figures(capture, :matched) == [3, 1, 0]
    assert {:ok, %{offered: 6, captured: 2, dropped_rule: 4}} = Capture.metrics(capture)
    assert Rules.clear(capture) == :ok
    assert Capture.event(capture, 9, %{a: 1}) == :ok
  end

  test "a list that is wrong is refused as a whole, by name" do
    capture = new!(rules: "here: drop if kind = 1")

    for {rules, text} <- [
          {[[drop: true], [name: :b, drop: :perhaps]], "rule 2 (b): drop: true or false expected, perhaps given"},
          {[[name: :b, colour: :red]], "rule 1 (b): colour: is unknown"},
          {[[drop: true, kinds: [:no_helper]]], "rule 1: kinds: a list of kinds expected"},
          {[[drop: true, payload_bytes: 5..1//-1]], "rule 1: payload_bytes: {Least, Greatest}"},
          {[:drop], "rule 1: a map or a list of pairs expected"},
          {[drop: true], "rule 1: a map or a list of pairs expected"},
          {:drop, "rules: a list expected"},
          {"dorp", "line 1, column 1: rule 1: an action"}
        ] do
      assert {:error, {:invalid, found}} = Rules.set(capture, rules)
      assert String.starts_with?(found, text), found
      assert figures(capture, :name) == ["here"]
    end

    assert Rules.set(capture, [], wet: true) == {:error, :badarg}
  end

  test "a capture begins with its rules, its attributes and its sampling, or not at all" do
    assert {:error, {:invalid, "rule 1 (a): sample: " <> _}} = Capture.new(rules: [[name: :a, sample: 0]])
    assert {:error, {:system, _}} = Capture.new(rules: {:file, "/no/such/file"})
    assert {:error, {:badarg, {:attributes, :service}}} = Capture.new(attributes: [service: 7])
    assert {:error, {:invalid, _}} = Capture.new(attributes: %{"7" => "a"})
    assert {:error, {:badarg, :attributes}} = Capture.new(attributes: [:service])
    assert {:error, {:badarg, :attributes}} = Capture.new(attributes: 7)
    capture = new!(rules: [[drop: true, kinds: [1]]], attributes: [service: "shop"], sampling_max_weight: 16, share: 3)
    assert Capture.event(capture, 1, :a) == {:error, :dropped_by_rule}
    assert Capture.attribute(capture, :version, "1.2") == :ok
    assert Capture.update(capture, sampling_max_weight: 4, share: 2) == :ok

    assert {:ok, %{sampling_max_weight: 4, share: 2}} =
             capture |> Capture.pipeline() |> :elixir_scope_capture_pipeline.config()

    assert {:error, {:fixed, _}} = Capture.update(capture, sampling_seed: 1)
    assert {:error, {:invalid, _}} = Capture.update(capture, sampling_max_weight: 3)
  end

  @tag :tmp_dir
  test "rules in a file are read when they are loaded, and again when asked", %{tmp_dir: dir} do
    path = Path.join(dir, "rules")
    File.write!(path, "first: drop if kind = 1")
    capture = new!(rules: {:file, path})
    assert figures(capture, :name) == ["first"]
    File.write!(path, "# of today\nsecond: drop if kind = 2")
    assert figures(capture, :name) == ["first"]
    assert Rules.load(capture, path, dry: true) == :ok
    assert {:ok, [%{name: "second", line: 2, dry: true}]} = Rules.list(capture)
    File.write!(path, "third: dorp")
    assert {:error, {:invalid, text}} = Rules.load(capture, path)
    assert text =~ "line 1, column 8: rule 1 (third): an action"
    assert figures(capture, :name) == ["second"]
  end

  for form <- [:plain, :batch] do
    @form form
    test "an event that has a mark carries it to the storage, and no other event has anything added: #{form}" do
      capture = new!(rules: "tag 2 if kind = 2\nsample 1/1 if kind = 1")
      terms = [%{a: 1}, %{f: fn -> 1 end}, Map.new(1..50, &{&1, &1})]
      for term <- terms, kind <- [1, 2, 3], do: :ok = Capture.event(capture, kind, Map.put(term, :kind, kind))
      for term <- terms, do: :ok = Capture.offer(capture, Map.put(term, :kind, 4), kind: 4, priority: true)
      :ok = Capture.event(capture, 2, :no_map)
      found = collected(capture, @form)
      events = if @form == :plain, do: found, else: for({event, _, _} <- found, do: event)
      assert length(events) == 13
      marks = for %{kind: kind} = event <- events, do: {kind, event[:capture_mark]}
      tagged = %{weight: 1, flags: [tag: 2]}
      first = %{weight: 1, flags: [:priority]}
      assert Enum.frequencies(marks) == %{{1, nil} => 3, {2, tagged} => 3, {3, nil} => 3, {4, first} => 3}
      assert :no_map in events

      if @form == :batch do
        for {event, _, stamp} <- found, is_map(event), do: assert(event[:capture_mark] == stamp[:capture_mark])
        assert [%{capture_mark: ^tagged}] = for({:no_map, _, stamp} <- found, do: stamp)
      end
    end
  end

  test "the weights of the stored events estimate how many there were, and stay with an event that is stored one by one" do
    capture = new!(rules: [[sample: 8]], ring_bytes: 16 * 1024 * 1024)
    offered = 20_000
    for n <- 1..offered, do: Capture.event(capture, 1, %{n: n}, n)
    storage = EtsStorage.new(max_events: offered)
    refuse_once = :counters.new(1, [])

    store = fn events ->
      :counters.add(refuse_once, 1, 1)
      if :counters.get(refuse_once, 1) == 1, do: {:error, :not_now}, else: EtsStorage.store_events(storage, events)
    end

    start_supervised!({AsyncWriterPool, ring_buffer: capture, storage: store, pool_size: 1})
    assert Capture.flush(capture, 60_000) == :ok
    events = EtsStorage.query(storage)
    {:ok, %{captured: captured, dropped_sampled: sampled, weight_captured: weight}} = Capture.metrics(capture)
    assert captured + sampled == offered
    assert length(events) == captured
    assert Enum.all?(events, &(Batch.weight(&1) == 8))
    estimate = events |> Enum.map(&Batch.weight/1) |> Enum.sum()
    assert estimate == weight
    # Six standard deviations of a binomial count.
    assert abs(estimate - offered) < 6 * :math.sqrt(offered * 7)
  end

  test "under load an event with priority finds room, and comes first" do
    capture = new!(ring_bytes: 65_536)

    {ordinary, dropped} =
      on_one_scheduler(fn ->
        answers = for n <- 1..5_000, do: Capture.event(capture, 1, %{n: n, filling: Enum.to_list(1..20)})
        :ok = Capture.offer(capture, %{n: :first}, priority: true)
        {Enum.count(answers, &(&1 == :ok)), Enum.count(answers, &(&1 == {:error, :full}))}
      end)

    assert dropped > 0
    [first | rest] = collected(capture)
    assert first.n == :first
    assert length(rest) == ordinary
    assert {:ok, %{stored_priority: 1, dropped_full_priority: 0}} = Capture.metrics(capture)
    assert Capture.offer(capture, :a, prio: true) == {:error, :badarg}
    assert Capture.offer(capture, :a, kind: -1) == {:error, :badarg}
  end

  test "a ring beyond its watermark is sampled, and traces are kept or left out as a whole" do
    capture = new!(ring_bytes: 65_536, watermark_percent: 20, sampling_max_weight: 1024, sampling_seed: 5)

    answers =
      on_one_scheduler(fn ->
        for n <- 1..3_000,
            do: {div(n, 10), Capture.event(capture, 1, %{n: n, filling: Enum.to_list(1..20)}, 1 + div(n, 10))}
      end)

    assert {:ok, %{dropped_sampled: sampled, sampling: sampling, sampling_weight: weight}} = Capture.metrics(capture)
    assert sampled > 0 and sampling and weight > 1
    assert Enum.count(answers, &match?({_, {:error, :sampled}}, &1)) == sampled
    events = collected(capture)
    # What was captured before sampling began, or with a place in the ring afterwards.
    assert Enum.any?(events, &(Batch.weight(&1) > 1))

    for {_, of_trace} <- Enum.group_by(events, &div(&1.n, 10)),
        length(of_trace) < 10,
        do:
          assert(
            Enum.any?(of_trace, &(:partial in flags(&1))) or Batch.weight(hd(of_trace)) == 1 or full?(answers, of_trace)
          )
  end

  defp flags(%{capture_mark: %{flags: flags}}), do: flags
  defp flags(_), do: []

  # An event of that trace was dropped because the ring was full.
  defp full?(answers, [%{n: n} | _]), do: {div(n, 10), {:error, :full}} in answers

  test "a manager's metrics tell what was left out of its capture, and its pressure" do
    capture = new!(rules: [[drop: true, kinds: [1]]])
    {:ok, manager} = PipelineManager.start_link(name: nil, ring_buffer: capture, storage: fn _ -> :ok end)
    for n <- 1..5, do: {:error, :dropped_by_rule} = Capture.event(capture, 1, n)
    :ok = Capture.offer(capture, 6, priority: true)
    assert Capture.flush(capture, 60_000) == :ok

    left_out = [:dropped_full, :dropped_sampled, :dropped_rule, :stored_priority]
    of_manager = fn server -> server |> PipelineManager.get_metrics() |> Map.take(left_out) end
    expected = %{dropped_full: 0, dropped_sampled: 0, dropped_rule: 5, stored_priority: 1}
    assert eventually(fn -> of_manager.(manager) == expected end)
    assert %{pressure: 0, sampling_weight: 1} = PipelineManager.health_check(manager)
    PipelineManager.shutdown(manager)
    assert of_manager.(:no_such_manager) == %{expected | dropped_rule: 0, stored_priority: 0}
    assert %{status: :down, pressure: 0, sampling_weight: 1} = PipelineManager.health_check(:no_such_manager)

    full = new!(ring_bytes: 65_536, pressure_age_ms: 86_400_000)
    for n <- 1..2_000, do: Capture.event(full, 1, %{n: n, filling: Enum.to_list(1..20)})
    gate = fn _ -> receive(do: (:never -> :ok)) end
    {:ok, manager} = PipelineManager.start_link(name: nil, ring_buffer: full, storage: gate)
    assert eventually(fn -> PipelineManager.health_check(manager).pressure > 0 end)
    assert PipelineManager.get_metrics(manager).dropped_full > 0
    PipelineManager.shutdown(manager)
  end

  test "a manager gives its capture the options of sampling and shares, at the start and later; a bad one at the start counts as not given" do
    capture = new!()

    config = fn ->
      with {:ok, config} <- capture |> Capture.pipeline() |> :elixir_scope_capture_pipeline.config(), do: config
    end

    options = [name: nil, ring_buffer: capture, sampling_max_weight: 64, share: 5, watermark_percent: 500]
    {:ok, manager} = PipelineManager.start_link(options)
    assert %{sampling_max_weight: 64, share: 5, watermark_percent: 75} = config.()
    assert %{config: %{watermark_percent: 500, share: 5}} = PipelineManager.get_state(manager)
    assert PipelineManager.update_config(manager, share: 0) == {:error, {:invalid_config, :share, 0}}
    assert PipelineManager.update_config(manager, sampling_max_weight: 8, sampling_hold_ms: 77) == :ok
    assert %{sampling_max_weight: 8, sampling_hold_ms: 77, share: 5} = config.()
    other = new!()
    assert PipelineManager.update_config(manager, ring_buffer: other, share: 9) == :ok

    # Those of the start, too.
    assert {:ok, %{share: 9, sampling_max_weight: 8, sampling_hold_ms: 77}} =
             other |> Capture.pipeline() |> :elixir_scope_capture_pipeline.config()

    assert %{share: 5} = config.()
    PipelineManager.shutdown(manager)
  end

  test "a killed pool's successor goes on with the same rules, sampling, priority, options and storage" do
    capture = new!(rules: [[name: :noise, drop: true, kinds: [1]], [name: :rest, priority: true, kinds: [2]]])
    test = self()
    storage = fn events -> Enum.each(events, &send(test, {:stored, &1})) end

    {:ok, manager} =
      PipelineManager.start_link(
        name: nil,
        ring_buffer: capture,
        storage: storage,
        async_writer_pool_size: 2,
        batch_size: 7,
        retry_limit: 3,
        sampling_max_weight: 64,
        share: 5
      )

    # What was changed meanwhile, in each of the ways, stays changed.
    :ok = PipelineManager.update_config(manager, batch_size: 9, sampling_hold_ms: 77)
    :ok = Capture.update(capture, sampling_max_weight: 16)

    seen = fn ->
      [{_, pool, _, _}] = PipelineManager.get_state(manager).children
      {:ok, config} = capture |> Capture.pipeline() |> :elixir_scope_capture_pipeline.config()
      state = AsyncWriterPool.get_state(pool)
      writers = for writer <- state.workers, do: AsyncWriter.get_state(writer).config
      # These follow the number of processes that are attached just now.
      config = Map.drop(config, [:max_in_flight, :writers])
      {pool, {state.config, length(state.workers), writers, config, PipelineManager.get_storage(manager)}}
    end

    {pool, before} = seen.()

    assert {%{batch_size: 9, retry_limit: 3}, 2, [_, _], %{sampling_max_weight: 16, sampling_hold_ms: 77, share: 5},
            ^storage} = before

    Process.exit(pool, :kill)
    ended(pool)

    {successor, later} =
      eventually(fn -> with {new, _} = seen when new != pool <- seen.(), do: seen, else: (_ -> nil) end)

    assert successor != pool
    assert later == before
    assert Capture.event(capture, 1, :noise) == {:error, :dropped_by_rule}
    :ok = Capture.event(capture, 2, %{n: 2})
    :ok = Capture.event(capture, 3, %{n: 3})
    assert_receive {:stored, %{n: 2, capture_mark: %{flags: [:priority]}}}, 60_000
    assert_receive {:stored, %{n: 3}}, 60_000
    assert figures(capture, :matched) == [1, 1]
    PipelineManager.shutdown(manager)
  end

  test "a batch for whose marks there was no memory is delivered again, with them" do
    capture = new!(rules: [[name: :all, priority: true]])
    native = Capture.pipeline(capture)
    :ok = :elixir_scope_capture_pipeline.attach(native)
    for n <- 1..3, do: :ok = Capture.event(capture, 5, %{n: n})
    assert_receive {:capture_batch, ^native, token, id, 1, count, {generation, offset, [_ | _]}}, 60_000
    # The message as the library makes it when an allocation fails.
    unknown = {:capture_batch, native, token, id, 1, count, {generation, offset, :unknown}}
    storage = fn _ -> :ok end
    assert Notice.read(unknown, storage, Enrichment.common(true)) == :gone
    assert_receive {:capture_batch, ^native, again, ^id, 2, ^count, {^generation, ^offset, marks}} = notice, 60_000
    assert again != token and length(marks) == count
    assert %Batch{attempt: 2, entries: entries} = Notice.read(notice, storage, Enrichment.common(true))
    assert Enum.all?(entries, fn {event, _, _} -> event.capture_mark.flags == [:priority] end)
    assert Pipeline.complete(native, again, :ok) == :ok
    assert :ok = :elixir_scope_capture_pipeline.detach(native)
    assert {:ok, %{retries: 1}} = Capture.metrics(capture)
  end
end
