defmodule CapturePipeline.Bench.Storage do
  @moduledoc "The storage behind the pipelines of this library: it does what every contender's consumer does."

  alias CapturePipeline.Bench.Keep

  defstruct [:table, :counters]

  @doc "Called by the AsyncWriters."
  @spec store_events(struct(), [term()]) :: {:ok, non_neg_integer()}
  def store_events(%__MODULE__{table: table, counters: counters}, events) do
    Keep.events(events, table, counters)
    {:ok, length(events)}
  end

  @spec open(:nothing | :ets) :: struct()
  def open(storage), do: %__MODULE__{table: Keep.open(storage), counters: :counters.new(2, [:write_concurrency])}
end

defmodule CapturePipeline.Bench.Captured do
  @moduledoc """
  `ElixirScope.Capture.Capture`: events as flat words and binaries as bytes in the schedulers' rings, a pool of AsyncWriters that enrich them and
  hand them to the storage.
  """
  @behaviour CapturePipeline.Bench.Contender
  alias CapturePipeline.Bench.{Contender, Storage}
  alias ElixirScope.Capture.{AsyncWriterPool, Capture}

  # If the ring is full the producer waits, as a program does that must not lose an event.
  @options [batch_size: 512, overflow: :block, block_timeout_ms: :infinity]

  @impl true
  def name, do: "Capture, enriched by the pool"

  @impl true
  def start(storage), do: start(storage, [])

  @doc "The same with other options of the capture."
  @spec start(:nothing | :ets, keyword()) :: tuple()
  def start(storage, options) do
    kept = Storage.open(storage)
    {:ok, capture} = Capture.new(@options ++ options)
    {:ok, pool} = AsyncWriterPool.start_link(ring_buffer: capture, storage: kept, pool_size: 1)
    {capture, pool, kept}
  end

  @impl true
  def burst({capture, _, _}, event, count), do: events(capture, event, count, 0)

  defp events(_capture, _event, 0, taken), do: taken

  defp events(capture, event, count, taken) when is_binary(event) do
    case Capture.binary(capture, event) do
      :ok -> events(capture, event, count - 1, taken + 1)
      {:error, _} -> events(capture, event, count - 1, taken)
    end
  end

  defp events(capture, event, count, taken) do
    case Capture.event(capture, event) do
      :ok -> events(capture, event, count - 1, taken + 1)
      {:error, _} -> events(capture, event, count - 1, taken)
    end
  end

  @impl true
  def drain({_, _, kept}, count), do: Contender.await(kept.counters, 1, count)

  @impl true
  def stop({capture, pool, _}) do
    AsyncWriterPool.stop(pool)
    Capture.close(capture, 1_000)
    :ok
  end
end

defmodule CapturePipeline.Bench.Buffered do
  @moduledoc """
  The same capture, what it takes being delivered between the bursts: the cost of a capture alone, as the pure-Elixir ring's is that of a write
  alone. Two processes and the threads that deliver are more than two cores run at once.
  """
  @behaviour CapturePipeline.Bench.Contender
  alias CapturePipeline.Bench.Captured
  alias ElixirScope.Capture.Capture
  alias :elixir_scope_capture_pipeline, as: Pipeline

  @impl true
  def name, do: "Capture, delivered between bursts"

  # Nothing leaves the ring during a burst. As environment blocks, two bursts at once on one scheduler are more than the default ring has room for.
  @impl true
  def start(storage) do
    options = if Capture.capture_info().terms == :blocks, do: [ring_bytes: 4 * 1024 * 1024], else: []
    Captured.start(storage, options)
  end

  @impl true
  def prepare({capture, _, _}), do: Pipeline.pause(Capture.pipeline(capture))

  @impl true
  defdelegate burst(context, event, count), to: Captured

  @impl true
  def drain({capture, _, _} = context, count) do
    :ok = Pipeline.resume(Capture.pipeline(capture))
    Captured.drain(context, count)
  end

  @impl true
  defdelegate stop(context), to: Captured
end

defmodule CapturePipeline.Bench.BufferedBlocks do
  @moduledoc "The same, terms in environment blocks where the VM takes flat words: as on a version that was not tested with these."
  @behaviour CapturePipeline.Bench.Contender
  alias CapturePipeline.Bench.{Buffered, Captured}

  @impl true
  def name, do: "the same, in blocks"

  @impl true
  def start(storage), do: Captured.start(storage, terms: :blocks, ring_bytes: 4 * 1024 * 1024)

  @impl true
  defdelegate prepare(context), to: Buffered

  @impl true
  defdelegate burst(context, event, count), to: Captured

  @impl true
  defdelegate drain(context, count), to: Buffered

  @impl true
  defdelegate stop(context), to: Captured
end

defmodule CapturePipeline.Bench.Delivered do
  @moduledoc """
  The same capture, its batches delivered to a process of the caller's own that does what the other contenders' consumers do: nothing is
  enriched, as they enrich nothing.
  """
  @behaviour CapturePipeline.Bench.Contender
  alias CapturePipeline.Bench.{Captured, Contender, Keep}
  alias ElixirScope.Capture.Capture
  alias :elixir_scope_capture_pipeline, as: Pipeline

  # If the ring is full the producer waits, as a program does that must not lose an event.
  @options [batch_size: 512, overflow: :block, block_timeout_ms: :infinity]

  @impl true
  def name, do: "Capture, delivered to a process"

  @impl true
  def start(storage), do: start(storage, [])

  @doc "The same with other options of the capture."
  @spec start(:nothing | :ets, keyword()) :: tuple()
  def start(storage, options) do
    counters = :counters.new(2, [:write_concurrency])
    {:ok, capture} = Capture.new(@options ++ options)
    parent = self()

    pid =
      :erlang.spawn_opt(
        fn ->
          :ok = Pipeline.attach(Capture.pipeline(capture))
          send(parent, {:attached, self()})
          loop(Keep.open(storage), counters)
        end,
        # The largest of the VM's heap sizes that, with a batch beside it, is collected on the process's own scheduler.
        [:link, min_heap_size: 75_113]
      )

    receive(do: ({:attached, ^pid} -> :ok))
    {capture, pid, %{counters: counters}}
  end

  @impl true
  def burst(context, event, count), do: Captured.burst(context, event, count)

  @impl true
  def drain({_, _, %{counters: counters}}, count), do: Contender.await(counters, 1, count)

  @impl true
  def stop({capture, pid, _}) do
    Process.unlink(pid)
    Process.exit(pid, :kill)
    Capture.close(capture, 0)
    :ok
  end

  defp loop(table, counters) do
    receive do
      {:capture_batch, _, _, _, _, _, _} = batch -> keep(batch, table, counters)
    end
  end

  defp keep({:capture_batch, pipeline, token, _id, _attempt, _count, _origin}, table, counters) do
    pipeline |> Pipeline.events(token) |> Enum.map(&elem(&1, 0)) |> Keep.events(table, counters)

    case Pipeline.complete_next(pipeline, token, :ok) do
      :ok -> loop(table, counters)
      next -> keep(next, table, counters)
    end
  end
end

defmodule CapturePipeline.Bench.DeliveredBlocks do
  @moduledoc "The same, terms in environment blocks where the VM takes flat words: as on a version that was not tested with these."
  @behaviour CapturePipeline.Bench.Contender
  alias CapturePipeline.Bench.Delivered

  @impl true
  def name, do: "the same, in blocks"

  @impl true
  def start(storage), do: Delivered.start(storage, terms: :blocks)

  @impl true
  defdelegate burst(context, event, count), to: Delivered

  @impl true
  defdelegate drain(context, count), to: Delivered

  @impl true
  defdelegate stop(context), to: Delivered
end

defmodule CapturePipeline.Bench.Native do
  @moduledoc "`NativeRingBuffer.write/2`: one totally ordered log, overwriting the oldest; nobody reads."
  @behaviour CapturePipeline.Bench.Contender
  alias ElixirScope.Capture.NativeRingBuffer

  @impl true
  def name, do: "NativeRingBuffer"

  @impl true
  def start(_storage) do
    {:ok, ring} = NativeRingBuffer.new(size: 4096)
    ring
  end

  @impl true
  def burst(ring, event, count), do: burst(ring, event, count, count)
  defp burst(_ring, _event, 0, all), do: all

  defp burst(ring, event, count, all) do
    :ok = NativeRingBuffer.write(ring, event)
    burst(ring, event, count - 1, all)
  end

  @impl true
  def drain(ring, count) do
    case NativeRingBuffer.stats(ring) do
      %{total_writes: ^count} -> :ok
      stats -> {:error, stats}
    end
  end

  @impl true
  def stop(ring), do: NativeRingBuffer.destroy(ring)
end
