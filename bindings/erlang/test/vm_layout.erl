%% Whether the NIF may know the layout of terms in this VM. If it was built without (LAYOUT_UNKNOWN, c_src/Makefile), everything goes through the NIF
%% API, as on a VM that it was not tested with: no term is flat, each has to be released, and an integer counts as two words, because
%% the API does not distinguish small and large integers.
-module(vm_layout).
-export([is_known/0, is_flat/0]).

is_known() -> os:getenv("LAYOUT_UNKNOWN") =:= false.

%% Whether terms are captured as flat words: the layout is known, and the version of the VM is one of those with which that was tested.
is_flat() -> elixir_scope_capture_pipeline_nif:term_flat({a}) =/= no.
