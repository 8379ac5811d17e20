defmodule CapturePipeline.Test.Nodes do
  @moduledoc false
  # Two nodes that are connected only with each other: no epmd runs, and the node of the tests stays
  # alone. It reaches them over their standard input and output.

  @doc "Answers what they are called, for `call/4`, and the second node's name, which the first is connected to, once."
  def start do
    {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(socket)
    :gen_tcp.close(socket)
    two = start(:capture_two, port, [])
    one = start(:capture_one, port, [~c"-dist_listen", ~c"false", ~c"-kernel", ~c"dist_auto_connect", ~c"never"])
    node = call(two, :erlang, :node, [])
    true = call(one, :net_kernel, :connect_node, [node])
    {one, two, node}
  end

  defp start(name, port, more) do
    paths = Enum.flat_map(:code.get_path(), &[~c"-pa", &1])
    port = Integer.to_charlist(port)

    args =
      [~c"-start_epmd", ~c"false", ~c"-erl_epmd_port", port, ~c"-setcookie", ~c"capture", ~c"-hidden"] ++ more ++ paths

    options = %{
      name: name,
      host: ~c"127.0.0.1",
      longnames: true,
      connection: :standard_io,
      args: args,
      wait_boot: 120_000
    }

    {:ok, peer, _} = :peer.start(options)
    {:ok, _} = call(peer, :application, :ensure_all_started, [:logger])
    peer
  end

  def stop({one, two, _}), do: for(peer <- [one, two], do: :peer.stop(peer))

  @doc "On that node."
  def call(peer, module, function, arguments), do: :peer.call(peer, module, function, arguments, 60_000)

  @doc "The same in a process that stays, for what is linked to its caller."
  def hold(peer, module, function, arguments) do
    call(peer, __MODULE__, :hold, [{module, function, arguments}])
  end

  def hold({module, function, arguments}) do
    caller = self()

    spawn(fn ->
      send(caller, {:held, apply(module, function, arguments)})
      receive do: (:never -> :ok)
    end)

    receive do: ({:held, result} -> result)
  end

  # ---- functions that run there, because the node does not know those of a test ----

  @doc "A pipeline with ten events, of which it refuses one."
  def pipeline(name) do
    {:ok, ring} = ElixirScope.Capture.NativeRingBuffer.new()
    for n <- 1..10, do: :ok = ElixirScope.Capture.NativeRingBuffer.write(ring, %{n: n})
    options = [name: name, ring_buffer: ring, storage: &__MODULE__.store/1, poll_interval_ms: 5, retry_limit: 1]
    ElixirScope.Capture.PipelineManager.start_link(options)
  end

  def store(events), do: if(Enum.any?(events, &(&1.n == 7)), do: {:error, :refused}, else: :ok)
end
