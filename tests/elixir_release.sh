#!/bin/bash
# elixir_release.sh: a release (`mix release`) of a program that uses bindings/elixir starts where nothing else is: no source, no Erlang, no Elixir, and an
# empty environment. It captures through the NIF that is in the release, into a function and into a database.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/project/lib" "$work/tools" "$work/empty"
cat >"$work/project/mix.exs" <<END
defmodule Tiny.MixProject do
  use Mix.Project
  def project, do: [app: :tiny, version: "1.0.0", deps: [{:elixir_scope_capture_pipeline, path: "$PWD/bindings/elixir"}]]
  def application, do: [mod: {Tiny, []}]
end
END
cat >"$work/project/lib/tiny.ex" <<'END'
defmodule Tiny do
  use Application
  alias ElixirScope.Capture.{Capture, NativeStorage, PipelineManager}

  def start(_, _) do
    tiny = self()
    {:ok, capture} = Capture.new()

    store = fn events ->
      send(tiny, {:stored, Enum.sum(for(%{n: n} <- events, do: n))})
      :ok
    end

    {:ok, manager} = PipelineManager.start_link(ring_buffer: capture, storage: store)
    for n <- 1..100, do: :ok = Capture.event(capture, %{n: n})
    :ok = Capture.flush(capture, 60_000)
    5_050 = stored(0)
    :ok = PipelineManager.shutdown(manager)

    {:ok, database} = Capture.new(storage: NativeStorage.sqlite("events.db"))
    for n <- 1..100, do: :ok = Capture.binary(database, 7, <<n::64>>)
    :ok = Capture.close(database, 60_000)
    {:ok, %{stored: 100}} = Capture.metrics(database)

    IO.puts("OTP #{:erlang.system_info(:otp_release)} of #{:code.root_dir()}, the NIF of #{:code.priv_dir(:elixir_scope_capture_pipeline)}: all stored")
    System.stop(0)
    Supervisor.start_link([], strategy: :one_for_one)
  end

  defp stored(sum) do
    receive do
      {:stored, n} -> stored(sum + n)
    after
      0 -> sum
    end
  end
end
END
(cd "$work/project" && MIX_ENV=prod mix release --quiet --path "$work/made") >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    exit 1
}
# Elsewhere, without what it was made of.
mv "$work/made" "$work/empty/release"
rm -rf "$work/project"
for tool in sh sed awk grep cut tr od cat dirname basename readlink uname mkdir rm; do
    ln -s "$(command -v "$tool")" "$work/tools/$tool"
done
cd "$work/empty"
told=$(timeout 120 env -i PATH="$work/tools" HOME="$work/empty" RELEASE_DISTRIBUTION=none LC_ALL=C.UTF-8 release/bin/tiny start 2>&1) || {
    echo "elixir_release.sh: the release ended with an error: $told" >&2
    exit 1
}
case $told in
*"of $work/empty/release, the NIF of $work/empty/release/"*": all stored"*) ;;
*)
    echo "elixir_release.sh: the release did not do what it should: $told" >&2
    exit 1
    ;;
esac
[ -s events.db ] || {
    echo "elixir_release.sh: there is no database: $(ls)" >&2
    exit 1
}
