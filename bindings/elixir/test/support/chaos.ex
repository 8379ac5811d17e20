defmodule CapturePipeline.Test.Chaos do
  @moduledoc false
  # The parts of the chaos test: a pipeline under load while its processes are killed at random.

  alias CapturePipeline.Test.{ForeignRing, KeyedStorage, Sources}
  alias ElixirScope.Capture.{AsyncWriterPool, Capture, PipelineManager}

  @store :chaos_store
  @manager :chaos_manager

  defmodule Store do
    @moduledoc false
    # A storage process in front of a table that outlives it. It dies, and sometimes it fails.
    use GenServer

    def start_link(storage), do: GenServer.start_link(__MODULE__, storage, name: :chaos_store)
    def init(storage), do: {:ok, storage}

    def handle_call({:store, batch}, _from, storage) do
      case :rand.uniform(50) do
        1 ->
          {:reply, {:error, :unavailable}, storage}

        # Stored without an answer.
        2 ->
          :ok = KeyedStorage.store_batch(storage, batch)
          {:stop, :killed, storage}

        3 ->
          {:reply, {:ok, 0}, storage}

        _ ->
          {:reply, KeyedStorage.store_batch(storage, batch), storage}
      end
    end
  end

  def store(_events, batch), do: GenServer.call(@store, {:store, batch})

  @doc "Starts the storage and the pipeline below a supervisor that starts again whatever is killed."
  def start(source, storage) do
    opts = [
      name: @manager,
      ring_buffer: source,
      storage: &__MODULE__.store/2,
      poll_interval_ms: 5,
      batch_size: 50,
      retry_max_ms: 20,
      retry_limit: 1_000
    ]

    Supervisor.start_link([{Store, storage}, {PipelineManager, opts}], strategy: :one_for_one, max_restarts: 1_000_000)
  end

  @doc """
  A source that loses nothing while it is not overrun: a native ring and a capture refuse when they are full; a foreign ring overwrites, so its
  producers keep half a ring away from the oldest event that is not yet stored.
  """
  def source(:foreign, size), do: Sources.new(:foreign, size: size)
  def source(:native, size), do: Sources.new(:native, size: size, overflow_strategy: :drop_newest)
  def source(:capture, _), do: Sources.new(:capture)

  @doc "Captures until it is told to stop; answers how many."
  def produce(source, storage, producer), do: produce(source, storage, producer, 0, 0)

  defp produce(source, storage, producer, count, oldest) do
    receive do
      {:stop, from} -> send(from, {:produced, producer, count})
    after
      0 ->
        oldest = oldest(source, storage, oldest)

        if room?(source, oldest) and capture(source, producer, count + 1) do
          produce(source, storage, producer, count + 1, oldest)
        else
          pause(1)
          produce(source, storage, producer, count, oldest)
        end
    end
  end

  @doc "What the storage is to keep of an event: its number, if all of it is as it was captured."
  def keep(%{n: {producer, n}, timestamp: n, filling: [n, producer, "text"], processing_order: order})
      when is_integer(order),
      do: %{n: {producer, n}}

  def keep(event), do: %{n: {:damaged, event}}

  defp capture(source, producer, n) do
    case Sources.write(source, %{n: {producer, n}, timestamp: n, filling: [n, producer, "text"]}) do
      :ok -> true
      {:error, full} when full in [:full, :buffer_full] -> false
    end
  end

  defp oldest(%ForeignRing{atomics_ref: ref} = ring, storage, oldest) do
    if :ets.member(storage.table, {ref, 0, oldest}), do: oldest(ring, storage, oldest + 1), else: oldest
  end

  defp oldest(_source, _storage, _oldest), do: 0

  defp room?(%ForeignRing{} = ring, oldest), do: ForeignRing.stats(ring).write_position - oldest < div(ring.size, 2)
  # Otherwise several megabytes of batches would be left to finish at the end.
  defp room?(%Capture{} = capture, _), do: :rand.uniform(100) > 1 or Capture.backlog(capture) < 16_384
  defp room?(_source, _oldest), do: true

  @doc """
  Kills something of the tree every few milliseconds until that time (monotonic milliseconds), and until each of the wanted has been killed; answers how
  many of each.
  """
  def rage(until, wanted, killed \\ %{}) do
    if System.monotonic_time(:millisecond) < until or not Enum.all?(wanted, &is_map_key(killed, &1)) do
      pause(:rand.uniform(12))
      what = strike(:rand.uniform(100))
      rage(until, wanted, Map.update(killed, what, 1, &(&1 + 1)))
    else
      killed
    end
  end

  defp strike(n) when n <= 35, do: kill(:worker, workers())
  defp strike(n) when n <= 55, do: kill(:loop, Enum.flat_map(workers(), &loops/1))
  defp strike(n) when n <= 68, do: kill(:pool, pools())
  defp strike(n) when n <= 72, do: kill(:manager, List.wrap(Process.whereis(@manager)))
  defp strike(n) when n <= 80, do: kill(:storage, List.wrap(Process.whereis(@store)))

  defp strike(n) when n <= 90,
    do: ask(:scale, fn -> for pool <- pools(), do: AsyncWriterPool.scale_pool(pool, Enum.random([0, 1, 2, 4, 8])) end)

  defp strike(n) when n <= 93,
    do: ask(:config, fn -> PipelineManager.update_config(@manager, batch_size: Enum.random([1, 10, 50, 200])) end)

  defp strike(n) when n <= 96, do: ask(:metrics, fn -> PipelineManager.get_metrics(@manager) end)
  defp strike(_), do: ask(:health, fn -> PipelineManager.health_check(@manager) end)

  defp kill(_, []), do: :nothing

  defp kill(what, pids) do
    Process.exit(Enum.random(pids), Enum.random([:kill, :kill, :crashed]))
    what
  end

  defp ask(what, fun) do
    fun.()
    what
  catch
    :exit, _ -> what
  end

  def pools do
    for {AsyncWriterPool, pid, _, _} when is_pid(pid) <- Supervisor.which_children(@manager), do: pid
  catch
    :exit, _ -> []
  end

  def workers do
    Enum.flat_map(pools(), &AsyncWriterPool.get_state(&1).workers)
  catch
    :exit, _ -> []
  end

  defp loops(worker) do
    case Process.info(worker, :links) do
      {:links, links} -> Enum.filter(links, &(is_pid(&1) and &1 not in pools()))
      nil -> []
    end
  end

  @doc "Enough workers to finish."
  def calm(tries \\ 500) do
    case PipelineManager.update_config(@manager, async_writer_pool_size: 4) do
      :ok when tries > 0 -> if length(workers()) == 4, do: :ok, else: again(tries)
      _ when tries > 0 -> again(tries)
    end
  end

  defp again(tries) do
    pause(5)
    calm(tries - 1)
  end

  defp pause(ms) do
    receive do
    after
      ms -> true
    end
  end
end
