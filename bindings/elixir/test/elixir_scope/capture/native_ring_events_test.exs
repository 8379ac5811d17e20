defmodule ElixirScope.Capture.NativeRingEventsTest do
  # Not async: some tests look at the memory of the whole VM.
  use ExUnit.Case, async: false

  import CapturePipeline.Test.{Rings, Wait}
  alias CapturePipeline.Test.Memory
  alias ElixirScope.Capture.NativeRingBuffer, as: Ring
  alias :elixir_scope_capture_pipeline_nif, as: Nif

  describe "write" do
    test "a full drop_newest or block ring refuses" do
      for strategy <- [:drop_newest, :block] do
        ring = ring(size: 4, overflow_strategy: strategy)
        for n <- 1..4, do: assert(Ring.write(ring, n) == :ok)
        for n <- 5..9, do: assert(Ring.write(ring, n) == {:error, :buffer_full})
        assert all(ring) == [1, 2, 3, 4]
        assert %{total_writes: 4, dropped_events: 0} = Ring.stats(ring)
      end
    end

    test "block waits only if block_timeout_ms says so, and goes on when there is space" do
      ring = ring(size: 2, overflow_strategy: :block, block_timeout_ms: 5_000)
      {:ok, cursor} = Nif.cursor_new(Ring.native(ring))
      for n <- 1..2, do: :ok = Ring.write(ring, n)
      writer = Task.async(fn -> Ring.write(ring, 3) end)
      assert Task.yield(writer, 50) == nil
      {:read, 0} = Nif.cursor_begin(cursor, 1)
      {:ok, id} = Nif.cursor_claim(cursor, 0, 1)
      assert Task.yield(writer, 50) == nil
      :ok = Nif.cursor_settle(cursor, id)
      assert Task.await(writer, 60_000) == :ok
      assert all(ring) == [2, 3]

      short = ring(size: 1, overflow_strategy: :block, block_timeout_ms: 20)
      :ok = Ring.write(short, 1)
      assert Ring.write(short, 2) == {:error, :buffer_full}
    end

    test "a write that waits is told when the ring is destroyed" do
      ring = ring(size: 1, overflow_strategy: :block, block_timeout_ms: 60_000)
      :ok = Ring.write(ring, 1)
      writer = Task.async(fn -> Ring.write(ring, 2) end)
      eventually(fn -> Process.info(writer.pid, :current_function) == {:current_function, {Process, :sleep, 1}} end)
      Ring.destroy(ring)
      assert Task.await(writer, 60_000) == {:error, :destroyed}
    end

    test "under drop_oldest it is always ok for an event within limits" do
      ring = ring(size: 2)
      for n <- 1..10_000, do: assert(Ring.write(ring, event(n)) == :ok)
    end

    test "an event over the limit is refused: 1 MiB unless the ring says otherwise" do
      ring = ring(size: 2)
      assert Ring.write(ring, Enum.to_list(1..60_000)) == :ok

      for large <- [
            Enum.to_list(1..70_000),
            :binary.copy("x", 1_048_577),
            :binary.copy("x", 100_000_000),
            List.duplicate(:a, 10_000_000),
            {Enum.to_list(1..200_000), %{}},
            Map.new(1..100_000, &{&1, &1}),
            (fn ->
               held = Enum.to_list(1..100_000)
               fn -> held end
             end).(),
            <<0::8_400_001>>,
            Enum.reduce(1..5_000_000, [], fn _, deep -> [deep] end)
          ] do
        assert Ring.write(ring, large) == {:error, :too_large}
      end

      assert Ring.stats(ring).total_writes == 1
      small = ring(size: 2, max_event_bytes: 100)
      assert Ring.write(small, [1, 2, 3]) == :ok
      assert Ring.write(small, Enum.to_list(1..10)) == {:error, :too_large}
    end

    test "never raises, whatever ring or event it is given" do
      ring = ring(size: 2)

      for odd <- [[1 | 2], <<1::3>>, fn -> ring end, &Enum.map/2, make_ref(), hd(Port.list())],
          do: assert(Ring.write(ring, odd) == :ok)

      for no_ring <- [nil, :ring, %{}, 1, make_ref(), %{ring | ref: make_ref()}, %{ring | ref: nil}],
          do: assert(Ring.write(no_ring, 1) == {:error, :badarg})
    end
  end

  describe "read and read_batch" do
    test "answer the event and the position behind it, or empty" do
      ring = ring(size: 4)
      assert Ring.read(ring) == :empty
      assert Ring.read(ring, 17) == :empty
      :ok = Ring.write(ring, :a)
      assert Ring.read(ring) == {:ok, :a, 1}
      assert Ring.read(ring, 0) == {:ok, :a, 1}
      assert Ring.read(ring, 1) == :empty
      assert Ring.read(ring, Bitwise.bsl(1, 70)) == :empty
      assert Ring.read(ring, -5) == {:ok, :a, 1}
      assert Ring.read(ring, :a) == {:error, :badarg}
    end

    test "a batch holds up to count events, and the new position" do
      ring = ring(size: 16)
      for n <- 0..9, do: :ok = Ring.write(ring, n)
      assert Ring.read_batch(ring, 0, 5) == {[0, 1, 2, 3, 4], 5}
      assert Ring.read_batch(ring, 5, 20) == {[5, 6, 7, 8, 9], 10}
      assert Ring.read_batch(ring, 0, Bitwise.bsl(1, 70)) == {Enum.to_list(0..9), 10}
      assert Ring.read_batch(ring, -3, 2) == {[0, 1], 2}
      assert Ring.read_batch(ring, 0, :all) == {:error, :badarg}
    end

    test "at or past the end a batch is empty, and the position stays" do
      ring = ring(size: 16)
      :ok = Ring.write(ring, :a)

      for position <- [1, 2, 1_000_000, Bitwise.bsl(1, 70)],
          do: assert(Ring.read_batch(ring, position, 5) == {[], position})

      for count <- [0, -1], do: assert(Ring.read_batch(ring, 0, count) == {[], 0})
    end

    test "a large batch is joined from the bounded work of several native calls" do
      ring = ring(size: 65_536)
      for n <- 1..50_000, do: :ok = Ring.write(ring, {n, "some text for number #{n}"})
      {events, 50_000} = Ring.read_batch(ring, 0, 100_000)
      assert Enum.map(events, &elem(&1, 0)) == Enum.to_list(1..50_000)
      {events, 12_345} = Ring.read_batch(ring, 345, 12_000)
      assert Enum.map(events, &elem(&1, 0)) == Enum.to_list(346..12_345)

      big = ring(size: 8)
      list = Enum.to_list(1..30_000)
      for _ <- 1..8, do: :ok = Ring.write(big, list)
      assert {[^list, ^list, ^list, ^list, ^list, ^list, ^list, ^list], 8} = Ring.read_batch(big, 0, 8)
    end

    test "reads consume nothing: they add to total_reads and move nothing else" do
      ring = ring(size: 8)
      for n <- 1..5, do: :ok = Ring.write(ring, n)
      before = Ring.stats(ring)
      for _ <- 1..3, do: {:ok, 1, 1} = Ring.read(ring, 0)
      {_, 5} = Ring.read_batch(ring, 0, 10)
      :empty = Ring.read(ring, 5)
      assert Ring.stats(ring) == %{before | total_reads: 8}
    end

    test "an older position reads on from the oldest held" do
      ring = ring(size: 4)
      for n <- 0..9, do: :ok = Ring.write(ring, n)
      assert Ring.read(ring, 0) == {:ok, 6, 7}
      assert Ring.read(ring, 5) == {:ok, 6, 7}
      assert Ring.read_batch(ring, 2, 2) == {[6, 7], 8}
    end

    test "the term read is === the term written" do
      held = {self(), "held"}
      large = :binary.copy("abcdefghij", 1_000)
      <<_::3, unaligned::binary-size(400), _::bitstring>> = large

      terms = [
        nil,
        :atom,
        true,
        0,
        -1,
        576_460_752_303_423_488,
        18_446_744_073_709_551_616,
        -Integer.pow(10, 400),
        1.5,
        -0.0,
        [],
        {},
        %{},
        "",
        "short",
        large,
        binary_part(large, 3, 9),
        binary_part(large, 3, 100),
        unaligned,
        <<5::3>>,
        <<1::1, large::binary>>,
        ~c"charlist",
        [1 | 2],
        [[], [[]]],
        {1, {2, {3}}},
        self(),
        make_ref(),
        hd(Port.list()),
        fn -> held end,
        &String.upcase/1,
        fn x -> {x, large} end,
        :ets.new(:any, []),
        :atomics.new(1, []),
        :counters.new(1, []),
        1..10//3,
        ~D[2024-02-29],
        MapSet.new([1, 2]),
        event(1),
        Map.new(1..32, &{&1, large}),
        Map.new(1..2_000, &{{&1}, "#{&1}"}),
        %{1 => :a, 1.0 => :b, [1] => :c, %{} => :d, large => :e},
        {:improper, [large | binary_part(large, 0, 70)]},
        :erlang.binary_to_term(<<131, 88, 119, 5, "x@far", 0, 0, 0, 50, 0, 0, 0, 0, 0, 0, 0, 1>>)
      ]

      ring = ring(size: 128)
      for term <- terms ++ [terms, List.to_tuple(terms)], do: assert(Ring.write(ring, term) == :ok)

      for {term, n} <- Enum.with_index(terms ++ [terms, List.to_tuple(terms)]) do
        assert {:ok, read, _} = Ring.read(ring, n)
        assert read === term
      end

      {read, _} = Ring.read_batch(ring, 0, 128)
      assert read === terms ++ [terms, List.to_tuple(terms)]
    end

    test "of a slice of a binary, the slice alone is held" do
      before = Memory.held(:binary)
      ring = ring(size: 64)

      in_process(fn ->
        parent = :binary.copy("0123456789", 5_000_000)
        slices = for n <- [1, 30, 64, 65, 1_000], do: binary_part(parent, n, n)
        for s <- slices, term <- [s, {:a, [s]}, %{s => s}, [s | s], fn -> s end], do: :ok = Ring.write(ring, term)
      end)

      eventually(fn -> :erlang.garbage_collect() && Memory.held(:binary) - before < 5_000_000 end)
      {events, 25} = Ring.read_batch(ring, 0, 64)
      assert List.last(events).() |> byte_size() == 1_000
    end
  end
end
