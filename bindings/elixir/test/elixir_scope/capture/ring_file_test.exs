defmodule ElixirScope.Capture.RingFileTest do
  use ExUnit.Case, async: false

  import CapturePipeline.Test.Wait
  alias CapturePipeline.Test.{KeyedStorage, RingFiles}
  alias ElixirScope.Capture.{Capture, NativeRingBuffer, PipelineManager}

  @moduletag timeout: 300_000
  @events 200

  setup do
    directory = RingFiles.directory()
    on_exit(fn -> File.rm_rf!(directory) end)
    {:ok, directory: directory}
  end

  defp kill(pid) do
    System.cmd("kill", ["-9", pid])
    eventually(fn -> match?({_, status} when status != 0, System.cmd("kill", ["-0", pid], stderr_to_stdout: true)) end)
  end

  # Starts again on the directory, and takes what is recovered into a storage that is keyed by identity.
  defp recover(directory, count) do
    storage = KeyedStorage.new()
    {:ok, capture} = Capture.new(RingFiles.options(directory))
    {:ok, manager} = PipelineManager.start_link(ring_buffer: capture, storage: storage)
    eventually(fn -> KeyedStorage.count(storage) == count end)
    :ok = Capture.flush(capture, 60_000)
    assert {:ok, %{recovered: ^count, stored: ^count, captured: 0}} = Capture.metrics(capture)
    :ok = PipelineManager.shutdown(manager)
    :ok = Capture.close(capture, 60_000)
    assert Path.wildcard(directory <> "/*.rings") == []
    :ets.tab2list(storage.table)
  end

  test "what a VM that is killed has captured reaches the storage of the next one, enriched and once", %{
    directory: directory
  } do
    {peer, pid} = RingFiles.start()
    :ok = :peer.call(peer, RingFiles, :capture, [directory, @events], 60_000)
    kill(pid)
    all = recover(directory, @events + 1)
    assert Enum.all?(all, fn {_, _, times} -> times == 1 end)
    {calls, events} = Enum.split_with(all, fn {_, event, _} -> not Map.has_key?(event, :n) end)
    assert [{_, %{module: CapturePipeline, function: :run, args: [1], correlation_id: "a"}, 1}] = calls
    assert events |> Enum.map(fn {_, event, _} -> event.n end) |> Enum.sort() == Enum.to_list(1..@events)

    for {_, event, _} <- events do
      assert Map.take(event, [:n, :text, :tags, :float]) == RingFiles.event(event.n)
      assert %{correlation_id: n, enriched_at: _} = event
      assert n == event.n
    end
  end

  test "so does what a storage has and does not answer", %{directory: directory} do
    {peer, pid} = RingFiles.start()
    :ok = :peer.call(peer, RingFiles, :capture_and_hang, [directory, @events], 60_000)
    kill(pid)
    all = recover(directory, @events)
    assert all |> Enum.map(fn {_, event, _} -> event.n end) |> Enum.sort() == Enum.to_list(1..@events)
  end

  test "the options are checked", %{directory: directory} do
    File.chmod!(directory, 0o777)
    assert {:error, {_, "pipeline_config_t.ring_dir" <> _}} = Capture.new(RingFiles.options(directory))
    assert {:error, :ring_dir_unsupported} = NativeRingBuffer.new(ring_dir: directory)
  end
end
