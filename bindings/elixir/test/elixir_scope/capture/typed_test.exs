defmodule ElixirScope.Capture.TypedTest do
  use ExUnit.Case, async: true

  import CapturePipeline.Test.Wait
  alias ElixirScope.Capture.{AsyncWriterPool, Capture, CaptureKind, NativeStorage}

  defp allocation do
    CaptureKind.new!(7,
      name: :allocation,
      category: "memory",
      fields: [size: {:u64, hint: :bytes}, site: :address, op: {:enum, :u8, [malloc: 0, free: 1]}, file: :string]
    )
  end

  defp with_database(test) do
    path = Path.join(System.tmp_dir!(), "typed-#{System.pid()}-#{System.unique_integer([:positive])}.db")
    on_exit(fn -> for suffix <- ["", "-wal", "-shm"], do: File.rm(path <> suffix) end)
    test.(path)
  end

  defp sql(path, query) do
    {answer, 0} = System.cmd("sqlite3", [path, query])
    String.trim(answer)
  end

  test "SQLite has a column for each field of a kind that was defined by a keyword list" do
    with_database(fn path ->
      {:ok, capture} = Capture.new(storage: NativeStorage.sqlite(path))
      kind = allocation()
      assert Capture.define(capture, kind) == :ok
      assert Capture.define(capture, kind) == :ok

      for {size, op} <- [{64, :malloc}, {0xFFFF_FFFF_FFFF_FFFF, :free}, {100, :malloc}, {1, 9}] do
        assert Capture.typed(capture, kind, size: size, site: 0x401136, op: op, file: "größe.ex") == :ok
      end

      assert Capture.typed(capture, kind, %{size: 5, site: 0, op: :free}, 99, 3) == :ok
      assert Capture.close(capture, 10_000) == :ok

      assert sql(path, "SELECT op, count(*) FROM kind_allocation GROUP BY op ORDER BY op") == "9|1\nfree|2\nmalloc|2"
      assert sql(path, "SELECT sum(size) FROM kind_allocation WHERE op = 'malloc'") == "164"

      assert sql(path, "SELECT size, site, file FROM kind_allocation WHERE length(size) = 20") ==
               "18446744073709551615|0x401136|größe.ex"

      assert sql(path, "SELECT size, file, _node_id FROM kind_allocation WHERE _correlation_id = 99") == "5||3"
    end)
  end

  test "writers get the binary, and decode reads it" do
    {:ok, capture} = Capture.new()
    {:ok, kind} = Capture.define(capture, 8, name: "point", fields: [x: :f64, y: :f32, on: :bool])
    test = self()

    store = fn events ->
      send(test, {:events, events})
      :ok
    end

    {:ok, pool} = AsyncWriterPool.start_link(ring_buffer: capture, storage: store, pool_size: 1)
    assert Capture.typed(capture, kind, x: 1, y: -0.5, on: true) == :ok
    assert Capture.flush(capture) == :ok
    eventually(fn -> AsyncWriterPool.get_metrics(pool).total_events_processed == 1 end)
    assert_receive {:events, [payload]} when is_binary(payload)
    assert CaptureKind.decode(kind, payload) == {:ok, %{x: 1.0, y: -0.5, on: true}}
    assert CaptureKind.decode(kind, binary_part(payload, 0, 12)) == {:ok, %{x: 1.0, y: -0.5}}
    AsyncWriterPool.stop(pool)
    Capture.close(capture)
  end

  test "what is wrong is refused by name, and nothing is captured" do
    {:ok, capture} = Capture.new()
    kind = allocation()

    assert {:error, {:invalid, "field op: an integer or one of " <> _}} =
             Capture.typed(capture, kind, size: 1, site: 1, op: :other)

    assert {:error, {:invalid, "field size: 0 to 18446744073709551615 allowed (u64), -1 given"}} =
             CaptureKind.encode(kind, size: -1)

    assert_raise ArgumentError, "field site: its value is missing", fn -> CaptureKind.encode!(kind, size: 1) end

    assert_raise ArgumentError, "field a: the type u128 is unknown", fn ->
      CaptureKind.new!(1, name: :k, fields: [a: :u128])
    end

    assert {:error, {:invalid, "options: a map or a list" <> _}} = CaptureKind.new(1, :no_options)
    assert {:error, {:invalid, "kind 1: name: it is empty"}} = Capture.define(capture, 1, fields: [a: :u8])
    assert :ok = Capture.define(capture, kind)
    assert {:error, {:fixed, text}} = Capture.define(capture, 7, name: :allocation, fields: [size: :u32])
    assert text =~ "size is different there"
    assert CaptureKind.decode(kind, :no_binary) == {:error, :badarg}
    assert {:ok, %{offered: 0}} = Capture.metrics(capture)
    assert Capture.close(capture) == :ok
    assert {:error, {:closed, _}} = Capture.define(capture, 9, name: :late)
  end
end
