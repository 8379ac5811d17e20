defmodule ElixirScope.Capture.UpgradeTest do
  # Hot upgrades under load, in this very VM: modules are loaded again, from their own files and from copies at other places, and their old
  # code is purged, while events are captured and written. Then what is stored is compared with what was captured, event by event.
  #
  # A purge kills whoever is in the old code, be it that the scheduler stopped him just there. So what processes only pass through is
  # purged as an upgrade does it whose processes are to live: softly, until nobody is in it.
  use ExUnit.Case, async: false

  import CapturePipeline.Test.Wait
  alias CapturePipeline.Test.{Accounts, KeyedStorage}
  alias ElixirScope.Capture.{PipelineManager, WriterLoop}

  @moduletag capture_log: true
  @moduletag timeout: 300_000
  @app :elixir_scope_capture_pipeline
  @nif :elixir_scope_capture_pipeline_nif
  @producers 2
  @size 16_384

  setup do
    Process.flag(:trap_exit, true)
    :ok
  end

  for kind <- [:foreign, :native, :capture] do
    @kind kind

    @tag :tmp_dir
    test "the NIF's module is loaded again and purged, and nothing is lost: #{kind}", %{tmp_dir: dir} do
      load = Accounts.open(@kind, @size, @producers)
      more(load)

      for _ <- 1..20 do
        again(@nif)
        more(load)
      end

      # A shared object of its own each, with a copy of the library in it; the source and its cursor are the first one's.
      home = :code.which(@nif)
      copies = for round <- 1..3, do: copy(home, Path.join(dir, "#{round}"), round)
      on_exit(fn -> back(copies) end)

      for copy <- copies do
        move(copy)
        more(load)
      end

      assert Accounts.close(load) > 10_000
      # What is made now is the last copy's; and it goes on with the first again.
      load = Accounts.open(@kind, @size, @producers)
      more(load)
      back(copies)
      assert :code.which(@nif) == home
      more(load)
      assert Accounts.close(load) > 1_000
    end

    test "all modules are loaded again and purged; loops that run old code are killed, and nothing is lost: #{kind}" do
      load = Accounts.open(@kind, @size, @producers)
      more(load)

      for _ <- 1..10 do
        for module <- modules(), do: again(module)
        more(load)
      end

      # The loops alone: four at least every time. The storage that fails now and then is told of, and then it is well again.
      assert %{pool_restarts: 0, worker_restarts: restarts} = eventually(&healthy/0)
      assert restarts >= 40
      assert Accounts.close(load) > 5_000
    end
  end

  defp healthy do
    health = PipelineManager.health_check(:chaos_manager)
    health.status == :healthy && health
  end

  # Until so many more are stored.
  defp more(load) do
    seen = KeyedStorage.count(load.storage)
    eventually(fn -> KeyedStorage.count(load.storage) > seen + 500 end, 20_000)
  end

  defp again(module) do
    assert {:module, ^module} = :code.load_file(module)
    if module == WriterLoop, do: :code.purge(module), else: eventually(fn -> :code.soft_purge(module) end)
  end

  defp modules do
    {:ok, modules} = :application.get_key(@app, :modules)
    Enum.reject(modules, &String.starts_with?(inspect(&1), "CapturePipeline.Test"))
  end

  # As in a release of another version: what it has in priv is found by the name of its directory.
  defp copy(home, root, round) do
    root = Path.join(root, "#{@app}-9.#{round}")
    so = "priv/#{@nif}.so"
    for made <- ["ebin", "priv"], do: File.mkdir_p!(Path.join(root, made))
    File.cp!(home, Path.join([root, "ebin", Path.basename(home)]))
    File.cp!(Application.app_dir(@app, so), Path.join(root, so))
    root
  end

  defp move(root) do
    true = :code.add_patha(ebin(root))
    again(@nif)
    assert File.read!("/proc/self/maps") =~ root
  end

  defp back(copies) do
    for root <- copies, do: :code.del_path(ebin(root))
    again(@nif)
  end

  defp ebin(root), do: root |> Path.join("ebin") |> String.to_charlist()
end
