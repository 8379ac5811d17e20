defmodule ElixirScope.Capture.PackagingTest do
  # ELIXIR.md, "Packaging".
  use ExUnit.Case, async: false

  alias ElixirScope.Capture.{AsyncWriter, AsyncWriterPool, PipelineManager}

  @app :elixir_scope_capture_pipeline

  defp modules do
    {:ok, modules} = :application.get_key(@app, :modules)
    # The modules of test/support are part of the application here.
    Enum.reject(modules, &String.contains?(inspect(&1), "CapturePipeline.Test"))
  end

  test "defines none of the app's other modules" do
    for module <- modules() do
      name = inspect(module)
      assert name =~ ~r/^(ElixirScope\.Capture\.|:elixir_scope_capture_pipeline)/
    end

    for app <- ~w(Utils Events EventStore Application Storage.EventStore Capture.RingBuffer Capture.Ingestor Config) do
      refute Module.concat(ElixirScope, app) in modules()
    end
  end

  test "needs none of them at compile time, nor at run time" do
    for module <- modules(), {:ok, {_, [imports: imports]}} = :beam_lib.chunks(:code.which(module), [:imports]) do
      for {called, _, _} <- imports, String.starts_with?(Atom.to_string(called), "Elixir.ElixirScope.") do
        assert called in modules(), "#{inspect(module)} calls #{inspect(called)}"
      end
    end
  end

  test "its OTP application starts nothing" do
    assert Application.spec(@app, :mod) in [nil, [], :undefined]
    assert Application.spec(@app, :registered) == []
    assert {:ok, _} = Application.ensure_all_started(@app)
    assert Process.whereis(PipelineManager) == nil
  end

  test "all three modules have a child_spec; the manager's id is its name and it is a supervisor" do
    assert %{id: AsyncWriterPool, start: {AsyncWriterPool, :start_link, [[pool_size: 1]]}} =
             AsyncWriterPool.child_spec(pool_size: 1)

    assert %{id: AsyncWriter, start: {AsyncWriter, :start_link, [%{}]}} = AsyncWriter.child_spec(%{})
    assert %{id: PipelineManager, type: :supervisor} = PipelineManager.child_spec([])
    assert %{id: :other, type: :supervisor} = PipelineManager.child_spec(name: :other)
    assert %{id: :other, type: :supervisor} = PipelineManager.child_spec(%{name: :other})
    assert %{id: PipelineManager} = PipelineManager.child_spec(nil)
  end

  @tag :tmp_dir
  test "the modules work from a bare code path, without the application: the NIF is found beside the beam files", %{
    tmp_dir: dir
  } do
    ebin = @app |> Application.app_dir("ebin")
    so = Application.app_dir(@app, "priv/elixir_scope_capture_pipeline_nif.so")

    script = """
    {:error, :bad_name} = :code.priv_dir(:elixir_scope_capture_pipeline)
    {:ok, ring} = ElixirScope.Capture.NativeRingBuffer.new()
    for n <- 1..10, do: :ok = ElixirScope.Capture.NativeRingBuffer.write(ring, %{n: n})
    test = self()
    store = fn events ->
      send(test, {:stored, length(events)})
      :ok
    end
    {:ok, _} = ElixirScope.Capture.PipelineManager.start_link(ring_buffer: ring, storage: store)
    receive do
      {:stored, 10} -> IO.puts("stored")
    after
      60_000 -> IO.puts("not stored")
    end
    """

    for beside <- ["", "../priv"] do
      bare = Path.join([dir, if(beside == "", do: "one", else: "two"), "beams"])
      for made <- [bare, Path.expand(beside, bare)], do: File.mkdir_p!(made)
      for beam <- Path.wildcard(Path.join(ebin, "*.beam")), do: File.cp!(beam, Path.join(bare, Path.basename(beam)))
      File.cp!(so, Path.join(Path.expand(beside, bare), Path.basename(so)))

      assert {"stored\n", 0} =
               System.cmd("elixir", ["-pa", bare, "-e", script], stderr_to_stdout: true, env: [{"ERL_LIBS", nil}])
    end
  end
end
