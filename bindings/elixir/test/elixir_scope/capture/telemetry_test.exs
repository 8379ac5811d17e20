defmodule ElixirScope.Capture.TelemetryTest do
  # The library is optional and looked up at run time. Each test defines a module of its name and removes it afterwards.
  use ExUnit.Case, async: false

  import CapturePipeline.Test.Wait
  alias CapturePipeline.Test.Sources
  alias ElixirScope.Capture.{AsyncWriterPool, Telemetry}

  setup do
    Process.flag(:trap_exit, true)
    refute Code.ensure_loaded?(:telemetry)
    :ok
  end

  defp telemetry(body) do
    Code.compile_quoted(
      quote do
        defmodule :telemetry do
          def execute(name, measurements, metadata), do: unquote(body).(name, measurements, metadata)
        end
      end
    )

    on_exit(&unload/0)
  end

  defp unload do
    :code.purge(:telemetry)
    :code.delete(:telemetry)
    :code.purge(:telemetry)
  end

  test "nothing happens without it" do
    assert Telemetry.execute([:batch, :stored], %{count: 1}, %{}) == :ok
  end

  test "an event is sent for each thing that happens" do
    Process.register(self(), :telemetry_test)
    telemetry(quote do: fn name, measurements, metadata -> send(:telemetry_test, {name, measurements, metadata}) end)
    source = Sources.fill(Sources.new(:foreign, size: 16), Sources.events(1..20))
    store = fn events -> if Enum.any?(events, &(&1.n == 10)), do: {:error, :bad}, else: :ok end

    {:ok, pool} =
      AsyncWriterPool.start_link(ring_buffer: source, storage: store, poll_interval_ms: 5, retry_limit: 1, pool_size: 2)

    assert_receive {[:elixir_scope, :capture, :source, :overwritten], %{count: 4}, %{worker: worker}}
    assert worker in AsyncWriterPool.get_state(pool).workers
    assert_receive {[:elixir_scope, :capture, :batch, :failed], %{count: 16}, %{worker: ^worker, reason: :bad}}
    assert_receive {[:elixir_scope, :capture, :event, :dead_lettered], %{count: 1}, %{reason: :bad}}
    assert_receive {[:elixir_scope, :capture, :batch, :stored], %{count: 15, duration: duration}, %{dead_lettered: 1}}
    assert duration > 0

    :ok = AsyncWriterPool.scale_pool(pool, 3)
    assert_receive {[:elixir_scope, :capture, :pool, :scaled], %{size: 3}, %{pool: ^pool, previous: 2}}
    Process.exit(worker, :kill)
    assert_receive {[:elixir_scope, :capture, :worker, :restarted], %{count: 1}, %{worker: ^worker, reason: :killed}}

    AsyncWriterPool.stop(pool)
    {:ok, writer} = ElixirScope.Capture.AsyncWriter.start_link(ring_buffer: :bad, poll_interval_ms: 5)
    assert_receive {[:elixir_scope, :capture, :source, :failed], %{count: 1}, %{worker: ^writer}}
  end

  test "a telemetry handler that fails does no harm" do
    for body <- [
          quote(do: fn _, _, _ -> raise "not started" end),
          quote(do: fn _, _, _ -> exit(:badly) end),
          quote(do: fn _, _, _ -> throw(:badly) end)
        ] do
      telemetry(body)
      source = Sources.fill(Sources.new(:foreign), Sources.events(1..20))
      {:ok, pool} = AsyncWriterPool.start_link(ring_buffer: source, storage: fn _ -> :ok end, poll_interval_ms: 5)
      eventually(fn -> AsyncWriterPool.get_metrics(pool).total_events_processed == 20 end)
      assert AsyncWriterPool.get_metrics(pool).worker_restarts == 0
      AsyncWriterPool.stop(pool)
      unload()
    end
  end

  test "a writer that has a batch and does nothing with it is named by health: a handler that hangs" do
    telemetry(quote do: fn [_, _, :source, :overwritten], _, _ -> receive do: (:never -> :ok) end)
    source = Sources.fill(Sources.new(:foreign, size: 16), Sources.events(1..20))
    {:ok, pool} = AsyncWriterPool.start_link(ring_buffer: source, storage: fn _ -> :ok end, poll_interval_ms: 5)
    eventually(fn -> AsyncWriterPool.health_check(pool).reasons == [:writer_stuck] end)
    AsyncWriterPool.stop(pool)
  end
end
