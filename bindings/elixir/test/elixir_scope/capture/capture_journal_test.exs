defmodule ElixirScope.Capture.CaptureJournalTest do
  use ExUnit.Case, async: true

  import CapturePipeline.Test.Wait
  alias ElixirScope.Capture.{Capture, CaptureJournal, CaptureKind, NativeRingBuffer, NativeStorage, PipelineManager}
  alias ElixirScope.Capture.CaptureJournal.{Error, Event}

  @moduletag :tmp_dir

  setup %{tmp_dir: dir} do
    %{path: Path.join(dir, "journal")}
  end

  defp allocation do
    CaptureKind.new!(7,
      name: :allocation,
      fields: [size: {:u64, hint: :bytes}, op: {:enum, :u8, [malloc: 0, free: 1]}, file: :string]
    )
  end

  # Captures into a journal, and closes it.
  defp written(path, options \\ [], capture_options \\ [], capture) do
    {:ok, pipeline} = Capture.new([storage: NativeStorage.journal(path, options)] ++ capture_options)
    result = capture.(pipeline)
    assert Capture.close(pipeline, 30_000) == :ok
    result
  end

  defp descriptors(path) do
    for number <- File.ls!("/proc/self/fd"),
        {:ok, to} <- [File.read_link("/proc/self/fd/#{number}")],
        String.starts_with?(to, path) and Path.extname(to) == ".journal",
        do: to
  end

  defp payloads(path, options \\ []), do: path |> CaptureJournal.stream(options) |> Enum.map(& &1.payload)

  describe "what several processes have captured" do
    setup %{path: path} do
      kind = allocation()

      captured =
        written(path, [segment_bytes: 262_144], [overflow: :block, block_timeout_ms: :infinity], fn capture ->
          :ok = Capture.define(capture, kind)

          1..4
          |> Enum.map(&Task.async(fn -> for(n <- 1..2_500, do: capture!(capture, kind, &1, n)) end))
          |> Task.await_many(60_000)
          |> Enum.concat()
        end)

      %{captured: captured, kind: kind}
    end

    defp capture!(capture, kind, writer, n) do
      case rem(n, 3) do
        0 ->
          :ok = Capture.typed(capture, kind, [size: n, op: :free, file: "#{writer}"], n)
          {writer, n, 7, :fields, %{"size" => n, "op" => "free", "file" => "#{writer}"}}

        1 ->
          :ok = Capture.event(capture, 8, {:term, writer, %{n: n, at: ~D[2024-02-29]}}, n)
          {writer, n, 8, :term, {:term, writer, %{n: n, at: ~D[2024-02-29]}}}

        2 ->
          :ok = Capture.binary(capture, 9, <<writer, n::32>>, n)
          {writer, n, 9, :binary, <<writer, n::32>>}
      end
    end

    test "is read back: each event once, as it was captured", %{path: path, captured: captured} do
      events = path |> CaptureJournal.stream() |> Enum.to_list()

      assert Enum.sort(for e <- events, do: {e.correlation_id, e.kind, e.form, e.payload}) ==
               Enum.sort(for {_, n, kind, form, payload} <- captured, do: {n, kind, form, payload})

      assert events |> Enum.uniq_by(& &1.identity) |> length() == 10_000
      assert Enum.uniq(for e <- events, do: {e.kind, e.name}) |> Enum.sort() == [{7, "allocation"}, {8, nil}, {9, nil}]
    end

    test "is in the order of each process with order: :time", %{path: path, captured: captured} do
      sorted = path |> CaptureJournal.stream(order: :time) |> Enum.to_list()
      assert sorted == Enum.sort_by(sorted, &{&1.timestamp, &1.identity})

      for writer <- 1..4 do
        mine = for e <- sorted, writer(e) == writer, do: {e.kind, e.payload}
        assert mine == for({^writer, _, kind, _, payload} <- captured, do: {kind, payload})
      end
    end

    defp writer(%{kind: 7, payload: %{"file" => file}}), do: String.to_integer(file)
    defp writer(%{kind: 8, payload: {:term, writer, _}}), do: writer
    defp writer(%{kind: 9, payload: <<writer, _::binary>>}), do: writer

    test "is filtered", %{path: path} do
      count = fn options -> path |> CaptureJournal.stream(options) |> Enum.count() end
      assert count.(kinds: [9]) == 4 * 833
      assert count.(kinds: [allocation(), 8]) == 4 * (833 + 834)
      assert count.(correlation_ids: [5, 6, 99_999]) == 8
      assert count.(kinds: [7], correlation_ids: [6]) == 4
      assert count.(%{kinds: []}) == 0

      [%{identity: {generation, _, _}, wall_time: first, timestamp: stamp}] =
        path |> CaptureJournal.stream(order: :time) |> Enum.take(1)

      assert count.(generation: generation) == 10_000
      assert count.(generation: generation + 1) == 0
      assert count.(to: first) == 0
      assert count.(from: first, order: :time) == 10_000

      assert count.(from: DateTime.add(DateTime.utc_now(), -3_600), to: DateTime.add(DateTime.utc_now(), 3_600)) ==
               10_000

      assert count.(from: DateTime.add(DateTime.utc_now(), 3_600)) == 0
      assert count.(to: ~U[1960-01-01 00:00:00Z]) == 0
      assert count.(to_timestamp: stamp) == 0
      assert count.(from_timestamp: stamp) == 10_000
    end

    test "is counted by info/2, and nothing is lost", %{path: path, captured: captured} do
      assert {:ok, info} = CaptureJournal.info(path)
      assert %{events: 10_000, losses: %{any: false, details: ""}, generations: [_]} = info

      assert %{7 => %{events: 3_332, name: "allocation"}, 8 => %{events: 3_336, name: nil}, 9 => %{events: 3_332}} =
               info.kinds

      assert info.kinds[9].bytes == 3_332 * 5
      assert info.bytes == info.kinds |> Map.values() |> Enum.map(& &1.bytes) |> Enum.sum()
      assert DateTime.compare(info.from, info.to) == :lt
      assert DateTime.diff(DateTime.utc_now(), info.to) in 0..3_600
      assert {:ok, %{events: 4}} = CaptureJournal.info(path, kinds: [7], correlation_ids: [3])
      assert length(captured) == 10_000
    end

    test "fields have the names of a kind that the program knows, if its layout is that of the journal", %{
      path: path,
      kind: kind
    } do
      read = fn kind -> path |> CaptureJournal.stream(kinds: [7], definitions: [kind]) |> Enum.take(1) |> hd() end
      assert %{form: :fields, payload: %{size: _, op: :free, file: _}, name: "allocation"} = read.(kind)
      other = CaptureKind.new!(7, name: :allocation, fields: [size: :u32, op: :u32])
      assert %{form: :fields, payload: %{"size" => _, "op" => "free", "file" => _}} = read.(other)
      # The journal has no definition of this one.
      bytes = CaptureKind.new!(9, name: :bytes, fields: [writer: :u8, rest: :bytes])

      assert [%{form: :fields, payload: %{writer: _, rest: <<_::32>>}} | _] =
               path |> CaptureJournal.stream(kinds: [9], definitions: [bytes]) |> Enum.take(2)
    end

    test "payloads are bytes, or none, if that is asked for", %{path: path} do
      for %{form: form, payload: payload, bytes: bytes} <- CaptureJournal.stream(path, payloads: :binary) do
        assert {form, byte_size(payload)} == {:binary, bytes}
      end

      assert [%{form: :none, payload: nil, bytes: 5}] =
               path |> CaptureJournal.stream(payloads: :none, kinds: [9]) |> Enum.take(1)
    end
  end

  test "definitions/1 are CaptureKinds, whose fields have text for names", %{path: path} do
    kind = allocation()

    written(path, fn capture ->
      :ok = Capture.define(capture, kind)
      :ok = Capture.binary(capture, 1, "x")
    end)

    assert {:ok, [%{number: 7, name: "allocation", generation: generation, kind: %CaptureKind{number: 7} = read}]} =
             CaptureJournal.definitions(path)

    assert generation > 0
    payload = CaptureKind.encode!(kind, size: 1, op: :free, file: "größe")
    assert CaptureKind.decode(read, payload) == {:ok, %{"size" => 1, "op" => "free", "file" => "größe"}}
    assert CaptureKind.encode!(read, %{"size" => 1, "op" => "free", "file" => "größe"}) == payload
    assert descriptors(path) == []
  end

  test "events of the helpers are the maps that writers get", %{path: path} do
    test = self()

    written(path, fn capture ->
      :ok = Capture.ingest_function_call(capture, String, :upcase, ["a"], test, 77)
      :ok = Capture.ingest_state_change(capture, test, 1, 2)
    end)

    assert [call, change] = CaptureJournal.stream(path, order: :time) |> Enum.to_list()

    assert %Event{
             form: :term,
             correlation_id: 77,
             payload: %{event_type: :call, module: String, args: ["a"], pid: ^test}
           } = call

    assert %{id: id, timestamp: timestamp, wall_time: wall_time, correlation_id: 77} = call.payload
    assert {timestamp, wall_time} == {call.timestamp, call.wall_time}
    assert %{event_type: :state_change, old_state: 1, new_state: 2} = change.payload
    assert id != change.payload.id
    # Nothing is left in the reading process.
    assert Process.get(:capture_generation) == nil
  end

  test "what a writer has stored for a ring buffer is read back", %{path: path} do
    {:ok, storage} = NativeStorage.start(NativeStorage.journal(path))
    {:ok, ring} = NativeRingBuffer.new(size: 64)
    {:ok, manager} = PipelineManager.start_link(ring_buffer: ring, storage: storage, name: :journal_manager)
    for n <- 1..20, do: :ok = NativeRingBuffer.write(ring, %{n: n, correlation_id: n})
    eventually(fn -> PipelineManager.get_metrics(manager).events_processed == 20 end)
    :ok = PipelineManager.shutdown(manager)
    :ok = NativeStorage.close(storage)

    assert Enum.sort(for e <- CaptureJournal.stream(path), do: {e.payload.n, e.correlation_id}) ==
             for(n <- 1..20, do: {n, n})
  end

  test "a term that this node must not decode stays as it is", %{path: path} do
    unknown = "nobody_has_this_atom_#{System.unique_integer([:positive])}"
    atom = <<131, 119, byte_size(unknown), unknown::binary>>
    compressed = :erlang.term_to_binary(List.duplicate(0, 10_000), [:compressed])
    known = :erlang.term_to_binary({:known, "term"})

    written(path, fn capture ->
      for payload <- [atom, compressed, known, <<131, 97, 1, 2>>, "text", ""],
          do: :ok = Capture.binary(capture, 1, payload)
    end)

    assert for(e <- CaptureJournal.stream(path, order: :time), do: {e.form, e.payload}) == [
             undecoded: atom,
             undecoded: compressed,
             # Nothing tells it from a term.
             term: {:known, "term"},
             undecoded: <<131, 97, 1, 2>>,
             binary: "text",
             binary: ""
           ]

    assert_raise ArgumentError, fn -> String.to_existing_atom(unknown) end
  end

  test "a payload of 16 MiB", %{path: path} do
    large = :binary.copy("0123456789abcdef", 1_048_576)

    written(path, [], [ring_bytes: 134_217_728, max_event_bytes: 17_825_792], fn capture ->
      :ok = Capture.binary(capture, 1, large)
      :ok = Capture.event(capture, 2, {:large, large})
    end)

    assert payloads(path, order: :time) == [large, {:large, large}]
    assert payloads(path, kinds: [2], memory_bytes: 16_777_216) == []
    assert {:ok, %{any: true, unreadable_events: 2}} = CaptureJournal.losses(path, memory_bytes: 16_777_216)
  end

  describe "the end of a stream" do
    setup %{path: path} do
      written(path, [segment_bytes: 65_536], fn capture ->
        for n <- 1..2_000, do: :ok = Capture.binary(capture, 1, <<n::32, 0::400>>)
      end)

      :ok
    end

    test "halted half-way it leaves no descriptor, at once", %{path: path} do
      stream = CaptureJournal.stream(path, order: :time)
      assert descriptors(path) == []
      assert [%{payload: <<1::32, _::binary>>}, %{payload: <<2::32, _::binary>>}] = Enum.take(stream, 2)
      assert descriptors(path) == []
      # It was open meanwhile. Each run begins anew.
      until = fn
        %{payload: <<700::32, _::binary>>}, n -> {:halt, {n + 1, descriptors(path) != []}}
        _, n -> {:cont, n + 1}
      end

      assert Enum.reduce_while(stream, 0, until) == {700, true}
      assert descriptors(path) == []
      assert_raise RuntimeError, "enough", fn -> Enum.each(stream, fn _ -> raise "enough" end) end
      assert descriptors(path) == []
      assert catch_throw(Enum.each(stream, fn _ -> throw(:enough) end)) == :enough
      assert descriptors(path) == []
      assert stream |> Stream.zip(stream) |> Enum.count(fn {a, b} -> a == b end) == 2_000
      assert descriptors(path) == []
    end

    test "its process is killed: it leaves no descriptor", %{path: path} do
      test = self()

      pid =
        spawn(fn ->
          for event <- CaptureJournal.stream(path) do
            send(test, event)
            receive do: (:go -> :ok)
          end
        end)

      assert_receive %Event{}
      assert descriptors(path) != []
      Process.exit(pid, :kill)
      eventually(fn -> descriptors(path) == [] end)
    end

    test "the losses are given once, at the end and when it is halted", %{path: path} do
      test = self()
      stream = CaptureJournal.stream(path, losses: &send(test, {:losses, &1, descriptors(path) != []}))
      assert Enum.count(stream) == 2_000
      assert_received {:losses, %{any: false, damaged_events: 0}, true}
      assert [_] = Enum.take(stream, 1)
      assert_received {:losses, %{any: false}, true}
      refute_received {:losses, _, _}
      failing = CaptureJournal.stream(path, losses: fn _ -> raise "of the caller" end)
      assert_raise RuntimeError, "of the caller", fn -> Enum.count(failing) end
      assert descriptors(path) == []
    end
  end

  describe "follow" do
    test "goes on with what is written meanwhile, also by a run that begins later, and ends at its timeout", %{
      path: path
    } do
      {:ok, first} =
        Capture.new(
          storage: NativeStorage.journal(path, segment_bytes: 65_536),
          overflow: :block,
          block_timeout_ms: :infinity
        )

      :ok = Capture.binary(first, 1, <<0::32>>)
      :ok = Capture.flush(first)
      test = self()

      reader =
        Task.async(fn ->
          path
          |> CaptureJournal.stream(follow: true)
          |> Stream.each(&(&1.kind == 1 && &1.payload == <<0::32>> && send(test, :opened)))
          |> Enum.take(4_002)
        end)

      assert_receive :opened
      # A kind that is defined after the reader was opened.
      kind = allocation()
      :ok = Capture.define(first, kind)
      for n <- 1..2_000, do: :ok = Capture.binary(first, 1, <<n::32>>)
      :ok = Capture.typed(first, kind, size: 1, op: :malloc, file: "late")
      :ok = Capture.close(first, 10_000)
      {:ok, second} = Capture.new(storage: NativeStorage.journal(path), overflow: :block, block_timeout_ms: :infinity)
      for n <- 2_001..4_000, do: :ok = Capture.binary(second, 1, <<n::32>>)
      :ok = Capture.flush(second, 10_000)

      events = Task.await(reader, 60_000)
      assert Enum.sort(for %{kind: 1, payload: <<n::32>>} <- events, do: n) == Enum.to_list(0..4_000)
      assert [%{"size" => 1, "op" => "malloc", "file" => "late"}] = for(%{kind: 7} = e <- events, do: e.payload)

      # All is there, and nothing more comes.
      assert path |> CaptureJournal.stream(follow: true, timeout: 50) |> Enum.count() == 4_002
      assert {:ok, %{events: 4_002, losses: %{any: false}}} = CaptureJournal.info(path, follow: true, timeout: 0)
      :ok = Capture.close(second)
      assert descriptors(path) == []
    end
  end

  describe "bad input" do
    test "is an error with a name, or raised by a stream when it is run", %{tmp_dir: dir, path: path} do
      file = Path.join(dir, "file")
      File.write!(file, "no segment of any journal at all, but long enough")

      for {wrong, name} <- [
            {path, :not_found},
            {file, :invalid},
            {Path.join(file, "below"), :system},
            {"/dev/null", :invalid}
          ] do
        assert {:error, {^name, text}} = CaptureJournal.info(wrong)
        assert text =~ wrong
        assert {:error, {^name, ^text}} = CaptureJournal.definitions(wrong)
        assert {:error, {^name, ^text}} = CaptureJournal.losses(wrong)
        stream = CaptureJournal.stream(wrong)
        error = assert_raise Error, fn -> Enum.take(stream, 1) end
        assert error.reason == {name, text}
        assert Exception.message(error) == "the journal #{inspect(wrong)} cannot be read (#{name}): #{text}"
      end

      for wrong <- ["", <<"a", 0>>, 5, {:a}] do
        assert {:error, {:badarg, :path}} = CaptureJournal.info(wrong)
        assert_raise Error, ~r/:badarg, :path/, fn -> Enum.to_list(CaptureJournal.stream(wrong)) end
      end
    end

    test "a directory without a segment is an empty journal; files of others are not looked at", %{tmp_dir: dir} do
      assert payloads(dir) == []
      assert {:ok, %{events: 0, bytes: 0, from: nil, to: nil, kinds: kinds, generations: []}} = CaptureJournal.info(dir)
      assert kinds == %{}
      for name <- ["events.db", "x.journal", ".journal"], do: File.write!(Path.join(dir, name), "of others")
      assert payloads(dir) == []
      assert {:ok, []} = CaptureJournal.definitions(dir)
      assert {:ok, %{any: false}} = CaptureJournal.losses(dir)
    end

    test "wrong options are named", %{tmp_dir: dir} do
      wrong = [
        order: :random,
        follow: 1,
        kinds: [:a],
        kinds: 7,
        kinds: [1 | 2],
        kinds: [0x7FFF0000],
        correlation_ids: [-1],
        correlation_ids: [1 | 2],
        from: "yesterday",
        to: -1,
        from_timestamp: 1.5,
        to_timestamp: :never,
        generation: nil,
        memory_bytes: -1,
        payloads: :all,
        timeout: -1,
        losses: &Kernel.+/2,
        definitions: [7],
        definitions: [allocation() | 1],
        color: :red
      ]

      for {key, value} <- wrong do
        assert {key, value, CaptureJournal.info(dir, [{key, value}])} == {key, value, {:error, {:badarg, key}}}
        assert_raise ArgumentError, ~r/#{inspect(key)}/, fn -> CaptureJournal.stream(dir, [{key, value}]) end
      end

      for options <- [5, [:order], [1 | 2], %URI{}] do
        assert {:error, {:badarg, _}} = CaptureJournal.info(dir, options)
        assert_raise ArgumentError, fn -> CaptureJournal.stream(dir, options) end
      end

      assert {:error, {:invalid, "memory_bytes" <> _}} = CaptureJournal.info(dir, memory_bytes: 1_000)
      assert {:ok, %{events: 0}} = CaptureJournal.info(dir, order: :time, order: :random)
    end

    test "a damaged journal gives what is whole, and counts the rest", %{path: path} do
      written(path, fn capture ->
        for n <- 1..3 do
          :ok = Capture.binary(capture, 1, "payload #{n}")
          :ok = Capture.flush(capture)
        end
      end)

      [segment] = Path.wildcard(Path.join(path, "*.journal"))
      whole = File.read!(segment)
      {at, _} = :binary.match(whole, "payload 2")
      {before, "p" <> behind} = {binary_part(whole, 0, at), binary_part(whole, at, byte_size(whole) - at)}
      File.write!(segment, [before, "q", behind])
      assert payloads(path, order: :time) == ["payload 1", "payload 3"]
      assert {:ok, %{any: true, damaged_blocks: 1, damaged_events: 1, details: details}} = CaptureJournal.losses(path)
      assert details =~ Path.basename(segment) or details =~ "damaged"

      {tail, _} = :binary.match(whole, "payload 3")
      File.write!(segment, binary_part(whole, 0, tail + 3))
      assert payloads(path, order: :time) == ["payload 1", "payload 2"]
    end
  end
end
