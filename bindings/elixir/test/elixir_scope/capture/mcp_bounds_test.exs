defmodule ElixirScope.Capture.MCPBoundsTest do
  # What clients send that no tool takes, what events contain that JSON cannot say, and how large an answer may be.
  use ExUnit.Case, async: true

  alias CapturePipeline.Test.{Deadly, Json}
  alias ElixirScope.Capture.{EtsStorage, MCP, PipelineManager}
  alias ElixirScope.Capture.MCP.Plain

  defp storage(events) do
    storage = EtsStorage.new(max_events: :infinity)
    :ok = EtsStorage.store_events(storage, events)
    storage
  end

  defp shown(event) do
    assert {:ok, %{"events" => [shown]} = answer} = MCP.call(PipelineManager, "latest", %{}, events: storage([event]))
    assert byte_size(Json.encode(answer)) < 300_000
    shown
  end

  describe "an argument" do
    test "that is wrong is named, with what is allowed and the value" do
      limit = "limit: an integer from 1 to 1000 expected, "

      for {tool, arguments, text} <- [
            {"latest", %{"limit" => 0}, limit <> "0 given"},
            {"latest", %{"limit" => 1_001}, limit <> "1001 given"},
            {"latest", %{"limit" => "5"}, limit <> ~s("5" given)},
            {"latest", %{"limit" => 1.5}, limit <> "1.5 given"},
            {"latest", %{"limit" => [1]}, limit <> "[1] given"},
            {"query", %{"limit" => 10_001}, "limit: an integer from 1 to 10000 expected, 10001 given"},
            {"query", %{"cursor" => 5}, "cursor: a text expected, 5 given"},
            {"query", %{"correlation_id" => ""},
             ~s(correlation_id: a text that is not empty or an integer expected, "" given)},
            {"query", %{"ast_node_id" => %{}},
             "ast_node_id: a text that is not empty or an integer expected, %{} given"},
            {"latest", %{"corelation_id" => 1},
             ~s("corelation_id" is no argument of this tool; there are ast_node_id, correlation_id, limit)},
            {"health", %{"x" => 1}, ~s("x" is no argument of this tool; it takes none)},
            {"health", [], "arguments: an object expected, [] given"},
            {"health", nil, "arguments: an object expected, nil given"},
            {"scale", %{}, "workers: it is not given; an integer from 0 to 1024 expected"},
            {"scale", %{"workers" => 1_025}, "workers: an integer from 0 to 1024 expected, 1025 given"},
            {"update_config", %{}, "arguments: none is given; give the options that are to change"},
            {"update_config", %{"batch_size" => 0}, "batch_size: an integer from 1 to 1000000 expected, 0 given"},
            {"update_config", %{"max_backlog" => "all"},
             ~s(max_backlog: an integer of at least 1 or "infinity" expected, "all" given)},
            {"update_config", %{"sampling_max_weight" => 3},
             "sampling_max_weight: 0 or a power of two up to 1048576 expected, 3 given"}
          ] do
        assert {tool, arguments, MCP.call(PipelineManager, tool, arguments, changes: true)} ==
                 {tool, arguments, {:error, text}}
      end

      assert {:error, ~s(there is no tool "drop_all"; there are health, ) <> _} =
               MCP.call(PipelineManager, "drop_all", %{})

      assert {:error, "there is no tool :health;" <> _} = MCP.call(PipelineManager, :health, %{})
    end

    test "that is nil is not given, and no argument makes an atom" do
      assert {:ok, %{"events" => []}} =
               MCP.call(PipelineManager, "latest", %{"limit" => nil, "correlation_id" => nil}, events: storage([]))

      name = "an_atom_that_nobody_has_#{System.unique_integer([:positive])}"
      assert {:error, _} = MCP.call(PipelineManager, "latest", %{name => 1})

      assert {:ok, %{"events" => []}} =
               MCP.call(PipelineManager, "latest", %{"correlation_id" => name}, events: storage([%{n: 1}]))

      assert_raise ArgumentError, fn -> String.to_existing_atom(name) end
    end
  end

  describe "an event" do
    test "is shown as what JSON can say, whatever it is" do
      reference = make_ref()

      shown =
        shown(%{
          :atom => :ok,
          :module => MyApp.User,
          :tuple => {:ok, 1, nil},
          :list => [1, 2.5, true],
          :improper => [1 | :tail],
          :text => "tab\t \"quoted\" ü",
          :bytes => <<255, 0, 1>>,
          :bits => <<5::3>>,
          :pid => self(),
          :reference => reference,
          :function => &String.upcase/1,
          :large => 9_007_199_254_740_992,
          :larger => -Integer.pow(10, 40),
          :largest => Integer.pow(2, 100_000),
          :struct => %Deadly{n: 1},
          :at => ~U[2024-02-29 10:00:00.5Z],
          :map => %{1 => 2, "a" => 1, a: 2},
          :ast_node_id => 7,
          {:a, :tuple} => 1,
          "text" => 2
        })

      assert %{
               "atom" => "ok",
               "module" => "MyApp.User",
               "tuple" => ["ok", 1, nil],
               "list" => [1, 2.5, true],
               "improper" => [1, "|", "tail"],
               "text" => 2,
               "bytes" => %{"bytes" => 3, "hex" => "ff0001"},
               "bits" => "<<5::size(3)>>",
               "function" => "&String.upcase/1",
               "large" => "9007199254740992",
               "larger" => "-10000000000000000000000000000000000000000",
               "largest" => "an integer of 12" <> _,
               "struct" => %{"n" => 1, "__struct__" => "CapturePipeline.Test.Deadly"},
               "at" => "2024-02-29T10:00:00.5Z",
               "ast_node_id" => "7",
               "{:a, :tuple}" => 1,
               "text'" => "tab\t \"quoted\" ü"
             } = Map.new(shown, fn {key, value} -> {key, value} end) |> sorted_texts()

      assert shown["map"]["1"] == 2
      assert Enum.sort([shown["map"]["a"], shown["map"]["a'"]]) == [1, 2]
      assert shown["pid"] == inspect(self()) and shown["reference"] == inspect(reference)
      assert %{"data" => ["a", "tuple"]} = shown({:a, :tuple})
    end

    # Which of `:text` and "text" comes first in a map is not said anywhere.
    defp sorted_texts(%{"text" => 2} = shown), do: shown
    defp sorted_texts(%{"text" => text, "text'" => 2} = shown), do: %{shown | "text" => 2, "text'" => text}

    test "that is large is cut, and making that takes no longer" do
      deep = Enum.reduce(1..100_000, [], fn n, inner -> [n, inner] end)
      shared = Enum.reduce(1..18, :leaf, fn _, inner -> {inner, inner} end)

      for event <- [
            %{deep: deep},
            # Each level has the one below twice: 2^18 leaves.
            %{shared: shared},
            %{list: Enum.to_list(1..1_000_000)},
            %{binary: :binary.copy("x", 10_000_000)},
            %{binary: :binary.copy(<<1>>, 10_000_000)},
            %{binary: :binary.copy("ü", 5_000_000)},
            %{binaries: List.duplicate(:binary.copy(<<1>>, 1_000), 1_000)},
            %{tuple: List.to_tuple(Enum.to_list(1..500_000))},
            Map.new(1..200_000, &{&1, &1})
          ] do
        assert %{"is_cut" => true} = shown(event)
      end

      refute Map.has_key?(shown(%{list: Enum.to_list(1..1_000)}), "is_cut")
    end

    test "may be shown as the caller wants" do
      view = fn event -> Map.replace(event, :password, "***") end
      options = [events: storage([%{user: "a", password: "secret"}]), view: view]
      assert {:ok, %{"events" => [shown]}} = MCP.call(PipelineManager, "latest", %{}, options)
      assert shown == %{"user" => "a", "password" => "***"}

      assert {:error, text} =
               MCP.call(PipelineManager, "query", %{}, Keyword.put(options, :view, fn _ -> raise "no view" end))

      assert text == "the request failed: RuntimeError: no view"
    end
  end

  describe "an answer" do
    setup do
      %{
        storage:
          storage(
            for n <- 1..100,
                do: %{n: n, text: String.duplicate(<<?a + rem(n, 26)>>, 16_000), more: List.duplicate("\t", 3_000)}
          )
      }
    end

    test "has at most about 1 MiB: the latest are kept, and it is said how many are not", %{storage: storage} do
      {:ok, answer} = MCP.call(PipelineManager, "latest", %{"limit" => 100}, events: storage)
      numbers = Enum.map(answer["events"], & &1["n"])
      assert length(numbers) in 20..60
      assert numbers == Enum.to_list((100 - length(numbers) + 1)..100)
      assert answer["left_out_for_their_size"] == 100 - length(numbers)
      assert byte_size(Json.encode(answer)) < 1_100_000
    end

    test "of a query goes on with the next page", %{storage: storage} do
      {:ok, first} = MCP.call(PipelineManager, "query", %{}, events: storage)
      {:ok, second} = MCP.call(PipelineManager, "query", %{"cursor" => first["next_cursor"]}, events: storage)
      numbers = for %{"events" => events} <- [first, second], %{"n" => n} <- events, do: n
      assert numbers == Enum.to_list(1..length(numbers))
      assert length(first["events"]) in 20..60
      assert byte_size(Json.encode(first)) < 1_100_000
    end
  end

  test "the size of JSON is known before it is made" do
    for term <- [
          %{a: [1, 2.5, nil, true, "tab\t\"\\", :atom, self()], b: {1, %{"c" => -5}}},
          "",
          [],
          %{},
          [[[]]],
          String.duplicate("\0", 500)
        ] do
      {plain, false} = Plain.of(term, 100_000)
      assert Plain.size(plain) >= byte_size(Json.encode(plain))
    end
  end
end
