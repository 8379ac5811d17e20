defmodule ElixirScope.Capture.MCPChangesTest do
  # The tools that change a pipeline do that, and only where it is allowed.
  use ExUnit.Case, async: true

  alias CapturePipeline.Test.Json
  alias ElixirScope.Capture.{AsyncWriterPool, Capture, MCP, NativeStorage, PipelineManager}
  alias :elixir_scope_capture_pipeline, as: Pipeline

  @moduletag :tmp_dir

  setup do
    {:ok, capture} = Capture.new()
    {:ok, manager} = PipelineManager.start_link(name: nil, ring_buffer: capture, async_writer_pool_size: 2)
    %{capture: capture, manager: manager}
  end

  defp workers(manager) do
    [{AsyncWriterPool, pool, _, _}] = PipelineManager.get_state(manager).children
    AsyncWriterPool.get_state(pool).workers
  end

  defp change(target, name, arguments) do
    with {:ok, answer} <- MCP.call(target, name, arguments, changes: true) do
      assert is_binary(Json.encode(answer))
      {:ok, answer}
    end
  end

  test "without changes: true they are refused, and nothing is changed", %{manager: manager} do
    for options <- [[], [changes: false]],
        {name, arguments} <- [{"scale", %{"workers" => 5}}, {"update_config", %{"batch_size" => 7}}] do
      assert MCP.call(manager, name, arguments, options) ==
               {:error,
                "#{name} changes the pipeline, which is not allowed here; give MCP.tools/2 the option changes: true"}
    end

    assert length(workers(manager)) == 2
    assert PipelineManager.get_state(manager).config.batch_size == 50
  end

  test "scale", %{manager: manager} do
    assert change(manager, "scale", %{"workers" => 5}) == {:ok, %{"workers" => 5, "before" => 2}}
    assert length(workers(manager)) == 5
    assert change(manager, "scale", %{"workers" => 0}) == {:ok, %{"workers" => 0, "before" => 5}}
    assert workers(manager) == []
  end

  test "update_config: all that are given, or none", %{manager: manager, capture: capture} do
    assert change(manager, "update_config", %{
             "batch_size" => 7,
             "max_backlog" => "infinity",
             "sampling_max_weight" => 8
           }) ==
             {:ok,
              %{
                "config" => %{"batch_size" => 7, "max_backlog" => "infinity", "sampling_max_weight" => 8},
                "before" => %{"batch_size" => 50, "max_backlog" => 5000}
              }}

    assert %{batch_size: 7, max_backlog: :infinity} = PipelineManager.get_state(manager).config
    assert {:ok, %{sampling_max_weight: 8}} = Pipeline.config(Capture.pipeline(capture))

    assert {:error, "poll_interval_ms: " <> _} =
             change(manager, "update_config", %{"batch_size" => 9, "poll_interval_ms" => 0})

    assert PipelineManager.get_state(manager).config.batch_size == 7

    # Neither its storage nor its ring buffer nor its name is an assistant's to change.
    for key <- ["storage", "ring_buffer", "name"] do
      assert {:error, text} = change(manager, "update_config", %{key => "x"})
      assert text =~ "#{inspect(key)} is no argument"
    end
  end

  test "of a pipeline that does not run" do
    assert change(:no_such_pipeline, "scale", %{"workers" => 1}) == {:error, "the pipeline does not run"}
    assert change(:no_such_pipeline, "update_config", %{"batch_size" => 1}) == {:error, "the pipeline does not run"}
  end

  test "of a capture that has native writers", %{tmp_dir: dir} do
    {:ok, capture} = Capture.new(storage: NativeStorage.journal(Path.join(dir, "journal")), writers: 1)
    native = Capture.pipeline(capture)
    assert change(capture, "scale", %{"workers" => 3}) == {:ok, %{"workers" => 3, "before" => 1}}
    assert {:ok, %{writers_target: 3}} = Pipeline.metrics(native)

    assert {:error, "workers: an integer from 0 to 256 expected, 257 given"} =
             change(capture, "scale", %{"workers" => 257})

    assert {:ok, %{"config" => %{"batch_size" => 99, "share" => 4}, "before" => %{"share" => 1}}} =
             change(capture, "update_config", %{"batch_size" => 99, "share" => 4})

    assert {:ok, %{batch_size: 99, share: 4}} = Pipeline.config(native)

    assert {:error, "invalid: pipeline_config_t.batch_size: " <> text} =
             change(capture, "update_config", %{"batch_size" => 100_000, "share" => 5})

    assert text =~ "100000"
    assert {:ok, %{batch_size: 99, share: 4}} = Pipeline.config(native)
    assert {:error, ~s("max_backlog" is no argument) <> _} = change(capture, "update_config", %{"max_backlog" => 5})
  end

  test "a capture whose batches go to processes has no writers of its own", %{capture: capture} do
    assert change(capture, "scale", %{"workers" => 3}) ==
             {:error, "workers: the batches of this capture go to processes; scale its manager"}
  end
end
