defmodule ElixirScope.Capture.AbsenceTest do
  # Events wait for a storage that is not there. Events that a storage refuses are dead-lettered. The rule is in `ElixirScope.Capture.Storage`.
  use ExUnit.Case, async: false

  import CapturePipeline.Test.Wait
  import ExUnit.CaptureLog
  alias CapturePipeline.Test.{EventServer, KeyedStorage, Sources}
  alias ElixirScope.Capture.{AsyncWriterPool, PipelineManager}

  defmodule Server do
    # Ends, or does not answer, as requested.
    use GenServer
    def start, do: GenServer.start(__MODULE__, nil)
    def init(_), do: {:ok, nil}
    def handle_call(:silence, _, state), do: {:noreply, state}
    def handle_call({:crash, reason}, _, _), do: exit(reason)
    def handle_call({:stop, reason}, _, state), do: {:stop, reason, state}
    def handle_call(:kill, _, _), do: Process.exit(self(), :kill)
  end

  defmodule Statem do
    @behaviour :gen_statem
    def start, do: :gen_statem.start(__MODULE__, nil, [])
    def callback_mode, do: :handle_event_function
    def init(_), do: {:ok, :state, nil}
    def handle_event({:call, _}, :silence, _, _), do: :keep_state_and_data
    def handle_event({:call, _}, {:stop, reason}, _, _), do: {:stop, reason}
  end

  setup do
    Process.flag(:trap_exit, true)
    on_exit(fn -> PipelineManager.shutdown() end)
  end

  defp run(storage, opts) do
    source = Sources.fill(Sources.new(:native), Sources.events(1..10))
    opts = [ring_buffer: source, storage: storage, poll_interval_ms: 5, pool_size: 1, retry_max_ms: 10] ++ opts
    {:ok, pool} = AsyncWriterPool.start_link(opts)
    on_exit(fn -> Process.exit(pool, :kill) end)
    pool
  end

  defp server do
    {:ok, pid} = Server.start()
    pid
  end

  defp statem do
    {:ok, pid} = Statem.start()
    pid
  end

  defp events do
    {:ok, pid} = :gen_event.start()
    pid
  end

  defp absent do
    [
      {"GenServer: no process", fn -> GenServer.call(:nobody, :x) end},
      {"GenServer: no answer in time", fn -> GenServer.call(server(), :silence, 1) end},
      {"GenServer: no such node", fn -> GenServer.call({:nobody, :nowhere@nowhere}, :x) end},
      {"GenServer: not registered globally", fn -> GenServer.call({:global, :nobody}, :x) end},
      {"GenServer: stopped", fn -> GenServer.call(server(), {:stop, :normal}) end},
      {"GenServer: shut down", fn -> GenServer.call(server(), {:stop, :shutdown}) end},
      {"GenServer: shut down for a reason", fn -> GenServer.call(server(), {:stop, {:shutdown, :reload}}) end},
      {"GenServer: killed", fn -> GenServer.call(server(), :kill) end},
      {"GenServer: what it needs is not there itself",
       fn -> GenServer.call(server(), {:crash, {:noproc, {GenServer, :call, [:database, :x, 5_000]}}}) end},
      {"gen_statem: no process", fn -> :gen_statem.call(:nobody, :x) end},
      {"gen_statem: no answer in time", fn -> :gen_statem.call(statem(), :silence, 1) end},
      {"gen_statem: no answer in time, by a proxy",
       fn -> :gen_statem.call(statem(), :silence, {:clean_timeout, 1}) end},
      {"gen_statem: shut down", fn -> :gen_statem.call(statem(), {:stop, :shutdown}) end},
      {"gen_event: no process", fn -> :gen_event.sync_notify(:nobody, :x) end},
      {"gen_event: no process to call", fn -> :gen_event.call(:nobody, __MODULE__, :x) end},
      {"gen_event: no such handler", fn -> :gen_event.call(events(), __MODULE__, :x) end},
      {"Agent: no process", fn -> Agent.get(:nobody, & &1) end},
      {"Task: no answer in time", fn -> Task.await(Task.async(fn -> receive do: (:never -> :ok) end), 1) end},
      {"Task: no supervisor", fn -> Task.Supervisor.async_nolink(:nobody, fn -> :ok end) end},
      {"Task: no answer of many in time",
       fn -> Task.await_many([Task.async(fn -> receive do: (:never -> :ok) end)], 1) end},
      {"Task: a stream that is late",
       fn -> Enum.to_list(Task.async_stream([1], fn _ -> receive do: (:never -> :ok) end, timeout: 1)) end},
      {"DynamicSupervisor: no process", fn -> DynamicSupervisor.start_child(:nobody, {Task, fn -> :ok end}) end},
      {"erpc: no such node", fn -> :erpc.call(:nowhere@nowhere, :erlang, :node, []) end},
      {"erpc: no answer in time", fn -> :erpc.call(node(), :timer, :sleep, [:infinity], 1) end},
      {"erpc: what it calls is not there", fn -> :erpc.call(node(), GenServer, :call, [:nobody, :x]) end},
      {"rpc: no such node", fn -> :rpc.call(:nowhere@nowhere, :erlang, :node, []) end},
      {"rpc: what it calls is not there", fn -> :rpc.call(node(), GenServer, :call, [:nobody, :x]) end},
      {"an ETS table that does not exist", fn -> :ets.insert(:no_such_table, {1}) end},
      {"a Registry that does not run", fn -> Registry.lookup(:no_such_registry, :x) end},
      {"a name in a Registry that does not run",
       fn -> GenServer.call({:via, Registry, {:no_such_registry, :x}}, :x) end},
      {"a limit of the VM", fn -> :erlang.error(:system_limit) end},
      {"a table of Mnesia's", fn -> exit({:aborted, {:no_exists, :table}}) end},
      {"Mnesia's answer", fn -> {:aborted, {:node_not_running, node()}} end},
      {"an exit that was caught", fn -> {:error, caught(GenServer.call(:nobody, :x))} end},
      {"nobody listens", fn -> refused_connection() end}
    ] ++
      for reason <- [
            :unavailable,
            {:unavailable, :soon},
            :retry,
            :timeout,
            :noproc,
            :nodedown,
            {:nodedown, :n@h},
            :closed
          ],
          do: {"{:error, #{inspect(reason)}}", fn -> {:error, reason} end}
  end

  defp caught(call) do
    call
  catch
    :exit, reason -> reason
  end

  defp refused_connection do
    {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(socket)
    :gen_tcp.close(socket)
    :gen_tcp.connect({127, 0, 0, 1}, port, [])
  end

  @tag capture_log: true
  test "every way in which a storage is not there: the events wait, and are stored once" do
    for {what, call} <- absent() do
      storage = KeyedStorage.new()
      tries = :atomics.new(1, [])

      # A late task is linked to the writer, and dies with it.
      store = fn _, batch ->
        if :atomics.add_get(tries, 1, 1) <= 8, do: call.(), else: KeyedStorage.store_batch(storage, batch)
      end

      pool = run(store, retry_limit: 1)
      eventually(fn -> AsyncWriterPool.get_metrics(pool).total_events_processed == 10 end)
      metrics = AsyncWriterPool.get_metrics(pool)
      assert {what, 0, 8} == {what, metrics.dead_lettered, metrics.total_errors}
      assert KeyedStorage.numbers(storage) == Enum.to_list(1..10)
      assert :ets.match(storage.table, {:_, :_, 2}) == []
      AsyncWriterPool.stop(pool)
    end
  end

  @tag capture_log: true
  test "every way in which a storage refuses: the events are dead-lettered" do
    for {what, call} <- [
          {"calling itself", fn -> GenServer.call(self(), :x) end},
          {"a server that crashes", fn -> GenServer.call(server(), {:crash, :badly}) end},
          {"a server that stops for a reason", fn -> GenServer.call(server(), {:stop, :corrupt}) end},
          {"a task that crashes", fn -> Task.await(nolink(fn -> raise "bad" end)) end},
          {"a bad argument", fn -> String.to_integer(inspect(:x)) end},
          {"a bad argument of a table that is there", fn -> :ets.insert(:ets.new(:t, []), :no_tuple) end},
          {"a function of somebody else's that is not there", fn -> apply(:no_such_module, :f, []) end},
          {"a throw", fn -> throw(:noproc) end},
          {"an error", fn -> {:error, :enospc} end},
          {"a remote exception", fn -> :erpc.call(node(), :erlang, :error, [:bad]) end},
          {"an answer that is none", fn -> :stored end}
        ] do
      pool = run(fn _ -> call.() end, retry_limit: 2)
      eventually(fn -> AsyncWriterPool.get_metrics(pool).dead_lettered == 10 end)
      assert {what, AsyncWriterPool.get_metrics(pool).total_events_processed} == {what, 0}
      AsyncWriterPool.stop(pool)
    end
  end

  defp nolink(fun) do
    {:ok, supervisor} = Task.Supervisor.start_link()
    Task.Supervisor.async_nolink(supervisor, fun)
  end

  test "{:via, Registry, _} is waited for: before the Registry runs, before the name is registered, after the server has died" do
    name = {:via, Registry, {__MODULE__.Names, :store}}

    for storage <- [name, {SomeModule, name}] do
      pool = run(storage, retry_limit: 1)
      eventually(fn -> AsyncWriterPool.get_metrics(pool).total_errors > 2 end)
      assert AsyncWriterPool.health_check(pool).reasons == [:storage_unavailable]
      {:ok, registry} = Registry.start_link(keys: :unique, name: __MODULE__.Names)
      errors = AsyncWriterPool.get_metrics(pool).total_errors
      eventually(fn -> AsyncWriterPool.get_metrics(pool).total_errors > errors + 1 end)
      {:ok, server} = EventServer.start(to: self(), name: name)
      eventually(fn -> AsyncWriterPool.get_metrics(pool).total_events_processed == 10 end)
      assert AsyncWriterPool.get_metrics(pool).dead_lettered == 0
      for n <- 1..10, do: assert_received({:stored, ^server, %{n: ^n}})

      # The same when it ends and comes back.
      Process.exit(server, :kill)
      ended(server)
      Sources.fill(AsyncWriterPool.get_state(pool).config.ring_buffer, Sources.events(11..20))
      errors = AsyncWriterPool.get_metrics(pool).total_errors
      eventually(fn -> AsyncWriterPool.get_metrics(pool).total_errors > errors + 1 end)
      {:ok, server} = eventually(fn -> with {:error, _} <- EventServer.start(to: self(), name: name), do: nil end)
      eventually(fn -> AsyncWriterPool.get_metrics(pool).total_events_processed == 20 end)
      assert AsyncWriterPool.get_metrics(pool).dead_lettered == 0
      AsyncWriterPool.stop(pool)
      Process.exit(server, :kill)
      ended(server)
      Supervisor.stop(registry)
    end
  end

  test "a foreign registry that raises, exits or does not exist is waited for" do
    for {module, name} <- [
          {:no_such_registry_module, :x},
          {__MODULE__, :raise},
          {__MODULE__, :exit},
          {__MODULE__, :throw}
        ] do
      pool = run({:via, module, name}, retry_limit: 1)
      eventually(fn -> AsyncWriterPool.get_metrics(pool).total_errors > 3 end)
      assert %{dead_lettered: 0, backlog_size: 10} = AsyncWriterPool.get_metrics(pool)
      assert AsyncWriterPool.health_check(pool).reasons == [:storage_unavailable]
      Process.exit(pool, :kill)
      ended(pool)
    end
  end

  def whereis_name(:raise), do: raise("not started")
  def whereis_name(:exit), do: exit(:badly)
  def whereis_name(:throw), do: throw(:badly)

  # A module whose function is the storage of a pipeline while the module is loaded again.
  defp load(body) do
    Code.put_compiler_option(:ignore_module_conflict, true)

    [{module, _}] =
      Code.compile_quoted(
        quote do
          defmodule ElixirScope.Capture.AbsenceTest.Reloaded do
            def local(table), do: fn _, batch -> store(table, batch) end
            def store_events(_, _), do: {:error, :only_batches}
            unquote(body)
          end
        end
      )

    module
  after
    Code.put_compiler_option(:ignore_module_conflict, false)
  end

  defp store_body do
    quote do
      def store(table, batch), do: CapturePipeline.Test.KeyedStorage.store_batch(table, batch)
      def external(_, batch), do: store(:persistent_term.get(__MODULE__), batch)
      def store_batch(table, batch), do: store(table, batch)
    end
  end

  defp unload(module) do
    :code.purge(module)
    :code.delete(module)
    :code.purge(module)
  end

  for kind <- [:foreign, :native, :capture] do
    @kind kind
    test "a storage function whose module was loaded again twice is named by health and in the log, and its events wait: #{kind}" do
      storage = KeyedStorage.new()
      module = load(store_body())
      on_exit(fn -> unload(module) end)
      source = Sources.fill(Sources.new(@kind), Sources.events(1..500))

      {:ok, manager} =
        PipelineManager.start_link(
          ring_buffer: source,
          storage: module.local(storage),
          poll_interval_ms: 5,
          retry_limit: 1,
          retry_max_ms: 60_000
        )

      eventually(fn -> KeyedStorage.count(storage) == 500 end)

      log =
        capture_log(fn ->
          for n <- 1..2 do
            load(
              quote do
                unquote(store_body())
                def round, do: unquote(n)
              end
            )

            :code.purge(module)
          end

          Sources.fill(source, Sources.events(501..1000))
          eventually(fn -> :storage_function_purged in PipelineManager.health_check(manager).reasons end)
          eventually(fn -> PipelineManager.get_metrics(manager).error_count >= 4 end)
        end)

      assert log =~ inspect(module)
      assert log =~ "update_config"
      assert %{dead_lettered: 0, backlog_size: 500} = PipelineManager.get_metrics(manager)

      :ok = PipelineManager.update_config(manager, storage: module.local(storage))
      eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..1000) end)
      assert PipelineManager.get_metrics(manager).dead_lettered == 0
      eventually(fn -> PipelineManager.health_check(manager).status == :healthy end)
      PipelineManager.shutdown(manager)
    end
  end

  test "a module that is being loaded is waited for: as a module, in a tuple, and behind a function of its name" do
    storage = KeyedStorage.new()
    module = load(store_body())
    on_exit(fn -> unload(module) end)
    :persistent_term.put(module, storage)

    for form <- [{module, storage}, Function.capture(module, :external, 2)] do
      :ets.delete_all_objects(storage.table)
      unload(module)
      pool = run(form, retry_limit: 1)
      eventually(fn -> AsyncWriterPool.get_metrics(pool).total_errors > 3 end)
      load(store_body())
      eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..10) end)
      assert AsyncWriterPool.get_metrics(pool).dead_lettered == 0
      AsyncWriterPool.stop(pool)
    end
  end

  for kind <- [:foreign, :native, :capture] do
    @kind kind
    test "update_config rescues a pipeline whose storage is gone: the batch in hand goes to the new one: #{kind}" do
      source = Sources.fill(Sources.new(@kind), Sources.events(1..300))
      {:ok, gone} = Server.start()
      Process.exit(gone, :kill)
      ended(gone)

      # The back-off of a retry is longer than the test.
      {:ok, manager} =
        PipelineManager.start_link(
          ring_buffer: source,
          storage: gone,
          poll_interval_ms: 5,
          retry_initial_ms: 60_000,
          retry_max_ms: 60_000
        )

      eventually(fn -> PipelineManager.get_metrics(manager).error_count >= 4 end)
      storage = KeyedStorage.new()
      :ok = PipelineManager.update_config(manager, storage: storage)
      eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..300) end)
      eventually(fn -> PipelineManager.get_metrics(manager).backlog_size == 0 end)
      assert %{error_count: 4, dead_lettered: 0, worker_restarts: 0} = PipelineManager.get_metrics(manager)
      assert PipelineManager.health_check(manager).status == :healthy
      PipelineManager.shutdown(manager)
    end

    test "update_config rescues events that the old storage refuses: #{kind}" do
      source = Sources.fill(Sources.new(@kind), Sources.events(1..60))

      {:ok, manager} =
        PipelineManager.start_link(
          ring_buffer: source,
          storage: fn _ -> {:error, :bad} end,
          poll_interval_ms: 5,
          retry_initial_ms: 60_000,
          retry_max_ms: 60_000
        )

      # Both batches, each event once.
      eventually(fn -> PipelineManager.get_metrics(manager).error_count >= 62 end)
      storage = KeyedStorage.new()
      :ok = PipelineManager.update_config(manager, storage: storage)
      eventually(fn -> KeyedStorage.numbers(storage) == Enum.to_list(1..60) end)
      assert PipelineManager.get_metrics(manager).dead_lettered == 0
      PipelineManager.shutdown(manager)
    end
  end
end
