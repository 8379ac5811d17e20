defmodule ElixirScope.Capture.RemoteTest do
  # The functions for a pipeline that runs on another node.
  use ExUnit.Case, async: false

  import CapturePipeline.Test.Wait
  alias CapturePipeline.Test.Nodes
  alias ElixirScope.Capture.{AsyncWriter, AsyncWriterPool, MCP, PipelineManager}

  setup do
    nodes = Nodes.start()
    on_exit(fn -> Nodes.stop(nodes) end)
    {one, two, node} = nodes
    {:ok, manager} = Nodes.hold(two, Nodes, :pipeline, [:far_pipeline])
    %{one: one, two: two, node: node, manager: manager}
  end

  # All calls are made on the node without the pipeline.
  defp ask(peer, function, arguments), do: Nodes.call(peer, PipelineManager, function, arguments)

  test "a manager of another node is asked there: by its pid, and by its name and node", context do
    %{one: one, node: node, manager: manager} = context
    eventually(fn -> ask(one, :get_metrics, [manager]).events_processed == 9 end)

    for server <- [manager, {:far_pipeline, node}] do
      assert %{status: :healthy, children_count: 1, workers: 4} = ask(one, :health_check, [server])
      assert %{events_processed: 9, dead_lettered: 1, backlog_size: 0} = ask(one, :get_metrics, [server])
      assert %PipelineManager{events_processed: 9, children: [_]} = ask(one, :get_state, [server])
      assert [%{event: %{n: 7}, reason: :refused}] = ask(one, :dead_letters, [server])
      assert ask(one, :get_storage, [server]) == (&Nodes.store/1)
      assert ask(one, :update_config, [server, [async_writer_pool_size: 2, batch_size: 11]]) == :ok
      assert %{async_writer_pool_size: 2, batch_size: 11} = ask(one, :get_state, [server]).config
      assert ask(one, :update_config, [server, [batch_size: -1]]) == {:error, {:invalid_config, :batch_size, -1}}
      assert ask(one, :health_check, [server]).workers == 2
      assert ask(one, :update_config, [server, [async_writer_pool_size: 4]]) == :ok
    end

    # Also its pool and its writers, whose dead letters are in a table of their node.
    [{AsyncWriterPool, pool, _, _}] = ask(one, :get_state, [manager]).children
    assert [%{event: %{n: 7}}] = Nodes.call(one, AsyncWriterPool, :dead_letters, [pool])
    [writer | _] = Nodes.call(one, AsyncWriterPool, :get_state, [pool]).workers
    assert [%{event: %{n: 7}}] = Nodes.call(one, AsyncWriter, :dead_letters, [writer])

    # The tools for assistants are run there, too.
    assert {:ok, %{"status" => "healthy", "workers" => 4}} = Nodes.call(one, MCP, :call, [manager, "health", %{}])
    assert {:ok, %{"metrics" => %{"events_processed" => 9}}} = Nodes.call(one, MCP, :call, [manager, "metrics", %{}])

    assert {:error, "events cannot be read: the storage is a function" <> _} =
             Nodes.call(one, MCP, :call, [manager, "latest", %{}])

    # A manager that does not run there is down, as on this node.
    assert ask(one, :health_check, [{:no_pipeline, node}]).status == :down
    assert ask(one, :update_config, [{:no_pipeline, node}, %{}]) == {:error, :not_running}

    assert ask(one, :shutdown, [{:far_pipeline, node}]) == :ok
    assert ask(one, :health_check, [manager]).status == :down
  end

  test "a node that cannot be asked is an error that names it, and never a pipeline that is down", context do
    %{one: one, node: node, manager: manager} = context
    assert Nodes.call(one, :erlang, :disconnect_node, [node]) == true

    for server <- [manager, {:far_pipeline, node}] do
      assert %{status: :unknown, reasons: [{:remote, ^node, :noconnection}]} = ask(one, :health_check, [server])

      for {function, arguments} <- [
            get_metrics: [],
            get_state: [],
            dead_letters: [],
            get_storage: [],
            shutdown: [],
            update_config: [%{batch_size: 1}]
          ] do
        assert ask(one, function, [server | arguments]) == {:error, {:remote, node, :noconnection}}
      end
    end

    # It goes on working, and is healthy again after the event that its storage refuses.
    eventually(fn -> ask(context.two, :health_check, [:far_pipeline]).status == :healthy end)
  end
end
