defmodule ElixirScope.Capture.MCPTest do
  # The tools on pipelines whose events are in tables, in a journal, or nowhere where they could be read.
  use ExUnit.Case, async: true
  doctest ElixirScope.Capture.MCP

  import CapturePipeline.Test.Wait
  alias CapturePipeline.Test.{EventServer, Json}
  alias ElixirScope.Capture.{Capture, EtsStorage, MCP, NativeRingBuffer, NativeStorage, PipelineManager}

  @moduletag :tmp_dir

  defp manager(options) do
    {:ok, manager} = PipelineManager.start_link([name: nil] ++ options)
    manager
  end

  # A manager that has stored numbered events. Every third has the correlation id "trace", another third 17, and every fourth an ast_node_id.
  defp stored(range, options \\ []) do
    {:ok, capture} = Capture.new()
    manager = manager([ring_buffer: capture, async_writer_pool_size: 1] ++ options)
    on_one_scheduler(fn -> for n <- range, do: capture!(capture, n) end)
    :ok = Capture.flush(capture, 60_000)
    manager
  end

  defp capture!(capture, n) do
    event = %{n: n, event_type: :call, module: MyApp, pid: self()}
    event = if rem(n, 3) == 0, do: Map.put(event, :correlation_id, "trace"), else: event
    correlation_id = if rem(n, 3) == 1, do: 17, else: 0
    node_id = if rem(n, 4) == 0, do: 0x1F, else: 0
    :ok = Capture.event(capture, 5, event, correlation_id, node_id)
  end

  defp call!(target, name, arguments \\ %{}, options \\ []) do
    assert {:ok, answer} = MCP.call(target, name, arguments, options)
    assert is_binary(Json.encode(answer))
    answer
  end

  defp numbers(%{"events" => events}), do: Enum.map(events, & &1["n"])
  defp terms(%{"events" => events}), do: Enum.map(events, & &1["term"]["n"])

  defp pages(target, arguments, options \\ []) do
    nil
    |> Stream.unfold(fn
      :end ->
        nil

      cursor ->
        page = call!(target, "query", Map.put(arguments, "cursor", cursor), options)
        {page, page["next_cursor"] || :end}
    end)
    |> Enum.to_list()
  end

  describe "the definitions" do
    test "are data that JSON can say, with a schema of what each tool takes" do
      tools = MCP.tools(PipelineManager, changes: true)

      assert Enum.map(tools, & &1.name) ==
               ~w(capture_health capture_metrics capture_latest capture_query capture_scale capture_update_config)

      for tool <- tools do
        assert tool |> Map.delete(:callback) |> Json.texts() |> Json.encode() |> is_binary()
        assert %{type: "object", properties: properties, additionalProperties: false} = tool.inputSchema
        assert tool.inputSchema.required == if(tool.name == "capture_scale", do: ["workers"], else: [])
        assert Enum.all?(properties, fn {_, schema} -> is_binary(schema.description) end)
        # What the schema does not have, the tool does not take.
        assert {:error, text} = tool.callback.(%{"misspelt" => 1})
        assert text =~ ~s("misspelt")
        for {name, _} <- properties, do: assert(text =~ Atom.to_string(name))
      end
    end

    test "have nothing that changes the pipeline, unless that is asked for" do
      assert Enum.all?(MCP.tools(), & &1.annotations.readOnlyHint)

      names =
        for tool <- MCP.tools(PipelineManager, changes: true, prefix: ""),
            not tool.annotations.readOnlyHint,
            do: tool.name

      assert names == ["scale", "update_config"]
    end

    test "a tool's answer is a map, or the text that the encoder makes of it" do
      manager = stored(1..3)
      [health | _] = MCP.tools(manager)
      assert {:ok, %{"status" => "healthy"}} = health.callback.(%{})
      [health | _] = MCP.tools(manager, encode: &Json.encode/1)
      assert {:ok, "{" <> _ = text} = health.callback.(%{})
      assert text =~ ~s("status":"healthy")
      assert {:error, _} = health.callback.(%{"a" => 1})
    end

    test "an option that is unknown or wrong raises" do
      for options <- [[change: true], [changes: 1], [events: 5], [view: &Map.get/2], [encode: "json"], [prefix: nil]] do
        assert_raise ArgumentError, ~r/#{inspect(hd(Keyword.keys(options)))}/, fn ->
          MCP.tools(PipelineManager, options)
        end
      end
    end
  end

  describe "a pipeline with tables" do
    test "health and metrics are those of the manager, and the ledger is that of its capture" do
      manager = stored(1..10)
      assert %{"status" => "healthy", "reasons" => [], "workers" => 1, "storage" => storage} = call!(manager, "health")
      assert storage == %{"kind" => "ets", "readable" => true, "events" => 10}
      assert %{"metrics" => metrics, "ledger" => ledger, "storage" => %{"events" => 10}} = call!(manager, "metrics")
      assert %{"events_processed" => 10, "error_count" => 0, "backlog_size" => 0} = metrics
      assert %{"offered" => 10, "counts" => %{"captured" => 10, "stored" => 10, "dropped_full" => 0}} = ledger
    end

    test "a ring buffer has no ledger" do
      {:ok, ring} = NativeRingBuffer.new()
      manager = manager(ring_buffer: ring)
      :ok = NativeRingBuffer.write(ring, %{n: 1})
      eventually(fn -> numbers(call!(manager, "latest")) == [1] end)
      assert %{"ledger" => nil} = call!(manager, "metrics")
    end

    test "the latest events: the oldest of them first; those of a correlation id or an ast_node_id" do
      manager = stored(1..60)
      assert numbers(call!(manager, "latest")) == Enum.to_list(41..60)
      assert numbers(call!(manager, "latest", %{"limit" => 3})) == [58, 59, 60]

      assert [%{"event_type" => "call", "module" => "MyApp", "pid" => "#PID<" <> _}] =
               call!(manager, "latest", %{"limit" => 1})["events"]

      assert numbers(call!(manager, "latest", %{"correlation_id" => "trace", "limit" => 2})) == [57, 60]

      for id <- [17, "17", "0x11", 17.0] do
        assert numbers(call!(manager, "latest", %{"correlation_id" => id, "limit" => 3})) == [52, 55, 58]
      end

      assert numbers(call!(manager, "latest", %{"ast_node_id" => "31", "limit" => 2})) == [56, 60]

      assert numbers(call!(manager, "latest", %{"ast_node_id" => "0x1f", "correlation_id" => "trace"})) == [
               12,
               24,
               36,
               48,
               60
             ]

      assert numbers(call!(manager, "latest", %{"correlation_id" => "no such trace"})) == []
      # An id is always a text, whatever its type was.
      assert %{"correlation_id" => "17"} =
               manager |> call!("latest", %{"correlation_id" => 17}) |> Map.fetch!("events") |> hd()
    end

    test "a query comes in pages: each event once, in order" do
      manager = stored(1..60)
      pages = pages(manager, %{"limit" => 25})
      assert Enum.map(pages, &length(&1["events"])) == [25, 25, 10]
      assert Enum.flat_map(pages, &numbers/1) == Enum.to_list(1..60)

      assert Enum.flat_map(pages(manager, %{"correlation_id" => "trace", "limit" => 7}), &numbers/1) ==
               Enum.to_list(3..60//3)

      assert Enum.flat_map(pages(manager, %{"ast_node_id" => 31, "limit" => 5}), &numbers/1) == Enum.to_list(4..60//4)

      assert Enum.flat_map(pages(manager, %{"correlation_id" => "17", "limit" => 1}), &numbers/1) ==
               Enum.to_list(1..58//3)

      assert %{"next_cursor" => nil, "events" => []} = call!(manager, "query", %{"correlation_id" => "no such trace"})
    end

    test "a page goes on behind the one before, also where its events were evicted" do
      storage = EtsStorage.new(max_events: 20)
      :ok = EtsStorage.store_events(storage, for(n <- 1..20, do: %{n: n}))
      page = call!(PipelineManager, "query", %{"limit" => 5}, events: storage)
      assert numbers(page) == [1, 2, 3, 4, 5]
      :ok = EtsStorage.store_events(storage, for(n <- 21..30, do: %{n: n}))
      next = call!(PipelineManager, "query", %{"limit" => 5, "cursor" => page["next_cursor"]}, events: storage)
      assert numbers(next) == [11, 12, 13, 14, 15]
    end

    test "a cursor of another query, or that is none, is refused" do
      manager = stored(1..10)
      %{"next_cursor" => cursor} = call!(manager, "query", %{"limit" => 5})

      assert MCP.call(manager, "query", %{"cursor" => cursor, "correlation_id" => "trace"}) ==
               {:error, "cursor: it belongs to a query with other arguments; repeat those of the first page"}

      for cursor <- ["", "e", "e-", "e-x-1", "j-1-2-3-4", "e--1-2", String.duplicate("9", 1_000)] do
        assert {:error, "cursor: " <> _} = MCP.call(manager, "query", %{"cursor" => cursor})
      end
    end
  end

  describe "a journal" do
    setup %{tmp_dir: dir} do
      path = Path.join(dir, "events")
      {:ok, capture} = Capture.new(storage: NativeStorage.journal(path))
      %{capture: capture, path: path}
    end

    test "of a capture without a manager", %{capture: capture, path: path} do
      on_one_scheduler(fn -> for n <- 1..60, do: capture!(capture, n) end)
      :ok = Capture.flush(capture, 60_000)

      assert %{"status" => "healthy", "storage" => %{"kind" => "journal", "readable" => true, "path" => ^path}} =
               call!(capture, "health")

      assert %{"ledger" => %{"offered" => 60, "counts" => %{"stored" => 60}}} = call!(capture, "metrics")
      latest = call!(capture, "latest", %{"limit" => 4})
      assert %{"journal" => "events", "is_complete" => true} = latest
      assert terms(latest) == [57, 58, 59, 60]

      assert %{
               "kind" => 5,
               "correlation_id" => "17",
               "node_id" => "0",
               "wall_time" => "20" <> _,
               "run" => <<_::binary-16>>,
               "weight" => 1.0
             } = capture |> call!("latest", %{"correlation_id" => 17}) |> Map.fetch!("events") |> List.last()

      assert terms(call!(capture, "latest", %{"correlation_id" => "trace", "limit" => 2})) == [57, 60]
      assert capture |> pages(%{"limit" => 25}) |> Enum.flat_map(&terms/1) == Enum.to_list(1..60)

      assert capture |> pages(%{"ast_node_id" => "31", "limit" => 4}) |> Enum.flat_map(&terms/1) ==
               Enum.to_list(4..60//4)

      assert capture |> pages(%{"correlation_id" => "trace", "limit" => 9}) |> Enum.flat_map(&terms/1) ==
               Enum.to_list(3..60//3)

      # The same by its path, and of a manager whose ring buffer the capture is.
      assert terms(call!(PipelineManager, "latest", %{"limit" => 2}, events: path)) == [59, 60]
      assert terms(call!(manager(ring_buffer: capture), "latest", %{"limit" => 2})) == [59, 60]
    end

    test "whose last events are old is read from its end", %{capture: capture, path: path} do
      for n <- 1..5, do: :ok = Capture.offer(capture, %{n: n}, timestamp_ns: n * 1_000_000_000)
      :ok = Capture.close(capture, 60_000)
      assert terms(call!(PipelineManager, "latest", %{"limit" => 2}, events: path)) == [4, 5]
      assert terms(call!(PipelineManager, "latest", %{}, events: path)) == [1, 2, 3, 4, 5]
    end

    test "that writers store into", %{tmp_dir: dir} do
      {:ok, storage} = NativeStorage.start(NativeStorage.journal(Path.join(dir, "other")))
      {:ok, ring} = NativeRingBuffer.new()
      manager = manager(ring_buffer: ring, storage: storage)
      for n <- 1..3, do: :ok = NativeRingBuffer.write(ring, %{n: n, correlation_id: "a"})
      eventually(fn -> terms(call!(manager, "latest", %{"correlation_id" => "a"})) == [1, 2, 3] end)
    end

    test "a cursor whose event is gone, and a path that is no journal, are named", %{capture: capture, path: path} do
      on_one_scheduler(fn -> for n <- 1..10, do: capture!(capture, n) end)
      :ok = Capture.close(capture, 60_000)
      %{"next_cursor" => cursor} = call!(PipelineManager, "query", %{"limit" => 5}, events: path)
      [letter, generation, _, _, asked] = String.split(cursor, "-")
      gone = Enum.join([letter, generation, "999", "999", asked], "-")

      assert {:error, "cursor: the journal does not have" <> _} =
               MCP.call(PipelineManager, "query", %{"cursor" => gone}, events: path)

      for tool <- ["latest", "query"] do
        assert {:error, "events cannot be read: the journal /no/such/journal: not_found" <> _} =
                 MCP.call(PipelineManager, tool, %{}, events: "/no/such/journal")
      end
    end
  end

  describe "a storage that cannot be read" do
    test "is not asked anything; the answer says what to do, and the other tools work" do
      {:ok, server} = EventServer.start(to: self())
      {:ok, capture} = Capture.new()
      manager = manager(ring_buffer: capture, storage: server)
      :ok = Capture.event(capture, %{n: 1})
      assert_receive {:stored, ^server, %{n: 1}}, 60_000

      for tool <- ["latest", "query"] do
        assert {:error, text} = MCP.call(manager, tool, %{})

        assert text =~
                 ~r/^events cannot be read: the storage #PID<.*> only stores; give the option :events of MCP.tools/
      end

      assert %{"status" => "healthy", "storage" => %{"readable" => false, "problem" => "events cannot be read: " <> _}} =
               call!(manager, "health")

      eventually(fn -> call!(manager, "metrics")["metrics"]["events_processed"] == 1 end)
      assert Process.alive?(server)
    end

    test "a function, a database, no storage, no pipeline", %{tmp_dir: dir} do
      path = Path.join(dir, "events.db")
      {:ok, sqlite} = Capture.new(storage: NativeStorage.sqlite(path))
      {:ok, bare} = Capture.new()
      ended = manager([])
      :ok = PipelineManager.shutdown(ended)

      for {target, text} <- [
            {manager(ring_buffer: bare, storage: fn _ -> :ok end), "the storage is a function"},
            {sqlite, "the SQLite database #{path}"},
            {bare, "this capture has no storage of its own"},
            {ended, "the pipeline does not run"},
            {:no_such_pipeline, "the pipeline does not run"}
          ] do
        assert {:error, "events cannot be read: " <> reason} = MCP.call(target, "latest", %{})
        assert reason =~ text
        assert %{"storage" => %{"readable" => false}} = call!(target, "health")
      end

      assert %{"status" => "down"} = call!(ended, "health")
      traces = %NativeStorage{kind: :perfetto, path: "calls.pftrace", options: %{}}

      assert {:error, "events cannot be read: they are in the traces calls.pftrace" <> _} =
               MCP.call(bare, "query", %{}, events: traces)
    end

    test "tables that are gone" do
      storage = Task.async(fn -> EtsStorage.new() end) |> Task.await()
      eventually(fn -> EtsStorage.count(storage) == 0 end)

      for tool <- ["latest", "query"],
          do:
            assert(
              {:error, "events cannot be read: the tables" <> _} = MCP.call(PipelineManager, tool, %{}, events: storage)
            )
    end

    test "a function of the caller's reads them, in any order and number" do
      test = self()
      events = for n <- 1..50, do: %{n: n, timestamp: n, correlation_id: if(rem(n, 2) == 0, do: "even")}

      read = fn asked ->
        send(test, asked)
        {:ok, Enum.shuffle(events)}
      end

      assert numbers(call!(PipelineManager, "latest", %{"limit" => 3}, events: read)) == [48, 49, 50]
      assert_received %{correlation_id: nil, ast_node_id: nil, limit: 3, order: :newest_first}

      assert numbers(call!(PipelineManager, "latest", %{"correlation_id" => "even", "limit" => 2}, events: read)) == [
               48,
               50
             ]

      assert_received %{correlation_id: "even"}
      pages = pages(PipelineManager, %{"correlation_id" => "even", "limit" => 10}, events: read)
      assert Enum.flat_map(pages, &numbers/1) == Enum.to_list(2..50//2)
      assert {:error, text} = MCP.call(PipelineManager, "latest", %{}, events: fn _ -> {:error, :closed} end)
      assert text == "events cannot be read: :closed"

      for bad <- [fn _ -> :nonsense end, fn _ -> raise "no" end, fn _ -> exit(:gone) end, fn _ -> throw(:up) end] do
        assert {:error, text} = MCP.call(PipelineManager, "latest", %{}, events: bad)
        assert is_binary(text)
      end
    end
  end
end
