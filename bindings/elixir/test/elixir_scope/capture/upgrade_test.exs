defmodule ElixirScope.Capture.UpgradeTest do
  # Hot upgrades under load, in this VM: modules are loaded again, from their own files and from copies in other places, and their old
  # code is purged, while events are captured and written. Then the stored events are compared with the captured ones, one by one.
  #
  # A hard purge kills every process in the old code, also one that was preempted there. So modules whose code processes only pass through are purged as
  # an upgrade does that keeps them alive: softly, until no process is in the old code.
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

      # Each has a shared object of its own with a copy of the library. The source and its cursor are of the first copy.
      home = :code.which(@nif)
      copies = for round <- 1..3, do: copy(home, Path.join(dir, "#{round}"), round)
      on_exit(fn -> back(copies) end)

      for copy <- copies do
        move(copy)
        more(load)
      end

      assert Accounts.close(load) > 10_000
      # A resource that is made now is of the last copy. Then the first copy is loaded again.
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

      # Only the loops: at least four each time. The storage fails now and then, which is logged, and recovers.
      assert %{pool_restarts: 0, worker_restarts: restarts} = eventually(&healthy/0)
      assert restarts >= 40
      assert Accounts.close(load) > 5_000
    end
  end

  defp healthy do
    health = PipelineManager.health_check(:chaos_manager)
    # The producers never pause, so a backlog is no sign of a fault: on a slow machine there always is one.
    health.reasons -- [:backlog] == [] && health
  end

  # Waits until that many more events are stored.
  defp more(load) do
    seen = KeyedStorage.count(load.storage)
    eventually(fn -> KeyedStorage.count(load.storage) > seen + 500 end)
  end

  defp again(module) do
    assert {:module, ^module} = :code.load_file(module)
    if module == WriterLoop, do: :code.purge(module), else: eventually(fn -> :code.soft_purge(module) end)
  end

  defp modules do
    {:ok, modules} = :application.get_key(@app, :modules)
    Enum.reject(modules, &String.contains?(inspect(&1), "CapturePipeline.Test"))
  end

  # As in a release of another version, whose priv directory is found by the name of the application's directory.
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
