;; Grows its memory in resolve, 1 MiB at a time, until the host refuses, and traps then. The host must name the limit on
;; memory and not only the trap.
(func $resolve (param $batch i32) (result i32)
  (loop $more
    (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
  unreachable)
