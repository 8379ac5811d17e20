defmodule ElixirScope.Capture.DocumentsTest do
  # Application environment, persistent_term and the manager's registered name are shared.
  use ExUnit.Case, async: false
  import CapturePipeline.Test.Wait
  import ExUnit.CaptureIO

  @top Path.expand("../../..", __DIR__)

  for page <- ["README.md", "docs/elixir.md"] do
    blocks = Regex.scan(~r/^```elixir\n(.*?)^```/ms, File.read!(Path.join(@top, page)), capture: :all_but_first)

    for {[code], number} <- Enum.with_index(blocks, 1) do
      test "#{page}: snippet #{number} does what it says" do
        # In a process of its own, as in a shell: the processes that it starts end with it.
        task =
          Task.async(fn ->
            Process.flag(:trap_exit, true)
            capture_io(fn -> Code.eval_string(unquote(code)) end)
          end)

        Task.await(task, 60_000)
        eventually(fn -> Process.whereis(ElixirScope.Capture.PipelineManager) == nil end)
      end
    end

    test "#{page} has snippets", do: assert(unquote(length(blocks)) > 0)
  end
end
