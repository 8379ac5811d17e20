defmodule ElixirScope.Capture.NativeRingBufferTest do
  # Not async: some tests count atoms and the memory of the whole VM.
  use ExUnit.Case, async: false

  import CapturePipeline.Test.{Rings, Wait}
  alias CapturePipeline.Test.Memory
  alias ElixirScope.Capture.NativeRingBuffer, as: Ring

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

    test "the order of writes follows causality across processes" do
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

      before = {resident.(), Memory.held(:total)}
      rings = for _ <- 1..20, do: ring(size: 2_097_152)
      assert resident.() - elem(before, 0) < 20_000_000
      assert Memory.held(:total) - elem(before, 1) < 1_000_000
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
      # Other processes may load a module meanwhile, which makes some dozens.
      assert :erlang.system_info(:atom_count) - before < 500
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
      before = Memory.held(:binary)
      ring = ring(size: 65_536)
      for _ <- 1..20_000, do: :ok = Ring.write(ring, :binary.copy("x", 1_000))
      :ok = Ring.destroy(ring)
      eventually(fn -> :erlang.garbage_collect() && Memory.held(:binary) - before < 1_000_000 end)
      assert Ring.size(ring) == 65_536
    end
  end

  describe "cost" do
    # In reductions, which count the work in Elixir and do not vary. bench/ring_cost.exs prints nanoseconds.
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
      # `mix test` compiles test files without the types.
      debug_info = Code.get_compiler_option(:debug_info)
      Code.put_compiler_option(:debug_info, true)
      [{module, binary}] = Code.compile_file("compat/ring_buffer.ex", Path.expand("../../..", __DIR__))
      Code.put_compiler_option(:debug_info, debug_info)

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
      assert buffer.pressure(ring) == 25
      assert {:ok, _} = buffer.watch_pressure(ring, 0, 50)
      assert buffer.unwatch_pressure(ring) == :ok
      assert buffer.clear(ring) == :ok
      assert buffer.destroy(ring) == :ok
      public = for {name, arity} <- Ring.__info__(:functions), name not in [:__struct__, :native], do: {name, arity}
      assert Enum.sort(buffer.__info__(:functions)) == Enum.sort(public)
    end
  end
end
