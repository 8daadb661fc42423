;; Traps in resolve. The host must refuse it at its trial, or keep the last good answers, and name the trap
;; (unreachable).
(func $resolve (param $batch i32) (result i32)
  unreachable)
