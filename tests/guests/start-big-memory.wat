;; Wants 3 GiB of memory before its first instruction. The host must refuse it unstarted and name the limit on memory.
(memory 49152)
