defmodule ElixirScope.Capture.NativeRingFiguresTest do
  # Not async: some tests look at the memory of the whole VM.
  use ExUnit.Case, async: false

  import CapturePipeline.Test.{Rings, Wait}
  alias CapturePipeline.Test.Memory
  alias ElixirScope.Capture.NativeRingBuffer, as: Ring
  alias :elixir_scope_capture_pipeline_nif, as: Nif

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

    test "read_position is the oldest held: a pool's acknowledgement moves it, and frees slots" do
      ring = ring(size: 4, overflow_strategy: :drop_newest)
      {:ok, cursor} = Nif.cursor_new(Ring.native(ring))
      for n <- 0..3, do: :ok = Ring.write(ring, n)
      {:read, 0} = Nif.cursor_begin(cursor, 3)
      {:ok, first} = Nif.cursor_claim(cursor, 0, 1)
      {:read, 1} = Nif.cursor_begin(cursor, 3)
      {:ok, second} = Nif.cursor_claim(cursor, 1, 3)
      assert Ring.stats(ring).read_position == 0

      # Out of order: earlier events are not acknowledged yet.
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

    test "the claims of a killed worker are returned, and its unacknowledged events are still held" do
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

    test "a pool that reads the ring starts again at 0; its earlier claims are void" do
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
      before = Memory.held(:binary)
      ring = ring(size: 65_536)
      for _ <- 1..20_000, do: :ok = Ring.write(ring, :binary.copy("x", 1_000))
      assert Memory.held(:binary) - before > 15_000_000 or not Memory.known?()
      :ok = Ring.clear(ring)
      eventually(fn -> :erlang.garbage_collect() && Memory.held(:binary) - before < 1_000_000 end)
    end
  end
end
