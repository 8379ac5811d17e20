defmodule ElixirScope.Capture.ChaosTest do
  # Random processes of the tree are killed under load, for CHAOS_SECONDS (10) on each kind of source. Then the stored events are compared with
  # the captured ones, one by one. The storage uses the identity as its key, so the comparison is exact.
  use ExUnit.Case, async: false

  import CapturePipeline.Test.Wait
  alias CapturePipeline.Test.{Accounts, Chaos, Memory}

  @moduletag capture_log: true
  @moduletag timeout: :infinity
  @seconds "CHAOS_SECONDS" |> System.get_env("10") |> String.to_integer()
  @producers 2
  @size 16_384

  setup do
    Process.flag(:trap_exit, true)
    :ok
  end

  for kind <- [:foreign, :native, :capture] do
    @kind kind
    test "every captured event is stored once although processes are killed: #{kind}" do
      # A first run before the count, so that modules are loaded and permanent structures exist.
      run(@kind, 300, [])
      before = footprint()
      {captured, killed} = run(@kind, @seconds * 1_000, [:worker, :loop, :pool, :manager, :storage])
      if System.get_env("CHAOS_SECONDS"), do: IO.puts("#{@kind}: stored all #{captured}, each once; #{inspect(killed)}")
      assert captured > 0
      eventually(fn -> grown(before, footprint()) == [] end)
    end
  end

  defp run(kind, ms, wanted) do
    load = Accounts.open(kind, @size, @producers)
    killed = Chaos.rage(System.monotonic_time(:millisecond) + ms, wanted)
    {Accounts.close(load), killed}
  end

  defp footprint do
    for pid <- Process.list(), do: :erlang.garbage_collect(pid)

    %{
      processes: length(Process.list()),
      tables: length(:ets.all()),
      ports: length(Port.list()),
      memory: Memory.held(:total)
    }
  end

  defp grown(before, now) do
    for {key, value} <- now,
        value > before[key] + if(key == :memory, do: 32 * 1024 * 1024, else: 0),
        do: {key, before[key], value}
  end
end
