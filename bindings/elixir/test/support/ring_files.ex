defmodule CapturePipeline.Test.RingFiles do
  @moduledoc false
  # A VM that captures into a ring file and ends. Its functions run there.

  alias ElixirScope.Capture.{Capture, PipelineManager}

  def options(directory), do: [ring_dir: directory, ring_bytes: 1_048_576, max_event_bytes: 8192, max_rings: 8]

  @doc "A new directory of the test's own."
  def directory do
    path = "/dev/shm/capture-ex-#{System.pid()}-#{System.unique_integer([:positive])}"
    File.mkdir!(path)
    File.chmod!(path, 0o700)
    path
  end

  def start do
    paths = Enum.flat_map(:code.get_path(), &[~c"-pa", &1])
    options = %{connection: :standard_io, args: paths, wait_boot: 120_000, peer_down: :continue}
    {:ok, peer, _} = :peer.start(options)
    {peer, :peer.call(peer, System, :pid, [], 60_000)}
  end

  @doc "Captures so many events. None is stored."
  def capture(directory, count) do
    {:ok, capture} = Capture.new(options(directory))
    for n <- 1..count, do: :ok = Capture.event(capture, 0, event(n), n)
    :ok = Capture.ingest_function_call(capture, CapturePipeline, :run, [1], self(), "a")
    :persistent_term.put(__MODULE__, capture)
    :ok
  end

  @doc "Captures so many events for a storage that never answers."
  def capture_and_hang(directory, count) do
    {:ok, capture} = Capture.new(options(directory))
    storage = fn _events -> Process.sleep(:infinity) end
    spawn(fn -> PipelineManager.start_link(ring_buffer: capture, storage: storage) && Process.sleep(:infinity) end)
    for n <- 1..count, do: :ok = Capture.event(capture, 0, event(n), n)
    :persistent_term.put(__MODULE__, capture)
    :ok
  end

  def event(n), do: %{n: n, text: "event #{n}", tags: [:one, {:two, n}], float: n / 3}
end
