;; Decides well and traps in explain. The host must load it, and report the trap to who asks for an explanation.
(func $explain (param $batch i32) (result i32)
  unreachable)
