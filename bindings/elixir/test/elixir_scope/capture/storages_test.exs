defmodule ElixirScope.Capture.StoragesTest do
  # ELIXIR.md, "Storages".
  use ExUnit.Case, async: false

  import CapturePipeline.Test.Wait
  alias CapturePipeline.Test.{BatchServer, EventServer, JournalFile, KeyedStorage, ModuleStorage, Sources}
  alias ElixirScope.Capture.{AsyncWriterPool, NativeStorage}

  defmodule StructStorage do
    defstruct [:to]

    def store_events(%__MODULE__{to: to}, events) do
      send(to, {:struct, events})
      :ok
    end
  end

  setup do
    Process.flag(:trap_exit, true)
    {:ok, supervisor} = start_supervised({DynamicSupervisor, strategy: :one_for_one})
    %{supervisor: supervisor}
  end

  defp run(storage, events, opts \\ []) do
    source = Sources.fill(Sources.new(:native), events)

    {:ok, pool} =
      AsyncWriterPool.start_link([ring_buffer: source, storage: storage, poll_interval_ms: 5, pool_size: 1] ++ opts)

    on_exit(fn -> Process.exit(pool, :kill) end)
    pool
  end

  defp processed(pool, count) do
    eventually(fn -> AsyncWriterPool.get_metrics(pool).total_events_processed == count end)
    pool
  end

  defp server(module, opts \\ []) do
    {:ok, pid} = module.start([to: self()] ++ opts)

    on_exit(fn ->
      Process.exit(pid, :kill)
      # The name that it has is the next test's.
      ended(pid)
    end)

    pid
  end

  describe "the forms of storage" do
    test "an atom: a registered process of that name first" do
      # A module with the behaviour also has that name.
      pid = server(EventServer, name: ModuleStorage)
      # ... and its store_events/2 is called.
      :persistent_term.put(ModuleStorage, self())
      run(ModuleStorage, Sources.events(1..3)) |> processed(3)
      assert_received {:module, ModuleStorage, [_, _, _]}
      assert Process.alive?(pid)

      server(EventServer, name: :some_event_server)
      run(:some_event_server, Sources.events(1..3)) |> processed(3)
      for n <- 1..3, do: assert_received({:stored, _, %{n: ^n}})
    end

    test "an atom: else a module with our behaviour" do
      :persistent_term.put(ModuleStorage, self())
      run(ModuleStorage, Sources.events(1..3)) |> processed(3)
      assert_received {:module, ModuleStorage, [_, _, _]}
    end

    test "an atom: else a counted error that is retried" do
      pool = run(:comes_later, Sources.events(1..3), retry_max_ms: 20)
      eventually(fn -> AsyncWriterPool.get_metrics(pool).total_errors >= 3 end)
      server(EventServer, name: :comes_later)
      processed(pool, 3)
      assert AsyncWriterPool.get_metrics(pool).dead_lettered == 0
      assert eventually(fn -> AsyncWriterPool.health_check(pool).status == :healthy end)
    end

    test "a pid: one call per event, or store_events/2 if its module exports it" do
      run(server(EventServer), Sources.events(1..3)) |> processed(3)
      for n <- 1..3, do: assert_received({:stored, _, %{n: ^n}})
      run(server(BatchServer), Sources.events(1..3)) |> processed(3)
      assert_received {:batch, _, [%{n: 1}, %{n: 2}, %{n: 3}]}
    end

    test "names of servers: global, via, and of a node" do
      pid = server(EventServer)
      :yes = :global.register_name(:the_store, pid)
      Process.register(pid, :named_store)

      for storage <- [{:global, :the_store}, {:via, :global, :the_store}, {:named_store, node()}] do
        run(storage, Sources.events(1..2)) |> processed(2)
        for n <- 1..2, do: assert_received({:stored, ^pid, %{n: ^n}})
      end
    end

    test "a function of the events, or of the events and their batch" do
      test = self()

      run(
        fn events ->
          send(test, {:one, events})
          :ok
        end,
        Sources.events(1..3)
      )
      |> processed(3)

      assert_received {:one, [%{n: 1}, _, _]}

      run(
        fn events, batch ->
          send(test, {:two, events, batch})
          {:ok, 3}
        end,
        Sources.events(1..3)
      )
      |> processed(3)

      assert_received {:two, [event, _, _], %{entries: [{event, identity, nil}, _, _], attempt: 1}}
      assert {_, _, 0} = identity
    end

    test "{module, ref}: its store_events/2, else the server ref" do
      run({ModuleStorage, self()}, Sources.events(1..3)) |> processed(3)
      assert_received {:module, _, [_, _, _]}
      run({EventServer, server(EventServer)}, Sources.events(1..3)) |> processed(3)
      assert_received {:stored, _, %{n: 3}}
      server(EventServer, name: :by_name)
      run({EventServer, :by_name}, Sources.events(4..4)) |> processed(1)
      assert_received {:stored, _, %{n: 4}}
    end

    test "a struct whose module exports store_events/2" do
      run(%StructStorage{to: self()}, Sources.events(1..3)) |> processed(3)
      assert_received {:struct, [%{n: 1}, _, _]}
    end

    @tag :tmp_dir
    test "a native storage", %{tmp_dir: dir} do
      path = Path.join(dir, "events.db")
      {:ok, storage} = NativeStorage.start(path)
      run(storage, Sources.events(1..100)) |> processed(100)
      assert {:ok, %{stored: 100}} = NativeStorage.metrics(storage)
      assert NativeStorage.close(storage) == :ok
      assert File.stat!(path).size > 0
    end

    @tag :tmp_dir
    test "a journal", %{tmp_dir: dir} do
      {:ok, storage} = NativeStorage.start(NativeStorage.journal(Path.join(dir, "journal"), sync: :flush))
      run(storage, Sources.events(1..100)) |> processed(100)
      assert {:ok, %{stored: 100}} = NativeStorage.metrics(storage)
      assert NativeStorage.close(storage) == :ok

      payloads =
        for {_kind, _trace, payload} <- JournalFile.events(Path.join(dir, "journal")),
            do: :erlang.binary_to_term(payload)

      assert payloads |> Enum.map(& &1.n) |> Enum.sort() == Enum.to_list(1..100)
    end

    @tag :tmp_dir
    test "traces", %{tmp_dir: dir} do
      {:ok, storage} = NativeStorage.start(NativeStorage.perfetto(Path.join(dir, "traces"), sync: :flush))
      run(storage, Sources.events(1..100)) |> processed(100)
      assert {:ok, %{stored: 100}} = NativeStorage.metrics(storage)
      assert NativeStorage.close(storage) == :ok
      assert [file] = Path.wildcard(Path.join(dir, "traces/*.perfetto-trace"))
      assert File.read!(file) =~ "_payload"
    end
  end

  describe "a server" do
    test "is never probed: it gets store_event calls and nothing else" do
      # Any other call or message ends it.
      pid = server(EventServer)
      pool = run(pid, Sources.events(1..120), pool_size: 4)
      AsyncWriterPool.health_check(pool)
      processed(pool, 120)
      AsyncWriterPool.stop(pool)
      assert Process.alive?(pid)
    end

    test "gets events with :timestamp and :pid, from caller_pid, from_pid, server_pid, else nil; a term that is no map is wrapped" do
      me = self()
      other = spawn(fn -> :ok end)

      events = [
        %{n: 1, timestamp: 5, pid: other, caller_pid: me},
        %{n: 2, caller_pid: me},
        %{n: 3, from_pid: me, server_pid: other},
        %{n: 4, server_pid: me},
        %{n: 5},
        {:no, :map},
        "binary"
      ]

      run(server(EventServer), events) |> processed(7)
      assert_received {:stored, _, %{n: 1, timestamp: 5, pid: ^other}}

      for n <- 2..4 do
        assert_received {:stored, _, %{n: ^n, timestamp: time, pid: ^me}}
        assert is_integer(time)
      end

      assert_received {:stored, _, %{n: 5, timestamp: time, pid: nil, enriched_at: _}}
      assert is_integer(time)
      assert_received {:stored, _, %{data: {:no, :map}, pid: nil, timestamp: _, enriched_at: _}}
      assert_received {:stored, _, %{data: "binary"}}
    end

    test "that dies of an event: that one is dead-lettered, the others are stored" do
      test = self()

      # The owner of the server restarts it.
      keeper =
        spawn_link(fn ->
          Process.flag(:trap_exit, true)
          keep(test)
        end)

      events = Sources.events(1..20) |> List.replace_at(7, %{n: 8, poison: true})
      assert_receive :kept
      pool = run(:kept_store, events, retry_limit: 2, retry_max_ms: 20)
      processed(pool, 19)
      eventually(fn -> AsyncWriterPool.get_metrics(pool).dead_lettered == 1 end)
      assert [%{event: %{n: 8}}] = AsyncWriterPool.dead_letters(pool)
      Process.exit(keeper, :kill)
    end

    test "that is not there is waited for, and loses nothing" do
      pid = server(EventServer, name: :comes_and_goes)
      pool = run(:comes_and_goes, Sources.events(1..10), retry_max_ms: 20)
      processed(pool, 10)
      Process.exit(pid, :kill)
      ended(pid)
      {:ok, ring} = Map.fetch(AsyncWriterPool.get_state(pool).config, :ring_buffer)
      Sources.fill(ring, Sources.events(11..200))
      assert eventually(fn -> AsyncWriterPool.health_check(pool).reasons == [:storage_unavailable] end)
      server(EventServer, name: :comes_and_goes)
      processed(pool, 200)
      assert AsyncWriterPool.get_metrics(pool).dead_lettered == 0
      for n <- 1..200, do: assert_received({:stored, _, %{n: ^n}})
    end
  end

  describe "results" do
    test ":ok and {:ok, n}: of fewer than all, the rest is stored one by one" do
      test = self()

      store = fn events ->
        send(test, {:offered, Enum.map(events, & &1.n)})
        {:ok, min(length(events), 3)}
      end

      pool = run(store, Sources.events(1..5)) |> processed(5)
      assert_received {:offered, [1, 2, 3, 4, 5]}
      assert_received {:offered, [4]}
      assert_received {:offered, [5]}
      refute_received {:offered, _}
      assert AsyncWriterPool.get_metrics(pool).total_errors == 0
    end

    test "a failed batch is retried event by event: one bad event costs itself alone" do
      for bad <- [
            fn -> {:error, :bad} end,
            fn -> raise "bad" end,
            fn -> throw(:bad) end,
            fn -> exit(:bad) end,
            fn -> :garbage end
          ] do
        storage = KeyedStorage.new()

        store = fn events, batch ->
          if Enum.any?(events, &(&1.n == 4)), do: bad.(), else: KeyedStorage.store_batch(storage, batch)
        end

        pool = run(store, Sources.events(1..10), retry_limit: 3, retry_max_ms: 10)
        eventually(fn -> AsyncWriterPool.get_metrics(pool).dead_lettered == 1 end)
        assert KeyedStorage.numbers(storage) == [1, 2, 3, 5, 6, 7, 8, 9, 10]
        assert [%{event: %{n: 4, enriched_at: _}, reason: _, identity: _}] = AsyncWriterPool.dead_letters(pool)
        # The batch, then the event, three times.
        assert %{total_errors: 4, total_events_processed: 9, backlog_size: 0} =
                 eventually(fn -> settled(AsyncWriterPool.get_metrics(pool)) end)
      end
    end

    test "an event that is refused for a while is stored within the retry limit" do
      storage = KeyedStorage.new()
      tries = :atomics.new(1, [])

      store = fn _, batch ->
        if :atomics.add_get(tries, 1, 1) < 4, do: {:error, :busy}, else: KeyedStorage.store_batch(storage, batch)
      end

      pool = run(store, Sources.events(1..1), retry_limit: 5, retry_max_ms: 10) |> processed(1)
      assert %{dead_lettered: 0, total_errors: 3} = AsyncWriterPool.get_metrics(pool)
    end

    test "dead letters are bounded, counted, readable, and outlive the workers" do
      pool = run(fn _ -> {:error, :never} end, Sources.events(1..30), retry_limit: 1, max_dead_letters: 10)
      eventually(fn -> AsyncWriterPool.get_metrics(pool).dead_lettered == 30 end)
      assert AsyncWriterPool.get_metrics(pool).discarded == 20
      for worker <- AsyncWriterPool.get_state(pool).workers, do: Process.exit(worker, :kill)
      eventually(fn -> AsyncWriterPool.get_metrics(pool).worker_restarts == 1 end)
      assert pool |> AsyncWriterPool.dead_letters() |> Enum.map(& &1.event.n) == Enum.to_list(21..30)
      assert [%{event: %{n: 21}, reason: :never}] = AsyncWriterPool.dead_letters(pool, 1)
    end

    test "a capture counts its dead-lettered events" do
      capture = Sources.fill(Sources.new(:capture), Sources.events(1..10))
      store = fn events -> if Enum.any?(events, &(&1.n in [3, 7])), do: {:error, :bad}, else: :ok end
      {:ok, pool} = AsyncWriterPool.start_link(ring_buffer: capture, storage: store, retry_limit: 1)
      processed(pool, 8)

      assert {:ok, %{stored: 8, dead_lettered: 2, captured: 10}} =
               eventually(fn ->
                 if ElixirScope.Capture.Capture.backlog(capture) == 0, do: ElixirScope.Capture.Capture.metrics(capture)
               end)

      assert pool |> AsyncWriterPool.dead_letters() |> Enum.map(& &1.event.n) |> Enum.sort() == [3, 7]
      AsyncWriterPool.stop(pool)
    end
  end

  defp keep(test) do
    {:ok, pid} = EventServer.start(to: test, name: :kept_store)
    monitor = Process.monitor(pid)
    send(test, :kept)

    receive do
      {:DOWN, ^monitor, _, _, _} -> keep(test)
    end
  end

  defp settled(metrics), do: if(metrics.backlog_size == 0, do: metrics)
end
