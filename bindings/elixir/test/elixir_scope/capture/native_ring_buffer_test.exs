defmodule ElixirScope.Capture.NativeRingBufferTest do
  # Not async: some tests count atoms and the memory of the whole VM.
  use ExUnit.Case, async: false

  alias ElixirScope.Capture.NativeRingBuffer, as: Ring
  alias :elixir_scope_capture_pipeline_nif, as: Nif

  defmodule Call do
    defstruct [
      :id,
      :timestamp,
      :wall_time,
      :module,
      :function,
      :arity,
      :args,
      :pid,
      :correlation_id,
      :result,
      :duration,
      :type
    ]
  end

  defp event(n) do
    %Call{
      id: "call-#{n}",
      timestamp: n,
      wall_time: System.os_time(),
      module: __MODULE__,
      function: :run,
      arity: 2,
      args: [n, {:ok, "argument"}],
      pid: self(),
      correlation_id: {n, make_ref()},
      result: {:ok, [1, 2, n]},
      duration: 1234,
      type: :call
    }
  end

  defp ring(opts \\ []) do
    {:ok, ring} = Ring.new(opts)
    ring
  end

  # Reads everything from a position on, one by one.
  defp all(ring, position \\ 0) do
    case Ring.read(ring, position) do
      {:ok, event, next} -> [event | all(ring, next)]
      :empty -> []
    end
  end

  defp eventually(fun, tries \\ 500) do
    cond do
      fun.() -> true
      tries == 0 -> flunk("did not become true in 5 s")
      true -> Process.sleep(10) && eventually(fun, tries - 1)
    end
  end

  defp in_process(fun) do
    {pid, monitor} = spawn_monitor(fun)
    assert_receive {:DOWN, ^monitor, :process, ^pid, :normal}, 30_000
  end

  describe "one totally ordered log" do
    test "positions count from 0 in the order of the writes" do
      ring = ring(size: 8)
      for n <- 0..4, do: assert(Ring.write(ring, n) == :ok)
      for n <- 0..4, do: assert(Ring.read(ring, n) == {:ok, n, n + 1})
    end

    test "eight processes write one order, which every reader sees, and which keeps each process's own" do
      ring = ring(size: 16_384)

      1..8
      |> Enum.map(fn p -> Task.async(fn -> for n <- 1..2_000, do: :ok = Ring.write(ring, {p, n}) end) end)
      |> Task.await_many(60_000)

      {events, 16_000} = Ring.read_batch(ring, 0, 20_000)
      assert all(ring) == events
      assert {Enum.drop(events, 7_777), 16_000} == Ring.read_batch(ring, 7_777, 20_000)

      for {_p, of_one} <- Enum.group_by(events, &elem(&1, 0), &elem(&1, 1)) do
        assert of_one == Enum.to_list(1..2_000)
      end
    end

    test "what happened before is written before, across processes" do
      ring = ring(size: 1_024)
      next = fn next, n, to -> if n < 500, do: send(to, {:go, next, n + 1, self()}) end

      player = fn player, rest ->
        receive do
          {:go, next, n, from} ->
            :ok = Ring.write(ring, n)
            next.(next, n, from)
            player.(player, rest)

          :stop ->
            :ok
        end
      end

      [a, b] = for _ <- 1..2, do: spawn_link(fn -> player.(player, nil) end)
      send(a, {:go, next, 1, b})
      eventually(fn -> Ring.stats(ring).write_position == 500 end)
      assert {Enum.to_list(1..500), 500} == Ring.read_batch(ring, 0, 1_000)
      for pid <- [a, b], do: send(pid, :stop)
    end

    test "holds exactly size events of any size" do
      big = Enum.to_list(1..50_000)
      ring = ring(size: 4, overflow_strategy: :drop_newest)
      for _ <- 1..4, do: assert(Ring.write(ring, big) == :ok)
      assert Ring.write(ring, :small) == {:error, :buffer_full}
      assert Ring.read_batch(ring, 0, 10) == {[big, big, big, big], 4}

      ring = ring(size: 4)
      for n <- 1..100, do: :ok = Ring.write(ring, n)
      assert Ring.read_batch(ring, 0, 10) == {[97, 98, 99, 100], 100}

      one = ring(size: 1)
      for n <- 1..10, do: :ok = Ring.write(one, n)
      assert Ring.read(one, 0) == {:ok, 10, 10}
    end

    test "defaults: 1,024 events, the oldest are overwritten" do
      {:ok, ring} = Ring.new()
      assert %{size: 1_024, overflow_strategy: :drop_oldest} = ring
      assert Ring.size(ring) == 1_024
    end

    test "an empty ring of 2^21 events costs next to nothing" do
      resident = fn ->
        [_, pages | _] = "/proc/self/statm" |> File.read!() |> String.split()
        String.to_integer(pages) * 4_096
      end

      before = {resident.(), :erlang.memory(:total)}
      rings = for _ <- 1..20, do: ring(size: 2_097_152)
      assert resident.() - elem(before, 0) < 20_000_000
      assert :erlang.memory(:total) - elem(before, 1) < 1_000_000
      for ring <- rings, do: assert(Ring.stats(ring).size == 2_097_152)
    end

    test "outlives the process that made it" do
      parent = self()

      in_process(fn ->
        ring = ring(size: 8)
        :ok = Ring.write(ring, {:from, self()})
        send(parent, {:ring, ring})
      end)

      assert_receive {:ring, ring}
      assert {:ok, {:from, _}, 1} = Ring.read(ring, 0)
      assert Ring.write(ring, :more) == :ok
    end

    test "an unnamed ring makes no atoms" do
      ring() |> Ring.write(:warm)
      before = :erlang.system_info(:atom_count)
      for _ <- 1..1_000, do: ring(size: 2) |> Ring.destroy()
      assert :erlang.system_info(:atom_count) == before
    end
  end

  describe "new" do
    test "a size must be a positive integer, a power of 2" do
      for size <- [3, 1_000, 1_023, 6, 3 * 1_048_576, Bitwise.bsl(3, 70)] do
        assert Ring.new(size: size) == {:error, :size_must_be_power_of_2}
      end

      for size <- ["invalid", -1, 0, -8, 1.0, nil, :big, [8], %{}] do
        assert Ring.new(size: size) == {:error, :invalid_size}
      end

      for power <- 0..21, do: assert({:ok, %{size: _}} = Ring.new(size: Bitwise.bsl(1, power)))
      assert Ring.new(size: Bitwise.bsl(1, 70)) == {:error, :size_too_large}
    end

    test "the overflow strategy is one of three" do
      for strategy <- [:drop_oldest, :drop_newest, :block] do
        assert {:ok, %{overflow_strategy: ^strategy}} = Ring.new(overflow_strategy: strategy)
      end

      for strategy <- [:invalid, nil, "block", 1] do
        assert Ring.new(overflow_strategy: strategy) == {:error, :invalid_overflow_strategy}
      end
    end

    test "the other options are checked; unknown ones are ignored; a map will do" do
      assert Ring.new(max_event_bytes: 0) == {:error, :invalid_max_event_bytes}
      assert Ring.new(max_event_bytes: :all) == {:error, :invalid_max_event_bytes}
      assert Ring.new(block_timeout_ms: -1) == {:error, :invalid_block_timeout}
      assert {:ok, %{size: 2}} = Ring.new(%{size: 2, colour: :red})
      assert {:ok, %{size: 2}} = Ring.new([:odd, {:colour, :red}, {:size, 2}])
    end

    test "the struct has id, size and overflow_strategy" do
      assert %Ring{id: id, size: 2, overflow_strategy: :block} = ring(size: 2, overflow_strategy: :block)
      assert id != ring(size: 2).id
      assert ring(name: "not an atom").id == "not an atom"
    end
  end

  describe "a ring is a struct that is safe" do
    test "in application environment, an Agent, persistent_term and a process dictionary" do
      ring = ring(size: 4)
      Application.put_env(:native_ring_buffer_test, :ring, ring)
      {:ok, agent} = Agent.start_link(fn -> ring end)
      :persistent_term.put({__MODULE__, :ring}, ring)
      Process.put(:ring, ring)
      :ok = Ring.write(ring, :seen)

      for found <- [
            Application.fetch_env!(:native_ring_buffer_test, :ring),
            Agent.get(agent, & &1),
            :persistent_term.get({__MODULE__, :ring}),
            Process.get(:ring)
          ] do
        assert found == ring
        assert Ring.read(found, 0) == {:ok, :seen, 1}
      end

      Application.delete_env(:native_ring_buffer_test, :ring)
      :persistent_term.erase({__MODULE__, :ring})
    end

    test "with an atom as its name it is in persistent_term until it is destroyed" do
      ring = ring(name: :native_test_ring, size: 4)
      assert ring.id == :native_test_ring
      assert :persistent_term.get(:elixir_scope_buffer_native_test_ring) == ring
      Ring.destroy(ring)
      assert :persistent_term.get(:elixir_scope_buffer_native_test_ring, nil) == nil
    end

    test "destroying a ring leaves another one of the same name where it is" do
      old = ring(name: :native_test_again)
      new = ring(name: :native_test_again)
      Ring.destroy(old)
      assert :persistent_term.get(:elixir_scope_buffer_native_test_again) == new
      Ring.destroy(new)
    end
  end

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

    test "block waits only if block_timeout_ms says so, and goes on when there is room" do
      ring = ring(size: 2, overflow_strategy: :block, block_timeout_ms: 5_000)
      {:ok, cursor} = Nif.cursor_new(Ring.native(ring))
      for n <- 1..2, do: :ok = Ring.write(ring, n)
      writer = Task.async(fn -> Ring.write(ring, 3) end)
      assert Task.yield(writer, 50) == nil
      {:read, 0} = Nif.cursor_begin(cursor, 1)
      {:ok, id} = Nif.cursor_claim(cursor, 0, 1)
      assert Task.yield(writer, 50) == nil
      :ok = Nif.cursor_settle(cursor, id)
      assert Task.await(writer) == :ok
      assert all(ring) == [2, 3]

      short = ring(size: 1, overflow_strategy: :block, block_timeout_ms: 20)
      :ok = Ring.write(short, 1)
      assert Ring.write(short, 2) == {:error, :buffer_full}
    end

    test "a write that waits is told when the ring is destroyed" do
      ring = ring(size: 1, overflow_strategy: :block, block_timeout_ms: 60_000)
      :ok = Ring.write(ring, 1)
      writer = Task.async(fn -> Ring.write(ring, 2) end)
      Process.sleep(10)
      Ring.destroy(ring)
      assert Task.await(writer) == {:error, :destroyed}
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
        'charlist',
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
      before = :erlang.memory(:binary)
      ring = ring(size: 64)

      in_process(fn ->
        parent = :binary.copy("0123456789", 5_000_000)
        slices = for n <- [1, 30, 64, 65, 1_000], do: binary_part(parent, n, n)
        for s <- slices, term <- [s, {:a, [s]}, %{s => s}, [s | s], fn -> s end], do: :ok = Ring.write(ring, term)
      end)

      eventually(fn -> :erlang.garbage_collect() && :erlang.memory(:binary) - before < 5_000_000 end)
      {events, 25} = Ring.read_batch(ring, 0, 64)
      assert List.last(events).() |> byte_size() == 1_000
    end
  end

  describe "stats" do
    test "of a ring: exactly these figures" do
      ring = ring(size: 8)

      assert Ring.stats(ring) == %{
               size: 8,
               write_position: 0,
               read_position: 0,
               available_events: 0,
               total_writes: 0,
               total_reads: 0,
               dropped_events: 0,
               utilization: 0.0
             }

      for n <- 1..3, do: :ok = Ring.write(ring, n)
      assert %{available_events: 3, write_position: 3, total_writes: 3, utilization: 0.375} = Ring.stats(ring)
      for n <- 1..8, do: :ok = Ring.write(ring, n)

      assert %{
               available_events: 8,
               write_position: 11,
               read_position: 3,
               total_writes: 11,
               dropped_events: 3,
               utilization: 1.0
             } = Ring.stats(ring)
    end

    test "total_writes counts the writes answered ok, dropped_events the overwritten" do
      full = ring(size: 2, overflow_strategy: :drop_newest)
      for n <- 1..5, do: Ring.write(full, n)
      assert %{total_writes: 2, dropped_events: 0, write_position: 2} = Ring.stats(full)
      lapped = ring(size: 2)
      for n <- 1..5, do: Ring.write(lapped, n)
      Ring.write(lapped, :binary.copy("x", 2_000_000))
      assert %{total_writes: 5, dropped_events: 3, write_position: 5} = Ring.stats(lapped)
    end

    test "read_position is the oldest held: a pool's acknowledgement moves it, and makes room" do
      ring = ring(size: 4, overflow_strategy: :drop_newest)
      {:ok, cursor} = Nif.cursor_new(Ring.native(ring))
      for n <- 0..3, do: :ok = Ring.write(ring, n)
      {:read, 0} = Nif.cursor_begin(cursor, 3)
      {:ok, first} = Nif.cursor_claim(cursor, 0, 1)
      {:read, 1} = Nif.cursor_begin(cursor, 3)
      {:ok, second} = Nif.cursor_claim(cursor, 1, 3)
      assert Ring.stats(ring).read_position == 0

      # Out of order: what lies before is not acknowledged yet.
      :ok = Nif.cursor_settle(cursor, second)
      assert Ring.stats(ring).read_position == 0
      assert Ring.write(ring, 4) == {:error, :buffer_full}
      :ok = Nif.cursor_settle(cursor, first)
      assert %{read_position: 3, available_events: 1, dropped_events: 0} = Ring.stats(ring)
      assert Ring.read(ring, 0) == {:ok, 3, 4}
      for n <- 4..6, do: assert(Ring.write(ring, n) == :ok)
      assert Ring.write(ring, 7) == {:error, :buffer_full}
      assert all(ring) == [3, 4, 5, 6]
    end

    test "two pools: an event leaves when both have acknowledged it; a new one starts at the oldest held" do
      ring = ring(size: 8)
      {:ok, one} = Nif.cursor_new(Ring.native(ring))
      {:ok, two} = Nif.cursor_new(Ring.native(ring))
      for n <- 0..4, do: :ok = Ring.write(ring, n)

      settle = fn cursor, from, to ->
        {:read, ^from} = Nif.cursor_begin(cursor, 10)
        {:ok, id} = Nif.cursor_claim(cursor, from, to)
        :ok = Nif.cursor_settle(cursor, id)
      end

      settle.(one, 0, 5)
      assert Ring.stats(ring).read_position == 0
      settle.(two, 0, 2)
      assert Ring.stats(ring).read_position == 2
      {:ok, three} = Nif.cursor_new(Ring.native(ring))
      assert Nif.cursor_begin(three, 1) == {:read, 2}
      settle.(two, 2, 5)
      assert Ring.stats(ring).read_position == 2
      {:ok, id} = Nif.cursor_claim(three, 2, 5)
      :ok = Nif.cursor_settle(three, id)
      assert Ring.stats(ring).read_position == 5
    end

    test "a pool that is gone holds nothing back" do
      ring = ring(size: 8)
      {:ok, stays} = Nif.cursor_new(Ring.native(ring))
      for n <- 0..4, do: :ok = Ring.write(ring, n)
      in_process(fn -> {:ok, _} = Nif.cursor_new(Ring.native(ring)) end)
      {:read, 0} = Nif.cursor_begin(stays, 5)
      {:ok, id} = Nif.cursor_claim(stays, 0, 5)
      :ok = Nif.cursor_settle(stays, id)
      eventually(fn -> Ring.stats(ring).read_position == 5 end)
    end

    test "the claims of a killed worker come back, and what it had not acknowledged is still held" do
      ring = ring(size: 8, overflow_strategy: :drop_newest)
      {:ok, cursor} = Nif.cursor_new(Ring.native(ring))
      for n <- 0..7, do: :ok = Ring.write(ring, n)
      parent = self()

      worker =
        spawn(fn ->
          {:read, 0} = Nif.cursor_begin(cursor, 5)
          {:ok, _} = Nif.cursor_claim(cursor, 0, 5)
          send(parent, :claimed)
          Process.sleep(:infinity)
        end)

      assert_receive :claimed
      {:read, 5} = Nif.cursor_begin(cursor, 3)
      {:ok, mine} = Nif.cursor_claim(cursor, 5, 8)
      :ok = Nif.cursor_settle(cursor, mine)
      Process.exit(worker, :kill)
      eventually(fn -> Nif.cursor_info(cursor).returned == 5 end)
      assert Ring.stats(ring).read_position == 0
      assert {:again, id, 0, 5} = Nif.cursor_begin(cursor, 10)
      assert Ring.read_batch(ring, 0, 5) == {[0, 1, 2, 3, 4], 5}
      :ok = Nif.cursor_settle(cursor, id)
      assert Ring.stats(ring).read_position == 8
    end
  end

  describe "clear" do
    test "empties the ring: positions and counters are 0" do
      ring = ring(size: 4)
      for n <- 1..9, do: :ok = Ring.write(ring, n)
      {_, _} = Ring.read_batch(ring, 0, 9)
      fresh = Ring.stats(ring(size: 4))
      assert Ring.clear(ring) == :ok
      assert Ring.stats(ring) == fresh
      assert Ring.read(ring, 0) == :empty
      assert Ring.read_batch(ring, 0, 5) == {[], 0}
      assert Ring.write(ring, :new) == :ok
      assert Ring.read(ring, 0) == {:ok, :new, 1}
    end

    test "a pool that reads the ring starts again at 0; what it had taken before is void" do
      ring = ring(size: 8)
      {:ok, cursor} = Nif.cursor_new(Ring.native(ring))
      for n <- 0..5, do: :ok = Ring.write(ring, n)
      {:read, 0} = Nif.cursor_begin(cursor, 2)
      {:ok, open} = Nif.cursor_claim(cursor, 0, 2)
      {:read, 2} = Nif.cursor_begin(cursor, 2)
      epoch = Nif.cursor_info(cursor).epoch
      :ok = Ring.clear(ring)
      :ok = Ring.write(ring, :new)
      assert Nif.cursor_claim(cursor, 2, 4) == :stale
      assert Nif.cursor_settle(cursor, open) == :unknown
      assert %{epoch: after_it, next: 0, open: 0} = Nif.cursor_info(cursor)
      assert after_it != epoch
      assert Ring.stats(ring).read_position == 0
      assert Nif.cursor_begin(cursor, 2) == {:read, 0}
    end

    test "its events are let go" do
      before = :erlang.memory(:binary)
      ring = ring(size: 65_536)
      for _ <- 1..20_000, do: :ok = Ring.write(ring, :binary.copy("x", 1_000))
      assert :erlang.memory(:binary) - before > 15_000_000
      :ok = Ring.clear(ring)
      eventually(fn -> :erlang.garbage_collect() && :erlang.memory(:binary) - before < 1_000_000 end)
    end
  end

  describe "destroy" do
    test "answers ok, also the second time; then everything is destroyed, but the size" do
      ring = ring(size: 4)
      :ok = Ring.write(ring, 1)
      assert Ring.destroy(ring) == :ok
      assert Ring.destroy(ring) == :ok
      assert Ring.write(ring, 2) == {:error, :destroyed}
      assert Ring.write(ring, fn -> ring end) == {:error, :destroyed}
      for position <- [0, 5, -1, Bitwise.bsl(1, 70)], do: assert(Ring.read(ring, position) == {:error, :destroyed})

      for position <- [0, 5, -1, Bitwise.bsl(1, 70)],
          count <- [0, 3],
          do: assert(Ring.read_batch(ring, position, count) == {:error, :destroyed})

      assert Ring.stats(ring) == {:error, :destroyed}
      assert Ring.clear(ring) == {:error, :destroyed}
      assert Ring.size(ring) == 4
    end

    test "its events are let go while others still hold the ring" do
      before = :erlang.memory(:binary)
      ring = ring(size: 65_536)
      for _ <- 1..20_000, do: :ok = Ring.write(ring, :binary.copy("x", 1_000))
      :ok = Ring.destroy(ring)
      eventually(fn -> :erlang.garbage_collect() && :erlang.memory(:binary) - before < 1_000_000 end)
      assert Ring.size(ring) == 65_536
    end
  end

  describe "cost" do
    # In reductions, which count the work in Elixir and are the same every time; bench/ring_cost.exs prints nanoseconds.
    defp reductions(fun) do
      fun.()
      {:reductions, before} = Process.info(self(), :reductions)
      for _ <- 1..100, do: fun.()
      {:reductions, later} = Process.info(self(), :reductions)
      div(later - before, 100)
    end

    test "of a write and of a read does not depend on position and size" do
      costs =
        for size <- [16, 65_536], filled <- [16, 65_536 * 2] do
          ring = ring(size: size)
          for n <- 1..filled, do: :ok = Ring.write(ring, n)
          %{read_position: oldest, write_position: newest} = Ring.stats(ring)
          call = event(1)

          {reductions(fn -> Ring.read(ring, oldest) end), reductions(fn -> Ring.read(ring, newest - 1) end),
           reductions(fn -> Ring.write(ring, call) end)}
        end

      for cost <- costs, work <- Tuple.to_list(cost), do: assert(work in 1..50)
      flat = Enum.flat_map(costs, &Tuple.to_list/1)
      assert Enum.max(flat) - Enum.min(flat) <= 10
    end
  end

  describe "the app's own name for a ring" do
    setup do
      [{module, binary}] = Code.compile_file("compat/ring_buffer.ex", Path.expand("../../..", __DIR__))

      on_exit(fn ->
        :code.purge(module)
        :code.delete(module)
      end)

      %{buffer: module, binary: binary}
    end

    test "is outside the default compile path" do
      refute ElixirScope.Capture.RingBuffer in (Application.spec(:elixir_scope_capture_pipeline, :modules) || [])
    end

    test "both have the types t, buffer_id, position, overflow_strategy", %{binary: binary} do
      for of <- [Ring, binary] do
        {:ok, types} = Code.Typespec.fetch_types(of)
        names = for {:type, {name, _, []}} <- types, do: name
        assert [:t, :buffer_id, :position, :overflow_strategy] -- names == []
      end
    end

    test "delegates all of it, with the same types", %{buffer: buffer} do
      assert buffer == ElixirScope.Capture.RingBuffer
      assert {:ok, ring} = buffer.new(size: 4)
      assert {:ok, %{size: 1_024}} = buffer.new()
      assert buffer.write(ring, :a) == :ok
      assert buffer.read(ring) == {:ok, :a, 1}
      assert buffer.read(ring, 0) == {:ok, :a, 1}
      assert buffer.read_batch(ring, 0, 5) == {[:a], 1}
      assert buffer.stats(ring).total_reads == 3
      assert buffer.size(ring) == 4
      assert buffer.clear(ring) == :ok
      assert buffer.destroy(ring) == :ok
      public = for {name, arity} <- Ring.__info__(:functions), name not in [:__struct__, :native], do: {name, arity}
      assert Enum.sort(buffer.__info__(:functions)) == Enum.sort(public)
    end
  end
end
