%% Whether the NIF may know how this VM lays out terms. Where it was built to know nothing (LAYOUT_UNKNOWN, c_src/Makefile) all goes by the NIF
%% API, as on a VM that it was never seen with: no term is flat, each has to be released, and integers count as two words each, as
%% the API does not tell small ones from large ones.
-module(vm_layout).
-export([is_known/0]).

is_known() -> os:getenv("LAYOUT_UNKNOWN") =:= false.
